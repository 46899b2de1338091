"""How well nearest neighbours tell the labels, by depth: before and after fine-tuning."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.figures.by_depth import (
    BEFORE,
    MAIN,
    RUN,
    by_depth,
    draw_means,
    draw_panels,
    label_units,
    line_keys,
    placed,
    run_keys,
    shown,
    without_branches,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note, ordered

POOLINGS = {
    "pooled": "",
    "both": ", class token and patches",
    "cls": ", class token",
    "patches": ", mean of patches",
}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The scores at the units of whole starts, the networks in their order.

    Args:
        tables: ``knn``.
    """
    columns = [
        *RUN,
        "moment",
        "point",
        "order",
        "pooling",
        "k",
        "metric",
        "value",
        "bank_images",
        "images",
    ]
    table = shown(tables["knn"], columns)
    if table.empty:
        return {"knn": table}
    # a branch is known by the other points of its network
    groups = [
        without_branches(table[(table["model"] == model) & (table["pooling"] == pooling)])
        for model in ordered(table["model"])
        for pooling in POOLINGS
    ]
    return {"knn": pd.concat(groups)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns), network and way to pool (rows).

    Args:
        tables: ``knn``.
    """
    table = select(tables)["knn"]
    if table.empty:
        return note("no nearest neighbours: no run with a whole start is analysed in this study")
    table = table.assign(model=table["model"] + table["pooling"].map(POOLINGS))
    styles = init_styles(table["init"])
    figure = draw_panels(
        table, lambda ax, rows: draw_scores(ax, rows, styles), (3.4, 2.2), share_y="col"
    )
    for ax in figure.axes:
        ax.tick_params(labelleft=True)
    line_keys(figure, {"after fine-tuning": MAIN, "before": BEFORE})
    run_keys(figure, table)
    legend_below(figure)
    return figure


def draw_scores(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """Two lines an init over the units: at the start and at the end of the runs."""
    rows = placed(table, styles, "point")
    for init, style in styles.items():
        own = rows[rows["init"] == init]
        draw_means(ax, own[own["moment"] == "start"], style, BEFORE)
        draw_means(ax, own[own["moment"] == "end"], style, MAIN, label=init)
    label_units(ax, by_depth(table, "point"))
    metric, k = table["metric"].iloc[0], table["k"].max()
    ax.set_ylabel(f"test {METRIC_LABELS.get(metric, metric)}\nof {k} neighbours")
