"""Figures: what is drawn is what the tables hold, with axes and series that say what it is."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterator
from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

import medtransfer.figures
from medtransfer.config.figures import ALL_FIGURES
from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.evaluation.names import distinguish_recipes, distinguish_subsets, whole_starts
from medtransfer.figures import gains, metrics, validation_curves, wtst_gains
from medtransfer.figures.cells import MISSING
from medtransfer.figures.style import (
    apply_style,
    init_styles,
    interval_bars,
    note,
    offsets,
    save_figure,
)
from medtransfer.statistics.comparison import compare, summarise

# the others have tests of their own
FIGURES = ("metrics", "gains", "wtst_gains", "validation_curves")
INITS = ("random", "src", "src-stats")
BAND = "band: lowest to highest run"


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


def metric_rows(
    datasets: tuple[str, ...] = ("chest",),
    models: tuple[str, ...] = ("cbr", "vit"),
    inits: tuple[str, ...] = INITS,
    subsets: tuple[str, ...] = ("full",),
    parts: tuple[str, ...] = ("test", "external"),
    seeds: int = 3,
) -> pd.DataFrame:
    """A table of schema METRICS in which every value is different."""
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [datasets, models, inits, subsets, parts, range(seeds)],
        names=["dataset", "model", "init", "subset", "part", "seed"],
    )
    table = index.to_frame(index=False).assign(
        recipe="r", split="holdout", metric="auroc", target=True, images=40, patients=20
    )
    table["training_images"] = table["subset"].map({"full": 160}).fillna(80).astype(int)
    table["value"] = generator.uniform(0.5, 0.9, len(table))
    other = table[table["part"] == "test"].assign(metric="brier", target=False, value=0.123)
    return pd.concat([table, other], ignore_index=True)


def study() -> StudySettings:
    grid = GridSettings(recipe="r", datasets=("chest",), models=("cbr",), inits=INITS)
    return StudySettings(title="toy", grids=(grid,))


def curve_rows(
    datasets: tuple[str, ...] = ("chest",),
    inits: tuple[str, ...] = INITS,
    subsets: tuple[str, ...] = ("full",),
    seeds: int = 3,
) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    index = pd.MultiIndex.from_product(
        [datasets, inits, subsets, range(seeds), (0, 5, 10)],
        names=["dataset", "init", "subset", "seed", "step"],
    )
    table = index.to_frame(index=False)
    table = table.assign(recipe="r", model="cbr", split="holdout", metric="quadratic_kappa")
    return table.assign(validation_metric=generator.uniform(0.2, 0.9, len(table)))


@cache
def all_tables(**arguments: object) -> dict[str, pd.DataFrame]:
    """All tables that figures read; shared between tests, which change none of them."""
    table = metric_rows(**arguments)
    names = {"datasets", "inits", "subsets", "seeds"}
    return {
        "metrics": table,
        "summary": summarise(table, 0.95),
        "gains": compare(table, study()),
        "curves": curve_rows(**{k: v for k, v in arguments.items() if k in names}),
    }


def draw(name: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw by name as the script does, down to pixels, so that layout errors show."""
    figure = importlib.import_module(f"medtransfer.figures.{name}").draw(tables)
    FigureCanvasAgg(figure).draw()
    return figure


def series(ax: Axes) -> dict[str, ErrorbarContainer]:
    return {c.get_label(): c for c in ax.containers if isinstance(c, ErrorbarContainer)}


