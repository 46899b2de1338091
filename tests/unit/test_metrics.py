"""Metrics against scikit-learn, on random inputs with ties."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as reference

from medtransfer.evaluation.metrics import (
    Predictions,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    evaluate,
    negative_log_likelihood,
    quadratic_kappa,
)

SEEDS = range(5)


def draw(task: str, seed: int, count: int = 60, classes: int = 4) -> Predictions:
    """Logits on a grid of halves, so that many are equal, and every class among the labels."""
    generator = np.random.default_rng(seed)
    outputs = 1 if task == "binary" else classes
    logits = np.round(2 * generator.normal(size=(count, outputs))) / 2
    if task == "multilabel":
        labels = generator.integers(0, 2, (count, classes)).astype(float)
        labels[generator.random(labels.shape) < 0.3] = np.nan
    else:
        labels = generator.permutation(np.arange(count) % (2 if task == "binary" else classes))
    return Predictions(task, logits.astype(np.float32), labels)


def known_columns(predictions: Predictions) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and logits of each output of a multilabel task, without unknown labels."""
    labels, logits = predictions.labels, predictions.logits
    known = ~np.isnan(labels)
    return [(labels[known[:, k], k], logits[known[:, k], k]) for k in range(labels.shape[1])]


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc_with_ties_is_that_of_scikit_learn(seed):
    p = draw("binary", seed)
    expected = reference.roc_auc_score(p.labels, p.logits[:, 0])
    assert auroc(p.labels, p.logits[:, 0]) == pytest.approx(expected, abs=1e-12)


