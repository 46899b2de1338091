"""The validation metric during training: the mean over runs, in the band from lowest to highest."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS, whole_starts
from medtransfer.figures.style import InitStyle, init_styles, legend_below, ordered, panels


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network (rows) and subset (columns).

    Args:
        tables: ``curves``.
    """
    curves = whole_starts(tables["curves"])
    cells = curves[["dataset", "model"]].drop_duplicates().to_numpy().tolist()
    subsets = ordered(curves["subset"])
    styles = init_styles(curves["init"])
    figure, axes = panels(len(cells), len(subsets), (3.2, 1.6), share_y="row")
    for row, (dataset, model) in enumerate(cells):
        for column, subset in enumerate(subsets):
            ax = axes[row, column]
            chosen = (curves["dataset"] == dataset) & (curves["model"] == model)
            draw_curves(ax, curves[chosen & (curves["subset"] == subset)], styles)
            ax.set_title(f"{dataset}, {model}, {subset}")
    for ax in axes[-1]:
        ax.set_xlabel("optimiser step")
    legend_below(figure)
    return figure


def draw_curves(ax: Axes, curves: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """One line an init over the steps, with the range of its runs."""
    for init, style in styles.items():
        runs = curves[curves["init"] == init]
        if runs.empty:
            continue
        value = runs.groupby("step")["validation_metric"].agg(["mean", "min", "max"])
        ax.fill_between(
            value.index, value["min"], value["max"], color=style.colour, alpha=0.15, linewidth=0
        )
        ax.plot(
            value.index, value["mean"], color=style.colour, linestyle=style.line, linewidth=1.2,
            marker=style.marker, markersize=2.5,
            markerfacecolor=style.colour if style.filled else "white", label=init,
        )  # fmt: skip
    if len(curves):
        metric = curves["metric"].iloc[0]
        ax.set_ylabel(f"validation\n{METRIC_LABELS.get(metric, metric)}")
