"""Tests of CKA against published numbers, U-statistics by brute force, and its invariances."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.cka import cka_matrix, linear_cka, rbf_cka
from medtransfer.representation.cka_blocks import mean_of_ratios_cka, pairwise_cka, shuffled_cka
from medtransfer.representation.cka_bootstrap import bootstrap_cka, weighted_hsic
from medtransfer.representation.gram import centred_gram, hsic_vectors
from medtransfer.representation.gram_blocks import gram_blocks

BOTH = pytest.mark.parametrize("debiased", [True, False], ids=["debiased", "biased"])


def related_points(images, widths, seed=0, dtype=np.float64):
    """Activations of several layers that share a latent code, with offsets."""
    generator = np.random.default_rng(seed)
    latent = generator.normal(size=(images, 5))
    return [
        (latent @ generator.normal(size=(5, d)) + generator.normal(size=(images, d)) + 3).astype(dtype)
        for d in widths
    ]


def demonstration():
    generator = np.random.RandomState(1337)
    x = generator.randn(100, 10)
    return x, generator.randn(100, 10) + x


# --- references, written from the definitions -----------------------------------------------------


def hsic_of_quadruples(k, l):  # noqa: E741
    """Song's U-statistic: the mean of K_ij (L_ij + L_qr - 2 L_iq) over four different images."""
    values = [
        k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])
        for i, j, q, r in itertools.permutations(range(len(k)), 4)
    ]
    return float(np.mean(values))


def hsic_of_matrices(k, l):  # noqa: E741
    centring = np.eye(len(k)) - 1 / len(k)
    return float(np.trace(k @ centring @ l @ centring)) / (len(k) - 1) ** 2


def cka_by_definition(x, y, debiased=True):
    hsic = hsic_of_quadruples if debiased else hsic_of_matrices
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def hsic_of_resample(k, l, drawn):  # noqa: E741
    """The mean of K_ij (L_ij + L_qr - 2 L_iq) over drawn positions that hold four different images."""
    k, l = k[np.ix_(drawn, drawn)], l[np.ix_(drawn, drawn)]  # noqa: E741
    differ = (drawn[:, None] != drawn).astype(float)
    triples = np.einsum("ij,iq,jq->ijq", differ, differ, differ)
    fours = np.einsum("ijq,ir,jr,qr->ijqr", triples, differ, differ, differ)
    kernel = l[:, :, None, None] + l[None, None] - 2 * l[:, None, :, None]
    return (fours * k[:, :, None, None] * kernel).sum() / fours.sum()


# --- two representations --------------------------------------------------------------------------


def test_the_numbers_of_the_public_demonstration():
    x, y = demonstration()
    assert linear_cka(x, y, debiased=False) == pytest.approx(0.5576132566, abs=1e-10)
    assert linear_cka(x, y) == pytest.approx(0.5134564895, abs=1e-10)
    assert rbf_cka(x, y) == pytest.approx(0.6548311823, abs=1e-10)


@BOTH
@pytest.mark.parametrize("widths", [(3, 5), (20, 2), (20, 30)], ids=str)
def test_linear_cka_is_that_of_sums_over_quadruples(widths, debiased):
    x, y = related_points(8, widths)
    assert linear_cka(x, y, debiased) == pytest.approx(cka_by_definition(x, y, debiased), abs=1e-11)


def test_rbf_cka_follows_its_definition():
    x, y = related_points(9, (3, 4))

    def gram(values):
        distances = ((values[:, None] - values) ** 2).sum(axis=-1)
        return np.exp(-distances / (2 * 0.3**2 * np.median(distances)))

    k, l = gram(x), gram(y)  # noqa: E741
    for debiased, hsic in ((True, hsic_of_quadruples), (False, hsic_of_matrices)):
        expected = hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))
        assert rbf_cka(x, y, 0.3, debiased) == pytest.approx(expected, abs=1e-10)


