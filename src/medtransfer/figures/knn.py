"""How well nearest neighbours tell the labels, by depth: before and after fine-tuning."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.figures.by_depth import (
    BEFORE,
    MAIN,
    analysed,
    by_depth,
    draw_means,
    draw_panels,
    label_units,
    line_keys,
    placed,
    without_branches,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note, ordered

POOLINGS = {
    "pooled": "",
    "both": ", class token and patches",
    "cls": ", class token",
    "patches": ", mean of patches",
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns), network and way to pool (rows).

    Args:
        tables: ``knn``.
    """
    table = tables["knn"]
    if table.empty:
        return note("no nearest neighbours: no run of this study is analysed")
    table = whole_units(analysed(table))
    if table["value"].isna().all():
        return note("no nearest neighbours: no analysed run has a whole start")
    styles = init_styles(table["init"])
    figure = draw_panels(
        table, lambda ax, rows: draw_scores(ax, rows, styles), (3.4, 2.2), share_y="col"
    )
    for ax in figure.axes:
        ax.tick_params(labelleft=True)
    line_keys(figure, {"after fine-tuning": MAIN, "before": BEFORE})
    legend_below(figure)
    return figure


def whole_units(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of units by network and way to pool, which becomes a part of the network's name."""
    groups = [
        without_branches(table[(table["model"] == model) & (table["pooling"] == pooling)])
        for model in ordered(table["model"])
        for pooling in POOLINGS
    ]
    found = pd.concat(groups)
    return found.assign(model=found["model"] + found["pooling"].map(POOLINGS))


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
