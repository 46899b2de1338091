"""Runs of folds and seeds by start, and gains against what they may depend on."""

from __future__ import annotations

from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from toy_metrics import family, rows_of, study

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.figures import factors, folds
from medtransfer.figures.folds import PAIR_COLOUR, RUN_PLACE
from medtransfer.figures.style import apply_style
from medtransfer.statistics.comparison import compare, summarise
from medtransfer.statistics.factors import fit_factors
from medtransfer.statistics.gain_factors import (
    GAIN_FACTORS,
    GAIN_POINTS,
    gain_factors,
    gain_points,
)

FOLDS = {("cv3-0", 0): 0.70, ("cv3-1", 0): 0.74, ("cv3-2", 0): 0.66}
STUDY = study()
SETS = {"a": (100, 10.0), "b": (1000, 40.0), "c": (5000, 20.0), "d": (20000, 35.0), "e": (300, 15.0)}
NETWORKS = {"small": (1e5, "cnn"), "large": (1e7, "cnn"), "vit": (2e6, "vit"), "swin": (9e6, "vit")}


@pytest.fixture(autouse=True)
def project_style():
    with matplotlib.rc_context():
        apply_style()
        yield


def axes_of(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.axison]


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer)]


# folds


def runs_of(**starts: float) -> list[dict]:
    """Three folds of each start, which are its offset away from FOLDS."""
    return [
        row
        for init, offset in starts.items()
        for row in rows_of(init.replace("_", "-"), {run: v + offset for run, v in FOLDS.items()})
    ]


def drawn(rows: list[dict]) -> Figure:
    metrics = pd.DataFrame(rows)
    tables = {"metrics": metrics, "summary": summarise(metrics, 0.95)}
    return folds.draw(distinguish_recipes(tables))


def pairs(ax: Axes) -> list[np.ndarray]:
    return [
        line.get_xydata()
        for line in ax.lines
        if line.get_color() == PAIR_COLOUR and len(line.get_xdata())
    ]


def test_runs_of_one_fold_are_joined_from_start_to_start():
    (ax,) = axes_of(drawn(runs_of(random=0.0, src=0.1, src_stats=-0.2)))
    found = sorted(pairs(ax), key=lambda line: line[0, 1])
    assert len(found) == 3
    for line, value in zip(found, sorted(FOLDS.values()), strict=True):
        np.testing.assert_allclose(line[:, 0], np.arange(3) + RUN_PLACE)
        np.testing.assert_allclose(line[:, 1], [value, value + 0.1, value - 0.2])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["random", "src", "src-stats"]


def test_means_with_their_intervals_stand_beside_the_runs():
    rows = runs_of(random=0.0, src=0.1)
    (ax,) = axes_of(drawn(rows))
    expected = summarise(pd.DataFrame(rows), 0.95)
    for place, (bar, (_, row)) in enumerate(zip(bars(ax), expected.iterrows(), strict=True)):
        ((x, mean),) = bar[0].get_xydata()
        assert place < x < place + 0.5
        assert mean == pytest.approx(row["mean"])
        (segment,) = bar[2][0].get_segments()
        assert segment[:, 1] == pytest.approx([row["low"], row["high"]])
    assert ax.get_title() == "d, m\n3 folds"
    assert ax.get_ylabel() == "test AUROC"


def test_recipes_are_apart_and_a_start_that_one_lacks_is_a_marked_gap():
    frozen = [row | {"recipe": "freeze"} for row in runs_of(src=0.2)]
    (ax,) = axes_of(drawn(runs_of(random=0.0, src=0.1) + frozen))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["random", "src"] * 2
    ticks = ax.get_xticks()
    assert ticks[2] - ticks[1] > 1.5
    assert words(ax).count("no runs") == 1
    (gap,) = [t for t in ax.texts if t.get_text() == "no runs"]
    assert gap.get_position()[0] == ticks[2]
    assert {"r", "freeze"} < set(words(ax))
    # no line leads from one recipe to the other
    assert all(len(set(line[:, 0] > 1.5)) == 1 for line in pairs(ax))
    assert len(bars(ax)) == 3


