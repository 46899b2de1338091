"""Metrics against scikit-learn and repeated rows, on random inputs with ties."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as reference

from medtransfer.config.dataset import METRIC_TASKS, DatasetSettings
from medtransfer.errors import ConfigError
from medtransfer.evaluation.metrics import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    evaluate,
    metric_names,
    negative_log_likelihood,
    per_class,
    quadratic_kappa,
    weighted_metric,
)
from medtransfer.evaluation.predictions import Predictions

SEEDS = range(5)
TASKS = ("binary", "multiclass", "multilabel", "ordinal")
NAMES = [(task, name) for task in TASKS for name in metric_names(task)]


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


def expected_error(confidences: np.ndarray, hits: np.ndarray) -> float:
    """Calibration error over 15 bins of equal mass, one value after the other."""
    bins: dict[int, list[float]] = {}
    for value in np.unique(confidences):
        below, equal = (confidences < value).sum(), (confidences == value).sum()
        place = min(14, math.floor(15 * (2 * below + equal) / (2 * len(confidences))))
        bins.setdefault(place, []).extend(value - hits[confidences == value])
    return sum(abs(sum(gaps)) for gaps in bins.values()) / len(confidences)


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
        "ece_mass": expected_error(probabilities, p.labels),
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
        "auroc_weighted": reference.roc_auc_score(
            p.labels, probabilities, multi_class="ovr", average="weighted"
        ),
        "auroc_micro": reference.roc_auc_score(one_hot.ravel(), probabilities.ravel()),
        "auprc": reference.average_precision_score(one_hot, probabilities, average="macro"),
        "auprc_weighted": reference.average_precision_score(
            one_hot, probabilities, average="weighted"
        ),
        "auprc_micro": reference.average_precision_score(one_hot, probabilities, average="micro"),
        "negative_log_likelihood": reference.log_loss(p.labels, probabilities),
        "brier": np.mean([
            sum((q - t) ** 2 for q, t in zip(row, target, strict=True))
            for row, target in zip(probabilities, one_hot, strict=True)
        ]),
        "undefined_classes": 0.0,
        "accuracy": reference.accuracy_score(p.labels, decided),
        "balanced_accuracy": reference.recall_score(p.labels, decided, average="macro"),
        "ece_mass": expected_error(probabilities.max(axis=1), decided == p.labels),
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
    rank = [reference.roc_auc_score(*column) for column in columns]
    precision = [reference.average_precision_score(*column) for column in columns]
    positives = [labels.sum() for labels, _ in columns]
    pool = [np.concatenate(side) for side in zip(*columns, strict=True)]
    expected = {
        "auroc": np.mean(rank),
        "auroc_weighted": np.average(rank, weights=positives),
        "auroc_micro": reference.roc_auc_score(*pool),
        "auprc": np.mean(precision),
        "auprc_weighted": np.average(precision, weights=positives),
        "auprc_micro": reference.average_precision_score(*pool),
        "ece_mass": np.mean([expected_error(expit(x.astype(float)), y) for y, x in columns]),
        "negative_log_likelihood": np.mean(losses),
        "brier": np.mean(squares),
        "undefined_classes": 0.0,
    }
    assert evaluate(p) == pytest.approx(expected, rel=1e-6)


def test_the_logit_of_an_unknown_label_has_no_influence():
    p = draw("multilabel", 0)
    changed = np.where(np.isnan(p.labels), 30.0, p.logits)
    changed[np.isnan(p.labels).argmax(axis=0), range(4)] = np.inf
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
    for name in ("auroc", "auprc", "auroc_micro", "auprc_weighted")[: 2 if task == "binary" else 4]:
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


def test_a_task_has_the_metrics_that_suit_it():
    always = {"auroc", "auprc", "negative_log_likelihood", "brier", "ece_mass", "undefined_classes"}
    averages = {"auroc_weighted", "auroc_micro", "auprc_weighted", "auprc_micro"}
    decided = {"accuracy", "balanced_accuracy"}
    expected = {
        "binary": always | decided,
        "multiclass": always | averages | decided,
        "multilabel": always | averages,
        "ordinal": always | averages | decided | {"quadratic_kappa"},
    }
    assert {task: set(evaluate(draw(task, 0))) for task in TASKS} == expected


@pytest.mark.parametrize(
    ("metric", "task"), [(metric, task) for metric, tasks in METRIC_TASKS.items() for task in tasks]
)
def test_a_network_that_says_the_same_of_every_image_is_at_chance(metric, task):
    """AUPRC and accuracy of it depend on how many images a class has."""
    count = 2 if task == "binary" else 4
    classes = (
        {"labels": ("a", "b", "c", "d")} if task == "multilabel" else {"labels": "y", "classes": count}
    )
    settings = DatasetSettings(task=task, metric=metric, image_size=8, manifest="m.csv", **classes)
    said = draw(task, 0)
    for row in range(3):
        logits = np.repeat(said.logits[row : row + 1], len(said.logits), axis=0)
        value = evaluate(Predictions(task, logits, said.labels), [metric])[metric]
        if settings.chance_level is None:
            assert metric in ("auprc", "accuracy")
        else:
            assert value == pytest.approx(settings.chance_level, abs=1e-12)


def test_every_target_metric_that_a_data_set_may_name_is_a_metric_of_its_tasks():
    for name, tasks in METRIC_TASKS.items():
        assert [task for task in TASKS if name in metric_names(task)] == list(tasks), name


def test_some_metrics_alone_have_the_value_that_they_have_among_all():
    p = draw("ordinal", 0)
    chosen = evaluate(p, ["brier", "auroc"])
    assert list(chosen) == ["brier", "auroc"]
    assert chosen.items() <= evaluate(p).items()


@pytest.mark.parametrize(("task", "name"), [("binary", "quadratic_kappa"), ("multilabel", "accuracy")])
def test_a_metric_that_does_not_suit_the_task_is_refused(task, name):
    with pytest.raises(ConfigError, match=f"metric {name} for task {task}; allowed: auroc, .*ece"):
        evaluate(draw(task, 0), [name])


@pytest.mark.parametrize("shape", [(60,), (3, 59), (1, 3, 60)])
def test_weights_that_do_not_fit_the_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"weights have shape .* allowed: any number x 60 images"):
        weighted_metric("auroc", draw("binary", 0), np.ones(shape))


def test_each_output_has_its_own_row():
    p = draw("multilabel", 1)
    labels = p.labels.copy()
    labels[:, 2] = np.nan
    labels[~np.isnan(labels[:, 3]), 3] = 0
    rows = per_class(Predictions("multilabel", p.logits, labels))
    for k in (0, 1):
        known = ~np.isnan(labels[:, k])
        found = (rows[k].output, rows[k].positives, rows[k].images)
        assert found == (k, np.nansum(labels[:, k]), known.sum())
        expected = reference.roc_auc_score(labels[known, k], p.logits[known, k])
        assert rows[k].auroc == pytest.approx(expected)
        expected = reference.average_precision_score(labels[known, k], p.logits[known, k])
        assert rows[k].auprc == pytest.approx(expected)
    assert (rows[2].images, rows[2].positives) == (0, 0)
    assert (rows[3].images, rows[3].positives) == ((~np.isnan(labels[:, 3])).sum(), 0)
    assert all(math.isnan(value) for row in rows[2:] for value in (row.auroc, row.auprc))


def test_the_classes_of_a_row_each_are_what_the_macro_average_is_of():
    p = draw("multiclass", 2)
    rows = per_class(p)
    found = evaluate(p)
    assert [row.positives for row in rows] == np.bincount(p.labels).tolist()
    assert found["auroc"] == pytest.approx(np.mean([row.auroc for row in rows]))
    assert found["auprc"] == pytest.approx(np.mean([row.auprc for row in rows]))
    assert len(per_class(draw("binary", 0))) == 1


def repetitions(count: int, seed: int) -> np.ndarray:
    """How often each image occurs: all once, a draw with replacement, many zeros, one image."""
    generator = np.random.default_rng(seed)
    drawn = np.bincount(generator.integers(0, count, count), minlength=count)
    sparse = generator.integers(1, 4, count) * (generator.random(count) < 0.1)
    sparse[3] = 2
    one = np.zeros(count, int)
    one[7] = 3
    return np.stack([np.ones(count, int), drawn, sparse, one])


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_whole_weights_are_repeated_images(task, name):
    for seed in SEEDS:
        p = draw(task, seed, count=45)
        weights = repetitions(45, seed)
        found = weighted_metric(name, p, weights)
        repeated = [p.take(np.repeat(np.arange(45), row)) for row in weights]
        expected = [evaluate(rows, [name])[name] for rows in repeated]
        assert found == pytest.approx(expected, rel=1e-11, abs=1e-13, nan_ok=True)
        assert found[0] == pytest.approx(evaluate(p)[name], rel=1e-14)


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_the_scale_and_type_of_the_weights_does_not_matter(task, name):
    p = draw(task, 6)
    weights = repetitions(60, 0)
    found = weighted_metric(name, p, weights)
    for other in (weights.astype(np.int8), weights * 0.37, weights.astype(np.float32) * 2):
        assert weighted_metric(name, p, other) == pytest.approx(found, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_the_blocks_of_weights_do_not_show(task, name, monkeypatch):
    p = draw(task, 7)
    weights = np.random.default_rng(0).poisson(1.0, (23, 60))
    whole = weighted_metric(name, p, weights)
    monkeypatch.setattr("medtransfer.evaluation.weighting.BLOCK", 5 * p.logits.size)
    np.testing.assert_allclose(weighted_metric(name, p, weights), whole, rtol=1e-13)
    assert weighted_metric(name, p, weights[:0]).shape == (0,)


@pytest.mark.parametrize("task", TASKS)
def test_without_any_weight_nothing_is_defined(task):
    for name in metric_names(task):
        with np.errstate(all="raise"):
            value = weighted_metric(name, draw(task, 0), np.zeros((1, 60)))[0]
        undefined = {"binary": 1}.get(task, 4)
        assert value == undefined if name == "undefined_classes" else math.isnan(value), name


@pytest.mark.parametrize("seed", SEEDS)
def test_fractional_weights_are_those_of_scikit_learn(seed):
    p = draw("binary", seed)
    weights = np.random.default_rng(seed).exponential(size=60)
    probabilities = p.probabilities[:, 0]
    expected = {
        "auroc": reference.roc_auc_score(p.labels, probabilities, sample_weight=weights),
        "auprc": reference.average_precision_score(p.labels, probabilities, sample_weight=weights),
        "accuracy": reference.accuracy_score(p.labels, p.decisions, sample_weight=weights),
        "balanced_accuracy": reference.balanced_accuracy_score(
            p.labels, p.decisions, sample_weight=weights
        ),
        "brier": reference.brier_score_loss(p.labels, probabilities, sample_weight=weights),
        "negative_log_likelihood": reference.log_loss(p.labels, probabilities, sample_weight=weights),
    }
    for name, value in expected.items():
        assert weighted_metric(name, p, weights[None]) == pytest.approx([value], rel=1e-9), name


@pytest.mark.parametrize("seed", SEEDS)
def test_fractional_weights_of_several_grades_are_those_of_scikit_learn(seed):
    p = draw("ordinal", seed)
    weights = np.random.default_rng(seed).exponential(size=60)
    one_hot = np.eye(4)[p.labels]
    expected = {
        "auroc": reference.roc_auc_score(one_hot, p.probabilities, sample_weight=weights),
        "auroc_weighted": reference.roc_auc_score(
            one_hot, p.probabilities, average="weighted", sample_weight=weights
        ),
        "auroc_micro": reference.roc_auc_score(
            one_hot, p.probabilities, average="micro", sample_weight=weights
        ),
        "auprc_weighted": reference.average_precision_score(
            one_hot, p.probabilities, average="weighted", sample_weight=weights
        ),
        "auprc_micro": reference.average_precision_score(
            one_hot, p.probabilities, average="micro", sample_weight=weights
        ),
        "quadratic_kappa": reference.cohen_kappa_score(
            p.labels, p.decisions, weights="quadratic", sample_weight=weights
        ),
        "negative_log_likelihood": reference.log_loss(p.labels, p.probabilities, sample_weight=weights),
    }
    for name, value in expected.items():
        assert weighted_metric(name, p, weights[None]) == pytest.approx([value], rel=1e-9), name


@pytest.mark.parametrize("task", TASKS)
def test_one_image_has_every_metric_or_none_but_no_error(task):
    p = draw(task, 0)
    one = p.take(np.arange(60) == 4)
    found = evaluate(one)
    assert math.isnan(found["auroc"])
    assert found["undefined_classes"] == one.logits.shape[1]
    assert np.isfinite([found["brier"], found["ece_mass"], found["negative_log_likelihood"]]).all()


def test_the_average_of_a_resample_is_that_of_its_own_classes():
    # the second weighting has no image of class 2, the third none but of class 1
    logits = np.random.default_rng(1).normal(size=(6, 3))
    p = Predictions("multiclass", logits, np.array([0, 0, 1, 1, 2, 2]))
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0]])
    assert weighted_metric("undefined_classes", p, weights).tolist() == [0, 1, 3]
    found = weighted_metric("auroc", p, weights)
    assert found[1] == evaluate(p.take(np.arange(4)), ["auroc"])["auroc"]
    assert math.isnan(found[2])
    right = p.decisions == p.labels
    recalls = [right[:2].mean(), right[2:4].mean()]
    assert weighted_metric("balanced_accuracy", p, weights)[1] == pytest.approx(np.mean(recalls))


def test_the_positives_of_an_output_without_negatives_do_not_count_in_the_weighted_average():
    p = draw("multilabel", 0)
    labels = p.labels.copy()
    labels[labels[:, 1] == 0, 1] = np.nan
    found = evaluate(Predictions("multilabel", p.logits, labels))
    rest = [column for k, column in enumerate(known_columns(p)) if k != 1]
    ranks = [reference.roc_auc_score(*column) for column in rest]
    expected = np.average(ranks, weights=[labels.sum() for labels, _ in rest])
    assert found["auroc_weighted"] == pytest.approx(expected, abs=1e-12)
    assert found["undefined_classes"] == 1


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16])
def test_scores_of_any_type_of_number_are_ranked(kind):
    assert auroc(np.array([0, 1, 0]), np.array([0, 1, 1], dtype=kind)) == 0.75
    assert average_precision(np.array([0, 1, 0]), np.array([0, 1, 1], dtype=kind)) == 0.5


def test_infinite_scores_tie_with_each_other():
    assert auroc(np.array([0, 1, 0]), np.array([np.inf, np.inf, -np.inf])) == 0.75
    assert average_precision(np.array([0, 1, 0]), np.array([np.inf, np.inf, -np.inf])) == 0.5


@pytest.mark.parametrize("task", TASKS)
def test_logits_that_are_not_numbers_have_no_loss(task):
    p = draw(task, 0)
    logits = p.logits.copy()
    known = int(np.argmax(p.targets[:, 0] == 1))
    logits[known, 0] = np.nan
    found = evaluate(Predictions(task, logits, p.labels))
    assert math.isnan(found["negative_log_likelihood"])
    assert math.isnan(found["brier"])


def test_no_metric_changes_its_input():
    for task in TASKS:
        p = draw(task, 0)
        weights = np.ones((2, 60))
        for array in (p.logits, p.labels, weights):
            array.setflags(write=False)
        for name in metric_names(task):
            weighted_metric(name, p, weights)
