"""What a simulated study found: whether an interval held the truth, whether a test claimed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["95 % interval", "90 % interval", "5 % test", "5 % false share"]
LEVEL = 0.05
TOO_LOW, HELD, TOO_HIGH = -1.0, 0.0, 1.0


@dataclass(frozen=True)
class Outcome:
    """What one method did in one study; NaN where it gave no answer.

    Attributes:
        kind: what is promised of it, and how often.
        value: of an interval TOO_LOW, HELD or TOO_HIGH; of a test 1 for a claim and 0 for none; of a
            false share that share.
    """

    kind: Kind
    value: float


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Scenario:
    """A way of simulating studies in which the truth is known.

    Attributes:
        topic: by which it is chosen.
        setting: the words of the table.
        study: from a generator to the outcome of each method in one study.
        studies: how many, unless told otherwise.
    """

    topic: str
    setting: str
    study: Callable[[np.random.Generator], Outcomes]
    studies: int = 4000


def covers(low: float, high: float, truth: float, kind: Kind = "95 % interval") -> Outcome:
    """Whether an interval holds the truth, or lies below or above it."""
    if math.isnan(low) or math.isnan(high):
        return Outcome(kind, math.nan)
    slack = 1e-12 * max(1.0, abs(truth)) if math.isfinite(truth) else 0.0
    if high < truth - slack:
        return Outcome(kind, TOO_LOW)
    return Outcome(kind, TOO_HIGH if low > truth + slack else HELD)


def claims(p: float) -> Outcome:
    """Whether a test whose null is true claims something at the 5 % level."""
    return Outcome("5 % test", math.nan if math.isnan(p) else float(p < LEVEL))


def claimed(any_claim: bool) -> Outcome:
    """Whether a family of tests, or a verdict, made a false claim."""
    return Outcome("5 % test", float(any_claim))
