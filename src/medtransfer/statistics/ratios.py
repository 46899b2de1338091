"""Intervals of ratios of two means, such as the share of a gain that is feature reuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medtransfer.statistics.paired import mean_variance_factor


@dataclass(frozen=True)
class RatioResult:
    """A ratio of two means with its interval.

    Attributes:
        estimate: mean numerator over mean denominator; NaN where that is 0.
        low: lower end of the interval: NaN for fewer than two pairs, -inf where it is unbounded.
        high: upper end; NaN or inf likewise.
        bounded: whether the denominator differs from 0 at the level of the interval. Where it doesn't,
            data can't bound the ratio, and its estimate must not be reported as if they did.
        pairs: number of pairs.
    """

    estimate: float
    low: float
    high: float
    bounded: bool
    pairs: int


def fieller(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    test_train_ratio: float | None = None,
) -> RatioResult:
    """The interval of mean(numerators) / mean(denominators) from paired values (Fieller, 1954).

    It is the set of ratios r for which a paired t test doesn't reject mean(numerators) =
    r mean(denominators). Where the denominator can't be told from 0, that set is the whole line, or all
    but a stretch of it; both are given as -inf .. inf and ``bounded`` is false.

    Args:
        numerators: one a seed or fold.
        denominators: of the same seeds or folds, in the same order.
        confidence: coverage of the interval.
        test_train_ratio: test images over training images for folds, whose variance is that of Nadeau &
            Bengio (2003); None for seeds.

    Raises:
        ValueError: numbers of values that differ, or a ratio that isn't above 0.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (numerators, denominators))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{x.shape} numerators and {y.shape} denominators; needed: as many of each")
    factor = mean_variance_factor(len(x), test_train_ratio)
    estimate = float(x.mean() / y.mean()) if len(y) and y.mean() != 0 else math.nan
    if len(x) < 2 or not np.isfinite([x, y]).all():
        return RatioResult(estimate, math.nan, math.nan, False, len(x))
    critical = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 1))
    low, high = _limits((float(x.mean()), float(y.mean())), critical**2 * factor * np.cov(x, y))
    return RatioResult(estimate, low, high, math.isfinite(low), len(x))


def _limits(means: tuple[float, float], reach: np.ndarray) -> tuple[float, float]:
    """The r with (x - r y)^2 <= reach_xx - 2 r reach_xy + r^2 reach_yy; -inf, inf where unbounded."""
    x, y = means
    square, mixed, constant = y * y - reach[1, 1], x * y - reach[0, 1], x * x - reach[0, 0]
    # a denominator of rounding errors only is none
    if square <= 1e-12 * y * y:
        return -math.inf, math.inf
    root = math.sqrt(max(mixed * mixed - square * constant, 0.0))
    return (mixed - root) / square, (mixed + root) / square
