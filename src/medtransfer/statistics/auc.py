"""Areas under ROC curves: their intervals, and their comparison on the same or on other images.

The variance is that of DeLong, DeLong & Clarke-Pearson (Biometrics 44, 1988); with several images a
patient, that of Obuchowski (Biometrics 53, 1997), in which a patient may have images of both classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from medtransfer.statistics.bootstrap import check_confidence, numbered

Values = Sequence[float] | np.ndarray
Clusters = Sequence[object] | np.ndarray

# Standard errors below this are rounding: the smallest difference that data can show is far larger.
ROUNDING = 1e-12


@dataclass(frozen=True)
class AucComparison:
    """Two areas and their difference, a less b; NaN where undefined.

    Attributes:
        auc_a, auc_b: the areas.
        difference: a less b.
        standard_error: of the difference.
        low, high: ends of its interval.
        z: difference over standard error.
        p: two-sided p of no difference.
    """

    auc_a: float
    auc_b: float
    difference: float
    standard_error: float
    low: float
    high: float
    z: float
    p: float


@dataclass(frozen=True)
class AucInterval:
    """An area with its standard error and interval; NaN where undefined."""

    auc: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class _Placements:
    """What each image adds to an area.

    Attributes:
        area: the area itself.
        positives: m values: the share of negatives below each positive, ties counting half.
        negatives: n values: the share of positives above each negative, likewise.
        positive_clusters, negative_clusters: m and n numbers of patients.
    """

    area: float
    positives: np.ndarray
    negatives: np.ndarray
    positive_clusters: np.ndarray
    negative_clusters: np.ndarray


def delong(
    labels: Values,
    scores_a: Values,
    scores_b: Values,
    *,
    confidence: float = 0.95,
    cluster: Clusters | None = None,
) -> AucComparison:
    """Paired comparison of two areas on the same images.

    Two models that order the images alike have a difference of 0 and p = 1. A difference without any
    spread, such as areas of 1 and 0, has no p and an interval of no width. Undefined with fewer than
    two images (patients, where given) of a class, or with a score that is NaN.

    Args:
        labels: N of 0 and 1.
        scores_a: N, higher for more likely positive.
        scores_b: N, likewise.
        confidence: coverage of the interval, between 0 and 1.
        cluster: N patients; None if each image is of another one.

    Raises:
        ValueError: lengths differ, or labels are other than 0 and 1.
        DataError: an image has no patient.
    """
    a = _placements(labels, scores_a, cluster, "scores_a")
    b = _placements(labels, scores_b, cluster, "scores_b")
    if a is None or b is None:
        return _comparison(_area(a), _area(b), math.nan, confidence)
    difference = _Placements(
        a.area - b.area,
        a.positives - b.positives,
        a.negatives - b.negatives,
        a.positive_clusters,
        a.negative_clusters,
    )
    alike = not (difference.positives.any() or difference.negatives.any())
    return _comparison(a.area, b.area, 0.0 if alike else _variance(difference), confidence)


def delong_unpaired(
    labels_a: Values,
    scores_a: Values,
    labels_b: Values,
    scores_b: Values,
    *,
    confidence: float = 0.95,
    cluster: tuple[Clusters, Clusters] | None = None,
) -> AucComparison:
    """Comparison of two areas on independent images, such as a test set and one of another hospital.

    Args:
        labels_a: N of 0 and 1.
        scores_a: N, higher for more likely positive.
        labels_b: M of 0 and 1.
        scores_b: M, likewise.
        confidence: coverage of the interval, between 0 and 1.
        cluster: N and M patients; None if each image is of another one.

    Raises:
        ValueError: lengths differ, or labels are other than 0 and 1.
        DataError: an image has no patient.
    """
    cluster_a, cluster_b = cluster or (None, None)
    a = _placements(labels_a, scores_a, cluster_a, "scores_a")
    b = _placements(labels_b, scores_b, cluster_b, "scores_b")
    if a is None or b is None:
        return _comparison(_area(a), _area(b), math.nan, confidence)
    return _comparison(a.area, b.area, _variance(a) + _variance(b), confidence)


def auc_interval(
    labels: Values,
    scores: Values,
    *,
    confidence: float = 0.95,
    cluster: Clusters | None = None,
) -> AucInterval:
    """An area with DeLong's standard error and an interval that is symmetric on the logit scale.

    The plain interval, area plus and minus z standard errors, leaves [0, 1] and covers too seldom near
    1. Areas of exactly 0 and 1 have a standard error of 0: their other end is Newcombe's (Statistics
    in Medicine 25, 2006, method 5), of as many images as there are patients with images of a class.
    Where patients have several images, the quantile is Student's with Welch and Satterthwaite's
    degrees of freedom of the two classes: the normal one makes it too short for 20 patients and fewer.
    With few patients of one class and many of the other, the interval is still somewhat too short.

    Args:
        labels: N of 0 and 1.
        scores: N, higher for more likely positive.
        confidence: coverage of the interval, between 0 and 1.
        cluster: N patients; None if each image is of another one.

    Raises:
        ValueError: lengths differ, or labels are other than 0 and 1.
        DataError: an image has no patient.
    """
    check_confidence(confidence)
    placements = _placements(labels, scores, cluster, "scores")
    variance = math.nan if placements is None else _variance(placements)
    if placements is None or math.isnan(variance):
        return AucInterval(_area(placements), math.nan, math.nan, math.nan)
    area, error = placements.area, math.sqrt(variance)
    tail = 0.5 + confidence / 2
    if 0 < area < 1:
        return AucInterval(area, error, *_logit_ends(area, error, _quantile(placements, tail)))
    z = float(stats.norm.ppf(tail))
    bound = _newcombe_bound(
        len(np.unique(placements.positive_clusters)), len(np.unique(placements.negative_clusters)), z
    )
    return AucInterval(area, error, *((bound, 1.0) if area == 1 else (0.0, 1 - bound)))


def _quantile(placements: _Placements, tail: float) -> float:
    """Of the normal distribution; of Student's where patients have several images."""
    patients, *sums = _sums_by_patient(placements)
    if patients == len(placements.positives) + len(placements.negatives):
        return float(stats.norm.ppf(tail))
    parts = [
        (float((own**2).sum()), len(np.unique(clusters)) - 1)
        for own, clusters in zip(
            sums, (placements.positive_clusters, placements.negative_clusters), strict=True
        )
    ]
    squares = sum(part**2 / freedom for part, freedom in parts)
    whole = sum(part for part, _ in parts) ** 2
    # without any spread the classes count alike
    freedom = whole / squares if squares > 0 else min(freedom for _, freedom in parts)
    return float(stats.t.ppf(tail, freedom))


