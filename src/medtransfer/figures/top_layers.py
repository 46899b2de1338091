"""How alike the units before the output are in two trained networks, by how both started."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import CHANCE, draw_cells
from medtransfer.figures.cca import MEASURES, UNRELIABLE
from medtransfer.figures.cells import interval_key
from medtransfer.figures.style import (
    RANDOM_COLOUR,
    interval_bars,
    key,
    legend_below,
    note,
    offsets,
)

MARKERS = {"svcca": "o", "pwcca": "s", "sampled_channels": "^"}
PAIRS = ("random-random", "random-transfer", "transfer-transfer")
SIZE = (2.4, 2.3)


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The known means in the drawn measures.

    Args:
        tables: ``top_layers``.
    """
    table = tables["top_layers"]
    if len(table):
        table = table[table["measure"].isin(MEASURES) & table["mean"].notna()]
    return {"top_layers": table}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network.

    Args:
        tables: ``top_layers``.
    """
    table = select(tables)["top_layers"]
    if table.empty:
        return note("no top units: no two runs of this study whose networks are alike are analysed")
    figure = draw_cells(table, draw_top_layers, SIZE)
    key(figure, "images shuffled", linestyle=CHANCE.line, linewidth=CHANCE.width)
    if table["sd"].notna().any():
        interval_key(figure, "sd over pairs")
    if not table["reliable"].all():
        key(figure, "too few rows for the channels", marker=UNRELIABLE, markersize=5)
    legend_below(figure)
    return figure


def draw_top_layers(ax: Axes, table: pd.DataFrame) -> None:
    """Mean and standard deviation over pairs of networks by how both started, a marker a measure."""
    for shift, (measure, name) in zip(offsets(len(MEASURES), 0.7), MEASURES.items(), strict=True):
        rows = table[table["measure"] == measure]
        places = rows["pair"].map(PAIRS.index).to_numpy() + shift
        mean, sd = (rows[column].to_numpy(dtype=float) for column in ("mean", "sd"))
        ax.errorbar(
            places, mean, interval_bars(mean, mean - sd, mean + sd), color=RANDOM_COLOUR,
            fmt=MARKERS[measure], markersize=4, elinewidth=0.8, capsize=2, label=name,
        )  # fmt: skip
        ax.hlines(rows["baseline"], places - 0.1, places + 0.1, RANDOM_COLOUR, "dotted")
        doubtful = ~rows["reliable"].to_numpy(dtype=bool)
        ax.plot(places[doubtful], mean[doubtful], UNRELIABLE, color=RANDOM_COLOUR, markersize=7)
    counts = table.groupby("pair")["pairs"].max()
    ax.set_xticks(range(len(PAIRS)), [pair_label(pair, counts.get(pair, 0)) for pair in PAIRS])
    ax.set_xlim(-0.5, len(PAIRS) - 0.5)
    ax.set_ylim(0, 1.05)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("top two units of\ntwo trained networks")


def pair_label(pair: str, count: int) -> str:
    """How two networks started, and how many pairs there are."""
    return pair.replace("-", "\n") + f"\n{count or 'no'} {'pair' if count == 1 else 'pairs'}"
