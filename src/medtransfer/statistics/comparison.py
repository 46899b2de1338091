"""From the metrics of runs to means with intervals, and to paired gains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from medtransfer.config.names import parse_fold, parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.paired import PairedResult, nadeau_bengio, paired_t, sign_flip
from medtransfer.tables import Column, Schema

CELL_COLUMNS = {
    name: METRICS.columns[name]
    for name in ("recipe", "dataset", "model", "subset", "part", "metric", "target")
}
CELL = list(CELL_COLUMNS)
SUMMARY = Schema(
    name="summary",
    row="one metric of one cell: recipe, data set, model, init, subset and part",
    columns={
        **CELL_COLUMNS,
        "init": METRICS.columns["init"],
        "mean": Column("number", "mean over the runs"),
        "sd": Column("number", "standard deviation over the runs; empty for one run"),
        "low": Column("number", "lower end of the t interval of the mean over seeds or folds"),
        "high": Column("number", "upper end of that interval"),
        "runs": Column("integer", "runs in the mean"),
        "training_images": Column("integer", "training images, averaged over the runs"),
        "images": Column("integer", "images of the part, averaged over the runs"),
    },
    families={},
)
GAINS = Schema(
    name="gains",
    row="one metric of one cell: the paired difference between two inits",
    columns={
        **CELL_COLUMNS,
        "init": METRICS.columns["init"],
        "reference": Column("text", "the init that is subtracted"),
        "mean": Column("number", "mean paired difference"),
        "low": Column("number", "lower end of its interval"),
        "high": Column("number", "upper end of its interval"),
        "p": Column("number", "two-sided p of the paired t, or of Nadeau-Bengio over folds"),
        "p_sign_flip": Column("number", "two-sided p of the sign-flip permutation test"),
        "p_holm": Column(
            "number",
            "p after Holm over the data set's target metric on the test part, partial transfers "
            "(upto) apart; empty outside",
        ),
        "pairs": Column("integer", "pairs: seeds of one split, or folds"),
        "paired_by": Column("text", "seed or fold"),
    },
    families={},
)


def summarise(metrics: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean, spread and interval of every metric in every cell.

    The interval describes the variation between seeds (or, for cross-validation, folds) on these
    images; what another set of patients would add is not in it.

    Args:
        metrics: a table of schema METRICS.
        confidence: coverage of the intervals.
    """
    rows = []
    for key, cell in metrics.groupby([*CELL, "init"], sort=False):
        units, ratio = _units(cell.set_index(["split", "seed"]), cell["split"])
        result = _interval(units["value"].to_numpy(), ratio, confidence)
        rows.append(
            {
                **dict(zip([*CELL, "init"], key, strict=True)),
                "mean": cell["value"].mean(),
                "sd": cell["value"].std(ddof=1),
                "low": result.low,
                "high": result.high,
                "runs": int(cell["value"].notna().sum()),
                "training_images": round(cell["training_images"].mean()),
                "images": round(cell["images"].mean()),
            }
        )
    return pd.DataFrame(rows, columns=list(SUMMARY.columns))


def compare(metrics: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """Paired differences of inits, as :func:`contrasts` pairs them.

    Runs are paired by split and seed, so the two share data, batch order and augmentation. The families
    of Holm's correction are declared here: for each data set, all differences of its target metric on
    the test part, those of partial transfers being a family of their own. What is concluded of one data
    set doesn't depend on the others of a study.

    Args:
        metrics: a table of schema METRICS.
        study: the reference init and the confidence.
    """
    rows = []
    for key, cell in metrics.groupby(CELL, sort=False):
        by_init = {
            str(init): runs.set_index(["split", "seed"])
            for init, runs in cell.groupby("init", sort=False)
        }
        for init, reference in contrasts(list(by_init), study.reference):
            result = _difference(by_init[init], by_init[reference], study.confidence)
            cell_key = dict(zip(CELL, key, strict=True))
            rows.append({**cell_key, "init": init, "reference": reference, **result})
    gains = pd.DataFrame(rows, columns=[c for c in GAINS.columns if c != "p_holm"])
    gains["p_holm"] = _holm(gains)
    numbers = [name for name, column in GAINS.columns.items() if column.kind == "number"]
    gains[numbers] = gains[numbers].astype(float)
    return gains[list(GAINS.columns)].astype({"pairs": "int64", "target": bool})


def contrasts(inits: list[str], reference: str) -> Iterator[tuple[str, str]]:
    """``(init, reference)`` pairs: whole starts against the reference, all against their baselines.

    The baseline of a source is its statistics; that of a partial transfer is the same start without
    any transferred unit, or the reference where the study has no such start.
    """
    for init in inits:
        partial, baseline = parse_init(init).partial, parse_init(init).baseline
        against_baseline = baseline in inits and baseline != reference
        if reference in inits and init != reference and not (partial and against_baseline):
            yield init, reference
    for init in inits:
        baseline = parse_init(init).baseline
        if baseline is not None and baseline in inits and baseline != reference and init != reference:
            yield init, baseline


def _difference(runs: pd.DataFrame, reference: pd.DataFrame, confidence: float) -> dict[str, object]:
    """The paired result of two inits whose runs are indexed by split and seed."""
    shared = runs.index.intersection(reference.index)
    paired = runs.loc[shared].copy()
    paired["value"] = runs.loc[shared, "value"] - reference.loc[shared, "value"]
    units, ratio = _units(paired, pd.Series(shared.get_level_values("split")))
    differences = units["value"].to_numpy()
    result = _interval(differences, ratio, confidence)
    return {
        "mean": result.mean,
        "low": result.low,
        "high": result.high,
        "p": result.p,
        "p_sign_flip": sign_flip(differences),
        "pairs": result.pairs,
        "paired_by": "fold" if ratio else "seed",
    }


def _units(runs: pd.DataFrame, splits: pd.Series) -> tuple[pd.DataFrame, float]:
    """The independent repeats: seeds of one split as they are; folds as means over their seeds.

    The second value is the ratio of test to training images for folds, 0 for seeds.
    """
    if runs.empty or any(parse_fold(str(split)) is None for split in splits.unique()):
        return runs, 0.0
    folds = runs.groupby(level="split")[["value", "images", "training_images"]].mean()
    return folds, float(folds["images"].sum() / folds["training_images"].sum())


def _interval(values: np.ndarray, ratio: float, confidence: float) -> PairedResult:
    return nadeau_bengio(values, ratio, confidence) if ratio else paired_t(values, confidence)


def _holm(gains: pd.DataFrame) -> np.ndarray:
    headline = (gains["target"] & (gains["part"] == "test") & gains["p"].notna()).to_numpy(dtype=bool)
    adjusted = np.full(len(gains), np.nan)
    partial = gains["init"].map(lambda init: parse_init(init).partial)
    for _, family in gains[headline].groupby([gains["dataset"], partial]):
        adjusted[family.index] = multipletests(family["p"], method="holm")[1]
    return adjusted
