"""Networks that were alike at their start beside how alike they ended."""

import argparse
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.representation.start_end import (
    START_END,
    START_END_CORRELATION,
    start_end,
    start_end_correlations,
)
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cca", type=Path, required=True, help="table of canonical correlations")
    add("--start-end", type=Path, required=True, help="parquet table to write")
    add("--correlations", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    table = start_end(read_table(arguments.cca))
    write_table(table, START_END, arguments.start_end)
    write_table(start_end_correlations(table), START_END_CORRELATION, arguments.correlations)


if __name__ == "__main__":
    with shown_plainly():
        main()
