"""The sum of what runs and files cost: done, and still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from medtransfer.planning.rates import Basis


@dataclass(frozen=True)
class RunCost:
    """What one run costs.

    Attributes:
        done: whether it is finished; its numbers are then what it took.
        hours: of the processor (a slot's share of a GPU, or core-hours); None if unknown.
        disk: bytes of its files; None if unknown.
        at_most: it may end earlier.
    """

    done: bool
    hours: float | None
    disk: int | None
    basis: Basis
    at_most: bool


@dataclass(frozen=True)
class FileCost:
    """Bytes of a file that is there or will be; None if unknown."""

    done: bool
    disk: int | None


@dataclass(frozen=True)
class Disk:
    """Bytes on disk and still to come; ``unknown`` files are in neither."""

    done: int = 0
    left: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Bill:
    """What some runs cost together.

    Attributes:
        runs, done: how many there are and how many are finished.
        done_hours, left_hours: of the processor; runs of unknown cost are in neither.
        at_most: some of the runs to come may end earlier.
        bases: how many of the runs to come rest on what.
    """

    runs: int
    done: int
    done_hours: float
    left_hours: float
    at_most: bool
    disk: Disk
    bases: dict[Basis, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.runs - self.done


def bill_of(costs: Iterable[RunCost]) -> Bill:
    """The bill of some runs."""
    costs = list(costs)
    done = [cost for cost in costs if cost.done]
    left = [cost for cost in costs if not cost.done]
    return Bill(
        runs=len(costs),
        done=len(done),
        done_hours=sum(cost.hours or 0.0 for cost in done),
        left_hours=sum(cost.hours or 0.0 for cost in left),
        at_most=any(cost.at_most for cost in left),
        disk=disk_of(costs),
        bases=dict(Counter(cost.basis for cost in left)),
    )


def disk_of(costs: Iterable[RunCost | FileCost]) -> Disk:
    """The disk that runs or files take together."""
    costs = list(costs)
    return Disk(
        done=sum(cost.disk or 0 for cost in costs if cost.done),
        left=sum(cost.disk or 0 for cost in costs if not cost.done),
        unknown=sum(cost.disk is None for cost in costs),
    )
