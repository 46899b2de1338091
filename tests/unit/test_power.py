"""Power against statsmodels, the noncentral t, direct integration and simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from medtransfer.statistics.equivalence import tost
from medtransfer.statistics.paired import nadeau_bengio
from medtransfer.statistics.power import (
    detectable_difference,
    pairs_needed_for_difference,
    pairs_needed_for_equivalence,
    power_of_difference,
    power_of_equivalence,
    sd_interval,
)


def noncentral_t(effect: float, pairs: int, level: float = 0.05) -> float:
    """Both tails; SciPy's lower one, and with it statsmodels' power, is NaN where it is next to 0."""
    critical = stats.t.ppf(1 - level / 2, pairs - 1)
    distribution = stats.nct(pairs - 1, effect * math.sqrt(pairs))
    return float(distribution.sf(critical) + np.nan_to_num(distribution.cdf(-critical)))


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.2, 3.0])
@pytest.mark.parametrize("pairs", [2, 3, 5, 10, 40])
def test_the_power_is_that_of_the_noncentral_t(pairs, effect, level):
    expected = noncentral_t(effect, pairs, level)
    for sign in (1, -1):
        found = power_of_difference(0.02, pairs, sign * 0.02 * effect, level)
        assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("pairs", [2, 3, 5, 10, 200])
def test_the_detectable_difference_is_that_of_statsmodels(pairs):
    expected = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert detectable_difference(3.0, pairs) == pytest.approx(3 * float(expected), rel=1e-4)


@pytest.mark.parametrize("ratio", [None, 0.25])
@pytest.mark.parametrize(("power", "level"), [(0.5, 0.05), (0.8, 0.01), (0.95, 0.2)])
def test_the_detectable_difference_has_the_power_that_it_was_asked_for(power, level, ratio):
    for pairs in (2, 5, 12):
        difference = detectable_difference(0.7, pairs, power, level, ratio)
        found = power_of_difference(0.7, pairs, difference, level, ratio)
        assert found == pytest.approx(power, abs=1e-6)


def test_folds_detect_less_by_the_factor_of_their_error():
    # 1/5 + 1/4 over 1/5: the error of five folds is 1.5 times that of five seeds
    expected = 1.5 * detectable_difference(0.02, 5)
    assert detectable_difference(0.02, 5, test_train_ratio=0.25) == pytest.approx(expected)


def test_power_over_folds_is_that_of_the_noncentral_t():
    error = 0.02 * math.sqrt(1 / 5 + 1 / 4)
    critical = stats.t.ppf(0.975, 4)
    nct = stats.nct(4, 0.06 / error)
    expected = nct.sf(critical) + nct.cdf(-critical)
    assert power_of_difference(0.02, 5, 0.06, 0.05, 0.25) == pytest.approx(expected, abs=2e-6)


def test_power_over_folds_is_that_of_simulated_correlated_differences():
    # a part that the folds share has the variance ratio * sd^2, the rest of each fold sd^2
    generator = np.random.default_rng(0)
    shared = generator.normal(0.06, 0.02 * 0.5, (1500, 1))
    studies = shared + generator.normal(0, 0.02, (1500, 5))
    found = np.mean([nadeau_bengio(study, 0.25).p < 0.05 for study in studies])
    assert found == pytest.approx(power_of_difference(0.02, 5, 0.06, 0.05, 0.25), abs=0.04)


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("power", [0.6, 0.8, 0.95])
def test_the_pairs_needed_are_the_fewest_with_that_power(effect, power):
    found = pairs_needed_for_difference(0.1, 0.1 * effect, power)
    assert isinstance(found, int)
    assert noncentral_t(effect, found) >= power
    assert found == 2 or noncentral_t(effect, found - 1) < power
    assert pairs_needed_for_difference(0.1, -0.1 * effect, power) == found


def test_pairs_needed_in_textbooks():
    # a difference of half a standard deviation: 34 pairs; of one: 10
    assert pairs_needed_for_difference(1.0, 0.5) == 34
    assert pairs_needed_for_difference(1.0, 1.0) == 10


def test_no_number_of_folds_finds_what_is_below_what_they_share():
    assert pairs_needed_for_difference(1.0, 1.0, test_train_ratio=0.25) == math.inf
    # the limit: difference / (sd sqrt(ratio)) = z of the level + z of the power
    limit = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(0.25)
    assert pairs_needed_for_difference(1.0, 0.99 * limit, test_train_ratio=0.25) == math.inf
    found = pairs_needed_for_difference(1.0, 1.05 * limit, test_train_ratio=0.25)
    assert power_of_difference(1, found, 1.05 * limit, 0.05, 0.25) >= 0.8
    assert power_of_difference(1, found - 1, 1.05 * limit, 0.05, 0.25) < 0.8


def equivalence_by_integration(error: float, freedom: int, margin: float, truth: float) -> float:
    """Over the standard error and the mean, by SciPy's adaptive quadrature."""
    critical = stats.t.ppf(0.95, freedom)
    chi = stats.chi(freedom, scale=error / math.sqrt(freedom))
    return integrate.quad(
        lambda e: chi.pdf(e) * (stats.norm.cdf(margin - critical * e, truth, error)
                                - stats.norm.cdf(-margin + critical * e, truth, error)),
        0, margin / critical, epsabs=1e-10,
    )[0]  # fmt: skip