def _logit_ends(area: float, error: float, quantile: float) -> tuple[float, float]:
    centre, half = special.logit(area), quantile * error / (area * (1 - area))
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def _newcombe_bound(positives: int, negatives: int, z: float) -> float:
    """The area below 1 from which an observed area of 1 is z standard errors away.

    The variance is that of Hanley & McNeil (Radiology 143, 1982) with the mean of the two numbers of
    images in its bracket.
    """

    def excess(area: float) -> float:
        others = (positives + negatives) / 2 - 1
        bracket = 1 + others * (1 - area) / (2 - area) + others * area / (1 + area)
        # (1 - area)^2 = z^2 variance, divided by 1 - area
        return 1 - area - z**2 * area * bracket / (positives * negatives)

    return float(optimize.brentq(excess, 0.0, 1.0))


def _area(placements: _Placements | None) -> float:
    return math.nan if placements is None else placements.area


def _placements(
    labels: Values, scores: Values, cluster: Clusters | None, name: str
) -> _Placements | None:
    """The placements by mid-ranks (Sun & Xu, IEEE Signal Processing Letters 21, 2014).

    None when a class is absent or a score is NaN.
    """
    targets = _targets(labels)
    values = np.asarray(scores, dtype=np.float64)
    _check_length(values, len(targets), name)
    clusters = np.arange(len(targets))
    if cluster is not None:
        _check_length(np.asarray(cluster, dtype=object), len(targets), "cluster")
        clusters = numbered(cluster, "cluster")
    positive = targets == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0 or np.isnan(values).any():
        return None
    ranks = stats.rankdata(values)
    below = ranks[positive] - stats.rankdata(values[positive])
    above = count + stats.rankdata(values[~positive]) - ranks[~positive]
    area = float(below.sum() / (count * others))
    return _Placements(area, below / others, above / count, clusters[positive], clusters[~positive])


def _variance(placements: _Placements) -> float:
    """Obuchowski's variance of an area, or of a difference of two; NaN with one patient of a class.

    With one image a patient it is DeLong's.
    """
    patients, positives, negatives = _sums_by_patient(placements)
    with_positives = len(np.unique(placements.positive_clusters))
    with_negatives = len(np.unique(placements.negative_clusters))
    if min(with_positives, with_negatives) < 2:
        return math.nan
    return float(
        (positives**2).sum() * with_positives / (with_positives - 1)
        + (negatives**2).sum() * with_negatives / (with_negatives - 1)
        + 2 * (positives * negatives).sum() * patients / (patients - 1)
    )


def _sums_by_patient(placements: _Placements) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of patients, and what the images of each class of each add to the area."""
    clusters = np.concatenate([placements.positive_clusters, placements.negative_clusters])
    names, places = np.unique(clusters, return_inverse=True)
    count = len(placements.positives)
    sums = [
        np.bincount(where, weights=(values - values.mean()) / len(values), minlength=len(names))
        for where, values in (
            (places[:count], placements.positives),
            (places[count:], placements.negatives),
        )
    ]
    return len(names), sums[0], sums[1]


def _comparison(area_a: float, area_b: float, variance: float, confidence: float) -> AucComparison:
    check_confidence(confidence)
    difference, error = area_a - area_b, math.sqrt(variance)
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    z = _in_errors(difference, error)
    p = float(2 * stats.norm.sf(abs(z)))
    return AucComparison(area_a, area_b, difference, error, difference - half, difference + half, z, p)


def _in_errors(difference: float, error: float) -> float:
    """The difference in standard errors; without any spread, 0 for no difference and else NaN."""
    if error > ROUNDING:
        return difference / error
    return 0.0 if error <= ROUNDING and abs(difference) <= ROUNDING else math.nan


def _targets(labels: Values) -> np.ndarray:
    targets = np.asarray(labels)
    if targets.ndim != 1:
        raise ValueError(f"labels have shape {targets.shape}; allowed: one number an image")
    others = sorted({str(label) for label in targets.tolist() if label not in (0, 1)})
    if others:
        raise ValueError(f"labels hold {', '.join(others[:5])}; allowed: 0 and 1")
    return targets.astype(np.int64)


def _check_length(values: np.ndarray, images: int, name: str) -> None:
    if values.shape != (images,):
        raise ValueError(f"{name} has shape {values.shape}; allowed: one value a label, ({images},)")
