"""How much of a source's gain is feature reuse, all of it and up to each transferred depth."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from medtransfer.figures.cells import (
    GAP_COLOUR,
    ZERO_LINE,
    draw_blocks,
    interval_key,
    rows_of,
    span,
)
from medtransfer.figures.style import (
    interval_bars,
    key,
    legend_below,
    note,
    offsets,
    ordered,
    series_look,
)

# arrow heads, as matplotlib numbers them
CARETUP, CARETDOWN = 6, 7
# dark enough for a word
GAP_WORD = "#666666"
WIDTH, HEIGHT = 2.4, 1.9
# shares that every panel shows, and how far it reaches beyond the outermost estimate
LEAST_RANGE, MARGIN = (-0.5, 1.5), 0.25
# how many depths have their number at a tick
NAMED_DEPTHS = 8
SERIES = ["subset", "source"]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """All shares; those that no data bound are empty, as they mean nothing.

    Args:
        tables: ``reuse``.
    """
    reuse = tables["reuse"]
    if reuse.empty:
        return {"reuse": reuse}
    return {"reuse": reuse.assign(share=reuse["share"].where(reuse["bounded"]))}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows); a line a source and subset.

    Args:
        tables: ``reuse``.
    """
    reuse = select(tables)["reuse"]
    if reuse.empty:
        return note(
            "no share of feature reuse: no cell of this study has a source, its statistics and the "
            "reference"
        )
    series = [tuple(names) for names in reuse[SERIES].drop_duplicates().to_numpy(dtype=str)]
    limits = share_range(reuse)

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        draw_shares(axes[0], rows_of(reuse, names), series, limits)

    figure = draw_blocks(reuse, draw_cell, (WIDTH,), HEIGHT)
    explain_marks(figure, reuse, limits)
    legend_below(figure)
    return figure


def share_range(reuse: pd.DataFrame) -> tuple[float, float]:
    """The lowest and highest share of the axes: of all estimates, not of all intervals."""
    known = reuse["share"].dropna()
    low, high = LEAST_RANGE
    return min([low, *(known - MARGIN)]), max([high, *(known + MARGIN)])


def draw_shares(
    ax: Axes, reuse: pd.DataFrame, series: list[tuple[str, ...]], limits: tuple[float, float]
) -> None:
    """Shares with intervals over the depth, the whole source at the right.

    Args:
        ax: where to draw.
        reuse: of one cell, a row a source, subset and depth.
        series: subsets and sources of all panels.
        limits: of the axis of shares.
    """
    whole = 1.0 if reuse["units"].isna().all() else float(reuse["units"].max()) + 1.5
    places = reuse["units"].fillna(whole)
    for share in (0, 1):
        ax.axhline(share, **ZERO_LINE)
    for number, (names, shift) in enumerate(zip(series, offsets(len(series), 0.4), strict=True)):
        rows = rows_of(reuse.assign(place=places + shift), dict(zip(SERIES, names, strict=True)))
        look = series_look(number)
        draw_known(ax, rows[rows["bounded"]].sort_values("place"), look, limits)
        draw_unknown(ax, rows[~rows["bounded"]], limits)
        ax.plot([], [], **look, linestyle="-", markersize=4, label=": ".join(names))
    if not reuse["bounded"].any():
        ax.text(
            0.5, 0.5, unknown_word(reuse), transform=ax.transAxes, ha="center", va="center",
            color=GAP_WORD, bbox={"color": "white", "pad": 1.5},
        )  # fmt: skip
    label_axes(ax, reuse, whole, limits)


def draw_known(ax: Axes, rows: pd.DataFrame, look: dict[str, Any], limits: tuple[float, float]) -> None:
    """Estimates with what the axes show of their intervals; an arrow where one goes on.

    Args:
        ax: where to draw.
        rows: of one series, by depth, with the column ``place``.
        look: colour and marker.
        limits: of the axis of shares.
    """
    share, low, high = (rows[name].to_numpy(dtype=float) for name in ("share", "low", "high"))
    ax.errorbar(
        rows["place"], share, interval_bars(share, low.clip(limits[0]), high.clip(None, limits[1])),
        **look, linestyle="-", linewidth=1, markersize=4, elinewidth=0.8, capsize=0,
    )  # fmt: skip
    draw_arrows(ax, rows["place"][low < limits[0]], (limits[0], CARETDOWN), look["color"])
    draw_arrows(ax, rows["place"][high > limits[1]], (limits[1], CARETUP), look["color"])


def draw_unknown(ax: Axes, rows: pd.DataFrame, limits: tuple[float, float]) -> None:
    """A line through all shares where any would fit; a cross where a single repeat has no interval.

    Args:
        ax: where to draw.
        rows: of one series, with the column ``place``.
        limits: of the axis of shares.
    """
    single = rows["low"].isna()
    unbounded = rows["place"][~single]
    ax.vlines(unbounded, *limits, color=GAP_COLOUR, linestyle=":", linewidth=1)
    draw_arrows(ax, unbounded, (limits[0], CARETDOWN), GAP_COLOUR)
    draw_arrows(ax, unbounded, (limits[1], CARETUP), GAP_COLOUR)
    ax.plot(rows["place"][single], np.zeros(single.sum()), "x", color=GAP_COLOUR, markersize=5)


def draw_arrows(ax: Axes, places: pd.Series, end: tuple[float, Any], colour: str) -> None:
    """Heads of arrows that point out of the axes.

    Args:
        ax: where to draw.
        places: N on the x axis.
        end: of the axis of shares, and the marker that points there.
        colour: of the heads.
    """
    share, marker = end
    if len(places):
        ax.plot(
            places, np.full(len(places), share), marker=marker, linestyle="none", color=colour,
            markersize=5, clip_on=False,
        )  # fmt: skip


def unknown_word(reuse: pd.DataFrame) -> str:
    """Why nothing in a cell is known."""
    return "not known: one repeat" if reuse["low"].isna().all() else "no gain to share"


def label_axes(ax: Axes, reuse: pd.DataFrame, whole: float, limits: tuple[float, float]) -> None:
    """Depths, how many repeats there are, and what the share is."""
    depths = sorted(reuse["units"].dropna().unique())
    ends = [whole] if reuse["units"].isna().any() else []
    named = depths[:: ceil(len(depths) / NAMED_DEPTHS) or 1]
    ax.xaxis.set_major_locator(FixedLocator([*named, *ends]))
    ax.set_xticklabels([*(f"{depth:.0f}" for depth in named), *("all" for _ in ends)])
    ax.xaxis.set_minor_locator(FixedLocator(depths))
    ax.set_xlim(0.4, whole + 0.6)
    units = " or ".join(f"{unit}s" for unit in ordered(reuse["paired_by"]))
    ax.set_xlabel(f"transferred units\n({span(reuse['pairs'])} {units})")
    ax.set_ylim(*limits)
    ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    ax.set_ylabel("share of the gain\nthat is feature reuse")


def explain_marks(figure: Figure, reuse: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Entries of the legend for the marks that occur."""
    known = reuse[reuse["bounded"]]
    if len(known):
        interval_key(figure, "Fieller's interval")
    if ((known["low"] < limits[0]) | (known["high"] > limits[1])).any():
        key(figure, "it goes on", marker=CARETUP, markersize=5)
    unknown = reuse[~reuse["bounded"]]
    if unknown["low"].notna().any():
        key(figure, "no gain to share", linestyle=":", linewidth=1, color=GAP_COLOUR)
    if unknown["low"].isna().any():
        key(figure, "not known: one repeat", marker="x", markersize=5, color=GAP_COLOUR)
