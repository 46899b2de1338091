"""From the metrics of runs to means with intervals, and to paired gains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.names import is_fold, parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.multiplicity import benjamini_hochberg, holm
from medtransfer.statistics.paired import PairedResult, nadeau_bengio, paired_t, sign_flip
from medtransfer.tables import Column, Schema, table_of

CELL_COLUMNS = {
    name: METRICS.columns[name]
    for name in ("recipe", "dataset", "model", "subset", "part", "metric", "target")
}
CELL = list(CELL_COLUMNS)
# the families of studies that declare none: whole starts, and partial transfers
STARTS, DEPTHS = "starts", "depths"
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
        "family": Column(
            "text", "of the comparisons that are corrected together; empty for one only looked at"
        ),
        "mean": Column("number", "mean paired difference"),
        "sd": Column("number", "standard deviation of the differences; empty for one pair"),
        "low": Column("number", "lower end of its interval"),
        "high": Column("number", "upper end of its interval"),
        "p": Column("number", "two-sided p of the paired t, or of Nadeau-Bengio over folds"),
        "p_sign_flip": Column("number", "two-sided p of the sign-flip permutation test"),
        "p_adjusted": Column(
            "number",
            "p after the study's correction (Holm unless it says otherwise) within the family; empty "
            "outside",
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
        units, ratio = independent_repeats(cell.set_index(["split", "seed"]))
        result = interval_of_mean(units["value"].to_numpy(), ratio, confidence)
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
    return table_of(rows, SUMMARY)


def compare(metrics: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """Paired differences of inits, of every metric and part, as :func:`paired_contrasts` pairs them.

    The families of the correction are declared (:func:`family_of`): without a word of the study, in
    each data set all differences of its target metric on the test part, those of partial transfers
    being a family of their own. What is concluded of one data set then doesn't depend on the others.

    Args:
        metrics: a table of schema METRICS.
        study: the reference init, the confidence and the families.
    """
    rows = [_gain(contrast, study) for contrast in paired_contrasts(metrics, study)]
    gains = table_of(rows, GAINS)
    return gains.assign(p_adjusted=adjusted_in_families(gains, "p", study))


@dataclass(frozen=True)
class Contrast:
    """The paired differences of two inits in one metric of one cell.

    Attributes:
        cell: value of each of CELL.
        init: what is compared.
        reference: what is subtracted.
        differences: one a seed, or one a fold (mean over its seeds).
        test_train_ratio: of folds, for Nadeau and Bengio's correction; 0 for seeds.
        baseline: the reference's values, in the order of the differences.
    """

    cell: dict[str, object]
    init: str
    reference: str
    differences: np.ndarray
    test_train_ratio: float
    baseline: np.ndarray

    @property
    def paired_by(self) -> str:
        return "fold" if self.test_train_ratio else "seed"


def paired_contrasts(metrics: pd.DataFrame, study: StudySettings) -> Iterator[Contrast]:
    """Every comparison of a study, in every cell that has both of its inits.

    Runs are paired by split and seed, so the two share data, batch order and augmentation.
    """
    for key, cell in metrics.groupby(CELL, sort=False):
        by_init = {
            str(init): runs.set_index(["split", "seed"])
            for init, runs in cell.groupby("init", sort=False)
        }
        for init, reference in compared(list(by_init), study):
            names = dict(zip(CELL, key, strict=True))
            yield _contrast(names, (init, by_init[init]), (reference, by_init[reference]))


def compared(inits: list[str], study: StudySettings) -> list[tuple[str, str]]:
    """The ``(init, reference)`` pairs of a cell with these inits: the usual and the declared ones."""
    declared = [tuple(pair) for family in study.statistics.families for pair in family.comparisons]
    return list(dict.fromkeys([*contrasts(inits, study.reference), *_present(declared, inits)]))


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


def _present(declared: list[tuple[str, ...]], inits: list[str]) -> list[tuple[str, str]]:
    """The declared comparisons of which a cell has both inits; ``all`` is each of its inits."""
    pairs = [
        (name, reference)
        for init, reference in declared
        for name in (inits if init == "all" else [init])
    ]
    return [
        (init, reference)
        for init, reference in dict.fromkeys(pairs)
        if init in inits and reference in inits and init != reference
    ]


def _contrast(
    cell: dict[str, object], of: tuple[str, pd.DataFrame], against: tuple[str, pd.DataFrame]
) -> Contrast:
    """The paired result of two inits whose runs are indexed by split and seed."""
    (init, runs), (reference, baseline) = of, against
    units, ratio = paired_repeats(runs, baseline)
    return Contrast(
        cell, init, reference, units["value"].to_numpy(), ratio, units["baseline"].to_numpy()
    )


def paired_repeats(runs: pd.DataFrame, baseline: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The independent repeats that two lots of runs have both.

    Args:
        runs: numbers of schema METRICS, indexed by split and seed.
        baseline: of the runs that are subtracted, likewise.

    Returns:
        As :func:`independent_repeats`: ``value`` has the differences, ``baseline`` what was
        subtracted.
    """
    shared = runs.index.intersection(baseline.index)
    paired = runs.loc[shared].copy()
    paired["baseline"] = baseline.loc[shared, "value"]
    paired["value"] = runs.loc[shared, "value"] - paired["baseline"]
    return independent_repeats(paired)


