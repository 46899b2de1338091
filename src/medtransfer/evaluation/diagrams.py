"""What diagrams of single runs show: reliability, and risk against coverage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.evaluation.calibration import reliability, scaled, temperature
from medtransfer.evaluation.predictions import Predictions, predictions_of
from medtransfer.evaluation.results import METRICS, RUN_COLUMNS
from medtransfer.evaluation.selective import risk_coverage
from medtransfer.tables import Column, Schema, table_of

# coverages at which the risk is stored: every fiftieth of the images
COVERAGES = np.arange(1, 51) / 50
RELIABILITY = Schema(
    name="reliability",
    row="one bin of the confidence of one run, on one part",
    columns={
        **RUN_COLUMNS,
        "part": METRICS.columns["part"],
        "scaled": Column("truth", "after temperature scaling on the validation part"),
        "bin": Column("integer", "of 15 of equal mass, from 0"),
        "confidence": Column(
            "number",
            "mean confidence: binary and multilabel: of the positive class; else of the decision",
        ),
        "observed": Column("number", "share of positives, else of right decisions"),
        "count": Column("integer", "images (multilabel: known labels) in the bin"),
    },
    families={},
)
RISK_COVERAGE = Schema(
    name="risk_coverage",
    row="one share of a part's images, the surest first, by one run",
    columns={
        **RUN_COLUMNS,
        "part": METRICS.columns["part"],
        "coverage": Column("number", "share of the images that are decided, at least"),
        "risk": Column("number", "share of wrong decisions among them"),
        "confidence": Column("number", "the lowest that is decided"),
    },
    families={},
)


def reliability_table(predictions: pd.DataFrame, dataset: DatasetSettings) -> pd.DataFrame:
    """Reliability of one run on every part, as it is and after temperature scaling.

    Args:
        predictions: a table of schema PREDICTIONS.
        dataset: task and outputs.

    Returns:
        The columns of RELIABILITY from ``part`` on.
    """
    parts = dict(_parts(predictions, dataset))
    fitted = temperature(parts["validation"]) if "validation" in parts else np.nan
    tables = []
    for part, found in parts.items():
        tables.append(_reliability(found).assign(part=part, scaled=False))
        if np.isfinite(fitted):
            tables.append(_reliability(scaled(found, fitted)).assign(part=part, scaled=True))
    return _joined(tables, RELIABILITY)


def risk_coverage_table(predictions: pd.DataFrame, dataset: DatasetSettings) -> pd.DataFrame:
    """Risk of one run on every part, at each of COVERAGES.

    Equal confidences are decided together, so more than the asked share may be.

    Returns:
        The columns of RISK_COVERAGE from ``part`` on.
    """
    tables = []
    for part, found in _parts(predictions, dataset):
        curve = risk_coverage(found)
        # rounding must not ask for more than all
        place = np.searchsorted(curve["coverage"].to_numpy(), COVERAGES - 1e-9)
        chosen = curve.iloc[np.minimum(place, len(curve) - 1)] if len(curve) else curve
        tables.append(
            chosen[["risk", "confidence"]].assign(part=part, coverage=COVERAGES[: len(chosen)])
        )
    return _joined(tables, RISK_COVERAGE)


def _joined(tables: list[pd.DataFrame], schema: Schema) -> pd.DataFrame:
    """The tables' columns from ``part`` on, one table below the other; also of no table."""
    joined = pd.concat([table_of([], schema), *tables], ignore_index=True)
    return joined[list(schema.columns)[len(RUN_COLUMNS) :]]


def _parts(predictions: pd.DataFrame, dataset: DatasetSettings) -> Iterator[tuple[str, Predictions]]:
    """The parts in which every logit is a number; of others there is nothing to draw."""
    for part, table in predictions.groupby("part", sort=False):
        found = predictions_of(table, dataset)
        if not np.isnan(found.logits).any():
            yield str(part), found


def _reliability(found: Predictions) -> pd.DataFrame:
    """Of separate outputs all known labels in one pool; no bin where a probability isn't a number."""
    probabilities, labels = found.probabilities, found.labels
    if found.separate:
        known = ~np.isnan(found.targets)
        probabilities, labels = probabilities[known], found.targets[known].astype(np.int64)
    keep = slice(None) if np.isfinite(probabilities).all() else slice(0)
    return reliability(probabilities[keep], labels[keep])
