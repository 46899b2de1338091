"""Figures of evaluations and statistics: what is drawn is what the tables hold."""

from __future__ import annotations

import importlib
import inspect
import io
import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from evaluation_tables import CORRUPTIONS, GROUPS, IMAGES, PATIENTS, SMALL, Cells, figure_tables
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from medtransfer.config.figures import ALL_FIGURES
from medtransfer.figures import convergence, label_efficiency, verdict
from medtransfer.figures.cells import forest_height, metric_label, signed, span
from medtransfer.figures.style import apply_style, init_styles, panels, save_figure

OTHERS = ("metrics", "gains", "wtst_gains", "validation_curves")
FIGURES = (
    "verdict", "calibration", "selective", "convergence", "label_efficiency", "subgroups",
    "corruption", "external",
)  # fmt: skip
ONE = Cells(("chest",), ("cbr",))
RUN = Cells(("chest",), ("vit",), ("fractal",), seeds=1)
SUBSETS = Cells(("chest",), ("cbr",), subsets=("full", "n100"))
TWO = Cells(models=("cbr",), inits=("random", "fractal"), seeds=2)
FOUR = Cells(inits=("random", "fractal"), seeds=2)
SOURCES = [f"s{i}{kind}" for i in range(15) for kind in ("", "-stats")]
MANY = Cells(("chest",), ("cbr",), ("random", *SOURCES[:29]), seeds=2)
INITS = ONE.inits
EVERY = (*FIGURES, *OTHERS)
# of which some rows are for the figure of the transferred depth, some for all others
DEPTHS = Cells(
    ("chest",), ("cbr",), ("random", "fractal-stats", "fractal-upto2-stats", "fractal"),
    ("full", "n100"), 2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


@cache
def tables(name: str, cells: Cells = ONE) -> dict[str, pd.DataFrame]:
    """Of a figure; shared between tests, which change none of them."""
    return figure_tables(name, cells)


def changed(name: str, cells: Cells = ONE) -> dict[str, pd.DataFrame]:
    """A figure's tables, which may be changed."""
    return {key: table.copy() for key, table in tables(name, cells).items()}


def module(name: str) -> Any:
    return importlib.import_module(f"medtransfer.figures.{name}")


def draw(name: str, given: dict[str, pd.DataFrame]) -> Figure:
    """As the script does, down to pixels; a layout that fails or a mean of nothing is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = module(name).draw(given)
        FigureCanvasAgg(figure).draw()
        return figure


@cache
def drawn(name: str, cells: Cells = ONE) -> Figure:
    """A figure that tests only look at."""
    return draw(name, tables(name, cells))


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def words(figure: Figure) -> list[str]:
    texts = [t.get_text() for t in figure.findobj(matplotlib.text.Text)]
    return [" ".join(text.split()) for text in texts if text.strip()]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer)]


def series(ax: Axes) -> dict[str, ErrorbarContainer]:
    return {bar.get_label(): bar for bar in bars(ax)}


def ends(bar: ErrorbarContainer, axis: int) -> np.ndarray:
    """N x 2: where the bars start and end along an axis (0: x, 1: y)."""
    (collection,) = bar[2]
    return np.array([segment[:, axis] for segment in collection.get_segments()])


def forest(ax: Axes) -> dict[str, list[float]]:
    """Of each named row that has a value: mean, low, high."""
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    found = {}
    for bar in bars(ax):
        ((low, high),) = ends(bar, 0)
        (place,) = bar[0].get_ydata()
        found[names[round(place)]] = [*bar[0].get_xdata(), low, high]
    return found


def labelled(ax: Axes) -> dict[str, Line2D]:
    lines = {line.get_label(): line for line in ax.lines if len(line.get_xdata())}
    return {label: line for label, line in lines.items() if not label.startswith("_")}


def coloured(ax: Axes, init: str, **looks: object) -> list[Line2D]:
    """The lines in an init's colour with data and the given properties."""
    colour = init_styles(INITS)[init].colour
    found = [line for line in ax.lines if line.get_color() == colour and len(line.get_xdata())]
    return [n for n in found if all(getattr(n, f"get_{k}")() == v for k, v in looks.items())]


# all figures


def test_every_figure_has_its_tests():
    files = Path(__file__).parent.glob("test_*.py")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in ALL_FIGURES if not re.search(rf"\b{name}\b", tests)] == []


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("cells", [RUN, TWO, SUBSETS], ids=["one run", "two by two", "subsets"])
def test_studies_of_all_shapes_are_drawn_inside_their_pages(name, cells):
    figure = drawn(name, cells)
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.05
    assert box.y0 > -0.05
    assert box.x1 < page[0] + 0.05
    assert box.y1 < page[1] + 0.05


