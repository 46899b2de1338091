"""Decode the images of a manifest into a pixel store."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.manifest import read_manifest
from medtransfer.data.privacy import load_key
from medtransfer.data.store import build_store
from medtransfer.errors import shown_plainly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--dataset", DatasetSettings)
    parser.add_argument("--manifest", type=Path, required=True, help="CSV or parquet table")
    parser.add_argument(
        "--key", type=Path, required=True, help="secret of the patient hashes; made when missing"
    )
    parser.add_argument("--workers", type=int, default=1, help="decoding processes")
    parser.add_argument("--folder", type=Path, required=True, help="where the store goes")
    arguments = parser.parse_args()
    manifest = read_manifest(arguments.manifest, arguments.dataset)
    key = load_key(arguments.key)
    build_store(
        manifest,
        arguments.dataset,
        key,
        arguments.folder,
        arguments.workers,
        report=lambda line: print(f"{arguments.folder.name}: {line}", flush=True),
    )


if __name__ == "__main__":
    with shown_plainly():
        main()
