"""The grammar of inits."""

from __future__ import annotations

import pytest

from medtransfer.config.names import Init, parse_init
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
