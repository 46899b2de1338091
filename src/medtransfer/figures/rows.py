"""The rows that a figure shows, as one table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def drawn_rows(selected: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of a figure's tables below each other.

    Args:
        selected: what the figure's ``select`` returned, by the names of the tables.

    Returns:
        The rows of the tables that have any, and, of a figure of several tables, whose row each is in
        the first column, ``table``. Columns that a table lacks are empty in its rows.
    """
    shown = {name: table for name, table in selected.items() if len(table)}
    if len(selected) == 1 or not shown:
        return next(iter(selected.values())).reset_index(drop=True)
    named = [table.reset_index(drop=True) for table in shown.values()]
    for name, table in zip(shown, named, strict=True):
        table.insert(0, "table", name)
    return pd.concat(named, ignore_index=True)
