"""Bootstrap intervals over whole clusters, such as the images of one patient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medtransfer.errors import DataError
from medtransfer.seeds import derived_seed

METHODS = ("bca", "percentile", "expanded_bca", "expanded_percentile")
# With more clusters than this, the acceleration is taken from groups of clusters.
MOST_LEFT_OUT = 400
# Values closer than this share of the largest one differ by rounding only.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval; NaN where it can't be computed.

    Attributes:
        estimate: the statistic of the data as they are.
        low, high: ends of the interval.
        error: standard deviation of the replicates.
        undefined: replicates without a value; they are left out.
    """

    estimate: float
    low: float
    high: float
    error: float
    undefined: int


def cluster_bootstrap(  # noqa: PLR0913 (the last four are how it is drawn and cut)
    statistic: Callable[[pd.DataFrame], float],
    table: pd.DataFrame,
    cluster: str | None,
    n_resamples: int = 2000,
    *,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
) -> Interval:
    """Interval of a statistic of a table, from draws of whole clusters with replacement.

    A cluster that is drawn twice has all its rows in twice, under the same name. Nothing depends on the
    order of the rows. Fewer than two clusters say nothing of their variation: the interval is NaN.
    See :func:`bca_interval` and :func:`percentile_interval` for the other degenerate cases.

    Args:
        statistic: from a table like the given one, with rows repeated and numbered anew, to a number;
            NaN where undefined.
        table: the data; its values have to be hashable.
        cluster: column that names the cluster of a row; None if each row is its own.
        n_resamples: how many draws.
        confidence: coverage of the interval, between 0 and 1.
        method: bca or percentile; with fewer than 50 clusters or so both are too short, which
            expanded_bca and expanded_percentile allow for.
        seed: of the draws.

    Raises:
        DataError: the column is missing, or has rows without a value.
        ValueError: an argument is out of its range.
    """
    check_resamples(n_resamples)
    check_confidence(confidence)
    check_method(method)
    table, clusters = _in_order(table, cluster)
    if table.empty:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    count = int(clusters[-1]) + 1

    def value(weights: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(table)), weights[clusters])
        return float(statistic(table.iloc[rows].reset_index(drop=True))) if len(rows) else math.nan

    estimate = float(statistic(table))
    replicates = np.array([value(weights) for weights in draws(count, n_resamples, seed)])
    if method == "percentile" and count > 1:
        return percentile_interval(estimate, replicates, confidence)
    influences = np.array([estimate - value(weights) for weights in left_out(count, seed)])
    return interval_by(method, estimate, replicates, [influences], confidence)


def interval_by(
    method: str,
    estimate: float,
    replicates: np.ndarray,
    influences: Sequence[np.ndarray],
    confidence: float,
) -> Interval:
    """The interval of one of METHODS; the other arguments are those of :func:`bca_interval`."""
    check_method(method)
    expanded = method.startswith("expanded")
    if method.endswith("percentile") and all(len(sample) > 1 for sample in influences):
        return percentile_interval(estimate, replicates, confidence, influences if expanded else ())
    return bca_interval(estimate, replicates, influences, confidence, expanded=expanded)


def _in_order(table: pd.DataFrame, cluster: str | None) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows sorted by cluster and content, and the place of each row's cluster, from 0."""
    if cluster is not None and cluster not in table:
        found = ", ".join(map(str, table.columns))
        raise DataError(f"the bootstrap's table has no column {cluster}; it has {found}")
    content = pd.util.hash_pandas_object(table, index=False).to_numpy()
    if cluster is None:
        return table.iloc[np.argsort(content)].reset_index(drop=True), np.arange(len(table))
    clusters = numbered(table[cluster], f"column {cluster} of the bootstrap's table")
    order = np.lexsort((content, clusters))
    return table.iloc[order].reset_index(drop=True), clusters[order]


def numbered(clusters: Sequence[object] | np.ndarray | pd.Series, name: str) -> np.ndarray:
    """N cluster names as N integers: the place of each among the sorted names.

    Raises:
        DataError: a name is missing; the message starts with ``name``.
    """
    numbers, _ = pd.factorize(pd.Series(clusters), sort=True)
    missing = int((numbers < 0).sum())
    if missing:
        raise DataError(f"{name}: {missing} of {len(numbers)} rows have no value; each needs one")
    return np.asarray(numbers)


