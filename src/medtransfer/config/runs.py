"""The runs that a configuration asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from medtransfer.config.names import parse_init
from medtransfer.config.source import SourceSettings
from medtransfer.config.study import Config, StudySettings


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
        names = (self.recipe, self.dataset, self.model, self.init, self.subset, self.split)
        return "/".join((*names, f"seed{self.seed}"))


def study_runs(study: StudySettings) -> list[Run]:
    """Every run of a study once, in the order of its grids."""
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


def needed_weights(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """``(source, model)`` of all pre-trained weights that the runs start from."""
    pairs = {(parse_init(run.init).source, run.model): None for run in runs}
    return [(source, model) for source, model in pairs if source is not None]


def all_runs(config: Config) -> list[Run]:
    """The runs of all studies together with the pre-training runs that they need."""
    runs = {run: None for study in config.studies.values() for run in study_runs(study)}
    for source, model in needed_weights(runs):
        pretraining = pretraining_run(config.sources[source], model)
        if pretraining is not None:
            runs[pretraining] = None
    return list(runs)
