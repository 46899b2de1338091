"""Whether representations that stayed alike go with gains."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.similarity_gains import (
    SIMILARITY_GAIN_POINTS,
    SIMILARITY_GAINS,
    similarity_gain_points,
    similarity_gains,
)
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cca", type=Path, nargs="+", required=True, help="canonical correlations, one a data set")
    add("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add_settings(parser, "--study", StudySettings)
    add("--points", type=Path, required=True, help="parquet table to write: the runs")
    add("--correlations", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    cca, metrics = (read_tables(paths) for paths in (arguments.cca, arguments.metrics))
    points = similarity_gain_points(cca, metrics, arguments.study)
    write_table(points, SIMILARITY_GAIN_POINTS, arguments.points)
    found = similarity_gains(points, arguments.study.confidence)
    write_table(found, SIMILARITY_GAINS, arguments.correlations)


if __name__ == "__main__":
    with shown_plainly():
        main()