def unseen_tick_labels(figure: Figure) -> set[matplotlib.text.Text]:
    """The labels of ticks beyond the ends of their axis, and of hidden axes."""
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond = [t for t in ticks if not (ax.axison and low <= t.get_loc() <= high)]
            hidden |= {label for tick in beyond for label in (tick.label1, tick.label2)}
    return hidden


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_texts_of_a_figure_overlap(name):
    figure = drawn(name, TWO if name != "label_efficiency" else SUBSETS)
    renderer = figure.canvas.get_renderer()
    hidden = unseen_tick_labels(figure)
    found = [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t not in hidden]
    texts = [text for text in found if text.get_text().strip()]
    boxes = [t.get_window_extent(renderer) for t in texts]
    crossing = [
        (a.get_text(), b.get_text())
        for (a, one), (b, other) in itertools.combinations(zip(texts, boxes, strict=True), 2)
        # boxes of names aslant cross where the names don't
        if one.shrunk(0.9, 0.7).overlaps(other.shrunk(0.9, 0.7)) and a.get_rotation() != 40
    ]  # fmt: skip
    assert crossing == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_thirty_series_are_drawn_with_all_their_names(name):
    many = MANY if name != "label_efficiency" else replace(MANY, subsets=("full", "n100"))
    figure = draw(name, tables(name, many))
    if name == "verdict":
        texts = words(figure)
        for init in MANY.inits[1:]:
            assert f"{init} − random" in texts
    else:
        assert set(MANY.inits) <= set(legend_names(figure))


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_changes_no_table(name):
    before = changed(name, SUBSETS)
    draw(name, tables(name, SUBSETS))
    for key, table in tables(name, SUBSETS).items():
        pd.testing.assert_frame_equal(table, before[key])


def without(given: dict[str, pd.DataFrame], **values: str) -> dict[str, pd.DataFrame]:
    """The tables without the rows of these values; an init also as reference."""
    kept = {}
    for key, table in given.items():
        gone = np.logical_and.reduce([table[name] == value for name, value in values.items()])
        if "init" in values and "reference" in table:
            gone |= table["reference"] == values["init"]
        kept[key] = table[~gone]
    return kept


@pytest.mark.parametrize("name", FIGURES)
def test_a_cell_without_one_of_the_inits_is_drawn(name):
    cells = SUBSETS if name == "label_efficiency" else TWO
    full = drawn(name, cells)
    figure = draw(name, without(changed(name, cells), dataset="chest", model="cbr", init="fractal"))
    assert sum(ax.axison for ax in full.axes) >= sum(ax.axison for ax in figure.axes) > 0


@pytest.mark.parametrize("name", ["calibration", "convergence", "external"])
def test_a_cell_without_runs_is_a_marked_gap(name):
    cells = FOUR if name != "external" else Cells(("chest",), ("cbr",), subsets=("full", "n100"))
    gap = {"dataset": "chest", "model": "vit"}
    if name == "external":
        gap = {"subset": "full", "part": "external"}
    assert "no runs" not in words(drawn(name, cells))
    assert "no runs" in words(draw(name, without(changed(name, cells), **gap)))


def test_a_comparison_that_was_not_made_is_a_marked_gap():
    table = tables("verdict", SUBSETS)["verdicts"]
    gone = (table["subset"] == "n100") & (table["init"] == "fractal-stats")
    (ax,) = draw("verdict", {"verdicts": table[~gone]}).axes
    texts, box = cell(ax, "cbr", "fractal-stats − random", "n100")
    assert (texts, box) == (["no runs"], None)
    assert cell(ax, "cbr", "fractal-stats − random")[1] is not None


@pytest.mark.parametrize("name", FIGURES)
def test_partial_transfers_are_left_to_the_depth_figure(name):
    cells = Cells(
        ("chest",), ("cbr",), ("random", "fractal", "fractal-upto2-stats"), ("full", "n100"), 2
    )
    shown = words(drawn(name, cells))
    assert any("fractal" in text for text in shown)
    assert not any("upto" in text for text in shown)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_module_only_turns_tables_into_axes(name):
    source = inspect.getsource(module(name))
    assert "def draw(tables: dict[str, pd.DataFrame]) -> Figure" in source
    assert "read_" not in source
    assert "savefig" not in source


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "verdict"])
def test_the_legend_names_the_inits_and_what_bars_or_bands_are(name):
    names = legend_names(drawn(name, SUBSETS))
    assert set(INITS) <= set(names)
    (meaning,) = [text for text in names if text.startswith(("bars: ", "band: "))]
    over = {"subgroups": "patients", "corruption": "patients", "external": "patients"}
    expected = over.get(name, {"selective": "run", "convergence": "paired interval"}.get(name, "runs"))
    assert meaning.endswith(expected)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "verdict"])
def test_the_title_names_data_set_network_and_subset_where_there_are_several(name):
    titles = [ax.get_title().replace("\n", " ") for ax in drawn(name, SUBSETS).axes]
    expected = {
        "label_efficiency": {"chest, cbr"},
        "external": {f"chest, {s}, there: {p}" for s in SUBSETS.subsets for p in ("other site", "nih")},
    }
    assert expected.get(name, {"chest, cbr, full", "chest, cbr, n100"}) <= set(titles)


def shown(name: str, cells: Cells) -> dict[str, pd.DataFrame]:
    return module(name).select(tables(name, cells))


def marks(figure: Figure) -> list[str]:
    """All that a figure holds: points, bars, bands, boxes and words, with their places."""
    found = []
    for ax in figure.axes:
        found += [repr(line.get_xydata().round(9).tolist()) for line in ax.lines]
        paths = [path for c in ax.collections for path in c.get_paths()]
        found += [repr(path.vertices.round(9).tolist()) for path in paths]
        found += [str(patch) for patch in ax.patches]
    return [*found, *words(figure)]


