"""Which validation of a stage is the best, and whether to wait for a better one."""

from __future__ import annotations

import math
from typing import Any

from medtransfer.config.dataset import Metric
from medtransfer.config.recipe import Monitor


def monitored_name(monitor: Monitor, metric: Metric) -> str:
    """The name, among those of ``evaluate``, of what a recipe monitors."""
    return {"metric": metric, "loss": "negative_log_likelihood", "accuracy": "accuracy"}[monitor]


def is_better(value: float, best: float, monitor: Monitor) -> bool:
    """Whether a value beats the best so far; any value beats an undefined one."""
    if math.isnan(best):
        return not math.isnan(value)
    return value < best if monitor == "loss" else value > best


class Selection:
    """The best value of a stage's validations, the earliest of equals.

    The patience counts from the first validation after some training: a network before it is a
    candidate for the best weights, but no reason to end.
    """

    def __init__(self, monitor: Monitor, patience: int | None) -> None:
        self._monitor = monitor
        self._patience = patience
        self._best: float | None = None
        self._best_trained = math.nan
        self._waited = 0

    def add(self, value: float, trained: bool) -> bool:
        """Take note of a validation; whether it is the best so far."""
        if trained:
            better = is_better(value, self._best_trained, self._monitor)
            self._best_trained = value if better else self._best_trained
            self._waited = 0 if better else self._waited + 1
        if self._best is None or is_better(value, self._best, self._monitor):
            self._best = value
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the patience has run out."""
        return self._patience is not None and self._waited >= self._patience

    def state_dict(self) -> dict[str, float | None]:
        """What later validations are compared with."""
        return {"best": self._best, "best_trained": self._best_trained, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the selection did whose state this is."""
        self._best, self._best_trained = state["best"], state["best_trained"]
        self._waited = state["waited"]
