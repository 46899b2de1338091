"""Assign the images of a store to training, validation, test and external parts."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.splits import SPLIT, make_split
from medtransfer.errors import shown_plainly
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--dataset", DatasetSettings)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet of the store")
    parser.add_argument("--duplicates", type=Path, required=True, help="its pairs of duplicates")
    parser.add_argument("--split", required=True, help="holdout, published[-<fold>], cv<folds>-<fold>")
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    samples = read_table(arguments.samples)
    duplicates = read_table(arguments.duplicates)
    split = make_split(samples, duplicates, arguments.dataset, arguments.split)
    write_table(split, SPLIT, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