@pytest.mark.parametrize("name", EVERY)
def test_every_selected_row_is_drawn(name):
    given = tables(name, DEPTHS)
    before = marks(module(name).draw(given))
    for key, rows in shown(name, DEPTHS).items():
        assert len(rows) > 0
        for row in rows.index[[0, len(rows) // 3, -1]]:
            less = given | {key: given[key].drop(index=row)}
            assert marks(module(name).draw(less)) != before


@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_selected_is_not_drawn(name):
    given = changed(name, DEPTHS)
    before = marks(module(name).draw(given))
    for key, rows in shown(name, DEPTHS).items():
        others = ~given[key].index.isin(rows.index)
        numbers = given[key].select_dtypes("float").columns
        given[key].loc[others, numbers] += 7.0
    assert marks(module(name).draw(given)) == before


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("metrics", "summary", "metrics"), ("label_efficiency", "summary", "label_efficiency"),
     ("convergence", "convergence", "convergence_tests"), ("calibration", "reliability", "summary"),
     ("subgroups", "subgroups", "subgroup_gaps")],
)  # fmt: skip
def test_rows_of_cells_that_are_not_drawn_are_not_selected(name, first, second):
    given = changed(name, replace(SUBSETS, models=("cbr", "vit")))
    given[first] = where(given[first], model="vit")
    models = module(name).select(given)[second]["model"]
    assert len(models) > 0
    assert models.str.startswith("vit").all()


@pytest.mark.parametrize("name", EVERY)
def test_the_selected_rows_can_be_written_as_text(name):
    for rows in shown(name, DEPTHS).values():
        assert rows.columns.is_unique
        assert "target" not in rows
        assert set(rows.get("part", ["test"])) <= {"test", "external", "external-nih"}
        text = io.StringIO(rows.to_csv(index=False))
        again = pd.read_csv(text, keep_default_na=False, na_values=[""])
        assert list(again) == list(rows)
        assert len(again) == len(rows)


GAP_WORDS = {"metrics": "×", "external": "×", "gains": "no runs"}


# a matrix of verdicts has no comparison that its data set lacks
@pytest.mark.parametrize("name", [name for name in EVERY if name != "verdict"])
def test_a_start_without_runs_in_one_cell_is_said(name):
    lost = "fractal-upto2-stats" if name == "wtst_gains" else "fractal"
    subsets = ("full", "n100") if name == "label_efficiency" else ("full",)
    inits = ("random", "fractal-stats", "fractal-upto1-stats", "fractal-upto2-stats", "fractal")
    given = changed(name, Cells(("chest", "fundus"), ("cbr",), inits, subsets, 2))
    figure = draw(name, without(given, dataset="chest", model="cbr", init=lost))
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    if name in GAP_WORDS:
        assert GAP_WORDS[name] in words(figure)
    else:
        told = [title for title in titles if title.endswith(f"(no runs: {lost})")]
        assert told
        assert all(title.startswith("chest, cbr") for title in told)
        assert not any("no runs" in title for title in set(titles) - set(told))


@pytest.mark.parametrize("name", EVERY)
def test_a_run_without_results_is_no_crash(name):
    given = changed(name, replace(DEPTHS, seeds=3))
    for key, table in given.items():
        if "seed" in table:
            given[key] = table[~((table["init"] == "fractal") & (table["seed"] == 1))]
    assert draw(name, given).axes


@pytest.mark.parametrize("name", EVERY)
def test_a_study_without_rows_selects_none(name):
    full = tables(name, DEPTHS)
    for empty in (
        {key: pd.DataFrame() for key in full},
        {key: table[:0] for key, table in full.items()},
    ):
        selected = module(name).select(empty)
        assert list(selected) == list(shown(name, DEPTHS))
        assert all(rows.empty for rows in selected.values())
        (ax,) = draw(name, empty).axes
        assert ax.texts[0].get_text().startswith("no")


# verdict


def cell(ax: Axes, model: str, comparison: str, subset: str = "full") -> tuple[list[str], Rectangle]:
    """The words and the box of one cell of the matrix."""
    columns = [" ".join(t.get_text().split()) for t in ax.get_xticklabels()]
    rows = [" ".join(t.get_text().split()) for t in ax.get_yticklabels()]
    x, y = columns.index(comparison), rows.index(f"{model} {subset}")
    texts = [t.get_text() for t in ax.texts if round(t.get_position()[0]) == x
             and abs(t.get_position()[1] - y) < 0.5]  # fmt: skip
    boxes = [p for p in ax.patches if p.get_x() < x < p.get_x() + p.get_width()
             and p.get_y() < y < p.get_y() + p.get_height()]  # fmt: skip
    assert len(boxes) <= 1
    return texts, boxes[0] if boxes else None


def judged(**changes: object) -> tuple[list[str], Rectangle, Axes]:
    """What is drawn of one verdict with these values, that of the first comparison."""
    table = changed("verdict")["verdicts"]
    for name, value in changes.items():
        table[name] = table[name].astype(object).mask(table.index == 0, value).infer_objects()
    (ax,) = draw("verdict", {"verdicts": table}).axes
    first = table.iloc[0]
    return (*cell(ax, "cbr", f"{first['init']} − {first['reference']}"), ax)


def test_each_cell_has_its_verdict_and_its_difference_with_the_interval():
    table = tables("verdict", TWO)["verdicts"]
    figure = draw("verdict", {"verdicts": table})
    assert [ax.get_title("left").split(":")[0] for ax in figure.axes] == ["chest", "fundus"]
    for ax in figure.axes:
        own = where(table, dataset=ax.get_title("left").split(":")[0])
        assert "AUROC, equivalent within ±0.01" in ax.get_title("left")
        for _, row in own.iterrows():
            texts, _ = cell(ax, row["model"], f"{row['init']} − {row['reference']}")
            low, mean, high = (signed(row[name]) for name in ("low", "mean", "high"))
            assert row["verdict"] in texts[0]
            assert texts[1] == f"{mean} [{low}, {high}]"


