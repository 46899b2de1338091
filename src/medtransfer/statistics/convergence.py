"""How many steps training needs to get somewhere, where some runs never do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from medtransfer.config.names import is_fold
from medtransfer.evaluation.results import CURVES
from medtransfer.statistics.paired import PairedResult, nadeau_bengio, paired_t
from medtransfer.tables import Column, Schema

SMOOTHED_SCORINGS = 3
# kinds of thresholds
SHARE, ABSOLUTE = "share", "absolute"

CELL_COLUMNS = {
    name: CURVES.columns[name] for name in ("recipe", "dataset", "model", "subset", "metric")
}
THRESHOLD_COLUMNS = {
    "threshold_kind": Column(
        "text", "share (of the best value that the reference reaches in the cell) or absolute"
    ),
    "threshold": Column("number", "value of the smoothed validation metric that counts as there"),
}
CONVERGENCE = Schema(
    name="convergence",
    row="one run and threshold: when its smoothed validation metric got there",
    columns={
        **CELL_COLUMNS,
        **{name: CURVES.columns[name] for name in ("init", "split", "seed")},
        **THRESHOLD_COLUMNS,
        "step": Column(
            "integer", "first step there, or the last scoring of a run that never got there"
        ),
        "reached": Column("truth", "whether it got there; if not, its step is a lower bound"),
    },
    families={},
)
CONVERGENCE_TESTS = Schema(
    name="convergence_tests",
    row="one threshold in one cell: the steps of an init against those of the reference",
    columns={
        **CELL_COLUMNS,
        **THRESHOLD_COLUMNS,
        "init": CURVES.columns["init"],
        "reference": Column("text", "the init that is subtracted"),
        "horizon": Column("integer", "steps up to which both can be compared"),
        "mean": Column("number", "restricted mean: steps until there, counting at most the horizon"),
        "low": Column("number", "lower end of its interval; empty for one run"),
        "high": Column("number", "upper end"),
        "reference_mean": Column("number", "the same of the reference"),
        "reference_low": Column("number", "lower end of its interval"),
        "reference_high": Column("number", "upper end"),
        "difference": Column(
            "number",
            "difference of the restricted means of paired runs, in steps; empty where nobody got there",
        ),
        "difference_low": Column("number", "lower end of its paired interval"),
        "difference_high": Column("number", "upper end"),
        "p_log_rank": Column(
            "number", "two-sided p of the log-rank test, by split; empty where no run got there"
        ),
        "runs": Column("integer", "runs of the init"),
        "reached": Column("integer", "how many of them got there"),
        "reference_runs": Column("integer", "runs of the reference"),
        "reference_reached": Column("integer", "how many of them got there"),
        "pairs": Column("integer", "pairs in the difference: seeds of one split, or folds"),
    },
    families={},
)


def smoothed(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean of each value with its two neighbours; NaN at both ends, which have one only."""
    series = pd.Series(np.asarray(values, dtype=np.float64))
    return series.rolling(SMOOTHED_SCORINGS, center=True).mean().to_numpy()


def first_step_reaching(curve: pd.DataFrame, threshold: float) -> tuple[int, bool]:
    """The first step whose smoothed validation metric is at or above a threshold.

    A run that never gets there is censored at its last scoring: all that is known is that it would have
    taken longer. Early stopping makes this censoring informative, as runs stop because they no longer
    improve: what they would have taken is likely more than of a run that was cut off by the length of
    its schedule, and estimates lean towards too few steps for starts whose runs stop early.

    Args:
        curve: one run's rows of schema CURVES, in the order of training.
        threshold: of the metric; with NaN nothing gets there.

    Returns:
        The step, and whether it was reached. The first and the last scoring have no smoothed value, so
        that a curve of fewer than three never gets anywhere.
    """
    # a value that equals the threshold may differ by rounding
    there = np.flatnonzero(smoothed(curve["validation_metric"].to_numpy()) >= threshold - 1e-12)
    steps = curve["step"].to_numpy()
    return (int(steps[there[0]]), True) if len(there) else (int(steps[-1]), False)


@dataclass(frozen=True)
class RestrictedMean:
    """The mean of min(time, horizon), with standard error and interval; NaN where unknown."""

    mean: float
    error: float
    low: float
    high: float
    runs: int
    reached: int


def restricted_mean(
    times: Sequence[float] | np.ndarray,
    reached: Sequence[bool] | np.ndarray,
    horizon: float,
    confidence: float = 0.95,
) -> RestrictedMean:
    """The area under the Kaplan-Meier curve up to a horizon (Irwin, 1949), with Greenwood's variance.

    The variance is multiplied by n / (n - 1), and the interval is of Student's t with n - 1 degrees of
    freedom, so that both are those of the plain mean of min(time, horizon) where no run is censored
    earlier. Beyond its last time a curve that isn't 0 stays as it is (Gill, 1980): see
    :func:`common_horizon` for horizons that need no such guess.

    Args:
        times: n times, of reaching or of censoring.
        reached: n truths: whether it is a time of reaching.
        horizon: in the unit of the times.
        confidence: coverage of the interval.

    Returns:
        ``reached`` counts those up to the horizon. No runs have no mean; one has no error.
    """
    durations, events = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    runs, count = len(durations), int(np.sum(events & (durations <= horizon)))
    if not runs:
        return RestrictedMean(math.nan, math.nan, math.nan, math.nan, 0, 0)
    mean, greenwood = _area(durations, events, horizon)
    if runs < 2:
        return RestrictedMean(mean, math.nan, math.nan, math.nan, runs, count)
    error = math.sqrt(greenwood * runs / (runs - 1))
    half = error * float(stats.t.ppf(0.5 + confidence / 2, runs - 1))
    return RestrictedMean(mean, error, mean - half, mean + half, runs, count)