def _gain(contrast: Contrast, study: StudySettings) -> dict[str, object]:
    result = interval_of_mean(contrast.differences, contrast.test_train_ratio, study.confidence)
    return {
        **contrast.cell,
        "init": contrast.init,
        "reference": contrast.reference,
        "family": family_of(contrast, study) or "",
        "mean": result.mean,
        "sd": contrast.differences.std(ddof=1) if result.pairs > 1 else np.nan,
        "low": result.low,
        "high": result.high,
        "p": result.p,
        "p_sign_flip": sign_flip(contrast.differences),
        "pairs": result.pairs,
        "paired_by": contrast.paired_by,
    }


def independent_repeats(runs: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The independent repeats: seeds of one split as they are; folds as means over their seeds.

    Args:
        runs: numbers of schema METRICS, indexed by split and seed.

    Returns:
        One row a repeat; and the ratio of test to training images for folds, 0 for seeds.
    """
    splits = runs.index.get_level_values("split").unique()
    if len(splits) < 2 or not all(is_fold(split) for split in splits):
        return runs, 0.0
    folds = runs.groupby(level="split").mean(numeric_only=True)
    return folds, float(folds["test_train_ratio"].mean())


def interval_of_mean(values: np.ndarray, test_train_ratio: float, confidence: float) -> PairedResult:
    """The t interval over seeds (ratio 0), or Nadeau and Bengio's over folds."""
    if test_train_ratio:
        return nadeau_bengio(values, test_train_ratio, confidence)
    return paired_t(values, confidence)


def family_of(contrast: Contrast, study: StudySettings) -> str | None:
    """The declared family of a comparison; None for one that is only looked at.

    Families hold differences of target metrics on the test part.
    """
    if not contrast.cell["target"] or contrast.cell["part"] != "test":
        return None
    families = study.statistics.families
    if not families:
        return DEPTHS if parse_init(contrast.init).partial else STARTS
    holding = (f.name for f in families if f.holds(contrast.init, contrast.reference))
    return next(holding, None)


def adjusted_in_families(gains: pd.DataFrame, column: str, study: StudySettings) -> np.ndarray:
    """A column of p values after the study's correction within each family; NaN outside of them."""
    correct = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}[study.statistics.correction]
    adjusted = np.full(len(gains), np.nan)
    for rows in families(gains, study):
        adjusted[rows] = correct(gains[column].to_numpy(dtype=float)[rows])
    return adjusted


def families(gains: pd.DataFrame, study: StudySettings) -> list[np.ndarray]:
    """The rows, by position, of each family: those that have a family's name, separated as it says."""
    separate = {family.name: list(family.separate) for family in study.statistics.families}
    found = []
    positions = pd.Series(np.arange(len(gains)), index=gains.index)
    for name, rows in gains[gains["family"] != ""].groupby("family", sort=False):
        columns = separate.get(str(name), ["dataset"])
        groups = rows.groupby(columns, sort=False) if columns else [((), rows)]
        found += [positions[group.index].to_numpy() for _, group in groups]
    return found
