"""Figures of representations: what is drawn is what the tables hold."""

from __future__ import annotations

import importlib
import inspect
import itertools
import warnings
from collections.abc import Iterator
from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from representation_tables import PAIR_KINDS, Study, all_tables, top_layers, units

from medtransfer.figures import by_depth, domain_distance, filters, start_end, transferability
from medtransfer.figures.gain_points import draw_points, point_styles
from medtransfer.figures.style import apply_style, init_styles, legend_below, panels

FIGURES = [
    "cka", "cca", "top_layers", "start_end", "weight_distance", "knn", "reinitialisation", "filters",
    "agreement", "domain_distance", "transferability",
]  # fmt: skip
SMALL = Study(seeds=3)
ONE = Study(datasets=("chest",), models=("cbr",))
INITS = SMALL.inits
# with rows that no figure shows
PARTIAL = Study(("chest",), ("cbr",), inits=("random", "fractal", "fractal-upto2-stats"))
# of each table the values that are seen
DRAWN_COLUMNS = ("start", "similarity", "mean", "cosine", "gain", "value")
# one measure is drawn, and it is the title
UNNAMED = ("correlations",)


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


@cache
def tables(study: Study = SMALL) -> dict[str, dict[str, pd.DataFrame]]:
    """Shared between tests, which change none of them."""
    return all_tables(study)