def test_verdicts_differ_in_sign_and_colour_and_only_not_knowing_is_hatched():
    seen = {}
    for name in ("helps", "harms", "equivalent", "can't tell", "not declared"):
        texts, box, _ = judged(verdict=name, within_margin=False)
        seen[name] = (texts[0].split()[0], to_hex(box.get_facecolor()))
        assert texts[0].endswith(name)
        assert bool(box.get_hatch()) == (name == "can't tell")
    assert len({sign for sign, _ in seen.values()}) == 5
    coloured = [seen[name][1] for name in ("helps", "harms", "equivalent")]
    assert len(set(coloured)) == 3
    assert "#ffffff" not in coloured
    assert seen["can't tell"][1] == "#ffffff"


def test_a_decided_difference_below_the_margin_says_so():
    assert judged(verdict="helps", within_margin=True)[0][0] == "▲ helps, < margin"
    assert judged(verdict="equivalent", within_margin=True)[0][0] == "= equivalent"


@pytest.mark.parametrize(
    ("word", "text"),
    [("equivalent", "= equivalent, at chance"), ("can't tell", "? can't tell, at chance"),
     ("not declared", "– not declared")],
)  # fmt: skip
def test_where_nothing_was_learned_a_verdict_says_so(word, text):
    assert judged(verdict=word, above_chance="neither")[0][0] == text
    assert judged(verdict=word, above_chance="one")[0][0] == text.removesuffix(", at chance")


@pytest.mark.parametrize(
    ("value", "face", "says"),
    [("holds", "black", "holds for other patients too"),
     ("not shown", "white", "not shown for other patients"), ("", None, None)],
)  # fmt: skip
def test_whether_a_verdict_holds_for_other_patients_is_marked(value, face, says):
    table = changed("verdict")["verdicts"].assign(other_patients="")
    table.loc[0, "other_patients"] = value
    figure = draw("verdict", {"verdicts": table})
    marks = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert [line.get_markerfacecolor() for line in marks] == ([face] if face else [])
    assert legend_names(figure) == ([says] if says else [])
    if marks:
        (x,), (y,) = marks[0].get_data()
        assert (round(x), round(y)) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"needed": 17.0}, "3 seeds, needs about 17"),
        ({"needed": 1234.0}, "3 seeds, needs about 1,200"),
        ({"needed": np.inf}, "3 seeds; no number would do"),
        ({"needed": np.nan, "pairs": 1}, "1 seed"),
        ({"needed": 17.0, "verdict": "helps", "paired_by": "fold"}, "3 folds"),
    ],
)
def test_a_cell_says_how_many_repeats_there_are_and_how_many_would_decide(changes, expected):
    assert judged(**{"verdict": "can't tell", **changes})[0][2] == expected


def test_a_verdict_of_one_seed_has_no_interval():
    assert judged(low=np.nan, high=np.nan, mean=-0.0123)[0][1] == "−0.012, no interval"
    assert judged(mean=np.nan)[0][1] == "no value"


