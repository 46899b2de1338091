"""Calibration errors against hand counts and other libraries, temperature scaling against theory."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.calibration import calibration_curve

from medtransfer.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    calibration_metrics,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    reliability,
    scaled,
    temperature,
)
from medtransfer.evaluation.metrics import evaluate, negative_log_likelihood
from medtransfer.evaluation.predictions import Predictions

SEEDS = range(5)
BINNINGS = ("mass", "width")
TASKS = ("binary", "multiclass", "multilabel", "ordinal")


def draw(task: str, seed: int, count: int = 90, classes: int = 4, grid: float = 8) -> Predictions:
    generator = np.random.default_rng(seed)
    outputs = 1 if task == "binary" else classes
    logits = np.round(grid * generator.normal(size=(count, outputs))) / grid
    if task == "multilabel":
        labels = (generator.random(logits.shape) < expit(logits)).astype(float)
        labels[generator.random(labels.shape) < 0.3] = np.nan
    elif task == "binary":
        labels = (generator.random(count) < expit(2 * logits[:, 0])).astype(int)
    else:
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return Predictions(task, logits, labels)


def brute_force(values: np.ndarray, hits: np.ndarray, bins: int, binning: str) -> float:
    """The definition written out: one answer after the other into its bin."""
    members: dict[int, list[int]] = {}
    for i, value in enumerate(values):
        if binning == "width":
            place = next(b for b in range(bins) if value <= (b + 1) / bins)
        else:
            ranks = [r for r, other in enumerate(sorted(values)) if other == value]
            middle = (ranks[0] + ranks[-1] + 1) / 2
            place = next(b for b in reversed(range(bins)) if middle * bins >= b * len(values))
        members.setdefault(place, []).append(i)
    gaps = [len(m) * abs(np.mean(values[m]) - np.mean(hits[m])) for m in members.values()]
    return sum(gaps) / len(values)


@pytest.mark.parametrize("binning", BINNINGS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bins", [1, 2, 15, 100])
def test_the_error_is_that_of_the_definition(binning, seed, bins):
    generator = np.random.default_rng(seed)
    for values in (generator.random(47), generator.integers(0, 8, 47) / 8, np.full(47, 0.3)):
        hits = generator.integers(0, 2, 47)
        found = expected_calibration_error(values, hits, bins, binning)
        assert found == pytest.approx(brute_force(values, hits, bins, binning), abs=1e-13)


def test_exact_certainties_belong_to_a_real_bin():
    assert expected_calibration_error([0.95, 1.0], [1, 0], 10, "width") == pytest.approx(0.475)
    assert expected_calibration_error([0.05, 0.0], [0, 1], 10, "width") == pytest.approx(0.475)
    assert expected_calibration_error([1.0, 0.0], [1, 0], 10, "width") == 0
    assert expected_calibration_error([1.0, 0.0], [0, 1], 10, "mass") == 1


def test_bins_of_equal_mass_by_hand():
    # bins {.1, .2} with 1 of 2, {.6, .9} with 1 of 2
    found = expected_calibration_error([0.9, 0.1, 0.2, 0.6], [1, 0, 1, 0], bins=2, binning="mass")
    assert found == pytest.approx((abs(0.15 - 0.5) + abs(0.75 - 0.5)) / 2)
    # of equal width: {.1, .2}, {.6, .9} too; but with three bins {.1, .2}, {.6}, {.9}
    found = expected_calibration_error([0.9, 0.1, 0.2, 0.6], [1, 0, 1, 0], bins=3, binning="width")
    assert found == pytest.approx((2 * 0.35 + 0.6 + 0.1) / 4)


def test_a_border_belongs_to_the_lower_bin_of_equal_width():
    for edge in range(1, 15):
        table = reliability([edge / 15, np.nextafter(edge / 15, 1)], [0, 1], 15, "width")
        assert table["bin"].tolist() == [edge - 1, edge]


@pytest.mark.parametrize("count", [15, 30, 150])
def test_bins_of_equal_mass_hold_equally_many_distinct_values(count):
    values = np.random.default_rng(count).random(count)
    table = reliability(values, np.zeros(count, int))
    assert table["count"].tolist() == [count // 15] * 15
    assert table["confidence"].to_numpy() == pytest.approx(np.sort(values).reshape(15, -1).mean(1))


@pytest.mark.parametrize("count", [7, 16, 44, 1000])
def test_bins_of_equal_mass_differ_by_one_at_most(count):
    table = reliability(np.random.default_rng(0).random(count), np.zeros(count, int))
    assert table["count"].max() - table["count"].min() <= 1
    assert len(table) == min(count, 15)


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("mass", "quantile")])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_reliability_diagram_is_that_of_scikit_learn(binning, strategy, seed):
    generator = np.random.default_rng(seed)
    values, labels = generator.random(300), generator.integers(0, 2, 300)
    observed, confidence = calibration_curve(labels, values, n_bins=15, strategy=strategy)
    table = reliability(values, labels, 15, binning)
    assert table["observed"].to_numpy() == pytest.approx(observed)
    assert table["confidence"].to_numpy() == pytest.approx(confidence)


@pytest.mark.parametrize("binning", BINNINGS)
def test_the_error_is_the_mean_gap_of_the_reliability_diagram(binning):
    p = draw("multiclass", 0)
    table = reliability(p.probabilities, p.labels, 10, binning)
    gap = (table["count"] * (table["confidence"] - table["observed"]).abs()).sum() / 90
    assert expected_calibration_error(p.probabilities, p.labels, 10, binning) == pytest.approx(gap)
    assert table["count"].sum() == 90
    assert table["bin"].is_monotonic_increasing
    assert table["confidence"].is_monotonic_increasing


@pytest.mark.parametrize("binning", BINNINGS)
@pytest.mark.parametrize("grid", [1, 2, 100])
def test_the_order_of_rows_has_no_influence_even_with_ties(binning, grid):
    generator = np.random.default_rng(3)
    values, hits = generator.integers(0, grid + 1, 60) / grid, generator.integers(0, 2, 60)
    for measure in (expected_calibration_error, debiased_calibration_error):
        found = measure(values, hits, 7, binning)
        for _ in range(10):
            order = generator.permutation(60)
            again = measure(values[order], hits[order], 7, binning)
            assert again == pytest.approx(found, abs=1e-13)


def test_several_classes_are_judged_by_the_likeliest():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.0, 0.1, 0.9]])
    labels = np.array([0, 2, 2])
    found = expected_calibration_error(probabilities, labels, 3, "width")
    # bins: 2nd (1/3, 2/3] of .5 (wrong), 3rd of .7 and .9 (both right)
    assert found == pytest.approx((0.5 + 2 * (1 - 0.8)) / 3)


def test_one_column_of_probabilities_is_that_of_the_positive_class():
    p = draw("binary", 0)
    column = expected_calibration_error(p.probabilities, p.labels)
    assert column == expected_calibration_error(p.probabilities[:, 0], p.labels)


def test_the_classwise_error_is_the_mean_of_the_binary_errors():
    p = draw("multiclass", 1)
    each = [expected_calibration_error(p.probabilities[:, k], p.labels == k) for k in range(4)]
    assert classwise_calibration_error(p.probabilities, p.labels) == pytest.approx(np.mean(each))
    assert classwise_calibration_error(p.probabilities, p.targets) == pytest.approx(np.mean(each))
    # a class that never occurs has an error all the same
    seldom = np.where(p.labels == 3, 0, p.labels)
    each = [expected_calibration_error(p.probabilities[:, k], seldom == k) for k in range(4)]
    assert classwise_calibration_error(p.probabilities, seldom) == pytest.approx(np.mean(each))
    binary = draw("binary", 1)
    expected = expected_calibration_error(binary.probabilities[:, 0], binary.labels, 9, "width")
    for given in (binary.probabilities, binary.probabilities[:, 0]):
        assert classwise_calibration_error(given, binary.labels, 9, "width") == expected


def test_the_classwise_error_leaves_out_unknown_labels_and_unknown_outputs():
    p = draw("multilabel", 0)
    labels = p.labels.copy()
    labels[:, 1] = np.nan
    each = []
    for k in (0, 2, 3):
        known = ~np.isnan(labels[:, k])
        each.append(brute_force(p.probabilities[known, k], labels[known, k], 15, "mass"))
    assert classwise_calibration_error(p.probabilities, labels) == pytest.approx(np.mean(each))
    assert math.isnan(classwise_calibration_error(p.probabilities, np.full((90, 4), np.nan)))


def test_the_debiased_error_by_hand():
    # bins {.1, .3} with 1 of 2, {.6, .7, .8, .9} with 1 of 4
    values, hits = np.array([0.1, 0.3, 0.6, 0.7, 0.8, 0.9]), np.array([1, 0, 0, 0, 1, 0])
    first = (0.2 - 1 / 2) ** 2 - (1 / 2 * 1 / 2) / 1
    second = (0.75 - 0.25) ** 2 - (0.25 * 0.75) / 3
    expected = math.sqrt((2 * first + 4 * second) / 6)
    found = debiased_calibration_error(values, hits, bins=2, binning="width")
    assert found == pytest.approx(expected)


def test_the_debiased_error_of_little_data_is_nearer_to_the_truth_than_the_plain_one():
    # confidence .7 + error, where the truth is .7: without miscalibration the plain l2 error stays
    # about sqrt(15 / N), the mean of the debiased squares is that of the truth
    generator = np.random.default_rng(0)
    for offset in (0.0, 0.1):
        squares, plain = [], []
        for _ in range(120):
            truth = generator.uniform(0.3, 0.8, 150)
            hits = (generator.random(150) < truth).astype(int)
            table = reliability(truth + offset, hits, 15)
            gap, share = table["confidence"] - table["observed"], table["observed"]
            plain.append((gap**2).mean())
            squares.append((gap**2 - share * (1 - share) / (table["count"] - 1)).mean())
            root = debiased_calibration_error(truth + offset, hits)
            assert root == pytest.approx(math.sqrt(max(0.0, squares[-1])), abs=1e-12)
        error = np.std(squares) / math.sqrt(120)
        assert abs(np.mean(squares) - offset**2) < 4 * error
        assert np.mean(plain) > offset**2 + 10 * error


def test_bins_of_one_answer_do_not_make_the_debiased_error():
    assert debiased_calibration_error([0.2, 0.9], [1, 0], 10, "width") == 0
    assert debiased_calibration_error([0.9], [0]) == 0


@pytest.mark.parametrize("measure", [expected_calibration_error, debiased_calibration_error])
def test_no_answers_have_no_error(measure):
    assert math.isnan(measure(np.empty(0), np.empty(0, int)))


@pytest.mark.parametrize(
    "measure",
    [expected_calibration_error, debiased_calibration_error, classwise_calibration_error, reliability],
)
@pytest.mark.parametrize(
    ("probabilities", "labels", "options", "message"),
    [
        ([0.5], [1], {"binning": "quantile"}, "binning is 'quantile'; allowed: mass, width"),
        ([0.5], [1], {"bins": 0}, "bins is 0; allowed: at least 1"),
        ([1.5], [1], {}, r"probabilities are not all in \[0, 1\]"),
        ([math.nan], [1], {}, r"probabilities are not all in \[0, 1\]"),
        ([0.5], [2], {}, "label 2 for 2 classes; allowed: 0 to 1"),
        ([0.5], [1, 0], {}, r"labels have shape \(2,\); allowed: one for each of 1 images"),
        ([[0.2, 0.3, 0.5]], [3], {}, "label 3 for 3 classes; allowed: 0 to 2"),
        ([[0.2, 0.3, 0.5]], [-1], {}, "label -1 for 3 classes"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(measure, probabilities, labels, options, message):
    with pytest.raises(ValueError, match=message):
        measure(probabilities, labels, **options)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_temperature_is_that_of_a_blind_search(task, seed):
    p = draw(task, seed)
    search = minimize_scalar(
        lambda x: negative_log_likelihood(scaled(p, math.exp(x))),
        bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    assert COLDEST < temperature(p) < HOTTEST
    assert temperature(p) == pytest.approx(math.exp(search.x), rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_what_was_made_too_sure_by_a_factor_is_cooled_by_it(task):
    p = draw(task, 0)
    sharper = Predictions(task, p.logits * 3, p.labels)
    assert temperature(sharper) == pytest.approx(3 * temperature(p), rel=1e-9)
    assert temperature(scaled(p, temperature(p))) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_true_probabilities_have_a_temperature_near_1(task):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 1 if task == "binary" else 3))
    if task == "multiclass":
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    else:
        labels = (generator.random(logits.shape) < expit(logits)).astype(float)
        labels = labels[:, 0].astype(int) if task == "binary" else labels
    p = Predictions(task, logits, labels)
    assert temperature(p) == pytest.approx(1, abs=0.05)
    assert calibration_metrics(p)["ece_mass"] < 0.02
    overconfident = calibration_metrics(scaled(p, 0.3), temperature(scaled(p, 0.3)))
    assert overconfident["ece_mass"] > 0.08 > 0.02 > overconfident["ece_mass_scaled"]


@pytest.mark.parametrize("task", TASKS)
def test_scaling_leaves_decisions_and_ranks_alone_and_does_not_worsen_the_loss(task):
    p = draw(task, 2)
    after = scaled(p, temperature(p))
    np.testing.assert_array_equal(after.decisions, p.decisions)
    assert negative_log_likelihood(after) < negative_log_likelihood(p)
    if p.separate:
        assert evaluate(after, ["auroc"]) == evaluate(p, ["auroc"])


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e6])
def test_perfect_separation_ends_at_the_coldest_and_its_opposite_at_the_hottest(size):
    right = Predictions("binary", size * np.array([[-2.0], [-1.0], [1.0]]), np.array([0, 0, 1]))
    assert temperature(right) == COLDEST
    wrong = Predictions("binary", -right.logits, right.labels)
    assert temperature(wrong) == HOTTEST
    several = Predictions("multiclass", size * np.eye(3), np.arange(3))
    assert temperature(several) == COLDEST
    assert temperature(Predictions("multiclass", -size * np.eye(3), np.arange(3))) == HOTTEST


def test_a_single_class_has_a_temperature():
    generator = np.random.default_rng(0)
    p = Predictions("binary", generator.normal(1, 1, (50, 1)), np.ones(50, int))
    assert COLDEST < temperature(p) < HOTTEST
    one = Predictions("multiclass", np.array([[2.0, 1.0, 0.0]]), np.array([0]))
    assert temperature(one) == COLDEST


@pytest.mark.parametrize("task", TASKS)
def test_logits_without_any_difference_are_left_as_they_are(task):
    outputs = 1 if task == "binary" else 3
    labels = np.eye(3)[[0, 1]] if task == "multilabel" else np.array([0, 1])
    assert temperature(Predictions(task, np.zeros((2, outputs)), labels)) == 1
    if task in ("multiclass", "ordinal"):
        assert temperature(Predictions(task, np.array([[4.0] * 3, [2.0] * 3]), labels)) == 1


def test_unknown_labels_and_their_logits_have_no_influence_on_the_temperature():
    p = draw("multilabel", 0)
    changed = np.where(np.isnan(p.labels), 50.0, p.logits)
    assert temperature(Predictions("multilabel", changed, p.labels)) == pytest.approx(temperature(p))
    assert math.isnan(temperature(Predictions("multilabel", p.logits, np.full((90, 4), np.nan))))


def test_logits_that_are_not_finite_have_no_temperature_and_no_calibration():
    p = Predictions("binary", np.array([[1.0], [np.nan]]), np.array([0, 1]))
    assert math.isnan(temperature(p))
    found = calibration_metrics(p, temperature(p))
    assert len(found) == 12
    assert all(math.isnan(value) for value in found.values())
    known = draw("binary", 0)
    found = calibration_metrics(known, math.nan)
    assert found["brier"] > 0
    assert math.isnan(found["brier_scaled"])


@pytest.mark.parametrize("given", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_0(given):
    with pytest.raises(ValueError, match=r"temperature is .*; allowed: above 0"):
        scaled(draw("binary", 0), given)


@pytest.mark.parametrize("task", TASKS)
def test_all_measures_of_calibration_are_those_of_the_single_functions(task):
    p = draw(task, 4)
    found = calibration_metrics(p, 2.0)
    halved = Predictions(task, p.logits / 2, p.labels)
    for predictions, suffix in ((p, ""), (halved, "_scaled")):
        q, y = predictions.probabilities, predictions.labels
        columns = [(q, y)]
        if task == "multilabel":
            known = ~np.isnan(y)
            columns = [(q[known[:, k], k], y[known[:, k], k]) for k in range(4)]
        means = {
            "ece_mass": np.mean([expected_calibration_error(*c) for c in columns]),
            "ece_width": np.mean([expected_calibration_error(*c, 15, "width") for c in columns]),
            "ece_debiased": np.mean([debiased_calibration_error(*c) for c in columns]),
            "ece_classwise": classwise_calibration_error(q, y),
            **evaluate(predictions, ["brier", "negative_log_likelihood"]),
        }
        for name, value in means.items():
            assert found[name + suffix] == pytest.approx(value), name
    assert len(found) == 12
    assert calibration_metrics(p) == {name: found[name] for name in list(found)[:6]}
    assert found["ece_mass"] == pytest.approx(evaluate(p)["ece_mass"])


def test_certain_probabilities_fall_into_bins_in_their_order():
    # sigmoids of large logits are exactly 1
    p = Predictions("binary", np.array([[800.0], [-800.0], [60.0], [0.0]]), np.array([1, 0, 1, 1]))
    assert calibration_metrics(p)["ece_mass"] == pytest.approx(0.125)
    edges = reliability(p.probabilities, p.labels, 4, "mass")["confidence"]
    assert all(a < b for a, b in pairwise(edges))
