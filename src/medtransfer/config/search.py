"""A search of the learning rate: its candidates are recipes of their own."""

from __future__ import annotations

import dataclasses

from medtransfer.config.recipe import RecipeSettings
from medtransfer.errors import ConfigError


def candidate_recipes(name: str, recipe: RecipeSettings) -> dict[str, RecipeSettings]:
    """The recipes that a search tries, by name; none for a recipe without a search.

    A name holds the shortest decimal number that is this rate and no other, so that it stays the same
    whatever the other candidates and their order.
    """
    if recipe.search is None:
        return {}
    return {f"{name}.lr{rate!r}": _candidate(recipe, rate) for rate in recipe.search.learning_rates}


def without_search(recipe: RecipeSettings) -> RecipeSettings:
    """What of a recipe decides its runs beside the choice: neither the candidates nor its own rate."""
    if recipe.search is None:
        return recipe
    return dataclasses.replace(recipe, search=None, learning_rate=RecipeSettings.learning_rate)


def with_choice(recipe: RecipeSettings, learning_rate: float | None) -> RecipeSettings:
    """The recipe at the learning rate that its search chose; as it is when there was no search.

    Raises:
        ConfigError: the recipe has a search and no choice is given.
    """
    if learning_rate is not None:
        return dataclasses.replace(recipe, search=None, learning_rate=learning_rate)
    if recipe.search is not None:
        raise ConfigError("the recipe has a 'search' and no choice is given; give one, or leave it out")
    return recipe


def _candidate(recipe: RecipeSettings, learning_rate: float) -> RecipeSettings:
    """The recipe at one rate, with the budget of the search if it has one."""
    search, candidate = recipe.search, with_choice(recipe, learning_rate)
    if search is None or (search.epochs is None and search.steps is None):
        return candidate
    # a case would put the steps of a whole run in place of the candidates' own budget
    cases = tuple(dataclasses.replace(case, steps=None) for case in recipe.cases)
    return dataclasses.replace(candidate, epochs=search.epochs, steps=search.steps, cases=cases)