@BOTH
@pytest.mark.parametrize("measure", [linear_cka, rbf_cka])
@pytest.mark.parametrize("images", [12, 60])
def test_invariances_of_both_kernels(measure, images, debiased):
    x, y = related_points(images, (16, 24))
    value = measure(x, y, debiased=debiased)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0]
    order = np.random.default_rng(4).permutation(images)
    assert 0.1 < value < 0.97
    assert measure(y, x, debiased=debiased) == pytest.approx(value, abs=1e-10)
    assert measure(x @ rotation, y, debiased=debiased) == pytest.approx(value, abs=1e-9)
    assert measure(1e6 * x, 1e-9 * y - 4, debiased=debiased) == pytest.approx(value, abs=1e-7)
    assert measure(x[order], y[order], debiased=debiased) == pytest.approx(value, abs=1e-10)
    assert measure(x[order], y, debiased=debiased) < value - 0.02
    assert measure(x, x, debiased=debiased) == pytest.approx(1, abs=1e-12)
    assert measure(x, -2 * x + 7, debiased=debiased) == pytest.approx(1, abs=1e-10)


def test_scales_beyond_what_squares_can_hold():
    x, y = related_points(20, (6, 8))
    assert linear_cka(1e200 * x, 1e-200 * y) == pytest.approx(linear_cka(x, y), abs=1e-10)


def test_another_stretch_of_one_direction_changes_cka():
    x, y = related_points(50, (6, 8))
    assert abs(linear_cka(x * np.array([9, 1, 1, 1, 1, 1]), y) - linear_cka(x, y)) > 0.02


def test_independent_data_are_near_0_debiased_and_at_four_fifths_biased():
    found = []
    for seed in range(4):
        x, y = np.random.default_rng(seed).normal(size=(2, 128, 500))
        found.append(linear_cka(x, y))
        assert linear_cka(x, y, debiased=False) == pytest.approx(0.80, abs=0.01)
    assert np.abs(found).max() < 0.03
    assert min(found) < 0


@BOTH
@pytest.mark.parametrize("images", [10, 40])
def test_dead_and_constant_channels_change_nothing_and_doubled_ones_only_weigh_more(images, debiased):
    x, y = related_points(images, (12, 16))
    value = linear_cka(x, y, debiased)
    constant = np.full((images, 5), [0, 0.1, 1 / 3, 1e9, -7])
    assert linear_cka(np.hstack([x, constant]), y, debiased) == pytest.approx(value, abs=1e-12)
    assert linear_cka(np.hstack([x, x]), y, debiased) == pytest.approx(value, abs=1e-12)
    doubled = np.hstack([x, x[:, :1]])
    weighed = x * np.sqrt([2] + 11 * [1])
    assert linear_cka(doubled, y, debiased) == pytest.approx(
        linear_cka(weighed, y, debiased), abs=1e-12
    )


@BOTH
@pytest.mark.parametrize("images", [20, 37, 999])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e9, 1 / 3])
def test_a_representation_without_variation_is_like_nothing(level, images, debiased):
    x = related_points(images, (6,))[0]
    for width in (4, images + 1):
        constant = np.tile(level * np.linspace(1, 1.7, width), (images, 1))
        assert linear_cka(constant, x, debiased) == 0
        assert linear_cka(x, constant, debiased) == 0
        assert linear_cka(constant, constant, debiased) == 0
        found = cka_matrix([x, constant.astype(np.float32)], debiased=debiased)
        assert found == pytest.approx(np.array([[1, 0], [0, 0]]), abs=1e-6)
        assert not centred_gram(constant.astype(np.float32)).any()
    if images < 100:
        assert rbf_cka(x, constant, debiased=debiased) == 0


@pytest.mark.parametrize("width", [3, 40])
def test_what_varies_in_one_image_only_has_no_debiased_cka_but_rounding_and_is_0(width):
    y = related_points(20, (6,))[0]
    for seed in range(20):
        lonely = np.zeros((20, width))
        lonely[seed] = np.random.default_rng(seed).normal(size=width)
        assert linear_cka(lonely, y) == 0
        assert linear_cka(lonely, lonely) == 0
        for dtype in (np.float32, np.float64):
            assert pairwise_cka(gram_blocks([lonely.astype(dtype)], 20)) == 0


