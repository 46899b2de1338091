"""Hours beside gains, in a table and in a figure, against hours counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.figures.cost_benefit import draw, network_looks, select
from medtransfer.figures.style import apply_style
from medtransfer.statistics.comparison import GAINS
from medtransfer.statistics.costs import COSTS, cost_table

PATH = "p/f/m/random/full/holdout/seed0"
STUDY = StudySettings(
    title="T", grids=(GridSettings(recipe="r", datasets=("d",), models=("m",), inits=("random",)),)
)


def record(init: str, hours: float, **changes: object) -> dict[str, object]:
    return {
        "recipe": "r", "dataset": "d", "model": "m", "init": init, "subset": "full", "split": "holdout",
        "seed": 0, "path": f"{init}{hours}{changes}", "role": "study", "device": "GPU", "threads": 4.0,
        "pretraining": PATH if "src" in init else "", "seconds": hours * 3600, "bytes": 1.0,
    } | changes  # fmt: skip


def pretraining(hours: float = 30.0, **changes: object) -> dict[str, object]:
    return record("random", hours, path=PATH, role="pre-training", recipe="p", **changes)


def gain(init: str, **changes: object) -> dict[str, object]:
    return {
        "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "part": "test",
        "metric": "auroc", "target": True, "init": init, "reference": "random", "family": "starts",
        "mean": 0.05, "sd": 0.01, "low": 0.02, "high": 0.08, "p": 0.01, "p_sign_flip": 0.25,
        "p_adjusted": 0.02, "pairs": 3, "paired_by": "seed",
    } | changes  # fmt: skip


def costs(records: list[dict[str, object]], gains: list[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(gains)
    GAINS.check(table)
    made = cost_table(pd.DataFrame(records), table, STUDY)
    COSTS.check(made)
    return made


RUNS = [
    record("random", 1.0), record("random", 3.0),
    record("src", 2.0), record("src", 6.0), record("src-stats", 5.0), pretraining(),
]  # fmt: skip


def test_hours_are_means_and_a_pre_training_is_shared_by_all_that_start_from_it():
    table = costs(RUNS, [gain("src"), gain("src-stats", mean=0.01)])
    shown = table[["init", "counted", "unit", "hours", "reference_hours", "pretraining_hours", "gain"]]
    # three runs start from the weights: 30 / 3 = 10 hours each
    assert shown.to_numpy().tolist() == [
        ["src", "fine-tuning", "GPU-hours", 4.0, 2.0, 0.0, 0.05],
        ["src", "with pre-training", "GPU-hours", 14.0, 2.0, 30.0, 0.05],
        ["src-stats", "fine-tuning", "GPU-hours", 5.0, 2.0, 0.0, 0.01],
        ["src-stats", "with pre-training", "GPU-hours", 15.0, 2.0, 30.0, 0.01],
    ]
    assert set(table["sharing"]) == {3}
    assert set(zip(table["low"], table["high"], table["pairs"], strict=True)) == {(0.02, 0.08, 3)}


def test_candidates_of_a_search_neither_cost_nor_share():
    tried = record("src", 100.0, role="candidate", recipe="r.lr1")
    pd.testing.assert_frame_equal(costs([*RUNS, tried], [gain("src")]), costs(RUNS, [gain("src")]))


def test_weights_from_a_file_have_no_row_with_pre_training():
    table = costs([record("random", 1.0), record("src", 2.0, pretraining="")], [gain("src")])
    assert table["counted"].to_list() == ["fine-tuning"]
    assert table["sharing"].to_list() == [0]


def test_without_a_gpu_hours_are_those_of_cores():
    table = costs([one | {"device": "CPU"} for one in RUNS], [gain("src")])
    assert set(table["unit"]) == {"core-hours"}
    assert table["hours"].to_list() == [16.0, 56.0]


def test_hours_of_different_devices_are_not_added():
    table = costs([*RUNS[:-1], pretraining(device="CPU")], [gain("src")])
    assert table["unit"].to_list() == ["GPU-hours", ""]
    assert table["hours"].fillna(-1).to_list() == [4.0, -1]
    other = costs([record("random", 1.0, device="CPU"), *RUNS[2:]], [gain("src")])
    assert set(other["unit"]) == {""} and other["hours"].isna().all()


def test_a_run_of_unknown_length_leaves_the_mean_unknown():
    table = costs([*RUNS, record("src", math.nan)], [gain("src")])
    assert table["hours"].isna().all()


def test_only_gains_over_the_reference_in_the_target_metric_on_test_have_costs():
    others = [
        gain("src", reference="src-stats"), gain("src", part="external"),
        gain("src", metric="brier", target=False), gain("src", dataset="another"),
    ]  # fmt: skip
    assert costs(RUNS, others).empty


def many(models: int, inits: tuple[str, ...] = ("src",)) -> pd.DataFrame:
    rows, gains = [], []
    for number in range(models):
        name = {"model": f"network_{number}"}
        rows.append(record("random", 1.0 + number, **name))
        for init in inits:
            rows.append(record(init, 2.0 + number, **name))
            gains.append(gain(init, mean=0.01 * number, low=0.01 * number - 0.02,
                              high=0.01 * number + 0.02, **name))  # fmt: skip
    return costs([*rows, pretraining(10.0 * models)], gains)


def test_the_figure_draws_what_is_selected_at_its_hours_with_intervals():
    apply_style()
    table = many(2)
    figure = draw({"costs": table})
    (ax,) = (axes for axes in figure.axes if axes.axison)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "GPU-hours a run"
    assert ax.get_ylabel() == "gain in test AUROC\nover random"
    assert ax.get_title() == "d: src\n(3 seeds)"
    points = {(x, y) for line in ax.lines if line.get_marker() in "os" for x, y in line.get_xydata()}
    assert points == {(2.0, 0.0), (12.0, 0.0), (3.0, 0.01), (13.0, 0.01)}
    segments = [np.asarray(one) for bars in ax.collections for one in bars.get_segments()]
    assert {tuple(np.round(one[:, 1], 3)) for one in segments} == {(-0.02, 0.02), (-0.01, 0.03)}
    marks = [line.get_xydata() for line in ax.lines if line.get_marker() == "|"]
    ticks = {tuple(mark[0]) for mark in marks if len(mark)}
    assert ticks == {(1.0, 0.0), (2.0, 0.0)}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "network_0", "network_1", "with its share of pre-training", "a run of the reference",
        "bars: paired interval",
    ]  # fmt: skip


def test_rows_without_hours_or_of_partial_transfers_are_not_drawn():
    table = pd.concat([many(2), many(1, ("src-upto2-stats",)), many(1).assign(hours=math.nan)])
    chosen = select({"costs": table})["costs"]
    assert set(chosen["init"]) == {"src"} and len(chosen) == 4


@pytest.mark.parametrize("table", [pd.DataFrame(), many(1).assign(hours=math.nan)])
def test_where_nothing_is_known_the_figure_says_so(table):
    (text,) = draw({"costs": table}).axes[0].texts
    assert "no cost to set against a gain" in text.get_text().replace("\n", " ")


def test_a_data_set_without_an_init_has_a_marked_gap():
    apply_style()
    table = pd.concat([many(1, ("src", "gabor")), many(1).assign(dataset="e")])
    words = [text.get_text() for axes in draw({"costs": table}).axes for text in axes.texts]
    assert words == ["no runs"]


def test_thirty_networks_look_different():
    looks = network_looks(pd.Series([f"n{i}" for i in range(72)]))
    assert len({tuple(look.values()) for look in looks.values()}) == 72
