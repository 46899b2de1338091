"""The simulated studies: their truths against brute force, their counts by hand, their stored table."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from medtransfer.statistics.paired import PairedResult

ROOT = Path(__file__).parents[2]
MODULES = ("simulation", "simulated_repeats", "simulated_patients", "simulated_studies")


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The benchmark's modules, which lie in a folder that is no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield {name: __import__(name) for name in MODULES}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture
def studies(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["simulated_studies"]


@pytest.fixture
def repeats(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["simulated_repeats"]


@pytest.fixture
def patients(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["simulated_patients"]


@pytest.mark.parametrize(
    ("low", "high", "truth", "value"),
    [
        (0.0, 1.0, 0.5, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 1.0, 1.5, -1.0),
        (0.0, 1.0, -0.5, 1.0),
        (-math.inf, math.inf, 3.0, 0.0),
        (500.0, math.inf, math.inf, 0.0),
        (500.0, 900.0, math.inf, -1.0),
    ],
)
def test_an_interval_holds_the_truth_or_lies_on_one_side_of_it(
    modules: dict[str, ModuleType], low: float, high: float, truth: float, value: float
) -> None:
    assert modules["simulation"].covers(low, high, truth).value == value


def test_no_interval_and_no_p_are_no_answers(modules: dict[str, ModuleType]) -> None:
    simulation = modules["simulation"]
    assert math.isnan(simulation.covers(math.nan, 1.0, 0.0).value)
    assert math.isnan(simulation.claims(math.nan).value)
    assert [simulation.claims(p).value for p in (0.049, 0.05)] == [1.0, 0.0]


def test_shares_of_intervals_by_hand(studies: ModuleType) -> None:
    values = np.array([0.0] * 15 + [-1.0] * 3 + [1.0] * 2 + [math.nan] * 5)
    found = studies.shares("95 % interval", values)
    assert found["found"] == pytest.approx(75.0)
    assert found["se"] == pytest.approx(100 * math.sqrt(0.75 * 0.25 / 20))
    assert [found[key] for key in ("below", "above", "none")] == pytest.approx([15.0, 10.0, 20.0])
    assert found["so"] == "short"


def test_shares_of_claims_and_of_false_shares_by_hand(studies: ModuleType) -> None:
    assert studies.shares("5 % test", np.array([1.0, 0.0, 0.0, 0.0]))["found"] == 25.0
    assert studies.shares("5 % false share", np.array([0.5, 0.0, 0.25, 0.25]))["found"] == 25.0
    assert math.isnan(studies.shares("5 % test", np.array([math.nan]))["found"])


@pytest.mark.parametrize(
    ("kind", "share", "so"),
    [
        ("95 % interval", 0.93, "short"), ("95 % interval", 0.936, ""), ("95 % interval", 0.97, "wide"),
        ("90 % interval", 0.91, ""), ("90 % interval", 0.95, "wide"),
        ("5 % test", 0.07, "bold"), ("5 % test", 0.06, ""), ("5 % test", 0.03, "careful"),
    ],
)  # fmt: skip
def test_what_misses_its_promise_by_more_than_a_point_and_a_half_is_said(
    studies: ModuleType, kind: str, share: float, so: str
) -> None:
    held = round(1000 * share)
    inside, outside = (0.0, 1.0) if "interval" in kind else (1.0, 0.0)
    values = np.array([inside] * held + [outside] * (1000 - held))
    assert studies.shares(kind, values)["so"] == so


def test_intervals_that_are_too_short_are_found_out(
    studies: ModuleType, repeats: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normal quantiles in place of Student's: of two pairs they hold the truth in 70 of 100 studies."""

    def with_normal_quantiles(values: np.ndarray) -> PairedResult:
        half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
        return PairedResult(values.mean(), values.mean() - half, values.mean() + half, 0.5, len(values))

    monkeypatch.setattr(repeats, "paired_t", with_normal_quantiles)
    place = next(i for i, s in enumerate(studies.SCENARIOS) if s.setting == "normal, 2 pairs")
    row = next(iter(studies.summarised(place, studies.simulated((place, 0, 300)))))
    assert row["so"] == "short"
    assert row["found"] == pytest.approx(100 * (2 * stats.t.cdf(1.96, 1) - 1), abs=4 * row["se"])


