"""How the metric falls when the test images are corrupted, more and more."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import analysed
from medtransfer.figures.cells import (
    draw_blocks,
    draw_intervals,
    draw_own_and_differences,
    forest_height,
    interval_key,
    mark_gap,
    metric_label,
    rows_of,
    span,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note, offsets, ordered

# of a corruption's panel and of that of the drops, inches
WIDTH, DROPS_WIDTH = 1.9, 2.6
CELL = ["dataset", "model"]
ALL = "all"


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Each init's values on clean and on corrupted images, and the drops over all corruptions.

    The value on clean images is given once a corruption and init, with severity 0.

    Args:
        tables: ``corruption``.
    """
    table = tables["corruption"]
    if table.empty:
        return {"corruption": table}
    table = analysed(table)
    curves = table[(table["corruption"] != ALL) & (table["reference"] == "")]
    clean = curves[curves["quantity"] == "test"].drop_duplicates([*CELL, "corruption", "init"])
    corrupted = curves[(curves["quantity"] == "corrupted") & (curves["severity"] > 0)]
    drops = table[(table["corruption"] == ALL) & (table["quantity"] == "drop")]
    return {"corruption": pd.concat([clean.assign(severity=0), corrupted, drops])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a data set and network: a panel a corruption, and the mean drops over all of them.

    Args:
        tables: ``corruption``.
    """
    table = select(tables)["corruption"]
    if table.empty:
        return note("no corrupted images: no run of this study is analysed")
    kinds = [kind for kind in ordered(table["corruption"]) if kind != ALL]
    drops, curves = table[table["corruption"] == ALL], table[table["corruption"] != ALL]
    styles = init_styles(table["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        draw_kinds(axes[:-1], rows_of(curves, names), kinds, styles)
        draw_drops(axes[-1], rows_of(drops, names), styles)

    most = int(drops.groupby(CELL).size().max()) if len(drops) else 1
    widths, height = [WIDTH] * len(kinds) + [DROPS_WIDTH], forest_height(most, 2.1)
    figure = draw_blocks(table, draw_cell, widths, height, rows=CELL, columns=())
    interval_key(figure, "interval over patients")
    legend_below(figure)
    return figure


def _size(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{span(rows['runs'])} runs, {first['images']} images\nof {first['patients']} patients"


def draw_kinds(
    axes: np.ndarray, rows: pd.DataFrame, kinds: list[str], styles: dict[str, InitStyle]
) -> None:
    """A panel a corruption, on one scale."""
    if rows.empty:
        mark_gap(axes)
        return
    for ax, kind in zip(axes, kinds, strict=True):
        draw_severities(ax, rows[rows["corruption"] == kind], styles)
        ax.sharey(axes[0])
    axes[0].set_ylabel(f"test {metric_label(rows)}\n{_size(rows)}")
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)


def draw_severities(ax: Axes, rows: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init over the severity of one corruption, from the clean images on.

    Args:
        ax: where to draw.
        rows: of one cell and corruption.
        styles: of inits.
    """
    if rows.empty:
        mark_gap(np.array([ax]))
        return
    severities = range(rows["severity"].max() + 1)
    for shift, (init, style) in zip(offsets(len(styles), 0.5), styles.items(), strict=True):
        own = rows[rows["init"] == init].set_index("severity").reindex(severities)
        draw_intervals(ax, np.array(severities) + shift, own, style, label=init)
    ax.set_xticks(severities, ["clean", *map(str, severities[1:])])
    ax.set_xlabel(f"severity of {rows['corruption'].iloc[0]}")


def draw_drops(ax: Axes, drops: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """What each init loses on average over corruptions and severities, and how inits differ in that."""
    if drops.empty:
        ax.set_axis_off()
        return
    draw_own_and_differences(ax, drops, styles)
    ax.set_xlabel(f"lost {metric_label(drops)},\nmean over all corruptions")
