"""Paired gains with intervals, one line a comparison."""

from __future__ import annotations

from math import ceil
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    CHARACTER,
    GAP_COLOUR,
    METHODS,
    TITLE_CHARACTERS,
    ZERO_LINE,
    draw_interval,
    interval_key,
    label_rows,
    metric_label,
    span,
    target_on_test,
)
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    legend_below,
    note,
    ordered,
    panels,
)

# of a panel and of a row, inches; so many panels beside each other, more where rows are very many
WIDTH, ROW, ABOVE, SIDE_BY_SIDE = 1.8, 0.17, 0.9, 3
MOST_HEIGHT = 58.0
COMPARISON = ["model", "subset", "init", "reference"]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The gains in the target metric on the test set, of whole starts.

    Args:
        tables: ``gains``.
    """
    return {"gains": whole_starts(target_on_test(tables["gains"]))}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set; comparisons, grouped by network and subset, have one row in all of them.

    Args:
        tables: ``gains``.
    """
    gains = select(tables)["gains"]
    if gains.empty:
        return note("nothing to compare: no cell of this study has two inits")
    compared = gains[COMPARISON].drop_duplicates().sort_values(["model", "subset"], kind="stable")
    names = [_name(row) for _, row in compared.iterrows()]
    datasets, styles = ordered(gains["dataset"]), init_styles([*gains["init"], *gains["reference"]])
    height = ROW * len(names) + ABOVE
    beside = min(len(datasets), max(SIDE_BY_SIDE, ceil(len(datasets) * height / MOST_HEIGHT)))
    # the names stand beside the first panel of a row, inside its share of the width
    widths = [WIDTH + CHARACTER * max(map(len, names))] + [WIDTH] * (beside - 1)
    figure, axes = panels(
        ceil(len(datasets) / beside), beside, (float(np.mean(widths)), height), share_y="row",
    )  # fmt: skip
    for ax in axes.flat[len(datasets) :]:
        ax.set_axis_off()
    for ax, dataset in zip(axes.flat, datasets, strict=False):
        own = gains[gains["dataset"] == dataset].set_index(COMPARISON).sort_index()
        draw_comparisons(ax, compared.join(own, on=COMPARISON), styles)
        ax.set_title(dataset)
    for ax in axes[:, 0]:
        label_rows(ax, names)
    for unit in ordered(gains["paired_by"]):
        interval_key(figure, METHODS[unit])
    legend_below(figure)
    return figure


def draw_comparisons(ax: Axes, gains: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """Mean differences as markers with intervals around a line at no difference.

    Args:
        ax: where to draw.
        gains: of one data set, a row a comparison; those without values are gaps.
        styles: of inits.
    """
    ax.axvline(0, **ZERO_LINE)
    most = gains["pairs"].max()
    for place, (_, gain) in enumerate(gains.iterrows()):
        if np.isnan(gain["mean"]):
            say(ax, place, "no runs")
            continue
        draw_interval(ax, place, gain, styles[gain["init"]])
        if gain["pairs"] < most:
            say(ax, place, f"n = {gain['pairs']:.0f}")
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    for edge in np.flatnonzero(gains["model"].ne(gains["model"].shift()))[1:]:
        ax.axhline(edge - 0.5, color="#BBBBBB", linewidth=0.5)
    known = gains.dropna(subset=["pairs"])
    pairs, unit = known["pairs"].astype(int), " or ".join(ordered(known["paired_by"]))
    difference = fill(f"difference in test {metric_label(known)}", int(WIDTH * TITLE_CHARACTERS))
    ax.set_xlabel(f"{difference}\n({span(pairs)} {unit} pairs)")


def say(ax: Axes, place: int, text: str) -> None:
    """A small word at the right end of a row."""
    ax.text(
        1, place, text, transform=ax.get_yaxis_transform(), color=GAP_COLOUR, fontsize=6, ha="right",
        va="center",
    )  # fmt: skip


def _name(row: pd.Series) -> str:
    return f"{row['model']}, {row['subset']}: {row['init']} − {row['reference']}"
