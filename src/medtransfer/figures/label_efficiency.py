"""The metric against the number of training images, and with how many the reference is matched."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from medtransfer.config.names import is_redrawn
from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    among,
    draw_blocks,
    forest_height,
    interval_key,
    label_rows,
    mark_unknown,
    metric_label,
    rows_of,
    span,
    target_on_test,
)
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    interval_bars,
    key,
    legend_below,
    note,
    offsets,
)

WIDTHS = (3.2, 2.6)
CELL = ["recipe", "dataset", "model"]
# how a share is meant -> the mark of it and of its interval's ends
MARKS = {"at most": "<", "more than": ">"}
FIXED, REDRAWN = "fixed", "redrawn"
DRAWS = {FIXED: "the same subsets for all seeds", REDRAWN: "subsets drawn anew for each seed"}
# how far inits are drawn side by side on the logarithmic axis, in decades
SPREAD = 0.06
PERCENTS = (0.5, 1, 2, 5, 10, 20, 50, 100)


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The means of cells with several sizes, and the shares that match the reference in them.

    A mean over runs on all images is in both ways to draw subsets, which the column ``draws`` names.

    Args:
        tables: ``label_efficiency`` and ``summary``.
    """
    shares, summary = tables["label_efficiency"], several_sizes(target_on_test(tables["summary"]))
    if not shares.empty:
        shares = whole_starts(shares[shares["part"] == "test"])
    return {"label_efficiency": among(shares, summary, CELL), "summary": summary}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block a data set (columns) and network (rows): curves, and shares that match the reference.

    Args:
        tables: ``label_efficiency`` and ``summary``.
    """
    shares, summary = select(tables).values()
    if summary.empty:
        return note("no label efficiency: no init of this study has two numbers of training images")
    styles = init_styles(summary["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        found = shares if shares.empty else rows_of(shares, names)
        draw_curves(axes[0], rows_of(summary, names), styles)
        draw_reference(axes[0], found)
        draw_shares(axes[1], found, styles)

    most = 1 if shares.empty else int(shares.groupby(["dataset", "model"]).size().max())
    figure = draw_blocks(summary, draw_cell, WIDTHS, forest_height(most, 2.3))
    draw_keys(figure, summary)
    legend_below(figure)
    return figure


def several_sizes(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cells in which an init has two numbers of training images.

    With the column ``draws``: a run on all images belongs to both ways of drawing subsets.
    """
    if summary.empty:
        return summary
    rows = whole_starts(summary[summary["training_images"] > 0])
    sizes = rows.groupby([*CELL, "init"])["training_images"].transform("nunique")
    several = sizes.groupby([rows[name] for name in CELL]).transform("max") > 1
    rows = rows[several]
    redrawn = rows["subset"].map(is_redrawn).astype(bool)
    fixed = rows[~redrawn].assign(draws=FIXED)
    anew = rows[redrawn | (rows["subset"] == "full")].assign(draws=REDRAWN)
    return pd.concat([fixed, anew[: len(anew) * bool(redrawn.any())]])


def draw_curves(ax: Axes, summary: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init and way to draw subsets, with intervals, over the number of training images."""
    asides = 10 ** offsets(len(styles), SPREAD)
    for aside, (init, style) in zip(asides, styles.items(), strict=True):
        for draws in DRAWS:
            own = summary[(summary["init"] == init) & (summary["draws"] == draws)]
            own = own.assign(place=own["training_images"] * aside).sort_values("place")
            if len(own):
                draw_curve(ax, own, style, init)
    sizes = sorted(set(summary["training_images"]))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(apart(sizes)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([f"{size:,}" for size in apart(sizes)])
    ax.set_xlabel("training images")
    ax.set_ylabel(f"test {metric_label(summary)}\n({span(summary['runs'])} runs)")


def draw_curve(ax: Axes, rows: pd.DataFrame, style: InitStyle, init: str) -> None:
    """One init's means over their places; a thin dotted line where subsets are drawn anew."""
    redrawn = rows["draws"].iloc[0] == REDRAWN
    mean, low, high = (rows[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    ax.errorbar(
        rows["place"], mean, interval_bars(mean, low, high), **style.mark,
        linestyle=":" if redrawn else style.line, linewidth=0.9 if redrawn else 1.2,
        markersize=3 if redrawn else 4.5, elinewidth=0.8, capsize=1.5,
        label=None if redrawn else init,
    )  # fmt: skip


def apart(sizes: list[int], ratio: float = 1.5) -> list[int]:
    """The sizes that can be named beside each other, the largest first of all."""
    kept: list[int] = []
    for size in sorted(sizes, reverse=True):
        if not kept or kept[-1] / size >= ratio:
            kept.append(size)
    return kept[::-1]


def draw_reference(ax: Axes, shares: pd.DataFrame) -> None:
    """The level that the reference reaches with all training images."""
    if len(shares):
        first = shares.iloc[0]
        ax.axhline(
            first["reference_value"], color="black", linestyle="--", linewidth=0.8,
            label=f"{first['reference']} with all training images",
        )  # fmt: skip


def draw_shares(ax: Axes, shares: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The share of the training images with which each init matches the reference.

    An arrow stands where only a bound is known: the smallest subset is enough, or all isn't.

    Args:
        ax: where to draw.
        shares: of one cell, a row an init and way to draw subsets.
        styles: of inits.
    """
    if shares.empty:
        ax.set_axis_off()
        return
    for place, (_, row) in enumerate(shares.iterrows()):
        if np.isnan(row["share"]):
            mark_unknown(ax, place)
            continue
        style = styles[row["init"]]
        for end in ("low", "high"):
            if np.isfinite(row[end]):
                mark = MARKS.get(row[f"{end}_bound"], "|")
                ax.plot(
                    [row["share"], row[end]], [place, place], color=style.colour, linewidth=1,
                    marker=mark, markersize=4.5, markevery=[1],
                )  # fmt: skip
        bound = MARKS.get(row["bound"])
        look = style.mark if bound is None else {**style.mark, "marker": bound}
        ax.plot([row["share"]], [place], **look, markersize=6 if bound else 4.5, linestyle="none")
    label_rows(ax, [_share_name(row) for _, row in shares.iterrows()])
    scale_shares(ax, shares)


def _share_name(row: pd.Series) -> str:
    return f"{row['init']}, {REDRAWN}" if row["draws"] == REDRAWN else str(row["init"])


def scale_shares(ax: Axes, shares: pd.DataFrame) -> None:
    """A logarithmic axis in percent of all training images, from below the smallest subset on."""
    known = shares[["share", "low", "high"]].to_numpy(dtype=float)
    lowest = float(np.nanmin(known)) if np.isfinite(known).any() else 0.1
    ax.set_xscale("log")
    ax.set_xlim(lowest / 1.3, 1.3)
    ticks = [percent / 100 for percent in PERCENTS if percent / 100 >= lowest / 1.3]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.set_xticklabels([f"{100 * tick:g} %" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    first = shares.iloc[0]
    ax.set_xlabel(
        f"share of {first['training_images']:,.0f} training images\nthat matches {first['reference']} "
        "with all"
    )


def draw_keys(figure: Figure, summary: pd.DataFrame) -> None:
    """The legend: bars, arrows, and ways to draw subsets where there are two."""
    interval_key(figure, "interval over runs")
    key(figure, "arrow: at most, or more than", marker="<", markersize=5)
    if REDRAWN in set(summary["draws"]):
        key(figure, DRAWS[FIXED], linestyle="-", linewidth=1.2)
        key(figure, DRAWS[REDRAWN], linestyle=":", linewidth=0.9)
