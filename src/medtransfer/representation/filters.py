"""First-layer filters before and after fine-tuning, as pictures and as numbers.

Raghu et al. (NeurIPS 2019) and Juodelyte et al. (TMLR 2023) show them; here each filter also has
numbers that say how much it is still itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medtransfer.errors import ConfigError, DataError
from medtransfer.tables import Column, Schema

FILTERS = Schema(
    name="filters",
    row="one filter of the first convolution, before and after fine-tuning",
    columns={
        "filter": Column("integer", "index of the output channel, from 0"),
        "norm_start": Column("number", "length of its weights at the start"),
        "norm_end": Column("number", "length of its weights at the end"),
        "cosine": Column("number", "cosine of the angle between both; empty where one is all zeros"),
        "correlation": Column(
            "number", "the same without each one's mean; empty where one is constant"
        ),
        "relative_change": Column("number", "length of the difference by norm_start; empty from zeros"),
        "energy_start": Column("number", "share of the sum of squares of all filters, at the start"),
        "energy_end": Column("number", "share of the sum of squares of all filters, at the end"),
    },
    families={},
)
FILTER_WEIGHTS = Schema(
    name="filter_weights",
    row="one number of one of the first filters",
    columns={
        "moment": Column("text", "start or end"),
        "filter": Column("integer", "index of the output channel, from 0"),
        "channel": Column("integer", "input channel, from 0"),
        "row": Column("integer", "from the top, from 0"),
        "column": Column("integer", "from the left, from 0"),
        "value": Column("number", "the weight"),
    },
    families={},
)
# enough for a plate
SHOWN_FILTERS = 16


def first_convolution(network: Any) -> str:
    """Name of the weights of a network's first convolution, a patch embedding's among them.

    Args:
        network: a module of torch whose weights are filters x channels x k x k.

    Raises:
        ConfigError: its first unit has none.
    """
    # here, since numbers and figures of filters need no torch
    from torch import nn

    from medtransfer.models.units import network_units

    stem = network_units(network)[0]
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and stem.holds(name):
            return f"{name}.weight"
    raise ConfigError(f"unit {stem.name}, the first of this network, has no convolution, so no filters")


def both_moments(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Filters of both moments, 2 x filters x channels x k x k, float32; the start comes first.

    Args:
        start, end: filters x channels x k x k.

    Raises:
        DataError: the two have different shapes, or aren't filters.
    """
    if start.shape != end.shape or start.ndim != 4:
        raise DataError(
            f"filters of shape {start.shape} at the start and {end.shape} at the end; allowed: twice "
            "the same, filters x channels x height x width"
        )
    return np.stack([start, end]).astype(np.float32)


def filter_changes(start: np.ndarray, end: np.ndarray) -> pd.DataFrame:
    """How much each filter changed.

    Args:
        start, end: filters x channels x k x k.

    Returns:
        A table of schema FILTERS; NaN where a number isn't defined.

    Raises:
        DataError: the two have different shapes, or aren't filters.
    """
    both_moments(start, end)
    before, after = (values.reshape(len(values), -1).astype(np.float64) for values in (start, end))
    norms = [np.linalg.norm(values, axis=1) for values in (before, after)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in (before, after)]
    return pd.DataFrame(
        {
            "filter": np.arange(len(before)),
            "norm_start": norms[0],
            "norm_end": norms[1],
            "cosine": _cosine(before, after),
            "correlation": _cosine(
                *(_without_rounding(c, n) for c, n in zip(centred, norms, strict=True))
            ),
            "relative_change": _ratio(np.linalg.norm(after - before, axis=1), norms[0]),
            "energy_start": _ratio(norms[0] ** 2, np.sum(norms[0] ** 2)),
            "energy_end": _ratio(norms[1] ** 2, np.sum(norms[1] ** 2)),
        }
    )


def filter_values(start: np.ndarray, end: np.ndarray) -> pd.DataFrame:
    """The numbers of the first filters of both moments, for plates.

    Args:
        start, end: filters x channels x k x k.

    Returns:
        A table of schema FILTER_WEIGHTS.
    """
    values = both_moments(start, end)[:, :SHOWN_FILTERS]
    names = [name for name in FILTER_WEIGHTS.columns if name != "value"]
    index = pd.MultiIndex.from_product([["start", "end"], *map(range, values.shape[1:])], names=names)
    table = pd.Series(values.ravel().astype(np.float64), index, name="value").reset_index()
    return table.astype(dict.fromkeys(names[1:], "int64"))


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each pair of rows; NaN where one is all zeros."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return _ratio(np.sum(first * second, axis=1), lengths).clip(-1, 1)


def _without_rounding(centred: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Constant filters, of which centring leaves rounding only, become zeros."""
    rounding = np.linalg.norm(centred, axis=1) <= 1e-12 * norms
    return np.where(rounding[:, None], 0.0, centred)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where the denominator is 0."""
    divisible = np.broadcast_to(denominator > 0, numerator.shape)
    result = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=result, where=divisible)