@pytest.mark.parametrize("truth", [0.0, 0.4, -0.8, 1.0, 1.5])
@pytest.mark.parametrize("pairs", [2, 3, 8, 30])
def test_the_power_of_equivalence_is_the_integral_over_mean_and_error(pairs, truth):
    for margin, ratio in ((1.0, None), (2.0, None), (2.0, 0.1)):
        error = math.sqrt(1 / pairs + (ratio or 0))
        expected = equivalence_by_integration(error, pairs - 1, margin, truth * margin)
        found = power_of_equivalence(1.0, pairs, margin, truth * margin, 0.05, ratio)
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("pairs", "truth"), [(3, 0.0), (6, 0.0), (6, 0.006), (15, 0.004), (6, 0.012)])
def test_the_power_of_equivalence_is_that_of_simulated_studies(pairs, truth):
    studies = np.random.default_rng(pairs).normal(truth, 0.008, (1500, pairs))
    found = np.mean([tost(study, 0.01).p < 0.05 for study in studies])
    assert found == pytest.approx(power_of_equivalence(0.008, pairs, 0.01, truth), abs=0.04)


def test_with_few_pairs_the_normal_approximation_would_promise_too_much():
    # 5 pairs of sd 1 and a margin of 1: 2 Phi(margin / error - z) - 1
    approximate = 2 * stats.norm.cdf(math.sqrt(5) - stats.norm.ppf(0.95)) - 1
    assert power_of_equivalence(1.0, 5, 1.0) < approximate - 0.1


@pytest.mark.parametrize("truth", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("margin", [0.3, 1.0, 5.0])
def test_the_pairs_needed_for_equivalence_are_the_fewest_with_that_power(margin, truth):
    found = pairs_needed_for_equivalence(1.0, margin, truth * margin, 0.9)
    assert power_of_equivalence(1.0, found, margin, truth * margin) >= 0.9
    assert found == 2 or power_of_equivalence(1.0, found - 1, margin, truth * margin) < 0.9


def test_equivalence_of_what_is_not_equivalent_needs_endless_pairs():
    for truth in (1.0, -1.0, 1.5):
        assert pairs_needed_for_equivalence(1.0, 1.0, truth) == math.inf
    assert pairs_needed_for_equivalence(1.0, 1.0, test_train_ratio=0.25) == math.inf
    assert pairs_needed_for_equivalence(1.0, 2.0, test_train_ratio=0.25) < 20
    assert power_of_equivalence(1.0, 1000, 1.0, 1.0) == pytest.approx(0.05, abs=1e-3)


def test_units_cancel():
    assert detectable_difference(0.2, 5) == pytest.approx(20 * detectable_difference(0.01, 5))
    assert pairs_needed_for_difference(0.2, 0.1) == pairs_needed_for_difference(0.02, 0.01)
    assert pairs_needed_for_equivalence(0.2, 0.1) == pairs_needed_for_equivalence(0.02, 0.01)


def test_no_spread_leaves_nothing_to_chance():
    assert detectable_difference(0.0, 5) == 0
    assert pairs_needed_for_difference(0.0, 0.01) == 2
    assert pairs_needed_for_difference(0.0, 0.0) == math.inf
    assert pairs_needed_for_equivalence(0.0, 0.01) == 2
    assert pairs_needed_for_equivalence(0.0, 0.01, 0.01) == math.inf


def test_no_difference_is_found_at_the_level_only():
    assert power_of_difference(1.0, 7, 0.0, 0.03) == pytest.approx(0.03, abs=2e-6)
    assert pairs_needed_for_difference(1.0, 0.0) == math.inf
    assert pairs_needed_for_difference(1.0, 1e-5) == math.inf  # beyond a million


@pytest.mark.parametrize("pairs", [0, 1])
def test_fewer_than_two_pairs_find_nothing_that_is_known(pairs):
    assert math.isnan(detectable_difference(1.0, pairs))
    assert math.isnan(power_of_difference(1.0, pairs, 1.0))
    assert math.isnan(power_of_equivalence(1.0, pairs, 1.0))
    assert all(math.isnan(end) for end in sd_interval(1.0, pairs))


def test_an_unknown_sd_leaves_all_unknown():
    assert math.isnan(detectable_difference(math.nan, 5))
    assert math.isnan(pairs_needed_for_difference(math.nan, 1.0))
    assert math.isnan(pairs_needed_for_equivalence(math.nan, 1.0))
    assert all(math.isnan(end) for end in sd_interval(math.nan, 5))


def test_what_is_out_of_range_is_an_error():
    for call, match in (
        (lambda: detectable_difference(-1.0, 5), "sd"),
        (lambda: detectable_difference(1.0, 5, power=1.0), "power"),
        (lambda: detectable_difference(1.0, 5, power=0.04), "power"),
        (lambda: pairs_needed_for_difference(1.0, 1.0, level=0.0), "level"),
        (lambda: pairs_needed_for_equivalence(1.0, 0.0), "margin"),
        (lambda: power_of_equivalence(1.0, 5, -1.0), "margin"),
        (lambda: power_of_difference(1.0, 5, 1.0, 0.05, 0.0), "test_train_ratio"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_the_interval_of_a_standard_deviation_holds_in_95_of_100_studies():
    studies = np.random.default_rng(0).normal(5, 2.0, (4000, 5)).std(axis=1, ddof=1)
    ends = np.array([sd_interval(sd, 5) for sd in studies])
    assert np.mean((ends[:, 0] <= 2) & (ends[:, 1] >= 2)) == pytest.approx(0.95, abs=0.012)
    assert np.mean(ends[:, 0] > 2) == pytest.approx(0.025, abs=0.01)


def test_the_interval_of_a_standard_deviation_by_the_table():
    # chi square of 4 degrees of freedom: 0.4844 and 11.1433
    low, high = sd_interval(1.0, 5)
    assert (low, high) == pytest.approx((math.sqrt(4 / 11.1433), math.sqrt(4 / 0.4844)), rel=1e-4)
    narrow = sd_interval(1.0, 5, 0.5)
    assert low < narrow[0] < 1 < narrow[1] < high
