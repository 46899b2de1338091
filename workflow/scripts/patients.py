"""What other patients would change in a study's results on one data set."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.results import study_predictions
from medtransfer.statistics.patients import PATIENT_INTERVALS, patient_intervals
from medtransfer.statistics.run_pairs import RUN_PAIRS, run_pairs
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="the study's table of runs")
    add("--root", type=Path, required=True, help="folder of all runs")
    add("--shift", type=Path, default=Path("results/shift"), help="folder of predictions elsewhere")
    add("--name", required=True, help="name of the data set")
    add_settings(parser, "--dataset", DatasetSettings)
    add_settings(parser, "--study", StudySettings)
    add("--intervals", type=Path, required=True, help="parquet table to write")
    add("--run-pairs", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    dataset, study = arguments.dataset, arguments.study
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    predictions = study_predictions(runs, arguments.root, arguments.shift, dataset)
    intervals = patient_intervals(runs, predictions, dataset, study)
    write_table(intervals, PATIENT_INTERVALS, arguments.intervals)
    write_table(run_pairs(runs, predictions, dataset, study), RUN_PAIRS, arguments.run_pairs)


if __name__ == "__main__":
    with shown_plainly():
        main()
