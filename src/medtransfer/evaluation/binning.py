"""Bins of confidences, and the calibration error over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medtransfer.evaluation.weighting import Statistic, ratio, sums_of_ties, undefined

BINNINGS = ("mass", "width")
BINS = 15


@dataclass(frozen=True)
class Confidences:
    """How sure a network was of n answers, and whether they came true.

    Attributes:
        images: n indices of the images they are about.
        values: n probabilities.
        hits: n of 0 and 1.
    """

    images: np.ndarray
    values: np.ndarray
    hits: np.ndarray


def bin_numbers(values: np.ndarray, bins: int, binning: str) -> np.ndarray:
    """The bin of each confidence, from 0.

    Width: the bins are (0, 1/bins], (1/bins, 2/bins] ... as in Guo et al. (ICML 2017); an exact 0 is in
    the first. Mass: each bin has the same share of the values, as nearly as may be; equal values are
    never parted, they belong to the bin in which the middle one of them lies (on a border: to the
    higher).

    Args:
        values: n probabilities.
        bins: how many.
        binning: ``mass`` or ``width``.

    Raises:
        ValueError: another binning, or no bins.
    """
    check_binning(bins, binning)
    if binning == "width":
        return width_bins(values, bins)
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return mass_bins(sizes[None].astype(np.float64), bins)[0][place]


def check_binning(bins: int, binning: str) -> None:
    """Raise ValueError unless there is such a binning and at least one bin."""
    if binning not in BINNINGS:
        raise ValueError(f"binning is {binning!r}; allowed: {', '.join(BINNINGS)}")
    if bins < 1:
        raise ValueError(f"bins is {bins}; allowed: at least 1")


def width_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """Bins of equal width of n values."""
    inner_borders = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(inner_borders, values, side="left")


def mass_bins(sizes: np.ndarray, bins: int) -> np.ndarray:
    """Bins of equal mass of distinct values in ascending order.

    Args:
        sizes: M x G, the weight of each distinct value.
        bins: how many.

    Returns:
        M x G numbers of bins, from 0.
    """
    ends = np.cumsum(sizes, axis=1)
    middles = ratio(bins * (2 * ends - sizes), np.broadcast_to(2 * ends[:, -1:], ends.shape))
    # fractional weights reach a border only up to rounding; the very end, where a last value without
    # weight lies, belongs to the last bin
    return np.minimum(np.floor(np.nan_to_num(middles) + 1e-9), bins - 1).astype(np.int64)


def calibration_error(confidences: Confidences, bins: int, binning: str) -> Statistic:
    """The expected calibration error of weighted images.

    The mean over the answers of |mean confidence - share of hits| of their bin; bins of equal mass
    have equal weight, not equally many images.

    Raises:
        ValueError: another binning, or no bins.
    """
    check_binning(bins, binning)
    if not len(confidences.values) or np.isnan(confidences.values).any():
        return undefined
    if binning == "width":
        return _error_by_width(confidences, bins)
    return _error_by_mass(confidences, bins)


def _error_by_width(confidences: Confidences, bins: int) -> Statistic:
    members = np.eye(bins)[width_bins(confidences.values, bins)]
    excess = members * (confidences.values - confidences.hits)[:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        each = weights[:, confidences.images]
        return ratio(np.abs(each @ excess).sum(axis=1), each.sum(axis=1))

    return statistic


def _error_by_mass(confidences: Confidences, bins: int) -> Statistic:
    order = np.argsort(confidences.values, kind="stable")
    images, values = confidences.images[order], confidences.values[order]
    excess = values - confidences.hits[order]
    grouped = sums_of_ties(values)

    def statistic(weights: np.ndarray) -> np.ndarray:
        each = weights[:, images]
        places = mass_bins(grouped(each), bins) + bins * np.arange(len(weights))[:, None]
        gaps = np.bincount(
            places.ravel(), weights=grouped(each * excess).ravel(), minlength=bins * len(weights)
        )
        return ratio(np.abs(gaps).reshape(-1, bins).sum(axis=1), each.sum(axis=1))

    return statistic