@pytest.mark.parametrize("measure", [linear_cka, rbf_cka])
@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.ones(5), np.ones((5, 2)), r"activations x have shape \(5,\)"),
        (np.ones((5, 2)), np.ones((5, 0)), r"activations y have shape \(5, 0\)"),
        (np.eye(5), np.eye(6), "5 images and y has 6"),
        (np.eye(3), np.eye(3), "3 images; needed: at least 4"),
        (np.eye(5), np.where(np.eye(5) == 1, np.nan, 0)[[0, 1, 2, 2, 2]], "5 of 5 images have NaN"),
        (np.where(np.arange(5) == 2, np.inf, 1)[:, None], np.eye(5), "1 of 5 images have NaN"),
    ],
)
def test_what_cannot_be_compared_is_named(measure, x, y, message):
    with pytest.raises(DataError, match=message):
        measure(x, y, debiased=True)


def test_three_images_are_enough_for_the_biased_form():
    x, y = related_points(3, (4, 4))
    assert linear_cka(x, y, debiased=False) == pytest.approx(cka_by_definition(x, y, False), abs=1e-12)


def test_a_gaussian_kernel_without_width_is_refused():
    x = np.zeros((10, 2))
    x[0] = 1
    with pytest.raises(DataError, match="median distance of images is 0"):
        rbf_cka(x, related_points(10, (3,))[0])
    with pytest.raises(ConfigError, match="threshold is 0"):
        rbf_cka(x, x, threshold=0)


def test_arguments_are_left_as_they_are():
    x, y = related_points(20, (6, 30))
    x.flags.writeable = y.flags.writeable = False
    grams = [*gram_blocks([x, y], 20)]
    grams[0].flags.writeable = False
    for measure in (linear_cka, rbf_cka):
        measure(x, y)
    for measure in (pairwise_cka, mean_of_ratios_cka, shuffled_cka, bootstrap_cka):
        measure(grams)


# --- Gram matrices --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 50, 65536])
def test_a_centred_gram_matrix_is_that_of_centred_features(block):
    x = related_points(12, (50,))[0]
    centred = x - x.mean(axis=0)
    found = centred_gram(x, block)
    assert found.dtype == np.float64
    assert found == pytest.approx(centred @ centred.T, abs=1e-11)
    assert np.abs(found.sum(axis=0)).max() < 1e-11
    assert centred_gram(x.reshape(12, 2, 5, 5), block) == pytest.approx(found, abs=1e-11)


@pytest.mark.parametrize("block", [1000, 65536])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_tensors_give_the_gram_matrices_of_arrays(dtype, block):
    x = torch.from_numpy(related_points(12, (5000,))[0]).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = centred_gram(x.reshape(12, 50, 10, 10), block)
    assert found.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    expected = centred_gram(x.double().numpy())
    assert found == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("offset", [0, 1e3])
def test_a_large_mean_costs_float32_no_digits(offset):
    x = (related_points(40, (3000,))[0] + offset).astype(np.float32)
    exact = centred_gram(x.astype(np.float64))
    assert np.abs(centred_gram(x) - exact).max() < 1e-6 * np.abs(exact).max()


def test_large_constant_features_cost_the_others_no_digits():
    x = related_points(99, (6,), dtype=np.float32)[0]
    constant = np.tile(1e8 * np.linspace(1, 1.7, 5000, dtype=np.float32), (99, 1))
    alone = centred_gram(x)
    assert np.abs(centred_gram(np.hstack([x, constant])) - alone).max() < 1e-6 * np.abs(alone).max()


def test_an_odd_first_image_costs_the_others_no_digits():
    x = related_points(400, (300,), dtype=np.float32)[0]
    x[0] *= 3000
    exact = centred_gram(x.astype(np.float64))[1:, 1:]
    assert np.abs(centred_gram(x)[1:, 1:] - exact).max() < 1e-5 * np.abs(exact).max()


