"""The metric in each subgroup of the patients, which is the worst, and how far apart they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.cells import (
    CHARACTER,
    among,
    analysed_alike,
    draw_blocks,
    draw_intervals,
    draw_own_and_differences,
    forest_height,
    interval_key,
    metric_label,
    rows_of,
    slant_ticks,
    span,
)
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note, offsets, ordered

# of the panels of a metric, inches: groups, gaps
WIDTHS = (2.5, 2.3)
CELL = ["dataset", "model", "division"]
# of the first panel without its scale, inches
AXES_WIDTH = 1.9
SMALL_SIZE, RING_SIZE = 3.0, 9.0


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The values of groups on the test set, the inits' worst groups, and gaps and their differences.

    Args:
        tables: ``subgroups`` and ``subgroup_gaps``.
    """
    groups, gaps = (tables[name] for name in ("subgroups", "subgroup_gaps"))
    if len(gaps):
        # a difference of two worst groups is drawn nowhere
        own = (gaps["property"] == "gap") | (gaps["reference"] == "")
        gaps = gaps[own & (gaps["part"] == "test")]
    if not groups.empty:
        groups, gaps = analysed_alike(groups[groups["part"] == "test"], gaps)
    return {"subgroups": groups, "subgroup_gaps": among(gaps, groups, [*CELL, "metric"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a data set, network and division of the patients; two panels a metric: groups and gaps.

    Args:
        tables: ``subgroups`` and ``subgroup_gaps``.
    """
    groups, gaps = select(tables).values()
    if groups.empty:
        return note("no subgroups: no data set of this study names columns of groups")
    styles = init_styles(groups["init"])
    most = int(groups.groupby(CELL)["metric"].nunique().max())

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        metrics = ordered(rows_of(groups, names)["metric"])
        for ax in axes[2 * len(metrics) :]:
            ax.set_axis_off()
        for pair, metric in zip(axes.reshape(-1, 2), metrics, strict=False):
            chosen = names | {"metric": metric}
            own = rows_of(gaps, chosen) if len(gaps) else gaps
            draw_groups(pair[0], rows_of(groups, chosen), styles)
            mark_worst(pair[0], rows_of(groups, chosen), own, styles)
            draw_gaps(pair[1], own, styles)

    height = forest_height(_most_gaps(gaps), 1.9)
    figure = draw_blocks(groups, draw_cell, WIDTHS * most, height, rows=CELL, columns=())
    interval_key(figure, "interval over patients")
    ring = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 0.7}
    key(figure, "the init's worst group", markersize=RING_SIZE, **ring)
    key(figure, "group too small for an interval", markersize=SMALL_SIZE, **ring)
    legend_below(figure)
    return figure


def _most_gaps(gaps: pd.DataFrame) -> int:
    if gaps.empty:
        return 1
    return int(gaps[gaps["property"] == "gap"].groupby([*CELL, "metric"]).size().max())


def _places(groups: pd.DataFrame, styles: dict[str, InitStyle]) -> pd.DataFrame:
    """With the column ``place``: groups in their order, inits side by side."""
    index = {name: number for number, name in enumerate(ordered(groups["group"]))}
    shift = dict(zip(styles, offsets(len(styles), 0.7), strict=True))
    return groups.assign(place=groups["group"].map(index) + groups["init"].map(shift))


def draw_groups(ax: Axes, groups: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A mark a group and init with its interval; small hollow marks for groups that are too small.

    Args:
        ax: where to draw.
        groups: of one cell and metric.
        styles: of inits.
    """
    placed = _places(groups, styles)
    for init, style in styles.items():
        own = placed[placed["init"] == init]
        enough, small = own[~own["small"]], own[own["small"]]
        draw_intervals(ax, enough["place"].to_numpy(), enough, style, label=init, joined=False)
        ax.plot(
            small["place"], small["mean"], marker=style.marker, color=style.colour, linestyle="none",
            markerfacecolor="none", markersize=SMALL_SIZE, markeredgewidth=0.6,
        )  # fmt: skip
    name_groups(ax, groups)
    ax.set_ylabel(f"test {metric_label(groups)}\n({span(groups['runs'])} runs)")
    ax.set_xlabel(f"{groups['division'].iloc[0]} (n: patients)")


def name_groups(ax: Axes, groups: pd.DataFrame) -> None:
    """A tick a group with its number of patients."""
    patients = groups.groupby("group", sort=False)["patients"].max()
    aslant = max(map(len, patients.index)) * CHARACTER > AXES_WIDTH / len(patients)
    between = ", " if aslant else "\n"
    ax.set_xticks(range(len(patients)), [f"{g}{between}n = {n}" for g, n in patients.items()])
    if aslant:
        slant_ticks(ax)
    ax.set_xlim(-0.6, len(patients) - 0.4)
    ax.grid(axis="x", visible=False)


def mark_worst(
    ax: Axes, groups: pd.DataFrame, gaps: pd.DataFrame, styles: dict[str, InitStyle]
) -> None:
    """A ring around the worst group of each init."""
    if gaps.empty:
        return
    worst = gaps[(gaps["reference"] == "") & (gaps["property"] == "worst")]
    names = worst.set_index("init")["worst_group"].rename("worst")
    placed = _places(groups, styles).join(names, on="init")
    found = placed[placed["group"] == placed["worst"]]
    ax.plot(
        found["place"], found["mean"], "o", color="black", markerfacecolor="none",
        markersize=RING_SIZE, markeredgewidth=0.7,
    )  # fmt: skip


def draw_gaps(ax: Axes, gaps: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The gap between best and worst group of each init, and how much it differs between inits.

    Args:
        ax: where to draw.
        gaps: of one cell and metric.
        styles: of inits.
    """
    rows = gaps[gaps["property"] == "gap"] if len(gaps) else gaps
    if rows.empty:
        ax.set_axis_off()
        return
    draw_own_and_differences(ax, rows.assign(mean=rows["value"]), styles)
    ax.set_xlabel(f"gap in {metric_label(rows)}\nbetween {span(rows['groups'])} groups")
