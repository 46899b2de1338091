"""What the gains of a study depend on: points and models."""

import argparse
import json
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.gain_factors import (
    GAIN_FACTORS,
    GAIN_POINTS,
    gain_factors,
    gain_points,
)
from medtransfer.tables import read_table, read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--gains", type=Path, required=True, help="table of paired differences")
    add("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add("--distances", type=Path, nargs="?", help="table of domain distances, where there is one")
    add("--families", type=json.loads, required=True, help="JSON text: network to its family")
    add_settings(parser, "--study", StudySettings)
    add("--points", type=Path, required=True, help="parquet table to write: a row a gain")
    add("--models", type=Path, required=True, help="parquet table to write: a row a term")
    arguments = parser.parse_args()
    metrics = read_tables(arguments.metrics)
    distances = read_table(arguments.distances) if arguments.distances else None
    gains = read_table(arguments.gains)
    points = gain_points(gains, metrics, arguments.families, distances, arguments.study)
    write_table(points, GAIN_POINTS, arguments.points)
    write_table(gain_factors(points, arguments.study), GAIN_FACTORS, arguments.models)


if __name__ == "__main__":
    with shown_plainly():
        main()
