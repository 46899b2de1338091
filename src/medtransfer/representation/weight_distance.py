"""How far the weights of each unit moved from their start.

Only the unit's own parameters outside of norm layers count; buffers don't. Of a unit with the tensors
w_1 ... w_T at the start and v_1 ... v_T at the end:

* ``per_weight`` = mean over t of ||w_t - v_t||_2 / numel(w_t) (Matsoukas et al., CVPR 2022);
* ``l2`` = ||w - v||_2 of all of them as one vector (Raghu et al., NeurIPS 2019);
* ``relative`` = ||w - v||_2 / ||w||_2; undefined (NaN) for a unit that starts from zeros;
* ``per_weight_as_released`` = ``per_weight`` of the whole network, for every unit: what the code that
  Matsoukas et al. released computes by mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from medtransfer.errors import DataError
from medtransfer.models.units import is_norm, network_units
from medtransfer.models.weights import StateDict, listed
from medtransfer.tables import Column, Schema

WEIGHT_DISTANCE = Schema(
    name="weight_distance",
    row="one distance of one unit's weights from their start",
    columns={
        "unit": Column("text", "name of the unit"),
        "order": Column("integer", "its place in the order of depth, from 0"),
        "measure": Column("text", "per_weight, l2, relative or per_weight_as_released"),
        "value": Column(
            "number",
            "empty for a unit without such weights; relative also for one that starts from zeros",
        ),
        "weights": Column("integer", "numbers of the unit that count, those of norm layers left out"),
    },
    families={},
)


def weight_distances(
    network: nn.Module, start: StateDict, end: StateDict, as_released: bool = False
) -> pd.DataFrame:
    """Distances between two states of a network, unit by unit.

    Args:
        network: says which tensor is in which unit; its values don't matter.
        start: state at step 0.
        end: state after training.
        as_released: also ``per_weight_as_released``.

    Returns:
        A table of schema WEIGHT_DISTANCE, units in the order of depth.

    Raises:
        DataError: a state is of another network.
    """
    names = _counted(network)
    _check(names, network.state_dict(), start, end)
    units = network_units(network)
    whole = _per_weight([_distance(start[n], end[n]) for n in names])
    rows = []
    for order, unit in enumerate(units):
        moved = [_distance(start[name], end[name]) for name in names if unit.holds(name)]
        values = _measures(moved) | ({"per_weight_as_released": whole} if as_released else {})
        weights = sum(count for _, _, count in moved)
        rows += [(unit.name, order, measure, value, weights) for measure, value in values.items()]
    return pd.DataFrame(rows, columns=list(WEIGHT_DISTANCE.columns))


def _counted(network: nn.Module) -> list[str]:
    """Names of the parameters outside of norm layers."""
    norms = [name for name, module in network.named_modules() if is_norm(module)]
    return [name for name, _ in network.named_parameters() if name.rpartition(".")[0] not in norms]


def _distance(start: torch.Tensor, end: torch.Tensor) -> tuple[float, float, int]:
    """Norm of the difference, norm at the start, and how many numbers there are, in float64."""
    before, after = start.detach().cpu().double(), end.detach().cpu().double()
    return float((before - after).norm()), float(before.norm()), before.numel()


def _measures(moved: Sequence[tuple[float, float, int]]) -> dict[str, float]:
    l2 = math.hypot(*(difference for difference, _, _ in moved)) if moved else math.nan
    length = math.hypot(*(norm for _, norm, _ in moved))
    relative = l2 / length if length > 0 else math.nan
    return {"per_weight": _per_weight(moved), "l2": l2, "relative": relative}


def _per_weight(moved: Sequence[tuple[float, float, int]]) -> float:
    if not moved:
        return math.nan
    return math.fsum(difference / count for difference, _, count in moved) / len(moved)


def _check(names: Sequence[str], shapes: StateDict, *states: StateDict) -> None:
    for state in states:
        wrong = [n for n in names if n not in state or state[n].shape != shapes[n].shape]
        if wrong:
            raise DataError(
                f"a state lacks, or has in another shape: {listed(wrong)}; needed: a state of this "
                "network"
            )
