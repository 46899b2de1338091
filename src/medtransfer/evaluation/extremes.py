"""Intervals of the largest of several values, such as the gap between groups.

The largest of estimates is too large on average, and its bootstrap distribution is no guide to how
much: where several values are nearly equal, or a gap nearly 0, percentile and BCa intervals of the
largest itself hold the truth too seldom. So intervals of all values are taken that hold all truths
together, and what follows from these for the largest holds with at least the same confidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtransfer.statistics.resampling import Resampled


def simultaneous_intervals(
    values: Sequence[Resampled], confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of K values, such that all of them hold together.

    Each is the estimate and c standard errors to both sides, where c is the quantile at ``confidence``
    of the largest |replicate - estimate| / standard error of a resample (max-t; Westfall & Young,
    Resampling-Based Multiple Testing, 1993). Values that move together cost little. Resamples in which
    a value is undefined are left out.

    Returns:
        K lower and K upper ends; all NaN where no resample has all values, or an estimate is undefined.
    """
    estimates = np.array([value.estimate for value in values])
    errors = np.array([value.replicates - value.estimate for value in values])
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    if errors.shape[1] < 2:
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    spread = errors.std(axis=1, ddof=1)
    largest = np.abs(errors / np.where(spread > 0, spread, np.inf)[:, None]).max(axis=0)
    half = spread * np.quantile(largest, confidence)
    return estimates - half, estimates + half


def interval_of_largest(values: Sequence[Resampled], confidence: float) -> tuple[float, float]:
    """Interval of the largest of the true values: from the largest lower to the largest upper end."""
    lows, highs = simultaneous_intervals(values, confidence)
    return float(lows.max()), float(highs.max())
