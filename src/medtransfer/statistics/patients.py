"""What another sample of patients would change: the test-sample variation, apart from the seeds'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import METRICS, PLACE
from medtransfer.evaluation.selective import weighted_area
from medtransfer.statistics.part_samples import PartSamples, part_samples
from medtransfer.statistics.resampled_runs import (
    INIT_COLUMNS,
    VALUE_COLUMNS,
    Cells,
    add_run,
    cell_rows,
)
from medtransfer.statistics.resampling import Resampled, resampled, resampled_metric
from medtransfer.tables import Column, Schema, table_of

# beside the target metric: how well probabilities are calibrated, and how well doubts are placed
METRICS_BESIDE = ("negative_log_likelihood", "brier", "ece_mass", "aurc")
PATIENT_INTERVALS = Schema(
    name="patients",
    row="one metric of one cell, or the paired difference of two inits, had other patients been tested",
    columns={
        **{name: METRICS.columns[name] for name in (*PLACE, "part", "metric")},
        **INIT_COLUMNS,
        **VALUE_COLUMNS,
        "patients": Column("integer", "patients of the part, of all splits"),
        "images": Column("integer", "their images"),
    },
    families={},
)


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
        cells: Cells = {}
        for (_, run), table in zip(runs.iterrows(), tables, strict=True):
            if len(table):
                add_run(cells, (*run[PLACE],), run, _values(table, dataset, samples))
        images = pd.concat(tables)[["image_id", "patient"]]
        constants = {
            "part": str(part),
            "patients": images["patient"].nunique(),
            "images": images["image_id"].nunique(),
        }
        rows += [{**row, **constants} for row in cell_rows(cells, PLACE, "metric", study)]
    return table_of(rows, PATIENT_INTERVALS)


def _values(
    table: pd.DataFrame, dataset: DatasetSettings, samples: PartSamples
) -> dict[str, Resampled]:
    """The metrics of one run on one part, by name."""
    predictions, drawn = predictions_of(table, dataset), samples.of(table)
    return {
        metric: resampled(partial(weighted_area, predictions), drawn)
        if metric == "aurc"
        else resampled_metric(metric, predictions, drawn)
        for metric in (dataset.target_metric, *METRICS_BESIDE)
    }
