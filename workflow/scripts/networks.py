"""How large the networks of a study are."""

import argparse
import json
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.statistics.networks import NETWORKS, networks
from medtransfer.tables import read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add("--families", type=json.loads, required=True, help="JSON text: network to its family")
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    metrics = read_tables(arguments.metrics)
    write_table(networks(metrics, arguments.families), NETWORKS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