def test_many_comparisons_go_on_below():
    table = tables("verdict")["verdicts"]
    many = [table.assign(init=f"source{i}") for i in range(13)]
    table = pd.concat(many).drop_duplicates(["init", "reference"])
    figure = draw("verdict", {"verdicts": table})
    assert len(table) == 26
    assert len(figure.axes) == -(-26 // verdict.MOST_COLUMNS)
    assert sum(len(ax.get_xticklabels()) for ax in figure.axes) == 26
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert figure.get_figwidth() < 9


# calibration


def test_reliability_lines_are_the_means_over_runs_of_the_test_set_before_and_after():
    table = tables("calibration")["reliability"]
    figure = drawn("calibration")
    for ax, scaled in zip(figure.axes, (False, True), strict=False):
        for init, line in labelled(ax).items():
            rows = where(table, init=init, part="test", scaled=scaled)
            mean = rows.groupby("bin")[["confidence", "observed"]].mean()
            np.testing.assert_allclose(np.transpose(line.get_data()), mean)
            (dots,) = [
                n for n in coloured(ax, init, marker=".") if set(n.get_ydata()) <= set(rows["observed"])
            ]
            assert sorted(dots.get_ydata()) == pytest.approx(sorted(rows["observed"]))
        assert any(list(n.get_xdata()) == list(n.get_ydata()) == [0, 1] for n in ax.lines)
        assert list(labelled(ax)) == list(INITS)
        assert "bins of 10 images" in ax.get_xlabel()


def test_ticks_below_zero_stand_where_the_bins_are():
    ax = drawn("calibration").axes[0]
    strips = [line for line in ax.lines if line.get_marker() == "|"]
    assert len({line.get_ydata()[0] for line in strips}) == len(INITS)
    for strip, line in zip(strips, labelled(ax).values(), strict=True):
        assert (np.array(strip.get_ydata()) < 0).all()
        np.testing.assert_allclose(strip.get_xdata(), line.get_xdata())


def test_empty_bins_count_for_no_mean():
    given = changed("calibration")
    table = given["reliability"]
    table.loc[(table["bin"] == 3) & (table["seed"] == 0), ["count", "observed"]] = [0, np.nan]
    ax = draw("calibration", given).axes[0]
    rows = where(table, init="fractal", part="test", scaled=False, bin=3).query("seed > 0")
    assert labelled(ax)["fractal"].get_ydata()[3] == pytest.approx(rows["observed"].mean())


def test_calibration_errors_lead_from_before_to_after_scaling_with_their_intervals():
    summary = tables("calibration")["summary"]
    ax = drawn("calibration").axes[2]
    for init, bar in zip(INITS, bars(ax), strict=True):
        rows = where(summary, init=init, part="test").set_index("metric")
        rows = rows.loc[["ece_mass", "ece_mass_scaled"]]
        np.testing.assert_allclose(bar[0].get_ydata(), rows["mean"])
        np.testing.assert_allclose(ends(bar, 1), rows[["low", "high"]])
        assert np.round(bar[0].get_xdata()).tolist() == [0, 1]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before", "after"]
    assert "3 runs" in ax.get_xlabel()


def test_runs_without_a_temperature_leave_the_panel_after_scaling_empty():
    given = changed("calibration")
    given["reliability"] = given["reliability"][~given["reliability"]["scaled"]]
    assert [ax.axison for ax in draw("calibration", given).axes] == [True, False, True]


# selective


def test_risks_are_means_over_runs_in_the_band_of_all_runs_with_a_mark_at_full_coverage():
    table = tables("selective")["risk_coverage"]
    (ax,) = drawn("selective").axes
    lines = labelled(ax)
    of_inits = {init: lines[init] for init in INITS}
    for (init, line), band in zip(of_inits.items(), ax.collections, strict=True):
        runs = where(table, init=init, part="test").pivot(
            index="coverage", columns="seed", values="risk"
        )
        np.testing.assert_allclose(line.get_xdata(), runs.index)
        np.testing.assert_allclose(line.get_ydata(), runs.mean(axis=1))
        corners = band.get_paths()[0].vertices
        for coverage in runs.index:
            found = corners[np.isclose(corners[:, 0], coverage)][:, 1]
            assert found.min() == pytest.approx(runs.loc[coverage].min())
            assert found.max() == pytest.approx(runs.loc[coverage].max())
        assert line.get_markevery() == [-1]
        levels = [n.get_ydata()[0] for n in coloured(ax, init, linestyle=":")]
        assert any(level == pytest.approx(runs.loc[1.0].mean()) for level in levels)
    assert f"{IMAGES} test images" in ax.get_xlabel()
    assert "3 runs" in ax.get_ylabel()
    assert ax.get_ylim()[0] == 0


def test_panels_of_a_data_set_share_the_axis_of_risk_and_hold_all_of_it():
    given = changed("selective", TWO)
    risks = given["risk_coverage"]
    risks["risk"] += 0.5 * ((risks["model"] == "vit") & (risks["dataset"] == "chest"))
    figure = draw("selective", given)
    for dataset in TWO.datasets:
        own = [ax for ax in figure.axes if ax.get_title().startswith(dataset)]
        (limits,) = {ax.get_ylim() for ax in own}
        assert limits[1] >= where(risks, dataset=dataset, part="test")["risk"].max()


# convergence


@pytest.mark.parametrize(
    ("steps", "reached", "expected"),
    [
        ([10, 20, 30], [1, 1, 1], ([0, 10, 20, 30, 30], [1, 2 / 3, 1 / 3, 0, 0])),
        ([10, 20, 30, 40], [1, 0, 1, 0], ([0, 10, 30, 40], [1, 3 / 4, 3 / 8, 3 / 8])),
        ([25, 25], [0, 0], ([0, 25], [1, 1])),
        ([25, 25, 50], [1, 1, 0], ([0, 25, 50], [1, 1 / 3, 1 / 3])),
    ],
)
def test_the_share_that_is_not_there_yet_is_that_of_kaplan_and_meier(steps, reached, expected):
    found = convergence.not_there_yet(np.array(steps), np.array(reached, dtype=bool))
    np.testing.assert_allclose(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1])


def test_convergence_shows_a_falling_line_an_init_and_a_tick_for_runs_that_stopped():
    given = changed("convergence")
    runs = given["convergence"]
    own = (runs["init"] == "fractal") & (runs["threshold_kind"] == "share")
    runs.loc[own, "step"], runs.loc[own, "reached"] = [40, 40, 80], [True, False, True]
    ax = draw("convergence", given).axes[0]
    (line,) = [n for n in coloured(ax, "fractal", drawstyle="steps-post") if n.get_linestyle() == "-"]
    np.testing.assert_allclose(line.get_xdata(), [0, 40, 80, 80])
    np.testing.assert_allclose(line.get_ydata(), [1, 2 / 3, 0, 0])
    ticks = [tuple(map(float, n.get_xydata()[0])) for n in coloured(ax, "fractal", marker="|")]
    assert ticks == [pytest.approx((40, 2 / 3))]
    threshold = where(runs, threshold_kind="share")["threshold"].iloc[0]
    assert f"validation AUROC of {threshold:.3f}" in ax.get_xlabel().replace("\n", " ")
    assert "share of the reference's best" in ax.get_xlabel()


def test_a_row_a_threshold():
    figure = drawn("convergence")
    labels = [ax.get_xlabel().replace("\n", " ") for ax in figure.axes[::2]]
    assert len(labels) == 2
    assert "of 0.700 (the same in all cells)" in labels[1]


