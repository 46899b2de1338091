"""Count what a data set and its splits hold, and what is wrong with them."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.audit import audit_dataset
from medtransfer.data.audit_page import audit_page
from medtransfer.errors import shown_plainly
from medtransfer.files import write_json, write_text
from medtransfer.tables import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_settings(parser, "--dataset", DatasetSettings)
    add("--name", required=True, help="of the data set, for the page's title")
    add("--folder", type=Path, required=True, help="of the store; its tables are read")
    add("--split", type=Path, nargs="+", required=True, help="tables of splits")
    add("--output", type=Path, required=True, help="JSON file to write")
    add("--page", type=Path, required=True, help="HTML page to write")
    arguments = parser.parse_args()
    names = ("samples", "rejected", "duplicates")
    tables = {name: read_table(arguments.folder / f"{name}.parquet") for name in names}
    splits = {path.stem: read_table(path) for path in arguments.split}
    audit = audit_dataset(**tables, splits=splits, dataset=arguments.dataset)
    write_json(arguments.output, audit)
    write_text(arguments.page, audit_page(arguments.name, audit, arguments.dataset))


if __name__ == "__main__":
    with shown_plainly():
        main()