def test_gram_matrices_are_centred_beyond_the_float32_means_of_features():
    x = related_points(400, (300,), dtype=np.float32)[0]
    x[0] *= 3e5
    found = centred_gram(x).astype(np.float64)
    assert np.abs(found.mean(axis=0)[1:]).max() < 5e-7 * np.abs(found[1:, 1:]).max()


def test_many_chunks_are_summed_in_float64():
    x = np.random.default_rng(0).normal(size=(6, 4000)).astype(np.float32)
    exact = centred_gram(x.astype(np.float64))
    assert np.abs(centred_gram(x, block=1) - exact).max() < 2e-7 * np.abs(exact).max()


def test_no_more_than_a_chunk_of_activations_is_copied():
    x = np.random.default_rng(0).random((64, 200_000), dtype=np.float32)
    tracemalloc.start()
    centred_gram(x, block=8192)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 64 * 8192 * 4 < x.nbytes / 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gram_matrices_of_what_is_not_finite_are_refused(bad):
    x = related_points(8, (30,), dtype=np.float32)[0]
    x[3, 17] = bad
    with np.errstate(invalid="ignore"):
        for values in (x, torch.from_numpy(x)):
            with pytest.raises(DataError, match="NaN or infinite"):
                centred_gram(values, 10)
    grams = np.stack([np.eye(8), np.full((8, 8), bad)])
    with pytest.raises(DataError, match=r"Gram matrices \[1\]"):
        pairwise_cka([grams])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,)])
def test_gram_matrices_of_nothing_are_refused(shape):
    with pytest.raises(DataError, match="allowed: images x features"):
        centred_gram(np.ones(shape))


def test_dot_products_of_vectors_are_hsics():
    x, y = related_points(8, (5, 9))
    grams = np.stack([x @ x.T, y @ y.T])
    for debiased, hsic in ((True, hsic_of_quadruples), (False, hsic_of_matrices)):
        first, second = hsic_vectors(grams, debiased)
        assert first @ second == pytest.approx(hsic(*grams), rel=1e-10)
        assert second @ second == pytest.approx(hsic(grams[1], grams[1]), rel=1e-10)


# --- many points ----------------------------------------------------------------------------------


@BOTH
def test_one_block_gives_linear_cka_for_all_pairs(debiased):
    points = related_points(150, (4, 200, 9))
    expected = np.array([[linear_cka(x, y, debiased) for x in points] for y in points])
    assert pairwise_cka(gram_blocks(points, 150), debiased) == pytest.approx(expected, abs=1e-10)
    assert cka_matrix(points, debiased=debiased) == pytest.approx(expected, abs=1e-10)
    tensors = [torch.from_numpy(x).reshape(150, -1, 1) for x in points]
    assert cka_matrix(points[:1], tensors, debiased) == pytest.approx(expected[:1], abs=1e-10)
    single = [x.astype(np.float32) for x in points]
    assert cka_matrix(single, debiased=debiased) == pytest.approx(expected, abs=2e-6)


@BOTH
def test_blocks_sum_each_hsic_by_images_and_divide_once(debiased):
    points = related_points(22, (4, 7, 3))
    hsic = hsic_of_quadruples if debiased else hsic_of_matrices
    sums = np.zeros((3, 3))
    for rows in (slice(0, 8), slice(8, 16), slice(16, 22)):
        grams = [x[rows] @ x[rows].T for x in points]
        sums += len(grams[0]) * np.array([[hsic(k, m) for k in grams] for m in grams])
    norms = np.sqrt(sums.diagonal())
    found = pairwise_cka(gram_blocks(points, 8), debiased)
    assert found == pytest.approx(sums / norms / norms[:, None], abs=1e-10)


