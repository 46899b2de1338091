"""The table of CKA: its values against CKA straight from activations, and which rows it has."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.representation.activations import Activations, Facts, PointFacts, gram_name
from medtransfer.representation.cka import linear_cka
from medtransfer.representation.cka_blocks import shuffled_cka
from medtransfer.representation.cka_bootstrap import bootstrap_cka
from medtransfer.representation.cka_table import (
    CKA,
    KINDS,
    PERMUTATIONS,
    RESAMPLES,
    cka_table,
    measured_names,
)
from medtransfer.representation.gram_blocks import gram_blocks
from medtransfer.representation.pairs import Network, network_pairs, zoo_pairs

IMAGES = 24
# points of two architectures in the order of depth; the logits, "fc", are no point of the table
CONVOLUTIONS = {"stem": ("unit", 30), "layer1": ("unit", 12), "fc": ("head", 3)}
TOKENS = {
    "patch": ("unit", 20), "block.attn": ("attention", 15), "block.mlp": ("mlp", 9),
    "block": ("unit", 40), "head": ("head", 3),
}  # fmt: skip
POINTS = {"small": CONVOLUTIONS, "tokens": TOKENS}
RUN = Network("r", "d", "small", "random", "full", "holdout", 0, "end")
KEY = ["pair", *(f"{name}_{side}" for side in "ab" for name in ("model", "init", "seed", "moment"))]

Raw = dict[str, np.ndarray]


def network(**changes: object) -> Network:
    return replace(RUN, **changes)


def raw_activations(points: dict[str, tuple[str, int]], seed: int) -> Raw:
    """Unpooled activations of images that all networks see alike, each in its own noise."""
    latent = np.random.default_rng(99).normal(size=(IMAGES, 3))
    generator = np.random.default_rng([seed, 5])
    return {
        name: latent @ generator.normal(size=(3, width)) + generator.normal(size=(IMAGES, width)) + 4
        for name, (_, width) in points.items()
    }


def stored(
    points: dict[str, tuple[str, int]], raw: Raw, block: int = IMAGES, **changes: object
) -> Activations:
    """Centred Gram matrices of blocks, written as definition has them, H X Xᵀ H."""
    arrays = {}
    for name, values in raw.items():
        for number, start in enumerate(range(0, IMAGES, block)):
            part = values[start : start + block]
            centring = np.eye(len(part)) - 1 / len(part)
            gram = centring @ part @ part.T @ centring
            arrays[gram_name(name, number)] = gram.astype(np.float32)
    facts = Facts(
        points=tuple(
            PointFacts(name, kind, width, 1, width, ("pooled",))
            for name, (kind, width) in points.items()
        ),
        images={"test": tuple(f"image {i}" for i in range(IMAGES + 2)), "train": ("t",)},
        probe=IMAGES,
        gram_block=block,
        cca_points=(),
        row_count=10,
        seed=0,
    )
    return Activations(replace(facts, **changes), arrays)


def zoo(*networks: Network, block: int = IMAGES) -> tuple[dict[Network, Activations], dict]:
    raw = {found: raw_activations(POINTS[found.model], seed) for seed, found in enumerate(networks)}
    return {n: stored(POINTS[n.model], raw[n], block) for n in networks}, raw


STUDY = (
    network(moment="start"), network(), network(init="s", moment="start"), network(init="s"),
    network(seed=1), network(model="tokens", moment="start"), network(model="tokens"),
)  # fmt: skip


def side(row: pd.Series, name: str) -> Network:
    values = {key: getattr(row, f"{key}_{name}") for key in ("recipe", "model", "init", "subset")}
    return Network(
        **values, dataset=row.dataset, split=row.split, seed=getattr(row, f"seed_{name}"),
        moment=getattr(row, f"moment_{name}"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def study():
    networks, raw = zoo(*STUDY)
    return networks, raw, cka_table(networks)


def test_the_table_fits_its_schema(study):
    _, _, table = study
    CKA.check(table)
    assert list(table) == list(CKA.columns)
    assert set(table.images) == {IMAGES}


def test_values_are_the_debiased_cka_of_the_raw_activations(study):
    _, raw, table = study
    for row in table.itertuples():
        a, b = side(row, "a"), side(row, "b")
        expected = linear_cka(raw[a][row.point_a], raw[b][row.point_b])
        assert row.value == pytest.approx(expected, abs=2e-5)
    assert table.value.between(0.05, 0.95).mean() > 0.5


def block_cka(x: np.ndarray, y: np.ndarray, block: int) -> float:
    """Each HSIC summed over blocks and weighted with their images, by Song's formula with traces."""

    def hsic(one: np.ndarray, other: np.ndarray) -> float:
        n = len(one)
        k, l = one @ one.T, other @ other.T  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * (k @ l).sum()) / (n * (n - 3))

    def whole(one: np.ndarray, other: np.ndarray) -> float:
        spans = [slice(start, start + block) for start in range(0, len(one), block)]
        return sum(len(one[span]) * hsic(one[span], other[span]) for span in spans)

    return whole(x, y) / np.sqrt(whole(x, x) * whole(y, y))