def interval_ends(bars: ErrorbarContainer, axis: int) -> np.ndarray:
    """N x 2: where the bars start and end along an axis (0: x, 1: y)."""
    (collection,) = bars[2]
    return np.array([segment[:, axis] for segment in collection.get_segments()])


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def target_test(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    chosen = table[table["target"] & (table["part"] == "test")]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    return chosen


def test_the_metrics_figure_marks_each_mean_with_its_interval():
    tables = all_tables()
    (ax,) = draw("metrics", tables).axes
    assert list(series(ax)) == list(INITS)
    for init, bars in series(ax).items():
        cells = target_test(tables["summary"], init=init).set_index("model").loc[["cbr", "vit"]]
        np.testing.assert_allclose(bars[0].get_ydata(), cells["mean"])
        np.testing.assert_allclose(interval_ends(bars, 1), cells[["low", "high"]])
        assert np.round(bars[0].get_xdata()).tolist() == [0, 1]


def test_the_metrics_figure_has_a_dot_for_every_run_beside_its_mean():
    tables = all_tables()
    (ax,) = draw("metrics", tables).axes
    dots = [line for line in ax.lines if line.get_marker() == "."]
    drawn = sorted(value for line in dots for value in line.get_ydata())
    assert drawn == pytest.approx(sorted(target_test(tables["metrics"])["value"]))
    for init, style in init_styles(INITS).items():
        own = [line for line in dots if line.get_color() == style.colour]
        kinds = [i for i, s in init_styles(INITS).items() if s.colour == style.colour]
        values = {value for line in own for value in line.get_ydata()}
        runs = target_test(tables["metrics"])
        assert values == set(runs[runs["init"].isin(kinds)]["value"]), init
    place = {y: x for line in dots for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    for _, runs in target_test(tables["metrics"]).groupby(["model", "init"]):
        mark = place[runs["value"].iloc[0]]
        model, init = runs[["model", "init"]].iloc[0]
        mean = series(ax)[init][0].get_xdata()[["cbr", "vit"].index(model)]
        assert 0 < mean - mark < 0.25 / 2


def test_the_metrics_figure_says_what_its_axes_and_panels_are():
    tables = all_tables(datasets=("chest", "fundus"), subsets=("full", "n80"))
    figure = draw("metrics", tables)
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes]
    assert len(titles) == 4
    for title, (subset, dataset, count) in zip(
        titles,
        [("full", "chest", 160), ("full", "fundus", 160), ("n80", "chest", 80),
         ("n80", "fundus", 80)],
        strict=True,
    ):  # fmt: skip
        assert title.startswith(f"{dataset}, {subset} ")
        assert f"{count} training, 40 test images, 3 runs a cell" in title
    assert {ax.get_ylabel() for ax in figure.axes} == {"test AUROC"}
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["cbr", "vit"]
    assert set(legend_names(figure)) == {*INITS, "small dot: a run", "bars: t interval over runs"}


def test_a_data_set_without_a_subset_leaves_its_panel_empty():
    table = pd.concat([metric_rows(("a",), subsets=("full", "n80")), metric_rows(("b",))])
    tables = {"metrics": table, "summary": summarise(table, 0.95)}
    figure = draw("metrics", tables)
    shown = [ax.axison for ax in figure.axes]
    assert shown == [True, True, True, False]
    assert [t.get_text() for t in figure.axes[3].texts] == ["no runs"]
    assert set(INITS) < set(legend_names(figure))


def test_the_gains_figure_marks_each_difference_with_its_interval():
    tables = all_tables()
    (ax,) = draw("gains", tables).axes
    expected = target_test(tables["gains"]).sort_values("model", kind="stable")
    bars = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    assert len(bars) == len(expected) == 6
    for row, (bar, (_, gain)) in enumerate(zip(bars, expected.iterrows(), strict=True)):
        assert bar[0].get_xdata() == pytest.approx([gain["mean"]])
        assert list(bar[0].get_ydata()) == [row]
        np.testing.assert_allclose(interval_ends(bar, 0), [[gain["low"], gain["high"]]])
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == [
        f"{g['model']}, full: {g['init']} − {g['reference']}" for _, g in expected.iterrows()
    ]
    assert ax.get_title() == "chest"
    assert ax.get_xlabel().startswith("difference in test AUROC")
    assert says_that_all_have(3, ax)


def says_that_all_have(pairs: int, ax: Axes) -> bool:
    """Whether the axis gives one number of pairs, neither a range nor a lower bound."""
    return re.search(rf"[,(]\s*{pairs} seed pairs", ax.get_xlabel()) is not None


def test_the_gains_figure_has_a_line_at_no_difference_and_starts_at_the_top():
    (ax,) = draw("gains", all_tables()).axes
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)
    bottom, top = ax.get_ylim()
    assert bottom == 5.5
    assert top == -0.5


def test_the_gains_figure_has_a_panel_a_data_set():
    tables = all_tables(datasets=("chest", "fundus"), models=("cbr",))
    figure = draw("gains", tables)
    assert [ax.get_title() for ax in figure.axes] == ["chest", "fundus"]
    for ax in figure.axes:
        expected = target_test(tables["gains"], dataset=ax.get_title())["mean"]
        drawn = [c[0].get_xdata()[0] for c in ax.containers]
        assert sorted(drawn) == pytest.approx(sorted(expected))


