"""Canonical correlations of the analysed networks of a data set."""

import argparse
from pathlib import Path

import pandas as pd

from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import by_split
from medtransfer.representation.cca_protocols import TOP_LAYERS
from medtransfer.representation.cca_table import CCA, cca_table, top_layers
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="table of the analysed runs")
    add("--name", required=True, help="name of the data set")
    add("--activations", type=Path, nargs="+", required=True, help="two a run, in order")
    add("--cca", type=Path, required=True, help="parquet table to write")
    add("--top-layers", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    tables = [cca_table(networks) for networks in by_split(runs, arguments.activations)]
    table = pd.concat(tables, ignore_index=True)
    write_table(table, CCA, arguments.cca)
    write_table(top_layers(table), TOP_LAYERS, arguments.top_layers)


if __name__ == "__main__":
    with shown_plainly():
        main()
