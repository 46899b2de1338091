"""Tests of canonical correlations against other routes to them, published numbers and invariances."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import linalg
from sklearn.cross_decomposition import CCA as IterativeCCA
from statsmodels.multivariate.cancorr import CanCorr

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.cca import (
    ROWS_PER_DIRECTION,
    cca,
    compare,
    leading_subspace,
    projection_weighted,
    pwcca,
    shuffled_baseline,
    shuffled_orders,
    subspace,
    svcca,
)

SHAPES = [(5, 5), (4, 9), (9, 4), (1, 6), (6, 1)]


def pair(rows=200, channels_x=5, channels_y=7, seed=0):
    """Two sides with a common part, of channels with different scales and means."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(rows, 3))
    sides = [
        common @ random.normal(size=(3, channels)) + random.normal(size=(rows, channels))
        for channels in (channels_x, channels_y)
    ]
    return [
        side * np.exp(random.normal(size=side.shape[1])) + 3 * random.normal(size=side.shape[1])
        for side in sides
    ]


def by_eigenvalues(x, y):
    """Roots of the generalised eigenproblem Sxy Syy^-1 Syx v = rho^2 Sxx v."""
    covariance = np.cov(x, y, rowvar=False)
    d = x.shape[1]
    xx, xy, yy = covariance[:d, :d], covariance[:d, d:], covariance[d:, d:]
    squares = linalg.eigh(xy @ np.linalg.solve(yy, xy.T), xx, eigvals_only=True)[::-1]
    return np.sqrt(np.clip(squares, 0, None))[: min(d, y.shape[1])]


def by_qr(x, y):
    qx, qy = (np.linalg.qr(side - side.mean(axis=0))[0] for side in (x, y))
    return np.linalg.svd(qx.T @ qy, compute_uv=False)


def pwcca_by_whitening(x, y):
    """Morcos et al. written out: whitening by inverse square roots, variates, weights one by one."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    white_x, white_y = (np.linalg.inv(linalg.sqrtm(side.T @ side)).real for side in (x, y))
    left, correlations, _ = np.linalg.svd(white_x @ x.T @ y @ white_y)
    weighted = total = 0.0
    for direction, correlation in zip(left.T, correlations, strict=False):
        variate = x @ white_x @ direction
        weight = sum(abs(variate @ channel) for channel in x.T)
        weighted += weight * correlation
        total += weight
    return weighted / total


def pwcca_without_whitening(x, y):
    """The same without the inverse square root in the variates, the bug of google/svcca."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    white_x, white_y = (np.linalg.inv(linalg.sqrtm(side.T @ side)).real for side in (x, y))
    left, correlations, _ = np.linalg.svd(white_x @ x.T @ y @ white_y)
    variates = np.linalg.qr(x @ left)[0]
    return np.average(correlations, weights=np.abs(variates.T @ x).sum(axis=1))


def svcca_by_components(x, y, variance=0.99):
    """Principal components one at a time until their variances reach the threshold, then CCA."""
    kept = []
    for side in (x, y):
        variances, directions = np.linalg.eigh(np.cov(side, rowvar=False))
        count, reached = 0, 0.0
        while reached < variance * variances.sum():
            count += 1
            reached += variances[-count]
        kept.append(side @ directions[:, -count:])
    return by_qr(*kept), kept[0].shape[1], kept[1].shape[1]


# CCA


@pytest.mark.parametrize("shape", SHAPES)
def test_correlations_equal_those_of_the_generalised_eigenproblem_and_of_qr(shape):
    x, y = pair(200, *shape)
    found = cca(x, y)
    assert len(found.correlations) == min(shape)
    np.testing.assert_allclose(found.correlations, by_eigenvalues(x, y), atol=1e-7)
    np.testing.assert_allclose(found.correlations, by_qr(x, y), atol=1e-12)
    assert found.mean == pytest.approx(by_qr(x, y).mean(), abs=1e-12)
    assert found.mean_squared == pytest.approx((by_qr(x, y) ** 2).mean(), abs=1e-12)


