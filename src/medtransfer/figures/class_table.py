"""The AUROC of each output as a table: networks by outputs and starts."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.main_table import (
    CELL,
    Letters,
    paper_lines,
    published_beside,
    remark_letters,
    row_names,
    runs_line,
    start_columns,
    without_recipe,
)
from medtransfer.figures.style import note, ordered
from medtransfer.figures.typeset import Band, Group, arranged, draw_table

METRIC = "auroc"
SUMMARY = (*CELL, "output", "mean", "low", "high", "runs", "positives", "images")
# what a table is about, beside its rows and columns
BLOCK = ["dataset", "subset"]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The AUROC of each of several outputs on the test part, of whole starts, and the paper's numbers.

    Args:
        tables: ``class_summary`` and ``published``.
    """
    summary = tables["class_summary"]
    if not summary.empty:
        summary = summary[(summary["part"] == "test") & (summary["metric"] == METRIC)]
        summary = without_recipe(whole_starts(summary))[list(SUMMARY)]
        # a network with one output has its AUROC in the main table
        summary = summary[summary.groupby("dataset")["output"].transform("nunique") > 1]
    return {"class_summary": summary, "published": published_beside(summary, tables["published"], True)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A table for each data set and amount of training data; wide ones go on below.

    Args:
        tables: ``class_summary`` and ``published``.
    """
    chosen = select(tables)
    summary, published = chosen["class_summary"], chosen["published"]
    if summary.empty:
        return note("no outputs to tell apart: each network of this study has one, or no test images")
    letters = remark_letters(published)
    usual = int(summary["runs"].max())
    bands = []
    for names, rows in summary.groupby(BLOCK, sort=False):
        beside = published[(published[BLOCK] == list(names)).all(axis=1)]
        bands += _bands(rows, beside, usual, letters)
    about = "Mean AUROC of each output against the rest on the test part"
    return draw_table(bands, [runs_line(about, summary, usual), *paper_lines(letters)])


def _bands(summary: pd.DataFrame, published: pd.DataFrame, usual: int, letters: Letters) -> list[Band]:
    """Of one data set and amount of training data."""
    several = summary["recipe"].nunique() > 1
    first = summary.iloc[0]
    title = f"{first['dataset']}, training data: {first['subset']}, {first['images']:,} test images"
    groups = []
    for output, rows in summary.groupby("output", sort=False):
        rows = rows.assign(row=row_names(rows, several))
        beside = published[published["output"] == output]
        name = f"{output}\n{rows['positives'].max():,} positive"
        groups.append(Group(name, ordered(rows["row"]), start_columns(rows, beside, usual, letters)))
    return arranged(title, groups)