def draw(name: str, given: dict[str, pd.DataFrame]) -> Figure:
    """As the script does, down to pixels; a layout that fails or a mean of nothing is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = importlib.import_module(f"medtransfer.figures.{name}").draw(given)
        FigureCanvasAgg(figure).draw()
        return figure


def pixels(name: str, given: dict[str, pd.DataFrame]) -> np.ndarray:
    """The picture, height x width x 4."""
    canvas = FigureCanvasAgg(importlib.import_module(f"medtransfer.figures.{name}").draw(given))
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def panel(figure: Figure, title: str) -> Axes:
    """The one shown panel with this title, line breaks aside."""
    (found,) = [ax for ax in figure.axes if ax.axison and ax.get_title().replace("\n", " ") == title]
    return found


def labelled(ax: Axes) -> dict[str, Line2D]:
    """The lines with a name that have data: those of inits."""
    lines = {line.get_label(): line for line in ax.lines if len(line.get_xdata())}
    return {label: line for label, line in lines.items() if not label.startswith("_")}


def dots(ax: Axes) -> list[float]:
    return sorted(v for line in ax.lines if line.get_marker() == "." for v in line.get_ydata())


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def said(figure: Figure) -> str:
    """What a figure without panels says."""
    (ax,) = figure.axes
    assert not ax.axison
    return " ".join(text.get_text() for text in ax.texts).replace("\n", " ")


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def means(rows: pd.DataFrame, names: list[str], column: str = "unit") -> list[float]:
    return [rows[rows[column] == name]["value"].mean() for name in names]


def drawn_numbers(figure: Figure) -> np.ndarray:
    lines = [np.asarray(line.get_xydata(), dtype=float) for ax in figure.axes for line in ax.lines]
    return np.concatenate([points for points in lines if len(points)])


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "study",
    [
        pytest.param(Study(seeds=1), marks=pytest.mark.slow),
        Study(datasets=("chest",), models=("vit",), inits=("fractal",), seeds=1),
        pytest.param(
            Study(datasets=("chest",), models=("cbr",), subsets=("full", "n80"), seeds=1),
            marks=pytest.mark.slow,
        ),
        Study(
            datasets=("chest",), models=("resnet",), inits=("random", "fractal", "inet-stats", "inet")
        ),
        Study(datasets=("chest",), models=("cbr",), inits=("random", "gabor"), seeds=1),
    ],
    ids=["one seed", "one run", "subsets", "large", "no source"],
)
def test_studies_of_all_shapes_are_drawn_inside_their_pages(name, study):
    figure = draw(name, tables(study)[name])
    page = figure.bbox
    box = figure.get_tightbbox()
    assert box.x0 > -0.05
    assert box.y0 > -0.05
    assert box.x1 * figure.dpi < page.x1 + 0.05 * figure.dpi
    assert box.y1 * figure.dpi < page.y1 + 0.05 * figure.dpi


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_without_anything_to_show_says_so(name):
    full = tables(ONE)[name]
    for empty in (
        {key: pd.DataFrame() for key in full},
        {key: table[:0] for key, table in full.items()},
    ):
        assert said(draw(name, empty)).startswith("no")


@pytest.mark.parametrize("name", ["cka", "cca", "weight_distance", "knn", "reinitialisation"])
def test_values_of_which_none_is_known_are_not_selected_and_the_figure_says_so(name):
    given = {name: tables(ONE)[name][name].assign(value=np.nan)}
    (selected,) = importlib.import_module(f"medtransfer.figures.{name}").select(given).values()
    assert selected.empty
    assert said(draw(name, given)).startswith("no")


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_selected_is_what_is_drawn_and_no_row_more(name):
    raw = {key: table.reset_index(drop=True) for key, table in tables(PARTIAL)[name].items()}
    module = importlib.import_module(f"medtransfer.figures.{name}")
    selected = module.select(raw)
    assert list(selected) == list(raw)
    whole = pixels(name, raw)
    needed = {key: raw[key].loc[sorted(rows.index)] for key, rows in selected.items()}
    assert sum(map(len, needed.values())) < sum(map(len, raw.values()))
    np.testing.assert_array_equal(pixels(name, needed), whole)
    generator = np.random.default_rng(0)
    for key, rows in selected.items():
        column = next(column for column in DRAWN_COLUMNS if column in rows)
        for index in generator.choice(rows.index, min(2, len(rows)), replace=False):
            changed = raw[key].copy()
            changed[column] = changed[column].astype(float)
            changed.loc[index, column] = 0.3 * changed.loc[index, column] + 0.09
            assert not same(pixels(name, {**raw, key: changed}), whole), (key, rows.loc[index])


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_selected_has_the_values_of_the_table_and_names_what_they_are_of(name):
    raw = {key: table.reset_index(drop=True) for key, table in tables(PARTIAL)[name].items()}
    module = importlib.import_module(f"medtransfer.figures.{name}")
    for key, rows in module.select(raw).items():
        assert rows.index.is_unique
        assert {"dataset", "model", "source", "score"} & {n.removesuffix("_a") for n in rows}
        for column in set(rows) & set(raw[key]) - {"model"}:
            pd.testing.assert_series_equal(rows[column], raw[key].loc[rows.index, column])
        for column in ("split", "subset", "seed", "recipe", "order", "measure"):
            sides = {n.removesuffix("_a") for n in raw[key]}
            assert (
                column not in sides or key in UNNAMED or column in {n.removesuffix("_a") for n in rows}
            )


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_changes_no_table(name):
    before = {key: table.copy() for key, table in tables(ONE)[name].items()}
    draw(name, tables(ONE)[name])
    for key, table in tables(ONE)[name].items():
        pd.testing.assert_frame_equal(table, before[key])


@pytest.mark.parametrize("name", FIGURES)
def test_a_cell_without_one_of_the_inits_is_drawn(name):
    def drop(table: pd.DataFrame) -> pd.DataFrame:
        for side in ("init", "init_a", "init_b"):
            if side in table:
                table = table[(table["dataset"] != "fundus") | (table[side] != "fractal")]
        return table

    given = tables(Study(models=("cbr",), seeds=1))[name]
    figure = draw(name, {key: drop(table) for key, table in given.items()})
    assert any(ax.axison for ax in figure.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_module_only_turns_tables_into_axes(name):
    source = inspect.getsource(importlib.import_module(f"medtransfer.figures.{name}"))
    assert "def draw(tables: dict[str, pd.DataFrame]) -> Figure" in source
    assert "read_" not in source
    assert "savefig" not in source


@pytest.mark.parametrize(
    "name",
    ["cka", "cca", "weight_distance", "knn", "reinitialisation", "filters", "agreement"],
)
def test_partial_transfers_are_left_to_the_depth_figure(name):
    inits = ("random", "fractal")
    partial = tables(
        Study(datasets=("chest",), models=("cbr",), inits=(*inits, "fractal-upto2-stats"), seeds=2)
    )
    figure = draw(name, partial[name])
    texts = [t.get_text() for t in figure.findobj(matplotlib.text.Text)]
    assert any("fractal" in text for text in texts)
    assert not any("upto" in text for text in texts)


# by depth


@pytest.mark.parametrize(
    ("name", "column", "chosen", "title"),
    [
        ("weight_distance", "unit", {"measure": "relative"}, "chest, cbr"),
        ("reinitialisation", "unit", {"kind": "start"}, "chest, vit"),
        ("knn", "point", {"moment": "end", "pooling": "cls"}, "chest, vit, class token"),
        ("cca", "point", {"measure": "svcca", "pair": "fine_tuning"}, "chest, vit"),
    ],
)
def test_lines_are_the_means_over_runs_by_depth(name, column, chosen, title):
    figure, table = draw(name, tables()[name]), tables()[name][name]
    ax = next(ax for ax in figure.axes if ax.get_title().split("\n")[0] == title)
    model = "vit" if "vit" in title else "cbr"
    side = "_a" if name == "cca" else ""
    lines = labelled(ax)
    assert set(lines) == set(INITS)
    for init, style in init_styles(INITS).items():
        rows = where(table, dataset="chest", **{f"model{side}": model, f"init{side}": init}, **chosen)
        names = [n for n in units(model) if n in set(rows[column])]
        names += ["head"] * ("head" in set(rows[column]))
        assert len(names) >= 5
        np.testing.assert_allclose(lines[init].get_ydata(), means(rows, names, column))
        np.testing.assert_allclose(lines[init].get_xdata(), np.arange(len(names)), atol=0.2)
        assert lines[init].get_color() == style.colour
        wanted = rows[rows[column].isin(names)]["value"]
        assert set(np.round(wanted, 12)) <= set(np.round(dots(ax), 12))
    assert len({line.get_xdata()[0] for line in lines.values()}) == len(INITS)


def test_bands_reach_from_the_lowest_to_the_highest_run():
    figure = draw("weight_distance", tables(ONE)["weight_distance"])
    table = where(tables(ONE)["weight_distance"]["weight_distance"], measure="relative")
    bands = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    for band, (init, style) in zip(bands, init_styles(INITS).items(), strict=True):
        assert to_hex(band.get_facecolor()[0]) == style.colour.lower()
        corners = pd.DataFrame(band.get_paths()[0].vertices, columns=["x", "y"]).groupby("x")["y"]
        rows = where(table, init=init).groupby("order")["value"]
        np.testing.assert_allclose(corners.min(), rows.min())
        np.testing.assert_allclose(corners.max(), rows.max())
    assert "lowest to highest run" in legend_names(figure)
    alone = draw("weight_distance", {"weight_distance": table[table["seed"] == 0]})
    assert "lowest to highest run" not in legend_names(alone)


@pytest.mark.parametrize(
    ("name", "chosen", "missing"),
    [
        ("weight_distance", {"init": "fractal", "unit": "layers.2"}, 2),
        ("reinitialisation", {"init": "fractal", "unit": "layers.2"}, 2),
        ("knn", {"init": "fractal", "point": "layers.2"}, 2),
    ],
)
def test_nothing_is_drawn_for_what_is_not_known(name, chosen, missing):
    table = tables(ONE)[name][name].copy()
    unknown = np.logical_and.reduce([table[key] == value for key, value in chosen.items()])
    before = len(dots(draw(name, {name: table}).axes[0]))
    table.loc[unknown, ["value", *(["drop"] if "drop" in table else [])]] = np.nan
    figure = draw(name, {name: table})
    y = labelled(figure.axes[0])["fractal"].get_ydata()
    assert np.flatnonzero(np.isnan(y)).tolist() == [missing]
    shown = dots(figure.axes[0])
    assert np.isfinite(shown).all()
    series = 1 if name == "weight_distance" else 2
    assert before - len(shown) == series * ONE.seeds


@pytest.mark.parametrize("name", ["weight_distance", "reinitialisation", "knn"])
def test_a_run_that_is_not_known_leaves_the_mean_to_the_others(name):
    table = tables(ONE)[name][name].copy()
    first = table.index[(table["init"] == "random")][0]
    rows = table[(table["init"] == "random")]
    key = "point" if name == "knn" else "unit"
    same = [c for c in (key, "measure", "kind", "moment", "pooling") if c in table]
    others = where(rows, **{c: table.loc[first, c] for c in same}).drop(index=first)
    table.loc[first, "value"] = np.nan
    drawn = [y for line in draw(name, {name: table}).axes[0].lines for y in line.get_ydata()]
    assert len(others) == 1 or name == "weight_distance"
    if table.loc[first].get("measure", "relative") == "relative":
        assert np.isclose(drawn, others["value"].iloc[0]).sum() >= 2


def test_every_unit_has_a_tick_and_some_their_index_and_name():
    names = [f"stage{i}.a_very_long_name_{i}" for i in range(18)]
    ax = panels(1, 1, (3.4, 2.2))[1][0, 0]
    by_depth.label_units(ax, names)
    texts = [t.get_text() for t in ax.get_xticklabels()]
    assert len(texts) == by_depth.NAMED_UNITS
    places = [int(text.split()[0]) for text in texts]
    assert places == list(ax.get_xticks())
    assert places[0] == 0
    assert places[-1] == 17
    for place, text in zip(places, texts, strict=True):
        end = text.split("…")[1]
        assert names[place].endswith(end)
        assert len(text.split()[1]) <= by_depth.NAME_LENGTH
    assert set(ax.xaxis.get_minorticklocs()) | set(places) == set(range(18))


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(1, 8, [0]), (3, 8, [0, 1, 2]), (5, 3, [0, 2, 4]), (18, 4, [0, 6, 11, 17])],
)
def test_named_units_are_evenly_spread(count, most, expected):
    assert by_depth.named_units(count, most) == expected


def test_branches_of_blocks_are_known_by_their_blocks_name():
    names = ["stem", "blocks.0.attn", "blocks.0", "layer1.0", "layer1.1", "blocks.1.attn"]
    kept = by_depth.without_branches(pd.DataFrame({"point": names}))["point"]
    assert kept.tolist() == ["stem", "blocks.0", "layer1.0", "layer1.1", "blocks.1.attn"]


def test_units_stand_in_the_order_of_depth_whatever_the_order_of_rows():
    table = tables(ONE)["weight_distance"]["weight_distance"].sample(frac=1, random_state=0)
    ax = draw("weight_distance", {"weight_distance": table}).axes[0]
    names = [text.get_text().split()[1] for text in ax.get_xticklabels()]
    assert names == [*units("cbr"), "head"]


# weight distance


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0.1, 0.5, 1.0], "linear"), ([0.01, 0.5, 1.0], "log"), ([0.0, 0.01, 1.0], "symlog"),
     ([0.0, 0.5, 1.0], "linear"), ([0.0, 0.0, np.nan], "linear")],
)  # fmt: skip
def test_distances_over_decades_have_a_logarithmic_axis_that_keeps_zeros(values, scale):
    table = tables(ONE)["weight_distance"]["weight_distance"]
    table = where(table, measure="relative", init="random", seed=0).iloc[:3].assign(value=values)
    ax = draw("weight_distance", {"weight_distance": table}).axes[0]
    assert ax.get_yscale() == scale
    known = [value for value in values if value == value]
    assert dots(ax) == pytest.approx(sorted(known))
    low, high = ax.get_ylim()
    assert low <= min(known)
    assert high >= max(known)


def test_weight_distances_have_a_panel_a_measure_and_leave_others_out():
    figure = draw("weight_distance", tables(ONE)["weight_distance"])
    assert len(figure.axes) == 2
    labels = [ax.get_ylabel().replace("\n", " ") for ax in figure.axes]
    assert "relative" in labels[0]
    assert "number of weights" in labels[1]


# knn


def test_knn_has_a_panel_for_each_pooling_of_networks_with_a_class_token():
    figure = draw("knn", tables()["knn"])
    titles = [ax.get_title().split("\n")[0] for ax in figure.axes]
    tokens = ["class token and patches", "class token", "mean of patches"]
    assert titles == [
        f"{d}, {m}"
        for m in ("cbr", *(f"vit, {token}" for token in tokens))
        for d in ("chest", "fundus")
    ]
    assert "AUROC" in figure.axes[0].get_ylabel()
    assert "quadratic κ" in figure.axes[1].get_ylabel()


def test_knn_before_fine_tuning_is_dashed_and_after_solid():
    figure = draw("knn", tables(ONE)["knn"])
    (ax,) = figure.axes
    table = tables(ONE)["knn"]["knn"]
    drawn = [line for line in ax.lines if len(line.get_xdata()) == 5 and line.get_marker() != "."]
    for init, style in init_styles(INITS).items():
        own = [line for line in drawn if line.get_color() == style.colour]
        own = [line for line in own if line.get_marker() == style.marker]
        looks = {}
        for line in own:
            for moment in ("start", "end"):
                expected = means(where(table, init=init, moment=moment), units("cbr"), "point")
                if np.allclose(line.get_ydata(), expected):
                    looks[moment] = line.get_linestyle()
        assert looks == {"start": "--", "end": "-"}
    names = [*INITS, "after fine-tuning", "before", "a run", "lowest to highest run"]
    assert legend_names(figure) == names


# re-initialisation


def test_the_intact_network_is_a_level_line_at_the_mean_of_value_and_drop():
    (ax,) = draw("reinitialisation", tables(ONE)["reinitialisation"]).axes
    table = tables(ONE)["reinitialisation"]["reinitialisation"]
    levels = [line for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    assert len(levels) == len(INITS)
    for line, init in zip(levels, INITS, strict=True):
        rows = where(table, init=init)
        intact = rows.assign(intact=rows["value"] + rows["drop"]).groupby("seed")["intact"].first()
        assert line.get_ydata() == pytest.approx([intact.mean()] * 2)
        assert line.get_linestyle() == ":"


def test_fresh_starts_are_named_only_where_there_are_some():
    table = tables(ONE)["reinitialisation"]["reinitialisation"]
    both = draw("reinitialisation", {"reinitialisation": table})
    alone = draw("reinitialisation", {"reinitialisation": where(table, kind="start")})
    assert "to a fresh random start" in legend_names(both)
    assert "to a fresh random start" not in legend_names(alone)
    assert len(dots(alone.axes[0])) * 2 == len(dots(both.axes[0]))


# CCA


def measured(figure: Figure, label: str) -> Axes:
    """The one panel whose vertical axis is of this measure."""
    (found,) = [ax for ax in figure.axes if ax.get_ylabel().split(",")[0] == label]
    return found


def test_cca_shows_the_baseline_of_each_line_and_crosses_where_rows_are_few():
    figure = draw("cca", tables(ONE)["cca"])
    ax = measured(figure, "PWCCA")
    table = where(tables(ONE)["cca"]["cca"], measure="pwcca", pair="fine_tuning")
    baselines = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert len(baselines) == len(INITS)
    for line, init in zip(baselines, INITS, strict=True):
        rows = where(table, init_a=init)
        expected = means(rows.assign(value=rows["baseline"]), units("cbr"), "point")
        np.testing.assert_allclose(line.get_ydata(), expected)
    crosses = [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata())]
    for line, init in zip(crosses, INITS, strict=True):
        rows = where(table, init_a=init)
        np.testing.assert_allclose(line.get_ydata(), means(rows, units("cbr")[3:], "point"))
    reliable = measured(figure, "SVCCA")
    assert not [x for x in reliable.lines if x.get_marker() == "x" and len(x.get_xdata())]
    assert "too few rows for the channels" in legend_names(figure)


@pytest.mark.parametrize("name", ["cca", "top_layers", "start_end"])
def test_crosses_that_are_not_there_are_not_explained(name):
    given = tables(ONE)[name]
    said_of_crosses = [
        "too few rows for the channels"
        in legend_names(draw(name, {k: t.assign(reliable=reliable) for k, t in given.items()}))
        for reliable in (False, True)
    ]
    assert said_of_crosses == [True, False]


def test_measures_of_canonical_correlation_stand_side_by_side_with_how_many_runs_each_has():
    table = tables(Study(models=("cbr",)))["cca"]["cca"]
    dropped = (table["dataset"] == "fundus") & (table["init_a"] == "random") & (table["seed_a"] == 1)
    figure = draw("cca", {"cca": table[~dropped]})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["chest, cbr\n2 runs a start"] * 3 + ["fundus, cbr\n1 to 2 runs a start"] * 3
    labels = [ax.get_ylabel().split(",")[0] for ax in figure.axes]
    assert labels == ["SVCCA", "PWCCA", "CCA of 64 channels"] * 2


def test_the_top_layers_have_their_mean_deviation_and_baseline():
    figure = draw("top_layers", tables(ONE)["top_layers"])
    ax = panel(figure, "chest, cbr")
    table = tables(ONE)["top_layers"]["top_layers"]
    bars = {c.get_label(): c for c in ax.containers if isinstance(c, ErrorbarContainer)}
    names = {"SVCCA": "svcca", "PWCCA": "pwcca", "CCA of 64 channels": "sampled_channels"}
    assert list(bars) == list(names)
    baselines = {round(s[0, 1], 9) for s in level_segments(ax)}
    for label, measure in names.items():
        rows = where(table, measure=measure).set_index("pair").loc[list(PAIR_KINDS)]
        np.testing.assert_allclose(bars[label][0].get_ydata(), rows["mean"])
        ends = np.array([s[:, 1] for s in bars[label][2][0].get_segments()])
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * rows["sd"])
        np.testing.assert_allclose(bars[label][0].get_xdata(), [0, 1, 2], atol=0.4)
        assert baselines >= set(rows["baseline"].round(9))
    texts = [text.get_text().split() for text in ax.get_xticklabels()]
    assert texts == [[*pair.split("-"), "6", "pairs"] for pair in PAIR_KINDS]
    assert "bars: sd over pairs" in legend_names(figure)
    crosses = [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata())]
    doubtful = where(table, measure="pwcca")["mean"]
    assert [sorted(line.get_ydata()) for line in crosses] == [sorted(doubtful)]


def level_segments(ax: Axes) -> list[np.ndarray]:
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [s for c in lines for s in c.get_segments() if np.ptp(s[:, 1]) == 0]


def test_kinds_of_pairs_without_networks_are_left_empty():
    top = tables(ONE)["top_layers"]["top_layers"]
    alone = top[top["pair"] == "random-transfer"].assign(pairs=1, sd=np.nan)
    figure = draw("top_layers", {"top_layers": alone})
    ax = panel(figure, "chest, cbr")
    labels = [" ".join(text.get_text().split()[2:]) for text in ax.get_xticklabels()]
    assert labels == ["no pairs", "1 pair", "no pairs"]
    assert [len(c[0].get_ydata()) for c in ax.containers] == [1, 1, 1]
    assert [c[0].get_xdata()[0] for c in ax.containers] == pytest.approx([1, 1, 1], abs=0.4)
    assert not any("sd over" in name for name in legend_names(figure))


def test_cells_of_many_networks_stand_three_in_a_row():
    study = Study(models=tuple(f"cbr_{n}" for n in range(5)), datasets=("chest", "fundus"))
    figure = draw("top_layers", {"top_layers": top_layers(study)})
    drawn = [ax for ax in figure.axes if ax.axison]
    assert len(drawn) == 10
    places = [ax.get_subplotspec().get_topmost_subplotspec() for ax in drawn]
    assert {spec.get_gridspec().get_geometry() for spec in places} == {(4, 3)}
    assert figure.get_figwidth() == pytest.approx(7.2)
    assert drawn[0].get_title() == "chest, cbr_0"
    assert drawn[-1].get_title() == "fundus, cbr_4"


# start and end


def scattered(ax: Axes) -> list[tuple[float, float, float]]:
    """Start, end and depth of all marks."""
    return sorted(
        (x, y, c)
        for marks in ax.collections
        for (x, y), c in zip(marks.get_offsets(), marks.get_array(), strict=True)
    )


def test_a_mark_a_unit_and_pair_stands_at_its_start_and_its_end_in_the_colour_of_its_depth():
    figure = draw("start_end", tables(ONE)["start_end"])
    table = where(tables(ONE)["start_end"]["start_end"], measure="svcca")
    ax, bar = figure.axes
    assert scattered(ax) == sorted(zip(table["start"], table["end"], table["depth"], strict=True))
    assert {marks.get_clim() for marks in ax.collections} == {(0, 1)}
    assert list(ax.lines[0].get_xdata()) == list(ax.lines[0].get_ydata()) == [0, 1]
    assert bar.get_xlim() == (0, 1)
    assert "depth" in bar.get_xlabel()


def test_markers_tell_how_both_networks_started():
    study = Study(("chest",), ("cbr",), inits=("random", "fractal", "inet"))
    table = where(tables(study)["start_end"]["start_end"], measure="svcca")
    figure = draw("start_end", tables(study)["start_end"])
    for marks, (kind, rows) in zip(
        figure.axes[0].collections, table.groupby("starts", sort=False), strict=True
    ):
        (path,) = marks.get_paths()
        expected = MarkerStyle(start_end.STARTS[kind][1])
        np.testing.assert_allclose(
            path.vertices, expected.get_path().transformed(expected.get_transform()).vertices
        )
        assert len(marks.get_offsets()) == len(rows)
    names = ["two random starts", "random with a source", "two from sources"]
    assert sorted(legend_names(figure)[:3]) == sorted(names)


def test_colours_of_depth_are_in_order_without_colour_and_none_vanishes_on_white():
    grey = start_end.COLOURS(np.linspace(0, 1, 50))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 0).all()
    assert grey[-1] < 0.8


def test_a_pair_of_few_rows_has_a_cross():
    given = tables(ONE)["start_end"]
    table = given["start_end"].copy()
    first = table.index[table["measure"] == "svcca"][0]
    table.loc[first, "reliable"] = False
    ax = draw("start_end", {**given, "start_end": table}).axes[0]
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert crosses.get_xydata().tolist() == [table.loc[first, ["start", "end"]].tolist()]


def test_the_rank_correlations_of_the_drawn_measure_are_in_the_title():
    given = tables()["start_end"]
    figure = draw("start_end", given)
    cells = {ax.get_title().split("\n")[0]: ax for ax in figure.axes if ax.get_title()}
    assert list(cells) == ["chest, cbr", "chest, vit", "fundus, cbr", "fundus, vit"]
    for name, ax in cells.items():
        dataset, model = name.split(", ")
        rows = where(given["start_end_correlations"], dataset=dataset, model=model, measure="svcca")
        value = rows.set_index("scope")["value"].map("{:.2f}".format)
        title = ax.get_title().replace("−", "-").split("\n")[1:]
        assert title == [
            f"ρ {value['all']} (5 units, 6 pairs)",
            f"lower half {value['lower']}, upper {value['upper']}",
            f"within units {value['within']}",
        ]
    correlations = given["start_end_correlations"]
    unknown = draw("start_end", {**given, "start_end_correlations": correlations.assign(value=np.nan)})
    assert "within units none" in unknown.axes[0].get_title()
    for none in (correlations[:0], pd.DataFrame()):
        figure = draw("start_end", {**given, "start_end_correlations": none})
        assert figure.axes[0].get_title() == "chest, cbr\nρ not known"


# CKA


def maps(figure: Figure) -> dict[str, Axes]:
    return {f"{ax.get_title()} {ax.get_ylabel()} {ax.get_xlabel()}".replace("\n", " ").strip(): ax
            for ax in figure.axes if ax.images}  # fmt: skip


def test_cka_maps_show_the_means_over_runs_of_each_pair_of_points():
    found = maps(draw("cka", tables(ONE)["cka"]))
    table = tables(ONE)["cka"]["cka"]
    expected = {
        "random before, 2 runs": {"pair": "within", "init_a": "random", "moment_a": "start"},
        "fractal after, 2 runs": {"pair": "within", "init_a": "fractal", "moment_a": "end"},
        "fractal before with after, 2 runs before after": {"pair": "fine_tuning", "init_a": "fractal"},
        "after, 2 runs random fractal": {
            "pair": "inits", "init_a": "random", "init_b": "fractal", "moment_a": "end"
        },
    }  # fmt: skip
    assert len(found) == 3 * 3 + 3
    for title, chosen in expected.items():
        rows = where(table, **chosen)
        image = found[title].images[0]
        names = units("cbr")
        wanted = [
            [where(rows, point_a=up, point_b=right)["value"].mean() for right in names] for up in names
        ]
        np.testing.assert_allclose(image.get_array(), wanted)
        assert image.origin == "lower"
        assert not np.allclose(wanted, np.transpose(wanted)) or "with" not in title


def test_all_cka_maps_have_one_scale_of_colours_from_0_to_1():
    table = tables(ONE)["cka"]["cka"]
    figure = draw("cka", {"cka": table.assign(value=table["value"] / 2)})
    images = [ax.images[0] for ax in maps(figure).values()]
    assert {image.get_clim() for image in images} == {(0, 1)}
    assert len({image.get_cmap().name for image in images}) == 1
    bars = [ax for ax in figure.axes if ax.get_xlabel() == "debiased linear CKA"]
    assert len(bars) == 1
    assert bars[0].get_xlim() == pytest.approx((0, 1))


def test_points_of_transformers_stand_by_kind_and_in_the_order_of_depth():
    study = Study(datasets=("chest",), models=("vit",), inits=("fractal",), seeds=1)
    figure = draw("cka", tables(study)["cka"])
    table = where(tables(study)["cka"]["cka"], pair="fine_tuning")
    blocks = [f"blocks.{i}" for i in range(4)]
    names = ["patch_embed", *blocks, *(f"{b}.attn" for b in blocks), *(f"{b}.mlp" for b in blocks)]
    ax = maps(figure)["fractal before with after, 1 run before after"]
    wanted = table.pivot(index="point_a", columns="point_b", values="value").loc[names, names]
    np.testing.assert_allclose(ax.images[0].get_array(), wanted)
    first = maps(figure)["fractal before, 1 run"]
    assert [text.get_text() for text in first.get_yticklabels()] == ["units", "attention", "MLP"]
    np.testing.assert_allclose(ax.get_yticks(), [2, 6.5, 10.5])
    edges = sorted(line.get_ydata()[0] for line in ax.lines if list(line.get_xdata()) == [0, 1])
    assert edges == [4.5, 8.5]


def test_a_pair_of_points_that_is_not_known_has_no_colour():
    table = tables(ONE)["cka"]["cka"].copy()
    unknown = (table["pair"] == "fine_tuning") & (table["point_a"] == "stem")
    unknown &= (table["point_b"] == "layers.1") & (table["init_a"] == "random")
    table.loc[unknown, "value"] = np.nan
    found = maps(draw("cka", {"cka": table}))
    mask = found["random before with after, 2 runs before after"].images[0].get_array().mask
    assert np.argwhere(mask).tolist() == [[0, 1]]


def test_the_diagonal_has_intervals_of_runs_and_the_shuffled_baseline():
    figure = draw("cka", tables(ONE)["cka"])
    ax = panel(figure, "before with after: units")
    table = where(tables(ONE)["cka"]["cka"], pair="fine_tuning")
    table = table[table["point_a"] == table["point_b"]]
    baselines = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    intervals = [c for c in ax.collections if isinstance(c, LineCollection)]
    for line, chance, bars, (init, style) in zip(
        labelled(ax).values(), baselines, intervals, init_styles(INITS).items(), strict=True
    ):
        rows = where(table, init_a=init)
        np.testing.assert_allclose(line.get_ydata(), means(rows, units("cbr"), "point_a"))
        by_chance = means(rows.assign(value=rows["baseline"]), units("cbr"), "point_a")
        np.testing.assert_allclose(chance.get_ydata(), by_chance)
        ends = sorted(tuple(np.round(s[:, 1], 9)) for s in bars.get_segments())
        assert ends == sorted(zip(rows["low"].round(9), rows["high"].round(9), strict=True))
        assert to_hex(bars.get_color()[0]) == style.colour.lower()
    assert "images shuffled" in legend_names(figure)


def test_cka_of_the_zoo_and_between_seeds_is_left_to_the_table():
    table = tables(ONE)["cka"]["cka"]
    zoo = where(table, pair="inits").assign(pair="zoo", value=0.987)
    more = draw("cka", {"cka": pd.concat([table, zoo])})
    assert len(more.axes) == len(draw("cka", {"cka": table}).axes)
    assert all((np.asarray(ax.images[0].get_array()) != 0.987).all() for ax in maps(more).values())


# filters


def test_a_plate_holds_the_filters_side_by_side_around_mid_grey():
    kernels = np.zeros((5, 2, 3, 3))
    kernels[0, 0, 0] = [4, -4, 0]
    kernels[4, 1, 2] = 1
    image = filters.plate(kernels, np.array([4.0, 0, 0, 0, 2]))
    assert image.shape == (2 * 2 + 1, 4 * 3 + 3, 3)
    np.testing.assert_allclose(image[0, 0], [1, 0, 0.5])
    np.testing.assert_allclose(image[3 + 1, 2], [0.75] * 3)
    np.testing.assert_allclose(image[0, 4], [0.5] * 3)
    assert (image[2] == 1).all()
    assert (image[:, 3] == 1).all()
    assert (image[3:, 4:] == 1).all()


def test_filters_of_other_than_three_channels_are_grey_means():
    kernels = np.stack([np.full((1, 2, 2), 1.0), np.full((1, 2, 2), 0.0)], axis=-1)
    image = filters.plate(kernels, np.array([1.0]))
    np.testing.assert_allclose(image[:2, :2], 0.75)


def test_kernels_are_read_by_their_indices_whatever_the_order_of_rows():
    weights = where(tables(ONE)["filters"]["filter_weights"], init="fractal", seed=1, moment="end")
    kernels = filters.kernels_of(weights.sample(frac=1, random_state=0))
    assert kernels.shape == (16, 7, 7, 3)
    for index, row, column, channel in [(0, 0, 1, 2), (15, 6, 3, 0), (7, 2, 5, 1)]:
        one = where(weights, filter=index, row=row, column=column, channel=channel)
        assert kernels[index, row, column, channel] == one["value"].item()


def test_at_most_sixteen_filters_are_shown():
    weights = where(tables(ONE)["filters"]["filter_weights"], init="random", seed=0, moment="end")
    more = pd.concat([weights, weights.assign(filter=weights["filter"] + 16)])
    given = {"filters": tables(ONE)["filters"]["filters"], "filter_weights": more}
    shown = filters.kernels_of(filters.select(given)["filter_weights"])
    np.testing.assert_array_equal(shown, filters.kernels_of(weights))


def test_plates_are_of_the_first_run_with_one_scale_before_and_after():
    figure = draw("filters", tables(ONE)["filters"])
    weights = tables(ONE)["filters"]["filter_weights"]
    for place, init in enumerate(INITS):
        kernels = [
            filters.kernels_of(where(weights, init=init, seed=0, moment=moment))
            for moment in ("start", "end")
        ]
        largest = np.maximum(*(np.abs(k).max(axis=(1, 2, 3)) for k in kernels))
        for ax, own, word in zip(figure.axes[2 * place :], kernels, ("before", "after"), strict=False):
            np.testing.assert_allclose(ax.images[0].get_array(), filters.plate(own, largest))
            assert ax.get_title() == f"{init},\n{word}, seed 0"


def test_the_share_of_filters_rises_at_each_cosine():
    ax = draw("filters", tables(ONE)["filters"]).axes[-1]
    table = tables(ONE)["filters"]["filters"]
    for init, line in labelled(ax).items():
        rows = where(table, init=init)
        assert sorted(line.get_xdata()[1:]) == pytest.approx(sorted(rows["cosine"]))
        assert line.get_ydata()[-1] == 1
        runs = [x for x in ax.lines if x is not line and len(x.get_xdata()) == 33]
        seeds = [sorted(where(rows, seed=seed)["cosine"]) for seed in (0, 1)]
        for seed in seeds:
            assert any(np.allclose(sorted(x.get_xdata()[1:]), seed) for x in runs)


def test_filters_without_a_cosine_are_left_out_of_the_shares():
    given = tables(ONE)["filters"]
    table = given["filters"].copy()
    table.loc[table["filter"] < 8, "cosine"] = np.nan
    ax = draw("filters", {**given, "filters": table}).axes[-1]
    for line in labelled(ax).values():
        assert len(line.get_xdata()) == 1 + 24 * ONE.seeds
        assert np.isfinite(line.get_xdata()[1:]).all()


def test_plates_without_stored_weights_stay_empty():
    given = tables(ONE)["filters"]
    figure = draw("filters", {**given, "filter_weights": given["filter_weights"][:0]})
    assert not any(ax.images for ax in figure.axes)
    assert set(labelled(figure.axes[-1])) == set(INITS)


# domain distance and transferability


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer)]


def test_distances_are_drawn_from_near_to_far_with_their_intervals():
    given = tables()["domain_distance"]
    table = given["distances"][::-1]
    figure = draw("domain_distance", {**given, "distances": table})
    for ax, measure in zip(figure.axes, ("frechet", "kernel"), strict=False):
        rows = where(table, measure=measure).sort_values("value")
        assert [text.get_text() for text in ax.get_yticklabels()] == rows["dataset"].tolist()
        for place, (bar, (_, row)) in enumerate(zip(bars(ax), rows.iterrows(), strict=True)):
            assert bar[0].get_xdata() == pytest.approx([row["value"]])
            assert bar[0].get_ydata() == pytest.approx([place])
            (segment,) = bar[2][0].get_segments()
            np.testing.assert_allclose(segment[:, 0], [row["low"], row["high"]])
        assert "900 images each" in ax.get_xlabel()
        assert "fractal/resnet50" in ax.get_xlabel()
    diamonds = [line.get_xdata()[0] for line in figure.axes[0].lines
                if line.get_marker() == "D" and len(line.get_xdata())]  # fmt: skip
    extrapolated = where(table, measure="frechet_extrapolated")["value"]
    assert sorted(diamonds) == pytest.approx(sorted(extrapolated))


def test_gains_stand_at_the_distance_of_their_data_set():
    figure = draw("domain_distance", tables()["domain_distance"])
    given = tables()["domain_distance"]
    gains = where(given["gains"], init="fractal", reference="random", part="test", target=True)
    for ax, measure in zip(figure.axes[2:], ("frechet", "kernel"), strict=True):
        x = where(given["distances"], measure=measure).set_index("dataset")["value"]
        points = {(bar[0].get_xdata()[0], bar[0].get_ydata()[0]) for bar in bars(ax)}
        assert points == {(x[g["dataset"]], g["mean"]) for _, g in gains.iterrows()}
        for bar in bars(ax):
            gain = gains[gains["mean"] == bar[0].get_ydata()[0]].iloc[0]
            (segment,) = bar[2][0].get_segments()
            np.testing.assert_allclose(segment[:, 1], gain[["low", "high"]].astype(float))
        assert ax.get_title() == "n = 4 (data sets: 2)"
        assert ax.get_ylabel() == "gain in test AUROC\nover random"
        # the line at no gain and nothing else runs through the panel
        assert len([line for line in ax.lines if len(line.get_xdata()) > 1]) == 1
        low, high = ax.get_ylim()
        assert low < min(0, gains["low"].min())
        assert high > gains["high"].max()


def test_networks_that_share_a_distance_are_drawn_side_by_side():
    figure = draw("domain_distance", tables()["domain_distance"])
    ax = figure.axes[2]
    pixels = {}
    for bar in bars(ax):
        line = bar[0]
        place = line.get_transform().transform(line.get_xydata())[0]
        assert ax.bbox.x0 < place[0] < ax.bbox.x1
        pixels.setdefault(line.get_xdata()[0], []).append(place[0])
    for cbr, vit in pixels.values():
        assert vit - cbr == pytest.approx(domain_distance.APART / 72 * figure.dpi)


def test_gains_are_those_of_whole_sources_with_all_training_data():
    gains = tables()["domain_distance"]["gains"]
    smaller = gains.assign(subset="n80", mean=gains["mean"] + 1)
    found = domain_distance.source_gains(pd.concat([smaller, gains]))
    expected = where(gains, init="fractal", reference="random", part="test", target=True)
    assert sorted(found["mean"]) == pytest.approx(sorted(expected["mean"]))
    assert set(found["source"]) == {"fractal"}
    over_stats = gains[gains["reference"] != "random"]
    found = domain_distance.source_gains(over_stats)
    assert set(found["reference"]) == {"fractal-stats"}
    assert domain_distance.source_gains(gains[:0]).empty


def test_gains_on_data_sets_of_unknown_distance_are_not_selected():
    given = tables()["domain_distance"]
    known = given["distances"][given["distances"]["dataset"] == "chest"]
    selected = domain_distance.select({**given, "distances": known})
    assert set(selected["gains"]["dataset"]) == {"chest"}


def test_a_source_without_gains_shows_its_distances_alone():
    given = tables()["domain_distance"]
    figure = draw("domain_distance", {**given, "gains": given["gains"][:0]})
    assert [ax.axison for ax in figure.axes] == [True, True, False, False]


def test_each_score_has_its_gains_and_its_rank_correlations():
    study = Study(inits=("random", "fractal", "imagenet"), datasets=("a", "b", "c"))
    given = tables(study)["transferability"]
    figure = draw("transferability", given)
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(shown) == 6
    for ax, score in zip(shown, transferability.SCORES, strict=True):
        rows = where(given["scores"], score=score)
        points = {(bar[0].get_xdata()[0], bar[0].get_ydata()[0]) for bar in bars(ax)}
        assert points == set(zip(rows["value"], rows["gain"], strict=True))
        found = where(given["correlations"], score=score, measure="kendall").set_index("scope")
        lines = ax.get_title().replace("−", "-").split("\n")
        assert lines[0].startswith(transferability.SCORES[score])
        for scope, line in zip(("within", "across"), lines[1:], strict=True):
            assert f"{scope} data sets {found.loc[scope, 'value']:.2f}" in line
            assert line.endswith("n = 12")
        assert f"(p = {found.loc['within', 'p']:.2g})" in lines[1]
        assert "p =" not in lines[2]
    assert legend_names(figure) == [
        "a", "b", "c", "cbr", "vit", "fractal", "imagenet", "bars: paired interval of the gain",
    ]  # fmt: skip


def test_undefined_correlations_are_said_to_be_none():
    given = tables()["transferability"]
    none = given["correlations"].assign(value=np.nan, p=np.nan)
    title = draw("transferability", {**given, "correlations": none}).axes[0].get_title()
    assert "within data sets none, n = 4" in title
    bare = draw("transferability", {**given, "correlations": none[:0]}).axes[0]
    assert bare.get_title() == "LogME"


def test_scores_without_a_gain_are_not_drawn():
    given = tables()["transferability"]
    scores = given["scores"].copy()
    scores.loc[scores["model"] == "vit", ["gain", "gain_low", "gain_high"]] = np.nan
    figure = draw("transferability", {**given, "scores": scores})
    assert all(len(bars(ax)) == 2 for ax in figure.axes)
    assert "vit" not in legend_names(figure)
    scores["gain"] = np.nan
    assert said(draw("transferability", {**given, "scores": scores})).startswith("nothing to predict")


def test_colour_marker_and_filling_tell_data_set_network_and_source():
    styles = point_styles(("a", "b"), ("cbr", "vit"), ("x", "y"))
    _, axes = panels(1, 1, (3, 3))
    rows = pd.DataFrame(
        list(itertools.product(("a", "b"), ("cbr", "vit"), ("x", "y"))),
        columns=["dataset", "model", "source"],
    ).assign(x=range(8), gain=0.1, gain_low=0.0, gain_high=np.nan)
    draw_points(axes[0, 0], rows, styles)
    looks = [(b[0].get_color(), b[0].get_marker(), b[0].get_fillstyle()) for b in bars(axes[0, 0])]
    assert len(set(looks)) == 8
    assert [len(set(kind)) for kind in zip(*looks, strict=True)] == [2, 2, 2]


# agreement


def marks(ax: Axes, place: int, **look: object) -> list[float]:
    """Where the marks of one row stand that look so."""
    lines = [x for x in ax.lines if len(x.get_xdata()) and abs(np.mean(x.get_ydata()) - place) < 0.45]
    chosen = [x for x in lines if all(getattr(x, f"get_{n}")() == v for n, v in look.items())]
    return sorted(value for line in chosen for value in line.get_xdata())


AGREEMENT_MEASURES = (
    ("similarity", "chance"), ("error_overlap", "expected_error_overlap"), ("kappa", None),
)  # fmt: skip


def test_agreement_shows_each_pair_the_mean_of_its_group_and_what_chance_gives():
    figure = draw("agreement", tables(SMALL)["agreement"])
    table = where(tables(SMALL)["agreement"]["agreement"], dataset="chest", model_a="cbr")
    groups = [f"{init}: two seeds" for init in INITS]
    groups += [f"{a} and {b}" for a, b in itertools.combinations(INITS, 2)]
    axes = figure.axes[:3]
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [f"{name} (n = 3)" for name in groups]
    assert axes[0].get_title(loc="left") == "chest, cbr\n300 images"
    for ax, (observed, chance) in zip(axes, AGREEMENT_MEASURES, strict=True):
        for place, name in enumerate(groups):
            inits = name.replace(": two seeds", "").split(" and ")
            rows = where(table, init_a=inits[0], init_b=inits[-1])
            assert marks(ax, place, markersize=2.5) == pytest.approx(sorted(rows[observed]))
            assert marks(ax, place, markersize=6) == pytest.approx([rows[observed].mean()])
            ranges = [s[:, 0] for s in level_segments(ax) if abs(s[0, 1] - place) < 0.45]
            np.testing.assert_allclose(ranges, [[rows[observed].min(), rows[observed].max()]])
            expected = [] if chance is None else sorted(rows[chance])
            assert marks(ax, place, marker="|", markersize=3) == pytest.approx(expected)
            mean = [] if chance is None else [rows[chance].mean()]
            assert marks(ax, place, marker="|", markersize=9) == pytest.approx(mean)


def test_what_was_observed_and_what_chance_gives_of_a_pair_stand_at_one_height():
    ax = draw("agreement", tables(ONE)["agreement"]).axes[0]
    table = tables(ONE)["agreement"]["agreement"]
    drawn = {
        size: {x: y for line in ax.lines if line.get_markersize() == size for x, y in line.get_xydata()}
        for size in (2.5, 3)
    }
    heights = [(drawn[2.5][a], drawn[3][b]) for a, b in zip(table["similarity"], table["chance"])]  # noqa: B905
    assert all(a == b for a, b in heights)
    assert len(set(heights)) == len(table)


def test_two_inits_are_a_mark_half_in_the_colour_of_each():
    ax = draw("agreement", tables(ONE)["agreement"]).axes[-1]
    styles = init_styles(INITS)
    (mark,) = [x for x in ax.lines if x.get_marker() == "h" and x.get_markersize() == 6
               and abs(x.get_ydata()[0] - 4) < 0.4]  # fmt: skip
    assert mark.get_fillstyle() == "left"
    assert to_hex(mark.get_markerfacecolor()) == styles["random"].colour.lower()
    assert to_hex(mark.get_markerfacecoloralt()) == styles["fractal"].colour.lower()


def test_what_is_not_known_of_an_agreement_is_not_drawn():
    table = tables(ONE)["agreement"]["agreement"].copy()
    table["error_overlap"] = np.nan
    table.loc[table.index[0], "kappa"] = np.nan
    figure = draw("agreement", {"agreement": table})
    _, errors, kappa = figure.axes
    assert not errors.lines
    small = [x for line in kappa.lines if line.get_markersize() == 2.5 for x in line.get_xdata()]
    assert sorted(small) == pytest.approx(sorted(table["kappa"].dropna()))
    assert np.isfinite(drawn_numbers(figure)).all()


# the legend


def test_a_figure_of_nothing_named_has_no_legend():
    figure, _ = panels(1, 1, (3, 3))
    legend_below(figure)
    assert not figure.legends
