"""What the jobs of a dry run cost: runs to train, pixel stores and weights to come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from medtransfer.config.analyses import extra_weights
from medtransfer.config.runs import Run, run_at, study_runs
from medtransfer.config.study import Config
from medtransfer.planning.bill import Bill, Disk, bill_of, disk_of
from medtransfer.planning.plan import Planner, Present, roles
from medtransfer.planning.processors import Processor


@dataclass(frozen=True)
class WantedJobs:
    """Jobs that would run, also those whose files are there already and would be made anew.

    Attributes:
        runs: paths of the runs to train.
        stores: data sets to decode.
        weights: ``<source>/<network>`` to import, or to export from a run.
    """

    runs: tuple[str, ...]
    stores: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class DryRunCost:
    """What wanted jobs cost.

    Attributes:
        purposes: how many of the runs are for what, as :class:`medtransfer.planning.plan.Role` has it.
        again: how many of the runs are finished already.
        stored: images of each data set to decode; None if unknown.
        disk: bytes of all files to come.
    """

    processor: Processor
    purposes: dict[str, int]
    again: int
    bill: Bill
    stored: dict[str, int | None]
    disk: Disk


def dry_run_cost(
    jobs: WantedJobs, config: Config, present: Present, processor: Processor
) -> DryRunCost:
    """What wanted jobs cost, by the rates of :func:`medtransfer.planning.plan.make_plan`.

    Args:
        jobs: that would run.
        config: the whole configuration.
        present: what is there already.
        processor: what the runs are computed on.

    Raises:
        ConfigError: a recipe, a network or a subset that doesn't fit the images.
        ValueError: a path that isn't one of a run.
    """
    planner = Planner(config, present, processor)
    runs = [run_at(path) for path in jobs.runs]
    costs = [planner.cost_to_come(run) for run in runs]
    files = [planner.store_to_come(name) for name in jobs.stores]
    files += [planner.source_to_come(*name.split("/")) for name in jobs.weights]
    return DryRunCost(
        processor,
        _purposes(runs, config),
        sum(path in present.finished for path in jobs.runs),
        bill_of(costs),
        {name: present.images[name].count for name in jobs.stores},
        disk_of([*costs, *files]),
    )


def _purposes(runs: list[Run], config: Config) -> dict[str, int]:
    """How many runs are for what; a run that is asked for by its path alone counts as a study's."""
    studied = (run for study in config.studies.values() for run in study_runs(study))
    known = roles(studied, config, extra_weights(config))
    found = Counter(known[run].purpose if run in known else "study" for run in runs)
    return {name: found[name] for name in ("study", "pre-training", "search") if name in found}
