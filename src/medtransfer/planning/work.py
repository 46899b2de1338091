"""How much there is to compute in a run, whatever computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.stages import stage_recipes

# Amodei & Hernandez, "AI and compute" (2018): the backward pass costs twice the forward pass.
TRAINING_PASSES = 3


@dataclass(frozen=True)
class PartSizes:
    """Images of each part of a split; ``train`` are those of the run's subset."""

    train: int
    validation: int
    test: int
    external: int = 0


@dataclass(frozen=True)
class Work:
    """What a run computes.

    Attributes:
        steps: optimiser steps of all stages.
        passes: images through the network, forwards; a training image counts three times, and once
            while the body is frozen.
        at_most: the recipe may end the run earlier.
    """

    steps: int
    passes: int
    at_most: bool


def run_work(recipe: RecipeSettings, sizes: PartSizes, done: Mapping[str, int] | None = None) -> Work:
    """The work of a run: its whole budget, or what its stages have done.

    Args:
        recipe: for these images, its cases applied.
        sizes: the parts; all but the training images are predicted once more at the end.
        done: optimiser steps by the name of the stage; None for the budget.
    """
    steps = passes = 0
    at_most = False
    for name, stage in stage_recipes(recipe).items():
        budget = stage.total_steps(sizes.train)
        taken = budget if done is None else done.get(name, 0)
        steps += taken
        trained = taken * min(stage.batch_size, sizes.train)
        passes += trained * (TRAINING_PASSES if stage.train == "all" else 1)
        passes += validations(budget, taken, stage.validations) * sizes.validation
        at_most |= stage.patience is not None or stage.stop_below is not None
    return Work(steps, passes + sizes.validation + sizes.test + sizes.external, at_most)


def validations(budget: int, taken: int, wanted: int) -> int:
    """Times that a stage scores the validation part: before its first step and at its stops so far."""
    stops = {round(budget * (i + 1) / wanted) for i in range(wanted)}
    return 1 + sum(0 < stop <= taken for stop in stops)
