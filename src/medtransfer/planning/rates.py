"""How long a job takes: by jobs like it, by other jobs on the same processor, or by a model alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal

from medtransfer.config.runs import Run
from medtransfer.planning.processors import Processor
from medtransfer.planning.work import Work

Basis = Literal["measured", "scaled", "modelled", "unknown"]
Key = tuple[object, ...]


@dataclass(frozen=True)
class Job:
    """What decides a run's time.

    Attributes:
        network: a name that stands for one architecture and width.
        side: of the images that the network sees.
        operations: floating-point operations of one image's forward pass.
    """

    run: Run
    network: str
    side: int
    operations: int
    work: Work
    processor: Processor


@dataclass(frozen=True)
class Measurement:
    """What a finished job took: training with evaluation, and (None: unknown) all beside."""

    job: Job
    computing_seconds: float
    start_seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """Seconds of a job and what they rest on.

    The basis is ``measured`` (the same network, side and processor), ``scaled`` (other networks or
    sides on the same processor, by the model) or ``modelled`` (the model alone).
    """

    seconds: float
    basis: Basis


def modelled_seconds(job: Job) -> float:
    """Training and evaluation by the model: operations through assumed speed, and a time each step."""
    processor = job.processor
    return job.work.steps * processor.step_seconds + job.work.passes * job.operations / processor.speed


class Rates:
    """Estimates from measurements: the model, corrected by the most similar jobs that were measured.

    The correction is the median, over those jobs, of measured through modelled time.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._factors: dict[Key, list[float]] = defaultdict(list)
        self._starts: dict[Key, list[float]] = defaultdict(list)
        for measurement in measurements:
            for _, key in _likenesses(measurement.job):
                factor = measurement.computing_seconds / modelled_seconds(measurement.job)
                self._factors[key].append(factor)
                if measurement.start_seconds is not None:
                    self._starts[key].append(measurement.start_seconds)
        self._factor = {key: median(values) for key, values in self._factors.items()}
        self._start = {key: median(values) for key, values in self._starts.items()}

    def estimate(self, job: Job) -> Estimate:
        """Seconds of a whole job."""
        start = self.start_seconds(job)
        for basis, key in _likenesses(job):
            if key in self._factor:
                return Estimate(start + self._factor[key] * modelled_seconds(job), basis)
        return Estimate(start + modelled_seconds(job), "modelled")

    def start_seconds(self, job: Job) -> float:
        """Seconds of a job beside training and evaluation."""
        found = (self._start[key] for _, key in _likenesses(job) if key in self._start)
        return next(found, job.processor.start_seconds)


def _likenesses(job: Job) -> Iterator[tuple[Basis, Key]]:
    """What a job may share with others, from all that counts to the processor alone."""
    run, processor = job.run, (job.processor.name, job.processor.threads)
    yield "measured", (*processor, job.network, job.side, run.recipe, run.dataset, run.subset)
    yield "measured", (*processor, job.network, job.side)
    yield "scaled", (*processor, job.network)
    yield "scaled", processor
    yield "scaled", (job.processor.name,)
