"""Check that a manifest has the columns and values that a data set's settings name."""

import argparse
import hashlib
import json
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.manifest import read_manifest
from medtransfer.errors import shown_plainly
from medtransfer.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--dataset", DatasetSettings)
    parser.add_argument("--manifest", type=Path, required=True, help="CSV or parquet table")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    rows = len(read_manifest(arguments.manifest, arguments.dataset))
    digest = hashlib.sha256(arguments.manifest.read_bytes()).hexdigest()
    write_text(arguments.output, json.dumps({"rows": rows, "sha256": digest}) + "\n")


if __name__ == "__main__":
    with shown_plainly():
        main()