def test_blocks_estimate_what_the_whole_does():
    x, y = related_points(1600, (12, 20))
    whole = linear_cka(x, y)
    assert pairwise_cka(gram_blocks([x, y], 64))[0, 1] == pytest.approx(whole, abs=0.01)
    assert pairwise_cka(gram_blocks([x, y], 37))[0, 1] == pytest.approx(whole, abs=0.01)
    assert pairwise_cka(gram_blocks([x, y], 64), debiased=False)[0, 1] > whole + 0.02


def test_a_ragged_block_of_fewer_than_four_images_is_left_out_and_said():
    points = related_points(35, (4, 7))
    with pytest.warns(UserWarning, match="block 2 has 3 images, fewer than 4: left out"):
        found = pairwise_cka(gram_blocks(points, 16))
    assert np.array_equal(found, pairwise_cka(gram_blocks([x[:32] for x in points], 16)))
    with pytest.warns(UserWarning), pytest.raises(DataError, match=r"no block .* has 4 images"):
        pairwise_cka(gram_blocks(points, 3))


@BOTH
def test_one_side_against_another_is_a_part_of_all_against_all(debiased):
    points = related_points(40, (4, 7, 9, 3, 60))
    whole = pairwise_cka(gram_blocks(points, 15), debiased)
    blocks, others = gram_blocks(points[:2], 15), gram_blocks(points[2:], 15)
    assert pairwise_cka(blocks, debiased, others=others) == pytest.approx(whole[:2, 2:], abs=1e-12)
    assert whole == pytest.approx(whole.T, abs=1e-12)


@BOTH
def test_float32_gram_matrices_are_near_those_of_float64(debiased):
    points = related_points(400, (4000, 2000, 300), dtype=np.float32)
    points[1] = points[1] * 1000 + 500
    exact = pairwise_cka(gram_blocks([x.astype(np.float64) for x in points], 400), debiased)
    found = pairwise_cka(gram_blocks(points, 400), debiased)
    assert found.dtype == np.float64
    assert found == pytest.approx(exact, abs=2e-6)


def test_blocks_that_do_not_belong_together_are_refused():
    first = [*gram_blocks(related_points(20, (4, 7)), 10)]
    with pytest.raises(DataError, match="one side ends after 1 blocks"):
        pairwise_cka(first, others=first[:1])
    with pytest.raises(DataError, match="the same images in both"):
        pairwise_cka(first, others=[*gram_blocks(related_points(20, (4, 7)), 12)])
    with pytest.raises(DataError, match=r"block 1 has \(1, 1\) points"):
        pairwise_cka([first[0], first[1][:1]])
    with pytest.raises(DataError, match=r"block 0 has shape \(10, 10\)"):
        pairwise_cka(first[0])
    with pytest.raises(DataError, match=r"\[19, 20\] images"):
        next(gram_blocks([np.ones((20, 2)), np.ones((19, 2))], 5))
    with pytest.raises(DataError, match="no block"):
        pairwise_cka([])
    with pytest.raises(DataError, match=r"\[19, 20\] images; allowed: the same images"):
        cka_matrix([np.ones((20, 2))], [np.ones((19, 2))])
    with pytest.raises(DataError, match=r"\[3\] images; .* 4 or more"):
        cka_matrix([np.eye(3)])
    with pytest.raises(DataError, match=r"\[\] images"):
        cka_matrix([])
    with pytest.raises(ConfigError, match="blocks of 0 images"):
        mean_of_ratios_cka(first, 0)
    with pytest.raises(ConfigError, match="n_permutations is 0"):
        shuffled_cka(first, 0)


@BOTH
def test_the_mean_of_ratios_is_the_mean_over_batches_of_cka(debiased):
    x, y = related_points(44, (4, 7))
    rows = (slice(0, 16), slice(16, 32), slice(32, 44))
    expected = np.mean([linear_cka(x[part], y[part], debiased) for part in rows])
    # whole Gram matrices are cut; blocks of batches are taken as they are
    for images in (44, 32, 16):
        found = mean_of_ratios_cka(gram_blocks([x, y], images), 16, debiased)
        assert found[0, 1] == pytest.approx(expected, abs=1e-10)
    both = mean_of_ratios_cka(gram_blocks([x], 44), 16, debiased, others=gram_blocks([y], 44))
    assert both == pytest.approx(np.array([[expected]]), abs=1e-10)
    assert abs(expected - pairwise_cka(gram_blocks([x, y], 16), debiased)[0, 1]) > 1e-4


