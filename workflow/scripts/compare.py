"""Means with intervals and paired gains of a study."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.comparison import GAINS, SUMMARY, compare, summarise
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add_settings(parser, "--study", StudySettings)
    parser.add_argument("--summary", type=Path, required=True, help="parquet table to write")
    parser.add_argument("--gains", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    metrics = read_tables(arguments.metrics)
    summary = summarise(metrics, arguments.study.confidence)
    write_table(summary, SUMMARY, arguments.summary)
    write_table(compare(metrics, arguments.study), GAINS, arguments.gains)


if __name__ == "__main__":
    with shown_plainly():
        main()
