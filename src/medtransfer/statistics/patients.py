"""What another sample of patients would change: the test-sample variation, apart from the seeds'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import METRICS
from medtransfer.evaluation.selective import weighted_area
from medtransfer.statistics.comparison import compared
from medtransfer.statistics.part_samples import PartSamples, part_samples
from medtransfer.statistics.resampling import Resampled, mean, resampled, resampled_metric
from medtransfer.tables import Column, Schema, table_of

# beside the target metric: how well probabilities are calibrated, and how well doubts are placed
METRICS_BESIDE = ("negative_log_likelihood", "brier", "ece_mass", "aurc")
PLACE = ["recipe", "dataset", "model", "subset"]
PATIENT_INTERVALS = Schema(
    name="patients",
    row="one metric of one cell, or the paired difference of two inits, had other patients been tested",
    columns={
        **{name: METRICS.columns[name] for name in (*PLACE, "part", "metric", "init")},
        "reference": Column("text", "the init that is subtracted; empty: the metric itself"),
        "mean": Column("number", "mean over the runs, or over the pairs of runs"),
        "error": Column("number", "its standard deviation over bootstrap samples of patients"),
        "low": Column(
            "number",
            "lower end of its interval over samples of patients: BCa, of a difference percentiles",
        ),
        "high": Column("number", "upper end of that interval"),
        "runs": Column("integer", "runs, or pairs of runs, in the mean"),
        "patients": Column("integer", "patients of the part, of all splits"),
        "images": Column("integer", "their images"),
    },
    families={},
)


@dataclass(frozen=True)
class _Scored:
    """The metrics of one run on one part, under all resamples of its patients."""

    split: str
    seed: int
    values: Mapping[str, Resampled]
    images: pd.DataFrame

    @property
    def repeat(self) -> tuple[str, int]:
        """By which runs of two inits are paired."""
        return self.split, self.seed


def patient_intervals(
    runs: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    dataset: DatasetSettings,
    study: StudySettings,
) -> pd.DataFrame:
    """Intervals over samples of patients, of every cell of one data set and of its comparisons.

    All runs are resampled through the same patients, so what is hard for one init is hard for the
    other: differences are paired. The mean over the runs is resampled, not each run, so the interval
    holds what other patients would change and not what other seeds would.

    Args:
        runs: a table of schema RUNS, of one data set.
        predictions: a table of schema PREDICTIONS a run, in the same order.
        dataset: task, outputs and target metric.
        study: reference, families, confidence and number of resamples.

    Returns:
        A table of schema PATIENT_INTERVALS, for every part but validation.
    """
    parts = pd.unique(pd.concat([table["part"] for table in predictions]))
    rows: list[dict[str, object]] = []
    for part in parts[parts != "validation"]:
        tables = [table[table["part"] == part] for table in predictions]
        samples = part_samples(str(part), tables, study.statistics.resamples)
        cells: dict[tuple[object, ...], dict[str, list[_Scored]]] = {}
        for (_, run), table in zip(runs.iterrows(), tables, strict=True):
            if len(table):
                cell = cells.setdefault((*run[PLACE],), {})
                cell.setdefault(run["init"], []).append(_score(run, table, dataset, samples))
        for place, by_init in cells.items():
            names = {**dict(zip(PLACE, place, strict=True)), "part": str(part)}
            rows += [{**names, **row} for row in _rows(by_init, study)]
    return table_of(rows, PATIENT_INTERVALS)


def _score(
    run: pd.Series, table: pd.DataFrame, dataset: DatasetSettings, samples: PartSamples
) -> _Scored:
    predictions, drawn = predictions_of(table, dataset), samples.of(table)
    values = {
        metric: resampled(partial(weighted_area, predictions), drawn)
        if metric == "aurc"
        else resampled_metric(metric, predictions, drawn)
        for metric in (dataset.target_metric, *METRICS_BESIDE)
    }
    return _Scored(run["split"], int(run["seed"]), values, table[["image_id", "patient"]])


def _rows(by_init: Mapping[str, list[_Scored]], study: StudySettings) -> Iterator[dict[str, object]]:
    """Each init's own values, then the paired differences of two."""
    for init, runs in by_init.items():
        yield from _intervals(
            {"init": init, "reference": ""}, [run.values for run in runs], runs, study
        )
    for init, reference in compared(list(by_init), study):
        baseline = {run.repeat: run.values for run in by_init[reference]}
        shared = [run for run in by_init[init] if run.repeat in baseline]
        differences = [
            {metric: value - baseline[run.repeat][metric] for metric, value in run.values.items()}
            for run in shared
        ]
        if shared:
            names = {"init": init, "reference": reference}
            yield from _intervals(names, differences, shared, study)


def _intervals(
    names: Mapping[str, str],
    values: Sequence[Mapping[str, Resampled]],
    runs: Sequence[_Scored],
    study: StudySettings,
) -> Iterator[dict[str, object]]:
    images = pd.concat([run.images for run in runs])
    for metric in values[0]:
        averaged = mean([value[metric] for value in values])
        taken = averaged.interval_of_difference if names["reference"] else averaged.interval
        found = taken(study.confidence)
        yield {
            **names,
            "metric": metric,
            "mean": found.estimate,
            "error": found.error,
            "low": found.low,
            "high": found.high,
            "runs": len(values),
            "patients": images["patient"].nunique(),
            "images": images["image_id"].nunique(),
        }
