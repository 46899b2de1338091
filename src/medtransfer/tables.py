"""Tables on disk: parquet files whose columns are declared once and checked when written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.disk_problems import damage_named
from medtransfer.errors import DataError
from medtransfer.files import written_whole


@dataclass(frozen=True)
class Column:
    """One column: its kind (``text``, ``integer``, ``number``, ``truth``) and what it means."""

    kind: str
    meaning: str


@dataclass(frozen=True)
class Schema:
    """The columns of one table, in order.

    ``families`` are columns whose names start with a prefix and end with a name from the data,
    such as ``label_edema``; a table may have none or many of each.
    """

    name: str
    row: str
    columns: dict[str, Column]
    families: dict[str, Column]

    def check(self, table: pd.DataFrame) -> None:
        """Raise DataError unless the table has these columns, all of them, of these kinds."""
        missing = [name for name in self.columns if name not in table]
        if missing:
            raise DataError(f"table {self.name}: missing column {', '.join(missing)}")
        for name in table.columns:
            column = self._declaration(str(name))
            if column is None:
                raise DataError(f"table {self.name}: undeclared column {name}")
            if not _is_kind(table[name], column.kind):
                found = table[name].dtype
                raise DataError(f"table {self.name}: column {name} is {found}, not {column.kind}")

    def _declaration(self, name: str) -> Column | None:
        if name in self.columns:
            return self.columns[name]
        families = (c for prefix, c in self.families.items() if name.startswith(prefix))
        return next(families, None)


def _is_kind(column: pd.Series, kind: str) -> bool:
    if kind == "text":
        return all(isinstance(value, str) or pd.isna(value) for value in column)
    checks = {
        "integer": pd.api.types.is_integer_dtype,
        "number": _is_number,
        "truth": pd.api.types.is_bool_dtype,
    }
    return bool(checks[kind](column))


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def table_of(rows: Iterable[Mapping[str, Any]], schema: Schema) -> pd.DataFrame:
    """A table of rows with the schema's columns, of its kinds, also where there is no row."""
    table = pd.DataFrame(list(rows), columns=list(schema.columns))
    kinds = {"integer": "int64", "number": "float64", "truth": "bool", "text": "object"}
    return table.astype({name: kinds[column.kind] for name, column in schema.columns.items()})


def family(table: pd.DataFrame, prefix: str) -> list[str]:
    """The columns of a family, in the table's order."""
    return [str(column) for column in table if str(column).startswith(prefix)]


def write_table(table: pd.DataFrame, schema: Schema, path: Path) -> None:
    """Check a table against its schema and write it as parquet, whole or not at all.

    Each page of the file has a checksum, so that :func:`read_table` notices damage within.
    """
    schema.check(table)
    with written_whole(path) as partial:
        table.to_parquet(partial, index=False, write_page_checksum=True)


def read_table(path: Path) -> pd.DataFrame:
    """A table that :func:`write_table` wrote.

    Raises:
        FileError: no such file, or a damaged one.
    """
    with damage_named(path, "parquet table", (ValueError, KeyError, NotImplementedError)):
        return pd.read_parquet(path, page_checksum_verification=True)


def read_tables(paths: Iterable[Path]) -> pd.DataFrame:
    """The rows of all files; a table without columns where there is no file."""
    tables = [read_table(path) for path in paths]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    with written_whole(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
