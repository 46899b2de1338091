"""Check that a manifest has the columns and values that a data set's settings name."""

import argparse
import hashlib
import json
from pathlib import Path

from medtransfer.config.argument import settings_argument
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.manifest import read_manifest
from medtransfer.errors import shown_plainly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset",
        type=settings_argument(DatasetSettings),
        required=True,
        help="YAML file (as in config/datasets/) or JSON text",
    )
    parser.add_argument("--manifest", type=Path, required=True, help="CSV or parquet table")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    rows = len(read_manifest(arguments.manifest, arguments.dataset))
    digest = hashlib.sha256(arguments.manifest.read_bytes()).hexdigest()
    arguments.output.write_text(json.dumps({"rows": rows, "sha256": digest}) + "\n")


if __name__ == "__main__":
    with shown_plainly():
        main()
