"""How well nearest neighbours tell the labels, at all points of the analysed networks of a data set."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import KNN_BY_DEPTH, knn_by_depth
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="table of the analysed runs")
    add("--name", required=True, help="name of the data set")
    add("--activations", type=Path, nargs="+", required=True, help="two a run, in order")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add_settings(parser, "--dataset", DatasetSettings)
    add("--neighbours", type=int, default=200)
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    samples = read_table(arguments.samples)
    table = knn_by_depth(runs, arguments.activations, samples, arguments.dataset, arguments.neighbours)
    write_table(table, KNN_BY_DEPTH, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
