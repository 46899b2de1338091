"""Adjusted p against their definitions; the max-T test against enumeration and its promises."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from medtransfer.statistics.multiplicity import benjamini_hochberg, holm, max_t
from medtransfer.statistics.paired import sign_flip

P_VALUES = [
    [0.01, 0.04, 0.03, 0.005],
    [0.2, 0.2, 0.001, 0.9, 0.02],
    [0.5],
    np.random.default_rng(0).uniform(0, 0.2, 12).tolist(),
]


def holm_by_hand(p: list[float]) -> list[float]:
    adjusted, running = [0.0] * len(p), 0.0
    for rank, place in enumerate(np.argsort(p)):
        running = max(running, (len(p) - rank) * p[place])
        adjusted[place] = min(1.0, running)
    return adjusted


def benjamini_hochberg_by_hand(p: list[float]) -> list[float]:
    m = len(p)
    return [min(min(1.0, q * m / sum(r <= q for r in p)) for q in p if q >= own) for own in p]


@pytest.mark.parametrize("p", P_VALUES, ids=len)
def test_holm_and_benjamini_hochberg_follow_their_definitions(p):
    assert holm(p) == pytest.approx(holm_by_hand(p))
    assert benjamini_hochberg(p) == pytest.approx(benjamini_hochberg_by_hand(p))


@pytest.mark.parametrize("p", P_VALUES, ids=len)
def test_both_are_those_of_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_nan_stay_and_do_not_count(adjust):
    found = adjust([math.nan, 0.01, 0.04, math.nan, 0.03])
    assert np.isnan(found[[0, 3]]).all()
    assert found[[1, 2, 4]] == pytest.approx(adjust([0.01, 0.04, 0.03]))
    assert np.isnan(adjust([math.nan])).all()
    assert len(adjust([])) == 0


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("bad", [-0.01, 1.01])
def test_a_p_outside_of_0_and_1_is_an_error(adjust, bad):
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        adjust([0.2, bad])


def curves(pairs: int, depths: int, seed: int, gain: float = 0.0) -> np.ndarray:
    """Differences that neighbouring depths share in part."""
    noise = np.random.default_rng(seed).standard_normal((pairs, depths))
    return gain + np.cumsum(noise, axis=1) / np.sqrt(np.arange(1, depths + 1))


def t_of(values: np.ndarray) -> np.ndarray:
    return np.abs(stats.ttest_1samp(values, 0.0, axis=0).statistic)


def brute_force(values: np.ndarray) -> np.ndarray:
    """The largest |t| over depths of every pattern."""
    patterns = itertools.product((-1, 1), repeat=len(values))
    return np.array([t_of(values * np.array(signs)[:, None]).max() for signs in patterns])


@pytest.mark.parametrize(("pairs", "depths"), [(2, 3), (5, 4), (7, 6)])
def test_p_are_the_shares_of_patterns_whose_largest_t_is_as_large(pairs, depths):
    values = curves(pairs, depths, seed=pairs, gain=0.4)
    largest = brute_force(values)
    expected = [(largest >= t - 1e-9).mean() for t in t_of(values)]
    found = max_t(values)
    assert found.p == pytest.approx(expected)
    assert found.mean == pytest.approx(values.mean(axis=0))
    assert found.pairs.tolist() == [pairs] * depths


@pytest.mark.parametrize("pairs", [2, 5, 9, 17])
def test_a_single_depth_is_the_sign_flip_test(pairs):
    values = np.random.default_rng(pairs).normal(0.5, 1, pairs)
    assert max_t(values[:, None]).p[0] == pytest.approx(sign_flip(values), abs=1e-12)


def test_the_critical_value_decides_as_p_does():
    decided = set()
    for seed in range(12):
        values = curves(7, 5, seed, gain=0.8)
        for confidence in (0.8, 0.95, 0.97):
            found = max_t(values, confidence)
            claims = (t_of(values) > found.critical * (1 + 1e-9)).tolist()
            assert claims == (found.p <= 1 - confidence + 1e-12).tolist()
            decided.update(claims)
    assert decided == {True, False}


def test_the_bands_reach_as_far_as_flips_of_the_residuals():
    values = curves(7, 4, seed=1, gain=2.0)
    largest = np.sort(brute_force(values - values.mean(axis=0)))
    reach = largest[math.ceil(0.9 * len(largest)) - 1]
    error = stats.sem(values, axis=0)
    found = max_t(values, 0.9)
    assert found.reach == pytest.approx(reach)
    assert found.low == pytest.approx(values.mean(axis=0) - reach * error)
    assert found.high == pytest.approx(values.mean(axis=0) + reach * error)


def test_copies_of_a_depth_cost_nothing_and_other_depths_do():
    values = curves(8, 1, seed=2, gain=0.7)
    alone = max_t(values)
    copies = max_t(np.repeat(values, 5, axis=1))
    assert copies.p == pytest.approx(np.repeat(alone.p, 5))
    assert copies.reach == pytest.approx(alone.reach)
    others = max_t(np.hstack([values, np.random.default_rng(5).standard_normal((8, 6))]))
    assert others.p[0] > alone.p[0]
    assert others.reach > alone.reach


def test_scale_sign_and_order_change_nothing():
    values = curves(7, 4, seed=3, gain=0.5)
    found = max_t(values)
    turned = max_t(-values[::-1, ::-1] * np.array([1e-6, 1, 10, 1e6]))
    assert turned.p == pytest.approx(found.p[::-1])
    assert turned.critical == pytest.approx(found.critical)


def test_depths_without_spread_are_no_trouble():
    values = curves(6, 4, seed=4)
    values[:, 1], values[:, 2] = 0.0, 0.1
    found = max_t(values)
    assert found.p[1] == 1
    assert found.p[2] == pytest.approx(2 / 64)
    assert (found.low[1:3], found.high[1:3]) == (pytest.approx([0, 0.1]), pytest.approx([0, 0.1]))
    assert np.isfinite(found.low).all()
    assert found.reach == pytest.approx(max_t(values[:, [0, 3]]).reach)
    nothing = max_t(np.zeros((6, 3)))
    assert nothing.p.tolist() == [1, 1, 1]
    assert nothing.low.tolist() == nothing.high.tolist() == [0, 0, 0]


def test_depths_keep_the_pairs_that_they_have():
    values = curves(6, 3, seed=6, gain=0.9)
    values[4:, 1] = np.nan
    values[1:, 2] = np.nan
    found = max_t(values)
    assert found.pairs.tolist() == [6, 4, 1]
    assert found.mean == pytest.approx(np.nanmean(values, axis=0))
    assert np.isnan([found.p[2], found.low[2], found.high[2]]).all()
    observed = [t_of(values[:, 0]), t_of(values[:4, 1])]
    largest = []
    for pattern in itertools.product((-1, 1), repeat=6):
        flipped = values * np.array(pattern)[:, None]
        largest.append(max(t_of(flipped[:, 0]), t_of(flipped[:4, 1])))
    expected = [np.mean(np.array(largest) >= t - 1e-9) for t in observed]
    assert found.p[:2] == pytest.approx(expected)


def test_too_few_pairs_have_no_finite_band_and_no_small_p():
    found = max_t(curves(4, 3, seed=7, gain=9.0))
    assert np.isneginf(found.low).all() and np.isposinf(found.high).all()
    assert (found.p >= 2 / 16).all()
    assert np.isfinite(max_t(curves(5, 3, seed=7)).low).all()
    assert np.isfinite(max_t(curves(4, 3, seed=7), 0.8).low).all()


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.full((1, 3), 0.2), np.full((4, 3), np.nan)])
def test_nothing_to_test_is_nan(values):
    found = max_t(values)
    for array in (found.p, found.low, found.high):
        assert array.shape == (3,)
        assert np.isnan(array).all()
    assert math.isnan(found.critical)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((2, 2, 2)), np.array([[1.0, np.inf], [0, 1]])])
def test_what_is_no_matrix_of_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="pairs x depths"):
        max_t(bad)


def test_many_pairs_are_sampled_near_the_exact_p_and_reproducibly():
    values = curves(17, 3, seed=8, gain=0.5)
    first, second = (np.array(list(itertools.product((-1.0, 1.0), repeat=n))) for n in (8, 9))
    total = (first @ values[:8])[:, None, :] + (second @ values[8:])[None, :, :]
    mean = total.reshape(-1, 3) / 17
    t = np.abs(mean) / np.sqrt(((values**2).mean(axis=0) - mean**2) / 16)
    expected = [(t.max(axis=1) >= own - 1e-9).mean() for own in t_of(values)]
    found = max_t(values)
    assert found.p == pytest.approx(expected, abs=0.006)
    assert found.p.tolist() == max_t(values).p.tolist()


def test_under_the_null_any_claim_is_made_in_alpha_of_all_studies():
    claims = [max_t(curves(7, 6, seed)).p.min() <= 0.05 for seed in range(600)]
    assert np.mean(claims) == pytest.approx(6 / 128, abs=0.025)


@pytest.mark.parametrize("gain", [0.0, 4.0])
def test_bands_hold_for_all_depths_at_once_with_and_without_gains(gain):
    found = [max_t(curves(7, 6, seed, gain)) for seed in range(600)]
    held = [((f.low <= gain) & (gain <= f.high)).all() for f in found]
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)
