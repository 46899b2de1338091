"""Metrics of predictions, from logits and labels, also of weighted images.

Each measure is written once, for weighted images; the plain value is that of equal weights. A class
that is absent from the labels has no AUROC and no AUPRC: its value is NaN, it is left out of an
average, and :func:`evaluate` counts it. Nothing is rounded.

Averages over the K outputs (each against the rest):

* ``auroc``, ``auprc``: macro, every defined output alike.
* ``auroc_weighted``, ``auprc_weighted``: outputs weighted by their positives.
* ``auroc_micro``, ``auprc_micro``: all pairs of an image and an output in one pool.

For binary the three are one, and only the first name exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from medtransfer.errors import ConfigError
from medtransfer.evaluation.binning import BINS, Confidences, calibration_error
from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.weighting import (
    Statistic,
    apply,
    checked,
    mean_of,
    mean_of_defined,
    ratio,
    sums_of_ties,
    undefined,
)


@dataclass(frozen=True)
class Pool:
    """Answers that are ranked together.

    Attributes:
        images: n indices of the images they are about.
        positive: n truths.
        scores: n, higher for more likely positive.
    """

    images: np.ndarray
    positive: np.ndarray
    scores: np.ndarray


def evaluate(predictions: Predictions, names: Iterable[str] | None = None) -> dict[str, float]:
    """The metrics that suit the task, by name; ``undefined_classes`` counts those without AUROC.

    Args:
        predictions: N images, at least one.
        names: which metrics; by default all of the task.

    Raises:
        ConfigError: the task has no such metric.
    """
    once = np.ones((1, len(predictions.logits)))
    chosen = metric_names(predictions.task) if names is None else names
    return {name: float(weighted_metric(name, predictions, once)[0]) for name in chosen}


@dataclass(frozen=True)
class OutputMetrics:
    """The ranking of one output against the rest.

    Attributes:
        output: its index, from 0.
        auroc: NaN without positives or without negatives.
        auprc: NaN without positives.
        positives: images that are positive.
        images: images whose label is known.
    """

    output: int
    auroc: float
    auprc: float
    positives: int
    images: int


def per_class(predictions: Predictions) -> list[OutputMetrics]:
    """The AUROC and AUPRC of each output, in order; of one output for binary."""
    once = np.ones((1, len(predictions.logits)))
    return [
        OutputMetrics(
            output,
            float(weighted_auroc(pool)(once)[0]),
            float(weighted_average_precision(pool)(once)[0]),
            int(pool.positive.sum()),
            len(pool.images),
        )
        for output, pool in enumerate(pools(predictions))
    ]


def weighted_metric(name: str, predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """A metric of weighted images, for many weightings at once.

    Whole weights give the metric of the images repeated so often; equal weights that of
    :func:`evaluate`. An output without positives or without negatives of some weight is left out of
    averages.

    Args:
        name: as in :func:`evaluate`.
        predictions: N images.
        weights: M x N, how often each image counts; 0 or more.

    Returns:
        M values, NaN where undefined.

    Raises:
        ConfigError: the task has no such metric.
        ValueError: the weights don't fit the images.
    """
    allowed = metric_names(predictions.task)
    if name not in allowed:
        raise ConfigError(f"metric {name} for task {predictions.task}; allowed: {', '.join(allowed)}")
    weights = checked(weights, len(predictions.logits))
    return apply(MEASURES[name](predictions), weights, predictions.logits.size)


def metric_names(task: str) -> tuple[str, ...]:
    """The metrics that suit a task."""
    unsuited = {
        "binary": {*AVERAGES, "quadratic_kappa"},
        "multiclass": {"quadratic_kappa"},
        "multilabel": {"accuracy", "balanced_accuracy", "quadratic_kappa"},
        "ordinal": set(),
    }
    return tuple(name for name in MEASURES if name not in unsuited[task])


def _macro(measure: Callable[[Pool], Statistic]) -> Callable[[Predictions], Statistic]:
    def prepare(predictions: Predictions) -> Statistic:
        outputs = [measure(pool) for pool in pools(predictions)]
        return lambda weights: mean_of_defined(_each(outputs, weights))

    return prepare


def _by_positives(measure: Callable[[Pool], Statistic]) -> Callable[[Predictions], Statistic]:
    def prepare(predictions: Predictions) -> Statistic:
        outputs = [measure(pool) for pool in pools(predictions)]
        positive = (predictions.targets == 1).astype(np.float64)
        return lambda weights: mean_of_defined(_each(outputs, weights), (weights @ positive).T)

    return prepare


def _micro(measure: Callable[[Pool], Statistic]) -> Callable[[Predictions], Statistic]:
    def prepare(predictions: Predictions) -> Statistic:
        images, outputs = np.nonzero(~np.isnan(predictions.targets))
        positive = predictions.targets[images, outputs] == 1
        return measure(Pool(images, positive, _scores(predictions)[images, outputs]))

    return prepare


def _undefined_classes(predictions: Predictions) -> Statistic:
    outputs = [weighted_auroc(pool) for pool in pools(predictions)]
    return lambda weights: np.isnan(_each(outputs, weights)).sum(axis=0).astype(np.float64)


def _each(outputs: list[Statistic], weights: np.ndarray) -> np.ndarray:
    """The measures of all outputs, K x M."""
    return np.stack([statistic(weights) for statistic in outputs])


def pools(predictions: Predictions) -> Iterator[Pool]:
    """Each output against the rest, over the images whose label is known."""
    scores, targets = _scores(predictions), predictions.targets
    for k in range(scores.shape[1]):
        known = np.flatnonzero(~np.isnan(targets[:, k]))
        yield Pool(known, targets[known, k] == 1, scores[known, k])


def _scores(predictions: Predictions) -> np.ndarray:
    # logits have the order of the sigmoids without their ties at 0 and 1
    return predictions.logits if predictions.separate else predictions.probabilities


def auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: P(positive scores higher), ties counting half (Mann-Whitney).

    Args:
        targets: N of 0 and 1.
        scores: N, higher for more likely positive.

    Returns:
        A value in [0, 1], NaN when a class is absent or a score is NaN.
    """
    return _plain(weighted_auroc, targets, scores)


