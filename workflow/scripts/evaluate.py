"""Metrics, metrics of each class, diagrams and validation curves of a study's runs on one data set."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.diagrams import (
    RELIABILITY,
    RISK_COVERAGE,
    reliability_table,
    risk_coverage_table,
)
from medtransfer.evaluation.results import (
    CLASS_METRICS,
    CURVES,
    METRICS,
    class_metrics,
    join_runs,
    run_metrics,
    study_predictions,
)
from medtransfer.files import read_json
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="the study's table of runs")
    add("--root", type=Path, required=True, help="folder of all runs")
    add("--shift", type=Path, default=Path("results/shift"), help="folder of predictions elsewhere")
    add("--name", required=True, help="name of the data set")
    add_settings(parser, "--dataset", DatasetSettings)
    add("--metrics", type=Path, required=True, help="parquet table to write")
    add("--classes", type=Path, required=True, help="parquet table to write")
    add("--reliability", type=Path, required=True, help="parquet table to write")
    add("--risk-coverage", type=Path, required=True, help="parquet table to write")
    add("--curves", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    dataset = arguments.dataset
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    folders = [arguments.root / path for path in runs["path"]]
    predictions = study_predictions(runs, arguments.root, arguments.shift, dataset)
    records = [read_json(folder / "run.json") for folder in folders]
    metrics = [run_metrics(p, dataset, r) for p, r in zip(predictions, records, strict=True)]
    write_table(join_runs(runs, metrics), METRICS, arguments.metrics)
    for measure, schema, path in (
        (class_metrics, CLASS_METRICS, arguments.classes),
        (reliability_table, RELIABILITY, arguments.reliability),
        (risk_coverage_table, RISK_COVERAGE, arguments.risk_coverage),
    ):
        tables = [measure(table, dataset) for table in predictions]
        write_table(join_runs(runs, tables), schema, path)
    curves = [
        read_table(folder / "history.parquet").assign(metric=dataset.target_metric)
        for folder in folders
    ]
    write_table(join_runs(runs, curves)[list(CURVES.columns)], CURVES, arguments.curves)


if __name__ == "__main__":
    with shown_plainly():
        main()
