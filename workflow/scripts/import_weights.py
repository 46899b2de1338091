"""Check pre-trained weights, fetched if need be, and store them as safetensors with a sidecar."""

import argparse
import sys
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.model import ModelSettings
from medtransfer.config.source import WeightFileSettings
from medtransfer.errors import shown_plainly
from medtransfer.locks import PATIENCE_SECONDS, hidden_folder
from medtransfer.models.source import import_weights
from medtransfer.models.weights import save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--file", WeightFileSettings)
    add_settings(parser, "--model", ModelSettings)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()

    def show(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    hidden = arguments.output.with_name(f".{arguments.output.stem}.import")
    with hidden_folder(hidden, PATIENCE_SECONDS, f"bringing {arguments.output}"):
        state, sidecar = import_weights(arguments.file, arguments.model, show)
        save_weights(state, arguments.output, sidecar)


if __name__ == "__main__":
    with shown_plainly():
        main()