def average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve as the sum of precision x recall steps.

    Equal scores are one threshold, so the order of rows doesn't matter. NaN without positives, or
    when a score is NaN.
    """
    return _plain(weighted_average_precision, targets, scores)


def _plain(measure: Callable[[Pool], Statistic], targets: np.ndarray, scores: np.ndarray) -> float:
    ranked = np.asarray(scores, dtype=np.float64)
    pool = Pool(np.arange(len(targets)), np.asarray(targets) == 1, ranked)
    return float(measure(pool)(np.ones((1, len(targets))))[0])


def weighted_auroc(pool: Pool) -> Statistic:
    """As :func:`auroc`: the weight of pairs in the right order over that of all pairs."""
    if not pool.positive.any() or pool.positive.all() or np.isnan(pool.scores).any():
        return undefined
    split = _positives_and_negatives(pool, np.argsort(pool.scores))

    def statistic(weights: np.ndarray) -> np.ndarray:
        yes, no = split(weights)
        below = np.cumsum(no, axis=1) - no
        wins = (yes * (below + no / 2)).sum(axis=1)
        return ratio(wins, yes.sum(axis=1) * no.sum(axis=1))

    return statistic


def weighted_average_precision(pool: Pool) -> Statistic:
    """As :func:`average_precision`: recall and precision count weights."""
    if not pool.positive.any() or np.isnan(pool.scores).any():
        return undefined
    split = _positives_and_negatives(pool, np.argsort(-pool.scores))

    def statistic(weights: np.ndarray) -> np.ndarray:
        yes, no = split(weights)
        hits, misses = np.cumsum(yes, axis=1), np.cumsum(no, axis=1)
        precision = np.divide(hits, hits + misses, out=np.zeros_like(hits), where=hits > 0)
        return ratio((yes * precision).sum(axis=1), hits[:, -1])

    return statistic


def _positives_and_negatives(
    pool: Pool, order: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What splits weights M x N into those of the positives and negatives of each distinct score."""
    images, positive = pool.images[order], pool.positive[order]
    grouped = sums_of_ties(pool.scores[order])

    def split(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ranked = weights[:, images]
        return grouped(ranked * positive), grouped(ranked * ~positive)

    return split


def accuracy(predictions: Predictions) -> float:
    """Share of images whose most likely class (for binary: p > 0.5) is theirs."""
    return evaluate(predictions, ["accuracy"])["accuracy"]


def balanced_accuracy(predictions: Predictions) -> float:
    """Mean recall over the classes that occur."""
    return evaluate(predictions, ["balanced_accuracy"])["balanced_accuracy"]


def negative_log_likelihood(predictions: Predictions) -> float:
    """Mean over images (for multilabel: over known labels) of -log p(label), natural log."""
    return evaluate(predictions, ["negative_log_likelihood"])["negative_log_likelihood"]


def brier(predictions: Predictions) -> float:
    """Brier score: mean squared error of probabilities, summed over the classes of an image.

    Binary: of the positive class (range 0-1). Multilabel: mean over known labels.
    """
    return evaluate(predictions, ["brier"])["brier"]


def quadratic_kappa(labels: np.ndarray, decided: np.ndarray, classes: int) -> float:
    """Cohen's kappa with quadratic weights; NaN when labels and decisions are one constant."""
    return float(_kappa(labels, decided, classes)(np.ones((1, len(labels))))[0])


def _accuracy(predictions: Predictions) -> Statistic:
    right = predictions.decisions == predictions.labels
    return mean_of(right.astype(np.float64), np.ones(len(right)))


def _balanced_accuracy(predictions: Predictions) -> Statistic:
    classes = 2 if predictions.task == "binary" else predictions.logits.shape[1]
    members = np.eye(classes)[predictions.labels]
    right = members * (predictions.decisions == predictions.labels)[:, None]
    return lambda weights: mean_of_defined(ratio(weights @ right, weights @ members).T)


def _quadratic_kappa(predictions: Predictions) -> Statistic:
    return _kappa(predictions.labels, predictions.decisions, predictions.logits.shape[1])


def _kappa(labels: np.ndarray, decided: np.ndarray, classes: int) -> Statistic:
    grades = np.arange(classes)
    distance = (grades[:, None] - grades[None, :]) ** 2.0
    observed = distance[labels, decided]
    given, said = np.eye(classes)[labels], np.eye(classes)[decided]

    def statistic(weights: np.ndarray) -> np.ndarray:
        chance = ((weights @ given @ distance) * (weights @ said)).sum(axis=1)
        return 1.0 - ratio(weights @ observed * weights.sum(axis=1), chance)

    return statistic


def _negative_log_likelihood(predictions: Predictions) -> Statistic:
    logits = predictions.logits.astype(np.float64)
    if predictions.separate:
        targets = predictions.targets
        return _mean_of_known(
            logsumexp(np.stack([np.zeros_like(logits), logits]), axis=0) - targets * logits, targets
        )
    rows = np.arange(len(logits))
    losses = -log_softmax(logits, axis=1)[rows, predictions.labels]
    return mean_of(losses, np.ones(len(losses)))


def _brier(predictions: Predictions) -> Statistic:
    targets = predictions.targets
    squares = (predictions.probabilities - targets) ** 2
    if predictions.separate:
        return _mean_of_known(squares, targets)
    return mean_of(squares.sum(axis=1), np.ones(len(squares)))


def _calibration(predictions: Predictions) -> Statistic:
    """The expected calibration error over bins of equal mass; for separate outputs their mean."""
    probabilities, targets = predictions.probabilities, predictions.targets
    if predictions.separate:
        sides = [np.flatnonzero(~np.isnan(column)) for column in targets.T]
        confidences = [
            Confidences(known, probabilities[known, k], targets[known, k])
            for k, known in enumerate(sides)
        ]
    else:
        right = (predictions.decisions == predictions.labels).astype(np.float64)
        confidences = [Confidences(np.arange(len(right)), probabilities.max(axis=1), right)]
    outputs = [calibration_error(found, BINS, "mass") for found in confidences]
    return lambda weights: mean_of_defined(_each(outputs, weights))


def _mean_of_known(values: np.ndarray, targets: np.ndarray) -> Statistic:
    known = ~np.isnan(targets)
    return mean_of(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


AVERAGES = ("auroc_weighted", "auroc_micro", "auprc_weighted", "auprc_micro")
MEASURES: dict[str, Callable[[Predictions], Statistic]] = {
    "auroc": _macro(weighted_auroc),
    "auroc_weighted": _by_positives(weighted_auroc),
    "auroc_micro": _micro(weighted_auroc),
    "auprc": _macro(weighted_average_precision),
    "auprc_weighted": _by_positives(weighted_average_precision),
    "auprc_micro": _micro(weighted_average_precision),
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "quadratic_kappa": _quadratic_kappa,
    "negative_log_likelihood": _negative_log_likelihood,
    "brier": _brier,
    "ece_mass": _calibration,
    "undefined_classes": _undefined_classes,
}
