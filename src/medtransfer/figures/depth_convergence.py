"""How many steps training needs, as a function of the transferred depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from medtransfer.config.names import parse_init
from medtransfer.evaluation.names import distinguish_subsets
from medtransfer.figures.cells import draw_blocks, interval_key, metric_label, rows_of, span
from medtransfer.figures.convergence import KINDS
from medtransfer.figures.style import (
    RANDOM_COLOUR,
    interval_bars,
    key,
    legend_below,
    note,
    offsets,
    series_look,
)

# other partial starts
OTHER: dict[str, Any] = {"color": RANDOM_COLOUR, "marker": "P"}
WIDTH, HEIGHT = 3.4, 2.5
# inches of a panel for each tick, and beside them
TICK_WIDTH, BESIDE = 0.17, 0.9
# between places with words, as a share of the deepest transfer
GAP = 0.12
CELL = ["dataset", "recipe", "model", "subset", "threshold_kind"]


@dataclass(frozen=True)
class DepthSeries:
    """Starts of growing depth: the units of a source on the same rest.

    Attributes:
        name: in the legend.
        starts: transferred units of each init: 0 for none, NaN for the whole source.
    """

    name: str
    starts: dict[str, float]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The mean steps of cells with a partial start: of these, their ends, and of the reference.

    Args:
        tables: ``convergence_means``.
    """
    means = tables["convergence_means"]
    if means.empty:
        return {"convergence_means": means}
    cells = means.groupby(CELL, sort=False)["init"]
    drawn = cells.transform(placed_inits) | (means["init"] == means["reference"])
    partial = means["init"].map(is_partial).groupby([means[name] for name in CELL]).transform("any")
    return {"convergence_means": means[drawn.astype(bool) & partial]}


def placed_inits(inits: pd.Series) -> pd.Series:
    """Whether each init of a cell has a place on the axis of depths."""
    return inits.isin(
        {*(init for series in depth_series(inits) for init in series.starts), *other_starts(inits)}
    )


def is_partial(init: str) -> bool:
    """Whether a start takes a part of a network from a source, or filters of its own."""
    return parse_init(init).partial or parse_init(init).gabor


def depth_series(inits: pd.Series) -> list[DepthSeries]:
    """The prefixes of each source on each kind of rest, from its start without any to the whole source.

    Args:
        inits: of a cell, with repetitions.
    """
    known = {str(name): parse_init(name) for name in inits.unique()}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, init in known.items():
        if init.partial and init.rest != "slim":
            starts = found.setdefault((str(init.source), str(init.baseline)), {})
            starts[name] = float(init.upto or 0)
    return [
        DepthSeries(
            f"{source} on {baseline.removeprefix(f'{source}-')}",
            {
                **({baseline: 0.0} if baseline in known else {}),
                **dict(sorted(starts.items(), key=lambda start: start[1])),
                **({source: np.nan} if source in known else {}),
            },
        )
        for (source, baseline), starts in found.items()
    ]