def test_the_gains_figure_names_comparisons_once_and_marks_those_that_a_data_set_lacks():
    gains = all_tables(datasets=("chest", "fundus"))["gains"]
    lost = (gains["dataset"] == "fundus") & (gains["model"] == "cbr") & (gains["init"] == "src")
    figure = draw("gains", {"gains": gains[~lost]})
    chest, fundus = figure.axes
    names = [tick.get_text() for tick in chest.get_yticklabels()]
    assert len(names) == len(chest.containers) == 6
    said = {text.get_text(): [] for text in fundus.texts}
    for text in fundus.texts:
        said[text.get_text()].append(names[text.get_position()[1]])
    assert list(said) == ["no runs"]
    assert sorted(said["no runs"]) == ["cbr, full: src − random", "cbr, full: src − src-stats"]
    for bar in fundus.containers:
        model, rest = names[int(bar[0].get_ydata()[0])].split(", full: ")
        init, reference = rest.split(" − ")
        row = target_test(gains, dataset="fundus", model=model, init=init, reference=reference)
        assert bar[0].get_xdata() == pytest.approx(row["mean"].to_numpy())
    assert legend_names(figure) == ["bars: paired t interval over seeds"]


def test_the_gains_figure_says_which_comparison_has_fewer_pairs():
    table = metric_rows(seeds=5)
    table = table[(table["model"] == "cbr") | (table["seed"] < 3)]
    (ax,) = draw("gains", {"gains": compare(table, study())}).axes
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    fewer = {names[text.get_position()[1]] for text in ax.texts if text.get_text() == "n = 3"}
    assert fewer == {name for name in names if name.startswith("vit")}
    assert "3 to 5 seed pairs" in ax.get_xlabel()


