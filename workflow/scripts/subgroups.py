"""Metrics of the subgroups of patients in one data set, worst groups and gaps."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.subgroups import SUBGROUP_GAPS, SUBGROUPS, subgroup_tables
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="the study's table of runs")
    add("--root", type=Path, required=True, help="folder of all runs")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--name", required=True, help="name of the data set")
    add_settings(parser, "--dataset", DatasetSettings)
    add_settings(parser, "--study", StudySettings)
    add("--groups", type=Path, required=True, help="parquet table to write")
    add("--gaps", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    predictions = [read_table(arguments.root / path / "predictions.parquet") for path in runs["path"]]
    samples = read_table(arguments.samples)
    found = subgroup_tables(runs, predictions, samples, arguments.dataset, arguments.study)
    write_table(found.groups, SUBGROUPS, arguments.groups)
    write_table(found.gaps, SUBGROUP_GAPS, arguments.gaps)


if __name__ == "__main__":
    with shown_plainly():
        main()
