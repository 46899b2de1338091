"""Choose the learning rate of a cell's runs: the candidate with the best value on validation."""

import argparse
import json
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.files import read_json, write_text
from medtransfer.tables import write_table
from medtransfer.training.search import SEARCHES, search_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cell", required=True, help="<recipe>/<dataset>/<model>/<init>/<subset>/<split> of the runs")
    add("--record", type=Path, nargs="+", required=True, help="run.json of each candidate")
    add("--choice", type=Path, required=True, help="JSON file to write, which holds the rate alone")
    add("--candidates", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    records = [read_json(path) for path in arguments.record]
    table = search_table(arguments.cell.split("/"), records)
    (rate,) = table.loc[table["chosen"], "learning_rate"]
    write_table(table, SEARCHES, arguments.candidates)
    write_text(arguments.choice, json.dumps({"learning_rate": rate}) + "\n")


if __name__ == "__main__":
    with shown_plainly():
        main()
