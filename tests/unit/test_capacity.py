"""The metric and the gain against the size of the network."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy.optimize import minimize

from medtransfer.errors import DataError
from medtransfer.figures import capacity
from medtransfer.figures.style import apply_style, init_styles
from medtransfer.statistics.comparison import summarise
from medtransfer.statistics.gain_factors import GAIN_POINTS
from medtransfer.statistics.networks import NETWORKS, networks
from medtransfer.tables import table_of

SIZES = {"deit_ti": 5.5e6, "deit_s": 21.7e6, "resnet50": 23.5e6, "deit_b": 85.8e6}
FAMILIES = {"deit_ti": "deit", "deit_s": "deit", "resnet50": "resnet", "deit_b": "deit"}
INITS = ("random", "src-stats", "src")


@pytest.fixture(autouse=True)
def project_style() -> Iterator[None]:
    with matplotlib.rc_context():
        apply_style()
        yield


def metric_rows(
    sizes: dict[str, float] = SIZES,
    datasets: tuple[str, ...] = ("chest",),
    inits: tuple[str, ...] = INITS,
    subsets: tuple[str, ...] = ("full",),
    seeds: int = 3,
) -> pd.DataFrame:
    """A table of schema METRICS, on each data set with a little more parameters, for its classes."""
    names = ["dataset", "model", "init", "subset", "seed"]
    values = [datasets, sizes, inits, subsets, range(seeds)]
    table = pd.DataFrame(list(itertools.product(*values)), columns=names).assign(
        part="test", recipe="r", split="holdout", metric="auroc", target=True, images=40, patients=20,
        test_train_ratio=0.1,
    )  # fmt: skip
    table["training_images"] = table["subset"].map({"full": 400, "n100": 100}).astype(int)
    table["parameters"] = table["model"].map(sizes) + 1e3 * table["dataset"].map(datasets.index)
    table["value"] = np.random.default_rng(0).uniform(0.5, 0.9, len(table))
    return table


def gain_rows(metrics: pd.DataFrame, families: dict[str, str]) -> pd.DataFrame:
    """A table of schema GAIN_POINTS: of src over random, with made-up intervals."""
    cell = ["recipe", "dataset", "model", "subset", "metric", "training_images", "parameters"]
    means = metrics.groupby([*cell, "init"], sort=False)["value"].mean().unstack()
    if "src" not in means:
        return table_of([], GAIN_POINTS)
    points = (means["src"] - means["random"]).rename("gain").dropna().reset_index()
    points = points.assign(
        init="src", source="src", reference="random", pairs=3, paired_by="seed", distance=np.nan,
        gain_low=points["gain"] - 0.03, gain_high=points["gain"] + 0.02,
        family=points["model"].map(families),
    )  # fmt: skip
    return table_of(points.to_dict("records"), GAIN_POINTS)


def tables_of(metrics: pd.DataFrame, families: dict[str, str] = FAMILIES) -> dict[str, pd.DataFrame]:
    summary = summarise(metrics, 0.95)
    return {
        "summary": pd.concat([summary, summary.assign(part="validation", mean=0.1)]),
        "gain_points": gain_rows(metrics, families),
        "networks": networks(metrics, families),
    }


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """As the script does, down to pixels; tables stay as they are and warnings are errors."""
    before = {key: table.copy() for key, table in tables.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = capacity.draw(tables)
        FigureCanvasAgg(figure).draw()
    for key, table in tables.items():
        pd.testing.assert_frame_equal(table, before[key])
    return figure


def shown(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.axison]


def series(ax: Axes, init: str) -> list[ErrorbarContainer]:
    """The lines of an init, by its marker and filling."""
    style = init_styles(INITS)[init]
    face = style.colour if style.filled else "white"
    return [
        bar
        for bar in ax.containers
        if (bar[0].get_marker(), bar[0].get_markerfacecolor()) == (style.marker, face)
    ]


def ends(bar: ErrorbarContainer) -> np.ndarray:
    (collection,) = bar[2]
    return np.array([segment[:, 1] for segment in collection.get_segments()])


def tick_words(ax: Axes) -> list[str]:
    return [tick.get_text() for tick in ax.get_xticklabels()]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def stays_on_its_page(figure: Figure) -> bool:
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < page[0] + 0.05 and box.y1 < page[1] + 0.05


# the table of networks


def test_the_table_of_networks_has_each_size_once_and_no_slim_one():
    slim = metric_rows(inits=("src-upto1-slim",)).assign(parameters=1.0)
    table = networks(pd.concat([slim, metric_rows(datasets=("chest", "fundus"))]), FAMILIES)
    NETWORKS.check(table)
    assert table["recipe"].tolist() == ["r"] * 8
    found = {(row.dataset, row.model): (row.parameters, row.family) for row in table.itertuples()}
    assert found == {
        (dataset, model): (size + more, FAMILIES[model])
        for dataset, more in (("chest", 0), ("fundus", 1e3))
        for model, size in SIZES.items()
    }


def test_networks_of_unknown_size_or_family_are_left_out_or_stay_without_one():
    metrics = metric_rows()
    metrics.loc[metrics["model"] == "deit_s", "parameters"] = np.nan
    table = networks(metrics, {"deit_ti": "deit"}).set_index("model")
    assert set(table.index) == set(SIZES) - {"deit_s"}
    assert table["family"].isna().to_dict() == {"deit_ti": False, "resnet50": True, "deit_b": True}
    none = networks(metrics.assign(parameters=np.nan), FAMILIES)
    NETWORKS.check(none)
    assert none.empty
    with pytest.raises(DataError, match="parameters"):
        NETWORKS.check(none.drop(columns="parameters"))


# the figure


def test_means_and_gains_stand_over_the_sizes_of_their_networks():
    tables = tables_of(metric_rows())
    above, below = shown(draw(tables))
    summary = tables["summary"]
    means = summary[summary["part"] == "test"].set_index(["init", "model"])
    for init in INITS:
        deits, resnet = series(above, init)
        for bar, models in ((deits, ["deit_ti", "deit_s", "deit_b"]), (resnet, ["resnet50"])):
            rows = means.loc[init].loc[models]
            np.testing.assert_allclose(bar[0].get_ydata(), rows["mean"])
            np.testing.assert_allclose(ends(bar), rows[["low", "high"]])
            assert bar[0].get_xdata() == pytest.approx(
                [np.log10(SIZES[model]) for model in models], abs=0.12
            )
    (deits, resnet) = series(below, "src")
    gains = tables["gain_points"].set_index("model").loc[["deit_ti", "deit_s", "deit_b"]]
    np.testing.assert_allclose(deits[0].get_ydata(), gains["gain"])
    np.testing.assert_allclose(ends(deits), gains[["gain_low", "gain_high"]])
    np.testing.assert_allclose(deits[0].get_xdata(), series(above, "src")[0][0].get_xdata())
    assert resnet[0].get_ydata() == pytest.approx(
        tables["gain_points"].set_index("model").loc[["resnet50"], "gain"]
    )
    assert any(list(line.get_ydata()) == [0, 0] for line in below.lines)


def test_names_give_the_sizes_and_marks_stand_above_their_names():
    figure = draw(tables_of(metric_rows()))
    above, below = shown(figure)
    assert tick_words(below) == [
        "deit_ti, 5.5 M", "deit_s, 21.7 M", "resnet50, 23.5 M", "deit_b, 85.8 M"
    ]  # fmt: skip
    assert not any(tick.label1.get_visible() for tick in above.xaxis.get_major_ticks())
    places = below.get_xticks()
    marks = {init: np.sort(np.concatenate([b[0].get_xdata() for b in series(above, init)]))
             for init in INITS}  # fmt: skip
    # the middle one of three starts
    np.testing.assert_allclose(marks["src-stats"], places)
    assert (marks["random"] < places).all()
    assert (marks["src"] > places).all()
    assert (marks["src"][:-1] < marks["random"][1:]).all()
    assert below.get_xlim() == above.get_xlim()
    assert above.get_ylabel() == "test AUROC"
    assert below.get_ylabel() == "gain over\nrandom"
    assert above.get_title().replace("\n", " ") == "chest: 400 training images, 3 runs a cell"
    assert legend_names(figure) == [*INITS, "bars: interval over seeds or folds"]


def test_small_networks_are_counted_in_thousands():
    (_, below) = shown(draw(tables_of(metric_rows({"a": 62_309.0, "b": 1_234_000.0}))))
    assert tick_words(below) == ["a, 62.3 k", "b, 1.23 M"]


def test_names_of_networks_of_one_size_do_not_overlap():
    sizes = {f"network_with_a_name_{i}": 2e7 + i for i in range(12)} | {"small": 1e5, "large": 1e9}
    figure = draw(tables_of(metric_rows(sizes, inits=("random", "src"), seeds=2), {}))
    (_, below) = shown(figure)
    boxes = [text.get_window_extent() for text in below.get_xticklabels()]
    assert len(boxes) == 14
    assert all(a.x1 <= b.x0 + 0.5 for a, b in itertools.pairwise(boxes))
    assert stays_on_its_page(figure)


@pytest.mark.parametrize("seed", range(5))
def test_spread_places_are_the_nearest_that_are_a_gap_apart(seed):
    places = np.sort(np.random.default_rng(seed).uniform(0, 1, 6))
    found = capacity.spread(places, (0.0, 1.0), 0.15)
    assert (np.diff(found) >= 0.15 - 1e-9).all()
    assert found[0] >= 0
    assert found[-1] <= 1
    gaps = [{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - 0.15} for i in range(5)]
    nearest = minimize(
        lambda x: np.sum((x - places) ** 2), np.linspace(0, 1, 6), bounds=[(0, 1)] * 6,
        constraints=gaps, method="SLSQP", options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(found, nearest.x, atol=1e-4)


def test_places_that_are_apart_stay_and_too_many_fill_the_axis():
    apart = np.array([0.1, 0.4, 0.8])
    np.testing.assert_allclose(capacity.spread(apart, (0.0, 1.0), 0.2), apart)
    np.testing.assert_allclose(capacity.spread(np.full(5, 0.3), (0.0, 1.0), 9), np.linspace(0, 1, 5))
    np.testing.assert_allclose(capacity.spread(np.array([0.3]), (0.0, 1.0), 0.2), [0.3])


def test_only_the_largest_subset_of_data_sets_with_two_networks_is_drawn():
    metrics = pd.concat(
        [
            metric_rows(subsets=("n100", "full")),
            metric_rows({"deit_s": 21.7e6}, datasets=("alone",)),
            metric_rows(inits=("src-upto1-stats",)),
            metric_rows(datasets=("small",), subsets=("n100",)),
        ]
    )
    tables = tables_of(metrics)
    rows = capacity.select(tables)
    found = rows["summary"][["dataset", "subset"]].drop_duplicates().to_numpy().tolist()
    assert found == [["chest", "full"], ["small", "n100"]]
    assert set(rows["summary"]["init"]) == set(INITS)
    assert len(rows["summary"]) == 2 * 4 * 3
    gains = rows["gain_points"][["dataset", "subset"]].drop_duplicates().to_numpy().tolist()
    assert gains == found
    titles = [ax.get_title() for ax in shown(draw(tables)) if ax.get_title()]
    assert [title.split(":")[0] for title in titles] == ["chest", "small"]


def test_five_data_sets_go_on_below_each_other_on_one_sheet():
    names = ("a", "b", "c", "d", "e")
    figure = draw(tables_of(metric_rows(datasets=names)))
    assert figure.get_figwidth() <= 7.2
    axes = shown(figure)
    assert len(axes) == 10
    assert sorted(ax.get_title()[0] for ax in axes if ax.get_title()) == list(names)
    assert stays_on_its_page(figure)


def test_the_gains_are_those_of_the_panels_data_set():
    tables = tables_of(metric_rows(datasets=("a", "b"), inits=("random", "src")))
    axes = draw(tables).axes
    for column, dataset in enumerate(("a", "b")):
        gains = tables["gain_points"]
        expected = gains[gains["dataset"] == dataset]["gain"]
        drawn = [y for bar in axes[2 + column].containers for y in bar[0].get_ydata()]
        assert sorted(drawn) == pytest.approx(sorted(expected))


def test_a_study_without_gains_has_means_alone():
    (ax,) = shown(draw(tables_of(metric_rows(inits=("random",)))))
    assert ax.get_ylabel() == "test AUROC"
    assert tick_words(ax)[0] == "deit_ti, 5.5 M"


def test_a_data_set_without_gains_says_so_beside_another_that_has_some():
    metrics = pd.concat([metric_rows(), metric_rows(datasets=("bare",), inits=("random",))])
    axes = shown(draw(tables_of(metrics)))
    words = [text.get_text() for ax in axes for text in ax.texts]
    assert words == ["no gains"]


@pytest.mark.parametrize(
    "metrics", [metric_rows({"deit_s": 2e7}), metric_rows().assign(parameters=np.nan)],
    ids=["one network", "no sizes"],
)  # fmt: skip
def test_without_two_networks_of_known_size_there_is_a_note(metrics):
    (text,) = draw(tables_of(metrics)).axes[0].texts
    assert text.get_text().startswith("no capacity")


def test_empty_tables_give_a_note():
    empty = dict.fromkeys(("summary", "gain_points", "networks"), pd.DataFrame())
    assert draw(empty).axes[0].texts


def test_one_run_a_cell_has_marks_without_intervals():
    above, _ = shown(draw(tables_of(metric_rows(seeds=1))))
    for bar in above.containers:
        np.testing.assert_allclose(ends(bar)[:, 0], ends(bar)[:, 1])


def test_30_networks_stay_on_their_page():
    sizes = {f"network_{i:02d}": 10 ** (5 + i / 6) for i in range(30)}
    figure = draw(tables_of(metric_rows(sizes, inits=("random", "src"), seeds=2), {}))
    assert stays_on_its_page(figure)
    assert len(tick_words(shown(figure)[1])) == 30