def _area(durations: np.ndarray, events: np.ndarray, horizon: float) -> tuple[float, float]:
    """The area under the curve and its variance: sum of (area to the right)^2 d / (n (n - d))."""
    curve = SurvfuncRight(durations, events.astype(int))
    inside = curve.surv_times < horizon
    edges = np.concatenate([[0.0], curve.surv_times[inside], [horizon]])
    areas = np.diff(edges) * np.concatenate([[1.0], curve.surv_prob[inside]])
    to_the_right = np.cumsum(areas[::-1])[::-1][1:]
    at_risk, at_once = curve.n_risk[inside], curve.n_events[inside]
    # where all that are left arrive, nothing is to the right
    left = np.maximum(at_risk - at_once, 1)
    return float(areas.sum()), float(np.sum(to_the_right**2 * at_once / (at_risk * left)))


def pseudo_values(
    times: Sequence[float] | np.ndarray, reached: Sequence[bool] | np.ndarray, horizon: float
) -> np.ndarray:
    """Each run's part in the restricted mean, by the jackknife: n m - (n - 1) m without it.

    They stand in for min(time, horizon), which they are where no run is censored before the horizon, so
    that runs with censored times can be paired (Andersen, Hansen & Klein, Lifetime Data Analysis 10,
    2004).

    Args:
        times: n times, of reaching or of censoring.
        reached: n truths.
        horizon: in the unit of the times.
    """
    durations, events = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    n = len(durations)
    if n < 2:
        return np.array([_area(durations, events, horizon)[0]] * n)
    without = [_area(np.delete(durations, i), np.delete(events, i), horizon)[0] for i in range(n)]
    return n * _area(durations, events, horizon)[0] - (n - 1) * np.array(without)


