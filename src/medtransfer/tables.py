"""Tables on disk: parquet files whose columns are declared once and checked when written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.errors import DataError


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
    """Check a table against its schema and write it as parquet, whole or not at all."""
    schema.check(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    table.to_parquet(partial, index=False)
    partial.replace(path)
