"""True and false positive rates at thresholds that were fixed on other images."""

from __future__ import annotations

import math

import numpy as np

from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.weighting import Statistic, mean_of_defined, ratio

# 1 for the images in which the rate counts what is found: positives, negatives
RATES = {"true_positive_rate": 1.0, "false_positive_rate": 0.0}


def youden_thresholds(predictions: Predictions) -> np.ndarray:
    """The logit of each output from which on an answer is yes, K; NaN where an answer is absent.

    It has the largest Youden's J = true less false positive rate (Youden, Cancer 3, 1950) on these
    images; of several such thresholds the lowest, which finds most. It lies half way to the next lower
    logit, except at the lowest.

    Args:
        predictions: binary or multilabel; usually of the validation part.
    """
    outputs = zip(predictions.logits.T, predictions.targets.T, strict=True)
    return np.array([_youden_threshold(scores, targets) for scores, targets in outputs])


def _youden_threshold(scores: np.ndarray, targets: np.ndarray) -> float:
    positive, negative = (np.asarray(scores[targets == a], dtype=np.float64) for a in (1.0, 0.0))
    if not len(positive) or not len(negative) or np.isnan([*positive, *negative]).any():
        return math.nan
    values = np.unique([*positive, *negative])
    found = [1 - np.searchsorted(np.sort(own), values) / len(own) for own in (positive, negative)]
    advantage = found[0] - found[1]
    best = int(np.argmax(advantage >= advantage.max() - 1e-12))
    return float(values[best] if best == 0 else (values[best - 1] + values[best]) / 2)


def rate(name: str, predictions: Predictions, thresholds: np.ndarray) -> Statistic:
    """A rate of weighted images at fixed thresholds: the mean over the outputs that have one.

    Args:
        name: of RATES.
        predictions: N images, binary or multilabel.
        thresholds: K logits from which on an answer is yes; NaN leaves an output out.
    """
    concerned = (predictions.targets == RATES[name]) & ~np.isnan(thresholds)
    found = concerned & (predictions.logits >= thresholds)
    hits, counts = found.astype(np.float64), concerned.astype(np.float64)
    return lambda weights: mean_of_defined(ratio((weights @ hits).T, (weights @ counts).T))
