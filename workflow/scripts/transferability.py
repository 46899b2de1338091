"""What sources' features promise before fine-tuning, and how it goes with the gains."""

import argparse
import json
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import SCORES_AND_GAINS, scores_and_gains
from medtransfer.representation.embedding import read_embedding
from medtransfer.representation.rank_correlation import (
    TRANSFERABILITY_CORRELATION,
    transferability_correlations,
)
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--embeddings", type=Path, nargs="*", default=[], help="of sources' networks")
    add("--gains", type=Path, required=True, help="table of the study's gains")
    add("--reference", required=True, help="init that gains are measured against")
    add("--tasks", type=json.loads, required=True, help="JSON: data set -> task, metric")
    add("--models", type=json.loads, required=True, help="JSON: network -> whose weights")
    add("--scores", type=Path, required=True, help="parquet table to write")
    add("--correlations", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    embeddings = [read_embedding(path) for path in arguments.embeddings]
    gains = read_table(arguments.gains)
    table = scores_and_gains(embeddings, gains, arguments.reference, arguments.tasks, arguments.models)
    write_table(table, SCORES_AND_GAINS, arguments.scores)
    found = transferability_correlations(table)
    write_table(found, TRANSFERABILITY_CORRELATION, arguments.correlations)


if __name__ == "__main__":
    with shown_plainly():
        main()
