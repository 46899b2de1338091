"""Selective prediction: how often a network errs on the images of which it is surest.

The error of an image is 1 for a wrong decision and 0 for a right one; for multilabel the share of
wrong decisions among its known labels, and images without any are left out. The confidence is the
probability of the decision: the highest probability, for binary max(p, 1 - p), for multilabel the
mean of max(p, 1 - p) over all outputs, since which labels are known isn't known beforehand.

Images of equal confidence are accepted together, as one point of the curve, so that the order of rows
never matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import digamma, expit

from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.weighting import (
    Statistic,
    apply,
    checked,
    ratio,
    sums_of_ties,
    undefined,
)


@dataclass(frozen=True)
class Decided:
    """The decisions of n images, the surest first.

    Attributes:
        images: n indices of the images.
        errors: n, from 0 (right) to 1 (wrong).
        doubts: n, 1 - confidence: doubts keep apart what is all a confidence of 1 in float64.
    """

    images: np.ndarray
    errors: np.ndarray
    doubts: np.ndarray


def decided(predictions: Predictions) -> Decided:
    """Errors and doubts of the images with a known label, in the order in which they are accepted."""
    if predictions.task == "multilabel":
        known = ~np.isnan(predictions.labels)
        wrong = known & (predictions.decisions != predictions.labels)
        errors = ratio(wrong.sum(axis=1).astype(np.float64), known.sum(axis=1).astype(np.float64))
    else:
        errors = (predictions.decisions != predictions.labels).astype(np.float64)
    images = np.flatnonzero(~np.isnan(errors))
    doubts = _doubts(predictions)[images]
    order = np.argsort(doubts, kind="stable")
    return Decided(images[order], errors[images][order], doubts[order])


def _doubts(predictions: Predictions) -> np.ndarray:
    logits = predictions.logits.astype(np.float64)
    if predictions.separate:
        return np.sort(expit(-np.abs(logits)), axis=1).mean(axis=1)
    # sorted, so that equal sets of logits are equal doubts whatever the order of the classes
    behind = np.sort(logits, axis=1)[:, -2::-1] - logits.max(axis=1, keepdims=True)
    others = np.exp(behind).sum(axis=1)
    return others / (1 + others)


def risk_coverage(predictions: Predictions) -> pd.DataFrame:
    """The risk-coverage curve (El-Yaniv & Wiener, JMLR 2010).

    Returns:
        A row for each distinct confidence, the surest first: ``confidence`` (the lowest accepted),
        ``coverage`` (share of images accepted), ``risk`` (their mean error), ``count`` (images of
        just this confidence).
    """
    found = decided(predictions)
    doubts, place, counts = np.unique(found.doubts, return_inverse=True, return_counts=True)
    accepted = np.cumsum(counts)
    errors = np.cumsum(np.bincount(place, weights=found.errors, minlength=len(doubts)))
    return pd.DataFrame(
        {
            "confidence": 1 - doubts,
            "coverage": accepted / max(1, len(found.images)),
            "risk": errors / accepted,
            "count": counts,
        }
    )


def area(predictions: Predictions) -> float:
    """Area under the risk-coverage curve (AURC; Geifman et al., ICLR 2019).

    The mean over the images of the risk at the coverage that just accepts them: for distinct
    confidences the mean of the risks of the 1, 2 ... N surest images. Lower is better; a network that
    is equally sure of all has its error. NaN without a known label.
    """
    return float(weighted_area(predictions, _once(predictions))[0])


def excess_area(predictions: Predictions) -> float:
    """AURC above that of the best order of the same errors (E-AURC; Geifman et al., ICLR 2019).

    The best order accepts the images one by one, those of smaller error first. 0 for distinct
    confidences in such an order; never negative.
    """
    return float(weighted_excess_area(predictions, _once(predictions))[0])


def weighted_area(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """:func:`area` of weighted images: an image of weight 2 is two images of one confidence.

    Args:
        predictions: N images.
        weights: M x N, 0 or more.

    Returns:
        M values, NaN where no image with a known label has weight.

    Raises:
        ValueError: the weights don't fit the images.
    """
    weights = checked(weights, len(predictions.logits))
    return apply(_area(decided(predictions)), weights, weights.shape[1])


def weighted_excess_area(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """:func:`excess_area` of weighted images; arguments, values and errors as :func:`weighted_area`.

    Whole weights give the value of the images repeated so often; others lie in between.
    """
    weights = checked(weights, len(predictions.logits))
    found = decided(predictions)
    area, best = _area(found), _best_area(found)
    return apply(lambda block: area(block) - best(block), weights, weights.shape[1])


def _once(predictions: Predictions) -> np.ndarray:
    return np.ones((1, len(predictions.logits)))


def _area(found: Decided) -> Statistic:
    if not len(found.images) or np.isnan(found.doubts).any():
        return undefined
    grouped = sums_of_ties(found.doubts)

    def statistic(weights: np.ndarray) -> np.ndarray:
        each = weights[:, found.images]
        accepting, errors = grouped(each), grouped(each * found.errors)
        accepted = np.cumsum(accepting, axis=1)
        risks = np.nan_to_num(ratio(np.cumsum(errors, axis=1), accepted))
        return ratio((accepting * risks).sum(axis=1), accepted[:, -1])

    return statistic


def _best_area(found: Decided) -> Statistic:
    """The area of the order by errors, in which each whole unit of weight is a point of its own.

    After B accepted images with errors A, the next k with an error of e each have the risks
    (A + e j) / (B + j) for j = 1 ... k, whose sum is e k + (A - e B) (digamma(B + k + 1) -
    digamma(B + 1)).
    """
    if not len(found.images):
        return undefined
    order = np.argsort(found.errors, kind="stable")
    images, errors = found.images[order], found.errors[order]
    grouped, distinct = sums_of_ties(errors), np.unique(errors)

    def statistic(weights: np.ndarray) -> np.ndarray:
        accepting = grouped(weights[:, images])
        accepted, wrong = np.cumsum(accepting, axis=1), np.cumsum(accepting * distinct, axis=1)
        before, wrong_before = accepted - accepting, wrong - accepting * distinct
        steps = digamma(accepted + 1) - digamma(before + 1)
        risks = distinct * accepting + (wrong_before - distinct * before) * steps
        return ratio(risks.sum(axis=1), accepted[:, -1])

    return statistic