def test_each_data_set_network_and_subset_has_a_panel():
    places = [
        {"dataset": d, "model": m, "subset": s} for d in "ab" for m in "xy" for s in ("full", "n9")
    ]
    rows = [row | place for place in places for row in runs_of(random=0.0)]
    titles = [ax.get_title().split("\n")[0] for ax in axes_of(drawn(rows))]
    assert titles == [f"{d}, {m}, {s}" for d in "ab" for m in "xy" for s in ("full", "n9")]


def test_seeds_are_named_and_joined_and_one_run_has_neither_line_nor_interval():
    figure = drawn([*rows_of("random", [0.6, 0.7]), *rows_of("src", [0.8])])
    (ax,) = axes_of(figure)
    assert ax.get_title().endswith("1 to 2 seeds")
    assert sorted(len(line) for line in pairs(ax)) == [1, 2]
    single = drawn(rows_of("random", [0.6]))
    assert single.axes[0].get_title().endswith("1 seed")
    assert not single.legends


def test_partial_transfers_other_parts_and_other_metrics_are_not_drawn():
    rows = runs_of(random=0.0, src=0.1)
    more = [row | {"part": "validation"} for row in rows] + [row | {"target": False} for row in rows]
    partial = [row | {"init": "src-upto1-stats"} for row in rows[3:]]
    metrics = pd.DataFrame(rows + more + partial)
    chosen = folds.select({"metrics": metrics, "summary": summarise(metrics, 0.95)})
    assert len(chosen["metrics"]) == 6
    assert len(chosen["summary"]) == 2
    undefined = [row | {"value": float("nan")} for row in runs_of(src=0.0)]
    (ax,) = axes_of(drawn(runs_of(random=0.0) + undefined))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["random"]


def test_thirty_starts_fit_the_page_and_no_results_are_said():
    names = {f"s{i}{kind}": 0.01 * i for i in range(15) for kind in ("", "_stats")}
    figure = drawn(runs_of(**names))
    assert figure.get_figwidth() <= 7.2
    assert len(axes_of(figure)[0].get_xticklabels()) == 30
    nothing = folds.draw({"metrics": pd.DataFrame(), "summary": pd.DataFrame()})
    assert "no results" in nothing.axes[0].texts[0].get_text()


# factors


