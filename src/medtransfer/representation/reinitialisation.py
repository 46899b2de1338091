"""How much a trained network loses when one unit forgets (Zhang, Bengio & Singer, arXiv 1902.01996).

One unit at a time goes back to its own values at step 0 (``start``), or to a fresh draw of the
framework's own start with another seed (``fresh``), with its batch norm statistics and all other
buffers. Units hold tensors by prefix and dot: ``fc`` doesn't hold ``mlp.fc1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import pandas as pd
import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.errors import DataError
from medtransfer.models.start import random_network
from medtransfer.models.units import network_units
from medtransfer.models.weights import StateDict, listed
from medtransfer.seeds import derived_seed
from medtransfer.tables import Column, Schema

ReplacementKind = Literal["start", "fresh"]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

REINITIALISATION = Schema(
    name="reinitialisation",
    row="one metric of a trained network with one unit put back",
    columns={
        "unit": Column("text", "the unit that was put back"),
        "order": Column("integer", "its place in the order of depth, from 0"),
        "kind": Column("text", "start: its own values at step 0; fresh: another random start's"),
        "metric": Column("text", "name of the metric"),
        "value": Column("number", "the metric with this unit put back; empty where undefined"),
        "drop": Column("number", "the intact network's metric minus this value"),
    },
    families={},
)


def reinitialised_scores(
    network: nn.Module, replacement: StateDict, evaluate: Evaluate, kind: ReplacementKind
) -> pd.DataFrame:
    """Put one unit of a network after the other back, and evaluate each time.

    Afterwards the network is the same bit for bit, also where evaluation fails.

    Args:
        network: as trained.
        replacement: a whole state of it: of step 0, with calibrated batch norm statistics where the
            start has none of its own (:mod:`medtransfer.representation.batch_norm`); or of
            :func:`fresh_state`.
        evaluate: metrics of the network on the test images, by name.
        kind: what ``replacement`` is.

    Returns:
        A table of schema REINITIALISATION, units in the order of depth.

    Raises:
        DataError: ``replacement`` is of another network.
    """
    _check(network, replacement)
    intact = dict(evaluate(network))
    rows = []
    for order, unit in enumerate(network_units(network)):
        names = [name for name in network.state_dict() if unit.holds(name)]
        with _replaced(network, {name: replacement[name] for name in names}):
            scores = evaluate(network)
        for metric, value in scores.items():
            rows.append((unit.name, order, kind, metric, value, intact[metric] - value))
    return pd.DataFrame(rows, columns=list(REINITIALISATION.columns))


def fresh_state(
    settings: ModelSettings,
    init: Init,
    *,
    channels: int,
    outputs: int,
    image_size: int,
    seed: int,
) -> StateDict:
    """The state of a network of the same form at another draw of its framework's random start.

    Args:
        settings: of the network.
        init: of the run; only a slim one changes the network's form.
        channels: of the stored images.
        outputs: number of logits.
        image_size: side of the images that the network sees.
        seed: of the run; the draw has a seed of its own, derived from it.
    """
    network = random_network(
        settings,
        init,
        channels=channels,
        outputs=outputs,
        image_size=image_size,
        seed=derived_seed(seed, "reinitialisation"),
    )
    return network.state_dict()


@contextmanager
def _replaced(network: nn.Module, values: StateDict) -> Iterator[None]:
    """Other values in some of the network's tensors for a while."""
    state = network.state_dict()
    before = {name: state[name].clone() for name in values}
    _write(state, values)
    try:
        yield
    finally:
        _write(state, before)


@torch.no_grad()
def _write(state: StateDict, values: StateDict) -> None:
    """Copy values into tensors that share the network's memory."""
    for name, value in values.items():
        state[name].copy_(value)


def _check(network: nn.Module, replacement: StateDict) -> None:
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    wrong = [n for n, shape in shapes.items() if n not in replacement or replacement[n].shape != shape]
    if wrong:
        raise DataError(
            f"the weights to put back lack, or have in another shape: {listed(wrong)}; needed: a whole "
            "state of this network"
        )
