"""Tests of folding, of the studies' protocols of canonical correlation and of their tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.cca import cca, pwcca, shuffled_baseline, subspace, svcca
from medtransfer.representation.cca_protocols import (
    TOP_LAYERS,
    channel_blocks,
    compare_blocks,
    pair_kind,
    represented,
    sampled_channel_cca,
    similarities,
    top_layer_comparison,
)
from medtransfer.representation.cca_table import CCA
from medtransfer.representation.folding import folded, row_sample
from medtransfer.representation.pairs import Network, NetworkPair

# folding


def test_feature_maps_are_folded_image_by_image_in_reading_order():
    images, channels, height, width = 3, 4, 2, 5
    maps = np.random.default_rng(0).normal(size=(images, channels, height, width)).astype(np.float32)
    rows = folded(maps)
    assert rows.shape == (images * height * width, channels)
    assert rows.dtype == np.float32
    for i in range(images):
        for h in range(height):
            for w in range(width):
                row = rows[i * height * width + h * width + w]
                np.testing.assert_array_equal(row, maps[i, :, h, w])


def test_tokens_are_folded_without_their_prefix():
    tokens = np.random.default_rng(0).normal(size=(3, 6, 4))
    np.testing.assert_array_equal(folded(tokens), tokens.reshape(18, 4))
    rows = folded(tokens, prefix_tokens=2)
    assert rows.shape == (12, 4)
    for i in range(3):
        np.testing.assert_array_equal(rows[4 * i : 4 * i + 4], tokens[i, 2:])


def test_pooled_features_are_folded_already():
    features = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_array_equal(folded(features), features)


def test_the_same_map_as_channels_first_and_as_tokens_folds_alike():
    maps = np.random.default_rng(0).normal(size=(3, 4, 2, 5))
    tokens = maps.transpose(0, 2, 3, 1).reshape(3, 10, 4)
    np.testing.assert_array_equal(folded(maps), folded(tokens))


@pytest.mark.parametrize(
    ("shape", "prefix"),
    [((3,), 0), ((2, 3, 4, 5, 6), 0), ((2, 3, 4, 4), 1), ((2, 3, 4), 3), ((2, 0), 0)],
)
def test_what_cannot_be_folded_is_refused(shape, prefix):
    with pytest.raises(DataError, match="activations of shape"):
        folded(np.zeros(shape), prefix)


@pytest.mark.parametrize(("images", "positions", "rows"), [(40, 49, 300), (40, 49, 13), (7, 4, 27)])
def test_a_row_sample_is_spread_over_images_and_positions(images, positions, rows):
    image, position = row_sample(images, positions, rows, seed=0)
    assert len(image) == len(position) == rows
    assert len(set(zip(image, position, strict=True))) == rows
    counts = np.bincount(image, minlength=images)
    assert counts.max() - counts.min() <= 1
    assert (position >= 0).all() and (position < positions).all()
    np.testing.assert_array_equal(np.lexsort((position, image)), np.arange(rows))


def test_a_row_sample_chooses_all_positions_about_as_often_and_the_extra_images_at_random():
    image, position = row_sample(400, 9, 1_000, seed=0)
    counts = np.bincount(position, minlength=9)
    assert counts.min() > 70 and counts.max() < 155
    extra = np.flatnonzero(np.bincount(image, minlength=400) == 3)
    assert 80 < extra.mean() / 399 * 200 < 120


def test_a_row_sample_is_the_same_for_the_same_arguments_only():
    first, again, other = (row_sample(40, 49, 300, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_row_sample_of_all_pairs_or_more_is_all_pairs():
    for rows in (12, 50):
        image, position = row_sample(4, 3, rows, seed=0)
        np.testing.assert_array_equal(image, np.repeat(np.arange(4), 3))
        np.testing.assert_array_equal(position, np.tile(np.arange(3), 4))


@pytest.mark.parametrize("counts", [(0, 3, 3), (3, 0, 3), (3, 3, 0)])
def test_a_row_sample_of_nothing_is_refused(counts):
    with pytest.raises(DataError, match="allowed: 1 or more of each"):
        row_sample(*counts, seed=0)


# sampled channels


@pytest.mark.parametrize(
    ("side", "images"),
    # Juodelyte et al.: the five layers at 112 pixels, and the first one at 224
    [(56, 3), (28, 13), (14, 51), (7, 204), (4, 625), (112, 1), (150, 1)],
)
def test_blocks_take_about_ten_thousand_rows_of_64_channels_five_times(side, images):
    blocks = channel_blocks(2_000, side * side, 256, seed=0)
    assert len(blocks) == 5
    for block in blocks:
        assert len(np.unique(block.images)) == len(block.images) == images
        assert len(np.unique(block.channels)) == len(block.channels) == 64
        assert block.images.max() < 2_000 and block.channels.max() < 256
        assert block.complete
        np.testing.assert_array_equal(np.sort(block.images), block.images)
        np.testing.assert_array_equal(np.sort(block.channels), block.channels)


def test_blocks_differ_between_repeats_and_seeds_but_not_between_networks():
    blocks, again, other = (channel_blocks(500, 196, 256, seed) for seed in (0, 0, 1))
    for i in range(5):
        np.testing.assert_array_equal(blocks[i].images, again[i].images)
        np.testing.assert_array_equal(blocks[i].channels, again[i].channels)
        assert not np.array_equal(blocks[i].images, other[i].images)
        assert not np.array_equal(blocks[i].channels, other[i].channels)
        for j in range(i):
            assert not np.array_equal(blocks[i].images, blocks[j].images)
            assert not np.array_equal(blocks[i].channels, blocks[j].channels)


def test_blocks_of_another_width_have_their_own_channels_and_the_same_images():
    narrow, wide = channel_blocks(500, 196, 256, 0), channel_blocks(500, 196, 2_048, 0)
    for first, second in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(first.images, second.images)
        assert second.channels.max() > 256


@pytest.mark.parametrize(
    ("images", "channels", "complete"), [(50, 256, False), (51, 63, False), (51, 64, True)]
)
def test_blocks_of_too_little_take_all_and_say_so(images, channels, complete):
    for block in channel_blocks(images, 196, channels, seed=0):
        assert block.complete is complete
        assert len(block.images) == min(images, 51)
        assert len(block.channels) == min(channels, 64)


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_blocks_of_nothing_are_refused(counts):
    with pytest.raises(DataError, match="allowed: 1 or more of each"):
        channel_blocks(*counts, seed=0)


def maps_of_two_networks(images=30, channels=80, side=6):
    random = np.random.default_rng(0)
    first = random.normal(size=(images, channels, side, side))
    mixing = random.normal(size=(channels, channels)) / math.sqrt(channels)
    second = np.einsum("nchw,cd->ndhw", first, mixing) + random.normal(size=first.shape)
    return first.astype(np.float32), second.astype(np.float32)


def sampled(maps, blocks):
    return [folded(maps[block.images][:, block.channels]) for block in blocks]


def released_mean(x, y):
    """google/svcca's coefficients with an epsilon of 1e-12, from covariances as it computes them."""
    covariance = np.cov(x, y, rowvar=False)
    d = x.shape[1]
    xx, xy, yy = covariance[:d, :d], covariance[:d, d:], covariance[d:, d:]
    scale_x, scale_y = np.abs(xx).max(), np.abs(yy).max()
    live_x, live_y = np.diag(xx) / scale_x >= 1e-12, np.diag(yy) / scale_y >= 1e-12
    roots = [
        np.linalg.inv(linalg.sqrtm(part / scale + 1e-12 * np.eye(len(part))).real)
        for part, scale in ((xx[live_x][:, live_x], scale_x), (yy[live_y][:, live_y], scale_y))
    ]
    cross = xy[live_x][:, live_y] / math.sqrt(scale_x * scale_y)
    return np.linalg.svd(roots[0] @ cross @ roots[1], compute_uv=False).mean()


