"""Distances between domains against sqrtm, closed forms, brute force and asymptotic theory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation import domain_distance as module
from medtransfer.representation.domain_distance import (
    DOMAIN_DISTANCE,
    DistanceProtocol,
    SourceFeatures,
    domain_distances,
    extrapolated,
    extrapolation_sizes,
    frechet_distance,
    kernel_distance,
)
from medtransfer.seeds import derived_seed


def by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, with the root of the unsymmetric product."""
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.atleast_2d(linalg.sqrtm(np.atleast_2d(cov_x @ cov_y if cov_x.ndim else cov_x * cov_y)))
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(np.atleast_2d(cov_x + cov_y)) - 2 * np.trace(root).real)


def with_moments(mean: np.ndarray, deviations: np.ndarray, images: int, seed: int) -> np.ndarray:
    """Features whose sample mean and (diagonal) covariance are exactly these."""
    draws = np.random.default_rng(seed).normal(size=(images, len(mean)))
    orthonormal = np.linalg.qr(draws - draws.mean(0))[0]  # columns of mean 0 and length 1
    return orthonormal * math.sqrt(images - 1) * deviations + mean


def draw(seed: int, images: int, features: int = 6) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(0.3 * seed, 1, (images, features)) @ generator.normal(
        size=(features, features)
    )


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 12), (300, 300, 1), (90, 500, 40)])
def test_frechet_is_that_of_sqrtm(n, m, d):
    x, y = draw(1, n, d), draw(2, m, d)
    assert frechet_distance(x, y) == pytest.approx(by_sqrtm(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (12, 10), (10, 60), (60, 10), (30, 60), (2, 2)])
def test_frechet_with_fewer_images_than_features_is_that_of_sqrtm_of_the_symmetric_product(n, m):
    x, y = draw(1, n, 30), draw(2, m, 30)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(cov_x)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ cov_y @ root).clip(0)).sum()
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cov_x + cov_y) - 2 * shared
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("images", [5, 9, 40])
def test_frechet_of_diagonal_covariances_has_its_closed_form(images):
    mean_x, mean_y = np.array([1.0, -2, 0, 3]), np.array([0.0, 1, 0.5, 3])
    s, t = np.array([1.0, 2, 0.5, 3]), np.array([2.0, 2, 0.1, 1])
    x, y = with_moments(mean_x, s, images, 1), with_moments(mean_y, t, images + 3, 2)
    expected = np.sum((mean_x - mean_y) ** 2) + np.sum((s - t) ** 2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_two_covariances_that_do_not_commute_by_hand():
    # with 2 x 2 covariances, the trace of the root of a product is sqrt(tr + 2 sqrt(det))
    x = with_moments(np.zeros(2), np.array([3.0, 1.0]), 20, 1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    y = with_moments(np.zeros(2), np.array([2.0, 0.5]), 20, 2) @ turn.T
    product = np.diag([9.0, 1.0]) @ (turn @ np.diag([4.0, 0.25]) @ turn.T)
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    assert frechet_distance(x, y) == pytest.approx(10 + 4.25 - 2 * root, rel=1e-10)


def test_frechet_is_symmetric_0_for_the_same_and_unchanged_by_rotation_and_shift():
    x, y = draw(1, 50, 8), draw(2, 40, 8)
    rotation = np.linalg.qr(draw(3, 8, 8))[0]
    value = frechet_distance(x, y)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-12)
    assert frechet_distance(x @ rotation + 7, y @ rotation + 7) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-12)
    assert frechet_distance(x, np.random.default_rng(0).permutation(x)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + np.arange(8)) == pytest.approx(140, rel=1e-9)


def test_constant_and_repeated_features_are_no_trouble():
    x, y = draw(1, 80), draw(2, 70)
    value = frechet_distance(x, y)
    dead_x, dead_y = (np.hstack([v, np.full((len(v), 3), 2.0)]) for v in (x, y))
    assert frechet_distance(dead_x, dead_y) == pytest.approx(value, rel=1e-6)
    twice_x, twice_y = (np.hstack([v, v]) for v in (x, y))
    assert frechet_distance(twice_x, twice_y) == pytest.approx(2 * value, rel=1e-6)
    partly = [with_moments(np.zeros(3), np.ones(3), 50, seed) for seed in (1, 2)]
    apart_x = np.hstack([partly[0], np.zeros((50, 3))])  # they vary in other directions
    apart_y = np.hstack([np.zeros((50, 3)), partly[1]])
    assert frechet_distance(apart_x, apart_y) == pytest.approx(6, rel=1e-12)
    turn = np.linalg.qr(draw(3, 5, 5))[0]  # with one direction of five in common
    overlapping = [
        np.pad(v, ((0, 0), pad)) @ turn for v, pad in zip(partly, [(0, 2), (2, 0)], strict=True)
    ]
    assert frechet_distance(*overlapping) == pytest.approx(4, rel=1e-12)
    constant = np.ones((9, 4))
    assert frechet_distance(constant, constant + 2) == pytest.approx(16)


