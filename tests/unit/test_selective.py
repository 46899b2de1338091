"""Selective prediction against the definition written out, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.selective import (
    area,
    excess_area,
    risk_coverage,
    weighted_area,
    weighted_excess_area,
)

SEEDS = range(5)
TASKS = ("binary", "multiclass", "multilabel", "ordinal")


def draw(task: str, seed: int, count: int = 40, grid: float = 2) -> Predictions:
    generator = np.random.default_rng(seed)
    logits = np.round(grid * generator.normal(size=(count, 1 if task == "binary" else 3))) / grid
    if task == "multilabel":
        labels = generator.integers(0, 2, logits.shape).astype(float)
        labels[generator.random(labels.shape) < 0.4] = np.nan
    else:
        labels = generator.integers(0, 2 if task == "binary" else 3, count)
    return Predictions(task, logits, labels)


def errors_and_confidences(p: Predictions) -> list[tuple[float, float]]:
    """One image after the other; confidences rounded, so that equal ones are equal."""
    found = []
    for q, decided, label in zip(p.probabilities, p.decisions, p.labels, strict=True):
        if p.task == "multilabel":
            known = ~np.isnan(label)
            if known.any():
                confidence = np.mean(np.maximum(q, 1 - q))
                found.append((np.mean(decided[known] != label[known]), round(confidence, 10)))
        else:
            confidence = max(q[0], 1 - q[0]) if p.task == "binary" else max(q)
            found.append((float(decided != label), round(confidence, 10)))
    return found


def slow_area(pairs: list[tuple[float, float]]) -> float:
    risks = [np.mean([e for e, c in pairs if c >= confidence]) for _, confidence in pairs]
    return float(np.mean(risks))


def binary(logits: list[float], right: list[int]) -> Predictions:
    """Decisions by the logits' signs, of which some are right."""
    signs = np.array(logits) > 0
    labels = np.where(np.array(right, bool), signs, ~signs).astype(int)
    return Predictions("binary", np.array(logits)[:, None], labels)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grid", [1, 2, 1e6])
