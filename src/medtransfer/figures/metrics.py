"""The target metric of every cell: each run as a dot, the mean with its interval beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS, whole_starts
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    interval_bars,
    legend_below,
    offsets,
    ordered,
    panels,
)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and subset (rows); networks along x.

    Args:
        tables: ``metrics`` and ``summary``.
    """
    metrics, summary = (_target_on_test(tables[name]) for name in ("metrics", "summary"))
    datasets, subsets = ordered(summary["dataset"]), ordered(summary["subset"])
    styles = init_styles(summary["init"])
    figure, axes = panels(len(subsets), len(datasets), (3.4, 2.1), share_y="col")
    for column, dataset in enumerate(datasets):
        for row, subset in enumerate(subsets):
            ax = axes[row, column]
            draw_cells(ax, _cell(metrics, dataset, subset), _cell(summary, dataset, subset), styles)
            label_panel(ax, _cell(summary, dataset, subset), dataset)
    legend_below(figure)
    return figure


def _target_on_test(table: pd.DataFrame) -> pd.DataFrame:
    return whole_starts(table[table["target"] & (table["part"] == "test")])


def _cell(table: pd.DataFrame, dataset: str, subset: str) -> pd.DataFrame:
    return table[(table["dataset"] == dataset) & (table["subset"] == subset)]


def draw_cells(
    ax: Axes, metrics: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, InitStyle]
) -> None:
    """Dots for runs and a marker with interval for the mean, of each network and init."""
    models = ordered(summary["model"])
    for shift, (init, style) in zip(offsets(len(styles), 0.75), styles.items(), strict=True):
        for place, model in enumerate(models):
            runs = metrics[(metrics["model"] == model) & (metrics["init"] == init)]["value"]
            ax.plot(
                np.full(len(runs), place + shift - 0.07), runs, ".", color=style.colour,
                markersize=4, alpha=0.45, markeredgewidth=0,
            )  # fmt: skip
        cells = summary[summary["init"] == init].set_index("model").reindex(models)
        mean, low, high = (cells[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
        ax.errorbar(
            np.arange(len(models)) + shift + 0.04, mean, interval_bars(mean, low, high),
            fmt=style.marker, color=style.colour, markersize=4.5, elinewidth=1, capsize=2,
            markerfacecolor=style.colour if style.filled else "white", label=init,
        )  # fmt: skip
    ax.set_xticks(range(len(models)), models)
    ax.set_xlim(-0.6, len(models) - 0.4)
    ax.grid(axis="x", visible=False)


def label_panel(ax: Axes, summary: pd.DataFrame, dataset: str) -> None:
    """Title with the number of training and test images, axis with the metric."""
    if summary.empty:
        ax.set_axis_off()
        return
    first = summary.iloc[0]
    runs = f"{summary['runs'].min()} runs a cell"
    ax.set_title(
        f"{dataset}, {first['subset']}: {first['training_images']} training, "
        f"{first['images']} test images, {runs}"
        if len(dataset) < 10
        else f"{dataset}, {first['subset']}\n{first['training_images']} training, "
        f"{first['images']} test images, {runs}"
    )
    ax.set_ylabel(METRIC_LABELS.get(first["metric"], first["metric"]))
