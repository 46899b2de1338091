"""Figures of similarity against gain, of predicted gains, and the map of units: what is drawn."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from representation_tables import Study, cca, scores

from medtransfer.figures import cca_gain, predicted_gains, zoo_map
from medtransfer.figures.gain_points import dataset_styles
from medtransfer.figures.style import apply_style, init_styles
from medtransfer.statistics.gain_prediction import predicted_gains as predict
from medtransfer.statistics.gain_prediction import prediction_errors
from medtransfer.statistics.similarity_gains import similarity_gain_points, similarity_gains

MODULES = {"cca_gain": cca_gain, "predicted_gains": predicted_gains, "zoo_map": zoo_map}
SOURCES = Study(("chest", "fundus", "skin"), ("cbr",), ("random", "inet", "fractal"), seeds=3)
MANY = Study(tuple(f"d{i}" for i in range(30)), ("cbr",), ("random", "inet"), seeds=1)


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


@cache
def similarity_tables(study: Study = SOURCES) -> dict[str, pd.DataFrame]:
    generator = np.random.default_rng(4)
    metrics = study.runs.assign(part="test", metric="auroc", target=True)
    metrics["value"] = generator.uniform(0.6, 0.9, len(metrics))

    class Settings:
        reference = "random"

    points = similarity_gain_points(cca(study), metrics, Settings())  # type: ignore[arg-type]
    return {"points": points, "correlations": similarity_gains(points, 0.95)}


@cache
def prediction_tables(study: Study = MANY, networks: int = 1) -> dict[str, pd.DataFrame]:
    generator = np.random.default_rng(5)
    rows = []
    for init, dataset, number in itertools.product(study.inits[1:], study.datasets, range(networks)):
        gain = generator.uniform(-0.02, 0.12)
        rows.append({
            "recipe": "r", "dataset": dataset, "model": f"m{number}", "subset": "full",
            "metric": "auroc", "init": init, "source": init, "reference": "random", "gain": gain,
            "gain_low": gain - 0.01, "gain_high": gain + 0.02, "training_images": math.nan,
            "parameters": math.nan, "family": None, "distance": math.nan,
        })  # fmt: skip
    points = pd.DataFrame(rows)
    scored = scores(study).assign(model="m0")
    found = predict(points, scored[scored["score"].isin(["logme", "leep"])], 0.95)
    return {"predicted": found, "errors": prediction_errors(found, 0.95)}


def map_table(study: Study = SOURCES, units: int = 4) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    rows = []
    for run, moment, order in itertools.product(
        study.runs.to_dict("records"), ("start", "end"), range(units)
    ):
        x, y = generator.normal([order / units, 0], 0.2)
        rows.append(run | {"moment": moment, "point": f"u{order}", "order": order, "x": x, "y": y,
                           "held": 0.432})  # fmt: skip
    return pd.DataFrame(rows)


def tables_of(name: str) -> dict[str, pd.DataFrame]:
    if name == "zoo_map":
        return {"zoo_map": map_table()}
    return similarity_tables() if name == "cca_gain" else prediction_tables()


def draw(name: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Without its layout; no table is changed."""
    before = {key: table.copy() for key, table in tables.items()}
    figure = MODULES[name].draw(tables)
    for key, table in tables.items():
        pd.testing.assert_frame_equal(table, before[key])
    return figure


def lay_out(figure: Figure) -> None:
    """As it is printed; a layout that fails is an error."""
    figure.set_dpi(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()


def content(figure: Figure) -> list[str]:
    """All that is drawn: lines with their looks, bars, words."""
    lines = [
        f"{line.get_xydata().tolist()} {line.get_color()} {line.get_marker()} {line.get_linestyle()}"
        for line in figure.findobj(Line2D)
    ]
    bars = [str(bar.get_segments()) for bar in figure.findobj(LineCollection)]
    return [*lines, *bars, *(text.get_text() for text in figure.findobj(Text))]


def shown(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.axison]


def marks(ax: Axes, marker: str, **looks: object) -> list[Line2D]:
    found = [line for line in ax.lines if line.get_marker() == marker and len(line.get_xdata())]
    return [n for n in found if all(getattr(n, f"get_{k}")() == v for k, v in looks.items())]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("name", MODULES)
def test_figures_are_inside_their_pages_and_no_titles_touch(name):
    figure = draw(name, tables_of(name))
    lay_out(figure)
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < page[0] + 0.05 and box.y1 < page[1] + 0.05
    boxes = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert len(boxes) > 1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(ax.get_window_extent()) for ax in shown(figure))


