"""How a run goes, for a person: a line that changes on a terminal, a line a validation elsewhere."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from typing import TextIO

import torch

SECONDS_BETWEEN = 1.0


class ProgressLine:
    """Writes stage, step, losses, metric, speed and time left of a run.

    On a terminal, the loss is read at most every ``SECONDS_BETWEEN``: reading waits for the device.

    Args:
        name: of the run.
        metric: name of the data set's target metric.
        stream: usually stderr; a terminal gets one line, another file a line at each validation.
    """

    def __init__(self, name: str, metric: str, stream: TextIO) -> None:
        self._name = name
        self._metric = metric
        self._stream = stream
        self._live = stream.isatty()
        self._row: Mapping[str, float | str] = {}
        self._best = (0, math.nan)
        self._stage, self._end, self._images = "", 0, 0
        self._step = self._began_at = 0
        self._began = self._drawn = time.monotonic()

    def begin(self, stage: str, step: int, end: int, images_per_step: int) -> None:
        """As of a display."""
        self._stage, self._end, self._images = stage, end, images_per_step
        self._step = self._began_at = step
        self._began = time.monotonic()

    def stepped(self, step: int, loss: torch.Tensor) -> None:
        """As of a display."""
        self._step = step
        if self._live and time.monotonic() - self._drawn >= SECONDS_BETWEEN:
            self._draw(f"loss {float(loss):.4g}")

    def validated(self, row: Mapping[str, float | str], best: tuple[int, float]) -> None:
        """As of a display."""
        self._row, self._best = row, best
        loss = float(row["training_loss"])
        self._draw("" if math.isnan(loss) else f"loss {loss:.4g}")

    def close(self) -> None:
        """As of a display."""
        if self._live:
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self, loss: str) -> None:
        self._drawn = time.monotonic()
        parts = [f"{self._stage} {self._step:,}/{self._end:,}", loss, self._validation(), self._speed()]
        line = f"{self._name}: " + ", ".join(part for part in parts if part)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            # the numbers are at the end, and of more use than the start of the name
            self._stream.write(f"\r\x1b[K{line[-width:]}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _validation(self) -> str:
        """The latest values on the validation part."""
        if not self._row:
            return ""
        text = f"validation loss {self._row['validation_loss']:.4g}"
        text += f", {self._metric} {self._row['validation_metric']:.4f}"
        step, value = self._best
        if step != self._row["step"]:
            text += f" (kept: {value:.4f} at {step:,})"
        return text

    def _speed(self) -> str:
        """Images a second and the time left of the run at the stage's pace, validations counted in."""
        steps = self._step - self._began_at
        if not steps:
            return ""
        seconds = (self._drawn - self._began) / steps
        left = f"{duration(seconds * (self._end - self._step))} left"
        return f"{self._images / seconds:,.0f} images/s, {left}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