def common_horizon(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The longest time up to which the curves of all groups are known.

    A group whose longest run got there has a curve that ends at 0 and is known for ever; another is
    known up to its longest time. Where all are known for ever, the longest time of all is taken.

    Args:
        groups: of each, times and whether they are of reaching.
    """
    known = [float(times.max()) for times, reached in groups if not reached[times == times.max()].all()]
    return min(known) if known else max(float(times.max()) for times, _ in groups)


def log_rank(
    times: Sequence[float] | np.ndarray,
    reached: Sequence[bool] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    strata: Sequence[str] | np.ndarray | None = None,
) -> tuple[float, float]:
    """The log-rank test: do groups get there at the same rate?

    The p is of a chi square, which holds for many runs: under the null it is below .05 in 5 of 100
    simulated studies with 10 runs a group, in 8 with 5 and in 9 with 3. With one run a group in each
    stratum it is a sign test whose p is rough: 5 strata that agree give .025 instead of .0625.

    Args:
        times: n times, of reaching or of censoring.
        reached: n truths: whether it is a time of reaching.
        groups: n names.
        strata: n names of strata (splits) within which groups are compared; None for one.

    Returns:
        Chi square, with as many degrees of freedom as groups but one, and its p; both NaN for a single
        group, or where no time tells groups apart: nobody got there, or all at once.
    """
    if len(np.unique(np.asarray(groups))) < 2:
        return math.nan, math.nan
    durations, events = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=int)
    within = None if strata is None else np.asarray(strata)
    try:
        statistic, p = survdiff(durations, events, np.asarray(groups), strata=within)
    except np.linalg.LinAlgError:
        return math.nan, math.nan
    return float(statistic), float(p)


def convergence_table(
    curves: pd.DataFrame,
    reference: str,
    threshold_share: float = 0.95,
    absolute: float | None = None,
) -> pd.DataFrame:
    """When each run of each cell got to the cell's thresholds.

    The first threshold is a share of the best smoothed value that any run of the reference reaches in
    the cell (where that is below 0, as a kappa may be, as much below it); cells without the reference
    have none. The second is the same for all cells.

    Args:
        curves: a table of schema CURVES.
        reference: an init.
        threshold_share: of the best value, up to 1.
        absolute: of the metric; None for none.

    Returns:
        A table of schema CONVERGENCE. Censoring is said in :func:`first_step_reaching`.

    Raises:
        ValueError: a share that isn't above 0 and up to 1.
    """
    if not 0 < threshold_share <= 1:
        raise ValueError(f"threshold_share is {threshold_share}; allowed: above 0, up to 1")
    rows = []
    for key, cell in curves.groupby(list(CELL_COLUMNS), sort=False):
        runs = dict(list(cell.groupby(["init", "split", "seed"], sort=False)))
        of_reference = [run for (init, _, _), run in runs.items() if init == reference]
        for kind, threshold in _thresholds(of_reference, threshold_share, absolute):
            rows += [(*key, *k, kind, threshold, *first_step_reaching(r, threshold))
                     for k, r in runs.items()]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(CONVERGENCE.columns))
    return table.astype({"seed": "int64", "threshold": float, "step": "int64", "reached": bool})


def _thresholds(
    of_reference: list[pd.DataFrame], share: float, absolute: float | None
) -> Iterator[tuple[str, float]]:
    values = [smoothed(run["validation_metric"].to_numpy()) for run in of_reference]
    known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    if len(known):
        best = float(known.max())
        yield SHARE, best - (1 - share) * abs(best)
    if absolute is not None:
        yield ABSOLUTE, float(absolute)


def compare_convergence(
    convergence: pd.DataFrame, reference: str, confidence: float = 0.95
) -> pd.DataFrame:
    """Every init's steps against those of the reference, in each cell and for each threshold.

    Runs that never got there count with what is known of them: in the restricted means (of all runs,
    each init by itself), their difference (of runs paired by split and seed, through pseudo-values, by
    Student's t over seeds; over folds by Nadeau & Bengio's with a ratio of 1 / (folds - 1)), and the
    log-rank test (within splits; it ignores the pairing of seeds, which makes it careful rather than
    bold where paired runs are alike, but see :func:`log_rank` for a handful of runs).

    Args:
        convergence: a table of schema CONVERGENCE.
        reference: the init that is subtracted.
        confidence: coverage of the intervals.

    Returns:
        A table of schema CONVERGENCE_TESTS.
    """
    rows = []
    by = [*CELL_COLUMNS, *THRESHOLD_COLUMNS]
    for key, cell in convergence.groupby(by, sort=False):
        by_init = {
            str(init): runs.set_index(["split", "seed"])
            for init, runs in cell.groupby("init", sort=False)
        }
        rows += [
            dict(zip(by, key, strict=True))
            | {"init": init, "reference": reference}
            | _compared(runs, by_init[reference], confidence)
            for init, runs in by_init.items()
            if init != reference and reference in by_init
        ]
    table = pd.DataFrame(rows, columns=list(CONVERGENCE_TESTS.columns))
    kinds = {name: column.kind for name, column in CONVERGENCE_TESTS.columns.items()}
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    integers = [name for name, kind in kinds.items() if kind == "integer"]
    return table.astype(dict.fromkeys(numbers, float)).astype(dict.fromkeys(integers, "int64"))


def _compared(runs: pd.DataFrame, reference: pd.DataFrame, confidence: float) -> dict[str, object]:
    """One row's results of two inits, whose steps are indexed by split and seed."""
    (times, reached), (of_times, of_reached) = groups = [
        (table["step"].to_numpy(dtype=float), table["reached"].to_numpy(dtype=bool))
        for table in (runs, reference)
    ]
    horizon = common_horizon(groups)
    own = restricted_mean(times, reached, horizon, confidence)
    other = restricted_mean(of_times, of_reached, horizon, confidence)
    paired = _paired_difference(runs, reference, horizon, confidence)
    if not (reached.any() or of_reached.any()):
        # two means at the horizon: nothing is known of their difference
        paired = replace(paired, mean=math.nan, low=math.nan, high=math.nan)
    both = pd.concat([runs, reference])
    names = ["init"] * len(runs) + ["reference"] * len(reference)
    strata = both.index.get_level_values("split").to_numpy()
    return {
        "horizon": round(horizon),
        "mean": own.mean, "low": own.low, "high": own.high,
        "reference_mean": other.mean, "reference_low": other.low, "reference_high": other.high,
        "difference": paired.mean, "difference_low": paired.low, "difference_high": paired.high,
        "p_log_rank": log_rank(
            both["step"].to_numpy(), both["reached"].to_numpy(), names, strata
        )[1],
        "runs": len(runs), "reached": int(reached.sum()),
        "reference_runs": len(reference), "reference_reached": int(of_reached.sum()),
        "pairs": paired.pairs,
    }  # fmt: skip


def _paired_difference(
    runs: pd.DataFrame, reference: pd.DataFrame, horizon: float, confidence: float
) -> PairedResult:
    shared = runs.index.intersection(reference.index)
    own, other = (
        pseudo_values(table.loc[shared, "step"].to_numpy(), table.loc[shared, "reached"], horizon)
        for table in (runs, reference)
    )
    differences = pd.Series(own - other, index=shared)
    splits = shared.get_level_values("split").unique()
    if len(splits) > 1 and all(is_fold(split) for split in splits):
        folds = differences.groupby(level="split").mean().to_numpy()
        return nadeau_bengio(folds, 1 / (len(folds) - 1), confidence)
    return paired_t(differences.to_numpy(), confidence)