@pytest.mark.parametrize("block", [8, 10], ids=["even", "with a smaller last block"])
def test_values_of_blocks_are_sums_divided_once(block):
    networks, raw = zoo(network(), network(init="s"), block=block)
    table = cka_table(networks)
    assert len(table) == 3 * 2 * 2 + 1
    for row in table.itertuples():
        x, y = raw[side(row, "a")][row.point_a], raw[side(row, "b")][row.point_b]
        assert row.value == pytest.approx(block_cka(x, y, block), abs=5e-5)
    whole = cka_table({n: stored(CONVOLUTIONS, raw[n]) for n in networks})
    assert np.abs(whole.value - table.value).max() > 1e-3


@pytest.mark.parametrize("block", [8, 10], ids=["even", "with a smaller last block"])
def test_intervals_and_baselines_are_of_all_blocks(block):
    networks, raw = zoo(network(), network(init="s"), block=block)
    table = cka_table(networks, confidence=0.8, seed=5)
    given = table[table.low.notna()]
    assert list(given.point_a) == list(given.point_b) == ["stem", "layer1"]
    for row in given.itertuples():
        x, y = raw[side(row, "a")][row.point_a], raw[side(row, "b")][row.point_b]
        found = bootstrap_cka(gram_blocks([x, y], block), None, RESAMPLES, seed=5, confidence=0.8)
        sides = gram_blocks([x], block), gram_blocks([y], block)
        shuffled = shuffled_cka(sides[0], PERMUTATIONS, seed=5, others=sides[1])
        assert (row.low, row.high) == pytest.approx((found.low[0], found.high[0]), abs=1e-4)
        assert row.baseline == pytest.approx(shuffled.mean[0, 0], abs=1e-4)


def test_there_is_a_row_for_each_pair_of_points_of_each_related_pair_of_networks(study):
    networks, _, table = study
    expected = []
    for pair in network_pairs(list(networks)):
        names = [
            [name for name, (kind, _) in POINTS[one.model].items() if kind != "head"]
            for one in (pair.a, pair.b)
        ]
        expected += [(pair.kind, pair.a, pair.b, *points) for points in itertools.product(*names)]
    for pair in zoo_pairs(list(networks)):
        last = {"small": "layer1", "tokens": "block"}
        expected.append(("zoo", pair.a, pair.b, last[pair.a.model], last[pair.b.model]))
    found = [
        (row.pair, side(row, "a"), side(row, "b"), row.point_a, row.point_b)
        for row in table.itertuples()
    ]
    assert sorted(found) == sorted(expected)
    assert len(set(found)) == len(found)
    assert set(table.pair) == {"within", "fine_tuning", "inits", "seeds", "zoo"}


def test_order_is_the_place_in_depth_and_kind_is_that_of_the_point(study):
    _, _, table = study
    for row in table.itertuples():
        for name in ("a", "b"):
            points = list(POINTS[getattr(row, f"model_{name}")])
            point = getattr(row, f"point_{name}")
            assert getattr(row, f"order_{name}") == points.index(point)
            kind, _ = POINTS[getattr(row, f"model_{name}")][point]
            assert getattr(row, f"kind_{name}") == kind
    assert set(table.kind_a) == set(KINDS) == {"unit", "attention", "mlp"}


def test_rows_of_a_pair_of_networks_are_in_the_order_of_depth(study):
    _, _, table = study
    for _, rows in table[table.pair != "zoo"].groupby(KEY, sort=False):
        assert list(zip(rows.order_a, rows.order_b, strict=True)) == sorted(
            zip(rows.order_a, rows.order_b, strict=True)
        )


def test_a_networks_map_with_itself_is_symmetric_with_ones_on_its_diagonal(study):
    _, _, table = study
    for _, rows in table[table.pair == "within"].groupby(KEY):
        square = rows.pivot(index="order_a", columns="order_b", values="value").to_numpy()
        np.testing.assert_allclose(square, square.T, rtol=0, atol=1e-12)
        np.testing.assert_allclose(np.diag(square), 1, rtol=0, atol=1e-6)
        assert square[~np.eye(len(square), dtype=bool)].max() < 0.99


