"""Canonical correlations of each unit before with itself after fine-tuning."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import (
    CHANCE,
    MAIN,
    RUN,
    by_depth,
    draw_means,
    draw_panels,
    label_units,
    line_keys,
    placed,
    run_keys,
    same_network,
    shown,
)
from medtransfer.figures.style import RANDOM_COLOUR, InitStyle, init_styles, key, legend_below, note

MEASURES = {"svcca": "SVCCA", "pwcca": "PWCCA", "sampled_channels": "CCA of 64 channels"}
UNRELIABLE = "x"


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The correlations of whole starts with their ends, in the drawn measures.

    Args:
        tables: ``cca``.
    """
    table = tables["cca"]
    if len(table):
        table = same_network(table[table["measure"].isin(MEASURES)], "fine_tuning")
    columns = [*RUN, "point", "order", "measure", "value", "baseline", "rows", "reliable"]
    return {"cca": shown(table, columns)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network (rows) and measure (columns).

    Args:
        tables: ``cca``.
    """
    table = select(tables)["cca"]
    if table.empty:
        return note("no canonical correlations: no run with a whole start is analysed in this study")
    table = table.sort_values("measure", key=lambda m: m.map(list(MEASURES).index), kind="stable")
    styles = init_styles(table["init"])
    figure = draw_panels(
        table, lambda ax, rows: draw_correlations(ax, rows, styles), (2.4, 2.2),
        rows=("dataset", "model"), columns=("measure",), share_y=True,
    )  # fmt: skip
    figure.axes[0].set_ylim(0, 1.05)
    line_keys(figure, {"images shuffled": CHANCE})
    run_keys(figure, table)
    if not table["reliable"].all():
        key(figure, "too few rows for the channels", marker=UNRELIABLE, markersize=5)
    legend_below(figure)
    return figure


def draw_correlations(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init over the units with its baseline; crosses on values of too few rows."""
    rows = placed(table, styles, "point")
    for init, style in styles.items():
        own = rows[rows["init"] == init]
        draw_means(ax, own.assign(value=own["baseline"]), style, CHANCE)
        draw_means(ax, own, style, MAIN, label=init)
        doubtful = own[~own["reliable"].astype(bool)]
        if len(doubtful):
            mean = doubtful.groupby("place")["value"].mean()
            ax.plot(mean.index, mean, UNRELIABLE, color=RANDOM_COLOUR, markersize=6, zorder=5)
    label_units(ax, by_depth(table, "point"))
    ax.set_ylabel(f"{MEASURES[table['measure'].iloc[0]]},\nstart with end")
    ax.tick_params(labelleft=True)