def other_starts(inits: pd.Series) -> dict[str, str]:
    """The words at the ticks of partial starts that are no prefix on an unchanged rest."""
    words = {}
    for name in inits.unique():
        init = parse_init(name)
        if init.gabor:
            words[str(name)] = "gabor"
        elif init.partial and init.rest == "slim":
            words[str(name)] = f"{init.upto}\nslim"
    return words


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns), network and threshold (rows); a line a source and rest.

    Args:
        tables: ``convergence_means``.
    """
    means = select(tables)["convergence_means"]
    if means.empty:
        return note(
            "no steps by depth: no cell of this study has a threshold to reach and a start that is "
            "gabor or <source>-upto<k>-..."
        )
    means = distinguish_subsets(means)
    names = [series.name for series in depth_series(means["init"])]

    def draw_cell(axes: np.ndarray, cell: dict[str, str]) -> None:
        draw_depths(axes[0], rows_of(means, cell), names)

    width = max(WIDTH, TICK_WIDTH * (means.groupby(CELL).size().max() + 2) + BESIDE)
    figure = draw_blocks(means, draw_cell, (width,), HEIGHT, rows=("model", "threshold_kind"))
    explain_marks(figure, means)
    legend_below(figure, columns=3)
    return figure


def draw_depths(ax: Axes, means: pd.DataFrame, names: list[str]) -> None:
    """Mean steps over the number of transferred units; beside them other starts; the reference behind.

    Args:
        ax: where to draw.
        means: of one cell and threshold, a row an init.
        names: of the series of all panels.
    """
    rows = means.set_index("init")
    draw_reference(ax, rows)
    lines, others = depth_series(means["init"]), other_starts(means["init"])
    depths = sorted({units for series in lines for units in series.starts.values() if units >= 0})
    # words need more room than numbers
    gap = max(1.0, GAP * max(depths, default=0.0))
    whole = max(depths, default=0.0) + gap
    if not any(rows["reference"].iloc[0] in series.starts for series in lines):
        count_reference(ax, rows)
    shifts = dict(zip(names, offsets(len(names), 0.4), strict=True))
    for series in lines:
        look = series_look(names.index(series.name))
        places = np.nan_to_num(np.array(list(series.starts.values())), nan=whole)
        draw_steps(ax, places + shifts[series.name], rows.loc[list(series.starts)], look)
        ax.plot([], [], **look, linestyle="-", markersize=4, label=series.name)
    beside = whole + gap * (2 + 1.5 * np.arange(len(others)))
    draw_steps(ax, beside, rows.loc[list(others)], OTHER, joined=False)
    ticks = {
        **{depth: f"{depth:.0f}" for depth in depths},
        **dict(zip(beside, others.values(), strict=True)),
    }
    if any(np.isnan(list(series.starts.values())).any() for series in lines):
        ticks[whole] = "all"
    label_axes(ax, means, dict(sorted(ticks.items())))


def draw_reference(ax: Axes, rows: pd.DataFrame) -> None:
    """The reference's mean steps as a line in its interval, and the horizon.

    Args:
        ax: where to draw.
        rows: of one cell and threshold, indexed by init.
    """
    ax.axhline(rows["horizon"].iloc[0], color=RANDOM_COLOUR, linestyle=":", linewidth=0.8)
    name = rows["reference"].iloc[0]
    if name not in rows.index:
        return
    mean, low, high = shown_interval(rows.loc[[name]])
    ax.axhspan(low[0], high[0], color=RANDOM_COLOUR, alpha=0.12, linewidth=0)
    ax.axhline(mean[0], color=RANDOM_COLOUR, linestyle="--", linewidth=0.8, label=f"{name} (reference)")


def count_reference(ax: Axes, rows: pd.DataFrame) -> None:
    """How many runs of the reference got there, at the end of its line; nothing if all did.

    Args:
        ax: where to draw.
        rows: of one cell and threshold, indexed by init.
    """
    name = rows["reference"].iloc[0]
    if name in rows.index and rows.loc[name, "reached"] < rows.loc[name, "runs"]:
        ax.annotate(
            f"{rows.loc[name, 'reached']} of {rows.loc[name, 'runs']}", (1, rows.loc[name, "mean"]),
            (-2, -2), xycoords=ax.get_yaxis_transform(), textcoords="offset points", ha="right",
            va="top", fontsize=6, color=RANDOM_COLOUR,
        )  # fmt: skip


def draw_steps(
    ax: Axes, places: np.ndarray, rows: pd.DataFrame, look: dict[str, Any], joined: bool = True
) -> None:
    """Mean steps with intervals; open, and with a word, where some runs never got there.

    Args:
        ax: where to draw.
        places: N on the x axis.
        rows: N, with the columns of the table.
        look: colour and marker.
        joined: by a line.
    """
    mean, low, high = shown_interval(rows)
    ax.errorbar(
        places, mean, interval_bars(mean, low, high), color=look["color"], markersize=0,
        linestyle="-" if joined else "none", linewidth=1, elinewidth=0.8, capsize=2,
    )  # fmt: skip
    everybody = (rows["reached"] == rows["runs"]).to_numpy()
    for there, face in ((everybody, look["color"]), (~everybody, "white")):
        ax.plot(
            places[there], mean[there], **look, markersize=4.5, linestyle="none", markerfacecolor=face
        )
    for place, (_, row) in zip(places[~everybody], rows[~everybody].iterrows(), strict=True):
        ax.annotate(
            f"{row['reached']} of {row['runs']}", (place, row["horizon"]), (0, 4), rotation=90,
            textcoords="offset points", ha="center", va="bottom", fontsize=6, color=look["color"],
        )  # fmt: skip


def shown_interval(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means with the parts of their intervals that are possible: from 0 to the horizon."""
    mean, low, high = (rows[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    horizon = rows["horizon"].to_numpy(dtype=float)
    return mean, low.clip(min=0), np.minimum(high, horizon)


def label_axes(ax: Axes, means: pd.DataFrame, ticks: dict[float, str]) -> None:
    """Names of the places, what the steps lead to, and room for words above the horizon.

    Args:
        ax: to label.
        means: of one cell and threshold.
        ticks: word at each place, from left to right.
    """
    first = means.iloc[0]
    ax.xaxis.set_major_locator(FixedLocator(list(ticks)))
    ax.set_xticklabels(list(ticks.values()))
    ax.set_xlim(min(ticks) - 0.6, max(ticks) + 0.6)
    room = 1.05 if (means["reached"] == means["runs"]).all() else 1.3
    ax.set_ylim(0, room * first["horizon"])
    ax.set_xlabel(
        f"transferred units ({span(means['runs'])} runs)\nthreshold: {KINDS[first['threshold_kind']]}"
    )
    ax.set_ylabel(
        f"mean steps, at most {first['horizon']},\n"
        f"to validation {metric_label(means)} {first['threshold']:.3f}"
    )


def explain_marks(figure: Figure, means: pd.DataFrame) -> None:
    """Entries of the legend for the marks that occur."""
    if means["low"].notna().any():
        interval_key(figure, "interval of the mean")
    if other_starts(means["init"]):
        key(figure, "another partial start", **OTHER, markersize=4.5)
    if (means["reached"] < means["runs"]).any():
        key(figure, "open: not all there", marker="o", markersize=4.5, markerfacecolor="white")
    key(figure, "most that counts", linestyle=":", linewidth=0.8)