@pytest.mark.parametrize("as_released", [False, True])
def test_sampled_channels_average_the_correlations_of_the_repeats(as_released):
    maps = maps_of_two_networks()
    blocks = channel_blocks(30, 36, 80, seed=0)
    x, y = (sampled(side, blocks) for side in maps)
    found = sampled_channel_cca(x, y, positions=36, as_released=as_released)
    expected = [released_mean(a, b) for a, b in zip(x, y, strict=True)]
    assert found.repeats == pytest.approx(expected, abs=1e-7)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-7)
    assert (found.rows, found.channels_x, found.channels_y) == (30 * 36, 64, 64)
    assert found.reliable
    assert found.baseline < found.value - 0.1


def test_the_baseline_of_sampled_channels_moves_images_whole_in_each_repeat():
    random = np.random.default_rng(0)
    x, y = ([np.repeat(random.normal(size=(12, 5)), 50, axis=0) for _ in range(2)] for _ in range(2))
    found = sampled_channel_cca(x, y, positions=50, seed=3)
    groups = np.repeat(np.arange(12), 50)
    expected = [shuffled_baseline(x[i], y[i], seed=3 + i, groups=groups) for i in range(2)]
    assert found.baseline == pytest.approx(np.mean(expected))
    assert found.baseline > 0.3
    assert sampled_channel_cca(x, y, seed=3).baseline < 0.1