def test_networks_that_are_the_same_are_alike_in_each_point_and_certainly_so():
    start, end = network(moment="start"), network()
    raw = raw_activations(CONVOLUTIONS, 0)
    both = {start: stored(CONVOLUTIONS, raw), end: stored(CONVOLUTIONS, raw)}
    table = cka_table(both)
    moved = table[(table.pair == "fine_tuning") & (table.point_a == table.point_b)]
    assert len(moved) == 2
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(moved[column], 1, rtol=0, atol=1e-6)
    assert (moved.baseline.abs() < 0.3).all()


def test_scaled_rotated_and_shifted_activations_are_alike():
    raw = raw_activations(CONVOLUTIONS, 0)
    rotation = {name: np.linalg.qr(np.random.default_rng(1).normal(size=(x.shape[1],) * 2))[0]
                for name, x in raw.items()}  # fmt: skip
    moved = {name: 7 * x @ rotation[name] - 30 for name, x in raw.items()}
    networks = {
        network(moment="start"): stored(CONVOLUTIONS, raw), network(): stored(CONVOLUTIONS, moved)
    }  # fmt: skip
    table = cka_table(networks)
    same = table[(table.pair == "fine_tuning") & (table.point_a == table.point_b)]
    np.testing.assert_allclose(same.value, 1, rtol=0, atol=1e-5)


def test_intervals_and_baselines_are_of_same_points_of_two_networks_only(study):
    _, _, table = study
    related = table.pair.isin(["fine_tuning", "inits", "seeds"]) & (table.point_a == table.point_b)
    for column in ("low", "high", "baseline"):
        assert (table[column].notna() == related).all()
    assert related.sum() == 2 * 5 + 4  # of one architecture: 2 fine_tuning, 2 inits, 1 seeds; other: 1
    given = table[related]
    assert (given.low <= given.value).all() and (given.value <= given.high).all()
    assert (given.low < given.high).all()


def test_the_baseline_is_what_is_left_when_images_are_shuffled(study):
    _, raw, table = study
    given = table[table.baseline.notna()]
    assert (given.baseline.abs() < 0.2).all() and (given.value - given.baseline > 0.1).all()
    row = next(given.itertuples())
    x, y = raw[side(row, "a")][row.point_a], raw[side(row, "b")][row.point_b]
    generator = np.random.default_rng(4)
    values = [linear_cka(x, y[generator.permutation(IMAGES)]) for _ in range(400)]
    error = np.std(values) / np.sqrt(PERMUTATIONS)
    assert row.baseline == pytest.approx(np.mean(values), abs=4 * error)


def test_an_interval_is_that_of_resampled_images(study):
    """Against resamples of raw activations, of which copies of one image count as no two."""
    _, raw, table = study
    row = next(table[(table.pair == "fine_tuning") & table.low.notna()].itertuples())
    x, y = raw[side(row, "a")][row.point_a], raw[side(row, "b")][row.point_b]
    generator = np.random.default_rng(6)
    values = [resampled_cka(x, y, generator.integers(0, IMAGES, IMAGES)) for _ in range(200)]
    spread = row.high - row.low
    low, high = np.quantile(values, [0.025, 0.975])
    assert row.low == pytest.approx(low, abs=spread / 4)
    assert row.high == pytest.approx(high, abs=spread / 4)


def resampled_cka(x: np.ndarray, y: np.ndarray, drawn: np.ndarray) -> float:
    """CKA over drawn positions that hold four different images, from the definition of HSIC_1."""
    differ = (drawn[:, None] != drawn).astype(float)
    triples = np.einsum("ij,iq,jq->ijq", differ, differ, differ)

    def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
        total = 0.0
        for q in range(len(drawn)):
            fours = triples[:, :, q, None] * (differ[:, None] * differ[None] * differ[q])
            kernel = l[:, :, None] + l[q] - 2 * l[:, q][:, None, None]
            total += float((fours * k[:, :, None] * kernel).sum())
        return total

    k, l = ((v[drawn] - v.mean(0)) @ (v[drawn] - v.mean(0)).T for v in (x, y))  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def test_wider_confidence_gives_wider_intervals_and_the_same_values():
    networks, _ = zoo(network(), network(init="s"))
    narrow, wide = cka_table(networks, confidence=0.5), cka_table(networks, confidence=0.99)
    given = narrow.low.notna()
    assert (wide.low[given] < narrow.low[given]).all()
    assert (wide.high[given] > narrow.high[given]).all()
    assert narrow.value.equals(wide.value) and narrow.baseline.equals(wide.baseline)


