"""Tests of paired differences: over seeds on one split, and over cross-validation folds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

# All 2^n sign patterns are enumerated up to this n; beyond it they are sampled.
LARGEST_ENUMERATION = 16
SAMPLED_SIGNS = 100_000


@dataclass(frozen=True)
class PairedResult:
    """Mean difference with its interval and two-sided p; NaN where it can't be computed."""

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def paired_t(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> PairedResult:
    """Student's paired t: for runs that share seeds on one split.

    Fewer than two differences have no interval. Differences without any spread leave p undefined,
    unless all are 0 (p = 1).
    """
    return _t_result(differences, confidence, None)


def nadeau_bengio(
    differences: Sequence[float] | np.ndarray, test_train_ratio: float, confidence: float = 0.95
) -> PairedResult:
    """The corrected resampled t of Nadeau & Bengio (Machine Learning 52, 2003): for folds.

    t = mean / sqrt(s^2 (1/k + n_test/n_train)), k - 1 degrees of freedom; folds share training data,
    so their differences are correlated and the plain t is too sure.

    Args:
        differences: one a fold.
        test_train_ratio: test images over training images.
        confidence: coverage of the interval.
    """
    return _t_result(differences, confidence, test_train_ratio)


def _t_result(
    differences: Sequence[float] | np.ndarray, confidence: float, test_train_ratio: float | None
) -> PairedResult:
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    error = standard_error(values, test_train_ratio)
    if math.isnan(error):
        return PairedResult(mean, math.nan, math.nan, math.nan, count)
    if error == 0:
        return PairedResult(mean, mean, mean, 1.0 if mean == 0 else math.nan, count)
    half = float(stats.t.ppf(0.5 + confidence / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return PairedResult(mean, mean - half, mean + half, p, count)


def standard_error(values: np.ndarray, test_train_ratio: float | None = None) -> float:
    """Of the mean of repeats: s / sqrt(k) over seeds, s sqrt(1/k + n_test/n_train) over folds.

    0 for values that differ by rounding errors only; NaN for fewer than two, or any that isn't finite.

    Args:
        values: one a seed or fold.
        test_train_ratio: test images over training images for folds; None for seeds.
    """
    scale = mean_variance_factor(len(values), test_train_ratio)
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    error = float(values.std(ddof=1)) * math.sqrt(scale)
    return 0.0 if error <= 1e-12 * float(np.abs(values).max()) else error


def mean_variance_factor(count: int, test_train_ratio: float | None = None) -> float:
    """Of the variance of one repeat: 1/k over seeds, 1/k + n_test/n_train over folds."""
    if test_train_ratio is not None and not test_train_ratio > 0:
        raise ValueError(f"test_train_ratio is {test_train_ratio}; allowed: above 0")
    return (1.0 / count if count else math.inf) + (test_train_ratio or 0.0)


def sign_patterns(count: int) -> np.ndarray:
    """Signs (patterns x count, each 1 or -1) of sign-flip tests, all-positive ones among them.

    All 2^count patterns for a count up to 16; beyond, 100,000 sampled ones with a fixed seed and the
    observed one.
    """
    if count <= LARGEST_ENUMERATION:
        return np.array(list(itertools.product((1.0, -1.0), repeat=count))).reshape(-1, count)
    sampled = np.random.default_rng(0).choice((-1.0, 1.0), size=(SAMPLED_SIGNS, count))
    return np.concatenate([np.ones((1, count)), sampled])


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of the sign-flip permutation test of a mean difference of 0.

    Exact over all 2^n sign patterns for n up to 16; beyond, 100,000 sampled patterns with a fixed
    seed and the observed one counted in. The smallest p that n pairs can give is 2 / 2^n.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0 or not np.isfinite(values).all():
        return math.nan
    observed = abs(values.sum())
    # equal sums may differ by rounding
    tolerance = 1e-12 * np.abs(values).sum()
    sums = np.abs(sign_patterns(len(values)) @ values)
    return float((sums >= observed - tolerance).mean())


def smallest_sign_flip_p(pairs: int) -> float:
    """The smallest p that the sign-flip test can give for a number of pairs."""
    return min(1.0, 2.0 / 2.0**pairs)


def pairs_needed(level: float) -> int:
    """Pairs from which on the sign-flip test can go below a level: 6 for .05."""
    return next(n for n in itertools.count(1) if smallest_sign_flip_p(n) < level)
