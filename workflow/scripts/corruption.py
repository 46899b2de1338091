"""The target metric of runs on corrupted test images, and what it lost."""

import argparse
from pathlib import Path

import pandas as pd

from medtransfer.config.argument import add_settings
from medtransfer.config.corruptions import ALL_CORRUPTIONS
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.shift import CORRUPTION, corruption_table
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="table of the analysed runs")
    add("--predictions", type=Path, nargs="+", required=True, help="one a run, in order")
    add("--shift", type=Path, required=True, help="folder of predictions of corrupted images")
    add("--corruptions", nargs="+", required=True, choices=ALL_CORRUPTIONS)
    add_settings(parser, "--dataset", DatasetSettings)
    add_settings(parser, "--study", StudySettings)
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs)
    predictions = [read_table(path) for path in arguments.predictions]
    corrupted = [read_corrupted(arguments.shift / path, arguments.corruptions) for path in runs["path"]]
    table = corruption_table(runs, predictions, corrupted, arguments.dataset, arguments.study)
    write_table(table, CORRUPTION, arguments.output)


def read_corrupted(folder: Path, corruptions: list[str]) -> pd.DataFrame:
    tables = [read_table(folder / f"{corruption}.parquet") for corruption in corruptions]
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    with shown_plainly():
        main()
