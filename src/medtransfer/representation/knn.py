"""Layer-wise kNN: how well an image's class is read from its nearest neighbours' classes.

The protocol of Matsoukas et al. (CVPR 2022): cosine similarity, 200 neighbours, a neighbour votes with
exp(similarity / 0.1), the bank is the training set under evaluation transforms, queries are the test
set. Convolutional networks' features are pooled over space; of transformers the class token, the mean
of the patches' tokens, and both, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.metrics import evaluate
from medtransfer.evaluation.predictions import Predictions
from medtransfer.representation.matrices import as_features
from medtransfer.tables import Column, Schema

Pooling = Literal["pooled", "cls", "patches", "both"]

KNN = Schema(
    name="knn",
    row="one measured point of a network, seen through one pooling",
    columns={
        "point": Column("text", "name of the measured point"),
        "order": Column("integer", "place of the point in the order of depth, from 0"),
        "pooling": Column(
            "text", "pooled (mean over space), cls, patches (mean of tokens) or both (cls, patches)"
        ),
        "k": Column("integer", "neighbours that vote; the bank's size where that is smaller"),
        "metric": Column("text", "the data set's target metric"),
        "value": Column("number", "the metric of the votes, not rounded; empty where undefined"),
        "bank_images": Column("integer", "training images, among which neighbours are looked for"),
        "images": Column("integer", "test images, whose class is read"),
    },
    families={},
)
# Similarities that agree to so many decimals are ties. Float64 sums in another order differ by less.
TIE_DECIMALS = 12
CHUNK_SIMILARITIES = 1 << 22  # 32 MiB of float64


@dataclass(frozen=True)
class PointFeatures:
    """Features of one measured point under one pooling.

    Attributes:
        point: name of the point.
        pooling: how its positions became one vector.
        bank: n x d, the training images'.
        queries: m x d, the test images'.
    """

    point: str
    pooling: Pooling
    bank: np.ndarray
    queries: np.ndarray


@dataclass(frozen=True)
class KnnProtocol:
    """What is asked of the neighbours, and how they vote.

    Attributes:
        task: binary, multiclass, multilabel or ordinal.
        metric: name of the metric, as in :func:`medtransfer.evaluation.metrics.evaluate`.
        classes: classes of the task, two for binary; for multilabel the number of labels.
        k: neighbours that vote.
        temperature: a neighbour's weight is exp(similarity / temperature).
    """

    task: str
    metric: str
    classes: int
    k: int = 200
    temperature: float = 0.1


def knn_table(
    points: Iterable[PointFeatures],
    bank_labels: np.ndarray,
    query_labels: np.ndarray,
    protocol: KnnProtocol,
) -> pd.DataFrame:
    """The metric of the neighbours' votes at every measured point of one network.

    Args:
        points: in the order of depth; the poolings of one point share its place. Taken one at a time.
        bank_labels: n class indices, or for multilabel n x K of 0, 1 and NaN.
        query_labels: the same of the m queries.
        protocol: task, metric and the settings of the votes.

    Returns:
        A table of schema KNN.

    Raises:
        ConfigError, DataError: as :func:`knn_scores` and :func:`knn_metric`.
    """
    rows, places = [], dict[str, int]()
    for features in points:
        scores = knn_scores(
            features.bank, bank_labels, features.queries, protocol.k, protocol.temperature,
            classes=None if protocol.task == "multilabel" else protocol.classes,
        )  # fmt: skip
        rows.append(
            {
                "point": features.point,
                "order": places.setdefault(features.point, len(places)),
                "pooling": features.pooling,
                "k": min(protocol.k, len(features.bank)),
                "metric": protocol.metric,
                "value": knn_metric(scores, query_labels, protocol.task, protocol.metric),
                "bank_images": len(features.bank),
                "images": len(features.queries),
            }
        )
    return pd.DataFrame(rows, columns=list(KNN.columns))


def knn_metric(scores: np.ndarray, labels: np.ndarray, task: str, metric: str) -> float:
    """A metric of class scores: that of a network whose probabilities the scores are.

    Args:
        scores: m x classes of :func:`knn_scores`, two classes for binary; m x K for multilabel, where
            NaN makes the metric of its column undefined.
        labels: m class indices, or for multilabel m x K of 0, 1 and NaN.
        task: binary, multiclass, multilabel or ordinal.
        metric: name of the metric.

    Raises:
        ConfigError: the task has no such metric.
        DataError: labels don't fit the scores.
    """
    labels = checked_labels(labels, scores.shape[1])
    if len(labels) != len(scores):
        raise DataError(f"{len(labels)} labels for {len(scores)} queries; needed: one each")
    values = evaluate(_Votes(task, _logits(scores, task), labels, scores))
    if metric not in values:
        raise ConfigError(f"metric {metric} for task {task}; allowed: {', '.join(values)}")
    return values[metric]


@dataclass(frozen=True)
class _Votes(Predictions):
    """Scores that are probabilities already: a softmax of their logarithms would break ties."""

    scores: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        return self.scores[:, 1:] if self.task == "binary" else self.scores


def _logits(scores: np.ndarray, task: str) -> np.ndarray:
    """Logits of the scores, equal for equal scores and finite: two infinities would not tie."""
    smallest = np.finfo(np.float64).tiny
    if task not in ("binary", "multilabel"):
        return np.log(np.maximum(scores, smallest))
    yes = scores[:, 1:] if task == "binary" else scores
    return np.log(np.maximum(yes, smallest)) - np.log(np.maximum(1 - yes, smallest))


def knn_scores(
    bank: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    k: int = 200,
    temperature: float = 0.1,
    *,
    classes: int | None = None,
) -> np.ndarray:
    """Each query's class scores: its nearest neighbours' labels, averaged with their votes' weights.

    The neighbours are exact, found as :func:`nearest` says. With a single label an image's scores sum
    to 1. An unknown label (NaN) has no vote in its column; where no neighbour's label is known, the
    score is NaN.

    Args:
        bank: n x d features.
        labels: n class indices from 0, or n x K of 0, 1 and NaN.
        queries: m x d features.
        k: neighbours that vote; all of the bank where it has fewer images.
        temperature: a neighbour's weight is exp(similarity / temperature).
        classes: number of classes, for class indices; by default the largest index plus one.

    Returns:
        m x classes (or m x K), float64, in [0, 1].

    Raises:
        ConfigError: k below 1, or a temperature that is not above 0.
        DataError: features or labels have the wrong shape, or values that are not allowed.
    """
    labels = checked_labels(labels, classes)
    if len(labels) != len(bank):
        raise DataError(f"{len(labels)} labels for {len(bank)} images of the bank; needed: one each")
    neighbours, similarities = nearest(bank, queries, k)
    return vote(labels, neighbours, similarities, temperature, classes)


def checked_labels(labels: np.ndarray, classes: int | None) -> np.ndarray:
    """Class indices as int64, or several labels an image as float64.

    Raises:
        DataError: indices that are not whole numbers from 0 to below ``classes``, or several labels an
            image that are not so many columns of 0, 1 and NaN.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2:
        values = labels.astype(np.float64)
        if not np.all(np.isnan(values) | (values == 0) | (values == 1)):
            raise DataError("several labels an image with values beside 0, 1 and NaN")
        if classes is not None and values.shape[1] != classes:
            raise DataError(f"{values.shape[1]} columns of labels; needed: {classes}")
        return values
    if labels.ndim != 1 or not np.all(labels == np.floor(labels)) or np.any(labels < 0):
        raise DataError("class indices that are not one whole number from 0 for each image")
    if classes is not None and np.any(labels >= classes):
        raise DataError(f"class index {labels.max()}; allowed: 0 to {classes - 1}")
    return labels.astype(np.int64)


