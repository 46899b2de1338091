"""Draw an embedded data set from its seed: image files and a manifest."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import GeneratorSettings
from medtransfer.data.embedded.generate import generate_dataset
from medtransfer.errors import shown_plainly
from medtransfer.locks import PATIENCE_SECONDS, hidden_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--generator", GeneratorSettings)
    parser.add_argument("--folder", type=Path, required=True, help="where the data set goes")
    arguments = parser.parse_args()
    with hidden_folder(arguments.folder / ".drawing", PATIENCE_SECONDS, "drawing this data set"):
        generate_dataset(arguments.generator, arguments.folder)


if __name__ == "__main__":
    with shown_plainly():
        main()
