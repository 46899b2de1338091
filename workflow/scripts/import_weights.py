"""Check a file of pre-trained weights and store it as safetensors with its sidecar."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.source import WeightFileSettings
from medtransfer.errors import shown_plainly
from medtransfer.models.weights import import_weights, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--file", WeightFileSettings)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    file = arguments.file
    state = import_weights(Path(file.path), file.sha256)
    save_weights(state, arguments.output, file.origin, file.mean, file.std)


if __name__ == "__main__":
    with shown_plainly():
        main()