def nearest(bank: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k images of the bank that are most similar to each query, by cosine; exact.

    A vector of zeros has similarity 0 to all. Similarities that agree to 12 decimals are ties, and of
    ties the lower index comes first, also at the k-th place.

    Beside the arguments and the result, memory holds the bank and the queries twice in float64, and
    five arrays of 32 MiB, or of the similarities of one query if those are more.

    Args:
        bank: n x d features.
        queries: m x d features.
        k: neighbours; n where that is smaller.

    Returns:
        Indices (int64) and similarities (float64) of the neighbours, both m x k, nearest first.

    Raises:
        ConfigError: k below 1.
        DataError: features that are no finite matrices of the same width.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; allowed: 1 or more neighbours")
    bank = as_features("the bank's features", bank)
    queries = as_features("the queries' features", queries)
    if bank.shape[1] != queries.shape[1]:
        raise DataError(f"{queries.shape[1]} features of queries; the bank has {bank.shape[1]}")
    bank, queries = _unit_rows(bank), _unit_rows(queries)
    chunk = max(1, CHUNK_SIMILARITIES // len(bank))
    found = [
        _largest(np.round(queries[start : start + chunk] @ bank.T, TIE_DECIMALS), min(k, len(bank)))
        for start in range(0, len(queries), chunk)
    ]
    indices, similarities = zip(*found, strict=True)
    return np.concatenate(indices), np.concatenate(similarities)


def _unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, scaled first so that no square over- or underflows; zeros stay zeros."""
    largest = np.maximum(features.max(axis=1), -features.min(axis=1))[:, None]
    rows = features / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    return rows


def _largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of each row's k largest values, largest first, of ties the lower place."""
    last = values.shape[1] - k
    bound = np.partition(values, last, axis=1)[:, last : last + 1]
    kept = values >= bound
    surplus = kept.sum(axis=1) - k
    for row in np.flatnonzero(surplus):
        tied = np.flatnonzero(values[row] == bound[row])
        kept[row, tied[-surplus[row] :]] = False
    places = np.nonzero(kept)[1].reshape(-1, k)
    chosen = np.take_along_axis(values, places, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(chosen, order, axis=1)


def vote(
    labels: np.ndarray,
    neighbours: np.ndarray,
    similarities: np.ndarray,
    temperature: float,
    classes: int | None = None,
) -> np.ndarray:
    """Class scores from neighbours that are known already; arguments as in :func:`knn_scores`.

    Args:
        labels: of the bank, as :func:`checked_labels` gives them.
        neighbours: m x k places in the bank.
        similarities: m x k.
        temperature: a neighbour's weight is exp(similarity / temperature).
        classes: number of classes, for class indices.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature is {temperature}; allowed: above 0")
    exponents = similarities / temperature
    if labels.ndim == 1:
        count = int(labels.max()) + 1 if classes is None else classes
        return _class_shares(labels[neighbours], exponents, count)
    shares = [_label_share(column[neighbours], exponents) for column in labels.T]
    return np.stack(shares, axis=1)


def _class_shares(labels: np.ndarray, exponents: np.ndarray, classes: int) -> np.ndarray:
    """Share of the weights exp(exponent) that each class has among a row's neighbours."""
    rows = len(labels)
    # the largest exponent is taken off all: it cancels, and nothing overflows
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    cells = np.arange(rows)[:, None] * classes + labels
    sums = np.bincount(cells.ravel(), weights.ravel(), rows * classes).reshape(rows, classes)
    return sums / sums.sum(axis=1, keepdims=True)


def _label_share(labels: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Weighted mean of a row's known labels; NaN without any."""
    known = ~np.isnan(labels)
    exponents = np.where(known, exponents, -np.inf)
    largest = exponents.max(axis=1, keepdims=True)
    weights = np.exp(exponents - np.where(np.isfinite(largest), largest, 0))
    sums = np.where(known, weights * labels, 0).sum(axis=1)
    totals = weights.sum(axis=1)
    return np.divide(sums, totals, out=np.full(len(totals), np.nan), where=totals > 0)
