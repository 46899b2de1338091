"""The stages of a recipe: its head alone where it says so, then the run itself."""

from __future__ import annotations

import dataclasses

from medtransfer.config.recipe import RecipeSettings


def stage_recipes(recipe: RecipeSettings) -> dict[str, RecipeSettings]:
    """The recipe of each stage by its name, in order.

    The first stage, of the head alone, has a constant rate without warm-up; what its settings don't
    name is as in the recipe.
    """
    if recipe.head_first is None:
        return {"main": recipe}
    changes = {
        field.name: getattr(recipe.head_first, field.name)
        for field in dataclasses.fields(recipe.head_first)
    }
    head = dataclasses.replace(
        recipe, head_first=None, train="head", schedule="constant", decay_at=(), warmup=0.0,
        warmup_steps=None, warmup_start=None, stop_below=None, layer_decay=1.0, **changes,
    )  # fmt: skip
    return {"head": head, "main": dataclasses.replace(recipe, head_first=None)}
