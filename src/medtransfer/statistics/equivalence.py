"""Is a difference small enough not to matter? Two one-sided tests within a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medtransfer.statistics.paired import standard_error


@dataclass(frozen=True)
class EquivalenceResult:
    """Two one-sided tests of a mean difference; NaN where they can't be computed.

    Attributes:
        mean: mean difference.
        low: lower end of the interval that decides; its coverage is 1 - 2 alpha.
        high: upper end. Equivalence at level alpha is this interval within the margin.
        p: the larger of the two one-sided p, that of equivalence.
        p_lower: against a mean of -margin or below.
        p_upper: against a mean of margin or above.
        margin: differences below it in absolute value are taken not to matter.
        pairs: number of differences.
    """

    mean: float
    low: float
    high: float
    p: float
    p_lower: float
    p_upper: float
    margin: float
    pairs: int


def tost(
    differences: Sequence[float] | np.ndarray,
    margin: float,
    test_train_ratio: float | None = None,
    *,
    confidence: float = 0.95,
) -> EquivalenceResult:
    """Two one-sided t tests (Schuirmann, 1987): is the mean difference within -margin .. margin?

    Over seeds with Student's paired t, over folds with the variance of Nadeau & Bengio (2003). A small
    p speaks for equivalence. Fewer than two differences, or any that isn't finite, leave all but the
    mean undefined. Differences without any spread leave nothing to chance: each one-sided p is 0 on the
    inner side of its limit, and 1 on the outer side and on the limit itself, which belongs to what is
    tested against.

    Args:
        differences: one a pair of runs, or one a fold.
        margin: in the unit of the differences.
        test_train_ratio: test images over training images where the differences are of folds; None for
            seeds of one split.
        confidence: 1 - alpha; the interval has coverage 1 - 2 alpha.

    Raises:
        ValueError: a margin, a ratio or a confidence that is out of its range.
    """
    _check(margin, confidence)
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    error = standard_error(values, test_train_ratio)
    # NaN goes through all of what follows
    p_lower = _one_sided_p(mean + margin, error, len(values), margin)
    p_upper = _one_sided_p(margin - mean, error, len(values), margin)
    half = error * float(stats.t.ppf(confidence, max(len(values) - 1, 1)))
    p = max(p_lower, p_upper)
    return EquivalenceResult(
        mean, mean - half, mean + half, p, p_lower, p_upper, float(margin), len(values)
    )


def _one_sided_p(distance: float, error: float, pairs: int, margin: float) -> float:
    """How surprising the mean's distance inwards from a limit is, were the truth on that limit."""
    if error == 0:
        return 0.0 if distance > 1e-9 * margin else 1.0
    return float(stats.t.sf(distance / error, max(pairs - 1, 1)))


def _check(margin: float, confidence: float) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"margin is {margin}; allowed: a finite number above 0")
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; allowed: above 0.5 and below 1")
