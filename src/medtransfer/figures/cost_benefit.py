"""What a start costs against what it brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from medtransfer.evaluation.names import distinguish_subsets, whole_starts
from medtransfer.figures.cells import (
    GAP_COLOUR,
    ZERO_LINE,
    interval_key,
    mark_gap,
    metric_label,
    span,
)
from medtransfer.figures.gain_points import MODEL_MARKERS
from medtransfer.figures.style import (
    SOURCE_COLOURS,
    interval_bars,
    key,
    legend_below,
    note,
    ordered,
    panels,
)

SIZE = (2.4, 2.1)
# of the lowest and to the highest hours: the least that an axis spans on either side
MARGIN = 1.6
# an axis that spans less has ticks at 2 and 5, too
DECADES = 50
ALONE, WHOLE = "fine-tuning", "with pre-training"


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The whole starts whose hours and gain are known.

    Args:
        tables: ``costs``.
    """
    costs = tables["costs"]
    if len(costs):
        costs = whole_starts(costs).dropna(subset=["hours", "gain"])
    return {"costs": costs}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (rows) and init (columns); a mark a network.

    Args:
        tables: ``costs``.
    """
    costs = select(tables)["costs"]
    if costs.empty:
        return note("no cost to set against a gain: no run of this study says how long it took")
    costs = distinguish_subsets(costs)
    looks = network_looks(costs["model"])
    down = list(costs[["dataset", "unit"]].drop_duplicates().itertuples(index=False))
    inits = ordered(costs["init"])
    figure, axes = panels(len(down), len(inits), SIZE, share_y="row")
    for places, (dataset, unit) in zip(axes, down, strict=True):
        of_unit = costs[costs["unit"] == unit]
        own = of_unit[of_unit["dataset"] == dataset]
        for ax, init in zip(places, inits, strict=True):
            rows = own[own["init"] == init]
            if rows.empty:
                mark_gap(np.array([ax]))
                continue
            draw_costs(ax, rows, looks)
            ax.set_xlim(*hours_range(of_unit))
            ax.set_title(f"{dataset}: {init}\n({span(rows['pairs'])} {_unit(rows)}s)")
        label_costs(places, own)
    explain_marks(figure, costs, looks)
    legend_below(figure)
    return figure


def _unit(rows: pd.DataFrame) -> str:
    return " or ".join(ordered(rows["paired_by"]))


def network_looks(models: pd.Series) -> dict[str, dict[str, Any]]:
    """Marker and colour of each network; no two alike up to 72 of them."""
    markers, colours = len(MODEL_MARKERS), len(SOURCE_COLOURS)
    return {
        name: {
            "marker": MODEL_MARKERS[i % markers],
            "color": SOURCE_COLOURS[(i + i // markers) % colours],
        }
        for i, name in enumerate(ordered(models))
    }


def hours_range(costs: pd.DataFrame) -> tuple[float, float]:
    """The axis of hours, the same for all that have one unit."""
    hours = pd.concat([costs["hours"], costs["reference_hours"]])
    return hours.min() / MARGIN, hours.max() * MARGIN


def draw_costs(ax: Axes, rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Gains with intervals over hours, joined with those that count the pre-training.

    Args:
        ax: where to draw.
        rows: of one data set and init.
        looks: of each network.
    """
    ax.axhline(0, **ZERO_LINE)
    ax.set_xscale("log")
    for model, costs in rows.groupby("model", sort=False):
        look = looks[str(model)]
        alone, whole = (costs[costs["counted"] == name] for name in (ALONE, WHOLE))
        gain, low, high = (alone[name].to_numpy(dtype=float) for name in ("gain", "low", "high"))
        ax.errorbar(
            alone["hours"], gain, interval_bars(gain, low, high), **look, linestyle="none",
            markersize=4.5, elinewidth=0.8, capsize=1.5,
        )  # fmt: skip
        ax.plot(alone["reference_hours"], np.zeros(len(alone)), "|", color=look["color"], markersize=7)
        ax.plot(costs["hours"], costs["gain"], color=look["color"], linewidth=0.7, linestyle=":")
        ax.plot(
            whole["hours"], whole["gain"], **look, markerfacecolor="white", linestyle="none",
            markersize=4.5,
        )  # fmt: skip


def label_costs(places: np.ndarray, rows: pd.DataFrame) -> None:
    """The axes of one data set."""
    over = " or ".join(ordered(rows["reference"]))
    places[0].set_ylabel(f"gain in test {metric_label(rows)}\nover {over}")
    for ax in places:
        ax.set_xlabel(f"{rows['unit'].iloc[0]} a run")
        if ax.get_xscale() == "log":
            low, high = ax.get_xlim()
            within = (1.0, 2.0, 5.0) if high < DECADES * low else (1.0,)
            ax.xaxis.set_major_locator(LogLocator(subs=within, numticks=6))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda hours, _: f"{hours:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())


def explain_marks(figure: Figure, costs: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """The legend: networks, then what marks mean."""
    for model, look in looks.items():
        key(figure, model, **look, markersize=4.5)
    if (costs["counted"] == WHOLE).any():
        hollow = {"marker": "o", "markerfacecolor": "white", "markersize": 4.5}
        key(figure, "with its share of pre-training", **hollow, color=GAP_COLOUR)
    key(figure, "a run of the reference", marker="|", markersize=7, color=GAP_COLOUR)
    interval_key(figure, "paired interval")