def test_correlations_equal_those_of_statsmodels():
    x, y = pair(150, 4, 6)
    expected = CanCorr(x, y).cancorr
    np.testing.assert_allclose(cca(x, y).correlations, np.sort(expected)[::-1][:4], atol=1e-10)


def test_correlations_equal_those_of_scikit_learn_variates():
    x, y = pair(300, 3, 4)
    first, second = IterativeCCA(n_components=3, tol=1e-12, max_iter=10_000).fit_transform(x, y)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)]
    np.testing.assert_allclose(cca(x, y).correlations, expected, atol=1e-6)


def test_one_channel_a_side_is_the_absolute_correlation():
    x, y = np.array([[1.0], [2.0], [4.0]]), np.array([[3.0], [1.0], [0.0]])
    assert cca(x, y).correlations == pytest.approx([abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1])])


def test_two_channels_a_side_by_hand():
    # x spans e1 and e2, y spans .6 e1 + .8 e3 and e4, all orthogonal to the constant
    e1, e2, e3, e4 = (
        np.array([1, 1, 1, 1, -1, -1, -1, -1.0]),
        np.array([1, 1, -1, -1, 1, 1, -1, -1.0]),
        np.array([1, -1, 1, -1, 1, -1, 1, -1.0]),
        np.array([1, -1, -1, 1, 1, -1, -1, 1.0]),
    )
    x = np.stack([e1 + 2, 5 * e2 + e1], axis=1)
    y = np.stack([0.6 * e1 + 0.8 * e3, 7 * e4 - 1], axis=1)
    found = cca(x, y)
    assert found.correlations == pytest.approx([0.6, 0.0], abs=1e-12)
    assert (found.mean, found.mean_squared) == pytest.approx((0.3, 0.18))
    assert (found.n, found.channels_x, found.channels_y) == (8, 2, 2)


def test_numbers_of_the_public_demo_of_kornblith():
    random = np.random.RandomState(1337)
    x = random.randn(100, 10)
    y = random.randn(100, 10) + x
    assert cca(x, y, centre=False).mean_squared == pytest.approx(0.5431238559, abs=1e-10)
    assert cca(x, y).mean_squared == pytest.approx(0.5453963322, abs=1e-10)