# --- baseline and intervals -----------------------------------------------------------------------


@BOTH
def test_the_shuffled_baseline_is_cka_of_permuted_images(debiased):
    points = related_points(5, (3, 4, 9))
    found = shuffled_cka(gram_blocks(points, 5), 2000, seed=1, quantile=0.9, debiased=debiased)
    for i, j in ((0, 1), (2, 1), (2, 2)):
        orders = [list(order) for order in itertools.permutations(range(5))]
        values = [linear_cka(points[i], points[j][order], debiased) for order in orders]
        assert found.mean[i, j] == pytest.approx(np.mean(values), abs=0.03)
        assert found.high[i, j] == pytest.approx(np.quantile(values, 0.9), abs=0.06)


def test_the_shuffled_baseline_of_related_layers_is_near_0_and_repeats_with_its_seed():
    points = related_points(120, (8, 10))
    found = shuffled_cka(gram_blocks(points, 50), 40, seed=3)
    assert np.abs(found.mean).max() < 0.02
    assert (found.high < 0.1).all() and (found.high > 0.005).all()
    again = shuffled_cka(gram_blocks(points, 50), 40, seed=3)
    assert np.array_equal(found.mean, again.mean) and np.array_equal(found.high, again.high)
    assert not np.array_equal(found.mean, shuffled_cka(gram_blocks(points, 50), 40, seed=4).mean)
    others = shuffled_cka(gram_blocks(points[:1], 50), 40, seed=3, others=gram_blocks(points[1:], 50))
    assert others.mean[0, 0] == pytest.approx(found.mean[0, 1], abs=1e-12)


def test_weights_of_one_give_the_u_statistic():
    x, y = related_points(8, (5, 9))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    assert weighted_hsic(k, l, np.ones((8, 1))) == pytest.approx([hsic_of_quadruples(k, l)], rel=1e-10)


def test_weighted_hsics_are_those_of_resamples_without_pairs_of_copies():
    x, y = related_points(8, (5, 9))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    resamples = np.array([[0, 0, 1, 2, 3, 3, 3, 7], [0, 1, 2, 3, 4, 5, 6, 7], [5, 5, 5, 5, 5, 1, 2, 3]])
    weights = np.stack([np.bincount(drawn, minlength=8) for drawn in resamples], axis=1)
    expected = [hsic_of_resample(k, l, drawn) for drawn in resamples]
    assert weighted_hsic(k, l, weights.astype(float)) == pytest.approx(expected, rel=1e-9)
    # a mean added to features adds something to rows and to columns
    shift = 30 * x.sum(axis=1)
    moved = k + shift + shift[:, None] + 100
    assert weighted_hsic(moved, l, weights.astype(float)) == pytest.approx(expected, rel=1e-7)


def test_bootstrap_intervals_are_those_of_a_plain_loop_over_resamples():
    x, y = related_points(14, (3, 4))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    generator, values = np.random.default_rng(5), []
    for _ in range(600):
        drawn = np.sort(generator.integers(14, size=14))
        hsics = [hsic_of_resample(*sides, drawn) for sides in ((k, l), (k, k), (l, l))]
        values.append(hsics[0] / np.sqrt(hsics[1] * hsics[2]))
    found = bootstrap_cka(gram_blocks([x, y], 14), n_resamples=3000, confidence=0.8)
    assert found.pairs == ((0, 1),)
    assert found.value == pytest.approx([linear_cka(x, y)], abs=1e-10)
    assert found.low == pytest.approx([np.quantile(values, 0.1)], abs=0.02)
    assert found.high == pytest.approx([np.quantile(values, 0.9)], abs=0.02)


