"""The network of a finished run, from the run's own files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.typed import parse
from medtransfer.errors import ConfigError
from medtransfer.models.start import random_network
from medtransfer.models.weights import StateDict
from medtransfer.training.arithmetic import Arithmetic, prepare
from medtransfer.training.specification import Specification

KEYS = tuple(field.name for field in fields(Specification))


def finished_specification(record: Mapping[str, Any], where: str) -> Specification:
    """What decided a run, read from its record; to be computed as it was, but not compiled.

    Args:
        record: content of run.json.
        where: its path, for errors.

    Raises:
        ConfigError: the record isn't one of this version.
    """
    missing = [name for name in KEYS if name not in record]
    if missing:
        raise ConfigError(
            f"{where}: key '{missing[0]}' is missing; needed: the record of a run that this version "
            "trained"
        )
    arithmetic = parse(Arithmetic, record["arithmetic"], where)
    return Specification(
        task=record["task"],
        outputs=tuple(record["outputs"]),
        metric=record["metric"],
        model=parse(ModelSettings, record["model"], where),
        recipe=parse(RecipeSettings, record["recipe"], where),
        init=record["init"],
        seed=record["seed"],
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        arithmetic=replace(arithmetic, compiled=False, checkpointed=False),
    )


def finished_network(
    specification: Specification,
    weights: StateDict,
    image_shape: tuple[int, int],
    device: torch.device,
) -> nn.Module:
    """A run's network with its selected weights, in evaluation mode.

    Nothing is left of its start, so no source's weights are needed. Dropout, which has no weights, is
    left out: it does nothing in evaluation.

    Args:
        specification: of :func:`finished_specification`.
        weights: the selected ones.
        image_shape: side and channels of the images that the run was trained on, as they were stored.
        device: where to compute.
    """
    side, channels = image_shape
    network = random_network(
        specification.model,
        parse_init(specification.init),
        channels=channels,
        outputs=len(specification.outputs),
        image_size=specification.recipe.input_side(side),
        seed=0,
    )
    network.load_state_dict(weights)
    return prepare(network, specification.arithmetic_on(device), device).eval()
