"""The smallest network and the shallowest transfer that come up to the best."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_metrics import holm_by_hand, rows_of, study

from medtransfer.config.study import StudySettings
from medtransfer.errors import ConfigError
from medtransfer.statistics.sparing import SPARING, sparing

NOISE = [0.001, -0.0012, 0.0008, -0.0006, 0.0004]


def network(model: str, mean: float, parameters: float, scale: float = 1.0, **changes: object):
    """Five seeds of a network from random; the noise turns with its name, so that pairs differ."""
    turn = ord(model[0]) % 5
    values = [mean + scale * NOISE[(seed + turn) % 5] for seed in range(5)]
    init = str(changes.pop("init", "random"))
    return rows_of(init, values, model=model, parameters=parameters, **changes)


def found(metrics: list[dict], settings: StudySettings | None = None) -> pd.DataFrame:
    table = sparing(pd.DataFrame(metrics), settings or study())
    SPARING.check(table)
    return table


def differences(metrics: list[dict], of: str, best: str, column: str = "model") -> np.ndarray:
    values = {name: [row["value"] for row in metrics if row[column] == name] for name in (of, best)}
    return np.subtract(values[of], values[best])


def p_of_tost(values: np.ndarray, margin: float = 0.01) -> float:
    return max(
        stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(values, margin, alternative="less").pvalue,
    )


def test_the_smallest_network_within_the_margin_is_chosen():
    metrics = network("a", 0.80, 1e6) + network("b", 0.897, 2e6) + network("c", 0.899, 3e6)
    metrics += network("d", 0.90, 4e6) + network("e", 0.85, 9e6)
    table = found(metrics)
    assert table["model"].tolist() == ["c", "b", "a"]  # the largest first; e isn't smaller than d
    assert set(table["best_model"]) == {"d"}
    assert table["equivalent"].tolist() == [True, True, False]
    assert table["chosen"].tolist() == [False, True, False]
    assert table["size"].tolist() == [3e6, 2e6, 1e6]
    assert set(table["question"]) == {"network"}
    for _, row in table.iterrows():
        values = differences(metrics, row["model"], "d")
        half = stats.t.ppf(0.95, 4) * values.std(ddof=1) / math.sqrt(5)
        assert row["mean"] == pytest.approx(values.mean())
        assert row["p_equivalent"] == pytest.approx(p_of_tost(values))
        assert row["low"] == pytest.approx(values.mean() - half)
        assert row["high"] == pytest.approx(values.mean() + half)
        assert row[["pairs", "margin"]].tolist() == [5, 0.01]


def test_candidates_are_corrected_together():
    metrics = network("a", 0.895, 1e6, 3.5) + network("b", 0.8955, 2e6, 3.5)
    metrics += network("c", 0.896, 3e6, 3.5) + network("d", 0.90, 4e6, 3.5)
    table = found(metrics)
    assert table["p_adjusted"].tolist() == pytest.approx(holm_by_hand(table["p_equivalent"].tolist()))
    assert (table["p_equivalent"] < 0.05).any()
    alone = found([row for row in metrics if row["model"] in "cd"])
    assert alone["equivalent"].tolist() == [True]
    assert table["equivalent"].tolist() == [False] * 3
    assert not table["chosen"].any()


def test_the_confidence_and_the_margin_are_the_studys():
    metrics = network("c", 0.896, 3e6, 3.5) + network("d", 0.90, 4e6, 3.5)
    assert found(metrics)["equivalent"].tolist() == [True]
    strict = found(metrics, study(confidence=0.99))
    assert strict["equivalent"].tolist() == [False]
    assert strict["low"][0] < found(metrics)["low"][0]
    narrow = found(metrics, study(statistics={"margins": {"auroc": 0.004}}))
    assert narrow[["equivalent", "margin"]].values.tolist() == [[False, 0.004]]
    with pytest.raises(ConfigError, match="no margin of 'brier'"):
        found([row | {"metric": "brier"} for row in metrics])


def test_networks_of_unknown_size_are_left_out():
    metrics = network("a", 0.899, 1e6) + network("b", 0.95, math.nan) + network("c", 0.9, 2e6)
    table = found(metrics)
    assert table[["model", "best_model"]].values.tolist() == [["a", "c"]]
    assert found(network("a", 0.9, math.nan) + network("b", 0.9, math.nan)).empty


def test_of_equally_good_networks_the_smallest_is_the_best_and_nothing_is_smaller():
    same = rows_of("random", [0.9, 0.91, 0.9], model="a", parameters=2e6)
    same += rows_of("random", [0.9, 0.91, 0.9], model="b", parameters=1e6)
    assert found(same).empty


def test_a_network_is_represented_by_its_best_whole_start():
    metrics = network("a", 0.80, 1e6) + network("a", 0.899, 1e6, init="src")
    metrics += network("a", 0.95, 1e6, init="src-upto1-stats")  # no whole start
    metrics += network("b", 0.90, 2e6) + network("b", 0.70, 2e6, init="src")
    table = found(metrics)
    table = table[table["question"] == "network"]
    assert table[["model", "init", "best_model", "best_init"]].values.tolist() == [
        ["a", "src", "b", "random"]
    ]


def test_only_seeds_of_both_are_compared_and_one_is_not_enough():
    metrics = network("a", 0.899, 1e6) + network("b", 0.90, 2e6)
    fewer = [row for row in metrics if row["model"] == "b" or row["seed"] in (1, 3)]
    assert found(fewer)["pairs"].tolist() == [2]
    one = found([row for row in metrics if row["model"] == "b" or row["seed"] == 1])
    assert one["pairs"].tolist() == [1]
    assert one["p_equivalent"].isna().all()
    assert not one["equivalent"].any() and not one["chosen"].any()


def test_a_network_without_a_value_is_no_best():
    metrics = network("a", 0.899, 1e6) + network("b", 0.90, 2e6)
    metrics += [row | {"value": math.nan} for row in network("c", 0.99, 3e6)]
    assert found(metrics)["best_model"].tolist() == ["b"]


def test_folds_are_compared_with_their_correlation():
    metrics = network("a", 0.896, 1e6, 3) + network("b", 0.90, 2e6, 3)
    folds = [row | {"split": f"cv5-{row['seed']}", "seed": 0} for row in metrics]
    values = differences(metrics, "a", "b")
    error = values.std(ddof=1) * math.sqrt(1 / 5 + 0.25)
    row = found(folds).iloc[0]
    assert row["p_equivalent"] == pytest.approx(stats.t.sf((0.01 - abs(values.mean())) / error, 4))


DEPTHS = {"src-stats": 0.70, "src-upto1-stats": 0.80, "src-upto2-stats": 0.898,
          "src-upto10-stats": 0.899, "src": 0.90}  # fmt: skip


def depth_rows(depths: dict[str, float], **changes: object) -> list[dict]:
    return [
        row
        for place, (init, mean) in enumerate(depths.items())
        for row in rows_of(init, [mean + NOISE[(seed + place) % 5] for seed in range(5)], **changes)
    ]


def test_the_shallowest_transfer_within_the_margin_is_chosen():
    metrics = depth_rows(DEPTHS)
    table = found(metrics)
    assert table["init"].tolist() == ["src-upto10-stats", "src-upto2-stats", "src-upto1-stats"]
    assert table["size"].tolist() == [10, 2, 1]
    assert table["chosen"].tolist() == [False, True, False]
    assert set(table["best_init"]) == {"src"}
    assert set(table["question"]) == {"depth"}
    values = differences(metrics, "src-upto2-stats", "src", "init")
    assert table["p_equivalent"][1] == pytest.approx(p_of_tost(values))
    assert table["p_adjusted"].tolist() == pytest.approx(holm_by_hand(table["p_equivalent"].tolist()))


def test_only_what_is_shallower_than_the_best_is_a_candidate():
    table = found(depth_rows(DEPTHS | {"src-upto2-stats": 0.95}))
    assert table[["init", "best_init"]].values.tolist() == [["src-upto1-stats", "src-upto2-stats"]]


def test_every_rest_network_and_source_is_asked_by_itself():
    rest = {"src-upto1-random": 0.899, "src-upto1-slim": 0.85, "src-upto1-stats": 0.84, "src": 0.90}
    metrics = depth_rows(rest) + depth_rows({"b-upto1-stats": 0.7, "b": 0.71}, model="m2")
    table = found(metrics)
    depth = table[table["question"] == "depth"].set_index("init")
    assert set(depth.index) == {
        "src-upto1-random", "src-upto1-slim", "src-upto1-stats", "b-upto1-stats"
    }  # fmt: skip
    assert depth["best_init"].to_dict() == {init: init.split("-")[0] for init in depth.index}
    # each is the only candidate of its question
    assert depth["p_adjusted"].tolist() == depth["p_equivalent"].tolist()
    assert depth["chosen"].to_dict() == {init: init == "src-upto1-random" for init in depth.index}


def test_places_other_parts_and_other_metrics_are_apart():
    metrics = network("a", 0.899, 1e6) + network("b", 0.90, 2e6)
    extra = [row | {"part": "external", "value": 1 - row["value"]} for row in metrics]
    extra += [row | {"metric": "auprc", "target": False, "value": 0.1} for row in metrics]
    pd.testing.assert_frame_equal(found(metrics + extra), found(metrics))
    others = [row | {"dataset": "e"} for row in metrics] + [row | {"subset": "n5"} for row in metrics]
    table = found(metrics + others)
    assert table[["dataset", "subset"]].values.tolist() == [["d", "full"], ["e", "full"], ["d", "n5"]]
    assert table["p_adjusted"].tolist() == table["p_equivalent"].tolist()


def test_one_network_with_whole_starts_has_nothing_to_spare():
    assert found(network("a", 0.9, 1e6) + network("a", 0.8, 1e6, init="src")).empty