def test_the_same_seed_gives_the_same_table_and_another_other_intervals():
    networks, _ = zoo(network(), network(init="s"))
    table = cka_table(networks, seed=3)
    pd.testing.assert_frame_equal(table, cka_table(networks, seed=3))
    other = cka_table(networks, seed=4)
    given = table.low.notna()
    assert table.value.equals(other.value)
    assert (table.low[given] != other.low[given]).all()
    assert (table.baseline[given] != other.baseline[given]).all()
    assert RESAMPLES >= 1000


def test_the_zoo_compares_last_units_of_any_architecture(study):
    _, raw, table = study
    rows = table[table.pair == "zoo"]
    ends = [one for one in STUDY if one.moment == "end"]
    assert len(rows) == len(ends) * (len(ends) - 1) // 2
    across = rows[rows.model_a != rows.model_b]
    assert len(across) == 3
    for row in across.itertuples():
        assert (row.point_a, row.kind_a, row.order_a) == ("layer1", "unit", 1)
        assert (row.point_b, row.kind_b, row.order_b) == ("block", "unit", 3)
        expected = linear_cka(raw[side(row, "a")]["layer1"], raw[side(row, "b")]["block"])
        assert row.value == pytest.approx(expected, abs=2e-5)


def test_the_last_unit_is_no_branch_that_comes_after_it():
    points = {"patch": ("unit", 20), "block": ("unit", 40), "after": ("mlp", 9), "head": ("head", 3)}
    raw = [raw_activations(points, seed) for seed in (0, 1)]
    names = network(model="tokens"), network(model="tokens", init="s")
    table = cka_table({n: stored(points, x) for n, x in zip(names, raw, strict=True)})
    (row,) = table[table.pair == "zoo"].itertuples()
    assert (row.point_a, row.point_b) == ("block", "block")
    assert row.value == pytest.approx(linear_cka(raw[0]["block"], raw[1]["block"]), abs=2e-5)


def test_a_network_alone_has_its_own_map_only():
    networks, _ = zoo(network())
    table = cka_table(networks)
    CKA.check(table)
    assert len(table) == 2 * 2 and set(table.pair) == {"within"}


def test_a_point_without_variation_is_like_nothing():
    raw = raw_activations(CONVOLUTIONS, 0)
    dead = {**raw, "stem": np.full((IMAGES, 30), 5.0)}
    networks = {network(): stored(CONVOLUTIONS, raw), network(init="s"): stored(CONVOLUTIONS, dead)}
    table = cka_table(networks)
    pair = table[(table.pair == "inits") & (table.point_b == "stem")]
    assert (pair.value == 0).all()
    same = pair[pair.point_a == "stem"]
    assert (same[["low", "high", "baseline"]] == 0).all(axis=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": {"test": tuple(f"image {i}" for i in reversed(range(IMAGES + 2)))}},
        {"images": {"test": tuple(f"image {i}" for i in range(IMAGES + 3))}},
        {"probe": IMAGES - 4},
        {"gram_block": IMAGES // 2},
        {"seed": 1},
    ],
    ids=["another order", "more images", "another probe", "another block", "another seed"],
)
def test_activations_of_other_images_are_refused_and_the_network_is_named(changes):
    networks, raw = zoo(network(), network(init="s"))
    odd = network(init="s-stats", seed=2)
    networks[odd] = stored(CONVOLUTIONS, raw[network()], **changes)
    with pytest.raises(DataError, match=r"init='s-stats'.*seed=2.* other images.*allowed: one probe"):
        cka_table(networks)


def test_training_images_may_differ():
    """Runs on fewer training images keep features of fewer; the probe is of test images."""
    networks, raw = zoo(network(), network(init="s"))
    other = {**networks[network()].facts.images, "train": ("u", "v")}
    networks[network(init="s-stats")] = stored(CONVOLUTIONS, raw[network()], images=other)
    table = cka_table(networks)
    same = table[(table.pair == "inits") & (table.init_a == "random") & (table.init_b == "s-stats")]
    assert same[same.point_a == same.point_b].value.to_numpy() == pytest.approx(1, abs=1e-6)


def test_names_of_points_are_those_of_the_kinds_in_the_order_of_depth():
    found = stored(TOKENS, raw_activations(TOKENS, 0))
    assert measured_names(found, KINDS) == ["patch", "block.attn", "block.mlp", "block"]
    assert measured_names(found, ("head", "unit")) == ["patch", "block", "head"]
