"""How far each unit's weights moved from their start."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from medtransfer.figures.by_depth import (
    RUN,
    by_depth,
    draw_means,
    draw_panels,
    label_units,
    placed,
    run_keys,
    shown,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note

MEASURES = {
    "relative": "distance from the start,\nrelative to the start's length",
    "per_weight": "distance from the start\nby the number of weights",
}
# from where on a logarithmic axis shows more: largest by smallest
WIDE = 30


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The distances of whole starts in the drawn measures.

    Args:
        tables: ``weight_distance``.
    """
    table = tables["weight_distance"]
    if len(table):
        table = table[table["measure"].isin(MEASURES)]
    return {"weight_distance": shown(table, [*RUN, "unit", "order", "measure", "value"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network (rows) and measure (columns).

    Args:
        tables: ``weight_distance``.
    """
    table = select(tables)["weight_distance"]
    if table.empty:
        return note("no distances of weights: no run with a whole start is analysed in this study")
    table = table.sort_values("measure", key=lambda m: m.map(list(MEASURES).index), kind="stable")
    styles = init_styles(table["init"])
    figure = draw_panels(
        table, lambda ax, rows: draw_distances(ax, rows, styles), (3.4, 2.2),
        rows=("dataset", "model"), columns=("measure",),
    )  # fmt: skip
    run_keys(figure, table)
    legend_below(figure)
    return figure


def draw_distances(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """One line an init over the units; a logarithmic axis where the values span decades."""
    rows = placed(table, styles)
    for init, style in styles.items():
        draw_means(ax, rows[rows["init"] == init], style, label=init)
    scale_distances(ax, table["value"].to_numpy())
    label_units(ax, by_depth(table))
    ax.set_ylabel(MEASURES[table["measure"].iloc[0]])


def scale_distances(ax: Axes, values: np.ndarray) -> None:
    """A linear axis from 0, or a logarithmic one that is linear below the smallest distance above 0."""
    above = values[values > 0]
    if above.size and above.max() / above.min() > WIDE:
        if np.any(values == 0):
            ax.set_yscale("symlog", linthresh=above.min())
        else:
            ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
