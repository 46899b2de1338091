"""The target metric of every cell: each run as a dot, the mean with its interval beside them."""

from __future__ import annotations

from math import ceil
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    MISSING,
    TITLE_CHARACTERS,
    among,
    draw_intervals,
    interval_key,
    mark_gap,
    mark_missing,
    metric_label,
    missing_key,
    name_networks,
    rows_of,
    target_on_test,
)
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

CELL = ("dataset", "model", "subset", "init")
# least width of a panel, and what a network and each of its inits needs, inches
WIDTH, NETWORK_WIDTH, INIT_WIDTH, HEIGHT = 3.4, 0.12, 0.07, 2.2
PAGE_WIDTH = 7.2
# of the names and the scale beside a panel, inches
SCALE_WIDTH = 0.6
# what marks of missing runs take at the foot of a panel, as a share of it
MARK_SPACE = 0.22
# over which the inits of a network are spread, in networks
SPREAD = 0.75


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The target metric on the test set, of whole starts: the runs that have it, and the cells' means.

    Args:
        tables: ``metrics`` and ``summary``.
    """
    metrics, summary = (whole_starts(target_on_test(tables[name])) for name in ("metrics", "summary"))
    metrics = among(metrics, summary, CELL)
    return {
        "metrics": metrics if metrics.empty else metrics.dropna(subset=["value"]),
        "summary": summary,
    }


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and subset (rows), networks along x; of one subset, a few a row.

    Args:
        tables: ``metrics`` and ``summary``.
    """
    metrics, summary = select(tables).values()
    if summary.empty:
        return note("no results: no run of this study was scored on test images")
    styles = init_styles(summary["init"])
    datasets, subsets, models = (ordered(summary[name]) for name in ("dataset", "subset", "model"))
    width = max(WIDTH, len(models) * (NETWORK_WIDTH + INIT_WIDTH * len(styles)))
    figure, axes = _panels(len(datasets), len(subsets), width)
    cells = [(dataset, subset) for subset in subsets for dataset in datasets]
    for ax, (dataset, subset) in zip(axes, cells, strict=True):
        own = _cell(summary, dataset, subset)
        if own.empty:
            mark_gap(np.array([ax]))
            continue
        draw_cells(ax, _cell(metrics, dataset, subset), own, models, styles)
        mark_fewer(ax, own, models, list(styles))
        label_panel(ax, own, width)
        name_networks(ax, models, width - SCALE_WIDTH)
    if any(ax.texts for ax in axes):
        for ax in axes:
            ax.margins(y=MARK_SPACE)
    metric_keys(figure, summary)
    legend_below(figure)
    return figure


def _panels(datasets: int, subsets: int, width: float) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, subset by subset; of one subset as many a row as fit a page."""
    columns = datasets if subsets > 1 else min(datasets, max(1, int(PAGE_WIDTH / width)))
    rows = ceil(datasets * subsets / columns)
    figure, axes = panels(rows, columns, (width, HEIGHT), share_y="col" if subsets > 1 else False)
    for ax in axes.flat[datasets * subsets :]:
        ax.set_axis_off()
    return figure, list(axes.flat[: datasets * subsets])


def _cell(table: pd.DataFrame, dataset: str, subset: str) -> pd.DataFrame:
    return table if table.empty else rows_of(table, {"dataset": dataset, "subset": subset})


def draw_cells(
    ax: Axes,
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    models: list[str],
    styles: dict[str, InitStyle],
) -> None:
    """Dots for runs and a marker with interval for the mean, of each network and init."""
    # dots stand to the left of their mean, nearer to it than to another's
    aside = min(0.055, SPREAD / len(styles) / 4)
    for shift, (init, style) in zip(offsets(len(styles), SPREAD), styles.items(), strict=True):
        if len(metrics):
            runs = metrics[metrics["init"] == init]
            places = np.array([models.index(model) for model in runs["model"]], dtype=float)
            ax.plot(
                places + shift - aside, runs["value"], ".", color=style.colour, markersize=4,
                alpha=0.45, markeredgewidth=0,
            )  # fmt: skip
        cells = summary[summary["init"] == init].set_index("model").reindex(models)
        draw_intervals(ax, np.arange(len(models)) + shift + aside, cells, style, init, joined=False)


def mark_fewer(ax: Axes, summary: pd.DataFrame, models: list[str], inits: list[str]) -> None:
    """A cross where a cell has no mean, and the number of runs where it has fewer than others.

    Args:
        ax: where to draw.
        summary: of one data set and subset.
        models: the places of the x axis.
        inits: all that the figure draws, in their order.
    """
    cells = summary.set_index(["model", "init"])
    runs = cells["runs"].where(cells["mean"].notna(), 0)
    runs = runs.reindex(pd.MultiIndex.from_product([models, inits]), fill_value=0)
    shift = dict(zip(inits, offsets(len(inits), SPREAD), strict=True))
    fewer = runs[runs < runs.max()]
    for (model, init), count in fewer.items():
        mark_missing(ax, models.index(model) + shift[init], f"n = {count}" if count else MISSING)


def label_panel(ax: Axes, summary: pd.DataFrame, width: float) -> None:
    """Title with the numbers of images and runs, axis with the metric.

    Args:
        ax: to label.
        summary: of one data set and subset.
        width: of the panel, inches.
    """
    first = summary.iloc[0]
    # 0 images: their number isn't known
    images = f"{first['training_images']:.0f} training, {first['images']:.0f} test images, "
    numbers = images * bool(first["images"]) + f"{summary['runs'].max()} runs a cell"
    lines = (f"{first['dataset']}, {first['subset']}", numbers)
    ax.set_title("\n".join(fill(line, int(width * TITLE_CHARACTERS)) for line in lines))
    ax.set_ylabel(f"test {metric_label(summary)}")


def metric_keys(figure: Figure, summary: pd.DataFrame) -> None:
    """The legend: dots, bars, and what is said of cells that lack runs."""
    key(figure, "small dot: a run", marker=".", markersize=4)
    if summary["low"].notna().any():
        interval_key(figure, "t interval over runs")
    missing_key(figure)
    if any(text.get_text().startswith("n = ") for ax in figure.axes for text in ax.texts):
        key(figure, "n: fewer runs than others")
