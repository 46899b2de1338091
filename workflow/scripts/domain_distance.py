"""How far data sets are from the sources' own images, in the features of one network."""

import argparse
import json
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.representation.analysed import study_distances
from medtransfer.representation.domain_distance import DOMAIN_DISTANCE
from medtransfer.representation.embedding import read_embedding
from medtransfer.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=Path, nargs="*", default=[], help="one a data set")
    parser.add_argument("--sources", type=json.loads, required=True, help="JSON: source -> data set")
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    embeddings = [read_embedding(path) for path in arguments.embeddings]
    table = study_distances(embeddings, arguments.sources, arguments.confidence)
    write_table(table, DOMAIN_DISTANCE, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
