"""When the state of a run is saved, and how a run finds it again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from medtransfer.training.state import Snapshot, UnusableState, read_snapshot, write_snapshot
from medtransfer.training.stopping import Stopped, StopRequest

# of a run's time, for all saving
SHARE = 0.02
# what a run may lose is hardly worth less
SECONDS_BETWEEN = 20.0
# of a slow disk, for a first save whose cost isn't known
BYTES_PER_SECOND = 100e6


class Keeper:
    """Saves the state of a run now and then, so that a killed one goes on.

    Saves are at least ``SECONDS_BETWEEN`` apart, and one is due only while all of them, it included,
    take at most ``SHARE`` of the time. The result of a run doesn't depend on when it is saved.

    Args:
        folder: held by :func:`medtransfer.locks.locked_folder`; None saves nothing.
        every: seconds between two saves, whatever they cost; by default chosen as above.
        stop: what may end the run early.

    Attributes:
        resumed: how often the run went on from a saved state.
        state_seconds: that saving took, over all processes of the run.
    """

    def __init__(
        self, folder: Path | None = None, every: float | None = None, stop: StopRequest | None = None
    ) -> None:
        self.stop = stop or StopRequest()
        self.resumed = 0
        self.state_seconds = 0.0
        self._folder = folder
        self._every = every
        self._identity: dict[str, str] = {}
        self._cost = 0.0
        self._earlier = 0.0
        self._kept = "nothing is kept"
        self._began = self._last = time.monotonic()

    def identify(self, **parts: str) -> None:
        """Name what decides the run's result; a state with other parts is another run's."""
        self._identity |= parts

    @property
    def seconds(self) -> float:
        """Time spent on the run, by earlier processes too, as far as their state was saved."""
        return self._earlier + time.monotonic() - self._began

    def load(self, weight_bytes: int) -> Snapshot | None:
        """The state to go on from, or None; a file that is of no use is reported on stderr.

        Args:
            weight_bytes: size of the network's weights; a state holds about four times as much.
        """
        self._began = self._last = time.monotonic()
        self._cost = 4 * weight_bytes / BYTES_PER_SECOND
        if self._folder is None:
            return None
        try:
            state = read_snapshot(self._folder, self._identity)
        except UnusableState as error:
            _say(f"warning: {error}; training begins anew")
            return None
        if state is None:
            return None
        self._earlier, self.state_seconds = state["seconds"], state["state_seconds"]
        self.resumed = state["resumed"] + 1
        self._kept = _goes_on(state["step"])
        _say(f"going on from step {state['step']}, reached after {self._earlier:.0f} s")
        run: Snapshot = state["run"]
        return run

    def attend(self, step: int, snapshot: Callable[[], Snapshot]) -> None:
        """Save where it is due or the run is told to stop.

        Args:
            step: optimiser steps of the run so far.
            snapshot: gives the state of the run.

        Raises:
            Stopped: the run is told to stop.
        """
        stopping = self.stop.signal
        if (
            self._folder is not None
            and (stopping is not None or self._due())
            and self._save(self._folder, step, snapshot)
        ):
            self._kept = _goes_on(step)
        if stopping is not None:
            raise Stopped(stopping, self._kept)

    def kept(self) -> str:
        """What of the run is on the disk, in words."""
        return self._kept

    def _due(self) -> bool:
        waited = time.monotonic() - self._last
        if self._every is not None:
            return waited >= self._every
        return waited >= SECONDS_BETWEEN and self.state_seconds + self._cost <= SHARE * self.seconds

    def _save(self, folder: Path, step: int, snapshot: Callable[[], Snapshot]) -> bool:
        """Whether the state is on the disk."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # the steps that are under way are no cost of saving
        started = time.monotonic()
        state = {
            "step": step,
            "seconds": self.seconds,
            "state_seconds": self.state_seconds,
            "resumed": self.resumed,
            "run": snapshot(),
        }
        try:
            write_snapshot(folder, self._identity, state)
            saved = True
        except OSError as error:
            _say(f"warning: {folder}: the state of step {step} is not saved: {error}")
            saved = False
        self._last = time.monotonic()
        self._cost = self._last - started
        self.state_seconds += self._cost
        return saved


def _goes_on(step: int) -> str:
    return f"the same command goes on from step {step}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
