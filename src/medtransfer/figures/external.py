"""From the test set to other sites and data sets: the same networks, no adaptation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    ZERO_LINE,
    draw_intervals,
    interval_key,
    mark_gap,
    mark_missing,
    metric_label,
    missing_key,
    name_networks,
    span,
)
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    legend_below,
    note,
    offsets,
    ordered,
    panels,
)

# between the ticks of the two parts, and over which inits are spread, in networks
APART, SPREAD = 0.44, 0.36
# least widths of the panels of values and of drops, and more of them for many networks, inches
WIDTHS, NETWORK_WIDTHS, HEIGHT = (3.4, 2.6), (0.95, 0.6), 2.2


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The inits' own values on the test set and elsewhere, and what they lose.

    Args:
        tables: ``shift``.
    """
    shift = tables["shift"]
    return {"shift": shift if shift.empty else whole_starts(shift[shift["reference"] == ""])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two panels for each data set and other part (rows) and subset (columns): values and drops.

    Args:
        tables: ``shift``.
    """
    shift = select(tables)["shift"]
    if shift.empty:
        return note("no data set of this study names external sites or other data sets")
    parts = shift[["dataset", "part"]].drop_duplicates().to_numpy().tolist()
    subsets = ordered(shift["subset"])
    styles = init_styles(shift["init"])
    networks = shift["model"].nunique()
    widths = [max(least, networks * one) for least, one in zip(WIDTHS, NETWORK_WIDTHS, strict=True)]
    size = (float(np.mean(widths)), HEIGHT)
    figure, axes = panels(len(parts), 2 * len(subsets), size, widths=widths * len(subsets))
    for row, (dataset, part) in zip(axes, parts, strict=True):
        for block, subset in zip(np.split(row, len(subsets)), subsets, strict=True):
            chosen = (shift["dataset"] == dataset) & (shift["part"] == part)
            cells = shift[chosen & (shift["subset"] == subset)]
            if cells.empty:
                mark_gap(block)
                continue
            draw_values(block[0], cells, styles)
            draw_drops(block[1], cells, styles)
    interval_key(figure, "interval over patients")
    missing_key(figure)
    legend_below(figure)
    return figure


def place_name(part: str) -> str:
    """Where the images of a part are from: another site, or a data set's name."""
    return part.removeprefix("external-") if part != "external" else "other site"


def draw_values(ax: Axes, cells: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """For each network and init a line from the mean on the test set to that on the other part.

    Args:
        ax: where to draw.
        cells: of one data set, other part and subset.
        styles: of inits.
    """
    models = ordered(cells["model"])
    ticks, names = [], []
    for place, model in enumerate(models):
        for shift, (init, style) in zip(offsets(len(styles), SPREAD), styles.items(), strict=True):
            cell = cells[(cells["model"] == model) & (cells["init"] == init)]
            cell = cell.set_index("quantity").reindex(["test", "there"])
            ends = place + np.array([-APART / 2, APART / 2]) + shift
            draw_intervals(ax, ends, cell, style, label=init)
        ticks += [place - APART / 2, place, place + APART / 2]
        names += ["test", f"\n{model}", "there"]
    ax.set_xticks(ticks, names)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel(f"{metric_label(cells)} ({span(cells['runs'])} runs)")
    first = cells.iloc[0]
    ax.set_title(f"{first['dataset']}, {first['subset']}, there: {place_name(first['part'])}")


def draw_drops(ax: Axes, cells: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """What each network and init loses, with its interval, around a line at no loss."""
    ax.axhline(0, **ZERO_LINE)
    models = ordered(cells["model"])
    drops = cells[cells["quantity"] == "drop"]
    for shift, (init, style) in zip(offsets(len(styles), 0.75), styles.items(), strict=True):
        own = drops[drops["init"] == init].set_index("model").reindex(models)
        draw_intervals(ax, np.arange(len(models)) + shift, own, style, joined=False)
        for place in np.flatnonzero(own["mean"].isna()):
            mark_missing(ax, place + shift)
    name_networks(ax, models, max(WIDTHS[1], NETWORK_WIDTHS[1] * len(models)))
    ax.set_ylabel(f"lost {metric_label(cells)}: test − there")
    first = cells.iloc[0]
    ax.set_title(f"there: {first['images']} images, {first['patients']} patients")
