"""Scores that foretell, without fine-tuning, how well a source's network suits a data set.

All are higher for better. Labels are n class indices; several labels an image are n x K of 0, 1 and NaN
(unknown), and a score is then the mean over the outputs, each on the images whose label is known. Every
score needs two classes: outputs with a single one are left out, and where none is left, DataError is
raised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, optimize

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.gaussian_mixture import gaussian_mixture, spread_start
from medtransfer.representation.knn import checked_labels, knn_metric, nearest, vote
from medtransfer.representation.matrices import as_features
from medtransfer.tables import Column, Schema

TRANSFERABILITY = Schema(
    name="transferability",
    row="one score of a source's network on one data set",
    columns={
        "source": Column("text", "name of the source"),
        "model": Column("text", "name of the network"),
        "dataset": Column("text", "name of the data set"),
        "score": Column("text", "logme, leep, nleep, h_score, h_score_shrunk or knn"),
        "value": Column("number", "the score, higher for better"),
        "images": Column("integer", "images of the data set that it was computed from"),
    },
    families={},
)


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME (You et al., ICML 2021): log evidence per image of a linear model of the labels.

    y = F w + noise, w ~ N(0, 1 / alpha), noise ~ N(0, 1 / beta), at the alpha and beta that make the
    evidence largest; the mean over one regression for each class that occurs (1 for the class, 0 for
    the rest), or over the outputs of several labels. As in the paper, nothing is centred.

    With s = alpha / beta fixed, the best beta is n / (y'y - y'F (F'F + s)^-1 F'y): what is left is a
    search over s alone, here between 1e-8 and 1e8 times the largest squared singular value of F. The
    bounds matter where labels are an exact linear function of fewer features than images, whose
    evidence is without limit, and where features say nothing, whose evidence is that of noise alone.

    Args:
        features: n x d.
        labels: n class indices, or n x K of 0, 1 and NaN.

    Raises:
        DataError: features or labels that are not allowed, or a single class.
    """
    features, labels = _checked(features, labels)
    if labels.ndim == 1:
        targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
        return float(np.mean(_evidences(features, targets)))
    values = [
        _evidences(features[known], classes[:, None].astype(np.float64))[0]
        for known, classes in _questions(labels)
    ]
    return float(np.mean(values))


LARGEST_RATIO = 1e8  # of alpha / beta to the largest squared singular value, and its inverse


def _evidences(features: np.ndarray, targets: np.ndarray) -> list[float]:
    """Largest log evidence per image of each column of targets (n x K)."""
    left, singular, _ = linalg.svd(features, full_matrices=False, check_finite=False)
    squares = singular**2
    projected = (left.T @ targets) ** 2  # r x K
    unexplained = np.maximum(np.sum(targets**2, axis=0) - projected.sum(axis=0), 0)
    scale = squares.max() if squares.max() > 0 else 1.0
    return [
        _largest_evidence(squares, projected[:, k], unexplained[k], len(features), scale)
        for k in range(targets.shape[1])
    ]


