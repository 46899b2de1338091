"""Which networks are compared with which: against all ordered pairs of a grid, looked at one by one."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pytest

from medtransfer.representation.pairs import (
    PAIR_COLUMNS,
    Network,
    NetworkPair,
    network_pairs,
    zoo_pairs,
)
from medtransfer.tables import Schema

ONE = Network("r", "d", "m", "random", "full", "holdout", 0, "start")
GRID = [
    Network(recipe, "d", model, init, subset, "holdout", seed, moment)
    for recipe in ("r", "q")
    for model in ("m", "n")
    for init in ("random", "s", "s-stats")
    for subset in ("full", "n5")
    for seed in (0, 1, 2)
    for moment in ("start", "end")
]


def mixed(networks: list[Network], seed: int) -> list[Network]:
    return [networks[i] for i in np.random.default_rng(seed).permutation(len(networks))]


def expected_kind(a: Network, b: Network) -> str | None:
    """What the documentation says of two networks, as if-clauses over their fields."""
    if (a.recipe, a.dataset, a.model, a.subset, a.split) != (
        b.recipe, b.dataset, b.model, b.subset, b.split,
    ):  # fmt: skip
        return None
    if a.init == b.init and a.seed == b.seed:
        return "within" if a.moment == b.moment else "fine_tuning"
    if a.moment != b.moment or (a.init != b.init and a.seed != b.seed):
        return None
    return "inits" if a.init != b.init else "seeds"


@pytest.mark.parametrize("order", [None, 0, 1], ids=["of a study", "mixed", "mixed again"])
def test_every_pair_of_a_grid_is_there_once_with_its_kind_and_no_other(order):
    networks = GRID if order is None else mixed(GRID, order)
    found = Counter((frozenset({pair.a, pair.b}), pair.kind) for pair in network_pairs(networks))
    expected = {
        (frozenset({a, b}), expected_kind(a, b))
        for a, b in itertools.product(networks, repeat=2)
        if expected_kind(a, b) is not None
    }
    assert set(found) == expected
    assert set(found.values()) == {1}
    cells, inits, seeds, moments = 2 * 2 * 2, 3, 3, 2
    assert Counter(kind for _, kind in found) == {
        "within": cells * inits * seeds * moments,
        "fine_tuning": cells * inits * seeds,
        "inits": cells * moments * seeds * 3,
        "seeds": cells * moments * inits * 3,
    }


@pytest.mark.parametrize("order", [None, 0, 1], ids=["of a study", "mixed", "mixed again"])
def test_fine_tuning_goes_from_start_to_end_and_other_pairs_keep_the_order_given(order):
    networks = GRID if order is None else mixed(GRID, order)
    place = {network: index for index, network in enumerate(networks)}
    for pair in network_pairs(networks):
        if pair.kind == "fine_tuning":
            assert (pair.a.moment, pair.b.moment) == ("start", "end")
            assert pair.b == replace(pair.a, moment="end")
        else:
            assert place[pair.a] <= place[pair.b]
            assert (pair.a == pair.b) == (pair.kind == "within")


def test_an_end_that_comes_before_its_start_is_still_the_second_side():
    end = replace(ONE, moment="end")
    assert network_pairs([end, ONE])[-1] == NetworkPair("fine_tuning", ONE, end)
    assert network_pairs([ONE, end])[-1] == NetworkPair("fine_tuning", ONE, end)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"moment": "end"}, "fine_tuning"),
        ({"init": "s"}, "inits"),
        ({"seed": 1}, "seeds"),
        ({"recipe": "q"}, None),
        ({"model": "n"}, None),
        ({"subset": "n5"}, None),
        ({"dataset": "e"}, None),
        ({"split": "cv2-0"}, None),
        ({"init": "s", "seed": 1}, None),
        ({"init": "s", "moment": "end"}, None),
        ({"seed": 1, "moment": "end"}, None),
    ],
)
def test_networks_that_differ_in_one_thing_are_related_by_it(changes, kind):
    pairs = network_pairs([ONE, replace(ONE, **changes)])[2:]
    assert [pair.kind for pair in pairs] == ([] if kind is None else [kind])


def test_a_network_alone_is_compared_with_itself_only():
    assert network_pairs([ONE]) == [NetworkPair("within", ONE, ONE)]
    assert network_pairs([]) == []
    assert list(zoo_pairs([ONE])) == []
    assert list(zoo_pairs([replace(ONE, moment="end")])) == []


def test_the_zoo_has_each_two_trained_networks_once_and_no_other():
    networks = mixed(GRID, 2)
    trained = [network for network in networks if network.moment == "end"]
    found = list(zoo_pairs(networks))
    assert {pair.kind for pair in found} == {"zoo"}
    assert len(found) == len(trained) * (len(trained) - 1) // 2 == 72 * 71 // 2
    assert {frozenset({pair.a, pair.b}) for pair in found} == {
        frozenset({a, b}) for a in trained for b in trained if a != b
    }
    place = {network: index for index, network in enumerate(networks)}
    assert all(place[pair.a] < place[pair.b] for pair in found)


def test_the_columns_of_a_pair_are_the_declared_ones_with_the_values_of_each_side():
    a = Network("r", "d", "m", "s", "n5", "cv2-1", 3, "start")
    b = Network("q", "d", "n", "random", "full", "cv2-1", 4, "end")
    row = NetworkPair("zoo", a, b).columns
    assert list(row) == list(PAIR_COLUMNS)
    assert row == {
        "pair": "zoo", "dataset": "d", "split": "cv2-1",
        "recipe_a": "r", "model_a": "m", "init_a": "s", "subset_a": "n5", "seed_a": 3,
        "moment_a": "start",
        "recipe_b": "q", "model_b": "n", "init_b": "random", "subset_b": "full", "seed_b": 4,
        "moment_b": "end",
    }  # fmt: skip
    schema = Schema("pairs", "a pair", PAIR_COLUMNS, {})
    schema.check(pd.DataFrame([pair.columns for pair in network_pairs(GRID)]))


def test_the_meanings_of_columns_name_their_side():
    for name, column in PAIR_COLUMNS.items():
        if name.endswith(("_a", "_b")):
            assert column.meaning.endswith(name[-1])
    sides = len(astuple(ONE)) - len(("dataset", "split"))
    assert len(PAIR_COLUMNS) == len(("pair", "dataset", "split")) + 2 * sides
