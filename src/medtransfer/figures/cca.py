"""Canonical correlations: how far each unit moved, and how alike the top units of networks end up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from medtransfer.figures.by_depth import (
    CHANCE,
    MAIN,
    analysed,
    by_depth,
    draw_means,
    label_units,
    line_keys,
    placed,
    same_network,
)
from medtransfer.figures.style import (
    RANDOM_COLOUR,
    InitStyle,
    init_styles,
    interval_bars,
    key,
    legend_below,
    note,
    offsets,
)

MEASURES = {"svcca": "SVCCA", "pwcca": "PWCCA", "sampled_channels": "CCA of 64 channels"}
MEASURE_MARKERS = {"svcca": "o", "pwcca": "s", "sampled_channels": "^"}
PAIRS = ("random-random", "random-transfer", "transfer-transfer")
UNRELIABLE = "x"
SIZE = (2.7, 2.1)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Start against end by depth: a panel a data set and network (rows) and measure (columns).

    Below, one panel a data set and network for the top units of trained networks.

    Args:
        tables: ``cca`` and ``top_layers``.
    """
    moved, tops = _fine_tuning(tables["cca"]), _tops(tables["top_layers"])
    cells = [part[["dataset", "model"]].drop_duplicates().to_numpy().tolist() for part in (moved, tops)]
    heights = [len(cells[0]), -(-len(cells[1]) // len(MEASURES))]
    if not any(heights):
        return note("no canonical correlations: no pair of this study's networks is analysed")
    figure = Figure(
        figsize=(SIZE[0] * len(MEASURES), SIZE[1] * sum(heights) + 0.6), layout="constrained"
    )
    shown = [height for height in heights if height]
    parts = list(figure.subfigures(len(shown), 1, height_ratios=shown, squeeze=False)[:, 0])
    if heights[0]:
        draw_fine_tuning(parts.pop(0), moved, cells[0])
    if heights[1]:
        draw_tops(parts.pop(0), tops, cells[1])
    legend_below(figure)
    return figure


def _fine_tuning(table: pd.DataFrame) -> pd.DataFrame:
    """Starts with their ends, of the drawn measures."""
    if table.empty:
        return pd.DataFrame(columns=["dataset", "model"])
    table = same_network(analysed(table), "fine_tuning")
    return table[table["measure"].isin(MEASURES) & table["value"].notna()]


def _tops(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        return pd.DataFrame(columns=["dataset", "model"])
    return table[table["measure"].isin(MEASURES) & table["mean"].notna()]


def draw_fine_tuning(figure: SubFigure, table: pd.DataFrame, cells: list[list[str]]) -> None:
    """A panel a cell (rows) and measure (columns)."""
    styles = init_styles(table["init"])
    axes = figure.subplots(len(cells), len(MEASURES), squeeze=False, sharey=True)
    for row, (dataset, model) in enumerate(cells):
        for column, (measure, name) in enumerate(MEASURES.items()):
            ax = axes[row, column]
            chosen = (table["dataset"] == dataset) & (table["model"] == model)
            rows = table[chosen & (table["measure"] == measure)]
            if rows.empty:
                ax.set_axis_off()
                continue
            draw_correlations(ax, rows, styles)
            ax.set_title(f"{dataset}, {model}:\n{name}")
        axes[row, 0].set_ylabel("start with end")
    axes[0, 0].set_ylim(0, 1.05)
    line_keys(figure, {"images shuffled": CHANCE})
    if not table["reliable"].all():
        key(figure, "too few rows for the channels", marker=UNRELIABLE, markersize=5)


def draw_correlations(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init over the units with its baseline; crosses on values of too few rows."""
    rows = placed(table, styles, "point")
    for init, style in styles.items():
        own = rows[rows["init"] == init]
        draw_means(ax, own.assign(value=own["baseline"]), style, CHANCE)
        draw_means(ax, own, style, MAIN, label=init)
        doubtful = own[~own["reliable"].astype(bool)]
        if len(doubtful):
            mean = doubtful.groupby("place")["value"].mean()
            ax.plot(mean.index, mean, UNRELIABLE, color=RANDOM_COLOUR, markersize=6, zorder=5)
    label_units(ax, by_depth(table, "point"))


def draw_tops(figure: SubFigure, table: pd.DataFrame, cells: list[list[str]]) -> None:
    """A panel a cell, as many in a row as there are measures."""
    columns = len(MEASURES)
    axes = figure.subplots(-(-len(cells) // columns), columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(cells) :]:
        ax.set_axis_off()
    for ax, (dataset, model) in zip(axes, cells, strict=False):
        draw_top_layers(ax, table[(table["dataset"] == dataset) & (table["model"] == model)])
        ax.set_title(f"{dataset}, {model}: top units")
    axes[0].set_ylim(0, 1.05)
    for ax in axes[::columns]:
        ax.set_ylabel("two trained networks")


def draw_top_layers(ax: Axes, table: pd.DataFrame) -> None:
    """Mean and standard deviation over pairs of networks by how both started, a marker a measure."""
    for shift, (measure, name) in zip(offsets(len(MEASURES), 0.7), MEASURES.items(), strict=True):
        rows = table[table["measure"] == measure].set_index("pair").reindex(PAIRS)
        places = np.arange(len(PAIRS)) + shift
        known = rows["mean"].notna().to_numpy()
        mean, sd, chance = (rows[n].to_numpy(dtype=float)[known] for n in ("mean", "sd", "baseline"))
        if not known.any():
            continue
        ax.errorbar(
            places[known], mean, interval_bars(mean, mean - sd, mean + sd), color=RANDOM_COLOUR,
            fmt=MEASURE_MARKERS[measure], markersize=4, elinewidth=0.8, capsize=2, label=name,
        )  # fmt: skip
        ends = (places[known] - 0.1, places[known] + 0.1)
        ax.hlines(chance, *ends, RANDOM_COLOUR, "dotted", linewidth=CHANCE.width)
        doubtful = known & ~rows["reliable"].eq(True).to_numpy()
        ax.plot(places[doubtful], rows["mean"][doubtful], UNRELIABLE, color=RANDOM_COLOUR, markersize=7)
    counts = table.groupby("pair")["pairs"].max().reindex(PAIRS)
    names = [pair.replace("-", "\n") for pair in PAIRS]
    ax.set_xticks(
        range(len(PAIRS)),
        [f"{n}\n({c:.0f})" if c > 0 else f"{n}\n(none)" for n, c in zip(names, counts, strict=True)],
    )
    ax.set_xlim(-0.5, len(PAIRS) - 0.5)
    ax.grid(axis="x", visible=False)
