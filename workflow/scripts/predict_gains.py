"""Gains as the other data sets predict them."""

import argparse
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.statistics.gain_prediction import (
    PREDICTED_GAINS,
    PREDICTION_ERRORS,
    predicted_gains,
    prediction_errors,
)
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--points", type=Path, required=True, help="table of gains and what they may depend on")
    add("--scores", type=Path, nargs="?", help="table of transferability, where there is one")
    add("--confidence", type=float, default=0.95, help="of the intervals")
    add("--predicted", type=Path, required=True, help="parquet table to write")
    add("--errors", type=Path, required=True, help="parquet table to write: a row a predictor")
    arguments = parser.parse_args()
    scores = read_table(arguments.scores) if arguments.scores else None
    predicted = predicted_gains(read_table(arguments.points), scores, arguments.confidence)
    write_table(predicted, PREDICTED_GAINS, arguments.predicted)
    write_table(prediction_errors(predicted, arguments.confidence), PREDICTION_ERRORS, arguments.errors)


if __name__ == "__main__":
    with shown_plainly():
        main()
