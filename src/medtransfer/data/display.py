"""Stored grey values to display values, by one look-up table.

The order is that of DICOM PS3.3 C.11 and PS3.4 N.2: modality LUT or rescale, VOI LUT or window, then
inversion for photometric reasons. All of it is composed over the stored values that occur, and the
pixels are gathered from that table once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtransfer.errors import DataError

# Display range of an image that states none: percentiles of its own values.
PERCENTILES = (1.0, 99.0)
# A table over more stored values than this costs more than it saves.
LARGEST_TABLE = 2**20
# Pixels that are looked up at once: their indices fit into the cache.
BLOCK = 2**15

DisplayRange = Literal["voi lut", "window", "percentiles", "full range"]
Transform = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class GreyRules:
    """How one frame's stored values become grey levels.

    Attributes:
        modality: stored values to the unit of the modality, e.g. Hounsfield; None for the identity.
        voi: modality values to [0, 1] by VOI LUT or window; None when the file states neither.
        range_name: what ``voi`` is, for the table of samples.
        inverse: whether low values are shown bright.
        padding: lowest and highest stored value that fills the area outside of the image, or None.
        full_range: highest stored value of an image that is ready for display, or None.
    """

    modality: Transform | None = None
    voi: Transform | None = None
    range_name: DisplayRange = "percentiles"
    inverse: bool = False
    padding: tuple[float, float] | None = None
    full_range: int | None = None


def display_values(stored: np.ndarray, rules: GreyRules) -> np.ndarray:
    """Show stored values by their rules.

    Args:
        stored: integers or floats, H x W.
        rules: of the frame.

    Returns:
        float32 in [0, 1], H x W; higher is brighter. Padding is black.

    Raises:
        DataError: no value is finite.
    """
    if stored.dtype.kind == "f":
        return _show_floats(stored, rules)
    low, high = int(stored.min()), int(stored.max())
    if high - low >= LARGEST_TABLE:
        return _shown(stored.astype(np.int64), None, rules).astype(np.float32)
    needed = rules.voi is None and rules.full_range is None
    counts = _occurrences(stored, low, high) if needed else None
    table = _shown(np.arange(low, high + 1), counts, rules).astype(np.float32)
    shown = np.empty(stored.size, dtype=np.float32)
    for place, offsets in _offsets(stored, low):
        table.take(offsets, out=shown[place], mode="clip")
    return shown.reshape(stored.shape)


def _occurrences(stored: np.ndarray, low: int, high: int) -> np.ndarray:
    """How often each value from the lowest to the highest occurs."""
    counts = np.zeros(high - low + 1, dtype=np.int64)
    for _, offsets in _offsets(stored, low):
        counts += np.bincount(offsets, minlength=len(counts))
    return counts


def _offsets(stored: np.ndarray, low: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Stored values counted from the lowest, in flat blocks that stay in the processor's cache."""
    flat = stored.reshape(-1)
    for start in range(0, len(flat), BLOCK):
        place = slice(start, start + BLOCK)
        yield place, np.subtract(flat[place], low, dtype=np.int64)


def _show_floats(stored: np.ndarray, rules: GreyRules) -> np.ndarray:
    """Float pixel data; values that aren't finite count as padding."""
    finite = np.isfinite(stored)
    if not finite.any():
        raise DataError("no pixel has a finite value")
    filled = np.where(finite, stored, stored[finite].min())
    shown = _shown(filled, finite.astype(np.int64), rules)
    return np.where(finite, shown, 0.0).astype(np.float32)


def _shown(stored: np.ndarray, counts: np.ndarray | None, rules: GreyRules) -> np.ndarray:
    """Display values of stored values, of which each occurs ``counts`` times (None: once)."""
    outside = np.zeros(stored.shape, dtype=bool)
    if rules.padding is not None:
        outside = (stored >= rules.padding[0]) & (stored <= rules.padding[1])
    values = stored.astype(np.float64) if rules.modality is None else rules.modality(stored)
    if rules.voi is not None:
        shown = rules.voi(values)
    elif rules.full_range is not None:
        shown = np.clip(values / rules.full_range, 0.0, 1.0)
    else:
        weights = np.ones(stored.shape, dtype=np.int64) if counts is None else counts
        shown = percentile_range(values, np.where(outside, 0, weights))
    if rules.inverse:
        shown = 1.0 - shown
    return np.where(outside, 0.0, shown)


def percentile_range(values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Stretch the documented percentiles onto [0, 1]; an image of one value is 0.

    Args:
        values: any shape.
        counts: how often each value occurs; 0 leaves it out. None: once each.
    """
    if counts is None or not counts.any():
        counts = np.ones(values.shape, dtype=np.int64)
    chosen, times = values[counts > 0], counts[counts > 0]
    low, high = percentiles(chosen, times, PERCENTILES)
    if high <= low:
        low, high = float(chosen.min()), float(chosen.max())
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def percentiles(values: np.ndarray, counts: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Percentiles of values that occur ``counts`` times, as ``numpy.percentile`` of them all."""
    order = np.argsort(values, axis=None, kind="stable")
    ordered = values.ravel()[order]
    last_place = np.cumsum(counts.ravel()[order]) - 1
    places = np.array(shares) / 100.0 * last_place[-1]
    lower = ordered[np.searchsorted(last_place, np.floor(places))]
    upper = ordered[np.searchsorted(last_place, np.ceil(places))]
    return [float(v) for v in lower + (upper - lower) * (places - np.floor(places))]


def window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Window of PS3.3 C.11.2.1.2-3 onto [0, 1]: LINEAR, LINEAR_EXACT or SIGMOID.

    Raises:
        DataError: for a width or function that the standard doesn't allow.
    """
    if not is_window(center, width, function):
        raise DataError(
            f"window of width {width}, or its VOI LUT function; allowed: LINEAR with width >= 1, "
            "LINEAR_EXACT or SIGMOID with width > 0"
        )
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def is_window(center: float, width: float, function: str) -> bool:
    """Whether the standard allows this window."""
    if not np.isfinite(center) or not np.isfinite(width):
        return False
    smallest = {"LINEAR": 1.0, "LINEAR_EXACT": np.nextafter(0, 1), "SIGMOID": np.nextafter(0, 1)}
    return width >= smallest.get(function, np.inf)


def look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Entries of a LUT (PS3.3 C.11.1.1, C.11.2.1.1); values outside take the table's ends."""
    position = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
    return table[position]
