"""The numbers of a paper as a checked table."""

import argparse
from pathlib import Path

from medtransfer.data.text_table import read_text_table
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.published import PUBLISHED, published_numbers
from medtransfer.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV table of the paper's numbers")
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    missing = "no such table; place it there or correct the study's key 'published'"
    table = read_text_table(arguments.table, missing)
    write_table(published_numbers(table, arguments.table.name), PUBLISHED, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
