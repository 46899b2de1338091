"""Comparison of the decisions of two runs on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medtransfer.statistics.bootstrap import check_confidence, numbered

Decisions = Sequence[object] | np.ndarray
Clusters = Sequence[object] | np.ndarray


@dataclass(frozen=True)
class McNemarResult:
    """Two accuracies on the same images; NaN where undefined.

    Attributes:
        only_a, only_b: images that only run a, or only run b, decides rightly.
        images: all images.
        difference: accuracy of a less that of b.
        low, high: ends of its interval.
        p: exact two-sided p of equal accuracies.
        p_mid: the same with half of the probability of what was observed; less cautious.
        p_chi_square: the asymptotic p.
    """

    only_a: int
    only_b: int
    images: int
    difference: float
    low: float
    high: float
    p: float
    p_mid: float
    p_chi_square: float


def mcnemar(
    labels: Decisions,
    decisions_a: Decisions,
    decisions_b: Decisions,
    *,
    confidence: float = 0.95,
    cluster: Clusters | None = None,
) -> McNemarResult:
    """McNemar's test, of images or of patients with several images.

    Exact p: under the null hypothesis the two runs are exchangeable in each patient, so that the
    difference between their numbers of right decisions there has either sign with probability 1/2. With
    one image a patient this is the binomial test of the discordant images. The mid-p is that of
    Fagerland, Lydersen & Laake (BMC Medical Research Methodology 13, 2013). The asymptotic test is that
    of Durkalski et al. (Statistics in Medicine 22, 2003), in which every patient weighs the same; with
    one image a patient it is McNemar's without correction. The interval is that of Bonett & Price
    (British Journal of Mathematical and Statistical Psychology 65, 2012), with sums over patients in
    its variance and, where patients have several images, Student's quantile with one degree of freedom
    less than patients: the normal one makes it too short for 20 patients and fewer. Without discordant
    images all p are 1; without images nothing is defined.

    Args:
        labels: N classes.
        decisions_a: N decided classes of run a.
        decisions_b: N of run b.
        confidence: coverage of the interval, between 0 and 1.
        cluster: N patients; None if each image is of another one.

    Raises:
        ValueError: lengths differ.
        DataError: an image has no patient.
    """
    check_confidence(confidence)
    _check_lengths(labels, decisions_a, decisions_b, cluster)
    truth = np.asarray(labels)
    right_a = (np.asarray(decisions_a) == truth).astype(np.int64)
    right_b = (np.asarray(decisions_b) == truth).astype(np.int64)
    places = np.arange(len(truth)) if cluster is None else numbered(cluster, "cluster")
    if len(truth) == 0:
        return McNemarResult(0, 0, 0, *[math.nan] * 6)
    images = np.bincount(places)
    leads = np.bincount(places, weights=right_a - right_b).astype(np.int64)
    return McNemarResult(
        int((right_a > right_b).sum()),
        int((right_b > right_a).sum()),
        len(truth),
        float(leads.sum() / len(truth)),
        *_interval(leads, images, confidence),
        *_exact(leads),
        _chi_square(leads, images),
    )


def _exact(leads: np.ndarray) -> tuple[float, float]:
    """Exact and mid-p of the sum of the leads when each may have either sign.

    Args:
        leads: for each patient, right decisions of a less those of b.
    """
    if not leads.any():
        return 1.0, 1.0
    sums = _signed_sums(np.abs(leads))
    largest = len(sums) // 2
    distance = np.abs(np.arange(-largest, largest + 1))
    observed = abs(int(leads.sum()))
    p = float(sums[distance >= observed].sum())
    return min(p, 1.0), min(p - float(sums[distance == observed].sum()) / 2, 1.0)


def _signed_sums(sizes: np.ndarray) -> np.ndarray:
    """The probabilities of all sums, from the smallest to the largest, of sizes with random signs."""
    probabilities = np.ones(1)
    for size, count in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        probabilities = np.convolve(probabilities, steps)
    return probabilities


def _chi_square(leads: np.ndarray, images: np.ndarray) -> float:
    """Durkalski's p, of the mean over patients of the difference between their accuracies."""
    differences = leads / images
    squares = float((differences**2).sum())
    return float(stats.chi2.sf(differences.sum() ** 2 / squares, 1)) if squares else 1.0


def _interval(leads: np.ndarray, images: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bonett & Price: two more patients with an image each, one that only a and one that only b decides
    rightly, keep the interval from collapsing."""
    tail = 0.5 + confidence / 2
    several = bool((images > 1).any())
    quantile = stats.t.ppf(tail, max(1, len(images) - 1)) if several else stats.norm.ppf(tail)
    leads, images = np.append(leads, [1, -1]), np.append(images, [1, 1])
    difference = leads.sum() / images.sum()
    error = math.sqrt(((leads - images * difference) ** 2).sum()) / images.sum()
    half = float(quantile) * error
    return max(-1.0, float(difference - half)), min(1.0, float(difference + half))


def _check_lengths(
    labels: Decisions, decisions_a: Decisions, decisions_b: Decisions, cluster: Clusters | None
) -> None:
    arrays = {"labels": labels, "decisions_a": decisions_a, "decisions_b": decisions_b}
    if cluster is not None:
        arrays["cluster"] = cluster
    shapes = {name: np.shape(np.asarray(values, dtype=object)) for name, values in arrays.items()}
    if len(set(shapes.values())) > 1 or len(shapes["labels"]) != 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes are {found}; allowed: one value an image in each")