def test_float32_features_are_computed_in_float64():
    x, y = (draw(seed, 90, 30).astype(np.float32) + np.float32(1000) for seed in (1, 2))
    exact = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == exact


def asymptotic_bias(variances: np.ndarray) -> float:
    """n times the expected distance of two samples of one normal distribution, for large n.

    From the second order of the distance around equal covariances: of sampling error E in the basis of
    the covariance it is sum_ij E_ij^2 / (2 (v_i + v_j)), E being the difference of two samples with
    variances 2 v_i v_j / n, on the diagonal twice that. Means add 2 sum v / n.
    """
    v, w = variances[:, None], variances[None, :]
    pairs = 2 * v * w * (1 + np.eye(len(variances))) / (2 * (v + w))
    return float(2 * variances.sum() + pairs.sum())


def test_the_bias_of_equal_distributions_is_that_of_theory():
    variances = 1 / np.arange(1.0, 6)
    generator = np.random.default_rng(0)
    n = 400
    values = [
        frechet_distance(*(generator.normal(size=(2, n, 5)) * np.sqrt(variances))) for _ in range(300)
    ]
    assert n * np.mean(values) == pytest.approx(asymptotic_bias(variances), rel=0.05)


def test_the_bias_of_standard_normal_features_is_that_of_theory():
    values = np.random.default_rng(1).normal(size=(2, 5000, 768))
    assert frechet_distance(*values) == pytest.approx(asymptotic_bias(np.ones(768)) / 5000, rel=0.01)


