"""Figures over the transferred depth: shares of reuse, steps to a threshold, curves."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import CARETDOWN, CARETUP

from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.figures import depth_convergence, partial_curves, reuse_share
from medtransfer.figures.style import apply_style
from medtransfer.statistics.convergence import CONVERGENCE
from medtransfer.statistics.convergence_means import CONVERGENCE_MEANS, convergence_means
from medtransfer.statistics.transfer import REUSE
from medtransfer.tables import table_of

TRANSFUSION = (
    "random", "src-stats", "src", "src-upto1-random", "src-upto3-random", "src-upto2-slim", "gabor",
)  # fmt: skip
FEATURE_REUSE = ("random", "src-stats", "src-upto1-stats", "src-upto4-stats", "src")


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


def draw(name: str, **tables: pd.DataFrame) -> Figure:
    """As the script does, down to pixels; tables stay as they are and warnings are errors."""
    before = {key: table.copy() for key, table in tables.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = importlib.import_module(f"medtransfer.figures.{name}")
        figure = module.draw(distinguish_recipes(tables))
        FigureCanvasAgg(figure).draw()
    for key, table in tables.items():
        pd.testing.assert_frame_equal(table, before[key])
    return figure


def reuse_rows(shares: dict[float, tuple[float, float, float]], **cell: object) -> pd.DataFrame:
    """A table of schema REUSE: share, low and high by number of units; bounded where low is finite."""
    rows = [
        {
            "recipe": "r", "dataset": "chest", "model": "vit", "subset": "full", "metric": "auroc",
            "source": "src", "init": "src" if np.isnan(units) else f"src-upto{units:.0f}-stats",
            "units": units, "share": share, "low": low, "high": high, "bounded": np.isfinite(low),
            "pairs": 5, "paired_by": "seed", **cell,
        }
        for units, (share, low, high) in shares.items()
    ]  # fmt: skip
    return table_of(rows, REUSE)


WHOLE = float("nan")
KNOWN = {1.0: (0.2, 0.1, 0.3), 2.0: (0.5, 0.4, 0.7), 5.0: (0.9, 0.6, 1.2), WHOLE: (0.8, 0.7, 0.9)}
NOTHING = {1.0: (7.0, -np.inf, np.inf), WHOLE: (-3.0, -np.inf, np.inf)}


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer) and len(c[0].get_xdata())]


def ends(bar: ErrorbarContainer) -> np.ndarray:
    (collection,) = bar[2]
    return np.array([segment[:, 1] for segment in collection.get_segments()])


def tick_words(ax: Axes) -> list[str]:
    return [tick.get_text() for tick in ax.get_xticklabels()]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def marked(ax: Axes, marker: object) -> list[tuple[float, float]]:
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return [point for line in lines for point in zip(*line.get_data(), strict=True)]


def shown(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.axison]


def stays_on_its_page(figure: Figure) -> bool:
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < page[0] + 0.05 and box.y1 < page[1] + 0.05


# shares of reuse


def test_shares_stand_over_their_depth_with_fiellers_interval_the_whole_source_last():
    (ax,) = draw("reuse_share", reuse=reuse_rows(KNOWN)).axes
    (bar,) = bars(ax)
    x, y = bar[0].get_data()
    assert x[:3].tolist() == [1, 2, 5]
    assert x[3] > 5
    assert y.tolist() == [0.2, 0.5, 0.9, 0.8]
    np.testing.assert_allclose(ends(bar), [[0.1, 0.3], [0.4, 0.7], [0.6, 1.2], [0.7, 0.9]])
    assert tick_words(ax) == ["1", "2", "5", "all"]
    np.testing.assert_allclose(ax.get_xticks()[3], x[3])
    assert "5 seeds" in ax.get_xlabel()
    assert ax.get_title() == "chest, vit"
    assert marked(ax, CARETUP) == marked(ax, CARETDOWN) == []


def test_an_interval_beyond_the_axis_ends_in_an_arrow_and_its_estimate_stays_inside():
    shares = {1.0: (0.2, -9.0, 0.4), 2.0: (2.5, 2.0, 30.0), WHOLE: (0.8, 0.7, 0.9)}
    figure = draw("reuse_share", reuse=reuse_rows(shares))
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    assert -9 < low < 0.2
    assert 2.5 < high < 30
    assert marked(ax, CARETDOWN) == [(1, low)]
    assert marked(ax, CARETUP) == [(2, high)]
    np.testing.assert_allclose(ends(bars(ax)[0]), [[low, 0.4], [2, high], [0.7, 0.9]])
    assert "it goes on" in legend_names(figure)


def test_without_a_gain_no_share_is_drawn_but_the_panel_says_so():
    figure = draw("reuse_share", reuse=reuse_rows(NOTHING))
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    assert (low, high) == (-0.5, 1.5)
    assert bars(ax) == []
    assert [text.get_text() for text in ax.texts] == ["no gain to share"]
    (lines,) = [c for c in ax.collections if len(c.get_segments())]
    assert [segment.tolist() for segment in lines.get_segments()] == [
        [[x, low], [x, high]] for x, _ in marked(ax, CARETUP)
    ]
    assert [x for x, _ in marked(ax, CARETUP)] == [1, 2.5]
    assert "no gain to share" in legend_names(figure)
    assert "bars: Fieller's interval" not in legend_names(figure)


def test_the_table_of_the_shares_has_none_that_means_nothing():
    table = pd.concat([reuse_rows(KNOWN), reuse_rows(NOTHING, model="cbr")], ignore_index=True)
    rows = reuse_share.select({"reuse": table})["reuse"]
    assert len(rows) == 6
    assert rows["share"].dropna().tolist() == [0.2, 0.5, 0.9, 0.8]
    assert rows[rows["model"] == "cbr"]["share"].isna().all()


def test_one_repeat_is_not_known_rather_than_no_gain():
    figure = draw("reuse_share", reuse=reuse_rows({WHOLE: (0.4, np.nan, np.nan)}, pairs=1))
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["not known: one repeat"]
    assert len(marked(ax, "x")) == 1
    assert "no gain to share" not in legend_names(figure)
    assert tick_words(ax) == ["all"]


def test_networks_data_sets_and_subsets_have_panels_and_lines_and_a_gap_says_so():
    table = pd.concat(
        [reuse_rows(KNOWN, subset=subset) for subset in ("full", "n100")]
        + [reuse_rows(KNOWN, model="cbr"), reuse_rows(NOTHING, dataset="far")],
        ignore_index=True,
    )
    figure = draw("reuse_share", reuse=table)
    assert [ax.get_title() for ax in shown(figure)] == ["chest, vit", "far, vit", "chest, cbr"]
    (gap,) = [ax for ax in figure.axes if not ax.axison]
    assert [text.get_text() for text in gap.texts] == ["no runs"]
    assert {"full: src", "n100: src"} <= set(legend_names(figure))
    first, second = bars(figure.axes[0])
    assert first[0].get_marker() != second[0].get_marker()
    assert (first[0].get_xdata() < second[0].get_xdata()).all()
    assert len({ax.get_ylim() for ax in shown(figure)}) == 1


def test_three_data_sets_fit_on_one_sheet():
    names = ("phantom_chest", "phantom_fundus", "far")
    table = pd.concat([reuse_rows(KNOWN, dataset=name) for name in names], ignore_index=True)
    figure = draw("reuse_share", reuse=table.assign(pairs=[3, 5] * 6))
    assert figure.get_figwidth() <= 7.2
    assert stays_on_its_page(figure)


def test_many_depths_have_numbers_that_do_not_touch():
    shares = {float(units): (0.5, 0.4, 0.6) for units in range(1, 24)} | {WHOLE: (0.9, 0.8, 1.0)}
    figure = draw("reuse_share", reuse=reuse_rows(shares))
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    assert len(bars(ax)[0][0].get_xdata()) == 24
    assert stays_on_its_page(figure)


# steps to a threshold


def runs_of(steps: dict[str, list[int | None]], last: int = 1000, **cell: object) -> pd.DataFrame:
    """A table of schema CONVERGENCE; None is a run that stopped at the last step."""
    rows = [
        {
            "recipe": "r", "dataset": "retina", "model": "cbr", "subset": "full", "metric": "auroc",
            "init": init, "split": "holdout", "seed": seed, "threshold_kind": "share",
            "threshold": 0.81, "step": last if step is None else step, "reached": step is not None,
            **cell,
        }
        for init, found in steps.items()
        for seed, step in enumerate(found)
    ]  # fmt: skip
    return table_of(rows, CONVERGENCE)


STEPS = {
    "random": [800, 900, None], "src-stats": [700, 800, 900], "src": [100, 200, 300],
    "src-upto1-random": [500, 600, 700], "src-upto3-random": [400, 400, 400],
    "src-upto2-slim": [300, 350, 400], "gabor": [600, None, None],
}  # fmt: skip


def means_of(steps: dict[str, list[int | None]], **cell: object) -> pd.DataFrame:
    return convergence_means(runs_of(steps, **cell), "random")


def test_mean_steps_are_plain_means_of_what_all_starts_can_be_compared_up_to():
    table = means_of(STEPS)
    CONVERGENCE_MEANS.check(table)
    found = table.set_index("init")
    assert set(table["horizon"]) == {1000}
    assert found.loc["src", "mean"] == pytest.approx(200)
    assert found.loc["random", "mean"] == pytest.approx(900)
    assert found.loc["gabor", "mean"] == pytest.approx((600 + 1000 + 1000) / 3)
    # of three runs, +- 4.303 standard errors
    half = 4.302653 * 100 / np.sqrt(3)
    assert found.loc["src", ["low", "high"]].tolist() == pytest.approx([200 - half, 200 + half])
    assert found["reached"].to_dict() == {**dict.fromkeys(STEPS, 3), "random": 2, "gabor": 1}
    assert set(found["runs"]) == {3}
    assert set(found["reference"]) == {"random"}


def test_the_start_that_is_known_for_the_shortest_time_sets_the_horizon_of_its_cell_only():
    early = runs_of({"random": [800, 900], "src": [200, None]}, last=500)
    other = runs_of({"random": [800, 900], "src": [100, 300]}, model="vit")
    table = convergence_means(pd.concat([early, other]), "random").set_index(["model", "init"])
    assert table.loc[("cbr", "random"), ["horizon", "mean", "reached"]].tolist() == [500, 500, 0]
    assert table.loc[("cbr", "src"), "mean"] == pytest.approx((200 + 500) / 2)
    assert table.loc[("vit", "random"), ["horizon", "mean", "reached"]].tolist() == [900, 850, 2]


def test_no_runs_have_no_means():
    CONVERGENCE_MEANS.check(convergence_means(table_of([], CONVERGENCE), "random"))


def at(ax: Axes, word: str) -> float:
    """The place of a tick with this word."""
    return ax.get_xticks()[tick_words(ax).index(word)]


def heights(ax: Axes) -> dict[float, float]:
    """Mean at each place, rounded to tenths."""
    pairs = [pair for bar in bars(ax) for pair in zip(*bar[0].get_data(), strict=True)]
    return {round(x, 1): y for x, y in pairs}


def test_steps_stand_over_the_depth_from_the_tails_own_start_to_the_whole_source():
    table = means_of(STEPS)
    (ax,) = draw("depth_convergence", convergence_means=table).axes
    assert tick_words(ax) == ["0", "1", "3", "all", "2\nslim", "gabor"]
    mean = table.set_index("init")["mean"]
    expected = {
        "0": "random", "1": "src-upto1-random", "3": "src-upto3-random", "all": "src",
        "2\nslim": "src-upto2-slim", "gabor": "gabor",
    }  # fmt: skip
    assert heights(ax) == pytest.approx(
        {round(at(ax, word), 1): mean[init] for word, init in expected.items()}
    )
    assert [at(ax, word) for word in "013"] == [0, 1, 3]
    # statistics are the start of another tail
    assert mean["src-stats"] not in heights(ax).values()
    line, others = bars(ax)
    assert line[0].get_linestyle() == "-"
    assert others[0].get_linestyle() == "None"


def test_intervals_of_steps_are_cut_where_no_mean_can_be():
    table = means_of(STEPS)
    (ax,) = draw("depth_convergence", convergence_means=table).axes
    rows = table.set_index("init").loc[["random", "src-upto1-random", "src-upto3-random", "src"]]
    np.testing.assert_allclose(
        ends(bars(ax)[0]), np.stack([rows["low"].clip(0), rows["high"].clip(None, 1000)], axis=1)
    )
    assert rows.loc["src", "low"] < 0
    assert rows.loc["random", "high"] > 1000


def test_the_reference_is_a_line_in_a_band_and_the_horizon_is_marked():
    table = means_of(STEPS)
    figure = draw("depth_convergence", convergence_means=table)
    (ax,) = figure.axes
    lines = {line.get_linestyle(): line.get_ydata()[0] for line in ax.lines[:2]}
    assert lines == pytest.approx({":": 1000, "--": 900})
    (band,) = ax.patches
    low = table.set_index("init").loc["random", "low"]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((low, 1000))
    assert "random (reference)" in legend_names(figure)
    assert "at most 1000" in ax.get_ylabel()
    assert "AUROC 0.810" in ax.get_ylabel()
    assert "3 runs" in ax.get_xlabel()


def test_runs_that_never_got_there_open_the_mark_and_are_counted_above_it():
    (ax,) = draw("depth_convergence", convergence_means=means_of(STEPS)).axes
    counted = {text.get_text(): text.xy[0] for text in ax.texts if "of 3" in text.get_text()}
    assert counted == {"2 of 3": at(ax, "0"), "1 of 3": at(ax, "gabor")}
    open_marks = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert sorted(x for line in open_marks for x in line.get_xdata()) == [0, at(ax, "gabor")]


def test_a_reference_off_the_axis_of_depths_is_counted_at_its_line():
    steps = {
        "random": [800, None, None], "src-stats": [700, 800, 900], "src-upto1-stats": [1, 2, 3],
    }  # fmt: skip
    (ax,) = draw("depth_convergence", convergence_means=means_of(steps)).axes
    assert tick_words(ax) == ["0", "1"]
    (word,) = ax.texts
    assert (word.get_text(), word.xy[1]) == ("1 of 3", pytest.approx(2800 / 3))


def test_only_cells_with_a_partial_start_have_steps_by_depth():
    whole = {name: STEPS[name] for name in ("random", "src-stats", "src")}
    table = pd.concat([means_of(STEPS), means_of(whole, model="vit")], ignore_index=True)
    rows = depth_convergence.select({"convergence_means": table})["convergence_means"]
    assert set(rows["model"]) == {"cbr"}
    assert set(rows["init"]) == set(STEPS) - {"src-stats"}
    figure = draw("depth_convergence", convergence_means=table)
    assert [ax.get_title() for ax in shown(figure)] == ["retina, cbr"]


def test_each_threshold_has_its_own_steps():
    other = means_of({name: [None] * 3 for name in STEPS}, threshold_kind="absolute", threshold=0.91)
    figure = draw("depth_convergence", convergence_means=pd.concat([means_of(STEPS), other]))
    first, second = shown(figure)
    assert "share of the reference's best" in first.get_xlabel()
    assert "the same in all cells" in second.get_xlabel()
    assert set(heights(second).values()) == {1000}
    assert [text.get_text() for text in second.texts] == ["0 of 3"] * 6


def test_sources_and_tails_have_lines_of_their_own():
    names = [f"{s}-upto{k}-{tail}" for s in ("a", "b") for k in (1, 2) for tail in ("stats", "random")]
    steps = {name: [100, 200] for name in ("random", "a-stats", *names, "a", "b")}
    figure = draw("depth_convergence", convergence_means=means_of(steps))
    entries = ["a on stats", "a on random", "b on stats", "b on random"]
    assert [name for name in legend_names(figure) if " on " in name] == entries
    (ax,) = shown(figure)
    assert [len(bar[0].get_xdata()) for bar in bars(ax)] == [4, 4, 3, 4]
    assert len({bar[0].get_color() for bar in bars(ax)}) == 4


# curves of partial starts


def curve_rows(inits: tuple[str, ...], seeds: int = 3, **cell: object) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [inits, range(seeds), (0, 5, 10)], names=["init", "seed", "step"]
    )
    values = np.random.default_rng(1).uniform(0.2, 0.9, len(index))
    usual = {"recipe": "r", "dataset": "retina", "model": "cbr", "subset": "full", "split": "holdout"}
    seen = dict.fromkeys(["epoch", "learning_rate", "training_loss", "validation_loss"], 1.0)
    table = index.to_frame(index=False).assign(metric="auroc", stage="main", **seen)
    return table.assign(validation_metric=values, **(usual | cell))


def labelled(ax: Axes) -> dict[str, matplotlib.lines.Line2D]:
    lines = {line.get_label(): line for line in ax.lines if len(line.get_xdata())}
    return {label: line for label, line in lines.items() if not label.startswith("_")}


def test_curves_of_partial_starts_are_means_in_the_band_of_their_runs():
    curves = curve_rows(TRANSFUSION)
    figure = draw("partial_curves", curves=curves)
    (ax,) = figure.axes
    # no start is compared with statistics here
    assert set(labelled(ax)) == set(TRANSFUSION) - {"src-stats"}
    for (init, line), band in zip(labelled(ax).items(), ax.collections, strict=True):
        runs = curves[curves["init"] == init].pivot(
            index="step", columns="seed", values="validation_metric"
        )
        assert line.get_xdata().tolist() == [0, 5, 10]
        np.testing.assert_allclose(line.get_ydata(), runs.mean(axis=1))
        corners = band.get_paths()[0].vertices
        for step in (0, 5, 10):
            reach = corners[corners[:, 0] == step][:, 1]
            assert (reach.min(), reach.max()) == pytest.approx(
                (runs.loc[step].min(), runs.loc[step].max())
            )
    assert ax.get_title() == "retina, cbr"
    assert "band: lowest to highest run" in legend_names(figure)


def brightness(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def test_the_deeper_a_transfer_the_darker_and_every_depth_has_its_marker():
    names = tuple(f"src-upto{k}-stats" for k in (10, 1, 2, 5))
    (ax,) = draw("partial_curves", curves=curve_rows(("random", "src", "src-stats", *names))).axes
    lines = labelled(ax)
    order = [f"src-upto{k}-stats" for k in (1, 2, 5, 10)]
    assert list(lines) == ["random", "src-stats", *order, "src"]
    grey = [brightness(lines[name].get_color()) for name in order]
    assert all(a > b + 0.08 for a, b in pairwise(grey))
    assert grey[0] < 0.8
    assert len({line.get_marker() for line in lines.values()}) == 7


def test_slim_rests_and_gabor_filters_look_like_no_depth():
    (ax,) = draw("partial_curves", curves=curve_rows((*TRANSFUSION, "src-upto2-random"))).axes
    lines = labelled(ax)
    assert list(lines)[-2:] == ["src-upto2-slim", "gabor"]
    colours = [line.get_color() for line in lines.values()]
    assert len(set(colours)) == len(colours)
    assert lines["src-upto2-slim"].get_linestyle() != lines["src-upto2-random"].get_linestyle()


def test_prefixes_of_several_sources_and_tails_differ_in_their_lines():
    names = ("a-upto2-random", "b-upto2-random", "a-upto2-stats", "a-upto2-slim")
    (ax,) = draw("partial_curves", curves=curve_rows(("random", *names))).axes
    looks = {
        (line.get_color(), str(line._dash_pattern), line.get_marker(), line.get_markerfacecolor())
        for line in labelled(ax).values()
    }
    assert len(looks) == 5


def test_the_table_of_partial_curves_has_what_is_drawn_alone():
    curves = pd.concat(
        [
            curve_rows(TRANSFUSION),
            curve_rows(("random", "src"), model="vit"),
            curve_rows(("random", "other", "other-stats", "src-upto1-stats"), dataset="chest"),
        ]
    )
    rows = partial_curves.select({"curves": curves})["curves"]
    cells = rows.groupby("dataset", sort=False)["init"].agg(set).to_dict()
    assert cells == {
        "retina": set(TRANSFUSION) - {"src-stats"}, "chest": {"random", "src-upto1-stats"}
    }  # fmt: skip
    assert set(rows["model"]) == {"cbr"}
    assert not {"learning_rate", "training_loss", "validation_loss"} & set(rows)


# all of them


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("reuse_share", "reuse"),
        ("depth_convergence", "convergence_means"),
        ("partial_curves", "curves"),
    ],
)
def test_a_study_without_such_starts_gets_a_note(name, table):
    whole = ("random", "src")
    given = {
        "reuse": reuse_rows({}),
        "convergence_means": means_of({init: [100, 200] for init in whole}),
        "curves": curve_rows(whole),
    }
    for found in (given[table], pd.DataFrame()):
        figure = draw(name, **{table: found})
        (text,) = figure.axes[0].texts
        assert text.get_text().startswith("no ")


def many() -> tuple[str, ...]:
    return ("random", "src-stats", *(f"src-upto{k}-stats" for k in range(1, 28)), "src")


def test_30_starts_stay_on_their_page():
    steps = {init: [900 - 20 * n, 1000 - 20 * n] for n, init in enumerate(many())}
    figures = [
        draw("depth_convergence", convergence_means=means_of(steps)),
        draw("partial_curves", curves=curve_rows(many(), seeds=2)),
    ]
    assert all(map(stays_on_its_page, figures))
    (ax,) = figures[0].axes
    boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    assert set(many()) <= set(legend_names(figures[1]))


def test_one_seed_is_drawn_without_intervals():
    steps = {init: [found[0]] for init, found in STEPS.items()}
    figure = draw("depth_convergence", convergence_means=means_of(steps))
    assert "bars: interval of the mean" not in legend_names(figure)
    for bar in bars(figure.axes[0]):
        np.testing.assert_allclose(ends(bar)[:, 0], ends(bar)[:, 1])
    assert draw("partial_curves", curves=curve_rows(TRANSFUSION, seeds=1)).axes


def test_two_recipes_are_two_networks():
    curves = pd.concat([curve_rows(TRANSFUSION), curve_rows(TRANSFUSION, recipe="s")])
    figure = draw("partial_curves", curves=curves)
    assert [ax.get_title() for ax in shown(figure)] == ["retina, cbr, r", "retina, cbr, s"]
