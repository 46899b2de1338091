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
    return _t_result(differences, confidence, extra_variance=0.0)


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
    if not test_train_ratio > 0:
        raise ValueError(f"test_train_ratio is {test_train_ratio}; allowed: above 0")
    return _t_result(differences, confidence, extra_variance=test_train_ratio)


def _t_result(
    differences: Sequence[float] | np.ndarray, confidence: float, extra_variance: float
) -> PairedResult:
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    if count < 2 or not np.isfinite(values).all():
        return PairedResult(mean, math.nan, math.nan, math.nan, count)
    error = float(values.std(ddof=1)) * math.sqrt(1.0 / count + extra_variance)
    # differences that are all the same have a spread of rounding errors only
    if error <= 1e-12 * float(np.abs(values).max()):
        return PairedResult(mean, mean, mean, 1.0 if mean == 0 else math.nan, count)
    half = float(stats.t.ppf(0.5 + confidence / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return PairedResult(mean, mean - half, mean + half, p, count)


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of the sign-flip permutation test of a mean difference of 0.

    Exact over all 2^n sign patterns for n up to 16; beyond, 100,000 sampled patterns with a fixed
    seed and the observed one counted in. The smallest p that n pairs can give is 2 / 2^n.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0 or not np.isfinite(values).all():
        return math.nan
    if len(values) <= LARGEST_ENUMERATION:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        extra = 0
    else:
        generator = np.random.default_rng(0)
        signs = generator.choice((-1.0, 1.0), size=(SAMPLED_SIGNS, len(values)))
        extra = 1
    observed = abs(values.sum())
    # equal sums may differ by rounding
    tolerance = 1e-12 * np.abs(values).sum()
    hits = int((np.abs(signs @ values) >= observed - tolerance).sum())
    return (hits + extra) / (len(signs) + extra)


def smallest_sign_flip_p(pairs: int) -> float:
    """The smallest p that the sign-flip test can give for a number of pairs."""
    return min(1.0, 2.0 / 2.0**pairs)


def pairs_needed(level: float) -> int:
    """Pairs from which on the sign-flip test can go below a level: 6 for .05."""
    return next(n for n in itertools.count(1) if smallest_sign_flip_p(n) < level)
