"""CKA of all points of the analysed networks of a data set."""

import argparse
from pathlib import Path

import pandas as pd

from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import by_split
from medtransfer.representation.cka_table import CKA, cka_of_points, cka_table
from medtransfer.representation.zoo_map import ZOO_MAP, zoo_map
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="table of the analysed runs")
    add("--name", required=True, help="name of the data set")
    add("--activations", type=Path, nargs="+", required=True, help="two a run, in order")
    add("--confidence", type=float, default=0.95, help="of the intervals")
    add("--cka", type=Path, required=True, help="parquet table to write")
    add("--zoo-map", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    tables, maps = [], []
    for networks in by_split(runs, arguments.activations):
        values = cka_of_points(networks)
        tables.append(cka_table(networks, arguments.confidence, values=values))
        maps.append(zoo_map(networks, values))
    write_table(pd.concat(tables, ignore_index=True), CKA, arguments.cka)
    write_table(pd.concat(maps, ignore_index=True), ZOO_MAP, arguments.zoo_map)


if __name__ == "__main__":
    with shown_plainly():
        main()