def lost_runs(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[~np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def test_the_metrics_figure_marks_cells_without_runs_and_those_with_fewer():
    table = lost_runs(metric_rows(), model="vit", init="src")
    table = lost_runs(table, model="cbr", init="src-stats", seed=1)
    figure = draw("metrics", {"metrics": table, "summary": summarise(table, 0.95)})
    (ax,) = figure.axes
    found = {text.get_text(): text.get_position() for text in ax.texts}
    assert set(found) == {MISSING, "n = 2"}
    for text, place, init in ((MISSING, 1, "src"), ("n = 2", 0, "src-stats")):
        shift = dict(zip(INITS, offsets(3, metrics.SPREAD), strict=True))[init]
        assert found[text][0] == pytest.approx(place + shift)
    assert {"no runs", "n: fewer runs than others"} < set(legend_names(figure))
    assert np.isnan(series(ax)["src"][0].get_ydata()).tolist() == [False, True]


def test_long_names_of_networks_are_aslant_and_stand_apart():
    models = tuple(f"a_network_with_a_long_name_{i}" for i in range(8))
    (ax,) = draw("metrics", all_tables(models=models)).axes
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {40}
    (ax,) = draw("metrics", all_tables()).axes
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {0}


def test_many_data_sets_go_on_below_on_a_page():
    figure = draw("metrics", all_tables(datasets=tuple("abcde"), models=("cbr",)))
    assert figure.get_figwidth() <= 7.2
    assert [ax.get_title().split(",")[0] for ax in figure.axes if ax.axison] == list("abcde")


def test_the_gains_figure_does_not_claim_one_number_of_pairs_where_it_differs():
    table = metric_rows(seeds=5)
    table = table[(table["model"] == "cbr") | (table["seed"] < 3)]
    (ax,) = draw("gains", {"gains": compare(table, study())}).axes
    assert not says_that_all_have(3, ax)


def test_the_validation_curves_are_the_means_in_the_band_of_all_runs():
    curves = curve_rows()
    (ax,) = draw("validation_curves", {"curves": curves}).axes
    lines = {line.get_label(): line for line in ax.lines if len(line.get_xdata())}
    assert list(lines) == list(INITS)
    for (init, line), band in zip(lines.items(), ax.collections, strict=True):
        runs = curves[curves["init"] == init].pivot(
            index="step", columns="seed", values="validation_metric"
        )
        assert list(line.get_xdata()) == [0, 5, 10]
        np.testing.assert_allclose(line.get_ydata(), runs.to_numpy().mean(axis=1))
        for step in (0, 5, 10):
            corners = band.get_paths()[0].vertices
            ends = corners[corners[:, 0] == step][:, 1]
            assert ends.min() == pytest.approx(runs.loc[step].min())
            assert ends.max() == pytest.approx(runs.loc[step].max())
    assert ax.get_xlabel() == "optimiser step"
    assert ax.get_ylabel() == "validation quadratic κ\n(3 runs)"
    assert ax.get_title() == "chest, cbr, full"


def test_validation_curves_have_a_panel_a_cell_and_a_legend_of_all_inits():
    figure = draw("validation_curves", {"curves": curve_rows(("a", "b"), subsets=("full", "n80"))})
    assert [ax.get_title() for ax in figure.axes] == [
        "a, cbr, full", "a, cbr, n80", "b, cbr, full", "b, cbr, n80"
    ]  # fmt: skip
    assert set(legend_names(figure)) == {*INITS, BAND}


def test_the_legend_of_validation_curves_names_an_init_that_the_first_panel_lacks():
    curves = pd.concat([curve_rows(("a",), inits=("random",)), curve_rows(("b",))])
    figure = draw("validation_curves", {"curves": curves})
    assert sorted(legend_names(figure)) == sorted([*INITS, BAND])


def test_the_panels_of_a_row_of_validation_curves_have_one_scale():
    curves = curve_rows(subsets=("full", "n80", "n40"))
    shift = curves["subset"].map({"full": 0.0, "n80": 0.5, "n40": 1.0})
    curves["validation_metric"] = curves["validation_metric"] + shift
    figure = draw("validation_curves", {"curves": curves})
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    low, high = figure.axes[0].get_ylim()
    assert low < curves["validation_metric"].min()
    assert high > curves["validation_metric"].max()


DEPTHS = ("random", "src-stats", "src-upto1-stats", "src-upto3-stats", "src")


def depth_gains(**changes) -> pd.DataFrame:
    return compare(metric_rows(inits=DEPTHS, **changes), study())


def test_the_depth_figure_shows_each_gain_over_the_statistics_at_its_number_of_units():
    table = depth_gains(models=("cbr",))
    axes = wtst_gains.draw({"gains": table}).axes[0]
    (line,) = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    x, y = line.lines[0].get_data()
    over_stats = target_test(table)[lambda t: t["reference"] == "src-stats"].set_index("init")
    expected = over_stats.loc[["src-upto1-stats", "src-upto3-stats", "src"]]
    assert x.tolist() == pytest.approx([0, 1, 3, 4], abs=0.2)
    assert y.tolist() == pytest.approx([0, *expected["mean"]])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["none", "1", "3", "all"]
    ends = np.array([segment[:, 1] for segment in line.lines[2][0].get_segments()])
    assert ends[1:] == pytest.approx(expected[["low", "high"]].to_numpy())


def test_the_depth_figure_has_a_panel_a_network_and_data_set_and_a_line_a_subset():
    table = depth_gains(datasets=("chest", "fundus"), subsets=("full", "n80"))
    figure = wtst_gains.draw({"gains": table})
    assert [ax.get_title() for ax in figure.axes] == [
        "chest, cbr", "fundus, cbr", "chest, vit", "fundus, vit"
    ]  # fmt: skip
    assert set(legend_names(figure)) == {
        "full: src over src-stats", "n80: src over src-stats", "bars: paired t interval over seeds"
    }  # fmt: skip
    assert {ax.get_ylabel() for ax in figure.axes} == {"difference in test\nAUROC (3 pairs)"}


def test_the_depth_figure_leaves_out_networks_without_partial_transfers():
    partial = metric_rows(inits=DEPTHS, models=("cbr",))
    whole = metric_rows(inits=("random", "src-stats", "src"), models=("vit",))
    figure = wtst_gains.draw({"gains": compare(pd.concat([partial, whole]), study())})
    assert [ax.get_title() for ax in figure.axes if ax.axison] == ["chest, cbr"]


def test_a_study_without_partial_transfers_says_so_instead_of_a_depth_figure():
    figure = wtst_gains.draw({"gains": compare(metric_rows(), study())})
    assert "no transferred depth" in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize("name", ["metrics", "gains", "validation_curves"])
def test_partial_transfers_are_left_to_the_depth_figure(name):
    tables = all_tables(inits=DEPTHS)
    kept = all_tables(inits=DEPTHS)
    for key, table in kept.items():
        kept[key] = table[~table["init"].str.contains("upto")]
    shown, expected = draw(name, tables), draw(name, kept)
    assert len(shown.axes) == len(expected.axes)
    for ax, other in zip(shown.axes, expected.axes, strict=True):
        assert len(ax.lines) == len(other.lines)
        assert [t.get_text() for t in ax.get_yticklabels()] == [
            t.get_text() for t in other.get_yticklabels()
        ]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_a_single_init_are_drawn(name):
    figure = draw(name, all_tables(inits=("random",)))
    assert figure.axes


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_a_single_seed_are_drawn_without_intervals(name):
    tables = all_tables(seeds=1)
    assert tables["summary"]["low"].isna().all()
    figure = draw(name, tables)
    for ax in figure.axes:
        for bar in ax.containers:
            ends = interval_ends(bar, 0 if name == "gains" else 1)
            np.testing.assert_allclose(ends[:, 0], ends[:, 1])
    values = [v for ax in figure.axes for line in ax.lines for v in line.get_ydata()]
    assert np.isfinite(np.array(values, dtype=float)).all()


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "wtst_gains"])
def test_figures_of_30_series_are_drawn_with_all_their_names(name):
    inits = ("random", *(f"source{i:02d}{kind}" for i in range(15) for kind in ("", "-stats")))
    tables = all_tables(models=("cbr",), inits=inits[:30], seeds=2)
    figure = draw(name, tables)
    if name == "gains":
        assert len(figure.axes[0].get_yticklabels()) == len(target_test(tables["gains"])) > 40
    else:
        assert [text for text in legend_names(figure) if text in inits] == list(inits[:30])


