"""Resampling of patients that all runs on the same images share.

A resample is a weight for every image: how often its patient was drawn. Since runs on the same images
share the weights, differences and means of their metrics are taken resample by resample, and what the
runs have in common cancels as it does in the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.evaluation.metrics import weighted_metric
from medtransfer.evaluation.predictions import Predictions
from medtransfer.seeds import derived_seed
from medtransfer.statistics.bootstrap import (
    Interval,
    check_resamples,
    draws,
    interval_by,
    left_out,
    numbered,
)

# Weights are handed to a statistic in blocks of at most this many numbers (32 MiB).
LARGEST_BLOCK = 2**22


@dataclass(frozen=True)
class Resamples:
    """Weights of the images of one set of patients.

    Attributes:
        name: of the set of patients; two sets of the same name have to be the same patients.
        weights: uint8, B x N: how often each image counts in each resample.
        left_out: uint8, G x N of 0 and 1: all images but those of one patient, or of one group.
    """

    name: str
    weights: np.ndarray
    left_out: np.ndarray

    def take(self, images: np.ndarray | slice) -> Resamples:
        """The weights of some of the images, still under the name of all the patients."""
        return Resamples(self.name, self.weights[:, images], self.left_out[:, images])


def patient_resamples(
    patients: Sequence[object] | np.ndarray | pd.Series,
    name: str,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draws of whole patients with replacement.

    The draws depend on the name, the seed and the set of patients; the order of the images doesn't
    matter. Sets that share some of their patients, such as the test parts of several random splits,
    aren't independent and have to be resampled together: give the patients of all their images, and
    :meth:`Resamples.take` those of each set.

    Args:
        patients: the patient of each of N images.
        name: of the set of patients, for example data set, split and part.
        n_resamples: B.
        seed: of the draws.

    Raises:
        DataError: an image has no patient.
        ValueError: ``n_resamples`` is below 1.
    """
    check_resamples(n_resamples)
    numbers = numbered(patients, f"patients of {name}")
    count = int(numbers.max()) + 1 if len(numbers) else 0
    named_seed = derived_seed(seed, name)
    weights = np.zeros((n_resamples, len(numbers)), dtype=np.uint8)
    for row, times in zip(weights, draws(count, n_resamples, named_seed), strict=True):
        row[:] = times[numbers]
    jackknife = [kept.astype(np.uint8)[numbers] for kept in left_out(count, named_seed)]
    shape = (len(jackknife), len(numbers))
    return Resamples(name, weights, np.array(jackknife, dtype=np.uint8).reshape(shape))


@dataclass(frozen=True)
class Resampled:
    """A statistic with its values over the resamples of one or more independent sets of patients.

    Sums, differences and multiples are taken resample by resample. Under the same name stand the same
    patients; under different names, independent ones.

    Attributes:
        estimate: the statistic of the data as they are.
        replicates: B values, NaN where undefined.
        influences: by name of the set of patients, G values: the estimate less the statistic without a
            patient (or a group of them), NaN where undefined.
    """

    estimate: float
    replicates: np.ndarray
    influences: dict[str, np.ndarray]

    def __add__(self, other: Resampled) -> Resampled:
        return combined(lambda parts: parts[0] + parts[1], [self, other])

    def __sub__(self, other: Resampled) -> Resampled:
        return combined(lambda parts: parts[0] - parts[1], [self, other])

    def __mul__(self, factor: float) -> Resampled:
        scaled = {name: factor * values for name, values in self.influences.items()}
        return Resampled(factor * self.estimate, factor * self.replicates, scaled)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Resampled:
        return self * (1 / divisor)

    def __neg__(self) -> Resampled:
        return self * -1.0

    def interval(self, confidence: float = 0.95, method: str = "expanded_bca") -> Interval:
        """The interval over patients, by a method of :mod:`medtransfer.statistics.bootstrap`.

        Args:
            confidence: coverage, between 0 and 1.
            method: one of METHODS there.
        """
        samples = list(self.influences.values())
        return interval_by(method, self.estimate, self.replicates, samples, confidence)

    def interval_of_difference(self, confidence: float = 0.95) -> Interval:
        """That of a difference of two runs or inits through the same patients: by percentiles.

        Such a difference is hardly skewed, and BCa's bias correction, made for what is, does harm: for
        the AUPRC and rare classes its intervals are as wide and hold the truth in 90 of 100 studies.

        Args:
            confidence: coverage, between 0 and 1.
        """
        return self.interval(confidence, "expanded_percentile")


