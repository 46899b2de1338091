"""The metrics of a study's runs as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.evaluation.calibration import calibration_metrics, temperature
from medtransfer.evaluation.metrics import evaluate, per_class
from medtransfer.evaluation.predictions import Predictions, predictions_of
from medtransfer.evaluation.selective import area, excess_area
from medtransfer.tables import Column, Schema, read_tables

RUN_COLUMNS = {
    "recipe": Column("text", "name of the recipe"),
    "dataset": Column("text", "name of the data set"),
    "model": Column("text", "name of the network"),
    "init": Column("text", "how the network started"),
    "subset": Column("text", "how much training data"),
    "split": Column("text", "which split"),
    "seed": Column("integer", "seed of the run"),
}
# what the runs of a cell share, beside their start
PLACE = ["recipe", "dataset", "model", "subset"]
RUNS = Schema(
    name="runs",
    row="one run of a study",
    columns={**RUN_COLUMNS, "path": Column("text", "folder of the run below results/runs")},
    families={},
)
METRICS = Schema(
    name="metrics",
    row="one metric of one part of one run",
    columns={
        **RUN_COLUMNS,
        "part": Column("text", "validation, test, external or external-<other data set>"),
        "metric": Column("text", "name of the metric"),
        "target": Column("truth", "whether it is the data set's target metric"),
        "value": Column("number", "the metric, not rounded; empty where undefined"),
        "images": Column("integer", "images of the part; 0 where not known"),
        "patients": Column("integer", "patients of the part; 0 where not known"),
        "training_images": Column("integer", "images the run was trained on; 0 where not known"),
        "test_train_ratio": Column(
            "number", "test images over training images; empty without a test part"
        ),
        "parameters": Column("number", "weights and biases of the network; empty where not known"),
    },
    families={},
)
CLASS_METRICS = Schema(
    name="classes",
    row="one output of the network, on one part, by one run",
    columns={
        **RUN_COLUMNS,
        "part": METRICS.columns["part"],
        "output": Column("text", "class, or label of several"),
        "auroc": Column("number", "of this output against the rest; empty where one side is missing"),
        "auprc": Column("number", "likewise; empty without positives"),
        "positives": Column("integer", "images that are positive"),
        "images": Column("integer", "images whose label is known"),
    },
    families={},
)
CURVES = Schema(
    name="curves",
    row="one scoring of the validation part during one run of a study",
    columns={
        **RUN_COLUMNS,
        "metric": Column("text", "the data set's target metric"),
        "stage": Column("text", "main; head in a first stage of the head alone"),
        "step": Column("integer", "optimiser steps so far"),
        "epoch": Column("number", "passes over the training images so far"),
        "learning_rate": Column("number", "of the latest step; empty before a stage's first"),
        "training_loss": Column("number", "mean since the previous row; empty before a stage's first"),
        "validation_loss": Column("number", "negative log-likelihood on the validation part"),
        "validation_metric": Column("number", "value of the target metric"),
    },
    families={},
)


def join_runs(runs: pd.DataFrame, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of many runs: each run's own rows, with the run's columns before them.

    Args:
        runs: a table of schema RUNS.
        tables: one table a run, in the same order.
    """
    joined = []
    for (_, run), table in zip(runs.iterrows(), tables, strict=True):
        columns = list(RUN_COLUMNS)
        identity = pd.DataFrame([run[columns]] * len(table), index=table.index, columns=columns)
        joined.append(pd.concat([identity.astype({"seed": "int64"}), table], axis=1))
    return pd.concat(joined, ignore_index=True)


def study_predictions(
    runs: pd.DataFrame, root: Path, shift: Path, dataset: DatasetSettings
) -> list[pd.DataFrame]:
    """The predictions of each run of a table of schema RUNS, as :func:`read_predictions` has them.

    Args:
        runs: of one data set.
        root: folder of all runs.
        shift: folder of all predictions of other data sets.
        dataset: which names those others.
    """
    return [read_predictions(root / path, shift / path, dataset) for path in runs["path"]]


def read_predictions(folder: Path, shift: Path, dataset: DatasetSettings) -> pd.DataFrame:
    """All predictions of one run: of its own data set, and of the other data sets it is tested on.

    Args:
        folder: of the run.
        shift: of its predictions of other data sets.
        dataset: which names those others.

    Returns:
        A table of schema PREDICTIONS.
    """
    elsewhere = [shift / f"external-{name}.predictions.parquet" for name in dataset.external]
    paths = [folder / "predictions.parquet", *elsewhere]
    return read_tables(paths)


def run_metrics(
    predictions: pd.DataFrame, dataset: DatasetSettings, record: Mapping[str, Any]
) -> pd.DataFrame:
    """Metrics of every part of one run.

    Calibration is that before and, with the suffix ``_scaled``, after temperature scaling; the
    temperature is fitted on the validation part alone and stands as a metric of its own.

    Args:
        predictions: a table of schema PREDICTIONS.
        dataset: task, class names and target metric.
        record: of the run, with ``training_images`` and ``parameters``.

    Returns:
        The columns of METRICS from ``part`` on.
    """
    parts = {str(part): table for part, table in predictions.groupby("part", sort=False)}
    fitted = None
    if "validation" in parts:
        fitted = temperature(predictions_of(parts["validation"], dataset))
    ratio = len(parts["test"]) / record["training_images"] if "test" in parts else np.nan
    rows = []
    for part, table in parts.items():
        scores = _scores(predictions_of(table, dataset), fitted)
        images, patients = len(table), table["patient"].nunique()
        about = (images, patients, record["training_images"], ratio, record["parameters"])
        for metric, value in scores.items():
            rows.append((part, metric, metric == dataset.target_metric, value, *about))
    table = pd.DataFrame(rows, columns=list(METRICS.columns)[len(RUN_COLUMNS) :])
    return table.astype({"parameters": float})


def _scores(predictions: Predictions, fitted: float | None) -> dict[str, float]:
    """All metrics of one part, by name."""
    return {
        **evaluate(predictions),
        **calibration_metrics(predictions, fitted),
        **({} if fitted is None else {"temperature": fitted}),
        "aurc": area(predictions),
        "excess_aurc": excess_area(predictions),
    }


def class_metrics(predictions: pd.DataFrame, dataset: DatasetSettings) -> pd.DataFrame:
    """The ranking of each output of one run against the rest.

    Args:
        predictions: a table of schema PREDICTIONS.
        dataset: task and class names.

    Returns:
        The columns of CLASS_METRICS from ``part`` on.
    """
    rows = [
        (part, dataset.outputs[found.output], found.auroc, found.auprc, found.positives, found.images)
        for part, table in predictions.groupby("part", sort=False)
        for found in per_class(predictions_of(table, dataset))
    ]
    return pd.DataFrame(rows, columns=list(CLASS_METRICS.columns)[len(RUN_COLUMNS) :])
