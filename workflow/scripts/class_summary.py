"""Means with intervals of each output's ranking."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.class_summary import CLASS_SUMMARY, summarise_classes
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=Path, nargs="+", required=True, help="one a data set")
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add_settings(parser, "--study", StudySettings)
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    classes, metrics = (read_tables(paths) for paths in (arguments.classes, arguments.metrics))
    summary = summarise_classes(classes, metrics, arguments.study.confidence)
    write_table(summary, CLASS_SUMMARY, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
