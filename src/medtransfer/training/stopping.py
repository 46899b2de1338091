"""A run that is told to stop saves its state first. No torch here: stopping works while it loads."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
KEPT = "the same command goes on from the state that was saved last, if any"


class Stopped(Exception):
    """The run was told to stop, and did; the message says by what and what was kept."""

    def __init__(self, number: int, kept: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; {kept}")
        # as shells have it, so that nobody takes it for a success
        self.status = 128 + number


class StopRequest:
    """What SIGTERM (Slurm before it takes a node away) and SIGINT (Ctrl-C) ask for.

    Within :meth:`deferred` they only leave a note, for the next step to see; elsewhere, and at a second
    Ctrl-C, they raise :class:`Stopped` at once.

    Attributes:
        signal: the number of the latest signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferred = False
        self._ignored = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals within a block, except for those that the process was started to ignore."""
        taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block see to :attr:`signal` itself; what it left undone is done at its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.signal is not None:
            raise Stopped(self.signal, KEPT)

    def ignore(self) -> None:
        """Nothing is left to stop."""
        self._ignored = True

    def _handle(self, number: int, _: FrameType | None) -> None:
        again = self.signal == number == signal.SIGINT
        self.signal = number
        if not self._ignored and (again or not self._deferred):
            raise Stopped(number, KEPT)
