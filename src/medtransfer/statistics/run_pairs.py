"""What the test sample says of each pair of runs: DeLong's test and McNemar's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import METRICS, RUN_COLUMNS
from medtransfer.statistics.auc import delong
from medtransfer.statistics.comparison import compared
from medtransfer.statistics.mcnemar import mcnemar
from medtransfer.tables import Column, Schema, table_of

RUN_PAIRS = Schema(
    name="run_pairs",
    row="one output of two runs of one split and seed, on the same images",
    columns={
        **RUN_COLUMNS,
        "reference": Column("text", "the init of the other run"),
        "part": METRICS.columns["part"],
        "output": Column("text", "class or label; empty: the decisions as a whole"),
        "test": Column("text", "delong: AUROC of the output; mcnemar: accuracy of the decisions"),
        "value": Column("number", "AUROC or accuracy of the run"),
        "reference_value": Column("number", "that of the other run"),
        "difference": Column("number", "the first less the second"),
        "low": Column("number", "lower end of its interval over samples of patients"),
        "high": Column("number", "upper end of that interval"),
        "p": Column("number", "two-sided p: it says of these two runs, not of their inits"),
        "images": Column("integer", "images with a known label"),
        "patients": Column("integer", "their patients"),
    },
    families={},
)
_PLACE = ["recipe", "dataset", "model", "subset", "split", "seed"]
# one run: its columns and the predictions of one part
_Scored = tuple[pd.Series, pd.DataFrame]


def run_pairs(
    runs: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    dataset: DatasetSettings,
    study: StudySettings,
) -> pd.DataFrame:
    """Every pair of runs that a study compares, on every part but validation.

    The p is about two trained networks and other patients. It holds no variation between seeds, and a
    small one doesn't say that the init made the difference.

    Args:
        runs: a table of schema RUNS, of one data set.
        predictions: a table of schema PREDICTIONS a run, in the same order.
        dataset: task and outputs.
        study: reference, families and confidence.

    Returns:
        A table of schema RUN_PAIRS.

    Raises:
        DataError: two runs of one split and seed were scored on different images.
    """
    groups: dict[tuple[object, ...], dict[str, _Scored]] = {}
    for (_, run), table in zip(runs.iterrows(), predictions, strict=True):
        for part, rows in table.groupby("part", sort=False):
            if part != "validation":
                key = (*run[_PLACE], str(part))
                groups.setdefault(key, {})[run["init"]] = (run, rows.sort_values("image_id"))
    found = [
        {**row, "part": key[-1]}
        for key, by_init in groups.items()
        for init, reference in compared(list(by_init), study)
        for row in _tests(by_init[init], by_init[reference], dataset, study)
    ]
    return table_of(found, RUN_PAIRS)


def _check_same_images(of: _Scored, against: _Scored) -> None:
    (run, table), (other, baseline) = of, against
    if not pd.Index(table["image_id"]).equals(pd.Index(baseline["image_id"])):
        place = ", ".join(f"{name} {run[name]}" for name in _PLACE)
        raise DataError(
            f"{place}, part {table['part'].iloc[0]}: {run['init']} and {other['init']} were scored on "
            "different images; allowed: the same images for all runs of a split"
        )


def _tests(
    of: _Scored, against: _Scored, dataset: DatasetSettings, study: StudySettings
) -> Iterator[dict[str, object]]:
    (run, table), (other, baseline) = of, against
    names = {**run[list(RUN_COLUMNS)], "reference": other["init"]}
    _check_same_images(of, against)
    patients = table["patient"].to_numpy()
    a, b = predictions_of(table, dataset), predictions_of(baseline, dataset)
    for k, output in enumerate(dataset.outputs):
        known = a.targets[:, k] >= 0
        # of yes-or-no questions logits: the same order, without ties at 0 and 1
        scores = [(p.logits if p.separate else p.probabilities)[known, k] for p in (a, b)]
        found = delong(
            a.targets[known, k], *scores, confidence=study.confidence, cluster=patients[known]
        )
        yield {
            **names, "output": output, "test": "delong", "value": found.auc_a,
            "reference_value": found.auc_b, "difference": found.difference, "low": found.low,
            "high": found.high, "p": found.p, "images": int(known.sum()),
            "patients": len(set(patients[known])),
        }  # fmt: skip
    if a.task != "multilabel":
        decided = mcnemar(
            a.labels, a.decisions, b.decisions, confidence=study.confidence, cluster=patients
        )
        right = [float((p.decisions == p.labels).mean()) if len(p.labels) else math.nan for p in (a, b)]
        yield {
            **names, "output": "", "test": "mcnemar", "value": right[0], "reference_value": right[1],
            "difference": decided.difference, "low": decided.low, "high": decided.high,
            "p": decided.p, "images": decided.images, "patients": len(set(patients)),
        }  # fmt: skip
