"""One table of a data set's analysed runs from a table of each."""

import argparse
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.evaluation.results import join_runs
from medtransfer.representation.analysed import JOINED
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of the analysed runs")
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--kind", required=True, choices=sorted(JOINED), help="of the tables")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="one a run, in order")
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = read_table(arguments.runs).query("dataset == @arguments.name")
    tables = [read_table(path) for path in arguments.tables]
    write_table(join_runs(runs, tables), JOINED[arguments.kind], arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
