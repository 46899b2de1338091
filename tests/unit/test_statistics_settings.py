"""The settings of families, margins and power: what they allow, and what they say of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from medtransfer.config.figures import METRIC_FIGURES
from medtransfer.config.names import NAME_RULE
from medtransfer.config.results import ResultsSettings
from medtransfer.config.statistics import DEFAULT_MARGINS, FamilySettings, StatisticsSettings
from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.config.typed import parse
from medtransfer.errors import ConfigError


def settings(**keys: Any) -> StatisticsSettings:
    """As from a YAML file."""
    return parse(StatisticsSettings, keys, "study.yaml")


FAMILY = {"name": "f", "comparisons": [["src", "random"]]}


def test_the_defaults_are_holm_in_each_data_set_with_a_point_of_auroc():
    found = settings()
    assert found.correction == "holm"
    assert found.families == ()
    assert (found.power, found.resamples) == (0.8, 2000)
    assert {name: found.margin(name) for name in DEFAULT_MARGINS} == {
        "auroc": 0.01, "auprc": 0.01, "accuracy": 0.01, "balanced_accuracy": 0.01,
        "quadratic_kappa": 0.02,
    }  # fmt: skip


def test_a_family_is_separated_by_data_set_unless_it_says_otherwise():
    assert settings(families=[FAMILY]).families[0].separate == ("dataset",)
    assert settings(families=[FAMILY | {"separate": []}]).families[0].separate == ()
    found = settings(families=[FAMILY | {"separate": ["model", "recipe"]}]).families[0]
    assert found.separate == ("model", "recipe")


@pytest.mark.parametrize(
    ("init", "reference", "held"),
    [
        ("src", "random", True),
        ("random", "src", False),
        ("src", "gabor", False),
        ("anything", "src-stats", True),
        ("all", "random", False),
    ],
)
def test_a_family_holds_its_pairs_and_all_against_a_reference(init, reference, held):
    family = FamilySettings(name="f", comparisons=(("src", "random"), ("all", "src-stats")))
    assert family.holds(init, reference) == held


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, f"'a b'; allowed: {NAME_RULE}"),
        ({"name": ""}, "allowed"),
        ({"comparisons": []}, "'comparisons' is an empty list; give at least one pair"),
        ({"comparisons": [["src"]]}, r"has \['src'\]; allowed: pairs of inits"),
        ({"comparisons": [["a", "b", "c"]]}, r"has \['a', 'b', 'c'\]; allowed: pairs of inits"),
        ({"comparisons": [["src", "src"]]}, r"has \['src', 'src'\]; allowed: pairs of inits"),
        ({"separate": ["seed"]}, r"allowed: recipe \| dataset \| model \| subset"),
    ],
)
def test_a_family_that_makes_no_sense_is_an_error(change, message):
    with pytest.raises(ConfigError, match=message):
        settings(families=[FAMILY | change])


def test_families_have_different_names():
    with pytest.raises(ConfigError, match=r"'families' repeats a name: \['f', 'f'\]"):
        settings(families=[FAMILY, FAMILY])
    assert len(settings(families=[FAMILY, FAMILY | {"name": "g"}]).families) == 2


@pytest.mark.parametrize("margin", [0, -0.01, float("nan")])
def test_a_margin_is_above_0(margin):
    with pytest.raises(ConfigError, match=r"'margins.auroc' is .*; allowed: above 0"):
        settings(margins={"auroc": margin})


def test_margins_of_the_study_come_first_and_a_metric_without_one_is_an_error():
    found = settings(margins={"auroc": 0.02, "brier": 0.005})
    assert (found.margin("auroc"), found.margin("brier"), found.margin("auprc")) == (0.02, 0.005, 0.01)
    with pytest.raises(ConfigError, match=r"'statistics.margins' has no margin of 'ece'; allowed"):
        found.margin("ece")
    assert DEFAULT_MARGINS["auroc"] == 0.01


@pytest.mark.parametrize(
    "keys",
    [{"power": 0.4}, {"power": 1.0}, {"resamples": 99}, {"correction": "bonferroni"},
     {"convergence_share": 0.0}, {"convergence_share": 1.5}, {"margin": 0.1}],
)  # fmt: skip
def test_what_is_out_of_range_or_unknown_is_an_error(keys):
    with pytest.raises(ConfigError, match=next(iter(keys))):
        settings(**keys)


RESULTS = {"table": "t.csv"}
GRID = {"recipe": "r", "datasets": ["d"], "models": ["m"], "inits": ["random"]}


def study(**keys: Any) -> StudySettings:
    return parse(StudySettings, {"title": "t", **keys}, "study.yaml")


def test_a_study_has_runs_or_results_or_both():
    assert study(grids=[GRID]).results is None
    assert study(results=RESULTS).grids == ()
    assert len(study(grids=[GRID], results=RESULTS).grids) == 1
    with pytest.raises(ConfigError, match=r"'grids' and 'results' are both empty"):
        study()


def test_the_reference_is_an_init_of_the_grids_or_may_be_one_of_the_results():
    with pytest.raises(ConfigError, match=r"reference 'src' is no init of the grids; allowed"):
        study(grids=[GRID], reference="src")
    assert study(results=RESULTS, reference="src").reference == "src"


def test_of_results_alone_only_figures_of_metrics_are_drawn():
    assert study(results=RESULTS).drawn == METRIC_FIGURES
    assert study(results=RESULTS, figures=["gains"]).drawn == ("gains",)
    with pytest.raises(ConfigError, match=r"figure 'calibration' needs runs, and 'grids' is empty"):
        study(results=RESULTS, figures=["gains", "calibration"])
    assert "calibration" in study(grids=[GRID], figures=["calibration"]).drawn


def test_a_family_of_starts_that_no_run_has_is_an_error():
    settings = StatisticsSettings(
        families=(FamilySettings("f", (("all", "random"), ("imagenet", "src"))),)
    )
    grid = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=("random", "src"))
    with pytest.raises(ConfigError, match=r"family 'f' compares 'imagenet', .*'random', 'src'"):
        StudySettings(title="t", grids=(grid,), statistics=settings)


def test_a_metric_from_elsewhere_without_a_margin_is_an_error_before_anything_runs():
    results = ResultsSettings(table="t.csv", target="dice")
    with pytest.raises(ConfigError, match="no margin of 'dice'"):
        StudySettings(title="t", results=results)
    given = StatisticsSettings(margins={"dice": 0.01})
    assert StudySettings(title="t", results=results, statistics=given).drawn
