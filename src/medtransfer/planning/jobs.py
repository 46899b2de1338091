"""Jobs as the plan sees them: of runs to come, and of finished ones that others are measured by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init, parse_init
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.runs import Run, run_at
from medtransfer.config.study import Config
from medtransfer.config.typed import parse
from medtransfer.errors import ConfigError
from medtransfer.planning.finished import Finished
from medtransfer.planning.images import DatasetImages
from medtransfer.planning.network_costs import Network, NetworkCost, cost_of
from medtransfer.planning.processors import Processor, recorded_processor
from medtransfer.planning.rates import Job, Measurement
from medtransfer.planning.work import PartSizes, Work, run_work

# of weights from files, whose own size is not known before they are there
SOURCE_CHANNELS, SOURCE_OUTPUTS, SOURCE_SIDE = 3, 1000, 224


@dataclass(frozen=True)
class PlannedRun:
    """A run of the configuration, the number of whose images is known or estimated."""

    job: Job
    parts: PartSizes
    outputs: int
    weight_bytes: int


class Jobs:
    """Jobs of runs under one configuration; each network, and the work of each cell, is looked at once.

    Args:
        config: the whole configuration.
        images: of each data set of its runs.
        processor: what the runs to come are computed on.
    """

    def __init__(
        self, config: Config, images: Mapping[str, DatasetImages], processor: Processor
    ) -> None:
        self._config = config
        self._images = images
        self._processor = processor
        self._works: dict[tuple[str, str, PartSizes], tuple[Work, int]] = {}
        self._costs: dict[Network, NetworkCost] = {}

    def planned(self, run: Run) -> PlannedRun | None:
        """The job of a run of the configuration; None if the number of its images is unknown.

        Raises:
            ConfigError: a recipe, a network or a subset that doesn't fit the images.
        """
        parts = self._images[run.dataset].parts(run.split, run.subset, run.seed)
        if parts is None:
            return None
        dataset = self._config.datasets[run.dataset]
        work, side = self._work(run, parts)
        settings, outputs = self._config.models[run.model], len(dataset.outputs)
        network = self._cost(settings, parse_init(run.init), dataset.channels, outputs, side)
        job = Job(run, _network_name(run), side, network.operations, work, self._processor)
        return PlannedRun(job, parts, outputs, network.weight_bytes)

    @property
    def networks(self) -> list[Network]:
        """The networks that were looked at, with one output each."""
        return list(self._costs)

    def source_bytes(self, model: str) -> int:
        """About what a file of pre-trained weights will weigh: the network's, for ImageNet."""
        settings = self._config.models[model]
        cost = self._cost(settings, Init(), SOURCE_CHANNELS, SOURCE_OUTPUTS, SOURCE_SIDE)
        return cost.weight_bytes

    def measured(self, path: str, finished: Finished) -> Measurement | None:
        """What a finished run tells of others; None if its record doesn't hold enough."""
        computing = finished.computing_seconds
        if computing is None:
            return None
        try:
            return Measurement(self._recorded(path, finished.record), computing, finished.start_seconds)
        except (KeyError, TypeError, ValueError, ConfigError):  # of another version of this project
            return None

    def _recorded(self, path: str, record: Mapping[str, Any]) -> Job:
        """The job of a finished run by its record: what it has done, not what it might have."""
        run = run_at(path)
        steps = {stage["stage"]: int(stage["steps"]) for stage in record["stages"]}
        recipe = _recipe(json.dumps(record["recipe"], sort_keys=True))
        work = run_work(recipe, PartSizes(**record["images"]), steps)
        dataset = self._config.datasets.get(run.dataset)
        channels = SOURCE_CHANNELS if dataset is None else dataset.channels
        settings = parse(ModelSettings, record["model"], path)
        side, outputs = int(record["image_size"]), len(record["outputs"])
        network = self._cost(settings, parse_init(run.init), channels, outputs, side)
        processor = recorded_processor(record["hardware"], record["threads"], self._processor)
        return Job(run, _network_name(run), side, network.operations, work, processor)

    def _work(self, run: Run, parts: PartSizes) -> tuple[Work, int]:
        """The work of a run's budget, and the side of what its network sees."""
        key = (run.recipe, run.dataset, parts)
        if key not in self._works:
            side = self._config.datasets[run.dataset].image_size
            recipe = self._config.recipes[run.recipe].for_data(parts.train, side)
            self._works[key] = (run_work(recipe, parts), recipe.input_side(side))
        return self._works[key]

    def _cost(
        self, settings: ModelSettings, init: Init, channels: int, outputs: int, side: int
    ) -> NetworkCost:
        network = Network.of(settings, init, channels, side)
        if network not in self._costs:
            self._costs[network] = cost_of(network)
        return self._costs[network].with_outputs(outputs - 1)


def _network_name(run: Run) -> str:
    """The network, with the start where that makes it narrower."""
    return f"{run.model}/{run.init}" if parse_init(run.init).rest == "slim" else run.model


@cache
def _recipe(text: str) -> RecipeSettings:
    """The recipe of a record; runs of one cell have the same."""
    return parse(RecipeSettings, json.loads(text), "run.json")
