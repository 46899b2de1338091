"""Do probabilities mean what they say? Calibration errors, reliability, temperature scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, softmax

from medtransfer.evaluation.binning import (
    BINS,
    Confidences,
    bin_numbers,
    calibration_error,
    check_binning,
)
from medtransfer.evaluation.metrics import brier, negative_log_likelihood
from medtransfer.evaluation.predictions import Predictions

# Temperatures are looked for in between.
COLDEST, HOTTEST = 0.01, 100.0

CALIBRATION = (
    "ece_mass",
    "ece_width",
    "ece_classwise",
    "ece_debiased",
    "brier",
    "negative_log_likelihood",
)
CalibrationError = Callable[..., float]


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS, binning: str = "mass"
) -> float:
    """Mean distance between confidence and share of hits over bins (Naeini et al., AAAI 2015).

    Sum over bins of (answers in the bin / answers) x |mean confidence - share of hits|.

    Args:
        probabilities: N of the positive class (binary), compared with the share of positives; or
            N x K, of which the most likely class is compared with the share of images of that class
            (Guo et al., ICML 2017). N x 1 is binary.
        labels: N of 0 and 1, or N class indices.
        bins: how many.
        binning: ``mass`` (bins of equally many answers) or ``width`` (of equal width); what happens
            to ties, and on the borders, says :func:`medtransfer.evaluation.binning.bin_numbers`.

    Returns:
        A value in [0, 1]; NaN without images.

    Raises:
        ValueError: another binning, no bins, something that is no probability, or labels that don't
            fit.
    """
    confidences = _confidences(probabilities, labels)
    once = np.ones((1, len(confidences.values)))
    return float(calibration_error(confidences, bins, binning)(once)[0])


def debiased_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS, binning: str = "mass"
) -> float:
    """Root of the debiased squared calibration error (Kumar et al., NeurIPS 2019, section 5).

    Sum over bins of (n_b / N) x [(mean confidence - s_b)^2 - s_b (1 - s_b) / (n_b - 1)], where s_b is
    the share of hits: the plug-in l2 error less its bias, which is the variance of s_b (also Broecker,
    Climate Dynamics 2012). Bins of a single answer say nothing and count 0. A negative sum, as a
    calibrated network has about half of the time, gives 0. An l2 error: not smaller than the l1 error
    that it estimates, and not to be compared with :func:`expected_calibration_error`.

    Args, returns and errors as there.
    """
    table = reliability(probabilities, labels, bins, binning)
    several = table[table["count"] > 1]
    share, count = several["observed"], several["count"]
    squares = (several["confidence"] - share) ** 2 - share * (1 - share) / (count - 1)
    if not len(table):
        return math.nan
    return math.sqrt(max(0.0, float((count * squares).sum()) / float(table["count"].sum())))


def classwise_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS, binning: str = "mass"
) -> float:
    """Mean over the classes of the binary error of each (Kull et al., NeurIPS 2019).

    All probabilities count, not only those of the most likely class.

    Args:
        probabilities: N x K, or N for binary.
        labels: N class indices, or for multilabel N x K of 0, 1 and NaN (unknown: left out).
        bins: as in :func:`expected_calibration_error`.
        binning: as there.

    Returns:
        A value in [0, 1]; NaN where no label is known. A class whose labels are all unknown is left
        out.

    Raises:
        ValueError: as there.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if probabilities.ndim == 1 or probabilities.shape[1] == 1:
        return expected_calibration_error(probabilities, labels.ravel(), bins, binning)
    if labels.ndim == 1:
        _check_labels(labels, *probabilities.shape)
        labels = np.eye(probabilities.shape[1])[labels.astype(np.int64)]
    return _mean_over_outputs(expected_calibration_error, probabilities, labels, bins, binning)


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS, binning: str = "mass"
) -> pd.DataFrame:
    """The bins of a reliability diagram.

    Args, errors as in :func:`expected_calibration_error`.

    Returns:
        A row for each bin that isn't empty, in ascending order: ``bin`` (its number, from 0),
        ``confidence`` (mean), ``observed`` (share of hits), ``count``.
    """
    check_binning(bins, binning)
    confidences = _confidences(probabilities, labels)
    numbers = bin_numbers(confidences.values, bins, binning)
    table = pd.DataFrame(
        {"bin": numbers, "confidence": confidences.values, "observed": confidences.hits}
    )
    means = table.groupby("bin").mean()
    return means.assign(count=table.groupby("bin").size()).reset_index()


def _confidences(probabilities: np.ndarray, labels: np.ndarray) -> Confidences:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim == 2 and probabilities.shape[1] == 1:
        probabilities = probabilities[:, 0]
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities are not all in [0, 1]; allowed: numbers from 0 to 1")
    classes = 2 if probabilities.ndim == 1 else probabilities.shape[1]
    _check_labels(labels, len(probabilities), classes)
    images = np.arange(len(labels))
    if probabilities.ndim == 1:
        return Confidences(images, probabilities, labels.astype(np.float64))
    hits = probabilities.argmax(axis=1) == labels
    return Confidences(images, probabilities.max(axis=1), hits.astype(np.float64))