@pytest.mark.parametrize("name", MODULES)
def test_a_study_without_anything_to_show_says_so(name):
    full = tables_of(name)
    for tables in (
        {key: pd.DataFrame() for key in full},
        {key: table[:0] for key, table in full.items()},
    ):
        (ax,) = draw(name, tables).axes
        assert not ax.axison and ax.texts[0].get_text().startswith("no ")


@pytest.mark.parametrize("name", MODULES)
def test_drawing_what_is_selected_is_drawing_all(name):
    raw = tables_of(name)
    selected = MODULES[name].select(raw)
    assert list(selected) == list(raw)
    kept = {key: raw[key].loc[sorted(rows.index)] for key, rows in selected.items()}
    whole, part = (content(draw(name, tables)) for tables in (raw, kept))
    assert len(whole) > 50 and whole == part


# similarity against gain


def test_each_selected_run_is_a_dot_and_each_data_set_a_mean_with_the_slope_within():
    tables = similarity_tables()
    drawn = cca_gain.select(tables)
    figure = draw("cca_gain", tables)
    panels = [rows for _, rows in drawn["points"].groupby(["pool", "init", "order"])]
    assert len(panels) == len(shown(figure)) == 2 * 5
    looks = dataset_styles(drawn["points"]["dataset"])
    titled = {(ax.get_subplotspec().rowspan.start, ax.get_title().split("\n")[0]): ax
              for ax in shown(figure)}  # fmt: skip
    inits = list(drawn["points"]["init"].unique())
    for rows in panels:
        first = rows.iloc[0]
        ax = titled[inits.index(first["init"]), first["point"]]
        (found,) = [
            row
            for _, row in drawn["correlations"].iterrows()
            if (row["init"], row["point"]) == (first["init"], first["point"])
        ]
        for dataset, own in rows.groupby("dataset"):
            dots, mean = marks(ax, looks[dataset]["marker"], color=looks[dataset]["color"])
            np.testing.assert_allclose(dots.get_xdata(), own["similarity"])
            np.testing.assert_allclose(dots.get_ydata(), own["relative_gain"])
            centre = (own["similarity"].mean(), own["relative_gain"].mean())
            assert (*mean.get_xdata(), *mean.get_ydata()) == pytest.approx(centre)
            (line,) = marks(ax, "None", color=looks[dataset]["color"])
            (x0, x1), (y0, y1) = line.get_xdata(), line.get_ydata()
            assert (x0, x1) == (own["similarity"].min(), own["similarity"].max())
            assert (y1 - y0) / (x1 - x0) == pytest.approx(found["within_slope"])
            assert y0 + (centre[0] - x0) * found["within_slope"] == pytest.approx(centre[1])
        for name in ("pooled", "within"):
            value = f"{found[name]:.2f}".replace("-", "−").replace("0.", ".")
            assert f"{name} {value} [" in ax.get_title()
        assert f"n = {len(rows)} of 3 data sets" in ax.get_xlabel()


def test_few_units_are_drawn_from_the_first_to_the_last():
    deep = similarity_tables(Study(("chest",), ("resnet",), ("random", "inet"), seeds=2))
    points = cca_gain.select(deep)["points"]
    names = points.sort_values("order")["point"].unique()
    assert len(names) == 5
    assert points["order"].min() == 0 and points["order"].max() == 5


def test_the_measure_is_that_of_study_four_where_all_of_it_is_reliable():
    tables = similarity_tables()
    assert set(cca_gain.select(tables)["points"]["measure"]) == {"svcca"}
    reliable = {key: table.assign(reliable=True) for key, table in tables.items()}
    for table in cca_gain.select(reliable).values():
        assert set(table["measure"]) == {"sampled_channels"}
    assert "CCA of 64 channels" in shown(draw("cca_gain", reliable))[0].get_xlabel()


def test_relative_gains_alone_are_selected_with_their_correlations():
    tables = {key: table.copy() for key, table in similarity_tables().items()}
    tables["points"].loc[0, "relative_gain"] = math.nan
    drawn = cca_gain.select(tables)
    assert drawn["points"]["relative_gain"].notna().all()
    wanted = tables["correlations"].loc[drawn["correlations"].index]
    assert set(wanted["gain"]) == {"relative"}
    assert len(wanted) == len(drawn["points"][["init", "point"]].drop_duplicates())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "pooled .50 [.10, .80], p .04"),
        ({"pooled_low": math.nan}, "pooled .50, p .04"),
        ({"pooled_p": 0.0001}, "pooled .50 [.10, .80], p < .01"),
        ({"pooled": -0.5, "pooled_p": math.nan}, "pooled −.50 [.10, .80]"),
        ({"pooled": math.nan}, "pooled: not known"),
    ],
)
def test_a_correlation_is_told_with_what_it_has(changes, text):
    row = {"pooled": 0.5, "pooled_low": 0.1, "pooled_high": 0.8, "pooled_p": 0.04}
    within = {f"within{end}": math.nan for end in ("", "_low", "_high", "_p")}
    told = cca_gain.correlation_text(pd.Series(row | within | changes))
    assert told == f"{text}\nwithin: not known"


