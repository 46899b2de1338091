"""What each start of a study costs beside what it brings."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.costs import COSTS, cost_table
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--records", type=Path, required=True, help="the study's table of run records")
    add("--gains", type=Path, required=True, help="table of gains")
    add_settings(parser, "--study", StudySettings)
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    records, gains = read_table(arguments.records), read_table(arguments.gains)
    write_table(cost_table(records, gains, arguments.study), COSTS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