def test_auroc_is_the_share_of_pairs_in_the_right_order_by_brute_force():
    p = draw("binary", 3, count=25)
    scores = p.logits[:, 0]
    pairs = itertools.product(scores[p.labels == 1], scores[p.labels == 0])
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]
    assert auroc(p.labels, scores) == pytest.approx(np.mean(wins), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_with_ties_is_that_of_scikit_learn(seed):
    p = draw("binary", seed)
    expected = reference.average_precision_score(p.labels, p.logits[:, 0])
    assert average_precision(p.labels, p.logits[:, 0]) == pytest.approx(expected, abs=1e-12)


def test_constant_scores_have_auroc_one_half_and_the_prevalence_as_average_precision():
    targets = np.array([0, 1, 0, 0])
    assert auroc(targets, np.ones(4)) == 0.5
    assert average_precision(targets, np.ones(4)) == 0.25


def test_perfect_and_reversed_scores_are_1_and_0():
    targets, scores = np.array([0, 0, 1, 1]), np.arange(4.0)
    assert auroc(targets, scores) == 1
    assert auroc(targets, -scores) == 0
    assert average_precision(targets, scores) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_all_binary_metrics_are_those_of_scikit_learn(seed):
    p = draw("binary", seed)
    probabilities = expit(p.logits[:, 0].astype(float))
    decided = (probabilities > 0.5).astype(int)
    found = evaluate(p)
    expected = {
        "auroc": reference.roc_auc_score(p.labels, p.logits[:, 0]),
        "auprc": reference.average_precision_score(p.labels, p.logits[:, 0]),
        "negative_log_likelihood": reference.log_loss(p.labels, probabilities),
        "brier": reference.brier_score_loss(p.labels, probabilities),
        "undefined_classes": 0.0,
        "accuracy": reference.accuracy_score(p.labels, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(p.labels, decided),
    }
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("task", ["multiclass", "ordinal"])
@pytest.mark.parametrize("seed", SEEDS)
def test_all_multiclass_metrics_are_those_of_scikit_learn(task, seed):
    p = draw(task, seed)
    probabilities, decided = softmax(p.logits.astype(float), axis=1), p.logits.argmax(1)
    one_hot = np.eye(4)[p.labels]
    expected = {
        "auroc": reference.roc_auc_score(p.labels, probabilities, multi_class="ovr"),
        "auprc": reference.average_precision_score(one_hot, probabilities, average="macro"),
        "negative_log_likelihood": reference.log_loss(p.labels, probabilities),
        "brier": np.mean([
            sum((q - t) ** 2 for q, t in zip(row, target, strict=True))
            for row, target in zip(probabilities, one_hot, strict=True)
        ]),
        "undefined_classes": 0.0,
        "accuracy": reference.accuracy_score(p.labels, decided),
        "balanced_accuracy": reference.recall_score(p.labels, decided, average="macro"),
    }  # fmt: skip
    if task == "ordinal":
        expected["quadratic_kappa"] = reference.cohen_kappa_score(
            p.labels, decided, weights="quadratic"
        )
    assert evaluate(p) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_multilabel_metrics_leave_out_unknown_labels(seed):
    p = draw("multilabel", seed)
    columns = known_columns(p)
    losses, squares = [], []
    for labels, logits in columns:
        probabilities = expit(logits.astype(float))
        losses.extend(-np.log(np.where(labels == 1, probabilities, 1 - probabilities)))
        squares.extend((probabilities - labels) ** 2)
    expected = {
        "auroc": np.mean([reference.roc_auc_score(*column) for column in columns]),
        "auprc": np.mean([reference.average_precision_score(*column) for column in columns]),
        "negative_log_likelihood": np.mean(losses),
        "brier": np.mean(squares),
        "undefined_classes": 0.0,
    }
    assert evaluate(p) == pytest.approx(expected, rel=1e-6)


def test_the_logit_of_an_unknown_label_has_no_influence():
    p = draw("multilabel", 0)
    changed = np.where(np.isnan(p.labels), 30.0, p.logits)
    assert not np.array_equal(changed, p.logits)
    assert evaluate(Predictions("multilabel", changed, p.labels)) == pytest.approx(evaluate(p))


def test_kappa_counts_grades_that_never_occur_as_distances():
    labels, decided = np.array([0, 0, 4, 4, 2]), np.array([0, 4, 4, 4, 0])
    expected = reference.cohen_kappa_score(labels, decided, weights="quadratic", labels=[0, 1, 2, 3, 4])
    assert quadratic_kappa(labels, decided, 5) == pytest.approx(expected, abs=1e-12)


def test_kappa_of_three_images_by_hand():
    # observed squares 0 + 1 + 4 = 5; expected: labels {0, 1, 2} x decisions {0, 0, 0}: (0+1+4)/3*3
    assert quadratic_kappa(np.array([0, 1, 2]), np.array([0, 0, 0]), 3) == pytest.approx(0.0)
    assert quadratic_kappa(np.array([0, 1, 2]), np.array([0, 1, 2]), 3) == 1.0
    # observed 8 of an expected (0+1+4 + 1+0+1 + 4+1+0) / 3 = 4
    assert quadratic_kappa(np.array([0, 1, 2]), np.array([2, 1, 0]), 3) == pytest.approx(-1.0)


def test_kappa_of_one_constant_is_undefined():
    assert math.isnan(quadratic_kappa(np.array([1, 1]), np.array([1, 1]), 3))


@pytest.mark.parametrize("present", [0, 1])
def test_auroc_of_a_single_class_is_undefined(present):
    assert math.isnan(auroc(np.full(3, present), np.arange(3.0)))


def test_average_precision_without_positives_is_undefined():
    assert math.isnan(average_precision(np.zeros(3), np.arange(3.0)))


def test_scores_that_are_not_numbers_have_no_auroc():
    # as after a diverged training; ranked like numbers, they would give some value
    scores = np.array([0.1, math.nan, 0.3, math.nan])
    assert math.isnan(auroc(np.array([0, 1, 0, 1]), scores))
    assert math.isnan(auroc(np.array([0, 1, 0, 1]), np.full(4, math.nan)))


def test_a_class_without_images_is_left_out_of_the_macro_average_and_counted():
    p = draw("multiclass", 1)
    kept = p.labels != 2
    found = evaluate(Predictions("multiclass", p.logits[kept], p.labels[kept]))
    probabilities = softmax(p.logits[kept].astype(float), axis=1)
    expected = {
        name: np.mean([score(p.labels[kept] == k, probabilities[:, k]) for k in (0, 1, 3)])
        for name, score in (
            ("auroc", reference.roc_auc_score),
            ("auprc", reference.average_precision_score),
        )
    }
    assert found["undefined_classes"] == 1
    assert found["auroc"] == pytest.approx(expected["auroc"], abs=1e-12)
    assert found["auprc"] == pytest.approx(expected["auprc"], abs=1e-12)


def test_balanced_accuracy_averages_over_the_classes_that_occur():
    logits = np.eye(3)[[0, 0, 1, 2]]
    p = Predictions("multiclass", logits, np.array([0, 1, 1, 1]))
    assert balanced_accuracy(p) == pytest.approx((1 + 1 / 3) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of a decided class that doesn't occur
        expected = reference.balanced_accuracy_score(p.labels, logits.argmax(1))
    assert balanced_accuracy(p) == pytest.approx(expected)


def test_a_binary_part_of_one_class_has_no_auroc_but_a_loss():
    found = evaluate(Predictions("binary", np.array([[1.0], [2.0]]), np.array([0, 0])))
    assert math.isnan(found["auroc"])
    assert math.isnan(found["auprc"])
    assert found["undefined_classes"] == 1
    assert found["negative_log_likelihood"] == pytest.approx(
        (math.log1p(math.e) + math.log1p(math.e**2)) / 2
    )


def test_an_output_whose_labels_are_all_unknown_is_left_out_and_counted():
    p = draw("multilabel", 2)
    labels = p.labels.copy()
    labels[:, 1] = np.nan
    found = evaluate(Predictions("multilabel", p.logits, labels))
    columns = [column for k, column in enumerate(known_columns(p)) if k != 1]
    assert found["undefined_classes"] == 1
    expected = np.mean([reference.roc_auc_score(*column) for column in columns])
    assert found["auroc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_ranking_metrics_do_not_change_under_a_monotone_map_of_the_logits(task):
    p = draw(task, 4)
    mapped = evaluate(Predictions(task, np.exp(3 * p.logits.astype(float)) - 2, p.labels))
    found = evaluate(p)
    for name in ("auroc", "auprc"):
        assert mapped[name] == pytest.approx(found[name], abs=1e-12)
    assert mapped["brier"] != pytest.approx(found["brier"], abs=1e-3)


def test_ranking_metrics_tell_logits_apart_whose_probabilities_are_both_1():
    p = Predictions("binary", np.array([[50.0], [60.0], [70.0], [80.0]]), np.array([0, 1, 0, 1]))
    assert evaluate(p)["auroc"] == 0.75


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "ordinal"])
def test_no_metric_depends_on_the_order_of_the_rows(task):
    p = draw(task, 5)
    found = evaluate(p)
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(p.logits))
        shuffled = evaluate(Predictions(task, p.logits[order], p.labels[order]))
        assert shuffled == pytest.approx(found, rel=1e-12)


def test_extreme_logits_have_a_finite_loss():
    binary = Predictions("binary", np.array([[1e4], [-1e4]], np.float32), np.array([0, 1]))
    assert negative_log_likelihood(binary) == pytest.approx(1e4)
    several = Predictions("multiclass", np.array([[1e4, 0, -1e4]], np.float32), np.array([2]))
    assert negative_log_likelihood(several) == pytest.approx(2e4)
    many = Predictions("multilabel", np.array([[1e4, -1e4]]), np.array([[0.0, np.nan]]))
    assert negative_log_likelihood(many) == pytest.approx(1e4)
    with np.errstate(all="raise"):
        assert brier(binary) == pytest.approx(1.0)


def test_a_certain_and_right_answer_has_no_loss():
    right = Predictions("multiclass", np.array([[800.0, 0, 0]]), np.array([0]))
    assert negative_log_likelihood(right) == 0
    assert brier(right) == 0
    wrong = Predictions("multiclass", np.array([[800.0, 0, 0]]), np.array([1]))
    assert brier(wrong) == pytest.approx(2.0)


def test_a_probability_of_exactly_one_half_is_decided_negative():
    p = Predictions("binary", np.zeros((2, 1)), np.array([0, 1]))
    assert accuracy(p) == 0.5
    assert accuracy(Predictions("binary", np.zeros((3, 1)), np.array([0, 0, 1]))) == 2 / 3


@pytest.mark.parametrize(
    ("task", "only"),
    [("binary", set()), ("multilabel", set()), ("multiclass", set()),
     ("ordinal", {"quadratic_kappa"})],
)  # fmt: skip
def test_a_task_has_the_metrics_that_suit_it(task, only):
    always = {"auroc", "auprc", "negative_log_likelihood", "brier", "undefined_classes"}
    decided = set() if task == "multilabel" else {"accuracy", "balanced_accuracy"}
    assert set(evaluate(draw(task, 0))) == always | decided | only