@pytest.mark.parametrize(("rows", "expected"), [(9_700, 0.07), (3_500, 0.11), (1_500, 0.18)])
def test_independent_noise_of_64_channels_has_the_published_mean(rows, expected):
    random = np.random.default_rng(rows)
    found = cca(random.normal(size=(rows, 64)), random.normal(size=(rows, 64)))
    assert found.mean == pytest.approx(expected, abs=0.006)
    assert found.reliable


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_invertible_map_of_a_side_changes_nothing(shape, side):
    sides = pair(200, *shape)
    expected = cca(*sides).correlations
    random = np.random.default_rng(5)
    channels = sides[side].shape[1]
    sides[side] = sides[side] @ random.normal(size=(channels, channels)) + random.normal(size=channels)
    np.testing.assert_allclose(cca(*sides).correlations, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_scale_of_single_channels_changes_nothing(dtype):
    x, y = pair(200, 5, 5)
    scaled = x * np.logspace(-14, 14, 5)
    expected = cca(x, y).correlations
    found = cca(scaled.astype(dtype), y.astype(dtype))
    assert found.rank_x == 5
    np.testing.assert_allclose(found.correlations, expected, atol=1e-5)


def test_the_order_of_the_sides_and_of_the_rows_changes_nothing():
    x, y = pair(200, 4, 9)
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_allclose(cca(y, x).correlations, cca(x, y).correlations, atol=1e-12)
    np.testing.assert_allclose(cca(x[order], y[order]).correlations, cca(x, y).correlations, atol=1e-12)


def test_a_side_with_itself_gives_ones_and_never_more():
    x, _ = pair(200, 6)
    found = cca(x, 3 * x - 1)
    np.testing.assert_allclose(found.correlations, np.ones(6), atol=1e-12)
    assert found.correlations.max() <= 1.0
    assert found.mean == pytest.approx(1.0)


@pytest.mark.parametrize("side", [0, 1])
def test_dead_duplicate_and_dependent_channels_change_nothing(side):
    sides = pair(300, 5, 7)
    expected = cca(*sides)
    given = sides[side]
    dead, constant = np.zeros((300, 1)), np.full((300, 1), 0.1 + 1 / 3)
    sides[side] = np.hstack([dead, given, constant, given[:, :2], given[:, :1] - 2 * given[:, 2:3]])
    found = cca(*sides)
    np.testing.assert_allclose(found.correlations, expected.correlations, atol=1e-9)
    assert (found.rank_x, found.rank_y) == (5, 7)
    assert (found.channels_x, found.channels_y) == (sides[0].shape[1], sides[1].shape[1])


def test_dead_and_duplicate_channels_of_float32_are_seen_as_such():
    x, y = pair(300, 5, 7)
    x = x.astype(np.float32)
    sums = x[:, :1] + x[:, 1:2]  # rounded to float32
    found = cca(np.hstack([x, np.full((300, 1), 0.1, np.float32), x[:, :1], sums]), y)
    assert found.rank_x == 5
    np.testing.assert_allclose(found.correlations, cca(x, y).correlations, atol=1e-5)


def test_a_constant_channel_that_wavers_by_its_last_digit_is_dead():
    x, y = pair(300, 5, 7)
    wavering = np.where(np.arange(300) % 3, 100.0, np.nextafter(np.float32(100.0), np.float32(0)))
    found = cca(np.hstack([x, wavering[:, None]]).astype(np.float32), y)
    assert found.rank_x == 5


@pytest.mark.parametrize("rows", [7, 1_000, 20_001])
def test_a_wholly_constant_side_has_no_correlations(rows):
    varying = np.random.default_rng(0).normal(size=(rows, 3))
    constant = np.full((rows, 4), 0.1) * [1, 0, -3, 1e6]
    for found in (cca(varying, constant), cca(constant, varying), cca(constant, constant)):
        assert len(found.correlations) == 0
        assert (found.mean, found.mean_squared, found.reliable) == (0.0, 0.0, False)
    assert svcca(constant, varying).mean == 0.0
    assert svcca(varying, constant).mean == 0.0
    assert pwcca(constant, varying) == 0.0
    assert pwcca(varying, constant) == 0.0


def test_a_constant_channel_is_dead_however_many_rows_there_are():
    # the mean of a million rows is off by 1e-11 of itself
    assert subspace(np.full((1_000_003, 2), 0.1)).rank == 0


def test_fewer_rows_than_channels_give_one_and_are_flagged():
    random = np.random.default_rng(0)
    found = cca(random.normal(size=(80, 96)), random.normal(size=(80, 64)))
    assert found.mean == pytest.approx(1.0, abs=1e-9)
    assert (found.rank_x, found.rank_y) == (79, 64)
    assert not found.reliable


@pytest.mark.parametrize(("rows", "expected"), [(59, False), (60, True)])
def test_a_result_is_reliable_from_five_rows_a_direction_on(rows, expected):
    assert ROWS_PER_DIRECTION == 5
    assert cca(*pair(rows, 5, 7)).reliable is expected
    repeated = np.repeat(pair(rows, 5, 7)[0], 3, axis=1)  # directions count, not channels
    assert cca(repeated, pair(rows, 5, 7)[1]).reliable is expected


def test_float32_and_integers_are_computed_in_float64():
    x, y = pair(500, 5, 7)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    found = cca(x32, y32).correlations
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_qr(x32.astype(float), y32.astype(float)), atol=1e-12)
    counts = np.round(10 * x).astype(np.int64)
    np.testing.assert_allclose(cca(counts, y).correlations, by_qr(counts, y), atol=1e-12)


def test_a_large_mean_costs_no_precision():
    x, y = pair(500, 5, 7)
    np.testing.assert_allclose(cca(x + 1e6, y).correlations, cca(x, y).correlations, atol=1e-7)


def test_inputs_stay_as_they_are():
    sides = pair(60, 5, 7)
    before = [side.copy() for side in sides]
    for side in sides:
        side.setflags(write=False)
    for measure in (cca, svcca, pwcca):
        measure(*sides)
        shuffled_baseline(*sides, measure)
    for side, copy in zip(sides, before, strict=True):
        np.testing.assert_array_equal(side, copy)