def test_thirty_data_sets_look_different():
    looks = dataset_styles(MANY.datasets)
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 30
    figure = draw("cca_gain", similarity_tables(MANY))
    assert set(MANY.datasets) <= set(legend_names(figure))


# predicted gains


def predictor_panel(figure: Figure, name: str) -> Axes:
    (ax,) = [ax for ax in figure.axes if ax.get_title().split("\n")[0] == name]
    return ax


def test_marks_are_predicted_against_realised_with_both_intervals():
    tables = prediction_tables(Study(("a", "b", "c", "d"), ("m0",), ("random", "s", "t")))
    figure = draw("predicted_gains", tables)
    for predictor, title in (("mean", "mean of the other data sets"), ("logme", "LogME")):
        ax = predictor_panel(figure, title)
        rows = tables["predicted"]
        rows = rows[rows["predictor"] == predictor]
        looks = dataset_styles(rows["dataset"])
        assert len(rows) == 8
        for _, row in rows.iterrows():
            look = looks[row["dataset"]]
            fill = "full" if row["source"] == "s" else "none"
            (mark,) = marks(ax, look["marker"], color=look["color"], fillstyle=fill)
            place = (*mark.get_xdata(), *mark.get_ydata())
            assert place == pytest.approx((row["predicted"], row["gain"]))
        ends = np.array([s for bar in ax.collections for s in bar.get_segments()])
        across = ends[ends[:, 0, 1] == ends[:, 1, 1]]
        upright = ends[ends[:, 0, 0] == ends[:, 1, 0]]
        for found, names in (
            (across[:, :, 0], ["predicted_low", "predicted_high"]),
            (upright[:, :, 1], ["gain_low", "gain_high"]),
        ):
            np.testing.assert_allclose(np.sort(found, axis=0), np.sort(rows[names], axis=0))


def test_titles_have_the_errors_and_both_axes_the_same_range():
    tables = prediction_tables()
    figure = draw("predicted_gains", tables)
    for predictor, title in (("mean", "mean of the other data sets"), ("logme", "LogME")):
        ax = predictor_panel(figure, title)
        (error,) = [r for _, r in tables["errors"].iterrows() if r["predictor"] == predictor]
        assert f"mean absolute error {error['error']:.3f}" in ax.get_title()
        assert f"{error['inside']} of 30 in the prediction interval" in ax.get_title()
        assert ("difference" in ax.get_title()) == (predictor != "mean")
        assert ax.get_xlim() == ax.get_ylim()
        (line,) = [n for n in ax.lines if isinstance(n, matplotlib.lines.AxLine)]
        assert (line.get_xy1(), line.get_slope()) == ((0, 0), 1)
        rows = tables["predicted"].query("predictor == @predictor")
        for column in ("predicted", "gain"):
            assert rows[column].between(*ax.get_xlim()).all()


def test_a_predictor_that_cannot_says_why():
    tables = prediction_tables()
    ax = predictor_panel(draw("predicted_gains", tables), "mixed model of factors")
    assert not ax.axison
    text = " ".join(ax.texts[0].get_text().split())
    assert text == "not predicted: no factor is known and differs between the gains"
    assert set(predicted_gains.select(tables)["predicted"]["predictor"]) == {"mean", "logme", "leep"}


def test_two_data_sets_are_told_that_they_are_too_few():
    tables = prediction_tables(Study(("chest", "fundus"), ("m0",), ("random", "s")))
    (ax,) = draw("predicted_gains", tables).axes
    text = " ".join(ax.texts[0].get_text().split())
    assert text.startswith("no gain can be predicted: 1 other data sets with this source and metric")


