"""What figures of cells share: a block of panels a cell, means with intervals, rows of a forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
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
# of a figure of blocks, inches
MOST_HEIGHT = 58.0
# width of a tick's character, inches
CHARACTER = 0.062
# inits without runs that a title names
MOST_NAMED = 2
GAP_COLOUR = "#777777"
# where a cell has no runs beside others that have
MISSING = "×"
# how pairs are made -> what the interval of their mean difference is
METHODS = {"seed": "paired t interval over seeds", "fold": "Nadeau-Bengio interval over folds"}
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


def target_on_test(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the target metric on the test set, without the column that says so."""
    if table.empty:
        return table
    return table[table["target"] & (table["part"] == "test")].drop(columns="target")


def among(table: pd.DataFrame, drawn: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows whose values of these columns are in another table, too; none where either is empty."""
    if table.empty or drawn.empty:
        return table[:0]
    own, others = (pd.MultiIndex.from_frame(rows[list(names)]) for rows in (table, drawn))
    return table[own.isin(others)]


def draw_blocks(
    table: pd.DataFrame,
    draw_block: Callable[[np.ndarray, dict[str, str]], None],
    widths: Sequence[float],
    height: float,
    rows: Sequence[str] = ("model",),
    columns: Sequence[str] = ("dataset",),
) -> Figure:
    """Panels side by side for each value of the row's and the column's names; gaps are marked.

    Without columns, more rows than a sheet can hold go on in a further column of blocks.

    Args:
        table: with the named columns; what is in none of its rows is a gap.
        draw_block: draws the panels of one cell, given by the values of the names.
        widths: of the panels of a block, inches.
        height: of all panels, inches.
        rows, columns: names of columns of the table, dataset and model among them.
    """
    down, across = _distinct(table, rows), _distinct(table, columns)
    # very many rows go on beside the first, which only those without columns can
    beside = 1 if columns else ceil(len(down) * height / MOST_HEIGHT)
    shape = (ceil(len(down) / beside), beside * len(across) * len(widths))
    size = (float(np.mean(widths)), height)
    figure, axes = panels(*shape, size, widths=[*widths] * (beside * len(across)))
    axes = np.concatenate(np.split(axes, beside, axis=1))
    for ax in axes[len(down) :].flat:
        ax.set_axis_off()
    for places, above in zip(axes, down, strict=False):
        for block, aside in zip(np.split(places, len(across)), across, strict=True):
            names = above | aside
            if rows_of(table, names).empty:
                mark_gap(block)
                continue
            draw_block(block, names)
            width = int(widths[0] * TITLE_CHARACTERS)
            words = [names[name] for name in ("dataset", "model", "subset") if name in names]
            lines = [", ".join(words), *absent(table, rows_of(table, names))]
            block[0].set_title("\n".join(fill(line, width) for line in lines))
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


def absent(table: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """A line that says which inits of the table have no run in one cell's rows; none where all have.

    Partial transfers don't count: networks have depths of their own.
    """
    return name_absent(whole_starts(table), rows)


def name_absent(table: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """As :func:`absent`, of all inits of the table."""
    gone = [init for init in table["init"].unique() if init not in set(rows["init"])]
    if len(gone) > MOST_NAMED:
        return [f"({len(gone)} inits have no runs)"]
    return [f"(no runs: {', '.join(gone)})"] if gone else []


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
        if np.isnan(row["mean"]):
            mark_unknown(ax, place)
        else:
            draw_interval(ax, place, row, styles[row["init"]])
    ax.xaxis.set_major_locator(MaxNLocator(5))
    label_rows(ax, list(rows["label"]))


def draw_interval(ax: Axes, place: int, row: pd.Series, style: InitStyle) -> None:
    """The mark and the interval of one row of a forest."""
    mean, low, high = (np.array([row[name]], dtype=float) for name in ("mean", "low", "high"))
    ax.errorbar(
        mean, [place], xerr=interval_bars(mean, low, high), **style.mark, linestyle="none",
        markersize=4.5, elinewidth=1, capsize=2,
    )  # fmt: skip


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


def mark_missing(ax: Axes, place: float, text: str = MISSING) -> None:
    """A cross, or other small words, at the foot of a place without runs or with fewer than others."""
    ax.text(
        place, 0.02, text, transform=ax.get_xaxis_transform(), color=GAP_COLOUR, fontsize=6,
        ha="center", va="bottom", rotation=0 if text == MISSING else 90,
    )  # fmt: skip


def missing_key(figure: Figure) -> None:
    """The entry of the legend for crosses, where there are any."""
    if any(text.get_text() == MISSING for ax in figure.axes for text in ax.texts):
        key(figure, "no runs", marker="x", markersize=4, color=GAP_COLOUR)


def name_networks(ax: Axes, names: Sequence[str], width: float) -> None:
    """A tick a network; aslant where the names would run into each other.

    Args:
        ax: whose networks are at 0, 1, ... of the x axis.
        names: of the networks.
        width: of the axes, inches.
    """
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(axis="x", visible=False)
    if max(map(len, names)) * CHARACTER > width / len(names):
        slant_ticks(ax)


def slant_ticks(ax: Axes) -> None:
    """Names of the x axis that would run into each other, aslant."""
    for text in ax.get_xticklabels():
        text.set(rotation=40, ha="right", rotation_mode="anchor")


def metric_label(table: pd.DataFrame) -> str:
    """The metric of a table's rows, which have one, in words."""
    metric = str(table["metric"].iloc[0])
    return METRIC_LABELS.get(metric, metric.replace("_", " "))


def span(counts: pd.Series) -> str:
    """One number, or the lowest and the highest of several."""
    fewest, most = counts.min(), counts.max()
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def count_runs(rows: pd.DataFrame) -> str:
    """How many runs an init has, of rows with the columns init, split and seed."""
    return span(rows[["init", "split", "seed"]].drop_duplicates().groupby("init").size())


def interval_key(figure: Figure, meaning: str) -> None:
    """An entry of the legend that says what the bars are."""
    key(figure, f"bars: {meaning}", linestyle="-", linewidth=0.8, color=RANDOM_COLOUR)


def signed(value: float) -> str:
    """A difference with three decimals, its sign and a true minus."""
    return f"{value:+.3f}".replace("-", "−")
