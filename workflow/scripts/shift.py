"""The target metric of a study's runs on other sites and data sets, and what it lost."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.results import study_predictions
from medtransfer.evaluation.shift import SHIFT, shift_table
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="the study's table of runs")
    add("--root", type=Path, required=True, help="folder of all runs")
    add("--shift", type=Path, required=True, help="folder of predictions elsewhere")
    add("--name", required=True, help="name of the data set")
    add_settings(parser, "--dataset", DatasetSettings)
    add_settings(parser, "--study", StudySettings)
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    dataset = arguments.dataset
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    predictions = study_predictions(runs, arguments.root, arguments.shift, dataset)
    write_table(shift_table(runs, predictions, dataset, arguments.study), SHIFT, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