def test_differences_of_steps_have_their_intervals_counts_and_p():
    tests = where(tables("convergence")["convergence_tests"], threshold_kind="share")
    ax = drawn("convergence").axes[1]
    found = forest(ax)
    assert len(found) == len(tests) == 2
    for _, row in tests.iterrows():
        name = (
            f"{row['init']} − random\n{row['reached']} of 3, {row['reference_reached']} of 3 there; "
            f"p = {row['p_log_rank']:.2g}"
        )
        wanted = row[["difference", "difference_low", "difference_high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found[name], wanted)
    assert "3 pairs" in ax.get_xlabel()


def test_where_nobody_got_there_the_difference_is_not_known_rather_than_0():
    given = changed("convergence")
    tests = given["convergence_tests"]
    nobody = (tests["init"] == "fractal") & (tests["threshold_kind"] == "share")
    tests.loc[nobody, ["reached", "reference_reached"]] = 0
    tests.loc[nobody, ["difference", "difference_low", "difference_high"]] = 0.0
    ax = draw("convergence", given).axes[1]
    assert [t.get_text() for t in ax.texts] == ["not known"]
    assert len(forest(ax)) == 1
    assert len(ax.get_yticklabels()) == 2


# label efficiency


def test_curves_are_the_means_with_intervals_over_the_training_images():
    cells = Cells(("chest",), ("cbr",), subsets=("n100", "full", "n50"))
    given = tables("label_efficiency", cells)
    ax = draw("label_efficiency", given).axes[0]
    found = {k: v for k, v in series(ax).items() if k in INITS}
    assert list(found) == list(INITS)
    for init, bar in found.items():
        rows = where(given["summary"], init=init, part="test", target=True)
        rows = rows.sort_values("training_images")
        np.testing.assert_allclose(np.array(bar[0].get_xdata(), float), [50, 100, 400], rtol=0.1)
        np.testing.assert_allclose(bar[0].get_ydata(), rows["mean"])
        np.testing.assert_allclose(ends(bar, 1), rows[["low", "high"]])
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["50", "100", "400"]
    assert "3 runs" in ax.get_ylabel()


def test_the_reference_with_all_images_is_a_level_line():
    given = tables("label_efficiency", SUBSETS)
    figure = draw("label_efficiency", given)
    line = labelled(figure.axes[0])["random with all training images"]
    whole = where(given["summary"], init="random", part="test", target=True, subset="full")
    assert line.get_ydata() == pytest.approx([whole["mean"].iloc[0]] * 2)


def matched(**changes: object) -> Axes:
    """The panel of shares when the row of fractal is changed."""
    given = changed("label_efficiency", SUBSETS)
    shares = given["label_efficiency"]
    own = shares["init"] == "fractal"
    for name, value in changes.items():
        shares.loc[own, name] = value
    return draw("label_efficiency", given).axes[1]


def test_the_share_that_matches_has_its_interval():
    ax = matched(
        share=0.4, low=0.3, high=0.7, bound="exactly", low_bound="exactly", high_bound="exactly"
    )
    place = [t.get_text() for t in ax.get_yticklabels()].index("fractal")
    own = [line for line in ax.lines if set(line.get_ydata()) == {place}]
    assert sorted(tuple(line.get_xdata()) for line in own) == [(0.4,), (0.4, 0.3), (0.4, 0.7)]
    assert {line.get_marker() for line in own} == {"|", init_styles(INITS)["fractal"].marker}
    assert "share of 400 training images" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("bounds", "markers"),
    [
        (("at most", "at most", "exactly"), {0.4: "<", 0.3: "<", 0.7: "|"}),
        (("more than", "exactly", "more than"), {0.4: ">", 0.3: "|", 0.7: ">"}),
    ],
)
def test_what_is_only_bounded_is_an_arrow(bounds, markers):
    names = dict(zip(("bound", "low_bound", "high_bound"), bounds, strict=True))
    ax = matched(share=0.4, low=0.3, high=0.7, **names)
    place = [t.get_text() for t in ax.get_yticklabels()].index("fractal")
    own = [line for line in ax.lines if set(line.get_ydata()) == {place}]
    assert {line.get_xdata()[-1]: line.get_marker() for line in own} == markers


def test_a_share_that_is_not_known_says_so():
    assert [t.get_text() for t in matched(share=np.nan).texts] == ["not known"]


def test_subsets_that_are_drawn_anew_have_a_line_of_their_own():
    cells = Cells(("chest",), ("cbr",), ("random", "fractal"), ("full", "n50", "n100-redrawn"))
    figure = drawn("label_efficiency", cells)
    curves = [bar[0] for bar in bars(figure.axes[0])]
    sizes = [np.round(np.array(line.get_xdata(), float), -1).tolist() for line in curves]
    assert sorted(sizes) == [[50, 390], [50, 410], [100, 390], [100, 410]]
    styles = {line.get_linestyle() for line in curves}
    assert styles == {"-", ":"}
    names = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert names == ["random", "fractal", "random, redrawn", "fractal, redrawn"]
    assert "subsets drawn anew for each seed" in legend_names(figure)


def test_cells_with_one_number_of_training_images_are_left_out():
    full, both = (tables("label_efficiency", Cells(("chest",), (m,), subsets=s))["summary"]
                  for m, s in (("cbr", ("full",)), ("vit", ("full", "n50"))))  # fmt: skip
    given = {"label_efficiency": pd.DataFrame(), "summary": pd.concat([full, both])}
    kept = label_efficiency.select(given)["summary"]
    assert set(kept["model"]) == {"vit"}
    assert len(kept) == 2 * len(INITS)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([100], [100]), ([50, 100, 120, 400], [50, 120, 400]), ([5, 6, 7, 8], [5, 8])],
)
def test_sizes_that_are_too_close_are_not_named_beside_each_other(sizes, expected):
    assert label_efficiency.apart(sizes) == expected


