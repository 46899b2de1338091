"""The grammars of inits and of subsets."""

from __future__ import annotations

import pytest

from medtransfer.config.names import (
    Init,
    check_subset,
    is_redrawn,
    parse_init,
    subset_size,
    wanted_size,
)
from medtransfer.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "init"),
    [
        ("random", Init(None, 0, "random", "normal", False)),
        ("gabor", Init(None, 0, "random", "normal", True)),
        ("fractal", Init("fractal", None, "random", "normal", False)),
        ("imagenet21k.v2_a", Init("imagenet21k.v2_a", None)),
        ("randomised", Init("randomised", None)),
        ("gabors-stats", Init("gabors", 0, "stats")),
        ("a-stats", Init("a", 0, "stats", "normal")),
        ("a-stats_permutation", Init("a", 0, "stats", "permutation")),
        ("a-stats_bootstrap", Init("a", 0, "stats", "bootstrap")),
        ("a-stats_as_released", Init("a", 0, "stats", "as_released")),
        ("a-upto0-stats", Init("a", 0, "stats")),
        ("a-upto7-stats", Init("a", 7, "stats")),
        ("a-upto12-stats_permutation", Init("a", 12, "stats", "permutation")),
        ("a-upto5-stats_as_released", Init("a", 5, "stats", "as_released")),
        ("a-upto3-random", Init("a", 3, "random")),
        ("a-upto3-slim", Init("a", 3, "slim")),
    ],
)
def test_an_init_says_how_a_network_starts_and_from_what(name, init):
    assert parse_init(name) == init


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-stats",
        "random-stats",
        "random-upto2-stats",
        "gabor-stats",
        "gabor-upto1-random",
        "a-stat",
        "a-stats-stats",
        "a-stats_normal",
        "a-stats_",
        "a-random",
        "a-slim",
        "a-upto3",
        "a-upto-stats",
        "a-upto03-stats",
        "a-upto-1-stats",
        "a-upto3-slim_permutation",
        "a-upto3-stats-random",
        "a-upto3-gabor",
        "a b",
        "a/b",
        ".a",
        "a\n",
    ],
)
def test_other_inits_are_refused_with_the_rule(name):
    with pytest.raises(
        ConfigError, match=r"allowed: random, gabor, <source>, <source>-stats, .*upto<k>"
    ):
        parse_init(name)


@pytest.mark.parametrize("name", ["n20", "n1", "p10", "p1", "p100"])
def test_a_redrawn_subset_has_the_size_of_the_fixed_one(name):
    check_subset(f"{name}-redrawn")
    assert subset_size(f"{name}-redrawn", 200) == subset_size(name, 200)
    assert is_redrawn(f"{name}-redrawn")
    assert not is_redrawn(name)


def test_all_images_are_not_redrawn():
    assert not is_redrawn("full")


@pytest.mark.parametrize(
    "name", ["full-redrawn", "redrawn", "p10redrawn", "p10-drawn", "n0-redrawn", "p10-redrawn-redrawn"]
)
def test_other_redrawn_subsets_are_refused(name):
    with pytest.raises(ConfigError, match=f"subset '{name}'; allowed: full, .* also with -redrawn"):
        check_subset(name)
    assert not is_redrawn(name)


def test_a_size_may_be_wanted_that_is_not_there():
    assert wanted_size("n201-redrawn", 200) == wanted_size("n201", 200) == 201
    assert wanted_size("p50-redrawn", 200) == wanted_size("p50", 200) == 100
    with pytest.raises(ConfigError, match=r"subset 'n201-redrawn' of 200 training images; .*most n200"):
        subset_size("n201-redrawn", 200)
