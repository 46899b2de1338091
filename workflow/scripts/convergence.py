"""When the runs of a study get to a threshold, and whether inits differ in that."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.convergence import (
    CONVERGENCE,
    CONVERGENCE_TESTS,
    compare_convergence,
    convergence_table,
)
from medtransfer.statistics.convergence_means import CONVERGENCE_MEANS, convergence_means
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--curves", type=Path, nargs="+", required=True, help="one a data set")
    add_settings(parser, "--study", StudySettings)
    add("--convergence", type=Path, required=True, help="parquet table to write")
    add("--tests", type=Path, required=True, help="parquet table to write")
    add("--means", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    study = arguments.study
    curves = read_tables(arguments.curves)
    convergence = convergence_table(
        curves,
        study.reference,
        study.statistics.convergence_share,
        study.statistics.convergence_value,
    )
    write_table(convergence, CONVERGENCE, arguments.convergence)
    tests = compare_convergence(convergence, study.reference, study.confidence)
    write_table(tests, CONVERGENCE_TESTS, arguments.tests)
    means = convergence_means(convergence, study.reference, study.confidence)
    write_table(means, CONVERGENCE_MEANS, arguments.means)


if __name__ == "__main__":
    with shown_plainly():
        main()