def test_as_released_counts_dependent_channels_as_uncorrelated():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 4))
    y = x + random.normal(size=(500, 4))
    doubled = [np.hstack([side, side[:, :2], np.zeros((500, 1))]) for side in (x, y)]
    ours = sampled_channel_cca(doubled[:1], doubled[1:])
    released = sampled_channel_cca(doubled[:1], doubled[1:], as_released=True)
    assert ours.value == pytest.approx(cca(x, y).mean, abs=1e-9)
    assert released.value == pytest.approx(cca(x, y).mean * 4 / 6, abs=1e-3)
    assert released.value == pytest.approx(released_mean(*doubled), abs=1e-3)


def test_as_released_leaves_out_faint_channels_and_survives_dead_ones():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 3))
    faint = np.hstack([x, 1e-7 * random.normal(size=(500, 1))])
    assert sampled_channel_cca([faint], [faint]).value == pytest.approx(1)
    released = sampled_channel_cca([faint], [np.hstack([x, np.ones((500, 1))])], as_released=True)
    assert released.value == pytest.approx(1, abs=1e-9)
    assert released.channels_x == 4
    assert sampled_channel_cca([x], [np.zeros((500, 2))], as_released=True).value == 0.0


def test_sampled_channels_of_one_image_have_a_value_but_no_baseline():
    x, y = (np.random.default_rng(seed).normal(size=(100, 4)) for seed in (0, 1))
    found = sampled_channel_cca([x], [y], positions=100)
    assert found.value == pytest.approx(cca(x, y).mean)
    assert math.isnan(found.baseline)


def test_sampled_channels_are_reliable_only_if_every_repeat_is():
    x, y = (np.random.default_rng(seed).normal(size=(50, 4)) for seed in (0, 1))
    assert sampled_channel_cca([x, x], [y, y]).reliable
    short = sampled_channel_cca([x, x[:39]], [y, y[:39]])
    assert not short.reliable
    assert short.rows == 39


def test_factored_blocks_give_the_same():
    maps = maps_of_two_networks()
    blocks = channel_blocks(30, 36, 80, seed=0)
    x, y = (sampled(side, blocks) for side in maps)
    assert sampled_channel_cca(np.stack(x), np.stack(y), 36) == sampled_channel_cca(x, y, 36)
    factored = ([subspace(block) for block in side] for side in (x, y))
    assert compare_blocks(*factored, 36, seed=4) == sampled_channel_cca(x, y, 36, seed=4)


def test_blocks_that_do_not_match_are_refused():
    x = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(DataError, match="2 and 1 repeats"):
        sampled_channel_cca([x, x], [x])
    with pytest.raises(DataError, match="0 and 0 repeats"):
        sampled_channel_cca([], [])
    with pytest.raises(DataError, match="50 and 49 rows"):
        sampled_channel_cca([x], [x[1:]])
    with pytest.raises(DataError, match="50 rows with 7 positions"):
        sampled_channel_cca([x], [x], positions=7)
    for as_released in (False, True):
        with pytest.raises(DataError, match="NaN"):
            sampled_channel_cca([x * np.nan], [x], as_released=as_released)


# tables


def test_similarities_are_the_public_measures_with_their_baselines():
    random = np.random.default_rng(0)
    common = random.normal(size=(60, 3))
    groups = np.repeat(np.arange(20), 3)
    a, b = (
        np.hstack([5 * common, np.ones((60, 1)), random.normal(size=(60, 4)) * 0.4]) for _ in range(2)
    )
    b = b[:, 1:]
    table = similarities(represented(a, 0.9), represented(b, 0.9), groups=groups, repeats=3, seed=2)
    rows = table.set_index("measure")
    assert list(rows.index) == ["cca", "svcca", "pwcca"]
    measures = {
        "cca": cca,
        "svcca": lambda x, y: svcca(x, y, 0.9),
        "pwcca": pwcca,
    }
    for name, measure in measures.items():
        value = measure(a, b)
        value = value if name == "pwcca" else value.mean
        baseline = shuffled_baseline(a, b, measure, repeats=3, seed=2, groups=groups)
        assert rows.loc[name, "value"] == pytest.approx(value, abs=1e-9)
        assert rows.loc[name, "baseline"] == pytest.approx(baseline, abs=1e-9)
    assert (
        table[["rows", "channels_a", "channels_b"]].drop_duplicates().to_numpy() == [[60, 8, 7]]
    ).all()
    # 7 and 6 directions want 65 rows, the 3 and 2 leading ones 25
    assert list(table["reliable"]) == [False, True, False]


