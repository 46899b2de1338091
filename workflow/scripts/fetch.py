"""Fetch the files of a public data set, verify them, and check that all that is expected is there."""

import argparse
import sys
from pathlib import Path

from medtransfer.config.access import AccessSettings
from medtransfer.config.argument import add_settings
from medtransfer.data.fetch import fetch
from medtransfer.errors import shown_plainly
from medtransfer.files import write_json
from medtransfer.locks import PATIENCE_SECONDS, hidden_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--access", AccessSettings)
    parser.add_argument("--folder", type=Path, required=True, help="where the files go")
    parser.add_argument("--connections", type=int, default=2, help="files fetched at once, at most")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    name = arguments.folder.absolute().name

    def show(line: str) -> None:
        print(f"{name}: {line}", flush=True)

    sys.stdout.reconfigure(errors="backslashreplace")  # a client may say what a terminal can't show
    with hidden_folder(arguments.folder / ".fetching", PATIENCE_SECONDS, "fetching these files"):
        record = fetch(arguments.access, arguments.folder, arguments.connections, show)
    write_json(arguments.output, record)


if __name__ == "__main__":
    with shown_plainly():
        main()
