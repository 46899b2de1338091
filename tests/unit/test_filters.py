"""First-layer filters before and after."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from trained_networks import small_network

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.filters import (
    FILTERS,
    both_moments,
    filter_changes,
    first_convolution,
)


def random_filters(seed: int, count: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (count, 3, 5, 5)).astype(np.float32)


def test_numbers_are_those_of_vector_algebra():
    start, end = random_filters(0), random_filters(1)
    table = filter_changes(start, end)
    FILTERS.check(table)
    assert list(table["filter"]) == list(range(6))
    energies = [sum(float(np.vdot(w.astype(float), w)) for w in side) for side in (start, end)]
    for i in range(6):
        a, b = (side[i].ravel().astype(float).tolist() for side in (start, end))
        lengths = [math.sqrt(sum(v * v for v in side)) for side in (a, b)]
        row = table.iloc[i]
        assert row["norm_start"] == pytest.approx(lengths[0])
        assert row["norm_end"] == pytest.approx(lengths[1])
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        assert row["cosine"] == pytest.approx(dot / lengths[0] / lengths[1])
        assert row["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1])
        difference = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
        assert row["relative_change"] == pytest.approx(difference / lengths[0])
        assert row["energy_start"] == pytest.approx(lengths[0] ** 2 / energies[0])
        assert row["energy_end"] == pytest.approx(lengths[1] ** 2 / energies[1])
    assert table["energy_end"].sum() == pytest.approx(1)


def test_a_filter_that_stays_scales_or_turns_round():
    start = random_filters(0, 3)
    end = np.stack([start[0], 3 * start[1], -start[2]])
    table = filter_changes(start, end)
    np.testing.assert_allclose(table["cosine"], [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(table["correlation"], [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(table["relative_change"], [0, 2, 2], atol=1e-6)
    assert table["cosine"].abs().max() <= 1


def test_a_change_of_brightness_shows_in_the_cosine_and_not_in_the_correlation():
    start = random_filters(0, 1)
    table = filter_changes(start, start + 2)
    assert table["correlation"][0] == pytest.approx(1, abs=1e-6)
    assert table["cosine"][0] < 0.95


def test_dead_and_constant_filters_have_empty_numbers():
    start, end = random_filters(0, 3), random_filters(1, 3)
    start[0], end[1] = 0, 0.1
    table = filter_changes(start, end)
    assert table["cosine"].isna().tolist() == [True, False, False]
    assert table["relative_change"].isna().tolist() == [True, False, False]
    assert table["correlation"].isna().tolist() == [True, True, False]
    assert np.isfinite(table[["norm_start", "norm_end", "energy_start", "energy_end"]]).all(axis=None)
    nothing = filter_changes(np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 3)))
    assert nothing["energy_start"].isna().all()


def test_rounding_is_no_pattern():
    start = random_filters(0, 100)
    constant = np.random.default_rng(2).normal(size=(100, 1, 1, 1)) * np.ones((1, 3, 5, 5))
    assert (constant.reshape(100, -1) != constant.reshape(100, -1).mean(1, keepdims=True)).any()
    assert filter_changes(start, constant)["correlation"].isna().all()


def test_both_moments_are_kept_as_they_are():
    start, end = random_filters(0), random_filters(1)
    both = both_moments(start, end)
    assert both.shape == (2, 6, 3, 5, 5)
    assert both.dtype == np.float32
    assert np.array_equal(both[0], start)
    assert np.array_equal(both[1], end)


def test_filters_of_different_networks_are_an_error():
    for other in (random_filters(1, 5), np.zeros((6, 75))):
        with pytest.raises(DataError, match=r"\(6, 3, 5, 5\) at the start"):
            both_moments(random_filters(0), other)
        with pytest.raises(DataError, match="allowed: twice"):
            filter_changes(random_filters(0), other)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("cbr", "layers.0.conv.weight"),
        ("resnet18", "conv1.weight"),
        ("efficientnet", "conv_stem.weight"),
        ("vit", "patch_embed.proj.weight"),
        ("swin", "patch_embed.proj.weight"),
    ],
)
def test_the_first_convolution_is_that_of_the_stem(name, weights):
    network = small_network(name)
    assert first_convolution(network) == weights
    assert network.state_dict()[weights].shape[1] == 3


def test_a_stem_without_a_convolution_is_an_error():
    network = small_network("cbr")
    network.layers[0].conv = torch.nn.Linear(3, 8)
    with pytest.raises(ConfigError, match=r"layers.0.* no convolution"):
        first_convolution(network)


def test_numbers_of_filters_and_stored_activations_need_no_torch():
    code = (
        "import sys, numpy as np\n"
        "import medtransfer.representation.activations\n"
        "from medtransfer.representation.filters import filter_changes\n"
        "filter_changes(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
