"""What goes on beside a run and doesn't change its result: its saved state, and what is seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from medtransfer.training.keeper import Keeper


class Display(Protocol):
    """Shows a run as it goes."""

    def begin(self, stage: str, step: int, end: int, images_per_step: int) -> None:
        """A stage begins, or goes on, after a step of the run, which has ``end`` if none ends early."""

    def stepped(self, step: int, loss: torch.Tensor) -> None:
        """A step of the run is under way; reading its loss waits for the device."""

    def validated(self, row: Mapping[str, float | str], best: tuple[int, float]) -> None:
        """The validation part was scored: a row of the history; step and metric of the best so far."""

    def close(self) -> None:
        """Training is over."""


@dataclass
class Oversight:
    """Of a run; by default nothing is saved and nothing is shown."""

    keeper: Keeper = field(default_factory=Keeper)
    displays: tuple[Display, ...] = ()