@pytest.mark.parametrize("suffix", [".pdf", ".png", ".svg"])
def test_a_figure_saved_twice_has_the_same_bytes(tmp_path, suffix):
    paths = [tmp_path / "new" / f"first{suffix}", tmp_path / f"second{suffix}"]
    tables = all_tables(models=("cbr",))
    for path in paths:
        save_figure(metrics.draw(tables), [path])
    first, second = (path.read_bytes() for path in paths)
    assert len(first) > 1000
    assert first == second


def test_one_call_writes_all_formats(tmp_path):
    paths = [tmp_path / "figure.pdf", tmp_path / "figure.png"]
    save_figure(metrics.draw(all_tables(models=("cbr",))), paths)
    starts = [path.read_bytes()[:4] for path in paths]
    assert starts == [b"%PDF", b"\x89PNG"]


def test_drawing_changes_no_table():
    tables = all_tables()
    before = {name: table.copy() for name, table in tables.items()}
    for name in FIGURES:
        assert draw(name, tables).axes
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name])


def test_every_figure_of_the_settings_has_a_module_and_the_other_way_round():
    modules = {module.name for module in pkgutil.iter_modules(medtransfer.figures.__path__)}
    shared = {"typeset", "rows", "style", "by_depth", "cells", "gain_points"}
    assert modules - shared == set(ALL_FIGURES)


@pytest.mark.parametrize("module", [metrics, gains, validation_curves])
def test_a_figure_module_only_turns_tables_into_axes(module):
    source = inspect.getsource(module)
    assert "def draw(tables: dict[str, pd.DataFrame]) -> Figure" in source
    assert "read_" not in source
    assert "savefig" not in source


def test_the_source_decides_colour_and_marker_and_the_kind_the_filling_and_the_line():
    styles = init_styles(["random", "a", "a-stats", "b"])
    assert styles["a"].colour == styles["a-stats"].colour
    assert styles["a"].marker == styles["a-stats"].marker
    assert len({styles[name].colour for name in ("random", "a", "b")}) == 3
    # in print without colours
    assert len({styles[name].marker for name in ("random", "a", "b")}) == 3
    assert [styles[name].filled for name in styles] == [True, True, False, True]
    assert styles["a"].line == styles["b"].line != styles["a-stats"].line


def test_forty_sources_and_the_ways_to_draw_statistics_all_look_different():
    sources = init_styles([f"s{i}" for i in range(40)])
    assert len({(style.colour, style.marker) for style in sources.values()}) == 40
    samplers = ["a", "a-stats", "a-stats_permutation", "a-stats_bootstrap", "a-stats_as_released"]
    assert len({(style.marker, style.filled) for style in init_styles(samplers).values()}) == 5


def test_an_init_has_one_colour_in_all_orders_of_the_table():
    first, second = init_styles(["random", "a", "b"]), init_styles(["b", "random", "a"])
    assert first == second
    assert list(second) == ["b", "random", "a"]