def kernel_by_pairs(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a, b):
        return (sum(v * w for v, w in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(v):
        pairs = list(itertools.permutations(range(len(v)), 2))
        return sum(kernel(v[i], v[j]) for i, j in pairs) / len(pairs)

    between = [kernel(a, b) for a, b in itertools.product(x, y)]
    return within(x) + within(y) - 2 * sum(between) / len(between)


@pytest.mark.parametrize("block", [4, 1024])
def test_kernel_distance_is_that_of_all_pairs(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    x, y = draw(1, 13, 4), draw(2, 9, 4)
    assert kernel_distance(x, y) == pytest.approx(kernel_by_pairs(x, y), rel=1e-11)
    assert kernel_distance(y, x) == pytest.approx(kernel_by_pairs(x, y), rel=1e-11)


def test_kernel_distance_by_hand():
    # one feature: k(a, b) = (a b + 1)^3
    x, y = np.array([[1.0], [2.0]]), np.array([[0.0], [-1.0]])
    assert kernel_distance(x, y) == pytest.approx(27 + 1 - 2 * (1 + 1 + 0 - 1) / 4)


def test_kernel_distance_is_unbiased():
    generator = np.random.default_rng(0)
    values = [kernel_distance(*generator.normal(size=(2, 20, 3))) for _ in range(2000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(2000)
    assert min(values) < 0 < max(values)


def test_kernel_distance_over_subsets():
    x, y = draw(1, 60, 4), draw(2, 50, 4)
    whole = kernel_distance(x, y)
    assert kernel_distance(x, y, subsets=5, subset_size=1000) != pytest.approx(whole, rel=1e-9)
    assert kernel_distance(x[:50], y, subsets=3) == pytest.approx(kernel_distance(x[:50], y), rel=1e-9)
    many = kernel_distance(x, y, subsets=800, subset_size=20, seed=1)
    assert many == pytest.approx(whole, rel=0.1)
    assert many == kernel_distance(x, y, subsets=800, subset_size=20, seed=1)
    assert many != kernel_distance(x, y, subsets=800, subset_size=20, seed=2)
    with pytest.raises(ConfigError, match="-1 subsets of 1000"):
        kernel_distance(x, y, subsets=-1)
    with pytest.raises(ConfigError, match="3 subsets of 1"):
        kernel_distance(x, y, subsets=3, subset_size=1)


def test_extrapolation_takes_off_the_bias_and_finds_its_slope():
    generator = np.random.default_rng(0)
    deviations = np.sqrt(1 / np.arange(1.0, 9))
    shift = np.full(8, 0.5)
    truth = 2.0  # equal covariances, so the squared distance of the means
    lines, plain = [], []
    for seed in range(40):
        x, y = generator.normal(size=(2, 400, 8)) * deviations + np.stack([np.zeros(8), shift])[:, None]
        line = extrapolated(x, y, seed=seed)
        lines.append((line.value, line.slope))
        plain.append(frechet_distance(x, y))
    value, slope = np.mean(lines, axis=0)
    error = np.std([v for v, _ in lines]) / math.sqrt(40)
    assert abs(value - truth) < 3 * error
    assert slope == pytest.approx(asymptotic_bias(deviations**2), rel=0.25)
    bias = asymptotic_bias(deviations**2) / 400
    assert np.mean(plain) - value == pytest.approx(bias, rel=0.25)


def test_an_extrapolation_is_the_least_squares_line_of_its_distances():
    x, y = draw(1, 60, 4), draw(2, 50, 4)
    line = extrapolated(x, y, sizes=(10, 20, 40), repeats=2, seed=3)
    assert line.sizes == (10, 20, 40) and len(line.distances) == 3
    design = np.stack([np.ones(3), 1 / np.array(line.sizes)], axis=1)
    (value, slope), *_ = np.linalg.lstsq(design, np.array(line.distances), rcond=None)
    assert (line.value, line.slope) == pytest.approx((value, slope), rel=1e-9)
    assert line == extrapolated(x, y, sizes=(10, 20, 40), repeats=2, seed=3)
    assert line != extrapolated(x, y, sizes=(10, 20, 40), repeats=2, seed=4)
    assert line.distances[0] != extrapolated(x, y, (10, 20, 40), repeats=1, seed=3).distances[0]
    whole = extrapolated(x[:50], y, sizes=(10, 50), repeats=2)
    assert whole.distances[1] == pytest.approx(frechet_distance(x[:50], y), rel=1e-9)


def test_draws_of_an_extrapolation_take_different_images_of_both():
    order = np.arange(10.0)[:, None]
    parts = list(module._stretches(order, 4, 3))
    assert [part[:, 0].tolist() for part in parts] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert [p[:, 0].tolist() for p in module._stretches(order, 8, 2)][1] == [5, 6, 7, 8, 9, 0, 1, 2]


def test_sizes_lie_evenly_in_1_over_n_from_a_quarter_to_all():
    assert extrapolation_sizes(1200) == (300, 369, 480, 686, 1200)
    assert extrapolation_sizes(8)[0] == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: frechet_distance(x, x[:1]), DataError, "second domain have 1 images.*at least 2"),
        (lambda x: frechet_distance(x[0], x), DataError, r"first domain have shape \(6,\)"),
        (lambda x: frechet_distance(x, x[:, :4]), DataError, "6 and 4 features"),
        (lambda x: frechet_distance(x, x * np.nan), DataError, "20 of 20 images have NaN"),
        (lambda x: kernel_distance(x, x[:, :4]), DataError, "6 and 4 features"),
        (lambda x: extrapolated(x, x, sizes=[5]), ConfigError, "two or more different ones"),
        (lambda x: extrapolated(x, x, sizes=[5, 21]), ConfigError, "from 2 to 20"),
        (lambda x: extrapolated(x, x, sizes=[1, 20]), ConfigError, "from 2 to 20"),
        (lambda x: extrapolated(x, x, repeats=0), ConfigError, "0 repeats"),
    ],
)
def test_what_is_not_allowed_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(draw(1, 20))


def table_of(seed: int = 0, **protocol):
    images = draw(1, 210)
    source = SourceFeatures("imagenet1k", "resnet18, imagenet1k", images[:90])
    targets = {"near": images[90:] + 0.1, "far": draw(3, 80)}
    return source, targets, domain_distances(source, targets, DistanceProtocol(**protocol), seed)


def test_the_table_takes_equally_many_images_of_each_domain(monkeypatch):
    seen = []

    def watched(x, y):
        seen.append((len(x), len(y)))
        return frechet_distance(x, y)

    monkeypatch.setattr(module, "kernel_distance", watched)
    _, _, table = table_of(groups=0)
    DOMAIN_DISTANCE.check(table)
    assert seen == [(80, 80)] * 2  # the smallest
    assert (table["images"] == 80).all()
    assert table["dataset"].tolist() == ["near"] * 3 + ["far"] * 3
    assert table["measure"].tolist() == ["frechet", "frechet_extrapolated", "kernel"] * 2
    assert (table["source"] == "imagenet1k").all()
    assert (table["extractor"] == "resnet18, imagenet1k").all()
    assert table["low"].isna().all() and table["high"].isna().all()


def test_the_values_of_the_table_are_those_of_the_measures_on_all_images():
    source, targets, table = table_of(groups=0)
    values = table.set_index(["dataset", "measure"])["value"]
    some = {"near": targets["near"][:90]}
    whole = domain_distances(source, some, DistanceProtocol(groups=0)).set_index("measure")["value"]
    assert whole["frechet"] == pytest.approx(frechet_distance(source.features, some["near"]), rel=1e-9)
    assert whole["kernel"] == pytest.approx(kernel_distance(source.features, some["near"]), rel=1e-9)
    x = module._draw(source.features, 90, derived_seed(0, "source imagenet1k"))
    y = module._draw(some["near"], 90, derived_seed(0, "near"))
    assert not np.array_equal(x, source.features) and len(np.unique(y, axis=0)) == 90
    sizes = extrapolation_sizes(90)
    distances = [
        np.mean([frechet_distance(x[i], y[i]) for i in module._stretches(np.arange(90), size, 3)])
        for size in sizes
    ]
    line = np.polyfit(1 / np.array(sizes), distances, 1)
    assert whole["frechet_extrapolated"] == pytest.approx(line[1], rel=1e-9)
    assert values["far", "frechet"] > 10 * values["near", "frechet"]


def test_a_data_sets_values_do_not_depend_on_the_others_and_follow_the_seed():
    source, targets, table = table_of(images=60, groups=4)
    alone = domain_distances(source, {"far": targets["far"]}, DistanceProtocol(images=60, groups=4))
    assert alone.equals(table[table["dataset"] == "far"].reset_index(drop=True))
    assert not table_of(seed=1, images=60, groups=4)[2]["value"].equals(table["value"])


def test_what_falls_with_the_images_alone_does_not_widen_an_interval():
    rows = np.zeros((87, 1))
    protocol = DistanceProtocol(groups=10)
    assert module._half_interval(lambda x, y: 100 / len(x) + 100 / len(y), rows, rows, protocol) == 0


def test_intervals_hold_the_expected_value_as_often_as_they_say():
    generator = np.random.default_rng(1)
    protocol = DistanceProtocol(groups=10, repeats=1, confidence=0.9)
    tables = []
    for _ in range(200):
        source = SourceFeatures("s", "e", generator.normal(size=(103, 3)))
        target = {"t": generator.normal(0.6, 1.4, size=(103, 3))}
        tables.append(domain_distances(source, target, protocol))
    for _, rows in pd.concat(tables).groupby("measure"):
        centre = rows["value"].mean()
        share = np.mean((rows["low"] <= centre) & (centre <= rows["high"]))
        assert 0.83 <= share <= 0.97


@pytest.mark.parametrize(
    ("targets", "protocol", "error", "message"),
    [
        ({}, {}, DataError, "no data set to compare with source s"),
        ({"a": 70, "b": 50}, {"images": 60}, DataError, "60 images of each domain: data set b has 50"),
        ({"a": 200}, {"images": 100}, DataError, "source s has 90"),
        ({"a": 15}, {}, DataError, "data set a has 15.*at least 20"),
        ({"a": 90}, {"images": 10}, DataError, "10 images of each domain.*at least 20"),
        ({"a": 90}, {"groups": 1}, ConfigError, "1 groups of the jackknife"),
        ({"a": 90}, {"sizes": (20, 100)}, ConfigError, "from 2 to 90"),
        ({"a": 90}, {"repeats": 0}, ConfigError, "0 repeats"),
    ],
)
def test_what_a_table_can_not_be_made_of_is_named(targets, protocol, error, message):
    source = SourceFeatures("s", "e", draw(1, 90))
    features = {name: draw(2, count) for name, count in targets.items()}
    with pytest.raises(error, match=message):
        domain_distances(source, features, DistanceProtocol(**protocol))


def test_features_of_other_extractors_and_broken_ones_are_refused():
    source = SourceFeatures("s", "e", draw(1, 90))
    with pytest.raises(DataError, match="6 and 5 features"):
        domain_distances(source, {"a": draw(2, 90, 5)})
    with pytest.raises(DataError, match="NaN"):
        domain_distances(source, {"a": np.full((90, 6), np.nan)})
