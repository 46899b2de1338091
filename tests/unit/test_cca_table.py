"""The table of canonical correlations, from made-up activations and from finished runs."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import VIT, brief, carried_out, store_of
from training_runs import MODEL

from medtransfer.config.model import ModelSettings
from medtransfer.errors import DataError
from medtransfer.representation.activations import (
    Activations,
    Facts,
    PointFacts,
    channels_name,
    rows_name,
)
from medtransfer.representation.cca import cca, pwcca, svcca
from medtransfer.representation.cca_protocols import TOP_LAYERS, channel_blocks
from medtransfer.representation.cca_table import CCA, cca_table, top_layers
from medtransfer.representation.extraction import Request
from medtransfer.representation.folding import row_sample
from medtransfer.representation.pairs import Network, network_pairs
from medtransfer.representation.probing import probed

MEASURES = ["cca", "svcca", "pwcca", "sampled_channels"]
PROBE, ROW_COUNT = 40, 600
RUN = Network("r", "d", "small", "random", "full", "holdout", 0, "end")
# of each point its positions; "mid" gives no rows
DEPTH = {"stem": 36, "mid": 9, "top": 9, "last": 4}
MEASURED = ("stem", "top", "last")


def network(**changes: object) -> Network:
    return replace(RUN, **changes)


def maps_of(seed: int, width: int = 12, own: float = 1.0) -> dict[str, np.ndarray]:
    """Maps of images, probe x positions x channels: a signal that all networks share, and noise."""
    generator = np.random.default_rng([seed, 3])
    maps = {}
    for name, positions in DEPTH.items():
        shared = np.random.default_rng([positions, 4]).normal(size=(PROBE, positions, 6))
        signal = shared @ generator.normal(size=(6, width))
        maps[name] = signal + own * generator.normal(size=(PROBE, positions, width))
    return maps


def stored(maps: dict[str, np.ndarray], **changes: object) -> Activations:
    """What an extraction keeps of such maps."""
    facts = Facts(
        points=tuple(
            PointFacts(name, "unit", m[0].size, m.shape[1], m.shape[2], ("pooled",))
            for name, m in maps.items()
        ),
        images={"test": tuple(f"image {i}" for i in range(PROBE)), "train": ("t",)},
        probe=PROBE,
        gram_block=PROBE,
        cca_points=tuple(name for name in maps if not name.endswith("mid")),
        row_count=ROW_COUNT,
        seed=0,
    )
    facts = replace(facts, **changes)
    arrays = {}
    for name in facts.cca_points:
        positions, channels = maps[name].shape[1:]
        arrays[rows_name(name)] = maps[name][row_sample(PROBE, positions, ROW_COUNT, 0)]
        arrays[channels_name(name)] = np.stack(
            [
                maps[name][block.images][:, :, block.channels].reshape(-1, len(block.channels))
                for block in channel_blocks(PROBE, positions, channels, 0)
            ]
        )
    return Activations(facts, arrays)


STUDY = (
    network(moment="start"), network(), network(init="s", moment="start"), network(init="s"),
    network(seed=1), network(init="s", seed=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def study():
    maps = {found: maps_of(seed) for seed, found in enumerate(STUDY)}
    return maps, cca_table({found: stored(m) for found, m in maps.items()})


def side(row: object, name: str) -> Network:
    values = {key: getattr(row, f"{key}_{name}") for key in ("recipe", "model", "init", "subset")}
    return Network(
        **values, dataset=row.dataset, split=row.split, seed=getattr(row, f"seed_{name}"),
        moment=getattr(row, f"moment_{name}"),
    )  # fmt: skip


def test_each_pair_has_each_measure_at_each_point_once(study):
    _, table = study
    CCA.check(table)
    assert list(table) == list(CCA.columns)
    pairs = [pair for pair in network_pairs(STUDY) if pair.kind != "within"]
    assert {pair.kind for pair in pairs} == {"fine_tuning", "inits", "seeds"}
    expected = [(p.kind, p.a, p.b, n, m) for p in pairs for n in MEASURED for m in MEASURES]
    found = [(r.pair, side(r, "a"), side(r, "b"), r.point, r.measure) for r in table.itertuples()]
    assert sorted(found) == sorted(expected)


def test_order_is_the_place_among_all_points(study):
    _, table = study
    assert dict(zip(table["point"], table["order"], strict=True)) == {"stem": 0, "top": 2, "last": 3}


def test_values_are_the_public_measures_of_the_raw_maps(study):
    maps, table = study
    functions = {"cca": lambda a, b: cca(a, b).mean, "svcca": lambda a, b: svcca(a, b).mean,
                 "pwcca": pwcca}  # fmt: skip
    for row in table[table["measure"] != "sampled_channels"].itertuples():
        positions = DEPTH[row.point]
        chosen = row_sample(PROBE, positions, ROW_COUNT, 0)
        a, b = (maps[side(row, name)][row.point][chosen] for name in "ab")
        assert row.value == pytest.approx(functions[row.measure](a, b), abs=1e-9)
        assert (row.rows, row.channels_a, row.channels_b) == (len(a), 12, 12)
    assert table["value"].between(0.2, 0.95).all()


def test_sampled_channels_are_the_mean_over_repeats(study):
    maps, table = study
    for row in table[table["measure"] == "sampled_channels"].itertuples():
        # all 12 channels of all images, in every repeat
        a, b = (maps[side(row, name)][row.point].reshape(-1, 12) for name in "ab")
        assert row.value == pytest.approx(cca(a, b).mean, abs=1e-9)
        assert row.rows == PROBE * DEPTH[row.point]
        assert not row.reliable


def test_the_baseline_moves_whole_images_and_is_below_the_value(study):
    _, table = study
    assert (table["baseline"] < table["value"] - 0.1).all()
    constant = {n: np.repeat(m[:, :1], m.shape[1], axis=1) for n, m in maps_of(0).items()}
    other = {n: np.repeat(m[:, :1], m.shape[1], axis=1) for n, m in maps_of(1).items()}
    flat = cca_table({network(): stored(constant), network(seed=1): stored(other)})
    # 40 images of 12 channels correlate by chance, however many positions each has
    assert flat.query("point == 'stem'")["baseline"].min() > 0.3
    assert table.query("point == 'stem'")["baseline"].max() < 0.2


def test_another_seed_shuffles_otherwise_and_changes_no_value():
    both = {network(): stored(maps_of(0)), network(seed=1): stored(maps_of(1))}
    one, again, other = (cca_table(both, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, again)
    np.testing.assert_array_equal(one["value"], other["value"])
    assert (one["baseline"] != other["baseline"]).all()


def test_the_same_network_twice_is_1_everywhere():
    maps = maps_of(0)
    table = cca_table({network(moment="start"): stored(maps), network(): stored(maps)})
    assert len(table) == 12
    np.testing.assert_allclose(table["value"], 1, atol=1e-9)
    assert (table["baseline"] < 0.6).all()


def test_an_invertible_map_of_channels_changes_cca_but_not_its_value():
    maps = maps_of(0)
    mixing = np.random.default_rng(1).normal(size=(12, 12))
    moved = {name: m @ mixing + 5 for name, m in maps.items()}
    table = cca_table({network(moment="start"): stored(maps), network(): stored(moved)})
    kept = table[table["measure"].isin(["cca", "pwcca", "sampled_channels"])]
    np.testing.assert_allclose(kept["value"], 1, atol=1e-7)


def test_pwcca_weighs_with_the_first_network():
    maps, narrow = maps_of(0), maps_of(1, width=4)
    a, b = network(moment="start"), network()
    one = cca_table({a: stored(maps), b: stored(narrow)}).query("measure == 'pwcca'")
    # the start comes first whatever the order of the study
    again = cca_table({b: stored(narrow), a: stored(maps)}).query("measure == 'pwcca'")
    np.testing.assert_allclose(one["value"], again["value"])
    assert (one["channels_a"] == 12).all() and (one["channels_b"] == 4).all()
    for row in one.itertuples():
        chosen = row_sample(PROBE, DEPTH[row.point], ROW_COUNT, 0)
        x, y = maps[row.point][chosen], narrow[row.point][chosen]
        assert row.value == pytest.approx(pwcca(x, y), abs=1e-9)
        assert abs(pwcca(x, y) - pwcca(y, x)) > 1e-5


def test_pairs_whose_points_are_called_otherwise_have_no_rows_there():
    maps = maps_of(0)
    short = {name: m for name, m in maps_of(1).items() if name != "last"}
    table = cca_table({network(): stored(maps), network(init="s"): stored(short)})
    assert set(table["point"]) == {"stem", "top"}
    other = {f"blocks.{name}": m for name, m in maps.items()}
    two = network(model="other")
    study = {network(): stored(maps), network(seed=1): stored(maps_of(2)), two: stored(other)}
    study[replace(two, seed=1)] = stored({f"blocks.{n}": m for n, m in maps_of(3).items()})
    table = cca_table(study)
    found = table.groupby("model_a")["point"].unique().map(set).to_dict()
    assert found["small"] == set(MEASURED)
    assert found["other"] == {f"blocks.{name}" for name in MEASURED}


@pytest.mark.parametrize(("a", "b"), [(70, 40), (40, 70), (70, 70)])
def test_sampled_channels_are_reliable_only_where_both_networks_have_enough(a, b):
    images = 300
    facts = {"probe": images, "images": {"test": tuple(map(str, range(images))), "train": ("t",)}}

    def wide(width: int, seed: int) -> Activations:
        generator = np.random.default_rng(seed)
        values = generator.normal(size=(images, 36, width)).astype(np.float32)
        blocks = [
            values[block.images][:, :, block.channels].reshape(-1, len(block.channels))
            for block in channel_blocks(images, 36, width, 0)
        ]
        rows = values[row_sample(images, 36, 2000, 0)]
        found = stored({"stem": maps_of(0)["stem"]}, **facts, row_count=2000)
        point = PointFacts("stem", "unit", 36 * width, 36, width, ("pooled",))
        arrays = {rows_name("stem"): rows, channels_name("stem"): np.stack(blocks)}
        return Activations(replace(found.facts, points=(point,)), arrays)

    table = cca_table({network(): wide(a, 0), network(seed=1): wide(b, 1)})
    found = table.set_index("measure").loc["sampled_channels"]
    assert (found["channels_a"], found["channels_b"]) == (min(a, 64), min(b, 64))
    assert found["rows"] == 278 * 36
    assert bool(found["reliable"]) == (a == b)
    assert table.set_index("measure").loc["cca", "reliable"]


def test_networks_that_saw_other_images_are_refused():
    one = stored(maps_of(0))
    ids = tuple(f"image {i + 1}" for i in range(PROBE))
    for changes in ({"images": {"test": ids}}, {"seed": 3}):
        with pytest.raises(DataError, match="other images"):
            cca_table({network(): one, network(seed=1): Activations(
                replace(one.facts, **changes), one.arrays)})  # fmt: skip


# few runs


@pytest.mark.parametrize("moments", [("start", "end"), ("end",)])
def test_one_run_gives_valid_tables(moments):
    networks = {network(moment=m): stored(maps_of(i)) for i, m in enumerate(moments)}
    table = cca_table(networks)
    CCA.check(table)
    assert list(table) == list(CCA.columns)
    assert len(table) == (12 if len(moments) == 2 else 0)
    top = top_layers(table)
    TOP_LAYERS.check(top)
    assert list(top) == list(TOP_LAYERS.columns)
    assert top.empty


def test_tables_of_one_run_go_through_files(tmp_path):
    table = cca_table({network(): stored(maps_of(0))})
    table.to_parquet(tmp_path / "cca.parquet")
    back = pd.read_parquet(tmp_path / "cca.parquet")
    CCA.check(back)
    assert top_layers(back).empty


# top layers


def made_up(*networks: Network) -> pd.DataFrame:
    """A table of schema CCA in which each value says which pair and point it is of."""
    rows = []
    for number, pair in enumerate(network_pairs(networks)):
        if pair.kind == "within":
            continue
        for order, point in enumerate(("stem", "u1", "u2")):
            rows.append(pair.columns | {
                "point": point, "order": 10 * order, "measure": "cca",
                "value": number + order / 10, "baseline": 0.1, "rows": 100, "channels_a": 8,
                "channels_b": 8, "reliable": point != "stem",
            })  # fmt: skip
    return pd.DataFrame(rows)


def numbers(*networks: Network) -> dict[tuple[str, str, int, int], int]:
    """Of each pair its number, by inits and seeds."""
    pairs = enumerate(network_pairs(networks))
    return {(p.a.init, p.b.init, p.a.seed, p.b.seed): n for n, p in pairs if p.a.moment == "end"}


def ends(*inits: str, seeds: int = 2, **changes: object) -> list[Network]:
    found = itertools.product(inits, range(seeds), ("start", "end"))
    return [network(init=i, seed=s, moment=m, **changes) for i, s, m in found]


def test_top_layers_are_of_trained_networks_each_pair_once():
    study = ends("random", "s", "s-stats")
    table = made_up(*study)
    CCA.check(table)
    found = top_layers(table)
    TOP_LAYERS.check(found)
    rows = found.set_index("pair")
    number = numbers(*study)
    # the top units are u1 and u2, whose values are 0.1 and 0.2 above the number of the pair
    assert rows.loc["random-random", "mean"] == pytest.approx(number["random", "random", 0, 1] + 0.15)
    assert rows.loc["transfer-transfer", "mean"] == pytest.approx(number["s", "s", 0, 1] + 0.15)
    of_both = [number["random", "s", seed, seed] + 0.15 for seed in (0, 1)]
    assert rows.loc["random-transfer", "mean"] == pytest.approx(np.mean(of_both))
    assert rows.loc["random-transfer", "sd"] == pytest.approx(np.std(of_both, ddof=1))
    assert dict(rows["pairs"]) == {"random-random": 1, "random-transfer": 2, "transfer-transfer": 1}
    assert rows["reliable"].all()
    assert set(found["model"]) == {"small"}


@pytest.mark.parametrize("changes", [{"recipe": "q"}, {"subset": "n100"}])
def test_recipes_and_subsets_are_kept_apart(changes):
    study = [*ends("random", "s"), *ends("random", "s", **changes)]
    found = top_layers(made_up(*study))
    own, other = ("r", "q") if "recipe" in changes else ("full", "n100")
    assert set(found["model"]) == {f"small, {own}", f"small, {other}"}
    assert len(found) == 6
    assert (found.set_index("pair").loc["random-random", "pairs"] == 1).all()
    alone = top_layers(made_up(*ends("random", "s", **changes)))
    assert set(alone["model"]) == {"small"}


def test_networks_and_data_sets_are_kept_apart():
    study = [*ends("random"), *ends("random", model="large"), *ends("random", dataset="e")]
    found = top_layers(made_up(*study))
    assert set(zip(found["dataset"], found["model"], strict=True)) == {
        ("d", "small"), ("d", "large"), ("e", "small"),
    }  # fmt: skip
    assert (found["pairs"] == 1).all()


def test_splits_are_further_pairs_of_the_same_networks():
    tables = [made_up(*ends("random", "s", split=split)) for split in ("cv5-0", "cv5-1")]
    found = top_layers(pd.concat(tables, ignore_index=True)).set_index("pair")
    assert dict(found["pairs"]) == {"random-random": 2, "random-transfer": 4, "transfer-transfer": 2}


def test_networks_of_a_single_point_are_left_out():
    table = made_up(*ends("random"), *ends("random", model="cut"))
    table = table[(table["model_a"] != "cut") | (table["point"] == "stem")]
    found = top_layers(table)
    assert set(found["model"]) == {"small"}
    alone = top_layers(table[table["model_a"] == "cut"])
    TOP_LAYERS.check(alone)
    assert alone.empty


def test_without_related_trained_networks_there_are_no_top_layers():
    only_starts = made_up(*ends("random", "s"))
    only_starts = only_starts[only_starts["moment_a"] == "start"]
    found = top_layers(only_starts)
    TOP_LAYERS.check(found)
    assert found.empty


# finished runs

SLIM = ModelSettings("cbr", {"channels": [8, 16, 24], "kernel_size": 3})
CUT = dataclasses.replace(MODEL, first_units=1)
REQUEST = Request(probe=30, gram_block=15, row_count=400)
REAL = {
    network(model="cbr"): brief(model=SLIM),
    network(model="cbr", seed=1): brief(model=SLIM, seed=1),
    network(model="cbr", init="s"): brief(model=SLIM, init="s"),
    network(model="cbr", init="s-upto1-slim"): brief(model=SLIM, init="s-upto1-slim"),
    network(model="vit"): brief(model=VIT),
    network(model="vit", init="s"): brief(model=VIT, init="s"),
    network(model="cut"): brief(model=CUT),
    network(model="cut", seed=1): brief(model=CUT, seed=1),
}


@pytest.fixture(scope="module")
def real_table(tmp_path_factory):
    torch.set_num_threads(1)
    networks = {}
    for found, plan in REAL.items():
        run, _ = carried_out(tmp_path_factory.mktemp("run"), plan, store_of())
        taken = probed(run, REQUEST, 10)
        networks[replace(found, moment="start")] = taken.start
        networks[found] = taken.end
    return networks, cca_table(networks)


def test_runs_of_several_architectures_and_widths_are_compared_where_they_correspond(real_table):
    networks, table = real_table
    CCA.check(table)
    points = table.groupby("model_a")["point"].unique().map(list).to_dict()
    assert points["cut"] == ["layers.0"]
    assert set(points["cbr"]) == {"layers.0", "layers.1", "layers.2"}
    vit = next(found for name, found in networks.items() if name.model == "vit")
    assert set(points["vit"]) == set(vit.facts.cca_points)
    pairs = table.drop_duplicates([c for c in table if c.endswith(("_a", "_b")) and "chan" not in c])
    assert dict(pairs["pair"].value_counts()) == {"fine_tuning": 8, "inits": 8, "seeds": 4}
    halves = table[(table["init_b"] == "s-upto1-slim") & (table["init_a"] == "random")]
    whole = halves[halves["measure"] == "cca"].sort_values(["moment_a", "order"])
    assert list(whole["moment_a"]) == ["end"] * 3 + ["start"] * 3
    assert list(whole["channels_a"]) == [8, 16, 24] * 2
    assert list(whole["channels_b"]) == [8, 8, 12] * 2
    assert table["value"].between(0, 1 + 1e-9).all()


def test_top_layers_of_runs_leave_out_those_that_are_cut_to_one_unit(real_table):
    found = top_layers(real_table[1])
    TOP_LAYERS.check(found)
    assert set(found["model"]) == {"cbr", "vit"}
    assert set(found.query("model == 'cbr'")["pair"]) == {"random-random", "random-transfer"}
    assert set(found["measure"]) == set(MEASURES)
