"""How far a long job is, in a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN = 15.0


class Progress:
    """Counts finished items and reports at most every few seconds; short jobs say nothing.

    Args:
        total: items in all.
        done: items that an earlier job had finished.
        what: their name in the plural, e.g. ``images``.
        report: takes each line.
    """

    def __init__(self, total: int, done: int, what: str, report: Callable[[str], None]) -> None:
        self.total, self.done, self.what, self.report = total, done, what, report
        self.began = self.last = time.monotonic()
        self.finished = self.failed = 0

    def step(self, failed: bool = False) -> None:
        """One more item is finished."""
        self.finished += 1
        self.failed += failed
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN:
            self.last = now
            self.report(self._line(now - self.began))

    def _line(self, seconds: float) -> str:
        count = self.done + self.finished
        rate = self.finished / seconds
        left = (self.total - count) / rate
        return (
            f"{count:,} of {self.total:,} {self.what} ({count / self.total:.0%}), "
            f"{self.failed} rejected, {rate:.0f} a second, about {_duration(left)} left"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
