"""Metrics and validation curves of a study's runs on one data set."""

import argparse
import json
from pathlib import Path

import pandas as pd

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.results import CURVES, METRICS, join_runs, run_metrics
from medtransfer.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="the study's table of runs")
    parser.add_argument("--root", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--name", required=True, help="name of the data set")
    add_settings(parser, "--dataset", DatasetSettings)
    parser.add_argument("--metrics", type=Path, required=True, help="parquet table to write")
    parser.add_argument("--curves", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    dataset = arguments.dataset
    runs = pd.read_parquet(arguments.runs).query("dataset == @arguments.name")
    folders = [arguments.root / path for path in runs["path"]]
    metrics = [
        run_metrics(
            pd.read_parquet(folder / "predictions.parquet"),
            dataset,
            json.loads((folder / "run.json").read_text())["training_images"],
        )
        for folder in folders
    ]
    write_table(join_runs(runs, metrics), METRICS, arguments.metrics)
    curves = [
        pd.read_parquet(folder / "history.parquet").assign(metric=dataset.target_metric)
        for folder in folders
    ]
    write_table(join_runs(runs, curves)[list(CURVES.columns)], CURVES, arguments.curves)


if __name__ == "__main__":
    with shown_plainly():
        main()
