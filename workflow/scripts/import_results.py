"""Results from elsewhere as metrics of runs."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.results import ResultsSettings
from medtransfer.data.text_table import read_text_table
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.elsewhere import imported_metrics
from medtransfer.evaluation.results import METRICS
from medtransfer.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--results", ResultsSettings)
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    settings = arguments.results
    table = read_text_table(
        Path(settings.table), "no such table of results; place it there or correct 'results.table'"
    )
    write_table(imported_metrics(table, settings), METRICS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
