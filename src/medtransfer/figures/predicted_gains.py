"""Gains as the other data sets predict them, against those that were realised."""

from __future__ import annotations

from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.evaluation.names import METRIC_LABELS, distinguish_subsets
from medtransfer.figures.cells import GAP_COLOUR, ZERO_LINE, among, signed
from medtransfer.figures.gain_points import SOURCE_FILLS, dataset_styles
from medtransfer.figures.style import interval_bars, key, legend_below, note, ordered, panels
from medtransfer.figures.transferability import SCORES

PREDICTORS = {
    "mean": "mean of the other data sets",
    "factors": "mixed model of factors",
    **SCORES,
}
NAIVE = "mean"
COLUMNS = 3
# mean, low and high
PREDICTED = ("predicted", "predicted_low", "predicted_high")
REALISED = ("gain", "gain_low", "gain_high")
SIZE = (2.4, 2.8)
REASON_CHARACTERS = 30
EQUAL: Any = {"color": "#888888", "linewidth": 0.8, "linestyle": (0, (4, 2))}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The gains that are predicted, and the errors of all predictors in their metrics.

    Args:
        tables: ``predicted`` and ``errors``.
    """
    predicted, errors = tables["predicted"], tables["errors"]
    if predicted.empty:
        return {"predicted": predicted, "errors": errors}
    predicted = distinguish_subsets(predicted.dropna(subset=["predicted"]))
    return {"predicted": predicted, "errors": among(errors, predicted, ["metric"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a predictor, those of a metric together; what isn't predicted says why.

    Args:
        tables: ``predicted`` and ``errors``.
    """
    predicted, errors = select(tables).values()
    if predicted.empty:
        return note(f"no gain can be predicted: {reasons(tables['errors'])}")
    looks = dataset_styles(predicted["dataset"])
    fills = dict(zip(ordered(predicted["source"]), cycle(SOURCE_FILLS), strict=False))
    columns = min(COLUMNS, errors.groupby("metric").size().max())
    rows = [row for metric in ordered(errors["metric"]) for row in _lines(errors, metric, columns)]
    figure, axes = panels(len(rows), columns, SIZE)
    for places, found in zip(axes, rows, strict=True):
        for ax in places[len(found) :]:
            ax.set_axis_off()
        for ax, error in zip(places, found, strict=False):
            own = (predicted["metric"] == error["metric"]) & (
                predicted["predictor"] == error["predictor"]
            )
            draw_predictor(ax, predicted[own], error, (looks, fills))
    keys(figure, looks, fills)
    return figure


def keys(figure: Figure, looks: dict[str, dict[str, Any]], fills: dict[str, str]) -> None:
    """The legend: data sets, sources where there are several, lines and bars."""
    for name, look in looks.items():
        key(figure, name, markersize=5, **look)
    for name, filling in fills.items() if len(fills) > 1 else []:
        key(figure, f"from {name}", marker="o", markersize=6, fillstyle=filling)
    key(figure, "predicted = realised", **EQUAL)
    key(figure, "across: prediction interval", linestyle="-", linewidth=0.8)
    key(figure, "upright: paired interval", marker="|", markersize=8, markeredgewidth=0.8)
    legend_below(figure, COLUMNS)


def _lines(errors: pd.DataFrame, metric: str, columns: int) -> list[list[pd.Series]]:
    """The predictors of a metric, so many in a row."""
    own = [row for _, row in errors[errors["metric"] == metric].iterrows()]
    return [own[start : start + columns] for start in range(0, len(own), columns)]


def reasons(errors: pd.DataFrame) -> str:
    """Why nothing was predicted, in the words of the table."""
    if errors.empty:
        return "this study has no gain of a source over the reference"
    texts = [text.removeprefix("not predicted: ") for text in errors["remark"] if text]
    return "; ".join(ordered(texts))


def draw_predictor(
    ax: Axes,
    gains: pd.DataFrame,
    error: pd.Series,
    styles: tuple[dict[str, dict[str, Any]], dict[str, str]],
) -> None:
    """Realised gains over predicted ones, each with its interval; or why there are none.

    Args:
        ax: where to draw.
        gains: of one predictor and metric.
        error: its errors.
        styles: looks of data sets, fillings of sources.
    """
    name = PREDICTORS.get(error["predictor"], error["predictor"])
    if gains.empty:
        ax.set_axis_off()
        ax.set_title(name)
        ax.text(0.5, 0.5, fill(error["remark"], REASON_CHARACTERS), ha="center", va="center",
                color=GAP_COLOUR, transform=ax.transAxes)  # fmt: skip
        return
    for _, point in gains.iterrows():
        draw_gain(ax, point, styles[0][point["dataset"]] | {"fillstyle": styles[1][point["source"]]})
    ax.axhline(0, **ZERO_LINE)
    ax.axvline(0, **ZERO_LINE)
    ax.axline((0, 0), slope=1, **EQUAL)
    limit_alike(ax, gains)
    metric = METRIC_LABELS.get(error["metric"], error["metric"])
    over = " or ".join(ordered(gains["reference"]))
    ax.set_xlabel(f"predicted gain in {metric}")
    ax.set_ylabel(f"realised gain over {over}")
    ax.set_title(f"{name}\n{error_text(error)}", fontsize=6.5)


def draw_gain(ax: Axes, point: pd.Series, look: dict[str, Any]) -> None:
    """A mark, and behind all marks its two intervals."""
    x, y = ([np.array([point[name]], dtype=float) for name in names] for names in (PREDICTED, REALISED))
    ax.errorbar(
        x[0], y[0], xerr=interval_bars(*x), yerr=interval_bars(*y), linestyle="none",
        ecolor=look["color"], elinewidth=0.6, alpha=0.45, zorder=1,
    )  # fmt: skip
    ax.plot(x[0], y[0], markersize=4.5, linestyle="none", markeredgewidth=0.7, zorder=3, **look)


def limit_alike(ax: Axes, gains: pd.DataFrame) -> None:
    """The same range on both axes: of the marks, and of intervals as far again as the marks reach."""
    marks = np.append(gains[[PREDICTED[0], REALISED[0]]].to_numpy(dtype=float), 0.0)
    ends = gains[[*PREDICTED, *REALISED]].to_numpy(dtype=float)
    span = float(np.ptp(marks)) or 0.01
    low = max(min(np.nanmin(ends), marks.min()), marks.min() - span / 2) - 0.05 * span
    high = min(max(np.nanmax(ends), marks.max()), marks.max() + span / 2) + 0.05 * span
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_box_aspect(1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def error_text(error: pd.Series) -> str:
    """The mean absolute error, its difference to the naive one, how many intervals hold their gain."""
    lines = [f"mean absolute error {error['error']:.3f}"]
    if error["predictor"] != NAIVE:
        low, high = error["low"], error["high"]
        interval = "" if pd.isna(low) else f" [{signed(low)}, {signed(high)}]"
        lines[0] += f", naive {error['naive_error']:.3f}"
        lines.append(f"difference {signed(error['difference'])}{interval}")
    lines.append(f"{error['inside']} of {error['predicted']} in the prediction interval")
    if error["predicted"] < error["gains"]:
        lines.append(f"{error['gains'] - error['predicted']} not predicted")
    return "\n".join(lines)
