"""The map of all units of all networks of a data set by CKA: one line a run, in the order of depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.figures.by_depth import analysed
from medtransfer.figures.cells import GAP_COLOUR, mark_gap, rows_of
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note, ordered, panels

MOMENTS = ("start", "end")
# of one matrix of distances
MAP = ["dataset", "split"]
RUN = ["recipe", "dataset", "model", "init", "subset", "split", "seed", "moment"]
# inches of a panel of one map, and of several beside each other
LARGE, SMALL = (2.7, 2.7), (2.0, 2.0)
OTHERS: Any = {"color": "#D5D5D5", "linewidth": 0.6, "zorder": 1}
FIRST: Any = {"marker": ".", "markersize": 5, "linestyle": "none"}
LAST_SIZE = 4.5


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The units of the runs of whole starts.

    Args:
        tables: ``zoo_map``.
    """
    return {"zoo_map": analysed(tables["zoo_map"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One row a network; a column a data set (and split), and in it the start and the end of its runs.

    Args:
        tables: ``zoo_map``.
    """
    table = select(tables)["zoo_map"]
    if table.empty:
        return note("no map: no network of this study is analysed")
    styles = init_styles(table["init"])
    found = table[MAP].drop_duplicates().itertuples(index=False)
    maps = [dict(zip(MAP, map(str, names), strict=True)) for names in found]
    models = ordered(table["model"])
    figure, axes = panels(len(models), len(maps) * len(MOMENTS), LARGE if len(maps) == 1 else SMALL)
    columns = [(names, moment) for names in maps for moment in MOMENTS]
    for places, model in zip(axes, models, strict=True):
        for ax, (names, moment) in zip(places, columns, strict=True):
            draw_map(ax, rows_of(table, names), (model, moment), styles)
        places[0].set_ylabel(model)
    titles(axes, columns, table)
    keys(figure, styles, several=len(models) > 1)
    return figure


def draw_map(
    ax: Axes, table: pd.DataFrame, shown: tuple[str, str], styles: dict[str, InitStyle]
) -> None:
    """A line a run of one network at one moment; behind them those of the other networks."""
    model, moment = shown
    now = table[table["moment"] == moment]
    own = now[now["model"] == model]
    if own.empty:
        mark_gap(np.array([ax]))
        return
    for _, run in now[now["model"] != model].groupby(RUN, sort=False):
        ax.plot(*run.sort_values("order")[["x", "y"]].to_numpy().T, "-", **OTHERS)
    for _, run in own.groupby(RUN, sort=False):
        draw_run(ax, run, styles[run["init"].iloc[0]])
    limit_alike(ax, table)


def draw_run(ax: Axes, run: pd.DataFrame, style: InitStyle) -> None:
    """From the first unit, a dot, to the last, the marker of the start."""
    x, y = run.sort_values("order")[["x", "y"]].to_numpy().T
    ax.plot(x, y, color=style.colour, linestyle=style.line, linewidth=0.7, alpha=0.8)
    ax.plot(x[:1], y[:1], color=style.colour, **FIRST)
    ax.plot(x[-1:], y[-1:], **style.mark, markersize=LAST_SIZE, linestyle="none", alpha=0.9)


def limit_alike(ax: Axes, table: pd.DataFrame) -> None:
    """The same square in all panels of a map: a distance is as long along x as along y."""
    middle = [(table[name].min() + table[name].max()) / 2 for name in ("x", "y")]
    half = max(np.ptp(table["x"]), np.ptp(table["y"])) * 0.54 or 1.0
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def titles(axes: np.ndarray, columns: list[tuple[dict[str, str], str]], table: pd.DataFrame) -> None:
    """Which data set, moment and runs; how much of the distances the plane holds."""
    several = table["split"].nunique() > 1
    for column, (names, moment) in enumerate(columns):
        own = rows_of(table, names)
        place = names["dataset"] + (f", {names['split']}" if several else "")
        runs = len(own.loc[own["moment"] == moment, RUN].drop_duplicates())
        shown = f"{moment} of {runs} run{'s' * (runs > 1)}"
        held = f"plane: {own['held'].iloc[0]:.0%} of squared distances"
        axes[0, column].set_title(f"{place}\n{shown}\n{held}", fontsize=7)
        drawn = [ax for ax in axes[:, column] if ax.axison]
        drawn[-1].set_xlabel("distance √(2 − 2 CKA)")


def keys(figure: Figure, styles: dict[str, InitStyle], several: bool) -> None:
    """The legend: starts, what the marks are, the other networks."""
    for init, style in styles.items():
        key(figure, init, **style.mark, linestyle=style.line, linewidth=1, markersize=LAST_SIZE)
    key(figure, "first unit (marker: last)", **FIRST)
    if several:
        key(figure, "other networks", linestyle="-", linewidth=1, color=GAP_COLOUR, alpha=0.6)
    legend_below(figure)