# subgroups


def test_groups_have_their_values_with_intervals_and_their_numbers_of_patients():
    table = tables("subgroups")["subgroups"]
    figure = drawn("subgroups")
    shown = figure.axes[::2]
    wanted = list(itertools.product(GROUPS, ("auroc", "true_positive_rate")))
    for ax, (division, metric) in zip(shown, wanted, strict=True):
        own = where(table, division=division, metric=metric)
        groups = [group for group in GROUPS[division] if group != SMALL]
        for init in INITS:
            rows = where(own, init=init).set_index("group").loc[groups]
            bar = series(ax)[init]
            np.testing.assert_allclose(bar[0].get_ydata(), rows["mean"])
            np.testing.assert_allclose(ends(bar, 1), rows[["low", "high"]])
            places = [GROUPS[division].index(group) for group in groups]
            assert np.round(bar[0].get_xdata()).tolist() == places
        sizes = own.drop_duplicates("group")["patients"]
        between = {"sex": "\n", "site": ", "}[division]
        names = [f"{g}{between}n = {n}" for g, n in zip(GROUPS[division], sizes, strict=True)]
        assert [t.get_text() for t in ax.get_xticklabels()] == names
        assert ax.get_xlabel() == f"{division} (n: patients)"
    names = [ax.get_ylabel() for ax in shown[:2]]
    assert names == [f"test {metric}\n(3 runs)" for metric in ("AUROC", "true positive rate")]


def test_groups_that_are_too_small_are_small_and_hollow():
    table = tables("subgroups")["subgroups"]
    ax = drawn("subgroups").axes[4]
    for init in INITS:
        value = where(table, division="site", metric="auroc", init=init, group=SMALL)["mean"].iloc[0]
        found = [n for n in coloured(ax, init) if list(n.get_ydata()) == [value]]
        assert [n.get_markerfacecolor() for n in found] == ["none"]
        assert np.round(found[0].get_xdata()).tolist() == [GROUPS["site"].index(SMALL)]


def test_a_ring_marks_the_worst_group_of_each_init():
    table = tables("subgroups")["subgroups"]
    ax = drawn("subgroups").axes[4]
    (rings,) = [line for line in ax.lines if line.get_color() == "black"]
    own = where(table, division="site", metric="auroc", compared=True)
    worst = own.loc[own.groupby("init", sort=False)["mean"].idxmin()]
    np.testing.assert_allclose(sorted(rings.get_ydata()), sorted(worst["mean"]))


def test_gaps_and_their_differences_have_intervals():
    gaps = where(tables("subgroups")["subgroup_gaps"], division="sex", metric="auroc", property="gap")
    ax = drawn("subgroups").axes[1]
    found = forest(ax)
    names = ["random", "fractal-stats", "fractal", "fractal-stats − random", "fractal − random",
             "fractal − fractal-stats"]  # fmt: skip
    assert [t.get_text() for t in ax.get_yticklabels()] == names == list(found)
    for _, row in gaps.iterrows():
        name = row["init"] + (f" − {row['reference']}" if row["reference"] else "")
        np.testing.assert_allclose(found[name], row[["value", "low", "high"]].to_numpy(dtype=float))
    assert ax.get_xlabel().startswith("gap in AUROC")


def test_many_groups_are_named_aslant():
    given = changed("subgroups")
    more = [given["subgroups"].assign(group=f"hospital {i}", division="site") for i in range(12)]
    given["subgroups"] = pd.concat(more).drop_duplicates(["group", "init", "metric"])
    ax = draw("subgroups", given).axes[0]
    assert len(ax.get_xticklabels()) == 12
    assert {t.get_rotation() for t in ax.get_xticklabels()} == {40}


# corruption


def test_each_severity_has_its_value_with_interval_after_the_clean_images():
    table = tables("corruption")["corruption"]
    figure = drawn("corruption")
    shown = figure.axes[: len(CORRUPTIONS)]
    for ax, kind in zip(shown, CORRUPTIONS, strict=True):
        for init in INITS:
            own = where(table, corruption=kind, init=init, reference="")
            clean = where(own, quantity="test", severity=1)
            rows = pd.concat([clean, where(own, quantity="corrupted").query("severity > 0")])
            bar = series(ax)[init]
            np.testing.assert_allclose(bar[0].get_ydata(), rows["mean"])
            np.testing.assert_allclose(ends(bar, 1), rows[["low", "high"]])
            assert np.round(bar[0].get_xdata()).tolist() == [0, 1, 2, 3, 4, 5]
        assert ax.get_xlabel() == f"severity of {kind}"
        assert [t.get_text() for t in ax.get_xticklabels()] == ["clean", "1", "2", "3", "4", "5"]
    assert len({ax.get_ylim() for ax in shown}) == 1
    assert shown[0].get_ylabel() == f"test AUROC\n3 runs, {IMAGES} images\nof {PATIENTS} patients"


