"""Similarities of networks at their starts beside those at their ends, against numbers by hand."""

from __future__ import annotations

import itertools
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from medtransfer.representation.cca_table import CCA
from medtransfer.representation.pairs import Network, network_pairs
from medtransfer.representation.start_end import (
    START_END,
    START_END_CORRELATION,
    start_end,
    start_end_correlations,
)
from medtransfer.tables import table_of

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "start_end.py"
POINTS = {"stem": 0, "middle": 2, "top": 6}


def correlations(**changes: object) -> pd.DataFrame:
    """Of three inits and two seeds at three points, every value another."""
    runs = itertools.product(("random", "inet-stats", "inet"), (0, 1), ("start", "end"))
    networks = [Network("r", "d", "m", init, "full", "holdout", seed, at) for init, seed, at in runs]
    generator = np.random.default_rng(0)
    rows = [
        pair.columns | {
            "point": point, "order": order, "measure": measure, "value": generator.uniform(0.2, 0.9),
            "baseline": 0.1, "rows": 500, "channels_a": 8, "channels_b": 8, "reliable": True,
        }
        for pair in network_pairs(networks) if pair.kind != "within"
        for (point, order), measure in itertools.product(POINTS.items(), ("cca", "svcca"))
    ]  # fmt: skip
    return table_of([row | changes for row in rows], CCA)


def spearman(x: pd.Series, y: pd.Series) -> float:
    """Pearson's correlation of the ranks."""
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def test_each_pair_and_point_has_its_values_at_both_moments():
    table = correlations()
    found = start_end(table)
    START_END.check(found)
    assert list(found) == list(START_END.columns)
    # of six networks: two seeds of random and of inet, both inits with either seed; none of statistics
    assert len(found) == (1 + 1 + 2) * len(POINTS) * 2
    for _, row in found.iterrows():
        own = table[
            (table["init_a"] == row["init_a"]) & (table["init_b"] == row["init_b"])
            & (table["seed_a"] == row["seed_a"]) & (table["seed_b"] == row["seed_b"])
            & (table["point"] == row["point"]) & (table["measure"] == row["measure"])
            & table["pair"].isin(["inits", "seeds"])
        ].set_index("moment_a")["value"]  # fmt: skip
        assert (row["start"], row["end"]) == (own["start"], own["end"])
        assert row["depth"] == POINTS[row["point"]] / 6


def test_pairs_are_named_by_how_both_started():
    found = start_end(correlations())
    kinds = found.drop_duplicates(["init_a", "init_b"])[["init_a", "init_b", "starts"]]
    assert sorted(map(tuple, kinds.to_numpy())) == [
        ("inet", "inet", "transfer-transfer"),
        ("random", "inet", "random-transfer"),
        ("random", "random", "random-random"),
    ]


def test_what_is_known_at_one_moment_only_is_left_out():
    table = correlations()
    at_start = (
        (table["pair"] == "seeds") & (table["init_a"] == "random") & (table["moment_a"] == "start")
    )
    unknown = at_start & (table["point"] == "top") & (table["measure"] == "cca")
    gone = at_start & (table["point"] == "stem") & (table["measure"] == "cca")
    table.loc[unknown, "value"] = np.nan
    found = start_end(table[~gone])
    assert len(found) == len(start_end(correlations())) - 2


def test_a_value_of_few_rows_at_either_moment_is_not_reliable():
    table = correlations()
    for moment in ("start", "end"):
        few = (table["moment_a"] == moment) & (table["pair"] == "seeds") & (table["point"] == "stem")
        found = start_end(table.assign(reliable=~few))
        seeds = found["init_a"] == found["init_b"]
        assert (found["reliable"] == ~(seeds & (found["point"] == "stem"))).all()


def test_rank_correlations_are_of_all_of_each_half_and_the_mean_within_points():
    table = start_end(correlations())
    found = start_end_correlations(table)
    START_END_CORRELATION.check(found)
    assert len(found) == 2 * 4
    for measure, rows in found.groupby("measure"):
        rows = rows.set_index("scope")
        # two networks of one source begin as the same
        own = table[(table["measure"] == measure) & (table["starts"] != "transfer-transfer")]
        lower, upper = own[own["order"] < 3], own[own["order"] >= 3]
        for scope, part in {"all": own, "lower": lower, "upper": upper}.items():
            assert rows.loc[scope, "value"] == pytest.approx(spearman(part["start"], part["end"]))
            assert rows.loc[scope, "values"] == len(part)
            assert rows.loc[scope, "points"] == part["point"].nunique()
        each = [spearman(part["start"], part["end"]) for _, part in own.groupby("point")]
        assert rows.loc["within", "value"] == pytest.approx(np.mean(each))
        assert (rows["pairs"] == 3).all()


def test_two_sources_are_two_starts():
    table = correlations()
    other = {"inet-stats": "other"}
    table = table.assign(**{f"init_{side}": table[f"init_{side}"].replace(other) for side in "ab"})
    found = start_end_correlations(start_end(table)).set_index(["measure", "scope"])
    # two seeds of random, and two inits with each of two seeds: three pairs of inits
    assert found.loc[("cca", "all"), "pairs"] == 1 + 3 * 2


def test_values_of_too_few_rows_are_in_no_correlation():
    table = start_end(correlations())
    doubtful = table["point"] == "top"
    found = start_end_correlations(table.assign(reliable=~doubtful))
    expected = start_end_correlations(table[~doubtful])
    pd.testing.assert_frame_equal(found, expected)
    assert start_end_correlations(table.assign(reliable=False)).empty


@pytest.mark.parametrize(("count", "known"), [(2, False), (3, True)])
def test_a_correlation_needs_three_values_that_differ(count, known):
    table = start_end(correlations())
    table = table[(table["measure"] == "cca") & (table["starts"] != "transfer-transfer")].iloc[:count]
    found = start_end_correlations(table).set_index("scope")
    assert (found.loc["all", "value"] == found.loc["all", "value"]) == known
    constant = start_end_correlations(table.assign(start=0.5)).set_index("scope")
    assert np.isnan(constant.loc["all", "value"])


def test_order_that_is_kept_gives_one_and_order_that_is_turned_minus_one():
    table = start_end(correlations())
    for sign in (1, -1):
        found = start_end_correlations(table.assign(end=0.5 + sign * table["start"] ** 3 / 2))
        assert found["value"].tolist() == pytest.approx([sign] * 8)


def test_a_data_set_without_pairs_gives_empty_tables():
    table = start_end(correlations()[:0])
    START_END.check(table)
    assert table.empty
    START_END_CORRELATION.check(start_end_correlations(table))


def test_the_script_writes_both_tables(tmp_path, monkeypatch):
    table = correlations()
    table.to_parquet(tmp_path / "cca")
    flags = ("--cca", "cca"), ("--start-end", "points"), ("--correlations", "values")
    arguments = [part for flag, name in flags for part in (flag, str(tmp_path / name))]
    monkeypatch.setattr(sys, "argv", ["start_end.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    expected = start_end(table)
    for name, rows in {"points": expected, "values": start_end_correlations(expected)}.items():
        found = pd.read_parquet(tmp_path / name)
        pd.testing.assert_frame_equal(found, rows, check_dtype=False)
