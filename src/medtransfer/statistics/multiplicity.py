"""Many comparisons at once: adjusted p, and bands that hold for a whole curve over depths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medtransfer.statistics.paired import sign_patterns, standard_error

PATTERNS_AT_ONCE = 8192
# |t| of differences that are all the same is taken to be the one of this share of unexplained spread
LEAST_SPREAD = 1e-12


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down p (Scandinavian Journal of Statistics 6, 1979), for a declared family.

    The chance of any false claim in the family stays below the level, however its tests depend on each
    other. NaN stay NaN and don't count as members.
    """
    return _adjusted(p, _step_down)


def benjamini_hochberg(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """The step-up p of Benjamini & Hochberg (JRSS B 57, 1995), for maps of layers.

    The expected share of false claims among the claims stays below the level, for tests that are
    independent or positively dependent. NaN stay NaN and don't count.
    """
    return _adjusted(p, stats.false_discovery_control)


def _step_down(p: np.ndarray) -> np.ndarray:
    """Holm's p of M known ones; statsmodels' function takes a tenth of a second for any number."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def _adjusted(
    p: Sequence[float] | np.ndarray, adjust: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(values)
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise ValueError(f"p has values from {values[known].min()} to {values[known].max()}; "
                         "allowed: 0 to 1, or NaN")  # fmt: skip
    adjusted = np.full(values.shape, np.nan)
    if known.any():
        adjusted[known] = adjust(values[known])
    return adjusted


@dataclass(frozen=True)
class MaxTResult:
    """Mean differences at D depths with simultaneous bands and adjusted p; each array is of length D.

    Attributes:
        mean: mean difference.
        low: lower end of the band: all depths' means are within theirs at once with the confidence.
        high: upper end.
        p: two-sided p, adjusted for all depths.
        critical: an adjusted p is at most 1 - confidence exactly where |t| is above it.
        reach: half the width of the bands in standard errors.
        pairs: number of differences.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    critical: float
    reach: float
    pairs: np.ndarray


def max_t(differences: np.ndarray, confidence: float = 0.95) -> MaxTResult:
    """Single-step max-|t| sign-flip test over depths (Westfall & Young, 1993; Nichols & Holmes, 2002).

    A pattern of signs flips whole pairs, all depths alike, so that the dependence of neighbouring
    depths is kept; each depth's |t| is compared with the largest over depths. The p is exact where
    pairs are independent and differences symmetric under the null: for seeds of one split. Folds share
    training data, which no flip of signs mends.

    The bands have a critical value of their own, from flips of the residuals: those of the differences
    themselves make depths that all gain look like one, and bands of 8 independent depths with strong
    gains then hold in 85 to 93 of 100 studies instead of 95. So a band may, rarely, include 0 where p
    is just below the level, or the reverse. Where pairs have too few patterns for the confidence
    (2 / 2^pairs > 2 (1 - confidence): up to 4 pairs at 95 %), bands are infinite.

    A missing difference is NaN. A depth keeps the pairs that it has; the t of few pairs are large, so
    that a depth with far fewer than the others makes all bands wider. Depths with fewer than two pairs
    have neither p nor band and don't count.

    Args:
        differences: P pairs x D depths.
        confidence: of the bands; the level is 1 - confidence.

    Raises:
        ValueError: differences that aren't a matrix or are infinite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError(f"differences of shape {values.shape}; "
                         "allowed: finite or NaN, pairs x depths")  # fmt: skip
    pairs = np.sum(~np.isnan(values), axis=0)
    tested = pairs >= 2
    depths = values.shape[1]
    mean, p, half = np.full(depths, np.nan), np.full(depths, np.nan), np.full(depths, np.nan)
    mean[pairs > 0] = np.nanmean(values[:, pairs > 0], axis=0)
    if not tested.any():
        return MaxTResult(mean, mean - half, mean + half, p, math.nan, math.nan, pairs)
    kept = values[:, tested]
    errors = np.array([standard_error(depth[~np.isnan(depth)]) for depth in kept.T])
    p[tested], critical = _test(kept, confidence)
    reach = _reach(kept, errors, confidence)
    half[tested] = np.multiply(errors, reach, out=np.zeros_like(errors), where=errors > 0)
    return MaxTResult(mean, mean - half, mean + half, p, critical, reach, pairs)


def _test(values: np.ndarray, confidence: float) -> tuple[np.ndarray, float]:
    """Adjusted p per depth and the critical value, from flips of the differences."""
    observed = _t(np.ones((1, len(values))), values)[0]
    largest = _largest_t(values)
    # equal t may differ by rounding
    p = np.array([(largest >= t * (1 - 1e-9)).mean() for t in observed])
    return p, _quantile(largest, confidence)


def _reach(values: np.ndarray, errors: np.ndarray, confidence: float) -> float:
    """The critical value of the bands, from flips of the residuals."""
    patterns = 2.0 ** (len(values) - 1)
    if patterns * 2 * (1 - confidence) < 1 - 1e-9:
        return math.inf
    residuals = np.where(errors > 0, values - np.nanmean(values, axis=0), values * 0.0)
    return _quantile(_largest_t(residuals), confidence)


def _largest_t(values: np.ndarray) -> np.ndarray:
    """The largest |t| over depths for every pattern of signs."""
    signs = sign_patterns(len(values))
    starts = range(0, len(signs), PATTERNS_AT_ONCE)
    return np.concatenate([_t(signs[i : i + PATTERNS_AT_ONCE], values).max(axis=1) for i in starts])


def _t(signs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """|t| (patterns x depths) of flipped differences; NaN in the differences are missing pairs."""
    pairs = np.sum(~np.isnan(values), axis=0)
    known = np.nan_to_num(values, nan=0.0)
    # t^2 = (k - 1) e / (1 - e), where e is the share of the mean square that the mean explains
    squares = pairs * np.sum(known**2, axis=0)
    sums = signs @ known
    explained = np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0)
    explained = np.minimum(explained, 1 - LEAST_SPREAD)
    return np.sqrt((pairs - 1) * explained / (1 - explained))


def _quantile(largest: np.ndarray, confidence: float) -> float:
    """The smallest value that at most a share 1 - confidence of all exceeds."""
    place = math.ceil(confidence * len(largest) - 1e-9) - 1
    return float(np.sort(largest)[place])
