"""Paired gains with intervals, one line a comparison."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS, whole_starts
from medtransfer.figures.style import InitStyle, init_styles, interval_bars, note, ordered, panels


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set; comparisons grouped by network and subset.

    Args:
        tables: ``gains``.
    """
    gains = tables["gains"]
    gains = whole_starts(gains[gains["target"] & (gains["part"] == "test")])
    if gains.empty:
        return note("nothing to compare: no cell of this study has two inits")
    datasets = ordered(gains["dataset"])
    styles = init_styles([*gains["init"], *gains["reference"]])
    most = max((gains["dataset"] == name).sum() for name in datasets)
    figure, axes = panels(1, len(datasets), (3.6, 0.19 * most + 0.9))
    for ax, dataset in zip(axes[0], datasets, strict=True):
        draw_forest(ax, gains[gains["dataset"] == dataset], styles)
        ax.set_title(dataset)
    return figure


def draw_forest(ax: Axes, gains: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """Mean differences as markers with intervals around a line at no difference."""
    gains = gains.sort_values(["model", "subset"], kind="stable").reset_index(drop=True)
    ax.axvline(0, color="#888888", linewidth=0.8)
    for row, (_, gain) in enumerate(gains.iterrows()):
        style = styles[gain["init"]]
        mean, low, high = (np.array([gain[name]]) for name in ("mean", "low", "high"))
        ax.errorbar(
            mean, [row], xerr=interval_bars(mean, low, high), fmt=style.marker, markersize=4.5,
            color=style.colour, elinewidth=1, capsize=2,
            markerfacecolor=style.colour if style.filled else "white",
        )  # fmt: skip
    ax.set_yticks(range(len(gains)), [_name(gain) for _, gain in gains.iterrows()])
    ax.set_ylim(len(gains) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    for edge in np.flatnonzero(gains["model"].ne(gains["model"].shift()))[1:]:
        ax.axhline(edge - 0.5, color="#BBBBBB", linewidth=0.5)
    metric = gains["metric"].iloc[0]
    fewest, most = gains["pairs"].min(), gains["pairs"].max()
    pairs = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    unit = " or ".join(ordered(gains["paired_by"]))
    ax.set_xlabel(f"difference in test {METRIC_LABELS.get(metric, metric)}\n({pairs} {unit} pairs)")


def _name(gain: pd.Series) -> str:
    return f"{gain['model']}, {gain['subset']}: {gain['init']} − {gain['reference']}"
