"""The share of training data with which each init matches the reference with all of it."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.label_efficiency import LABEL_EFFICIENCY, label_efficiency
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add_settings(parser, "--study", StudySettings)
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    study = arguments.study
    metrics = read_tables(arguments.metrics)
    found = label_efficiency(metrics, study.reference, study.confidence, study.statistics.resamples)
    write_table(found, LABEL_EFFICIENCY, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
