"""Lines of progress: now and then, with what a waiting person wants to know."""

from __future__ import annotations

import pytest

from medtransfer.data import progress
from medtransfer.data.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(clock: Clock, total: int, done: int, seconds_each: float, failing: int = 0) -> list[str]:
    told: list[str] = []
    counter = Progress(total, done, "images", told.append)
    for number in range(total - done):
        clock.now += seconds_each
        counter.step(failed=number < failing)
    return told


def test_a_short_job_says_nothing(clock):
    assert lines(clock, 900, 0, 1 / 64) == []


def test_a_long_job_says_every_quarter_of_a_minute_how_far_it_is(clock):
    told = lines(clock, 4_800, 0, 1 / 64, failing=3)
    assert len(told) == 5
    assert told[0] == "960 of 4,800 images (20%), 3 rejected, 64 a second, about 60 s left"
    assert told[3].startswith("3,840 of 4,800 images (80%)")


def test_what_an_earlier_job_did_counts_as_done_and_not_as_speed(clock):
    told = lines(clock, 4_800, 2_880, 1 / 64)
    assert told[0] == "3,840 of 4,800 images (80%), 0 rejected, 64 a second, about 15 s left"


@pytest.mark.parametrize(
    ("total", "left"), [(2_000, "about 33 min left"), (20_000, "about 5.6 h left")]
)
def test_the_time_that_is_left_is_in_fitting_units(clock, total, left):
    assert lines(clock, total, 0, 1.0)[0].endswith(left)