def test_a_severity_without_value_is_a_gap_in_the_line():
    given = changed("corruption")
    rows = given["corruption"]
    gone = (rows["init"] == "fractal") & (rows["corruption"] == "blur") & (rows["severity"] == 2)
    given["corruption"] = rows[~gone]
    ax = draw("corruption", given).axes[1]
    assert np.isnan(series(ax)["fractal"][0].get_ydata()).tolist() == [False] * 2 + [True] + [False] * 3


def test_the_mean_drop_over_all_corruptions_has_its_interval_and_its_differences():
    table = where(tables("corruption")["corruption"], corruption="all", quantity="drop")
    ax = drawn("corruption").axes[-1]
    found = forest(ax)
    assert len(found) == len(table) == 6
    for _, row in table.iterrows():
        name = row["init"] + (f" − {row['reference']}" if row["reference"] else "")
        np.testing.assert_allclose(found[name], row[["mean", "low", "high"]].to_numpy(dtype=float))


# external


def test_the_external_figure_leads_from_the_test_set_to_each_other_part():
    cells = Cells(("chest",))
    table = tables("external", cells)["shift"]
    figure = drawn("external", cells)
    for row, part in enumerate(("external", "external-nih")):
        values, drops = figure.axes[2 * row : 2 * row + 2]
        own = where(table, part=part, reference="")
        order = itertools.product(cells.models, INITS)
        for bar, (model, init) in zip(bars(values), order, strict=True):
            ends_of = where(own, model=model, init=init).set_index("quantity").loc[["test", "there"]]
            np.testing.assert_allclose(bar[0].get_ydata(), ends_of["mean"])
            np.testing.assert_allclose(ends(bar, 1), ends_of[["low", "high"]])
            x, place = bar[0].get_xdata(), cells.models.index(model)
            assert place - 0.5 < x[0] < x[1] < place + 0.5
        for init, bar in zip(INITS, bars(drops), strict=True):
            lost = where(own, init=init, quantity="drop").set_index("model").loc[list(cells.models)]
            np.testing.assert_allclose(bar[0].get_ydata(), lost["mean"])
            np.testing.assert_allclose(ends(bar, 1), lost[["low", "high"]])
            assert bar[0].get_linestyle() == "None"
        assert values.get_ylabel() == "AUROC (3 runs)"
        assert drops.get_ylabel() == "lost AUROC: test − there"
        assert drops.get_title() == f"there: {IMAGES} images, {PATIENTS} patients"
    assert [ax.get_title() for ax in figure.axes[::2]] == [
        "chest, full, there: other site", "chest, full, there: nih"
    ]  # fmt: skip
    ticks = [t.get_text().strip() for t in figure.axes[0].get_xticklabels()]
    assert ticks == ["test", "cbr", "there", "test", "vit", "there"]


def test_the_external_figure_takes_data_sets_with_different_subsets_and_parts():
    both = tables("external", Cells(("a",), ("cbr",), subsets=("full", "n100")))["shift"]
    one = where(tables("external", Cells(("b",), ("cbr",)))["shift"], part="external")
    figure = draw("external", {"shift": pd.concat([both, one])})
    titles = [ax.get_title() for ax in figure.axes[::2] if ax.axison]
    assert titles == [
        f"a, {subset}, there: {part}" for part in ("other site", "nih") for subset in ("full", "n100")
    ] + ["b, full, there: other site"]  # fmt: skip
    assert words(figure).count("no runs") == 1


# what they share


@pytest.mark.parametrize("name", ["calibration", "convergence", "subgroups"])
def test_panels_beside_each_other_belong_together_where_one_table_lacks_a_subset(name):
    given = changed(name, SUBSETS)
    second = list(given)[1]
    given[second] = given[second][given[second]["subset"] == "full"]
    shown, whole = draw(name, given), drawn(name, SUBSETS)
    assert [ax.get_title() for ax in shown.axes] == [ax.get_title() for ax in whole.axes]
    place = 2 if name == "calibration" else 1
    assert len(bars(shown.axes[place])) == len(bars(whole.axes[place])) > 0


def test_metrics_have_their_names_or_plain_words():
    assert metric_label(pd.DataFrame({"metric": ["auroc"]})) == "AUROC"
    assert metric_label(pd.DataFrame({"metric": ["true_positive_rate"]})) == "true positive rate"


def test_a_span_of_counts_is_one_number_or_two():
    assert span(pd.Series([3, 3])) == "3"
    assert span(pd.Series([5, 3, 4])) == "3 to 5"


def test_signed_numbers_have_a_true_minus():
    assert [signed(value) for value in (0.01234, -0.5, 0.0)] == ["+0.012", "−0.500", "+0.000"]


def test_a_forest_is_as_high_as_its_rows_need():
    assert forest_height(1, 2.0) == 2.0
    assert forest_height(40, 2.0) > 40 * 0.15
    assert forest_height(40, 2.0, lines=2) > 1.5 * forest_height(40, 2.0)


def test_panels_have_the_asked_widths_and_heights():
    figure, axes = panels(2, 2, (2.0, 1.5), widths=(3, 1), heights=(1, 2))
    FigureCanvasAgg(figure).draw()
    box = [[ax.get_position() for ax in row] for row in axes]
    assert box[0][0].width > 2 * box[0][1].width
    assert box[1][0].height > 1.6 * box[0][0].height


def test_an_image_of_very_many_rows_can_still_be_written(tmp_path):
    figure = Figure(figsize=(1, 400))
    save_figure(figure, [tmp_path / "long.png"])
    header = (tmp_path / "long.png").read_bytes()[16:24]
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
    assert (width, height) == (150, 60_000)