def test_similarities_of_one_image_have_no_baseline():
    x = np.random.default_rng(0).normal(size=(30, 3))
    table = similarities(represented(x), represented(x), groups=np.zeros(30))
    assert table["baseline"].isna().all()
    assert table["value"].to_numpy() == pytest.approx([1, 1, 1])
    network = Network("r", "d", "m", "random", "full", "holdout", 0, "end")
    pair = NetworkPair("inits", network, replace(network, init="s"))
    table = table.assign(**pair.columns, point="u", order=0)
    CCA.check(table[list(CCA.columns)])


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("random", "random", "random-random"),
        ("imagenet", "random", "random-transfer"),
        ("random", "imagenet", "random-transfer"),
        ("imagenet", "radimagenet", "transfer-transfer"),
        ("imagenet-stats", "random", None),
        ("imagenet", "imagenet-upto3-random", None),
        ("gabor", "random", None),
    ],
)
def test_pairs_are_named_by_their_starts(first, second, kind):
    assert pair_kind(first, second) == kind


def test_a_pair_of_unknown_starts_is_refused():
    with pytest.raises(ConfigError, match="init"):
        pair_kind("random", "image net")


def correlations_of(model, pairs):
    """One row a unit of each pair; ``pairs`` maps (a, b, kind) to the values from stem to top."""
    return pd.DataFrame(
        {
            "dataset": "d",
            "model": model,
            "a": a,
            "b": b,
            "unit": unit,
            "measure": "cca",
            "value": value,
            "baseline": 0.1,
            "rows": 1_000,
            "channels_a": 8,
            "channels_b": 8,
            "reliable": True,
            "pair": kind,
        }
        for (a, b, kind), values in pairs.items()
        for unit, value in zip(("stem", "u1", "u2"), values, strict=True)
    )


def test_the_top_layers_are_compared_by_kind_of_pair():
    table = pd.concat(
        [
            correlations_of(
                "small",
                {
                    ("r1", "r2", "random-random"): (0.9, 0.6, 0.8),
                    ("r1", "r3", "random-random"): (0.9, 0.4, 0.4),
                    ("r1", "t1", "random-transfer"): (0.9, 0.3, 0.1),
                    ("t1", "s1", None): (0.9, 1.0, 1.0),
                },
            ),
            correlations_of("large", {("r1", "r2", "random-random"): (0.9, 0.5, 0.1)}),
        ],
        ignore_index=True,
    )
    table.loc[(table["b"] == "t1") & (table["unit"] == "u1"), "reliable"] = False
    found = top_layer_comparison(table, {"small": ["stem", "u1", "u2"], "large": ["u1", "stem"]})
    TOP_LAYERS.check(found)
    assert list(found) == list(TOP_LAYERS.columns)
    rows = found.set_index(["model", "pair"])
    assert len(rows) == 3
    assert rows.loc[("small", "random-random"), "mean"] == pytest.approx(0.55)
    assert rows.loc[("small", "random-random"), "sd"] == pytest.approx(np.std([0.7, 0.4], ddof=1))
    assert rows.loc[("small", "random-random"), "pairs"] == 2
    assert rows.loc[("small", "random-transfer"), "mean"] == pytest.approx(0.2)
    assert math.isnan(rows.loc[("small", "random-transfer"), "sd"])
    assert not rows.loc[("small", "random-transfer"), "reliable"]
    assert rows.loc[("small", "random-random"), "reliable"]
    assert rows.loc[("large", "random-random"), "mean"] == pytest.approx(0.7)
    assert found["baseline"].to_numpy() == pytest.approx([0.1] * 3)


def test_measures_are_kept_apart_in_the_top_layers():
    table = correlations_of("m", {("r1", "r2", "random-random"): (0.9, 0.6, 0.8)})
    other = table.assign(measure="pwcca", value=table["value"] / 2)
    found = top_layer_comparison(pd.concat([table, other]), {"m": ["stem", "u1", "u2"]})
    assert dict(zip(found["measure"], found["mean"], strict=True)) == pytest.approx(
        {"cca": 0.7, "pwcca": 0.35}
    )


def test_without_any_pair_the_table_of_top_layers_is_empty():
    table = correlations_of("m", {("t1", "s1", None): (0.9, 1.0, 1.0)})
    found = top_layer_comparison(table, {})
    TOP_LAYERS.check(found)
    assert found.empty
    assert list(found) == list(TOP_LAYERS.columns)


def test_top_layers_that_lack_a_unit_are_refused():
    table = correlations_of("m", {("r1", "r2", "random-random"): (0.9, 0.6, 0.8)})
    units = {"m": ["stem", "u1", "u2"]}
    with pytest.raises(DataError, match="network m was measured at 0 units"):
        top_layer_comparison(table, {})
    with pytest.raises(DataError, match="cca of r1 and r2 on d"):
        top_layer_comparison(table[table["unit"] != "u2"], units)
    with pytest.raises(DataError, match="cca of r1 and r2 on d"):
        top_layer_comparison(table[table["unit"] == "stem"], units)
    with pytest.raises(DataError, match="cca of r1 and r2 on d"):
        top_layer_comparison(pd.concat([table, table]), units)
