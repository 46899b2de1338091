"""The history of a run as event files of TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from medtransfer.errors import ConfigError

TAGS = {
    "learning_rate": "learning_rate",
    "training_loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_metric": "metric/validation",
}


class EventFiles:
    """Writes each row of the history, at its step, to a folder that TensorBoard reads.

    A run that goes on from its state writes another file; what the one before wrote of the same steps
    is not shown any more.

    Args:
        folder: of this run alone.

    Raises:
        ConfigError: the package ``tensorboard`` isn't installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "event files are asked for (key hardware.tensorboard) and the package 'tensorboard' is "
                "not installed; allowed: false, or true after: pip install tensorboard"
            ) from error
        self._open = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def begin(self, stage: str, step: int, end: int, images_per_step: int) -> None:  # noqa: ARG002
        """As of a display."""
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step + 1 if step else 0)

    def stepped(self, step: int, loss: torch.Tensor) -> None:
        """As of a display; the losses of single steps are not kept."""

    def validated(self, row: Mapping[str, float | str], best: tuple[int, float]) -> None:  # noqa: ARG002
        """As of a display."""
        assert self._writer is not None
        for name, tag in TAGS.items():
            value = float(row[name])
            if math.isfinite(value):
                self._writer.add_scalar(f"{tag}/{row['stage']}", value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        """As of a display."""
        if self._writer is not None:
            self._writer.close()
