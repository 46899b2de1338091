"""What a number of pairs can show: detectable differences, and how many pairs an answer needs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from medtransfer.statistics.paired import mean_variance_factor

# where more pairs than this would be needed, no number is
LARGEST_NUMBER_OF_PAIRS = 1_000_000
NODES = np.polynomial.legendre.leggauss(200)


def power_of_difference(
    sd: float,
    pairs: int,
    difference: float,
    level: float = 0.05,
    test_train_ratio: float | None = None,
) -> float:
    """The probability that a two-sided paired t test finds a true mean difference: noncentral t.

    Over folds the variance is that of Nadeau & Bengio (2003).

    Args:
        sd: true standard deviation of the paired differences.
        pairs: seeds, or folds.
        difference: true mean difference, of either sign.
        level: of the test.
        test_train_ratio: test images over training images for folds; None for seeds.

    Returns:
        NaN for fewer than two pairs or an unknown sd.
    """
    _check(sd, level)
    if pairs < 2 or math.isnan(sd):
        return math.nan
    error = sd * math.sqrt(mean_variance_factor(pairs, test_train_ratio))
    if error == 0:
        return 1.0 if difference else level
    return _power(abs(difference) / error, pairs - 1, level)


def detectable_difference(
    sd: float,
    pairs: int,
    power: float = 0.8,
    level: float = 0.05,
    test_train_ratio: float | None = None,
) -> float:
    """The smallest true mean difference that a paired t test would have found with this power.

    It depends on the number of pairs and their spread only, never on the difference that was observed:
    "power at the observed difference" is the p value in disguise.

    Args:
        sd: standard deviation of the paired differences.
        pairs: seeds, or folds.
        power: probability of finding it, above the level.
        level: of the two-sided test.
        test_train_ratio: test images over training images for folds; None for seeds.

    Returns:
        In the unit of sd; NaN for fewer than two pairs or an unknown sd.
    """
    _check(sd, level, power)
    if pairs < 2 or math.isnan(sd):
        return math.nan
    error = sd * math.sqrt(mean_variance_factor(pairs, test_train_ratio))
    return error * _noncentrality(power, pairs - 1, level)


def pairs_needed_for_difference(
    sd: float,
    difference: float,
    power: float = 0.8,
    level: float = 0.05,
    test_train_ratio: float | None = None,
) -> float:
    """How many pairs a two-sided paired t test needs to find a true mean difference.

    Over folds the ratio stays as it is: more repeats of the same cross-validation. Their variance has a
    part that no number of folds takes away, so that small differences stay out of reach.

    Args:
        sd: standard deviation of the paired differences.
        difference: true mean difference, of either sign.
        power: probability of finding it, above the level.
        level: of the test.
        test_train_ratio: test images over training images for folds; None for seeds.

    Returns:
        A whole number from 2 on; inf where a million wouldn't do; NaN for an unknown sd.
    """
    _check(sd, level, power)
    if math.isnan(sd):
        return math.nan

    def reached(pairs: int) -> bool:
        return power_of_difference(sd, pairs, difference, level, test_train_ratio) >= power

    return _smallest(reached)


def power_of_equivalence(
    sd: float,
    pairs: int,
    margin: float,
    true_difference: float = 0.0,
    level: float = 0.05,
    test_train_ratio: float | None = None,
) -> float:
    """The probability that two one-sided t tests show equivalence within a margin, exactly.

    Equivalence is shown where the observed mean m and standard error e have |m| + t e < margin. Given
    e, m is normal; the probability is averaged over the chi distribution of e (Phillips, Journal of
    Pharmacokinetics and Biopharmaceutics 18, 1990, has it as Owen's Q).

    Args:
        sd: true standard deviation of the paired differences.
        pairs: seeds, or folds.
        margin: of the equivalence, above 0.
        true_difference: true mean difference.
        level: of each one-sided test.
        test_train_ratio: test images over training images for folds; None for seeds.

    Returns:
        NaN for fewer than two pairs or an unknown sd.
    """
    _check(sd, level, margin=margin)
    if pairs < 2 or math.isnan(sd):
        return math.nan
    error = sd * math.sqrt(mean_variance_factor(pairs, test_train_ratio))
    if error == 0:
        return float(abs(true_difference) < margin)
    critical = float(stats.t.ppf(1 - level, pairs - 1))

    def shown(spread: np.ndarray) -> np.ndarray:
        upper = stats.norm.cdf((margin - true_difference) / error - critical * spread)
        return upper - stats.norm.cdf((-margin - true_difference) / error + critical * spread)

    # with a larger spread nothing can be shown
    return _average(shown, pairs - 1, margin / error / critical)


def pairs_needed_for_equivalence(
    sd: float,
    margin: float,
    true_difference: float = 0.0,
    power: float = 0.8,
    level: float = 0.05,
    test_train_ratio: float | None = None,
) -> float:
    """How many pairs two one-sided t tests need to show equivalence within a margin.

    Args:
        sd: standard deviation of the paired differences.
        margin: of the equivalence, above 0.
        true_difference: true mean difference; within the margin, or no number will do.
        power: probability of showing it, above the level.
        level: of each one-sided test.
        test_train_ratio: as in :func:`pairs_needed_for_difference`.

    Returns:
        A whole number from 2 on; inf where a million wouldn't do; NaN for an unknown sd.
    """
    _check(sd, level, power, margin)
    if math.isnan(sd):
        return math.nan

    def reached(pairs: int) -> bool:
        shown = power_of_equivalence(sd, pairs, margin, true_difference, level, test_train_ratio)
        return shown >= power

    return _smallest(reached)


def sd_interval(sd: float, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a standard deviation from normal differences: (k - 1) s^2 is chi square.

    The sd of a few pairs is itself uncertain: 5 pairs leave it between 0.6 and 2.9 times what was seen,
    and what power or the number of pairs says of it must be read as such a range.

    Returns:
        The lower and the upper end; NaN for fewer than two pairs or an unknown sd.
    """
    if pairs < 2 or math.isnan(sd):
        return math.nan, math.nan
    low, high = stats.chi2.ppf([0.5 + confidence / 2, 0.5 - confidence / 2], pairs - 1)
    return sd * math.sqrt((pairs - 1) / low), sd * math.sqrt((pairs - 1) / high)


def _power(noncentrality: float, freedom: int, level: float) -> float:
    """Of a two-sided t test; SciPy's noncentral t is NaN where its lower tail is very small."""
    critical = float(stats.t.ppf(1 - level / 2, freedom))

    def found(spread: np.ndarray) -> np.ndarray:
        above = stats.norm.cdf(noncentrality - critical * spread)
        return above + stats.norm.cdf(-noncentrality - critical * spread)

    return _average(found, freedom)


def _average(
    function: Callable[[np.ndarray], np.ndarray], freedom: int, largest: float = math.inf
) -> float:
    """The mean of a function of the ratio of observed to true spread, 0 beyond the largest ratio.

    By Gauss-Legendre quadrature over the quantiles of that ratio, sqrt(chi square / freedom).
    """
    nodes, weights = NODES
    top = float(stats.chi2.cdf(freedom * largest**2, freedom))
    spread = np.sqrt(stats.chi2.ppf(top * (nodes + 1) / 2, freedom) / freedom)
    return float(top / 2 * (weights @ function(spread)))


def _noncentrality(power: float, freedom: int, level: float) -> float:
    """At which a two-sided t test has this power."""
    critical = float(stats.t.ppf(1 - level / 2, freedom))
    highest = critical + 1.0
    while _power(highest, freedom, level) < power:
        highest *= 2
    return float(optimize.brentq(lambda n: _power(n, freedom, level) - power, 0.0, highest, xtol=1e-10))


def _smallest(reached: Callable[[int], bool]) -> float:
    """The smallest number of pairs that is enough, given that more are never worse."""
    if not reached(LARGEST_NUMBER_OF_PAIRS):
        return math.inf
    too_few, enough = 1, 2
    while not reached(enough):
        too_few, enough = enough, min(2 * enough, LARGEST_NUMBER_OF_PAIRS)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if reached(middle) else (middle, enough)
    return enough


def _check(sd: float, level: float, power: float = 0.8, margin: float = 1.0) -> None:
    if sd < 0:
        raise ValueError(f"sd is {sd}; allowed: 0 and above")
    if not 0 < level < 0.5:
        raise ValueError(f"level is {level}; allowed: above 0 and below 0.5")
    if not level < power < 1:
        raise ValueError(f"power is {power}; allowed: above the level {level} and below 1")
    if not margin > 0:
        raise ValueError(f"margin is {margin}; allowed: above 0")
