"""The numbers that a paper has, to be shown beside those of a study."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from medtransfer.config.names import check_subset, parse_init
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.results import RUN_COLUMNS
from medtransfer.tables import Column, Schema

EVIDENCE = {
    "primary": "the authors' own files, or a table of theirs",
    "secondary": "another's quotation of the paper",
    "digitised": "read off a figure",
    "recollection": "from memory, not verified: context only",
}
PUBLISHED = Schema(
    name="published",
    row="a number of a study's paper",
    columns={
        "recipe": Column("text", "of the cell that it stands beside; '' for any"),
        **{name: RUN_COLUMNS[name] for name in ("dataset", "model", "init", "subset")},
        "output": Column("text", "class, or label of several; '' for the network as a whole"),
        "metric": Column("text", "name of the metric"),
        "value": Column("number", "the number, in the units of the metric"),
        "low": Column("number", "lower end of its interval; empty where none is given"),
        "high": Column("number", "upper end of that interval"),
        "spread": Column("number", "standard deviation of the runs; empty where none is given"),
        "runs": Column("number", "runs behind it; empty where not given"),
        "evidence": Column("text", ", ".join(f"{name}: {what}" for name, what in EVIDENCE.items())),
        "origin": Column("text", "where it stands, and what differs: another task, another statistic"),
    },
    families={},
)
FILLED = ("dataset", "model", "init", "subset", "metric", "value", "evidence", "origin")
NUMBERS = ("value", "low", "high", "spread", "runs")
PLACE = ["recipe", "dataset", "model", "init", "subset", "output", "metric"]


def published_numbers(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A paper's numbers, checked; columns that may be empty may be absent.

    Args:
        table: every cell as text, as :func:`medtransfer.data.text_table.read_text_table` reads it.
        name: of its file, for errors.

    Returns:
        A table of schema PUBLISHED.

    Raises:
        DataError: naming the file and column, what was found and what is allowed.
    """
    _check_columns(table, name)
    known = table.reindex(columns=list(PUBLISHED.columns)).astype(object).fillna("")
    for column in known:
        _check_column(known, str(column), name)
    numbers = {c: known[c].where(known[c] != "", "nan").astype(float) for c in NUMBERS}
    found = known.assign(**numbers)
    twice = found.duplicated(PLACE)
    if twice.any():
        line = int(twice.to_numpy().argmax()) + 2
        raise DataError(f"{name}, line {line}: a second number of one cell; allowed: one")
    return found


def _check_columns(table: pd.DataFrame, name: str) -> None:
    allowed = ", ".join(PUBLISHED.columns)
    missing = [column for column in FILLED if column not in table]
    if missing:
        raise DataError(f"{name}: no column '{missing[0]}'; allowed: {allowed}")
    unknown = [column for column in table if column not in PUBLISHED.columns]
    if unknown:
        raise DataError(f"{name}: column '{unknown[0]}'; allowed: {allowed}")


def _check_column(table: pd.DataFrame, column: str, name: str) -> None:
    for line, value in enumerate(table[column], start=2):
        needed = "a value" if column in FILLED else ""
        problem = _problem(value, column) if value else needed
        if problem:
            raise DataError(f"{name}, line {line}: '{column}' is '{value}'; allowed: {problem}")


def _problem(value: str, column: str) -> str:
    """What is allowed of a value that isn't; '' for one that is."""
    if column in NUMBERS:
        return "" if _is_number(value) else "a number"
    if column == "evidence":
        return "" if value in EVIDENCE else ", ".join(EVIDENCE)
    checks: dict[str, Callable[[str], object]] = {"init": parse_init, "subset": check_subset}
    try:
        checks.get(column, str)(value)
    except ConfigError as error:
        return f"a name of it: {error}"
    return ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