def _check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    if labels.shape != (images,):
        raise ValueError(f"labels have shape {labels.shape}; allowed: one for each of {images} images")
    strange = set(np.unique(labels)) - set(range(classes))
    if strange:
        raise ValueError(f"label {min(strange)} for {classes} classes; allowed: 0 to {classes - 1}")


def _mean_over_outputs(
    error: CalibrationError, probabilities: np.ndarray, targets: np.ndarray, bins: int, binning: str
) -> float:
    found = [error(p, t, bins, binning) for p, t in _known_answers(probabilities, targets)]
    return float(np.mean(found)) if found else math.nan


def _known_answers(
    probabilities: np.ndarray, targets: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    known = ~np.isnan(targets)
    for k in np.flatnonzero(known.any(axis=0)):
        yield probabilities[known[:, k], k], targets[known[:, k], k]


def temperature(predictions: Predictions) -> float:
    """The temperature whose scaled logits have the least negative log-likelihood.

    Guo et al. (ICML 2017), section 4.2: one T for all logits, of the sigmoids too. The loss is convex
    in 1 / T, so the place where its slope is 0 is looked for, in log T.

    Args:
        predictions: of the validation part, never of the part that is then evaluated. Unknown labels
            are ignored.

    Returns:
        T between COLDEST and HOTTEST. COLDEST itself says that colder would be still better, as when
        every image is decided right, so that any certainty pays; HOTTEST that no certainty does. 1
        where all logits of an image are equal, so that T changes nothing; NaN where no label is known
        or a logit isn't finite.
    """
    logits = predictions.logits.astype(np.float64)
    if np.isnan(predictions.targets).all() or not np.isfinite(logits).all():
        return math.nan
    if not np.any(logits if predictions.separate else logits - logits[:, :1]):
        return 1.0

    def slope(log_temperature: float) -> float:
        return _slope(predictions, math.exp(-log_temperature))

    coldest, hottest = math.log(COLDEST), math.log(HOTTEST)
    if slope(coldest) <= 0:
        return COLDEST
    if slope(hottest) >= 0:
        return HOTTEST
    return math.exp(brentq(slope, coldest, hottest, xtol=1e-12))


def _slope(predictions: Predictions, inverse: float) -> float:
    """The derivative of the loss by 1 / T.

    For each answer the expected lead of the other classes over the right one, so that nothing cancels
    where the right one is all but certain.
    """
    logits, labels = predictions.logits.astype(np.float64), predictions.labels
    if predictions.separate:
        leads = logits * (1 - 2 * predictions.targets)
        return float(np.nansum(leads * expit(inverse * leads)))
    leads = logits - np.take_along_axis(logits, labels[:, None], axis=1)
    return float((leads * softmax(inverse * leads, axis=1)).sum())


def scaled(predictions: Predictions, temperature: float) -> Predictions:
    """The predictions with all logits divided by a temperature above 0; decisions stay the same."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; allowed: above 0")
    logits = predictions.logits.astype(np.float64) / temperature
    return Predictions(predictions.task, logits, predictions.labels)


def calibration_metrics(predictions: Predictions, temperature: float | None = None) -> dict[str, float]:
    """All measures of calibration; for multilabel the means of the outputs' binary errors.

    Args:
        predictions: of the part that is evaluated.
        temperature: of :func:`temperature` on the validation part.

    Returns:
        ``ece_mass``, ``ece_width``, ``ece_classwise`` (equal mass), ``ece_debiased`` (equal mass, l2),
        ``brier``, ``negative_log_likelihood``; with a temperature also these of the scaled
        predictions, with the suffix ``_scaled`` (NaN for a temperature of NaN).
        All NaN where a probability isn't a number.
    """
    measures = _calibration(predictions)
    if temperature is None:
        return measures
    if math.isnan(temperature):
        return measures | {f"{name}_scaled": math.nan for name in measures}
    after = _calibration(scaled(predictions, temperature))
    return measures | {f"{name}_scaled": value for name, value in after.items()}


def _calibration(predictions: Predictions) -> dict[str, float]:
    probabilities, targets = predictions.probabilities, predictions.targets
    if np.isnan(probabilities).any():
        return dict.fromkeys(CALIBRATION, math.nan)

    def error(measure: CalibrationError, binning: str) -> float:
        if predictions.separate:
            return _mean_over_outputs(measure, probabilities, targets, BINS, binning)
        return measure(probabilities, predictions.labels, BINS, binning)

    values = (
        error(expected_calibration_error, "mass"),
        error(expected_calibration_error, "width"),
        _mean_over_outputs(expected_calibration_error, probabilities, targets, BINS, "mass"),
        error(debiased_calibration_error, "mass"),
        brier(predictions),
        negative_log_likelihood(predictions),
    )
    return dict(zip(CALIBRATION, values, strict=True))
