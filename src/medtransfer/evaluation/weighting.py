"""Measures of weighted images: how often each image counts, for many weightings at once.

A measure is first prepared (sorted, cut into bins) and then applied to weights, so that thousands of
resamples cost little more than arithmetic. An image of weight 2 counts as two equal images, one of
weight 0 as none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Weights M x N, float64, in; M values out, NaN where the measure is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]

# Weights are looked at in blocks of rows of about this many numbers: they then stay in the cache.
BLOCK = 2**18


def apply(statistic: Statistic, weights: np.ndarray, width: int) -> np.ndarray:
    """A prepared measure of each row of weights, in bounded memory.

    Args:
        statistic: the prepared measure.
        weights: M x N, not negative.
        width: numbers that the measure holds for each row, about.

    Returns:
        M values.
    """
    weights = np.asarray(weights)
    rows = max(1, BLOCK // max(1, width))
    starts = range(0, len(weights), rows)
    found = [statistic(weights[start : start + rows].astype(np.float64)) for start in starts]
    return np.concatenate(found) if found else np.empty(0)


def checked(weights: np.ndarray, images: int) -> np.ndarray:
    """The weights, if they are a table of a row a weighting and a column an image."""
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != images:
        raise ValueError(f"weights have shape {weights.shape}; allowed: any number x {images} images")
    return weights


def undefined(weights: np.ndarray) -> np.ndarray:
    """The measure that has no value whatever the weights."""
    return np.full(len(weights), np.nan)


def mean_of(sums: np.ndarray, counts: np.ndarray) -> Statistic:
    """The weighted mean of things of which an image has several or none.

    Args:
        sums: N, the sum over each image's things.
        counts: N, how many each image has.
    """
    return lambda weights: ratio(weights @ sums, weights @ counts)


def sums_of_ties(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What sums the columns of equal values.

    Args:
        values: n in ascending or descending order, n at least 1.

    Returns:
        A function from M x n to M x G, one column for each of the G distinct values.
    """
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    if len(first) == len(values):
        return lambda table: table
    return lambda table: np.add.reduceat(table, first, axis=1)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A quotient that is NaN where nothing is divided by nothing."""
    quotient = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


def mean_of_defined(values: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
    """The mean over the first axis without the NaNs; NaN where nothing else is left.

    Args:
        values: K x M.
        shares: K x M weights of the mean; by default all equal.
    """
    defined = ~np.isnan(values)
    shares = defined.astype(np.float64) if shares is None else np.where(defined, shares, 0.0)
    return ratio((np.where(defined, values, 0.0) * shares).sum(axis=0), shares.sum(axis=0))