def test_chosen_pairs_have_the_intervals_that_all_pairs_have():
    points = related_points(40, (3, 4, 30))
    every = bootstrap_cka(gram_blocks(points, 18), n_resamples=50)
    assert every.pairs == ((0, 1), (0, 2), (1, 2))
    whole = pairwise_cka(gram_blocks(points, 18))
    assert every.value == pytest.approx([whole[pair] for pair in every.pairs], abs=1e-10)
    chosen = bootstrap_cka(gram_blocks(points, 18), [(2, 1), (1, 1)], n_resamples=50)
    assert (chosen.low[0], chosen.high[0]) == pytest.approx((every.low[2], every.high[2]), abs=1e-12)
    assert (chosen.low[1], chosen.high[1]) == pytest.approx((1, 1), abs=1e-12)
    assert (every.low < every.value).all() and (every.value < every.high).all()
    single = bootstrap_cka(gram_blocks(points, 18), n_resamples=1)
    assert np.array_equal(single.low, single.high) and (single.low != single.value).all()
    other = bootstrap_cka(gram_blocks(points, 18), n_resamples=50, seed=1)
    assert not np.array_equal(other.low, every.low)


def test_intervals_of_independent_data_hold_0():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 100, 60))
    found = bootstrap_cka(gram_blocks([x, y], 100), n_resamples=300)
    assert found.low[0] < 0 < found.high[0]
    # copies of images that counted as pairs would lift it by a tenth or more
    assert abs(found.low[0] + found.high[0]) < 0.06


def test_intervals_hold_the_value_of_all_possible_images_as_often_as_they_say():
    variances, noise = np.array([4.0, 2.0, 1.0, 0.5]), 1.0
    truth = np.linalg.norm(variances) / np.linalg.norm(variances + noise)
    # diagonal covariances: Σ_xy = Σ_x, Σ_y = Σ_x + noise; CKA = ‖Σ_x‖² / (‖Σ_x‖ ‖Σ_y‖)
    generator, hits, widths = np.random.default_rng(0), 0, []
    for seed in range(200):
        x = generator.normal(size=(80, 4)) * np.sqrt(variances)
        y = x + generator.normal(size=(80, 4)) * np.sqrt(noise)
        found = bootstrap_cka(gram_blocks([x, y], 40), n_resamples=200, seed=seed, confidence=0.9)
        hits += int(found.low[0] <= truth <= found.high[0])
        widths.append(found.high[0] - found.low[0])
    assert 0.80 <= hits / 200 <= 0.97
    assert np.mean(widths) < 0.2


def test_a_dead_point_has_an_interval_of_0():
    x = related_points(20, (4,))[0]
    found = bootstrap_cka(gram_blocks([x, np.ones((20, 3))], 20), n_resamples=20)
    assert (found.value[0], found.low[0], found.high[0]) == (0, 0, 0)


def test_a_point_that_varies_in_one_image_only_has_an_interval_of_0():
    lonely = np.zeros((20, 3))
    lonely[7] = 1, 2, 3
    found = bootstrap_cka(gram_blocks([lonely, related_points(20, (4,))[0]], 20), n_resamples=20)
    assert (found.value[0], found.low[0], found.high[0]) == (0, 0, 0)


def test_resamples_of_four_images_still_have_four_different_ones():
    found = bootstrap_cka(gram_blocks(related_points(4, (3, 4)), 4), n_resamples=100)
    assert found.low == pytest.approx(found.value) and found.high == pytest.approx(found.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pairs": [(0, 2)]}, r"\[\(0, 2\)\] of 2 points"),
        ({"pairs": []}, "no pair"),
        ({"n_resamples": 0}, "n_resamples is 0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_settings_of_the_bootstrap_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap_cka(gram_blocks(related_points(8, (3, 4)), 8), **settings)


def test_cka_does_not_import_torch():
    code = (
        "import sys; import medtransfer.representation.cka_blocks, "
        "medtransfer.representation.cka_bootstrap; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
