"""Turn the published layout of a public data set into a manifest."""

import argparse
from pathlib import Path

from medtransfer.config.access import AdapterSettings
from medtransfer.config.argument import add_settings
from medtransfer.data.adapters import adapt
from medtransfer.errors import shown_plainly
from medtransfer.tables import write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--adapter", AdapterSettings)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the published files")
    parser.add_argument("--output", type=Path, required=True, help="CSV table to write")
    arguments = parser.parse_args()
    write_csv(adapt(arguments.folder, arguments.adapter), arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
