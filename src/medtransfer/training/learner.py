"""What changes from step to step of a stage, and its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from medtransfer.training.batches import TrainingBatches
from medtransfer.training.optimisation import Schedule
from medtransfer.training.selection import Selection


@dataclass
class Learner:
    """A network in training with all that moves along with it.

    Attributes:
        losses: of the steps since the last validation, on the device.
        steps: done in the stage.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    selection: Selection
    batches: TrainingBatches
    losses: list[torch.Tensor] = field(default_factory=list)
    steps: int = 0

    def state_dict(self) -> dict[str, Any]:
        """All that the steps to come depend on."""
        return {
            "steps": self.steps,
            "losses": torch.stack(self.losses) if self.losses else torch.empty(0),
            **{name: part.state_dict() for name, part in self._parts().items()},
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, to the last bit, as the learner did whose state this is.

        Args:
            state: of a learner that was built in the same way; its tensors are on the CPU, in the
                memory format that they had.
        """
        self.steps = state["steps"]
        device = next(self.network.parameters()).device
        self.losses = list(state["losses"].to(device).unbind())
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        set_random_state(state["random"])

    def _parts(self) -> dict[str, Any]:
        """In the order in which they are loaded: the optimiser undoes what schedules do when built."""
        names = ("network", "optimizer", "schedule", "selection", "batches")
        return {name: getattr(self, name) for name in names}


def random_state() -> dict[str, torch.Tensor]:
    """The generators that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """As they were at :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
