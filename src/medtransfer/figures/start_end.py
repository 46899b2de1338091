"""Do units that are alike in two networks at the start end up alike?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import draw_cells
from medtransfer.figures.cca import MEASURES, UNRELIABLE
from medtransfer.figures.cells import analysed_alike, rows_of
from medtransfer.figures.style import RANDOM_COLOUR, key, legend_below, note

MEASURE = "svcca"
STARTS = {
    "random-random": ("two random starts", "o"),
    "random-transfer": ("random with a source", "^"),
    "transfer-transfer": ("two from sources", "D"),
}
# from dark to light, without the lightest: it would vanish on white
COLOURS = ListedColormap(colormaps["cividis"](np.linspace(0, 0.9, 256)))
# of a panel, and between the panels and the bar of colours, inches
SIZE, ABOVE = (2.4, 2.8), 0.1


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The pairs of networks in the drawn measure, and the rank correlations of the same.

    Args:
        tables: ``start_end`` and ``start_end_correlations``.
    """
    names = ("start_end", "start_end_correlations")
    given = (tables[name] for name in names)
    drawn = (table[table["measure"] == MEASURE] if len(table) else table for table in given)
    return dict(zip(names, analysed_alike(*drawn), strict=True))


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network.

    Args:
        tables: ``start_end`` and ``start_end_correlations``.
    """
    chosen = select(tables)
    points, correlations = chosen["start_end"], chosen["start_end_correlations"]
    if points.empty:
        return note(
            "no starts and ends: no two runs of this study whose networks are alike are analysed"
        )
    figure = draw_cells(points, lambda ax, rows: draw_pairs(ax, rows, correlations), SIZE)
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOURS), ax=figure.axes, location="top", shrink=0.6, aspect=30,
        pad=ABOVE / figure.get_figheight(),
    )  # fmt: skip
    bar.set_label("depth of the unit, from the first (0) to the last (1)")
    for starts in points["starts"].unique():
        label, marker = STARTS[starts]
        key(figure, label, marker=marker, markersize=4)
    if not points["reliable"].all():
        key(figure, "too few rows for the channels", marker=UNRELIABLE, markersize=5)
    key(figure, "as alike as at the start", linestyle="-", linewidth=0.8, color="#888888")
    legend_below(figure, columns=3)
    return figure


def draw_pairs(ax: Axes, points: pd.DataFrame, correlations: pd.DataFrame) -> None:
    """A mark a unit and pair of networks, and the line of equality."""
    ax.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    for starts, rows in points.groupby("starts", sort=False):
        ax.scatter(
            rows["start"], rows["end"], s=16, c=rows["depth"], marker=STARTS[str(starts)][1],
            cmap=COLOURS, vmin=0, vmax=1, clip_on=False, edgecolors=RANDOM_COLOUR, linewidths=0.3,
        )  # fmt: skip
    doubtful = points[~points["reliable"].astype(bool)]
    ax.plot(doubtful["start"], doubtful["end"], UNRELIABLE, color=RANDOM_COLOUR, markersize=6)
    cell = {name: points[name].iloc[0] for name in ("dataset", "model")}
    found = rows_of(correlations, cell) if len(correlations) else correlations
    ax.set_title(correlation_title(found))
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    ax.set_xlabel(f"{MEASURES[MEASURE]} of two networks\nat the start")
    ax.set_ylabel("the same at the end")


def correlation_title(rows: pd.DataFrame) -> str:
    """The rank correlation over all units and pairs, in halves of the depth and within units."""
    if rows.empty:
        return "ρ not known"
    value = {
        scope: two_decimals(found) for scope, found in zip(rows["scope"], rows["value"], strict=True)
    }
    (whole,) = rows[rows["scope"] == "all"].itertuples()
    pairs = "pair" if whole.pairs == 1 else "pairs"
    return (
        f"ρ {value['all']} ({whole.points} units, {whole.pairs} {pairs})\n"
        f"lower half {value['lower']}, upper {value['upper']}\nwithin units {value['within']}"
    )


def two_decimals(value: float) -> str:
    """With a true minus; none where it isn't known."""
    return "none" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
