"""Tests of equivalence within a margin against statsmodels, the formula, and its consequences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from medtransfer.statistics.equivalence import tost
from medtransfer.statistics.paired import nadeau_bengio, paired_t

SAMPLES = [
    np.random.default_rng(seed).normal(0.004, 0.01, count) for seed, count in enumerate((2, 3, 5, 20))
]


@pytest.mark.parametrize("margin", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_the_two_tests_are_those_of_statsmodels(sample, margin):
    p, lower, upper = ttost_paired(sample, np.zeros(len(sample)), -margin, margin)
    found = tost(sample, margin)
    assert (found.p, found.p_lower, found.p_upper) == pytest.approx((p, lower[1], upper[1]), rel=1e-9)
    assert (found.margin, found.pairs) == (margin, len(sample))
    assert found.mean == pytest.approx(sample.mean())


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_the_interval_leaves_alpha_out_on_each_side(sample, confidence):
    expected = stats.ttest_1samp(sample, 0.0).confidence_interval(1 - 2 * (1 - confidence))
    found = tost(sample, 0.01, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("ratio", [None, 0.25])
def test_p_is_below_alpha_exactly_where_the_interval_is_within_the_margin(ratio):
    generator = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        found = tost(generator.normal(0.003, 0.006, 5), 0.01, ratio)
        within = found.low > -0.01 and found.high < 0.01
        assert (found.p < 0.05) == within
        outcomes.add(within)
    assert outcomes == {True, False}


@pytest.mark.parametrize("sample", SAMPLES[1:], ids=len)
def test_folds_have_the_interval_and_the_tests_of_nadeau_bengio(sample):
    ratio, margin = 0.25, 0.02
    found = tost(sample, margin, ratio)
    expected = nadeau_bengio(sample, ratio, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    error = math.sqrt(np.var(sample, ddof=1) * (1 / len(sample) + ratio))
    t = stats.t(len(sample) - 1)
    assert found.p_lower == pytest.approx(1 - t.cdf((sample.mean() + margin) / error))
    assert found.p_upper == pytest.approx(t.cdf((sample.mean() - margin) / error))
    assert found.p > tost(sample, margin).p


def test_three_differences_by_hand():
    # mean 2, error 1/sqrt(3), margin 3: t of the upper test is sqrt(3); with 2 degrees of freedom
    # P(T > t) = (1 - t / sqrt(t^2 + 2)) / 2
    found = tost([1.0, 2.0, 3.0], 3.0)
    assert found.p == found.p_upper == pytest.approx((1 - math.sqrt(3) / math.sqrt(5)) / 2)


def test_a_mirrored_sample_swaps_the_two_tests():
    found, mirrored = tost(SAMPLES[2], 0.01), tost(-SAMPLES[2], 0.01)
    assert (mirrored.p_lower, mirrored.p_upper) == pytest.approx((found.p_upper, found.p_lower))
    assert mirrored.p == pytest.approx(found.p)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_a_mean_beyond_the_margin_never_is_equivalent_and_one_on_it_has_even_odds():
    assert tost([0.02, 0.021, 0.022], 0.01).p > 0.99
    assert tost([0.0, 0.01, 0.02], 0.01).p == pytest.approx(0.5)


def test_no_significance_is_no_equivalence():
    noisy = [0.1, -0.12, 0.05, -0.02]
    assert paired_t(noisy).p > 0.5
    assert tost(noisy, 0.01).p > 0.3


@pytest.mark.parametrize(
    ("value", "p_lower", "p_upper"),
    [(0.0, 0, 0), (0.005, 0, 0), (-0.005, 0, 0), (0.01, 0, 1), (-0.01, 1, 0), (0.3, 0, 1)],
)
@pytest.mark.parametrize("ratio", [None, 0.25])
def test_differences_without_spread_are_decided_and_the_limit_is_outside(
    value, p_lower, p_upper, ratio
):
    found = tost([value] * 3, 0.01, ratio)
    assert (found.p_lower, found.p_upper) == (p_lower, p_upper)
    assert found.p == max(p_lower, p_upper)
    assert (found.low, found.high) == pytest.approx((value, value))


def test_a_spread_of_rounding_errors_is_none():
    differences = np.array([0.85, 0.9, 0.8]) - np.array([0.8, 0.85, 0.75])
    assert len(set(differences.tolist())) > 1
    assert tost(differences, 0.05).p == 1  # on the limit but for rounding
    assert tost(differences, 0.06).p == 0


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, math.nan, 0.2], [0.1, math.inf]])
def test_what_cannot_be_tested_is_nan(differences):
    found = tost(differences, 0.01)
    assert all(math.isnan(v) for v in (found.low, found.high, found.p, found.p_lower, found.p_upper))
    assert found.pairs == len(differences)
    assert tost([0.1], 0.01).mean == 0.1


@pytest.mark.parametrize("margin", [0.0, -0.01, math.nan, math.inf])
def test_a_margin_must_be_above_0(margin):
    with pytest.raises(ValueError, match="margin is"):
        tost([0.1, 0.2], margin)


@pytest.mark.parametrize("ratio", [0.0, -0.2, math.nan])
def test_a_ratio_must_be_above_0(ratio):
    with pytest.raises(ValueError, match="test_train_ratio is"):
        tost([0.1, 0.2], 0.1, ratio)


@pytest.mark.parametrize("confidence", [0.5, 1.0, 95])
def test_a_confidence_must_leave_an_interval(confidence):
    with pytest.raises(ValueError, match="confidence"):
        tost([0.1, 0.2], 0.1, confidence=confidence)


def test_on_the_limit_equivalence_is_claimed_in_alpha_of_all_studies():
    generator = np.random.default_rng(1)
    claims = [tost(generator.normal(0.01, 0.003, 6), 0.01).p < 0.05 for _ in range(2000)]
    assert np.mean(claims) == pytest.approx(0.05, abs=0.015)
