"""Draw one figure from its tidy tables, and write the rows that it shows."""

import argparse
import importlib
from pathlib import Path

import pandas as pd

from medtransfer.errors import shown_plainly
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.figures.rows import drawn_rows
from medtransfer.figures.style import apply_style, save_figure
from medtransfer.tables import read_table, write_csv


def table_argument(text: str) -> tuple[str, list[Path]]:
    name, _, paths = text.partition("=")
    return name, [Path(path) for path in paths.split(",") if path]


def read_rows(paths: list[Path]) -> pd.DataFrame:
    """The rows of all files; a table without columns where there is no file."""
    tables = [read_table(path) for path in paths]
    return pd.concat(tables) if tables else pd.DataFrame()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a module of medtransfer.figures")
    parser.add_argument(
        "--table",
        type=table_argument,
        action="append",
        required=True,
        metavar="NAME=PATH[,PATH...]",
        help="a table that the figure reads; may be given several times",
    )
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="PDF, PNG or SVG")
    parser.add_argument("--rows", type=Path, help="CSV table of what the figure shows")
    arguments = parser.parse_args()
    apply_style()
    tables = {name: read_rows(paths) for name, paths in arguments.table}
    module = importlib.import_module(f"medtransfer.figures.{arguments.name}")
    tables = distinguish_recipes(tables)
    save_figure(module.draw(tables), arguments.output)
    if arguments.rows is not None:
        write_csv(drawn_rows(module.select(tables)), arguments.rows)


if __name__ == "__main__":
    with shown_plainly():
        main()
