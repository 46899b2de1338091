"""Tests of paired differences against SciPy, brute force and the formulas written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from medtransfer.statistics.paired import (
    nadeau_bengio,
    paired_t,
    pairs_needed,
    sign_flip,
    smallest_sign_flip_p,
)

SAMPLES = [
    np.random.default_rng(seed).normal(0.3, 1.0, count) for seed, count in enumerate((2, 3, 5, 8, 12))
]


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_the_paired_t_is_that_of_scipy_with_its_interval(sample, confidence):
    expected = stats.ttest_1samp(sample, 0.0)
    interval = expected.confidence_interval(confidence)
    found = paired_t(sample, confidence)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert found.mean == pytest.approx(np.mean(sample))
    assert found.pairs == len(sample)


def test_the_paired_t_of_three_differences_by_hand():
    # mean 2, sd 1, t = 2 sqrt 3; with 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    found = paired_t([1.0, 2.0, 3.0])
    t = 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2), rel=1e-12)
    assert found.high - 2 == pytest.approx(4.302652729749462 / math.sqrt(3), rel=1e-9)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_nadeau_bengio_follows_its_formula(sample, ratio):
    count = len(sample)
    error = math.sqrt(np.var(sample, ddof=1) * (1 / count + ratio))
    t = np.mean(sample) / error
    distribution = stats.t(count - 1)
    found = nadeau_bengio(sample, ratio, 0.9)
    assert found.p == pytest.approx(2 * min(distribution.cdf(t), distribution.sf(t)), rel=1e-10)
    half = distribution.ppf(0.95) * error
    assert found.low == pytest.approx(np.mean(sample) - half, rel=1e-10)
    assert found.high == pytest.approx(np.mean(sample) + half, rel=1e-10)
    assert found.mean == pytest.approx(np.mean(sample))
    assert found.pairs == count


def test_nadeau_bengio_of_5_folds_is_wider_than_the_paired_t_by_a_factor_of_1_and_a_half():
    # five folds: n_test / n_train = 1/4, so the error grows by sqrt((1/5 + 1/4) / (1/5)) = 1.5
    sample = SAMPLES[2]
    plain, corrected = paired_t(sample), nadeau_bengio(sample, 0.25)
    assert corrected.high - corrected.low == pytest.approx(1.5 * (plain.high - plain.low))
    assert corrected.p > plain.p


def test_nadeau_bengio_approaches_the_paired_t_as_the_ratio_goes_to_0():
    sample = SAMPLES[3]
    plain, corrected = paired_t(sample), nadeau_bengio(sample, 1e-13)
    for name in ("low", "high", "p"):
        assert getattr(corrected, name) == pytest.approx(getattr(plain, name), rel=1e-9)


@pytest.mark.parametrize("ratio", [0.0, -0.1, math.nan])
def test_a_ratio_that_is_not_positive_is_an_error(ratio):
    with pytest.raises(ValueError, match="allowed: above 0"):
        nadeau_bengio([1.0, 2.0], ratio)


def brute_force_p(sample: np.ndarray) -> float:
    observed = abs(sum(sample))
    sums = [abs(sum(s * v for s, v in zip(signs, sample, strict=True)))
            for signs in itertools.product((-1, 1), repeat=len(sample))]  # fmt: skip
    return float(np.mean([value >= observed - 1e-9 for value in sums]))


@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_the_sign_flip_test_counts_all_sign_patterns(sample):
    assert sign_flip(sample) == pytest.approx(brute_force_p(sample), abs=1e-12)


@pytest.mark.parametrize("sample", SAMPLES[1:], ids=len)
def test_the_sign_flip_test_is_scipys_permutation_test_of_samples(sample):
    expected = stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(sample) == pytest.approx(expected.pvalue, abs=1e-12)


def test_sums_that_are_equal_but_for_rounding_count_as_equal():
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0  # 0.1 + 0.2 - 0.3 is not 0 in binary
    assert sign_flip([0.1] * 3) == 2 / 8
    # of 64 patterns, 2 sum to ±0.6 and 12 to ±0.4
    assert sign_flip([0.1, 0.1, 0.1, -0.1, 0.1, 0.1]) == 14 / 64


@pytest.mark.parametrize("pairs", range(1, 9))
def test_the_smallest_p_is_reached_when_all_differences_have_one_sign(pairs):
    sample = np.arange(1.0, pairs + 1)
    assert sign_flip(sample) == pytest.approx(smallest_sign_flip_p(pairs), abs=1e-15)
    assert sign_flip(-sample) == sign_flip(sample)
    assert smallest_sign_flip_p(pairs) == 2.0 / 2**pairs


def test_six_pairs_are_needed_to_go_below_5_percent_since_five_give_one_sixteenth():
    assert smallest_sign_flip_p(5) == 0.0625
    assert pairs_needed(0.05) == 6
    assert pairs_needed(0.01) == 8
    assert pairs_needed(0.0625) == 6  # below, not at


def test_many_pairs_are_sampled_close_to_the_normal_limit_and_reproducibly():
    sample = np.random.default_rng(3).normal(0.2, 1, 60)
    z = abs(sample.sum()) / math.sqrt((sample**2).sum())
    expected = 2 * stats.norm.sf(z)
    assert sign_flip(sample) == pytest.approx(expected, abs=0.01)
    assert sign_flip(sample) == sign_flip(sample)


def test_a_sampled_p_is_never_0():
    assert 0 < sign_flip(np.ones(40)) <= 2e-5


def test_the_sign_flip_p_of_17_pairs_agrees_with_their_enumeration():
    sample = np.random.default_rng(4).normal(0.4, 1, 17)
    assert sign_flip(sample) == pytest.approx(exact_p_by_halves(sample), abs=0.005)


def exact_p_by_halves(sample: np.ndarray) -> float:
    """All 2^n sums as sums of the patterns of two halves."""
    half = len(sample) // 2
    sums = [
        np.array([np.dot(signs, part) for signs in itertools.product((-1, 1), repeat=len(part))])
        for part in (sample[:half], sample[half:])
    ]
    return float((np.abs(np.add.outer(*sums)) >= abs(sample.sum()) - 1e-9).mean())


def test_one_pair_has_a_mean_and_neither_interval_nor_evidence():
    for found in (paired_t([0.4]), nadeau_bengio([0.4], 0.25)):
        assert found.mean == 0.4
        assert found.pairs == 1
        assert all(math.isnan(value) for value in (found.low, found.high, found.p))
    assert sign_flip([0.4]) == 1.0


def test_no_pairs_have_nothing():
    found = paired_t([])
    assert found.pairs == 0
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high, found.p))
    assert math.isnan(sign_flip([]))


def test_differences_of_0_are_no_evidence():
    for found in (paired_t([0.0] * 4), nadeau_bengio([0.0] * 4, 0.25)):
        assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert sign_flip([0.0] * 4) == 1.0


@pytest.mark.parametrize("value", [0.5, 0.1, -0.05, 1 / 3])
@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_equal_differences_have_no_spread_and_so_no_p(value, count):
    found = paired_t([value] * count)
    assert math.isnan(found.p)
    assert (found.low, found.high) == pytest.approx((value, value))


def test_differences_that_are_equal_but_for_rounding_have_no_p():
    # accuracies of 20 images: each pair differs by one image
    differences = np.array([0.85, 0.9, 0.8]) - np.array([0.8, 0.85, 0.75])
    assert len(set(differences.tolist())) > 1
    assert math.isnan(paired_t(differences).p)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_undefined_difference_makes_the_tests_undefined(bad):
    for found in (paired_t([0.1, bad, 0.3]), nadeau_bengio([0.1, bad, 0.3], 0.25)):
        assert math.isnan(found.p)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert math.isnan(sign_flip([0.1, bad, 0.3]))