def test_the_area_is_the_mean_risk_at_each_image_s_confidence(task, seed, grid):
    p = draw(task, seed, grid=grid)
    assert area(p) == pytest.approx(slow_area(errors_and_confidences(p)), abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_curve_has_a_point_for_each_confidence(task, seed):
    p = draw(task, seed)
    pairs = errors_and_confidences(p)
    curve = risk_coverage(p)
    distinct = sorted({c for _, c in pairs}, reverse=True)
    assert curve["confidence"].to_numpy() == pytest.approx(distinct, abs=1e-9)
    for row, confidence in zip(curve.itertuples(), distinct, strict=True):
        accepted = [e for e, c in pairs if c >= confidence]
        assert row.coverage == pytest.approx(len(accepted) / len(pairs))
        assert row.risk == pytest.approx(np.mean(accepted))
        assert row.count == sum(c == confidence for _, c in pairs)
    assert area(p) == pytest.approx((curve["risk"] * curve["count"]).sum() / len(pairs))


def test_four_images_by_hand():
    # surest first: right, wrong, right, wrong: risks 0, 1/2, 1/3, 1/2; at best 0, 0, 1/3, 1/2
    p = binary([-4.0, 3.0, 2.0, -1.0], [1, 0, 1, 0])
    assert area(p) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert excess_area(p) == pytest.approx((1 / 2) / 4)


def test_ties_are_accepted_together():
    # the two of confidence |2| are one point of risk 1/2 at coverage 1
    p = binary([3.0, -2.0, 2.0], [1, 0, 1])
    assert area(p) == pytest.approx((0 + 1 / 3 + 1 / 3) / 3)
    curve = risk_coverage(p)
    assert curve["coverage"].tolist() == pytest.approx([1 / 3, 1])
    assert curve["risk"].tolist() == pytest.approx([0, 1 / 3])


def test_a_network_that_is_equally_sure_of_all_has_its_error():
    p = binary([2.0, -2.0, 2.0, 2.0], [1, 1, 0, 1])
    assert area(p) == 0.25
    assert len(risk_coverage(p)) == 1


def test_no_errors_and_only_errors():
    logits = [3.0, -2.0, 1.0]
    assert area(binary(logits, [1, 1, 1])) == 0
    assert excess_area(binary(logits, [1, 1, 1])) == 0
    assert area(binary(logits, [0, 0, 0])) == 1
    assert excess_area(binary(logits, [0, 0, 0])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_has_no_influence(task, seed):
    p = draw(task, seed, grid=1)
    found = area(p), excess_area(p)
    for _ in range(5):
        order = np.random.default_rng(seed).permutation(40)
        shuffled = p.take(order)
        assert (area(shuffled), excess_area(shuffled)) == pytest.approx(found, abs=1e-13)


@pytest.mark.parametrize("right", list(itertools.product((0, 1), repeat=4)))
def test_the_excess_is_above_the_best_of_all_orders(right):
    orders = set(itertools.permutations(right))
    areas = {order: area(binary([4.0, -3.0, 2.0, -1.0], list(order))) for order in orders}
    p = binary([4.0, -3.0, 2.0, -1.0], list(right))
    assert excess_area(p) == pytest.approx(areas[right] - min(areas.values()), abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("grid", [1, 1e6])
def test_the_best_order_accepts_the_smallest_errors_one_by_one(task, grid):
    p = draw(task, 3, grid=grid)
    errors = np.sort([e for e, _ in errors_and_confidences(p)])
    best = np.mean(np.cumsum(errors) / np.arange(1, len(errors) + 1))
    assert excess_area(p) == pytest.approx(area(p) - best, abs=1e-12)
    assert excess_area(p) > 0


def test_the_area_of_large_numbers_is_the_closed_form_of_the_best_order():
    # Geifman et al.: r + (1 - r) ln(1 - r) for an error r
    count, wrong = 20_000, 5_000
    p = binary(list(np.linspace(9, 1, count)), [1] * (count - wrong) + [0] * wrong)
    assert area(p) == pytest.approx(0.25 + 0.75 * math.log(0.75), abs=1e-4)
    assert excess_area(p) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_weights_are_repeated_images(task, seed):
    p = draw(task, seed)
    generator = np.random.default_rng(seed)
    drawn = [np.bincount(generator.integers(0, 40, 40), minlength=40) for _ in range(4)]
    weights = np.stack([np.ones(40, int), *drawn, generator.integers(0, 2, 40) * 3])
    repeated = [p.take(np.repeat(np.arange(40), row)) for row in weights]
    assert weighted_area(p, weights) == pytest.approx([area(rows) for rows in repeated], abs=1e-12)
    expected = [excess_area(rows) for rows in repeated]
    assert weighted_excess_area(p, weights) == pytest.approx(expected, abs=1e-10)


def test_the_scale_of_the_weights_does_not_change_the_area():
    p = draw("multiclass", 0)
    weights = np.random.default_rng(0).exponential(size=(3, 40))
    assert weighted_area(p, 0.01 * weights) == pytest.approx(weighted_area(p, weights))


def test_without_weight_or_known_label_there_is_no_area():
    p = draw("binary", 0)
    assert np.isnan(weighted_area(p, np.zeros((2, 40)))).all()
    assert np.isnan(weighted_excess_area(p, np.zeros((2, 40)))).all()
    unknown = Predictions("multilabel", np.zeros((2, 3)), np.full((2, 3), np.nan))
    assert math.isnan(area(unknown))
    assert math.isnan(excess_area(unknown))
    assert risk_coverage(unknown).empty


def test_logits_that_are_not_numbers_have_no_area():
    p = Predictions("binary", np.array([[1.0], [np.nan]]), np.array([0, 1]))
    assert math.isnan(area(p))


def test_weights_that_do_not_fit_the_images_are_refused():
    for measure in (weighted_area, weighted_excess_area):
        with pytest.raises(ValueError, match=r"weights have shape \(2, 39\)"):
            measure(draw("binary", 0), np.ones((2, 39)))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_confidences_that_are_all_1_in_float64_are_still_told_apart(task):
    logits = np.array([70.0, -60.0, 50.0])
    p = binary(list(logits), [1, 1, 0])
    if task == "multiclass":
        p = Predictions(task, np.stack([np.zeros(3), np.full(3, -9.0), logits], 1), 2 * p.labels)
    assert len(risk_coverage(p)) == 3
    assert area(p) == pytest.approx(1 / 9 if task == "binary" else (1 / 2 + 1 / 3) / 3)


def test_equal_sets_of_logits_are_equally_sure_whatever_their_order():
    generator = np.random.default_rng(0)
    values = generator.normal(size=5)
    logits = np.stack([generator.permutation(values) for _ in range(30)])
    p = Predictions("multiclass", logits, generator.integers(0, 5, 30))
    assert len(risk_coverage(p)) == 1


def test_one_image_is_one_point():
    p = binary([1.0], [0])
    assert area(p) == 1
    assert excess_area(p) == pytest.approx(0, abs=1e-12)
    assert risk_coverage(p)["coverage"].tolist() == [1]
