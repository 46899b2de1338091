"""Optimisers and learning-rate schedules by the names that recipes use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from medtransfer.config.recipe import RecipeSettings

# the smallest factor that a warm-up from 0 starts with; LinearLR takes no 0
SMALLEST_FACTOR = 1e-12


def build_optimizer(network: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser of the parameters that learn.

    Tensors of fewer than two dimensions have no weight decay. ``adam`` and ``sgd`` add the decay to
    the gradient, ``adamw`` and ``lamb`` to the step. With ``layer_decay``, the rate of unit i of n is
    the peak x layer_decay^(n - 1 - i), the head being unit n - 1.
    """
    groups = list(_parameter_groups(network, recipe))
    rate, momentum = recipe.learning_rate, recipe.momentum
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, momentum=momentum)
    if recipe.optimizer == "lamb":
        from timm.optim.lamb import Lamb  # here, since other runs need none of its import time

        # the recipe's own gradient_clip decides about clipping
        return Lamb(groups, lr=rate, max_grad_norm=None)
    optimizers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return optimizers[recipe.optimizer](groups, lr=rate, fused=True)


def _parameter_groups(network: nn.Module, recipe: RecipeSettings) -> Iterator[dict[str, object]]:
    """Parameters with the same learning rate and weight decay."""
    learning = {name: p for name, p in network.named_parameters() if p.requires_grad}
    heights = _heights(network, recipe)
    for height in sorted({heights.get(name, 0) for name in learning}):
        rate = recipe.learning_rate * recipe.layer_decay**height
        members = [p for name, p in learning.items() if heights.get(name, 0) == height]
        matrices = [p for p in members if p.ndim >= 2]
        vectors = [p for p in members if p.ndim < 2]
        for parameters, decay in ((matrices, recipe.weight_decay), (vectors, 0.0)):
            if parameters:
                yield {"params": parameters, "lr": rate, "weight_decay": decay}


def _heights(network: nn.Module, recipe: RecipeSettings) -> dict[str, int]:
    """Units above each parameter's own; empty where the recipe doesn't ask."""
    if recipe.layer_decay == 1.0:
        return {}
    from medtransfer.models.units import unit_of_tensors

    units = unit_of_tensors(network)
    head = max(units.values())
    return {name: head - unit for name, unit in units.items()}


class Schedule:
    """The learning rate of each step of a recipe, made of torch's schedulers.

    Steps are counted from 0. A warm-up of W steps without ``warmup_start`` has the rate
    peak x (step + 1) / W; with it, start + (peak - start) x step / W. From step W on:

    * ``constant``: the peak;
    * ``cosine``: peak x (1 + cos(pi x (step - W) / (total - W))) / 2, 0 one step after the last;
    * ``steps``: the peak x decay_factor^k after k of the shares ``decay_at`` of the budget;
    * ``plateau``: x decay_factor when the monitored value is no better (by a share of 1e-4, torch's
      default) than the best in more than ``plateau_patience`` validations after the warm-up.

    Every parameter group keeps its own share of the rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: RecipeSettings, total: int) -> None:
        self._optimizer = optimizer
        self._warmup = recipe.total_warmup_steps(total)
        self._steps = 0
        self._every_step = _step_scheduler(optimizer, recipe, total, self._warmup)
        self._plateau = _plateau_scheduler(optimizer, recipe)

    @property
    def rate(self) -> float:
        """The rate of the next step, of the parameter group with the highest."""
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    @property
    def warm(self) -> bool:
        """Whether the warm-up is over."""
        return self._steps >= self._warmup

    def after_step(self) -> None:
        """Move on by one step."""
        self._steps += 1
        self._every_step.step()

    def after_validation(self, value: float) -> None:
        """Take note of the monitored value of the validation part."""
        if self._plateau is not None and self.warm:
            self._plateau.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is, apart from the rates, which the optimiser holds."""
        plateau = None if self._plateau is None else self._plateau.state_dict()
        return {"steps": self._steps, "every_step": self._every_step.state_dict(), "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the schedule did whose state this is."""
        self._steps = state["steps"]
        self._every_step.load_state_dict(state["every_step"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])


def _step_scheduler(
    optimizer: torch.optim.Optimizer, recipe: RecipeSettings, total: int, warmup: int
) -> lr_scheduler.LRScheduler:
    rising = _warmup_scheduler(optimizer, recipe, warmup)
    if recipe.schedule == "cosine":
        falling = lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, total - warmup))
        return lr_scheduler.SequentialLR(optimizer, [rising, falling], [warmup]) if warmup else falling
    if recipe.schedule == "steps":
        places = [round(share * total) for share in recipe.decay_at]
        steps = lr_scheduler.MultiStepLR(optimizer, places, gamma=recipe.decay_factor)
        return lr_scheduler.ChainedScheduler([rising, steps], optimizer)
    return rising


def _warmup_scheduler(
    optimizer: torch.optim.Optimizer, recipe: RecipeSettings, warmup: int
) -> lr_scheduler.LRScheduler:
    if warmup == 0:
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, total_iters=0)
    if recipe.warmup_start is None:
        return lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    factor = max(SMALLEST_FACTOR, recipe.warmup_start / recipe.learning_rate)
    return lr_scheduler.LinearLR(optimizer, start_factor=factor, total_iters=warmup)


def _plateau_scheduler(
    optimizer: torch.optim.Optimizer, recipe: RecipeSettings
) -> lr_scheduler.ReduceLROnPlateau | None:
    if recipe.schedule != "plateau":
        return None
    return lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min" if recipe.monitor == "loss" else "max",
        factor=recipe.decay_factor,
        patience=recipe.plateau_patience,
        eps=0.0,  # small rates of low layers fall too
    )
