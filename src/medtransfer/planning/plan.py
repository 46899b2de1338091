"""The plan of a configuration: what each of its studies costs, and all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medtransfer.config.analyses import extra_weights
from medtransfer.config.runs import (
    Run,
    candidate_runs,
    needed_weights,
    pretraining_run,
    study_runs,
    with_pretraining,
)
from medtransfer.config.study import Config
from medtransfer.planning.bill import Bill, Disk, FileCost, RunCost, bill_of, disk_of
from medtransfer.planning.finished import Finished
from medtransfer.planning.images import DatasetImages, store_bytes
from medtransfer.planning.jobs import Jobs, PlannedRun
from medtransfer.planning.network_costs import Network
from medtransfer.planning.processors import Processor, recorded_processor
from medtransfer.planning.rates import Rates

# a row of predictions: two hashes, and a number for each output and label
ROW_BYTES, NUMBER_BYTES = 26, 6
# predictions without rows, history and record
RECORD_BYTES = 12_000
HOUR = 3600.0


@dataclass(frozen=True, order=True)
class Role:
    """What a run is for: ``study``, ``pre-training`` or ``search``, and of which recipe."""

    purpose: str
    recipe: str


@dataclass(frozen=True)
class Block:
    """Runs of a study that differ in start, subset, split and seed only.

    Attributes:
        images: of the whole data set; None if unknown.
        counted: whether the parts of all their splits are counted, not estimated.
    """

    purpose: str
    recipe: str
    dataset: str
    model: str
    images: int | None
    counted: bool
    bill: Bill


@dataclass(frozen=True)
class StudyPlan:
    """What a study costs, with what it shares with others.

    Attributes:
        stores: pixel stores of its data sets.
        sources: pre-trained weights.
    """

    name: str
    bill: Bill
    stores: Disk
    sources: Disk
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Plan:
    """What all studies cost.

    Attributes:
        total: all studies, what they share counted once.
        done_on: finished runs by the hardware that they ran on.
    """

    processor: Processor
    studies: tuple[StudyPlan, ...]
    total: StudyPlan
    done_on: dict[str, int]


@dataclass(frozen=True)
class Present:
    """What is there before anything runs.

    Attributes:
        images: of each data set of the configuration.
        finished: all finished runs by their path, also those of other studies.
        stores: the folder of pixel stores, ``<stores>/<dataset>/images.npy``.
        weights: the folder of pre-trained weights, ``<weights>/<source>/<model>.safetensors``.
    """

    images: Mapping[str, DatasetImages]
    finished: Mapping[str, Finished]
    stores: Path
    weights: Path


def make_plan(config: Config, present: Present, processor: Processor) -> Plan:
    """Plan every study of a configuration, and all of them together.

    Args:
        config: the whole configuration.
        present: what is there already.
        processor: what the runs to come are computed on.

    Raises:
        ConfigError: a recipe, a network or a subset that doesn't fit the images.
    """
    planner = Planner(config, present, processor)
    studies = tuple(
        planner.study(name, study_runs(study), extra_weights(config, [study]))
        for name, study in config.studies.items()
    )
    every = [run for study in config.studies.values() for run in study_runs(study)]
    total = planner.study("total", every, extra_weights(config))
    return Plan(processor, studies, total, planner.done_on())


def roles(
    studied: Iterable[Run], config: Config, weights: Iterable[tuple[str, str]] = ()
) -> dict[Run, Role]:
    """What every run that a study needs is for, its own runs first; each run once.

    Args:
        studied: the study's own.
        config: the whole configuration.
        weights: ``(source, network)`` that its analyses need beside those of its runs.
    """
    found = {run: Role("study", run.recipe) for run in studied}
    for run in with_pretraining(list(found), config, weights):
        found.setdefault(run, Role("pre-training", run.recipe))
    for run in list(found):
        for candidate in candidate_runs(run, config):
            found.setdefault(candidate, Role("search", run.recipe))
    return found


class Planner:
    """Costs of runs and files, each found once."""

    def __init__(self, config: Config, present: Present, processor: Processor) -> None:
        self._config = config
        self._present = present
        self._processor = processor
        self._jobs = Jobs(config, present.images, processor)
        measured = (self._jobs.measured(*item) for item in present.finished.items())
        self._rates = Rates(measurement for measurement in measured if measurement is not None)
        self._costs: dict[Run, RunCost] = {}

    def study(self, name: str, studied: Iterable[Run], weights: Iterable[tuple[str, str]]) -> StudyPlan:
        chosen = roles(studied, self._config, weights)
        for run in chosen:
            if run not in self._costs:
                self._costs[run] = self.run_cost(run)
        return StudyPlan(
            name,
            bill_of(self._costs[run] for run in chosen),
            disk_of(self._store_cost(name) for name in dict.fromkeys(run.dataset for run in chosen)),
            disk_of(self._source_cost(*pair) for pair in needed_weights(chosen, self._config.models)),
            tuple(self._blocks(chosen)),
        )

    def done_on(self) -> dict[str, int]:
        finished = (self._present.finished.get(run.path) for run in self._costs)
        return dict(Counter(str(f.record.get("hardware", "unknown")) for f in finished if f))

    @property
    def networks(self) -> list[Network]:
        """The networks of all that was planned."""
        return self._jobs.networks

    def run_cost(self, run: Run) -> RunCost:
        """What a run took, or will cost."""
        finished = self._present.finished.get(run.path)
        if finished is None:
            return self.cost_to_come(run)
        known = finished.whole_job_seconds is not None
        return self._finished_cost(finished, None if known else self._jobs.planned(run))

    def cost_to_come(self, run: Run) -> RunCost:
        """What a run will cost, whether it is finished or not."""
        planned = self._jobs.planned(run)
        if planned is None:
            return RunCost(False, None, None, "unknown", False)
        estimate = self._rates.estimate(planned.job)
        hours = estimate.seconds * self._processor.share / HOUR
        return RunCost(False, hours, _run_bytes(planned), estimate.basis, planned.job.work.at_most)

    def _finished_cost(self, finished: Finished, planned: PlannedRun | None) -> RunCost:
        """What a run took: the job if that was measured, else its computing and an estimated start."""
        record, seconds = finished.record, finished.whole_job_seconds
        if seconds is None:
            start = self._processor.start_seconds
            if planned is not None:
                start = self._rates.start_seconds(planned.job)
            seconds = start + (finished.computing_seconds or 0.0)
        processor = self._processor
        if "hardware" in record:  # a candidate that diverged has no such facts
            processor = recorded_processor(record["hardware"], record["threads"], processor)
        return RunCost(True, seconds * processor.share / HOUR, finished.total_bytes, "measured", False)

    def _blocks(self, chosen: Mapping[Run, Role]) -> Iterator[Block]:
        groups: dict[tuple[Role, str, str], list[Run]] = {}
        for run, role in chosen.items():
            groups.setdefault((role, run.dataset, run.model), []).append(run)
        for (role, dataset, model), runs in groups.items():
            images = self._present.images[dataset]
            yield Block(
                role.purpose,
                role.recipe,
                dataset,
                model,
                images.count,
                all(images.counted(split) for split in {run.split for run in runs}),
                bill_of(self._costs[run] for run in runs),
            )

    def _store_cost(self, dataset: str) -> FileCost:
        file = self._present.stores / dataset / "images.npy"
        if file.is_file():
            return FileCost(True, file.stat().st_size)
        return self.store_to_come(dataset)

    def store_to_come(self, dataset: str) -> FileCost:
        """What a pixel store will weigh, whether it is there or not."""
        settings = self._config.datasets[dataset]
        return FileCost(False, store_bytes(self._present.images[dataset], settings))

    def _source_cost(self, source: str, model: str) -> FileCost:
        file = self._present.weights / source / f"{model}.safetensors"
        if file.is_file():
            return FileCost(True, file.stat().st_size)
        return self.source_to_come(source, model)

    def source_to_come(self, source: str, model: str) -> FileCost:
        """What a file of pre-trained weights will weigh, whether it is there or not."""
        trained = pretraining_run(self._config.sources[source], model)
        planned = None if trained is None else self._jobs.planned(trained)
        return FileCost(
            False, self._jobs.source_bytes(model) if planned is None else planned.weight_bytes
        )


def _run_bytes(planned: PlannedRun) -> int:
    """About what a run's files will weigh."""
    parts = planned.parts
    rows = parts.validation + parts.test + parts.external
    row = ROW_BYTES + NUMBER_BYTES * planned.outputs
    return planned.weight_bytes + rows * row + RECORD_BYTES
