"""Metrics of predictions, from logits and labels.

A class that is absent from the labels has no AUROC and no AUPRC: its value is NaN, it is left out of
a macro average, and :func:`evaluate` counts it. Nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of one part of one run.

    Attributes:
        task: binary, multiclass, multilabel or ordinal.
        logits: float, N x K; K is 1 for binary.
        labels: N class indices, or for multilabel N x K of 0, 1 and NaN (unknown).
    """

    task: str
    logits: np.ndarray
    labels: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """N x K; the sigmoid of each logit for binary and multilabel, else the softmax."""
        logits = self.logits.astype(np.float64)
        return expit(logits) if self.task in ("binary", "multilabel") else softmax(logits, axis=1)

    @property
    def targets(self) -> np.ndarray:
        """N x K of 0, 1 and NaN: each output's own yes-or-no question."""
        if self.task == "multilabel":
            return self.labels
        if self.task == "binary":
            return self.labels[:, None].astype(np.float64)
        return np.eye(self.logits.shape[1])[self.labels]


def evaluate(predictions: Predictions) -> dict[str, float]:
    """All metrics that suit the task, by name; ``undefined_classes`` counts those without AUROC."""
    per_class = _per_class(predictions, auroc)
    values = {
        "auroc": _mean_of_defined(per_class),
        "auprc": _mean_of_defined(_per_class(predictions, average_precision)),
        "negative_log_likelihood": negative_log_likelihood(predictions),
        "brier": brier(predictions),
        "undefined_classes": float(np.isnan(per_class).sum()),
    }
    if predictions.task != "multilabel":
        values["accuracy"] = accuracy(predictions)
        values["balanced_accuracy"] = balanced_accuracy(predictions)
    if predictions.task == "ordinal":
        decided = predictions.logits.argmax(1)
        values["quadratic_kappa"] = quadratic_kappa(
            predictions.labels, decided, predictions.logits.shape[1]
        )
    return values


def _per_class(predictions: Predictions, measure: object) -> np.ndarray:
    """A measure of each output against the rest, over the images whose label is known."""
    scores, targets = predictions.probabilities, predictions.targets
    if predictions.task in ("binary", "multilabel"):
        scores = predictions.logits  # same order as the probabilities, without their ties at 0 and 1
    known = ~np.isnan(targets)
    return np.array(
        [measure(targets[known[:, k], k], scores[known[:, k], k]) for k in range(scores.shape[1])]  # type: ignore[operator]
    )


def _mean_of_defined(values: np.ndarray) -> float:
    """Macro average over the classes that have a value; NaN when none has."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: P(positive scores higher), ties counting half (Mann-Whitney).

    Args:
        targets: N of 0 and 1.
        scores: N, higher for more likely positive.

    Returns:
        A value in [0, 1], NaN when a class is absent or a score is NaN.
    """
    positive = targets == 1
    count, rest = int(positive.sum()), int((~positive).sum())
    if count == 0 or rest == 0 or np.isnan(scores).any():
        return float("nan")
    _, place, sizes = np.unique(
        np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True
    )
    midranks = np.cumsum(sizes) - (sizes - 1) / 2  # mean rank of each distinct score, from 1
    rank_sum = float(midranks[place[positive]].sum())
    return (rank_sum - count * (count + 1) / 2) / (count * rest)


def average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve as the sum of precision x recall steps.

    Equal scores are one threshold, so the order of rows doesn't matter. NaN without positives, or
    when a score is NaN.
    """
    positive = targets == 1
    if not positive.any() or np.isnan(scores).any():
        return float("nan")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    hits = np.cumsum(positive[order])
    last_of_tie = np.append(np.diff(np.asarray(scores)[order]) != 0, True)
    hits, taken = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    recall_steps = np.diff(hits, prepend=0) / hits[-1]
    return float(np.sum(recall_steps * hits / taken))


def accuracy(predictions: Predictions) -> float:
    """Share of images whose most likely class (for binary: p > 0.5) is theirs."""
    return float(np.mean(_decisions(predictions) == predictions.labels))


def balanced_accuracy(predictions: Predictions) -> float:
    """Mean recall over the classes that occur."""
    decided = _decisions(predictions)
    present = np.unique(predictions.labels)
    return float(np.mean([np.mean(decided[predictions.labels == c] == c) for c in present]))


def _decisions(predictions: Predictions) -> np.ndarray:
    if predictions.task == "binary":
        return (predictions.logits[:, 0] > 0).astype(np.int64)
    return predictions.logits.argmax(1)


def quadratic_kappa(labels: np.ndarray, decided: np.ndarray, classes: int) -> float:
    """Cohen's kappa with quadratic weights; NaN when labels and decisions are one constant."""
    observed = np.zeros((classes, classes))
    np.add.at(observed, (labels, decided), 1.0)
    grade = np.arange(classes)
    weight = (grade[:, None] - grade[None, :]) ** 2
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    disagreement = float((weight * expected).sum())
    return 1.0 - float((weight * observed).sum()) / disagreement if disagreement else float("nan")


def negative_log_likelihood(predictions: Predictions) -> float:
    """Mean over images (for multilabel: over known labels) of -log p(label), natural log."""
    logits = predictions.logits.astype(np.float64)
    if predictions.task in ("binary", "multilabel"):
        targets = predictions.targets
        zero = np.zeros_like(logits)
        losses = logsumexp(np.stack([zero, logits]), axis=0) - targets * logits
        return float(np.nanmean(losses))
    rows = np.arange(len(logits))
    return float(-log_softmax(logits, axis=1)[rows, predictions.labels].mean())


def brier(predictions: Predictions) -> float:
    """Brier score: mean squared error of probabilities, summed over the classes of an image.

    Binary: of the positive class (range 0-1). Multilabel: mean over known labels.
    """
    squares = (predictions.probabilities - predictions.targets) ** 2
    if predictions.task in ("binary", "multilabel"):
        return float(np.nanmean(squares))
    return float(squares.sum(1).mean())
