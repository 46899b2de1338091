"""Cells of runs under joint resamples of patients: each init's values, and differences of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.comparison import compared
from medtransfer.statistics.resampling import Resampled, mean
from medtransfer.tables import Column

INIT_COLUMNS = {
    "init": METRICS.columns["init"],
    "reference": Column("text", "the init that is subtracted; empty: the init's own values"),
}
VALUE_COLUMNS = {
    "mean": Column("number", "mean over the runs, or over the pairs of runs; empty where undefined"),
    "sd": Column("number", "standard deviation over them; empty for one"),
    "error": Column("number", "standard deviation of the mean over bootstrap samples of patients"),
    "low": Column(
        "number", "lower end of its interval over samples of patients: BCa, of a difference percentiles"
    ),
    "high": Column("number", "upper end of that interval"),
    "undefined": Column("integer", "samples of patients without a value, which are left out"),
    "runs": Column("integer", "runs, or pairs of runs, in the mean"),
}


@dataclass(frozen=True)
class ResampledRun:
    """Named values of one run, under all resamples of patients."""

    split: str
    seed: int
    values: Mapping[str, Resampled]

    @property
    def repeat(self) -> tuple[str, int]:
        """By which runs of two inits are paired."""
        return self.split, self.seed


# of each cell, by what it is: the runs of each init
Cells = dict[tuple[object, ...], dict[str, list[ResampledRun]]]


def add_run(
    cells: Cells, key: tuple[object, ...], run: pd.Series, values: Mapping[str, Resampled]
) -> None:
    """Put the values of a run, a row of schema RUNS, into its cell."""
    scored = ResampledRun(run["split"], int(run["seed"]), values)
    cells.setdefault(key, {}).setdefault(run["init"], []).append(scored)


def cell_rows(
    cells: Cells, keys: Sequence[str], value_name: str, study: StudySettings
) -> Iterator[dict[str, object]]:
    """Rows of INIT_COLUMNS and VALUE_COLUMNS for every cell, init, comparison and named value.

    Args:
        cells: of :func:`add_run`.
        keys: column of each part of a cell's key.
        value_name: column of the values' names.
        study: reference, families and confidence.
    """
    for key, by_init in cells.items():
        place = dict(zip(keys, key, strict=True))
        for init, reference, values in _groups(by_init, study):
            for name in values[0]:
                found = _row([value[name] for value in values], bool(reference), study.confidence)
                yield {**place, "init": init, "reference": reference, value_name: name, **found}


def _groups(
    by_init: Mapping[str, list[ResampledRun]], study: StudySettings
) -> Iterator[tuple[str, str, list[Mapping[str, Resampled]]]]:
    """Each init's own values, then the paired differences of two."""
    for init, runs in by_init.items():
        yield init, "", [run.values for run in runs]
    for init, reference in compared(list(by_init), study):
        baseline = {run.repeat: run.values for run in by_init[reference]}
        differences: list[Mapping[str, Resampled]] = [
            {name: value - baseline[run.repeat][name] for name, value in run.values.items()}
            for run in by_init[init]
            if run.repeat in baseline
        ]
        if differences:
            yield init, reference, differences


def _row(values: Sequence[Resampled], difference: bool, confidence: float) -> dict[str, object]:
    averaged = mean(values)
    taken = averaged.interval_of_difference if difference else averaged.interval
    found = taken(confidence)
    estimates = [value.estimate for value in values]
    return {
        "mean": found.estimate,
        "sd": np.std(estimates, ddof=1) if len(values) > 1 else np.nan,
        "error": found.error,
        "low": found.low,
        "high": found.high,
        "undefined": found.undefined,
        "runs": len(values),
    }
