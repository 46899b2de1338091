"""The runs that a configuration asks for."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.search import candidate_recipes
from medtransfer.config.source import SourceSettings
from medtransfer.config.study import Config, StudySettings
from medtransfer.errors import ConfigError


@dataclass(frozen=True, order=True)
class Run:
    """One training: recipe x data set x model x init x subset x split x seed."""

    recipe: str
    dataset: str
    model: str
    init: str
    subset: str
    split: str
    seed: int

    @property
    def path(self) -> str:
        """The run's identity as a relative path; the same path is the same run."""
        return f"{self.cell}/seed{self.seed}"

    @property
    def cell(self) -> str:
        """What the run shares with its repeats, all but the seed, as a relative path."""
        return "/".join((self.recipe, self.dataset, self.model, self.init, self.subset, self.split))


def run_at(path: str) -> Run:
    """The run of a path.

    Raises:
        ValueError: it isn't the path of a run.
    """
    *names, seed = path.split("/")
    recipe, dataset, model, init, subset, split = names
    return Run(recipe, dataset, model, init, subset, split, int(seed.removeprefix("seed")))


def study_runs(study: StudySettings) -> list[Run]:
    """Every run of a study once, in the order of its grids, but those that are left out."""
    runs = grid_runs(study)
    if not study.left_out:
        return runs
    left_out = {path.rstrip("/") for path in study.left_out}
    return [run for run in runs if left_out.isdisjoint(places(run))]


def by_dataset(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs on each data set, both in their order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.dataset, []).append(run)
    return found


def places(run: Run) -> list[str]:
    """The path of a run and of the folders that hold it."""
    return list(itertools.accumulate(run.path.split("/"), "{}/{}".format))


def only_finished(config: Config, is_finished: Callable[[Run], bool]) -> Config:
    """The configuration without the runs of its studies that aren't finished.

    Raises:
        ConfigError: a study that has runs, and none of them is finished.
    """
    studies = {}
    for name, study in config.studies.items():
        runs = study_runs(study)
        waiting = [run for run in runs if not is_finished(run)]
        if runs and len(waiting) == len(runs):
            raise ConfigError(
                f"study '{name}': only_finished is set, and none of its {len(runs)} runs is finished; "
                f"the first would be {runs[0].path}"
            )
        studies[name] = replace(study, left_out=(*study.left_out, *_whole_folders(waiting, runs)))
    return replace(config, studies=studies)


def _whole_folders(some: Iterable[Run], runs: Iterable[Run]) -> list[str]:
    """The paths of some runs; in place of all runs that a folder holds, the folder."""
    missing, there = (
        Counter(place for run in group for place in places(run)) for group in (some, runs)
    )
    whole = {place: None for place, count in missing.items() if count == there[place]}
    return [place for place in whole if place.rpartition("/")[0] not in whole]


def grid_runs(study: StudySettings) -> list[Run]:
    """Every run of a study's grids once, in their order."""
    runs: dict[Run, None] = {}
    for grid in study.grids:
        for combination in itertools.product(
            grid.datasets, grid.models, grid.inits, grid.subsets, grid.splits, grid.seeds
        ):
            runs[Run(grid.recipe, *combination)] = None
    return list(runs)


def pretraining_run(source: SourceSettings, model: str) -> Run | None:
    """The run that trains a source's weights of a model; None for weights read from a file."""
    if source.pretraining is None:
        return None
    plan = source.pretraining
    return Run(plan.recipe, plan.dataset, model, "random", "full", "holdout", plan.seed)


def weights_model(name: str, models: Mapping[str, ModelSettings]) -> str:
    """The network whose pre-trained weights a network takes: its own unless it names another."""
    return models[name].weights_of or name


def needed_weights(runs: Iterable[Run], models: Mapping[str, ModelSettings]) -> list[tuple[str, str]]:
    """``(source, model)`` of all pre-trained weights that the runs start from."""
    pairs = {(parse_init(run.init).source, weights_model(run.model, models)): None for run in runs}
    return [(source, model) for source, model in pairs if source is not None]


def with_pretraining(
    runs: Iterable[Run], config: Config, weights: Iterable[tuple[str, str]] = ()
) -> list[Run]:
    """The runs, then the pre-training runs that they and other ``weights`` need."""
    found = dict.fromkeys(runs)
    for source, model in [*needed_weights(found, config.models), *weights]:
        pretraining = pretraining_run(config.sources[source], model)
        if pretraining is not None:
            found[pretraining] = None
    return list(found)


def candidate_runs(run: Run, config: Config) -> list[Run]:
    """The runs among which the learning rate of a run is chosen; none without a search.

    They depend on the run's cell only, so its repeats share the choice.
    """
    recipe = config.recipes[run.recipe]
    if recipe.search is None:
        return []
    names = candidate_recipes(run.recipe, recipe)
    return [replace(run, recipe=name, seed=recipe.search.seed) for name in names]


def searched_cells(runs: Iterable[Run], config: Config) -> list[str]:
    """The cells whose learning rate is chosen by a search, each once."""
    return list(dict.fromkeys(run.cell for run in runs if config.recipes[run.recipe].search))


def all_runs(config: Config, weights: Iterable[tuple[str, str]] = ()) -> list[Run]:
    """The runs of all studies, the pre-training runs that they need, and the candidates of searches.

    Args:
        config: of the studies.
        weights: ``(source, model)`` that are needed beside those that runs start from.
    """
    studied = (run for study in config.studies.values() for run in study_runs(study))
    runs = with_pretraining(studied, config, weights)
    candidates = (candidate for run in runs for candidate in candidate_runs(run, config))
    return list(dict.fromkeys([*runs, *candidates]))
