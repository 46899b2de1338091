"""Whether the analysed runs of a data set are right and wrong on the same test images."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import AGREEMENTS, agreement_of_runs
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="table of the analysed runs")
    add("--name", required=True, help="name of the data set")
    add("--predictions", type=Path, nargs="+", required=True, help="one a run, in order")
    add_settings(parser, "--dataset", DatasetSettings)
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    predictions = [read_table(path) for path in arguments.predictions]
    table = agreement_of_runs(runs, predictions, arguments.dataset)
    write_table(table, AGREEMENTS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