def test_thirty_data_sets_of_several_metrics_have_rows_of_their_own():
    tables = prediction_tables()
    kappa = {key: table.assign(metric="quadratic_kappa") for key, table in tables.items()}
    both = {k: pd.concat([tables[k], kappa[k]], ignore_index=True) for k in tables}
    figure = draw("predicted_gains", both)
    labels = [ax.get_xlabel() for ax in shown(figure)]
    assert labels == ["predicted gain in AUROC"] * 3 + ["predicted gain in quadratic κ"] * 3
    for ax in shown(figure):
        drawn = [n for n in ax.lines if n.get_marker() != "None" and len(n.get_xdata())]
        assert len(drawn) == 30
    assert set(MANY.datasets) <= set(legend_names(figure))


# the map


def test_a_line_is_a_run_from_its_first_unit_to_its_last():
    table = map_table(Study(("chest",), ("cbr", "vit"), seeds=2))
    figure = draw("zoo_map", {"zoo_map": table.sample(frac=1, random_state=0)})
    styles = init_styles(("random", "fractal-stats", "fractal"))
    axes = np.array(shown(figure)).reshape(2, 2)
    models = {ax.get_ylabel(): row for ax, row in zip(axes[:, 0], axes, strict=True)}
    for (model, column), init in itertools.product(itertools.product(("cbr", "vit"), range(2)), styles):
        ax, style = models[model][column], styles[init]
        moment = ("start", "end")[column]
        assert moment in axes[0, column].get_title()
        lines = marks(
            ax, "None", color=style.colour, linestyle="-" if init != "fractal-stats" else "--"
        )
        for seed in range(2):
            own = (table["model"] == model) & (table["init"] == init)
            run = table[own & (table["moment"] == moment) & (table["seed"] == seed)]
            wanted = run.sort_values("order")[["x", "y"]].to_numpy()
            assert any(np.array_equal(line.get_xydata(), wanted) for line in lines)
            for marker, place in ((".", wanted[0]), (style.marker, wanted[-1])):
                found = [line.get_xydata()[0] for line in marks(ax, marker, color=style.colour)]
                assert any(np.array_equal(place, other) for other in found)
        assert len(lines) == 2
        assert len(marks(ax, "None", color=zoo_map.OTHERS["color"])) == 6


def test_panels_of_a_map_have_the_same_square_and_say_what_the_plane_holds():
    table = map_table(Study(("chest", "fundus"), ("cbr",), seeds=2))
    table.loc[table["dataset"] == "fundus", ["x", "held"]] = [3.0, 0.25]
    figure = draw("zoo_map", {"zoo_map": table})
    for number, ax in enumerate(shown(figure)):
        dataset, held = ("chest", "43%") if number < 2 else ("fundus", "25%")
        first, *rest = ax.get_title().split("\n")
        assert (first, rest[0].split(" of ")[1]) == (dataset, "6 runs")
        assert rest[1] == f"plane: {held} of squared distances"
        own = table[table["dataset"] == dataset]
        assert own["x"].between(*ax.get_xlim()).all() and own["y"].between(*ax.get_ylim()).all()
        assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
        assert ax.get_xlim() == shown(figure)[number // 2 * 2].get_xlim()
        assert ax.get_aspect() == 1


def test_partial_transfers_aren_t_drawn_and_a_network_without_runs_is_a_marked_gap():
    table = map_table(Study(("chest", "fundus"), ("cbr", "vit"), ("random", "s", "s-upto2-stats"), 1))
    table = table[(table["dataset"] == "chest") | (table["model"] == "cbr")]
    assert "s-upto2-stats" not in set(zoo_map.select({"zoo_map": table})["zoo_map"]["init"])
    figure = draw("zoo_map", {"zoo_map": table})
    assert "s-upto2-stats" not in legend_names(figure)
    said = [text.get_text() for ax in figure.axes if not ax.axison for text in ax.texts]
    assert said == ["no runs", "no runs"]
    assert sum(bool(ax.get_xlabel()) for ax in figure.axes) == 4


def test_splits_have_maps_of_their_own():
    table = map_table(Study(("chest",), ("cbr",), seeds=1))
    both = pd.concat([table, table.assign(split="cv5-1", held=0.1)], ignore_index=True)
    titles = [ax.get_title().split("\n")[0] for ax in shown(draw("zoo_map", {"zoo_map": both}))]
    assert titles == ["chest, holdout"] * 2 + ["chest, cv5-1"] * 2


def test_thirty_starts_are_all_named():
    inits = ("random", *(f"s{i}" for i in range(29)))
    figure = draw("zoo_map", {"zoo_map": map_table(Study(("chest",), ("cbr",), inits, seeds=1))})
    assert set(inits) <= set(legend_names(figure))
