"""The target metric, and what a source adds to it, against the size of the network."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    CHARACTER,
    GAP_COLOUR,
    ZERO_LINE,
    among,
    draw_intervals,
    interval_key,
    metric_label,
    rows_of,
    span,
    target_on_test,
)
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    legend_below,
    note,
    offsets,
    ordered,
    panels,
)

NETWORK = ["recipe", "dataset", "model"]
CELL = [*NETWORK, "subset"]
# of a sheet and a panel, and beside the axes of a panel: inches
SHEET, WIDTH, HEIGHT, BESIDE = 7.2, 2.4, 1.5, 0.75
# of a name's line, and between the marks of a network: inches
NAME_LINE, MARK = 0.125, 0.04
# beyond the smallest and the largest network, as a share of the axis
MARGIN = 0.08


@dataclass(frozen=True)
class Sizes:
    """Where networks are on an axis of the logarithm of their number of parameters.

    Attributes:
        words: name and size of each network.
        places: of each network, moved apart from those of like size.
        limits: ends of the axis.
        inch: so much of the axis is an inch.
    """

    words: dict[str, str]
    places: dict[str, float]
    limits: tuple[float, float]
    inch: float


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Means and gains with each data set's largest subset, where two networks or more are known.

    Args:
        tables: ``summary``, ``gain_points`` and ``networks``.
    """
    summary, gains = target_on_test(tables["summary"]), tables["gain_points"]
    if summary.empty or tables["networks"].empty:
        return {"summary": summary[:0], "gain_points": gains[:0]}
    summary = whole_starts(summary).dropna(subset=["mean"]).merge(tables["networks"], on=NETWORK)
    largest = summary.sort_values("training_images", kind="stable").groupby("dataset")["subset"].last()
    summary = summary[summary["subset"] == summary["dataset"].map(largest)]
    several = summary.groupby("dataset")["model"].transform("nunique") > 1
    summary = summary[several].drop(columns=["part", "sd", "images"])
    gains = among(gains, summary, CELL).drop(columns=["training_images", "distance"], errors="ignore")
    return {"summary": summary, "gain_points": gains}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a data set, and below it one of its gains; data sets go on in further rows.

    Args:
        tables: ``summary``, ``gain_points`` and ``networks``.
    """
    summary, gains = select(tables).values()
    if summary.empty:
        return note("no capacity: no data set of this study has two networks whose size is known")
    datasets = ordered(summary["dataset"])
    styles = init_styles([*summary["init"], *(gains["init"] if len(gains) else [])])
    gap = max(NAME_LINE, MARK * (len(styles) + 1))
    figure, blocks, width = blocks_of(summary, 1 if gains.empty else 2, gap)
    for block, dataset in zip(blocks, datasets, strict=False):
        means = rows_of(summary, {"dataset": dataset})
        sizes = placed_sizes(means, width - BESIDE, gap)
        draw_means(block[0], means, styles, sizes)
        if len(block) > 1:
            draw_gains(block[1], rows_of(gains, {"dataset": dataset}), styles, sizes)
        name_sizes(block[-1], sizes)
    for init, style in styles.items():
        blocks[0][0].plot([], [], **style.mark, linestyle=style.line, markersize=4, label=init)
    interval_key(figure, "interval over seeds or folds")
    legend_below(figure)
    return figure


def blocks_of(summary: pd.DataFrame, rows: int, gap: float) -> tuple[Figure, list[np.ndarray], float]:
    """A block of panels below each other for each data set, as many beside each other as a sheet holds.

    Args:
        summary: all that is drawn.
        rows: panels of a block.
        gap: between networks, inches.

    Returns:
        The figure, the axes of each block, and the width of a panel in inches.
    """
    count = summary["dataset"].nunique()
    most = int(summary.groupby("dataset")["model"].nunique().max())
    width = max(WIDTH, gap * most + BESIDE)
    columns = min(count, max(1, int(SHEET / width)))
    lines = ceil(count / columns)
    names = CHARACTER * (summary["model"].str.len().max() + len(", 99.9 M"))
    figure, axes = panels(lines * rows, columns, (width, HEIGHT + names / rows))
    blocks = [axes[line * rows : (line + 1) * rows, i] for line in range(lines) for i in range(columns)]
    for block in blocks[count:]:
        for ax in block:
            ax.set_axis_off()
    return figure, blocks, width


def placed_sizes(means: pd.DataFrame, width: float, gap: float) -> Sizes:
    """Where the networks of a data set are on an axis.

    Args:
        means: of one data set, with the columns model and parameters.
        width: of the axes, inches.
        gap: between networks at least, inches.
    """
    parameters = means.groupby("model", sort=False)["parameters"].first().sort_values()
    sizes = np.log10(parameters.to_numpy(dtype=float))
    margin = MARGIN * max(sizes[-1] - sizes[0], 0.5)
    limits = (sizes[0] - margin, sizes[-1] + margin)
    inch = (limits[1] - limits[0]) / width
    places = spread(sizes, (limits[0] + inch * gap / 2, limits[1] - inch * gap / 2), inch * gap)
    words = {str(model): f"{model}, {short_number(number)}" for model, number in parameters.items()}
    return Sizes(words, dict(zip(words, places.tolist(), strict=True)), limits, inch)


def spread(places: np.ndarray, ends: tuple[float, float], gap: float) -> np.ndarray:
    """The nearest places, by squared distance, that are a gap apart and between two ends.

    Without the gaps they rise: a regression on what is left of them (Barlow et al. 1972). Where all
    gaps don't fit, they are as large as they can be.

    Args:
        places: N rising.
        ends: lowest and highest.
        gap: at least, between neighbours.
    """
    low, high = ends
    count = len(places)
    gaps = min(gap, (high - low) / max(count - 1, 1)) * np.arange(count)
    return np.asarray(isotonic_regression(places - gaps).x).clip(low, high - gaps[-1]) + gaps


def draw_means(ax: Axes, means: pd.DataFrame, styles: dict[str, InitStyle], sizes: Sizes) -> None:
    """The metric of one data set's networks, with how many images they learnt from.

    Args:
        ax: where to draw.
        means: a row a network and init.
        styles: of all inits.
        sizes: of the networks.
    """
    draw_by_size(ax, means, styles, sizes)
    ax.set_title(
        f"{means['dataset'].iloc[0]}: {span(means['training_images'])} training\n"
        f"images, {span(means['runs'])} runs a cell"
    )
    ax.set_ylabel(f"test {metric_label(means)}")


def draw_gains(ax: Axes, gains: pd.DataFrame, styles: dict[str, InitStyle], sizes: Sizes) -> None:
    """What sources add in one data set.

    Args:
        ax: where to draw.
        gains: a row a network and init.
        styles: of all inits.
        sizes: of the networks.
    """
    ax.axhline(0, **ZERO_LINE)
    names = {"gain": "mean", "gain_low": "low", "gain_high": "high"}
    draw_by_size(ax, gains.rename(columns=names), styles, sizes)
    over = " or ".join(ordered(gains["reference"])) or "the reference"
    ax.set_ylabel(f"gain over\n{over}")
    if gains.empty:
        ax.text(0.5, 0.6, "no gains", transform=ax.transAxes, ha="center", color=GAP_COLOUR)


def draw_by_size(ax: Axes, rows: pd.DataFrame, styles: dict[str, InitStyle], sizes: Sizes) -> None:
    """A mark with interval for each network and init, those of a family joined by a line.

    Args:
        ax: where to draw.
        rows: with the columns model, parameters, family, init, mean, low and high.
        styles: of all inits.
        sizes: of the networks.
    """
    shifts = sizes.inch * offsets(len(styles), MARK * len(styles))
    for shift, (init, style) in zip(shifts, styles.items(), strict=True):
        own = rows[rows["init"] == init].sort_values("parameters", kind="stable")
        # networks of no known family are relatives of none
        for _, family in own.groupby(own["family"].fillna(own["model"]), sort=False):
            draw_intervals(ax, family["model"].map(sizes.places).to_numpy() + shift, family, style)
    ax.set_xlim(*sizes.limits)
    ax.set_xticks(list(sizes.places.values()))
    ax.tick_params(axis="x", length=0, labelbottom=False)


def name_sizes(ax: Axes, sizes: Sizes) -> None:
    """Names and sizes of the networks below an axis.

    Args:
        ax: whose x axis is one of sizes.
        sizes: of the networks.
    """
    ax.set_xticklabels(list(sizes.words.values()), rotation=90)
    ax.tick_params(axis="x", labelbottom=True)
    ax.set_xlabel("parameters, log scale\n(like ones moved apart)")


def short_number(number: float) -> str:
    """Three digits with k for thousands, M for millions."""
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number / 1e3:.3g} k"