def _largest_evidence(
    squares: np.ndarray, projected: np.ndarray, unexplained: float, images: int, scale: float
) -> float:
    """Maximum over log s of the evidence at the best beta; a grid finds the hill, Brent its top."""

    def negative(log_ratio: float) -> float:
        shrinkage = 1 / (1 + squares / (scale * math.exp(log_ratio)))  # s / (s + square)
        residual = unexplained + float(shrinkage @ projected)
        noise = math.log(2 * math.pi * residual / images) + 1
        return 0.5 * (noise - float(np.log(shrinkage).sum()) / images)

    grid = np.linspace(-math.log(LARGEST_RATIO), math.log(LARGEST_RATIO), 65)
    best = int(np.argmin([negative(point) for point in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    top = optimize.minimize_scalar(negative, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return -min(float(top.fun), negative(grid[best]))


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """LEEP (Nguyen et al., ICML 2020): log-likelihood of a classifier that reads the source's classes.

    mean_i log sum_z P(y_i | z) p_z(x_i), P(y, z) being the mean of p_z over the images of class y.

    Args:
        probabilities: n x Z, the source network's softmax over its own classes.
        labels: n class indices, or n x K of 0, 1 and NaN.

    Returns:
        At most 0, natural log.

    Raises:
        DataError: rows that are no probabilities, labels that are not allowed, or a single class.
    """
    probabilities, labels = _checked(probabilities, labels)
    sums = probabilities.sum(axis=1)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise DataError(
            f"source probabilities from {probabilities.min():.3g} and with sums from {sums.min():.3g} "
            f"to {sums.max():.3g}; allowed: the softmax of the source's logits"
        )
    return _mean_over_questions(_leep, probabilities, labels)


def _leep(probabilities: np.ndarray, classes: np.ndarray) -> float:
    joint = np.eye(classes.max() + 1)[classes].T @ probabilities  # times n; it cancels
    marginal = joint.sum(axis=0)
    conditional = joint / np.where(marginal > 0, marginal, 1)
    return float(np.mean(np.log(np.sum(conditional[classes] * probabilities, axis=1))))


def nleep(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    variance: float = 0.8,
    components_per_class: int = 5,
    seed: int = 0,
) -> float:
    """NLEEP (Li et al., CVPR 2021): LEEP of the components of a Gaussian mixture of the features.

    The features are reduced to their fewest principal components that hold a share of the variance; the
    mixture has several components for each class, with full covariances.

    Args:
        features: n x d.
        labels: n class indices, or n x K of 0, 1 and NaN.
        variance: share of the variance that the principal components hold, at least.
        components_per_class: components of the mixture over classes; together at most one for every two
            images. Outputs of several labels are two classes each, and have a mixture of their own.
        seed: of the mixture's start.

    Raises:
        ConfigError: a variance outside of (0, 1], or no component.
        DataError: features or labels that are not allowed, constant features, or a single class.
    """
    if not 0 < variance <= 1 or components_per_class < 1:
        raise ConfigError(
            f"variance {variance}, {components_per_class} components per class; "
            "allowed: above 0 to 1, 1 or more"
        )
    features, labels = _checked(features, labels)

    def score(rows: np.ndarray, classes: np.ndarray) -> float:
        reduced = _principal(rows, variance)
        count = min(components_per_class * len(np.unique(classes)), len(rows) // 2)
        return _leep(gaussian_mixture(reduced, spread_start(reduced, max(1, count), seed)), classes)

    return _mean_over_questions(score, features, labels)


def _principal(features: np.ndarray, variance: float) -> np.ndarray:
    """Scores of the fewest principal components whose variances reach a share of all."""
    left, singular, _ = linalg.svd(features - features.mean(axis=0), full_matrices=False)
    if not _varied(singular, features).any():
        raise DataError("constant features; needed: features that vary")
    shares = np.cumsum(singular**2) / np.sum(singular**2)
    kept = int(np.searchsorted(shares, variance * (1 - 1e-12))) + 1
    return left[:, :kept] * singular[:kept]


def h_score(features: np.ndarray, labels: np.ndarray, *, shrinkage: bool = False) -> float:
    """H-score (Bao et al., ICIP 2019): tr(cov(F)^-1 cov(E[F | y])).

    The inverse is the pseudo-inverse, so constant or repeated features change nothing; features that
    are all constant have 0. Where there are no more images than features, the value is classes - 1
    whatever the features are: use the shrunk variant.

    Args:
        features: n x d.
        labels: n class indices, or n x K of 0, 1 and NaN.
        shrinkage: the variant of Ibrahim et al. (2021): cov(F) shrunk by Ledoit & Wolf (2004) towards a
            multiple of the identity, cov(E[F | y]) by the same factor towards 0.

    Returns:
        From 0 to classes - 1.

    Raises:
        DataError: features or labels that are not allowed, or a single class.
    """
    features, labels = _checked(features, labels)

    def score(rows: np.ndarray, classes: np.ndarray) -> float:
        return _h_score(rows, classes, shrinkage)

    return _mean_over_questions(score, features, labels)


def _h_score(features: np.ndarray, classes: np.ndarray, shrinkage: bool) -> float:
    """In the basis of the principal directions, in which the covariance is diagonal."""
    centred = features - features.mean(axis=0)
    left, singular, _ = linalg.svd(centred, full_matrices=False, check_finite=False)
    varied = _varied(singular, features)
    if not varied.any():
        return 0.0
    left, variances = left[:, varied], singular[varied] ** 2 / len(features)
    counts = np.bincount(classes)
    sums = np.stack([np.bincount(classes, column) for column in left.T], axis=1)  # classes x r
    between = np.sum(sums**2 / counts[:, None], axis=0)  # share of each direction's variance
    factor = ledoit_wolf(centred) if shrinkage else 0.0
    target = variances.sum() / features.shape[1]
    kept = (1 - factor) * variances
    return float(np.sum(kept * between / (kept + factor * target)))


def _varied(singular: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Which singular values of centred features are more than rounding."""
    rounding = max(features.shape) * np.finfo(np.float64).eps
    return singular > rounding * max(singular.max(), np.abs(features).max())


def ledoit_wolf(centred: np.ndarray) -> float:
    """Shrinkage of a covariance towards a multiple of the identity (Ledoit & Wolf, 2004), in [0, 1].

    0 where the covariance is such a multiple already, as that of one feature is.

    Args:
        centred: n x d, columns of mean 0.
    """
    images, features = centred.shape
    small = centred.T @ centred if features <= images else centred @ centred.T
    squares = float(np.sum(small**2)) / images**2  # of the covariance's entries
    mean = float(np.sum(centred**2)) / images / features
    fourth = float(np.sum(np.sum(centred**2, axis=1) ** 2)) / images
    noise = (fourth - squares) / images
    distance = squares - features * mean**2
    return min(noise, distance) / distance if distance > 0 and features > 1 else 0.0


def leave_one_out_knn(
    features: np.ndarray,
    labels: np.ndarray,
    task: str,
    metric: str = "accuracy",
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """A metric of each image's class as its nearest other images vote.

    Args:
        features: n x d.
        labels: n class indices, or for multilabel n x K of 0, 1 and NaN.
        task: binary, multiclass, multilabel or ordinal.
        metric: name of the metric (multilabel has no accuracy).
        k: neighbours that vote; all others where there are fewer.
        temperature: a neighbour's weight is exp(similarity / temperature).

    Raises:
        ConfigError, DataError: as :func:`medtransfer.representation.knn.knn_scores` and its metric; a
            single class, or a binary task with more than two.
    """
    features, labels = _checked(features, labels)
    classes = None if labels.ndim == 2 else max(2, int(labels.max()) + 1)
    if task == "binary" and classes != 2:
        raise DataError(f"{classes} classes in a binary task; allowed: 2")
    neighbours, similarities = (v[:, :-1] for v in _others(*nearest(features, features, k + 1)))
    return knn_metric(
        vote(labels, neighbours, similarities, temperature, classes), labels, task, metric
    )


def _others(neighbours: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with the image itself put last; where it is not among its neighbours, they stay."""
    itself = neighbours == np.arange(len(neighbours))[:, None]
    order = np.argsort(itself, axis=1, kind="stable")
    return np.take_along_axis(neighbours, order, 1), np.take_along_axis(similarities, order, 1)


@dataclass(frozen=True)
class Embedding:
    """A source's network over a data set's images.

    Attributes:
        source: name of the source.
        model: name of the network.
        dataset: name of the data set.
        task: binary, multiclass, multilabel or ordinal.
        metric: the data set's target metric, for kNN.
        features: n x d, pooled, of the penultimate layer.
        labels: n class indices, or for multilabel n x K of 0, 1 and NaN.
        probabilities: n x Z, softmax of the source's head; None without one: no LEEP then.
    """

    source: str
    model: str
    dataset: str
    task: str
    metric: str
    features: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray | None = None


def transferability_table(embeddings: Iterable[Embedding], seed: int = 0) -> pd.DataFrame:
    """All scores of sources' networks on data sets.

    Args:
        embeddings: taken one at a time.
        seed: of NLEEP's mixtures.

    Returns:
        A table of schema TRANSFERABILITY.
    """
    rows = [
        (e.source, e.model, e.dataset, score, value, len(e.features))
        for e in embeddings
        for score, value in _scores(e, seed).items()
    ]
    return pd.DataFrame(rows, columns=list(TRANSFERABILITY.columns))


def _scores(embedding: Embedding, seed: int) -> dict[str, float]:
    features, labels = embedding.features, embedding.labels
    values = {
        "logme": logme(features, labels),
        "nleep": nleep(features, labels, seed=seed),
        "h_score": h_score(features, labels),
        "h_score_shrunk": h_score(features, labels, shrinkage=True),
        "knn": leave_one_out_knn(features, labels, embedding.task, embedding.metric),
    }
    if embedding.probabilities is not None:
        values["leep"] = leep(embedding.probabilities, labels)
    return values


def _checked(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as the scores need them: as many labels as rows, and two classes."""
    features, labels = as_features("features", features, least=2), checked_labels(labels, None)
    if len(features) != len(labels):
        raise DataError(f"{len(labels)} labels for {len(features)} images; needed: one each")
    if next(_questions(labels), None) is None:
        raise DataError("labels of a single class; needed: two or more classes")
    return features, labels


def _questions(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and their classes (from 0, without gaps) of every question that has two classes."""
    if labels.ndim == 1:
        classes = np.unique(labels, return_inverse=True)[1]
        if classes.max() > 0:
            yield np.ones(len(labels), dtype=bool), classes
        return
    for column in labels.T:
        known = ~np.isnan(column)
        if len(np.unique(column[known])) == 2:
            yield known, column[known].astype(np.int64)


def _mean_over_questions(
    score: Callable[[np.ndarray, np.ndarray], float], features: np.ndarray, labels: np.ndarray
) -> float:
    return float(np.mean([score(features[known], classes) for known, classes in _questions(labels)]))