@pytest.mark.parametrize("measure", [cca, svcca, pwcca])
def test_wrong_inputs_are_refused(measure):
    x, y = pair(20, 3, 3)
    with pytest.raises(DataError, match="20 and 19 rows"):
        measure(x, y[:-1])
    with pytest.raises(DataError, match="features y have shape"):
        measure(x, y[:, 0])
    with pytest.raises(DataError, match="features x"):
        measure(x[:, :0], y)
    broken = y.copy()
    broken[4, 1] = np.nan
    with pytest.raises(DataError, match=r"features y.* row 4"):
        measure(x, broken)


def test_importing_the_module_does_not_import_torch():
    code = (
        "import sys, medtransfer.representation.cca, medtransfer.representation.cca_protocols,"
        " medtransfer.representation.folding; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# SVCCA


@pytest.mark.parametrize("variance", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 12)])
def test_svcca_is_cca_of_the_leading_components(shape, variance):
    x, y = pair(300, *shape)
    expected, kept_x, kept_y = svcca_by_components(x, y, variance)
    found = svcca(x, y, variance)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-10)
    assert (found.rank_x, found.rank_y) == (kept_x, kept_y)
    assert (found.channels_x, found.channels_y) == shape


def orthogonal_channels(variances):
    """Centred orthogonal channels with the given sums of squares."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(200, len(variances)))
    directions = np.linalg.qr(noise - noise.mean(axis=0))[0]
    return directions * np.sqrt(variances)


@pytest.mark.parametrize(
    ("variances", "threshold", "kept"),
    [
        # by singular values instead of squares the first would want 2 directions, the second 3
        ([90, 9, 1], 0.9, 1),
        ([90, 9, 1], 0.99, 2),
        ([90, 9, 1], 0.991, 3),
        ([90, 9, 1], 0.901, 2),  # the crossing direction counts
        ([60, 40], 0.5, 1),
        ([1] * 100, 0.99, 99),
        ([5, 3, 2], 1.0, 3),
    ],
)
def test_svcca_keeps_the_fewest_directions_that_reach_the_threshold(variances, threshold, kept):
    x = orthogonal_channels(variances)
    y = np.random.default_rng(0).normal(size=(200, 4))
    assert svcca(x, y, threshold).rank_x == kept
    assert svcca(y, x, threshold).rank_y == kept


def test_svcca_keeps_as_many_of_a_hundred_equal_directions_as_the_percentage_says():
    x = orthogonal_channels([1] * 100)
    kept = [leading_subspace(x, percent / 100).rank for percent in range(1, 101)]
    assert kept == list(range(1, 101))


def test_svcca_of_the_default_threshold_drops_faint_noise():
    random = np.random.default_rng(0)
    common = random.normal(size=(400, 3))
    x, y = (np.hstack([common, 1e-3 * random.normal(size=(400, 20))]) for _ in range(2))
    assert svcca(x, y).correlations == pytest.approx([1, 1, 1], abs=1e-4)
    assert cca(x, y).mean < 0.5


def test_svcca_of_all_variance_is_cca_even_with_dependent_channels():
    x, y = pair(200, 5, 7)
    x = np.hstack([x, x[:, :2], np.ones((200, 1))])
    found = svcca(x, y, variance=1.0)
    np.testing.assert_allclose(found.correlations, cca(x, y).correlations, atol=1e-9)
    assert found.rank_x == 5


def test_svcca_ignores_rotations_and_the_scale_of_a_whole_side():
    x, y = pair(200, 8, 6)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    expected = svcca(x, y, 0.9).correlations
    np.testing.assert_allclose(svcca(1e-5 * x @ rotation + 4, y, 0.9).correlations, expected, atol=1e-9)
    np.testing.assert_allclose(svcca(y, 1e5 * x @ rotation, 0.9).correlations, expected, atol=1e-9)


@pytest.mark.parametrize("variance", [0, -0.1, 1.01, 99, math.nan])
def test_svcca_refuses_a_threshold_that_is_no_share(variance):
    with pytest.raises(ConfigError, match=r"variance of SVCCA.*allowed"):
        svcca(*pair(20, 3, 3), variance)


# PWCCA


@pytest.mark.parametrize("shape", SHAPES)
def test_pwcca_equals_the_formula_written_out(shape):
    x, y = pair(200, *shape)
    assert pwcca(x, y) == pytest.approx(pwcca_by_whitening(x, y), abs=1e-10)
    assert pwcca(y, x) == pytest.approx(pwcca_by_whitening(y, x), abs=1e-10)


def test_pwcca_whitens_its_variates():
    random = np.random.default_rng(1)
    x = random.normal(size=(500, 4)) @ random.normal(size=(4, 4)) * [10, 3, 1, 0.1]
    y = x @ random.normal(size=(4, 4)) + random.normal(size=(500, 4)) * [0.1, 1, 5, 20]
    assert pwcca(x, y) == pytest.approx(pwcca_by_whitening(x, y), abs=1e-10)
    assert abs(pwcca(x, y) - pwcca_without_whitening(x, y)) > 0.02


def test_pwcca_carries_its_weights_on_the_first_argument():
    # x holds the shared direction with most of its variance, y with little
    random = np.random.default_rng(0)
    shared, own_x, own_y = random.normal(size=(3, 2_000, 1))
    x, y = np.hstack([10 * shared, own_x]), np.hstack([shared, 10 * own_y])
    assert pwcca(x, y) > 0.85
    assert pwcca(y, x) < 0.2
    wider = np.hstack([y, 10 * random.normal(size=(2_000, 3))])
    assert pwcca(x, wider) > 0.85
    assert pwcca(wider, x) < pwcca(x, wider)


def test_pwcca_by_hand():
    # variates are the channels themselves: correlations 0.8 and 0, weights 3 and 1
    e1, e2, e3, e4 = orthogonal_channels([1, 1, 1, 1]).T
    x = np.stack([3 * e1, e2], axis=1)
    y = np.stack([0.8 * e1 + 0.6 * e3, e4], axis=1)
    assert pwcca(x, y) == pytest.approx(0.75 * 0.8)
    assert pwcca(y, x) == pytest.approx(0.5 * 0.8)


def test_pwcca_ignores_means_and_maps_of_the_second_side():
    x, y = pair(200, 5, 7)
    random = np.random.default_rng(0)
    mapped = y @ random.normal(size=(7, 7)) + 9
    assert pwcca(x + 100, mapped) == pytest.approx(pwcca(x, y), abs=1e-9)


def test_pwcca_of_dead_and_dependent_channels_is_a_number():
    x, y = pair(200, 5, 7)
    dead = np.hstack([x, np.zeros((200, 2)), np.full((200, 1), 0.7)])
    assert pwcca(dead, y) == pytest.approx(pwcca(x, y), abs=1e-9)
    assert pwcca(y, dead) == pytest.approx(pwcca(y, x), abs=1e-9)
    assert pwcca(np.hstack([x, x]), y) == pytest.approx(pwcca(x, y), abs=1e-9)
    assert pwcca(x, x) == pytest.approx(1.0)
    assert pwcca(x[:4], y[:4]) == pytest.approx(1.0)


# factored sides and shuffled baselines


def test_factored_sides_give_back_the_centred_channels():
    x, _ = pair(100, 6)
    found = subspace(np.hstack([x, x[:, :1], np.ones((100, 1))]))
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(6), atol=1e-12)
    centred = np.hstack([x, x[:, :1], np.ones((100, 1))])
    centred -= centred.mean(axis=0)
    np.testing.assert_allclose(found.basis @ found.loadings, centred, atol=1e-9)
    assert (found.rows, found.rank, found.channels) == (100, 6, 8)


def test_a_reordered_side_is_that_of_reordered_rows():
    x, y = pair(150, 4, 6)
    order = np.random.default_rng(0).permutation(150)
    for factor in (subspace, leading_subspace):
        reordered = factor(y).reordered(order)
        found = compare(factor(x), reordered).correlations
        np.testing.assert_allclose(found, compare(factor(x), factor(y[order])).correlations, atol=1e-10)
    found = projection_weighted(subspace(x), subspace(y).reordered(order))
    assert found == pytest.approx(pwcca(x, y[order]), abs=1e-10)


def test_the_baseline_is_that_of_independent_rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(3_500, 64))
    assert cca(x, x).mean == pytest.approx(1.0)
    assert shuffled_baseline(x, x) == pytest.approx(0.11, abs=0.006)
    assert shuffled_baseline(x[:, :3], x[:, :3], pwcca) < 0.05


def test_the_baseline_with_too_few_rows_is_as_high_as_the_value():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 30)), random.normal(size=(40, 30))
    assert shuffled_baseline(x, y, repeats=3) == pytest.approx(cca(x, y).mean, abs=0.1)
    assert shuffled_baseline(x, y) > 0.7


def test_the_baseline_averages_its_repeats_and_follows_its_seed():
    x, y = pair(60, 4, 6)
    orders = list(shuffled_orders(60, 4, 7))
    expected = np.mean([svcca(x, y[order]).mean for order in orders])
    assert shuffled_baseline(x, y, svcca, repeats=4, seed=7) == pytest.approx(expected)
    assert shuffled_baseline(x, y, seed=1) == shuffled_baseline(x, y, seed=1)
    assert shuffled_baseline(x, y, seed=1) != shuffled_baseline(x, y, seed=2)
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("images", [2, 3, 10])
def test_shuffles_move_images_whole_and_leave_none_in_its_place(images):
    groups = np.repeat(np.arange(images), 5)
    for seed in range(20):
        (order,) = shuffled_orders(images * 5, 1, seed, groups)
        blocks = order.reshape(images, 5)
        np.testing.assert_array_equal(np.sort(order), np.arange(images * 5))
        np.testing.assert_array_equal(blocks - blocks[:, :1], np.tile(np.arange(5), (images, 1)))
        assert (groups[order] != groups).all()


def test_shuffles_follow_images_whose_rows_are_scattered():
    groups = np.array(["b", "a", "c", "a", "c", "b"])
    (order,) = shuffled_orders(6, 1, 0, groups)
    partner = dict(zip(groups, groups[order], strict=True))
    assert sorted(partner.values()) == ["a", "b", "c"]
    assert all(partner[image] == groups[row] != image for image, row in zip(groups, order, strict=True))
    for image in "abc":
        assert (np.diff(order[groups == image]) > 0).all()


def test_shuffles_keep_the_order_of_positions_of_scattered_images():
    groups = np.tile(np.arange(20), 50)
    (order,) = shuffled_orders(1_000, 1, 0, groups)
    np.testing.assert_array_equal(order // 20, np.arange(1_000) // 20)


def test_shuffles_of_images_with_different_numbers_of_rows_keep_every_row_once():
    groups = np.repeat(np.arange(50), np.random.default_rng(0).integers(3, 5, 50))
    (order,) = shuffled_orders(len(groups), 1, 0, groups)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(groups)))
    assert (groups[order] == groups).mean() < 0.1
    runs = np.count_nonzero(np.diff(groups[order])) + 1
    assert runs == 50


def test_moving_images_whole_keeps_what_positions_share():
    # all rows of an image are alike, so there are 12 independent ones, not 600
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 50)
    x, y = (random.normal(size=(12, 5))[groups] + 0.1 * random.normal(size=(600, 5)) for _ in range(2))
    by_image = shuffled_baseline(x, y, repeats=5, groups=groups)
    assert by_image > 3 * shuffled_baseline(x, y, repeats=5)
    assert by_image == pytest.approx(cca(x, y).mean, abs=0.15)


def test_a_single_image_has_no_baseline():
    x, y = pair(30, 3, 3)
    assert math.isnan(shuffled_baseline(x, y, groups=np.zeros(30)))
    assert not math.isnan(shuffled_baseline(x, y))


def test_wrong_shuffles_are_refused():
    x, y = pair(30, 3, 3)
    with pytest.raises(ConfigError, match=r"repeats .* is 0"):
        shuffled_baseline(x, y, repeats=0)
    with pytest.raises(DataError, match="groups of 30 rows"):
        shuffled_baseline(x, y, groups=np.zeros(29))
