"""Do probabilities mean what they say? Reliability before and after temperature scaling."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.cells import (
    among,
    analysed_alike,
    draw_blocks,
    draw_intervals,
    interval_key,
    mark_gap,
    rows_of,
    span,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note, offsets

CELL = ("dataset", "model", "init")
# metric before and after temperature scaling
ERRORS = ("ece_mass", "ece_mass_scaled")
MOMENTS = ("before", "after")
WIDTHS, HEIGHT = (2.0, 2.0, 1.6), 2.3
# height of the strip with the bins of all inits, in shares
STRIP = 0.16


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The bins of test images that hold any, and the calibration errors of their cells.

    Args:
        tables: ``reliability`` and ``summary``.
    """
    reliability, summary = (tables[name] for name in ("reliability", "summary"))
    errors = summary
    if not summary.empty:
        errors = summary[(summary["part"] == "test") & summary["metric"].isin(ERRORS)]
        errors = errors.drop(columns="target")
    if not reliability.empty:
        bins = reliability[(reliability["part"] == "test") & reliability["observed"].notna()]
        reliability, errors = analysed_alike(bins, errors)
    return {"reliability": reliability, "summary": among(errors, reliability, CELL)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block a data set (columns) and network (rows): before, after, calibration errors.

    Args:
        tables: ``reliability`` and ``summary``.
    """
    reliability, errors = select(tables).values()
    if reliability.empty:
        return note("no calibration: no run of this study has predictions of test images")
    styles = init_styles(reliability["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        bins = rows_of(reliability, names)
        for ax, scaled in zip(axes, (False, True), strict=False):
            draw_reliability(ax, bins[bins["scaled"] == scaled], styles)
        axes[0].set_ylabel("observed share, before scaling")
        axes[1].set_title("after temperature scaling")
        draw_errors(axes[2], rows_of(errors, names) if len(errors) else errors, styles)

    figure = draw_blocks(reliability, draw_cell, WIDTHS, HEIGHT)
    interval_key(figure, "t interval over runs")
    legend_below(figure)
    return figure


def draw_reliability(ax: Axes, bins: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init over the bins, each run as dots, the diagonal, and a strip with the bins' places.

    Args:
        ax: where to draw.
        bins: of one cell, all before or all after scaling; bins of equal mass.
        styles: of inits.
    """
    if bins.empty:
        ax.set_axis_off()
        return
    ax.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    heights = -STRIP / 2 - offsets(len(styles), STRIP * 0.8)
    for height, (init, style) in zip(heights, styles.items(), strict=True):
        own = bins[bins["init"] == init]
        mean = own.groupby("bin")[["confidence", "observed"]].mean()
        ax.plot(
            own["confidence"], own["observed"], ".", color=style.colour, markersize=2.5, alpha=0.35,
            markeredgewidth=0,
        )  # fmt: skip
        ax.plot(
            mean["confidence"], mean["observed"], **style.mark, linestyle=style.line, linewidth=1,
            markersize=3, label=init,
        )  # fmt: skip
        ax.plot(
            mean["confidence"], np.full(len(mean), height), "|", color=style.colour,
            markersize=max(1.5, 14 / len(styles)), markeredgewidth=0.7,
        )  # fmt: skip
    ax.axhline(0, color="#BBBBBB", linewidth=0.5)
    ax.set_xlim(0, 1)
    ax.set_ylim(-STRIP, 1.02)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel(f"confidence\n(bins of {span(bins['count'])} images)")


def draw_errors(ax: Axes, errors: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """For each init a line from the calibration error before scaling to that after it."""
    ax.set_title("calibration error (ECE)")
    if errors.empty:
        mark_gap(np.array([ax]))
        return
    for shift, (init, style) in zip(offsets(len(styles), 0.4), styles.items(), strict=True):
        own = errors[errors["init"] == init].set_index("metric").reindex(ERRORS)
        draw_intervals(ax, np.arange(2) + shift, own, style)
    ax.set_xticks(range(2), MOMENTS)
    ax.set_xlim(-0.5, 1.5)
    ax.set_ylim(bottom=0)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel(f"scaling ({span(errors['runs'])} runs)")