def test_results_depend_neither_on_the_portions_nor_on_their_number(
    studies: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(studies.rows("sd", 30))
    monkeypatch.setattr(studies, "STUDIES_AT_ONCE", 7)
    assert list(studies.rows("sd", 30)) == whole
    place = next(i for i, s in enumerate(studies.SCENARIOS) if s.topic == "sd")
    assert studies.simulated((place, 3, 5)) == studies.simulated((place, 0, 5))[3:]


def test_every_kind_of_study_answers_in_one_of_the_ways_that_are_counted(
    studies: ModuleType, repeats: ModuleType, patients: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SETS_OF_DRAWS", 1), ("RESAMPLES", 20), ("POPULATION", 500)):
        monkeypatch.setattr(patients, name, value)
    monkeypatch.setattr(repeats, "TRAINING_SETS", 5)
    kinds = {scenario.study.func: place for place, scenario in enumerate(studies.SCENARIOS)}
    for place in kinds.values():
        (outcomes,) = studies.simulated((place, 0, 1))
        assert outcomes
        assert {outcome.kind for outcome in outcomes.values()} <= set(studies.PROMISED)
    for memory in (patients.sets_of_draws, patients.population_value, repeats.expected_auroc):
        memory.cache_clear()


def test_every_line_of_the_table_is_of_one_way_of_simulating(studies: ModuleType) -> None:
    lines = [(scenario.topic, scenario.setting, scenario.study.func) for scenario in studies.SCENARIOS]
    assert len(set(lines)) == len(lines)


def test_differences_of_folds_correlate_as_nadeau_and_bengio_say(repeats: ModuleType) -> None:
    generator = np.random.default_rng(0)
    values = np.array([repeats.correlated_folds(generator, 5) for _ in range(20_000)])
    correlations = np.corrcoef(values.T)[~np.eye(5, dtype=bool)]
    assert correlations == pytest.approx(np.full(20, 0.2), abs=0.03)
    assert values.var() == pytest.approx(1.0, abs=0.03)


def test_images_of_a_patient_are_half_alike(patients: ModuleType) -> None:
    values = patients.alike(np.random.default_rng(0), np.repeat(np.arange(20_000), 2)).reshape(-1, 2)
    assert np.corrcoef(values.T)[0, 1] == pytest.approx(patients.ALIKE, abs=0.03)
    assert values.var() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("step", [0.0, 1.0, 2.0])
def test_true_areas_are_those_of_many_pairs(patients: ModuleType, step: float) -> None:
    ranked = patients.Ranked(0.8, 200_000, 200_000, step=step)
    generator = np.random.default_rng(0)
    labels, names = ranked.labelled(generator)
    scores = ranked.scores(generator, labels, names)
    yes, no = scores[labels == 1], scores[labels == 0]
    assert ranked.truth == pytest.approx(np.mean(yes > no) + np.mean(yes == no) / 2, abs=0.004)


def test_the_true_mean_of_steps_up_to_a_horizon_is_that_of_many_runs(repeats: ModuleType) -> None:
    steps = repeats.SCALE * np.random.default_rng(0).weibull(repeats.SHAPE, 200_000)
    steps = np.ceil(steps / repeats.SCORING) * repeats.SCORING
    for horizon in (450.0, 900.0, 3000.0):
        found = repeats._restricted_truth(horizon)
        assert found == pytest.approx(np.minimum(steps, horizon).mean(), rel=0.003)


def test_a_learners_expected_area_is_that_on_many_test_images(
    repeats: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "TRAINING_SETS", 300)
    repeats.expected_auroc.cache_clear()
    labels = np.arange(1048) % 2
    tested = np.arange(1048) >= 48
    generator = np.random.default_rng(1)
    areas = [
        repeats._fold_auroc(repeats._features(generator, labels), labels, tested, "ridge")
        for _ in range(300)
    ]
    found = repeats.expected_auroc("ridge", 48)
    repeats.expected_auroc.cache_clear()
    assert found == pytest.approx(np.mean(areas), abs=0.012)


def test_depths_are_as_alike_as_is_said(repeats: ModuleType) -> None:
    values = repeats._neighbours(np.random.default_rng(0), (20_000, 3), 0.8)
    correlations = np.corrcoef(values.T)
    assert correlations[0, 1] == pytest.approx(0.8, abs=0.02)
    assert correlations[0, 2] == pytest.approx(0.64, abs=0.02)
    assert values.std(axis=0) == pytest.approx(np.ones(3), abs=0.03)


def test_the_mean_over_a_population_is_what_the_network_gets_there(patients: ModuleType) -> None:
    """Of a network that is as sure as it may be and sees all there is, Brier's score is p (1 - p)."""
    answers = replace(patients.Answers(), confidence=1.0)
    generator = np.random.default_rng(0)
    drawn = answers.drawn(generator, np.arange(100_000), 1)[0]
    assert drawn.labels.mean() == pytest.approx(0.5, abs=0.01)
    rare = patients.Answers(intercept=-3.0).drawn(generator, np.arange(100_000), 1)[0]
    assert 0.07 < rare.labels.mean() < 0.13
    grades = patients.Answers("ordinal").drawn(generator, np.arange(10_000), 1)[0]
    assert set(grades.labels) == set(range(5))


def test_the_stored_table_has_every_setting(studies: ModuleType) -> None:
    text = (ROOT / "docs" / "statistics.md").read_text()
    for topic in studies.TOPICS:
        assert f"\n### {topic}\n" in text
    missing = {s.setting for s in studies.SCENARIOS if f"\n| {s.setting} | " not in text}
    assert not missing
