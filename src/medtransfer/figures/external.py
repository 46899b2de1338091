"""From the test set to another site: the same networks, no adaptation."""

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
    note,
    offsets,
    ordered,
    panels,
)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set with external sites (rows) and subset (columns).

    Args:
        tables: ``summary``.
    """
    summary = whole_starts(tables["summary"])
    summary = summary[summary["target"] & summary["part"].isin(["test", "external"])]
    datasets = ordered(summary[summary["part"] == "external"]["dataset"])
    summary = summary[summary["dataset"].isin(datasets)]
    if summary.empty:
        return note("no data set of this study names external sites")
    subsets = ordered(summary["subset"])
    styles = init_styles(summary["init"])
    figure, axes = panels(len(datasets), len(subsets), (3.4, 2.1), share_y="row")
    for row, dataset in enumerate(datasets):
        for column, subset in enumerate(subsets):
            ax = axes[row, column]
            cells = summary[(summary["dataset"] == dataset) & (summary["subset"] == subset)]
            if cells.empty:
                ax.set_axis_off()
                continue
            draw_drops(ax, cells, styles)
            ax.set_title(f"{dataset}, {subset}")
    legend_below(figure)
    return figure


def draw_drops(ax: Axes, summary: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """For each network and init a line from the mean on the test set to that on the other site."""
    models = ordered(summary["model"])
    ticks, names = [], []
    for place, model in enumerate(models):
        for shift, (init, style) in zip(offsets(len(styles), 0.36), styles.items(), strict=True):
            cell = summary[(summary["model"] == model) & (summary["init"] == init)]
            cell = cell.set_index("part").reindex(["test", "external"])
            mean, low, high = (cell[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
            ax.errorbar(
                place + np.array([-0.22, 0.22]) + shift, mean, interval_bars(mean, low, high),
                marker=style.marker, color=style.colour, linestyle=style.line, linewidth=1,
                markersize=4.5, elinewidth=0.8, capsize=1.5, label=init,
                markerfacecolor=style.colour if style.filled else "white",
            )  # fmt: skip
        ticks += [place - 0.22, place, place + 0.22]
        names += ["test", f"\n\n{model}", "other\nsite"]
    ax.set_xticks(ticks, names)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    metric = summary["metric"].iloc[0]
    ax.set_ylabel(METRIC_LABELS.get(metric, metric))
