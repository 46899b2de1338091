"""Are two runs right and wrong on the same images, more often than their accuracies make it likely?"""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import PAIR, analysed
from medtransfer.figures.cells import GAP_COLOUR, TITLE_CHARACTERS, forest_height, label_rows, span
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    key,
    legend_below,
    note,
    offsets,
    ordered,
    panels,
)

SEEDS, INITS = "seeds", "inits"
# what is observed, what chance would give (none where it is 0), and what it is
MEASURES = (
    ("similarity", "chance", "both right or both wrong,\nshare of images"),
    ("error_overlap", "expected_error_overlap", "errors in common,\nshare of either's errors"),
    ("kappa", None, "Cohen's κ of\nthe two runs' classes"),
)
DRAWN = ("similarity", "chance", "error_overlap", "expected_error_overlap", "kappa")
WIDTH = 2.4
# of the means within a row, and of the pairs below them
MEAN, PAIRS_BELOW, SPREAD = -0.15, 0.2, 0.3
CHANCE: Any = {"marker": "|", "linestyle": "none", "color": "#666666"}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The pairs of runs of whole starts that differ in the seed or the init alone.

    Args:
        tables: ``agreement``.
    """
    table = tables["agreement"]
    if len(table):
        table = analysed(table[table["pair"].isin([SEEDS, INITS])])
        table = table[[*PAIR, "images", *DRAWN]].dropna(subset=list(DRAWN), how="all")
    return {"agreement": table}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One row of panels a data set and network: similarity, errors in common, kappa.

    Args:
        tables: ``agreement``.
    """
    table = select(tables)["agreement"]
    if table.empty:
        return note("no agreement: no two analysed runs differ in the seed or the init alone")
    table = table.assign(group=[group_name(row) for _, row in table.iterrows()])
    table = table.sort_values("pair", ascending=False, kind="stable")
    styles = init_styles([*table["init_a"], *table["init_b"]])
    cells = [rows for _, rows in table.groupby(["dataset", "model_a"], sort=False)]
    heights = [forest_height(rows["group"].nunique(), 1.5, lines=2) for rows in cells]
    size = (WIDTH, float(np.mean(heights)))
    figure, axes = panels(len(cells), len(MEASURES), size, heights=heights)
    for places, rows in zip(axes, cells, strict=True):
        draw_cell(places, rows, styles)
    key(figure, "mean of the pairs", marker="o", markersize=6)
    key(figure, "a pair of runs", marker="o", markersize=2.5, alpha=0.5)
    key(figure, "lowest to highest pair", linestyle="-", linewidth=0.8)
    key(figure, "expected by chance", **CHANCE)
    legend_below(figure)
    return figure


def draw_cell(axes: np.ndarray, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The three panels of one data set and network, of which the first names the rows."""
    groups = ordered(table["group"])
    counts = table["group"].value_counts()
    for ax, (observed, expected, label) in zip(axes, MEASURES, strict=True):
        for place, name in enumerate(groups):
            draw_group(ax, place, table[table["group"] == name], (observed, expected), styles)
        ax.set_xlabel(label)
        label_rows(ax, [f"{name} (n = {counts[name]})" for name in groups])
        ax.tick_params(labelleft=ax is axes[0])
    axes[-1].axvline(0, color=GAP_COLOUR, linewidth=0.8)
    cell = f"{table['dataset'].iloc[0]}, {table['model_a'].iloc[0]}"
    name = fill(cell, int(WIDTH * TITLE_CHARACTERS))
    axes[0].set_title(f"{name}\n{span(table['images'])} images", loc="left")


def group_name(row: pd.Series) -> str:
    """What the two runs of a pair are."""
    if row["pair"] == SEEDS:
        return f"{row['init_a']}: two seeds"
    return f"{row['init_a']} and {row['init_b']}"


def marker(row: pd.Series, styles: dict[str, InitStyle]) -> dict[str, Any]:
    """The init's own marker for two seeds; for two inits a hexagon, half in the colour of each."""
    a, b = (styles[row[f"init_{side}"]] for side in ("a", "b"))
    faces = [style.colour if style.filled else "white" for style in (a, b)]
    if row["pair"] == SEEDS:
        return {"marker": a.marker, "color": a.colour, "markerfacecolor": faces[0]}
    return {
        "marker": "h", "fillstyle": "left", "color": b.colour if b.filled else a.colour,
        "markerfacecolor": faces[0], "markerfacecoloralt": faces[1],
    }  # fmt: skip


def draw_group(
    ax: Axes,
    place: int,
    pairs: pd.DataFrame,
    names: tuple[str, str | None],
    styles: dict[str, InitStyle],
) -> None:
    """The mean of a group with its range, each pair below it, and what chance would give of both.

    Args:
        ax: where to draw.
        place: of the group's row.
        pairs: N, of one group.
        names: columns with what was observed, and what chance gives or None.
        styles: of inits.
    """
    observed, expected = names
    known = pairs.dropna(subset=[name for name in names if name is not None])
    if known.empty:
        return
    values = known[observed].to_numpy(dtype=float)
    rows = place + PAIRS_BELOW + offsets(len(values), SPREAD)
    if expected is not None:
        by_chance = known[expected].to_numpy(dtype=float)
        ax.plot(by_chance, rows, **CHANCE, markersize=3, alpha=0.6)
        ax.plot([by_chance.mean()], [place + MEAN], **CHANCE, markersize=9)
    look = marker(known.iloc[0], styles) | {"linestyle": "none"}
    ax.hlines(place + MEAN, values.min(), values.max(), look["color"], linewidth=0.8)
    ax.plot(values, rows, **look, markersize=2.5, alpha=0.5, markeredgewidth=0.3)
    ax.plot([values.mean()], [place + MEAN], **look, markersize=6, markeredgewidth=0.7)
