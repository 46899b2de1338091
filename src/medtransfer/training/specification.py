"""What goes into a run and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from medtransfer.config.dataset import Metric, Task
from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.models.weights import StateDict
from medtransfer.training.arithmetic import Arithmetic, choose
from medtransfer.training.pixels import Pixels


@dataclass(frozen=True)
class Specification:
    """What decides a run's result, beside the images.

    Attributes:
        init: a name that :func:`medtransfer.config.names.parse_init` knows.
        mean, std: input normalisation per channel, of images in [0, 1].
        arithmetic: how the network is computed; None: as is safe on the device.
    """

    task: Task
    outputs: tuple[str, ...]
    metric: Metric
    model: ModelSettings
    recipe: RecipeSettings
    init: str
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    arithmetic: Arithmetic | None = None

    def arithmetic_on(self, device: torch.device) -> Arithmetic:
        """How the network is computed on a device."""
        return self.arithmetic or choose(self.recipe.precision, device)


@dataclass(frozen=True)
class Part:
    """The images of one part: pixels uint8 or uint16, N x H x W x C; labels as in Predictions."""

    pixels: Pixels
    labels: torch.Tensor


@dataclass
class Outcome:
    """What a run leaves behind.

    Attributes:
        specification: as it was carried out: the recipe for these images, the normalisation used.
        weights: of the last stage's best validation, the earliest of equals.
        history: one entry a validation.
        logits: of each evaluated part, float32, N x K.
        best_step, best_value: optimiser steps and target metric of the validation that was kept.
        best_monitored: its value of what the recipe monitors.
    """

    specification: Specification
    weights: StateDict = field(default_factory=dict)
    history: list[dict[str, float | str]] = field(default_factory=list)
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    best_step: int = -1
    best_value: float = float("nan")
    best_monitored: float = float("nan")
    facts: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """What came out so far."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "specification"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the outcome did whose state this is."""
        for name, value in state.items():
            setattr(self, name, value)