def resampled(statistic: Callable[[np.ndarray], np.ndarray], resamples: Resamples) -> Resampled:
    """The values of a statistic of weighted images over all resamples.

    Args:
        statistic: from float64 weights, M x N, to M values, NaN where undefined. It is called with
            blocks of rows, and with a row of ones for the estimate.
        resamples: the weights.
    """
    images = resamples.weights.shape[1]
    estimate = float(_in_blocks(statistic, np.ones((1, images)))[0])
    without = _in_blocks(statistic, resamples.left_out)
    replicates = _in_blocks(statistic, resamples.weights)
    return Resampled(estimate, replicates, {resamples.name: estimate - without})


def resampled_metric(name: str, predictions: Predictions, resamples: Resamples) -> Resampled:
    """A metric of one run's predictions over all resamples of their patients.

    Args:
        name: a metric of :func:`medtransfer.evaluation.metrics.evaluate`.
        predictions: of N images, in the order of the weights' columns.
        resamples: the weights.
    """
    return resampled(lambda weights: weighted_metric(name, predictions, weights), resamples)


def _in_blocks(statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The statistic of each row of weights, with bounded memory."""
    count, images = weights.shape
    step = max(1, LARGEST_BLOCK // max(1, images))
    values = np.full(count, np.nan)
    for start in range(0, count, step):
        block = weights[start : start + step].astype(np.float64)
        found = np.asarray(statistic(block), dtype=np.float64)
        if found.shape != (len(block),):
            raise ValueError(f"the statistic of {len(block)} rows of weights has shape {found.shape}")
        values[start : start + step] = found
    return values


def combined(function: Callable[[np.ndarray], np.ndarray], parts: Sequence[Resampled]) -> Resampled:
    """A function of several resampled statistics, such as their ratio, taken resample by resample.

    Leaving out a patient of one set leaves statistics of other sets as they are.

    Args:
        function: from P x M, one row a statistic, to M values, column by column.
        parts: P statistics; sets of the same name have to be the same patients and draws.

    Raises:
        ValueError: there are no statistics, or their numbers of resamples or patients don't match.
    """
    sizes = _check_match(parts)
    estimates = np.array([[part.estimate] for part in parts])
    estimate = float(function(estimates)[0])
    influences = {}
    for name, size in sizes.items():
        unmoved = np.zeros(size)
        changes = np.array([part.influences.get(name, unmoved) for part in parts])
        influences[name] = estimate - function(estimates - changes)
    return Resampled(estimate, function(np.array([part.replicates for part in parts])), influences)


def mean(parts: Sequence[Resampled]) -> Resampled:
    """Mean of several statistics, such as one metric of the runs of a cell; NaN where one is."""
    return combined(lambda values: values.mean(axis=0), parts)


def largest(parts: Sequence[Resampled]) -> Resampled:
    """The largest of several statistics, found anew in each resample; NaN where one is."""
    return combined(lambda values: values.max(axis=0), parts)


def smallest(parts: Sequence[Resampled]) -> Resampled:
    """The smallest of several statistics, found anew in each resample; NaN where one is."""
    return combined(lambda values: values.min(axis=0), parts)


def _check_match(parts: Sequence[Resampled]) -> dict[str, int]:
    """The number of influences of each set of patients; raises unless the statistics match."""
    if not parts:
        raise ValueError("there are no statistics to combine; allowed: one or more")
    counts = {len(part.replicates) for part in parts}
    if len(counts) > 1:
        raise ValueError(f"numbers of resamples differ: {sorted(counts)}; all have to be the same")
    sizes: dict[str, int] = {}
    for part in parts:
        for name, values in part.influences.items():
            if sizes.setdefault(name, len(values)) != len(values):
                found = f"{sizes[name]} and {len(values)}"
                raise ValueError(f"sets of patients are named {name} and differ in size: {found}")
    return sizes
