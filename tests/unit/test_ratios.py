"""Fieller's interval against the test that it inverts, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medtransfer.statistics.paired import nadeau_bengio, paired_t
from medtransfer.statistics.ratios import fieller


def values(pairs: int, seed: int, numerator: float = 2.0, denominator: float = 4.0):
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, 0.5, pairs)
    x = numerator + shared + generator.normal(0, 0.5, pairs)
    return x, denominator + shared + generator.normal(0, 0.5, pairs)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("pairs", [3, 5, 20])
def test_at_its_ends_the_paired_t_test_just_rejects(pairs, confidence):
    x, y = values(pairs, pairs)
    found = fieller(x, y, confidence)
    assert found.bounded
    assert found.estimate == pytest.approx(x.mean() / y.mean())
    assert found.low < found.estimate < found.high
    for end in (found.low, found.high):
        assert paired_t(x - end * y).p == pytest.approx(1 - confidence, rel=1e-6)
    assert paired_t(x - (found.low + 1e-3) * y).p > 1 - confidence
    assert paired_t(x - (found.high + 1e-3) * y).p < 1 - confidence


def test_over_folds_it_inverts_nadeau_bengio():
    x, y = values(5, 1)
    found = fieller(x, y, 0.95, 0.25)
    for end in (found.low, found.high):
        assert nadeau_bengio(x - end * y, 0.25).p == pytest.approx(0.05, rel=1e-6)
    plain = fieller(x, y)
    assert found.low < plain.low and found.high > plain.high


def test_a_constant_denominator_leaves_the_t_interval():
    x = np.array([1.0, 2.0, 4.0])
    found, expected = fieller(x, [2.0] * 3), paired_t(x / 2)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_ratio_that_is_the_same_in_all_pairs_is_known():
    found = fieller([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], 0.8)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-7)
    assert found.bounded


def test_units_and_signs_carry_over():
    x, y = values(6, 2)
    found, scaled = fieller(x, y), fieller(-3 * x, 5 * y)
    assert (scaled.low, scaled.high) == pytest.approx((-0.6 * found.high, -0.6 * found.low))
    both = fieller(-x, -y)
    assert (both.low, both.high) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize("ratio", [None, 0.25])
def test_it_is_bounded_exactly_where_the_denominator_differs_from_0(ratio):
    seen = set()
    for seed in range(60):
        x, y = values(5, seed, 0.3, 0.9)
        found = fieller(x, y, 0.95, ratio)
        p = nadeau_bengio(y, ratio).p if ratio else paired_t(y).p
        assert found.bounded == (p < 0.05)
        assert found.bounded == math.isfinite(found.low) == math.isfinite(found.high)
        if not found.bounded:
            assert (found.low, found.high) == (-math.inf, math.inf)
        seen.add(found.bounded)
    assert seen == {True, False}


def test_denominators_of_0_have_no_ratio():
    found = fieller([0.1, 0.2, 0.3], [0.0, 0.0, 0.0])
    assert math.isnan(found.estimate)
    assert (found.low, found.high, found.bounded) == (-math.inf, math.inf, False)


@pytest.mark.parametrize("x", [[], [0.2], [0.2, math.nan, 0.1]])
def test_what_has_no_spread_or_no_value_has_no_interval(x):
    found = fieller(x, [0.5] * len(x))
    assert math.isnan(found.low) and math.isnan(found.high)
    assert not found.bounded
    assert found.pairs == len(x)
    assert fieller([0.2], [0.5]).estimate == 0.4


def test_numbers_that_differ_and_a_bad_ratio_are_errors():
    with pytest.raises(ValueError, match="as many of each"):
        fieller([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="test_train_ratio"):
        fieller([1.0, 2.0], [1.0, 2.0], 0.95, 0.0)


@pytest.mark.parametrize("denominator", [4.0, 0.7])
def test_it_holds_the_true_ratio_in_95_of_100_studies_however_small_the_denominator(denominator):
    # an unbounded one, being all but a stretch of the line, is counted by the test that it inverts
    held = 0
    for seed in range(1500):
        x, y = values(5, seed, 2.0, denominator)
        found = fieller(x, y)
        truth = 2.0 / denominator
        inside = found.low <= truth <= found.high
        held += inside if found.bounded else paired_t(x - truth * y).p >= 0.05
        if not found.bounded:
            assert inside
    assert held / 1500 == pytest.approx(0.95, abs=0.015)


def test_the_share_of_no_gain_is_undefined():
    generator = np.random.default_rng(0)
    whole, statistics, random = generator.normal(0.8, 0.01, (3, 5))
    found = fieller(whole - statistics, whole - random)
    assert not found.bounded
    assert found.high == math.inf


def test_the_mean_of_ratios_is_something_else():
    x, y = [1.0, 1.0, 1.0], [0.5, 2.0, 4.0]
    assert fieller(x, y).estimate == pytest.approx(3 / 6.5)
    assert np.mean(np.divide(x, y)) != pytest.approx(3 / 6.5)
    assert stats.gmean(y) != pytest.approx(6.5 / 3)