def test_filled_and_open_markers_reach_the_axes():
    (ax,) = draw("metrics", all_tables()).axes
    faces = {init: to_hex(bar[0].get_markerfacecolor()) for init, bar in series(ax).items()}
    assert faces["src-stats"] == "#ffffff"
    assert faces["src"] == init_styles(INITS)["src"].colour.lower()


def test_series_are_spread_evenly_around_their_place():
    assert offsets(1, 0.9).tolist() == [0]
    np.testing.assert_allclose(offsets(3, 0.9), [-0.3, 0, 0.3])
    assert offsets(4, 0.8).sum() == pytest.approx(0)


def test_bars_have_the_lengths_of_their_interval_and_none_where_there_is_none():
    mean, low, high = np.array([1.0, 2.0]), np.array([0.5, math.nan]), np.array([1.2, math.nan])
    np.testing.assert_allclose(interval_bars(mean, low, high), [[0.5, 0], [0.2, 0]])


def test_recipes_are_named_with_the_network_only_where_there_are_several():
    one = pd.DataFrame({"recipe": ["r", "r"], "model": ["a", "b"]})
    two = pd.DataFrame({"recipe": ["r", "s"], "model": ["a", "a"]})
    assert distinguish_recipes({"table": one})["table"]["model"].tolist() == ["a", "b"]
    assert distinguish_recipes({"table": two})["table"]["model"].tolist() == ["a, r", "a, s"]
    assert two["model"].tolist() == ["a", "a"]


def test_recipes_of_pairs_are_named_with_both_networks():
    pairs = pd.DataFrame(
        {"recipe_a": ["r", "r"], "recipe_b": ["r", "s"], "model_a": ["a", "a"], "model_b": ["a", "b"]}
    )
    named = distinguish_recipes({"table": pairs})["table"]
    assert named["model_a"].tolist() == ["a, r", "a, r"]
    assert named["model_b"].tolist() == ["a, r", "b, s"]
    same = pairs.assign(recipe_b="r")
    assert distinguish_recipes({"table": same})["table"]["model_b"].tolist() == ["a", "b"]


def test_tables_without_recipes_or_with_missing_ones_keep_their_names():
    without = pd.DataFrame({"model": ["a", "b"]})
    missing = pd.DataFrame({"model": ["a", "b"], "recipe": ["r", None]})
    assert distinguish_recipes({"table": without})["table"]["model"].tolist() == ["a", "b"]
    assert distinguish_recipes({"table": missing})["table"]["model"].tolist() == ["a", "b"]
    assert distinguish_recipes({"table": pd.DataFrame()})["table"].empty


def test_subsets_are_named_with_the_network_only_where_there_are_several():
    table = pd.DataFrame({"subset": ["full", "n80"], "model": ["a", "a"], "dataset": ["d", "d"]})
    assert distinguish_subsets(table)["model"].tolist() == ["a, full", "a, n80"]
    assert distinguish_subsets(table[:1])["model"].tolist() == ["a"]
    # of two data sets with one subset each, the data set says which
    apart = table.assign(dataset=["first", "second"])
    assert distinguish_subsets(apart)["model"].tolist() == ["a", "a"]


def test_partial_transfers_are_left_out_on_either_side_of_a_pair():
    pairs = pd.DataFrame(
        {"init_a": ["random", "s-upto1-stats", "s"], "init_b": ["s", "random", "s-upto2-stats"]}
    )
    assert whole_starts(pairs).index.tolist() == [0]


def test_a_note_breaks_its_line_and_stays_inside_its_figure():
    figure = note("nothing to draw: " + "a long reason, " * 8)
    FigureCanvasAgg(figure).draw()
    (text,) = figure.axes[0].texts
    box = text.get_window_extent()
    assert figure.bbox.x0 < box.x0 < box.x1 < figure.bbox.x1
    assert figure.bbox.y0 < box.y0 < box.y1 < figure.bbox.y1


def test_a_legend_of_long_entries_stays_inside_its_figure():
    figure = draw("wtst_gains", {"gains": depth_gains(models=("cbr",), subsets=("full", "n80"))})
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_the_legend_of_a_narrow_figure_stays_inside_it():
    figure = draw("metrics", all_tables(models=("cbr",), inits=("random", "a", "b", "c", "d-stats")))
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
