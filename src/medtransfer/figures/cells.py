"""What figures of cells share: a block of panels a cell, means with intervals, rows of a forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.evaluation.names import METRIC_LABELS, distinguish_subsets, whole_starts
from medtransfer.figures.style import RANDOM_COLOUR, InitStyle, interval_bars, key, panels

# characters of a title in an inch, and the height of a forest's row, in inches
TITLE_CHARACTERS = 14
FOREST_ROW = 0.2
GAP_COLOUR = "#888888"
ZERO_LINE: Any = {"color": "#888888", "linewidth": 0.8}


def analysed_alike(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of whole starts; a network that is named with its subset in one table is so in all.

    Args:
        tables: empty ones are returned as they are.
    """
    chosen = [table if table.empty else whole_starts(table) for table in tables]
    keys = {n: table[["dataset", "model", "subset"]] for n, table in enumerate(chosen) if len(table)}
    if not keys:
        return chosen
    models = distinguish_subsets(pd.concat(keys))["model"]
    return [
        table.assign(model=models.loc[[n]].to_numpy()) if n in keys else table
        for n, table in enumerate(chosen)
    ]


def draw_blocks(
    table: pd.DataFrame,
    draw_block: Callable[[np.ndarray, dict[str, str]], None],
    widths: Sequence[float],
    height: float,
    rows: Sequence[str] = ("model",),
    columns: Sequence[str] = ("dataset",),
) -> Figure:
    """Panels side by side for each value of the row's and the column's names; gaps are marked.

    Args:
        table: with the named columns; what is in none of its rows is a gap.
        draw_block: draws the panels of one cell, given by the values of the names.
        widths: of the panels of a block, inches.
        height: of all panels, inches.
        rows, columns: names of columns of the table, dataset and model among them.
    """
    down, across = _distinct(table, rows), _distinct(table, columns)
    size = (float(np.mean(widths)), height)
    figure, axes = panels(len(down), len(across) * len(widths), size, widths=[*widths] * len(across))
    for places, above in zip(axes, down, strict=True):
        for block, beside in zip(np.split(places, len(across)), across, strict=True):
            names = above | beside
            if rows_of(table, names).empty:
                mark_gap(block)
                continue
            draw_block(block, names)
            width = int(widths[0] * TITLE_CHARACTERS)
            block[0].set_title(fill(f"{names['dataset']}, {names['model']}", width))
    return figure


def _distinct(table: pd.DataFrame, names: Sequence[str]) -> list[dict[str, str]]:
    """The combinations of values that occur, in their order; one of nothing without names."""
    if not names:
        return [{}]
    found = table[list(names)].drop_duplicates()
    return [dict(zip(names, values, strict=True)) for values in found.itertuples(index=False)]


def rows_of(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """The rows with these values."""
    return table[np.logical_and.reduce([table[name] == value for name, value in names.items()])]


def mark_gap(axes: np.ndarray) -> None:
    """Panels of a cell without runs: nothing but a word that says so."""
    for ax in axes:
        ax.set_axis_off()
    axes[0].text(
        0.5, 0.5, "no runs", ha="center", va="center", color=GAP_COLOUR, transform=axes[0].transAxes
    )


def draw_intervals(
    ax: Axes,
    places: np.ndarray,
    rows: pd.DataFrame,
    style: InitStyle,
    label: str | None = None,
    joined: bool = True,
) -> None:
    """A mark a row with its interval; gaps where nothing is known.

    Args:
        ax: where to draw.
        places: N on the x axis.
        rows: N, with the columns ``mean``, ``low`` and ``high``.
        style: of the init.
        label: in the legend.
        joined: by a line.
    """
    mean, low, high = (rows[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    ax.errorbar(
        places, mean, interval_bars(mean, low, high), **style.mark,
        linestyle=style.line if joined else "none", linewidth=1, markersize=4, elinewidth=0.8,
        capsize=1.5, label=label,
    )  # fmt: skip


def draw_forest(ax: Axes, rows: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line a row: its mark with interval, around a line at 0; what isn't known is said.

    Args:
        ax: where to draw.
        rows: N, with the columns ``label``, ``init``, ``mean``, ``low`` and ``high``.
        styles: of all inits.
    """
    ax.axvline(0, **ZERO_LINE)
    for place, (_, row) in enumerate(rows.iterrows()):
        mean, low, high = (np.array([row[name]], dtype=float) for name in ("mean", "low", "high"))
        if np.isnan(mean[0]):
            mark_unknown(ax, place)
            continue
        ax.errorbar(
            mean, [place], xerr=interval_bars(mean, low, high), **styles[row["init"]].mark,
            linestyle="none", markersize=4.5, elinewidth=1, capsize=2,
        )  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(5))
    label_rows(ax, list(rows["label"]))


def draw_own_and_differences(ax: Axes, rows: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A forest of the inits' own values and, below a line, of the differences of two.

    Args:
        ax: where to draw.
        rows: N, with the columns ``init``, ``reference`` (empty: none), ``mean``, ``low`` and ``high``.
        styles: of all inits.
    """
    rows = rows.sort_values("reference", key=lambda names: names != "", kind="stable")
    labels = [f"{row['init']} − {row['reference']}".removesuffix(" − ") for _, row in rows.iterrows()]
    draw_forest(ax, rows.assign(label=labels), styles)
    ax.axhline((rows["reference"] == "").sum() - 0.5, color="#BBBBBB", linewidth=0.5)


def mark_unknown(ax: Axes, place: int) -> None:
    """Say that a row of a forest has no value."""
    ax.text(
        0.03, place, "not known", transform=ax.get_yaxis_transform(), color=GAP_COLOUR, va="center",
        fontsize=6.5,
    )  # fmt: skip


def label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """The names of a forest's rows, the first at the top."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def forest_height(rows: int, least: float, lines: int = 1) -> float:
    """Inches of a panel that holds so many rows of so many lines of text."""
    return max(least, FOREST_ROW * rows * lines + 0.7)


def metric_label(table: pd.DataFrame) -> str:
    """The metric of a table's rows, which have one, in words."""
    metric = str(table["metric"].iloc[0])
    return METRIC_LABELS.get(metric, metric.replace("_", " "))


def span(counts: pd.Series) -> str:
    """One number, or the lowest and the highest of several."""
    fewest, most = counts.min(), counts.max()
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def interval_key(figure: Figure, meaning: str) -> None:
    """An entry of the legend that says what the bars are."""
    key(figure, f"bars: {meaning}", linestyle="-", linewidth=0.8, color=RANDOM_COLOUR)


def signed(value: float) -> str:
    """A difference with three decimals, its sign and a true minus."""
    return f"{value:+.3f}".replace("-", "−")
