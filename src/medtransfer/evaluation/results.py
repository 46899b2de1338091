"""The metrics of a study's runs as one tidy table."""

from __future__ import annotations

import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.evaluation.metrics import Predictions, evaluate
from medtransfer.tables import Column, Schema

RUN_COLUMNS = {
    "recipe": Column("text", "name of the recipe"),
    "dataset": Column("text", "name of the data set"),
    "model": Column("text", "name of the network"),
    "init": Column("text", "how the network started"),
    "subset": Column("text", "how much training data"),
    "split": Column("text", "which split"),
    "seed": Column("integer", "seed of the run"),
}
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
        "part": Column("text", "validation, test or external"),
        "metric": Column("text", "name of the metric"),
        "target": Column("truth", "whether it is the data set's target metric"),
        "value": Column("number", "the metric, not rounded; empty where undefined"),
        "images": Column("integer", "images of the part"),
        "patients": Column("integer", "patients of the part"),
        "training_images": Column("integer", "images the run was trained on"),
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
        identity = pd.DataFrame([run[list(RUN_COLUMNS)]] * len(table), index=table.index)
        joined.append(pd.concat([identity.astype({"seed": "int64"}), table], axis=1))
    return pd.concat(joined, ignore_index=True)


def run_metrics(
    predictions: pd.DataFrame, dataset: DatasetSettings, training_images: int
) -> pd.DataFrame:
    """Metrics of every part of one run.

    Args:
        predictions: a table of schema PREDICTIONS.
        dataset: task, class names and target metric.
        training_images: images the run was trained on.

    Returns:
        The columns of METRICS from ``part`` on.
    """
    rows = []
    for part, table in predictions.groupby("part", sort=False):
        logits = table[[f"logit_{name}" for name in dataset.outputs]].to_numpy()
        multilabel = [f"label_{name}" for name in dataset.outputs]
        labels = table[multilabel if dataset.task == "multilabel" else "label"].to_numpy()
        scores = evaluate(Predictions(dataset.task, logits, labels))
        patients = table["patient"].nunique()
        for metric, value in scores.items():
            target = metric == dataset.target_metric
            rows.append((part, metric, target, value, len(table), patients, training_images))
    return pd.DataFrame(rows, columns=list(METRICS.columns)[len(RUN_COLUMNS) :])