def draws(count: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """For each resample, how often each of ``count`` clusters is drawn."""
    generator = np.random.default_rng(derived_seed(seed, "draws of clusters"))
    for _ in range(n_resamples):
        yield np.bincount(generator.integers(0, count, count), minlength=count)


def left_out(count: int, seed: int) -> Iterator[np.ndarray]:
    """0 for the clusters that are left out in turn, 1 for the others: the weights of the jackknife.

    One cluster is left out at a time; of many clusters, one of several hundred random groups whose
    sizes differ by 1 at most.
    """
    groups = np.arange(count)
    if count > MOST_LEFT_OUT:
        generator = np.random.default_rng(derived_seed(seed, "groups of clusters"))
        groups = generator.permutation(count) % MOST_LEFT_OUT
    for group in range(min(count, MOST_LEFT_OUT)):
        yield (groups != group).astype(np.int64)


def bca_interval(
    estimate: float,
    replicates: np.ndarray,
    influences: Sequence[np.ndarray],
    confidence: float,
    *,
    expanded: bool = False,
) -> Interval:
    """Bias-corrected and accelerated interval (Efron, JASA 82, 1987).

    The acceleration for several independent samples is that of DiCiccio & Efron (Statistical Science
    11, 1996); replicates that equal the estimate count half in the bias correction. The interval is NaN
    when the estimate or all replicates are undefined, a sample has fewer than two clusters, all
    replicates lie on one side of the estimate, or all are equal while others are undefined. When all
    are equal and defined, both ends are that value.

    Args:
        estimate: the statistic of the data.
        replicates: B values of the resampled statistic; NaN where undefined.
        influences: for each independent sample, G values: the estimate less the statistic without one
            of the clusters, or of the equally large groups of them; NaN where undefined.
        confidence: coverage of the interval, between 0 and 1.
        expanded: with the tails that few clusters ask for, as :func:`percentile_interval` has them.
    """
    check_confidence(confidence)
    defined = replicates[np.isfinite(replicates)]
    if not _has_interval(estimate, replicates) or any(len(sample) < 2 for sample in influences):
        return _interval(estimate, replicates, (math.nan, math.nan))
    if _constant(defined):
        return _interval(estimate, replicates, (float(defined[0]), float(defined[0])))
    equal = np.abs(defined - estimate) <= ROUNDING * max(abs(estimate), float(np.abs(defined).max()))
    below = float(np.mean((defined < estimate) & ~equal) + np.mean(equal) / 2)
    if below in (0.0, 1.0):
        return _interval(estimate, replicates, (math.nan, math.nan))
    shift, acceleration = float(stats.norm.ppf(below)), _acceleration(influences)
    tail = 0.5 + confidence / 2
    reach = _expanded_quantile(tail, influences) if expanded else float(stats.norm.ppf(tail))
    levels = [_bca_level(z, shift, acceleration) for z in (-reach, reach)]
    return _interval(estimate, replicates, np.quantile(defined, levels))


def percentile_interval(
    estimate: float,
    replicates: np.ndarray,
    confidence: float,
    influences: Sequence[np.ndarray] = (),
) -> Interval:
    """Interval between quantiles of the replicates; NaN when the estimate or all are undefined.

    It is also NaN when all replicates are equal while others are undefined.

    Args:
        estimate: the statistic of the data.
        replicates: B values of the resampled statistic; NaN where undefined.
        confidence: coverage of the interval, between 0 and 1.
        influences: those of :func:`bca_interval`, for tails that allow for few clusters: with n of them
            normal quantiles become Student's with n - 1 degrees of freedom, times sqrt(n / (n - 1))
            (Hesterberg, The American Statistician 69, 2015); several samples have Welch and
            Satterthwaite's degrees of freedom. None: plain tails.
    """
    check_confidence(confidence)
    if not _has_interval(estimate, replicates):
        return _interval(estimate, replicates, (math.nan, math.nan))
    tail = 0.5 + confidence / 2
    tail = float(stats.norm.cdf(_expanded_quantile(tail, influences))) if influences else tail
    defined = replicates[np.isfinite(replicates)]
    return _interval(estimate, replicates, np.quantile(defined, [1 - tail, tail]))


def _bca_level(z: float, shift: float, acceleration: float) -> float:
    """The share of replicates below an end of the interval; z is that end's normal quantile."""
    shifted = shift + z
    slowed = 1 - acceleration * shifted
    if slowed <= 0:  # beyond the pole of the transformation
        return float(shifted > 0)
    return float(stats.norm.cdf(shift + shifted / slowed))


def _expanded_quantile(tail: float, influences: Sequence[np.ndarray]) -> float:
    """What stands in for the normal quantile where there are few clusters."""
    samples = [sample[np.isfinite(sample)] for sample in influences]
    known = [sample for sample in samples if len(sample) > 1]
    squares = np.array([float(((sample - sample.mean()) ** 2).sum()) for sample in known])
    if not squares.any():
        return float(stats.norm.ppf(tail))
    freedom = np.array([len(sample) - 1 for sample in known])
    shares = squares / squares.sum()
    widened = float((shares * (freedom + 1) / freedom).sum())
    return float(stats.t.ppf(tail, 1 / (shares**2 / freedom).sum())) * math.sqrt(widened)


def _acceleration(influences: Sequence[np.ndarray]) -> float:
    """A sixth of the skewness of the estimate, summed over independent samples; 0 without spread."""
    squares = cubes = 0.0
    for sample in influences:
        defined = sample[np.isfinite(sample)]
        if len(defined) > 1:
            centred = (defined - defined.mean()) * (len(defined) - 1) / len(defined)
            squares += float((centred**2).sum())
            cubes += float((centred**3).sum())
    return cubes / (6 * squares**1.5) if squares else 0.0


def _has_interval(estimate: float, replicates: np.ndarray) -> bool:
    finite = np.isfinite(replicates)
    if not math.isfinite(estimate) or not finite.any():
        return False
    return bool(finite.all()) or not _constant(replicates[finite])


def _constant(values: np.ndarray) -> bool:
    return float(np.ptp(values)) <= ROUNDING * float(np.abs(values).max())


def _interval(estimate: float, replicates: np.ndarray, ends: Sequence[float] | np.ndarray) -> Interval:
    defined = replicates[np.isfinite(replicates)]
    error = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
    estimate = estimate if math.isfinite(estimate) else math.nan
    return Interval(estimate, float(ends[0]), float(ends[1]), error, len(replicates) - len(defined))


def check_resamples(n_resamples: int) -> None:
    """Raise ValueError unless there is at least one resample."""
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; allowed: 1 or more")


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless the coverage is between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; allowed: between 0 and 1")


def check_method(method: str) -> None:
    """Raise ValueError unless it is a method of intervals."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; allowed: {', '.join(METHODS)}")