@cache
def usual() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points of five data sets with distances, and their models; shared, and changed by no test."""
    points = points_of(gain_rows(), distances_of())
    return points, gain_factors(points, STUDY)


@cache
def usual_panels() -> list[Axes]:
    points, models = usual()
    return axes_of(factors.draw({"points": points, "models": models}))


def gain_rows(sets=SETS, networks=NETWORKS, metric="auroc") -> pd.DataFrame:
    """Of schema METRICS: gains of three seeds that fall with the logarithm of the images."""
    draw = np.random.default_rng(0)
    rows = []
    for dataset, (images, _) in sets.items():
        for model, (parameters, kind) in networks.items():
            place = {"dataset": dataset, "model": model, "training_images": images,
                     "parameters": parameters, "metric": metric}  # fmt: skip
            gain = 0.2 - 0.02 * np.log(images) + 0.03 * (kind == "vit")
            rows += rows_of("random", [0.5, 0.5, 0.5], **place)
            values = list(0.5 + gain + draw.normal(0, 0.02, 3))
            rows += rows_of("src", values, **place)
    return pd.DataFrame(rows)


def distances_of(sets=SETS, source="src") -> pd.DataFrame:
    rows = [
        {"source": source, "dataset": name, "measure": measure, "value": value * scale}
        for name, (_, value) in sets.items()
        for measure, scale in (("frechet", 1.0), ("kernel", 0.01))
    ]
    return pd.DataFrame(rows)


def points_of(metrics: pd.DataFrame, distances=None, settings: StudySettings = STUDY) -> pd.DataFrame:
    families = {name: kind for name, (_, kind) in NETWORKS.items()}
    found = gain_points(compare(metrics, settings), metrics, families, distances, settings)
    GAIN_POINTS.check(found)
    return found


def drawn_factors(metrics: pd.DataFrame, distances=None) -> Figure:
    points = points_of(metrics, distances)
    return factors.draw(distinguish_recipes({"points": points, "models": gain_factors(points, STUDY)}))


def test_points_are_gains_of_whole_sources_over_the_reference_with_their_factors():
    metrics = gain_rows()
    found = usual()[0].set_index(["dataset", "model"])
    assert set(found["source"]) == {"src"}
    assert len(found) == len(SETS) * len(NETWORKS)
    one = metrics[(metrics["dataset"] == "b") & (metrics["model"] == "vit")]
    values = one[one["init"] == "src"]["value"].to_numpy()
    row = found.loc["b", "vit"]
    assert row["gain"] == pytest.approx(values.mean() - 0.5)
    assert row["gain_high"] - row["gain_low"] == pytest.approx(
        2 * 4.302652729911275 * values.std(ddof=1) / np.sqrt(3)
    )
    expected = {
        "training_images": 1000,
        "parameters": 2e6,
        "family": "vit",
        "distance": 40.0,
        "source": "src",
    }
    assert row[list(expected)].to_dict() == expected


def test_other_starts_are_no_points():
    rows = gain_rows({"a": SETS["a"]}, {"vit": NETWORKS["vit"]})
    own = rows[rows["init"] == "src"]
    others = [own.assign(init=i) for i in ("src-stats", "src-upto1-stats", "gabor", "other")]
    found = points_of(pd.concat([rows, *others]))
    assert found[["init", "source", "reference"]].to_numpy().tolist() == [
        ["src", "src", "random"],
        ["other", "other", "random"],
    ]


def test_unknown_factors_are_empty():
    metrics = gain_rows({"a": SETS["a"]}).assign(training_images=0, parameters=float("nan"))
    found = points_of(metrics, distances_of(source="other"))
    assert found[["training_images", "parameters", "distance"]].isna().all(axis=None)
    assert points_of(gain_rows({"a": SETS["a"]}))["distance"].isna().all()
    assert points_of(metrics[metrics["init"] == "random"]).empty


def test_declared_comparisons_with_other_starts_are_no_points():
    families = (family("features", ("src", "src-stats")), family("gain", ("src", "random")))
    settings = study(statistics={"families": families})
    rows = gain_rows({"a": SETS["a"]})
    both = pd.concat([rows, rows[rows["init"] == "random"].assign(init="src-stats")])
    assert set(points_of(both, settings=settings)["reference"]) == {"random"}


def test_models_are_fitted_to_the_points_of_each_source_and_metric():
    points, models = usual()
    GAIN_FACTORS.check(models)
    whole = models[models["left_out"] == ""].set_index("term")["estimate"]
    pd.testing.assert_series_equal(whole, fit_factors(points).set_index("term")["estimate"])
    assert whole["family_vit"] == pytest.approx(0.03, abs=0.02)
    assert whole["log_training_images"] == pytest.approx(-0.02, abs=0.01)
    two = points[points["dataset"].isin(["a", "b"])]
    both = gain_factors(pd.concat([two, two.assign(init="b"), two.assign(metric="accuracy")]), STUDY)
    kinds = both[["init", "metric"]].drop_duplicates().to_numpy().tolist()
    assert kinds == [["src", "auroc"], ["b", "auroc"], ["src", "accuracy"]]


def test_each_factor_has_a_panel_with_all_points_and_their_intervals():
    (points, _), panels = usual(), usual_panels()
    columns = ("training_images", "distance", "parameters")
    for ax, column in zip(panels, columns, strict=False):
        marks = np.concatenate([bar[0].get_xydata() for bar in bars(ax)])
        expected = points[[column, "gain"]].to_numpy()
        np.testing.assert_allclose(sorted(map(tuple, marks)), sorted(map(tuple, expected)))
        ends = np.concatenate([bar[2][0].get_segments()[0][:, 1] for bar in bars(ax)])
        np.testing.assert_allclose(
            np.sort(ends), np.sort(points[["gain_low", "gain_high"]].to_numpy().ravel())
        )
    assert [ax.get_xscale() for ax in panels] == ["log", "linear", "log", "linear"]
    names = [t.get_text() for t in panels[3].get_xticklabels()]
    families = {round(x): names[round(x)] for bar in bars(panels[3]) for x in bar[0].get_xdata()}
    assert families == {0: "cnn", 1: "vit"}
    for ax in panels:
        assert len([t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]) >= 1


def test_points_of_the_same_place_are_drawn_side_by_side():
    panels = usual_panels()
    for ax in panels:
        shown = [bar[0].get_transform().transform(bar[0].get_xydata())[0] for bar in bars(ax)]
        x = np.sort(np.unique(np.round([place[0] for place in shown], 3)))
        assert len(x) >= len(SETS)
    images = [b[0] for b in bars(panels[0]) if b[0].get_xdata()[0] == 100]
    assert len({round(m.get_transform().transform(m.get_xydata())[0, 0], 2) for m in images}) == 4


def test_slopes_stand_above_their_panels_with_interval_and_range():
    (_, models), panels = usual(), usual_panels()
    whole = models[models["left_out"] == ""].set_index("term")
    left = models[models["left_out"] != ""].groupby("term")["estimate"].agg(["min", "max"])
    titles = [" ".join(ax.get_title(loc="left").split()) for ax in panels]
    terms = ("log_training_images", "distance", "log_parameters")
    for title, term, unit in zip(
        titles, terms, ("ln(images)", "unit of distance", "ln(parameters)"), strict=False
    ):
        row = whole.loc[term]
        numbers = [factors.slope(row[name]) for name in ("estimate", "low", "high")]
        assert f"slope {numbers[0]} [{numbers[1]}, {numbers[2]}]" in title
        assert f"one left out: {factors.slope(left.loc[term, 'min'])}" in title
        assert title.endswith(f"per {unit}")
    assert titles[3].startswith(f"vit: {factors.slope(whole.loc['family_vit', 'estimate'])}")
    assert titles[3].endswith("against cnn")


def test_panels_say_why_there_is_no_slope():
    two = drawn_factors(gain_rows({name: SETS[name] for name in "ab"}))
    titles = [" ".join(ax.get_title(loc="left").split()) for ax in axes_of(two)]
    assert titles == ["not fitted: 2 data sets; needed: at least 3"] * 4
    cnns = {name: NETWORKS[name] for name in ("small", "large")}
    panels = axes_of(drawn_factors(gain_rows({name: SETS[name] for name in "abc"}, cnns)))
    titles = [" ".join(ax.get_title(loc="left").split()) for ax in panels]
    assert [title.startswith("slope") for title in titles] == [True, False, True, False]
    assert {titles[1], titles[3]} == {"not in the model: the same for all gains, or not known"}
    assert words(panels[1]) == ["not known"]


def test_metrics_have_rows_of_their_own():
    kappa = gain_rows({"f": (50, 1.0)}, metric="quadratic_kappa")
    table = pd.concat([gain_rows({"a": SETS["a"]}), kappa])
    panels = axes_of(drawn_factors(table))
    assert len(panels) == 8
    assert panels[0].get_ylabel() == "src:\ngain in test AUROC\nover random"
    assert panels[4].get_ylabel() == "src:\ngain in test quadratic κ\nover random"
    assert len(bars(panels[4])) == len(NETWORKS)


def test_what_is_selected_is_what_is_drawn_and_said():
    points, models = usual()
    chosen = factors.select({"points": points, "models": models})
    assert len(chosen["points"]) == len(points)
    assert set(chosen["models"]["term"]) == set(models["term"]) - {"intercept"}
    two = points[points["dataset"].isin(["a", "b"])]
    refused = factors.select({"points": two, "models": gain_factors(two, STUDY)})["models"]
    assert set(refused["left_out"]) == {""}
    assert refused["remark"].str.startswith("not fitted").all()


def test_a_study_without_gains_says_so():
    figure = factors.draw(
        {
            "points": points_of(gain_rows()[:0]),
            "models": gain_factors(points_of(gain_rows()[:0]), STUDY),
        }
    )
    assert "no gains of whole sources" in " ".join(words(figure.axes[0])[0].split())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0334, "+0.033"), (-0.5, "−0.500"), (0.00042, "+0.00042"), (-1e-5, "−1e−05"), (0, "+0")],
)
def test_small_slopes_keep_two_figures(value, text):
    assert factors.slope(value) == text
