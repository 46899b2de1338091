"""First-layer filters before and after fine-tuning, and how far each turned."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from medtransfer.figures.by_depth import RUN, analysed
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note

# of a plate
FILTERS = 16
KERNEL = ("filter", "row", "column", "channel")
COLUMNS = 4
MOMENTS = {"start": "before", "end": "after"}
# inches
PLATE, CURVES, HEIGHT = 1.2, 2.4, 1.75
INITS_IN_A_LINE = 2
# lines of plates beside which the curves stand
CURVE_LINES = 2


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The known angles of all runs, and the weights on the plates: a few filters of each first run.

    Args:
        tables: ``filters`` and ``filter_weights``.
    """
    filters, weights = (analysed(tables[name]) for name in ("filters", "filter_weights"))
    if len(weights):
        starts = weights.groupby(["dataset", "model", "init"], sort=False)
        weights = pd.concat([first_filters(first_run(rows)) for _, rows in starts])
    filters = filters.reindex(columns=[*RUN, "filter", "cosine"]).dropna(subset=["cosine"])
    return {
        "filters": filters,
        "filter_weights": weights.reindex(columns=[*RUN, "moment", *KERNEL, "value"]),
    }


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block a data set and network: plates of each init, before and after, and the angles.

    Args:
        tables: ``filters`` and ``filter_weights``.
    """
    chosen = select(tables)
    filters, weights = chosen["filters"], chosen["filter_weights"]
    both = pd.concat([filters, weights])[list(RUN)]
    if both.empty:
        return note("no filters: no run with a whole start and a first convolution is analysed")
    styles = init_styles(both["init"])
    cells = both[["dataset", "model"]].drop_duplicates().to_numpy().tolist()
    lines = ceil(len(styles) / INITS_IN_A_LINE)
    size = (INITS_IN_A_LINE * len(MOMENTS) * PLATE + CURVES, len(cells) * lines * HEIGHT + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    blocks = figure.subfigures(len(cells), 1, squeeze=False)[:, 0]
    for block, (dataset, model) in zip(blocks, cells, strict=True):
        own, drawn = (t[(t["dataset"] == dataset) & (t["model"] == model)] for t in (filters, weights))
        draw_cell(block, own, drawn, styles)
        block.suptitle(f"{dataset}, {model}", fontsize=8)
    key(figure, "a run", linestyle="-", linewidth=0.6, alpha=0.5)
    key(figure, "all runs", linestyle="-", linewidth=1.4)
    legend_below(figure)
    return figure


def draw_cell(
    figure: SubFigure, filters: pd.DataFrame, weights: pd.DataFrame, styles: dict[str, InitStyle]
) -> None:
    """The plates of one data set and network, some inits in a line, and the angles beside the first.

    Args:
        figure: with nothing in it.
        filters: angles of the data set and network.
        weights: of the same.
        styles: of all inits of the figure.
    """
    lines, columns = ceil(len(styles) / INITS_IN_A_LINE), INITS_IN_A_LINE * len(MOMENTS)
    grid = figure.add_gridspec(lines, columns + 1, width_ratios=[PLATE] * columns + [CURVES])
    places = list(product(range(lines), range(columns)))[: len(styles) * len(MOMENTS)]
    draw_plates(np.array([figure.add_subplot(grid[place]) for place in places]), weights, list(styles))
    draw_cosines(figure.add_subplot(grid[:CURVE_LINES, -1]), filters, styles)


def draw_plates(axes: np.ndarray, weights: pd.DataFrame, inits: list[str]) -> None:
    """Two plates an init: before and after, each filter on the same scale in both."""
    for place, init in enumerate(inits):
        run = weights[weights["init"] == init]
        kernels = {moment: kernels_of(run[run["moment"] == moment]) for moment in MOMENTS}
        largest = np.max([np.abs(k).max(axis=(1, 2, 3)) for k in kernels.values() if len(k)], axis=0,
                         initial=0)  # fmt: skip
        for ax, (moment, name) in zip(axes[2 * place :], MOMENTS.items(), strict=False):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(f"{init},\n{name}" + (f", seed {run['seed'].iloc[0]}" if len(run) else ""))
            if len(kernels[moment]):
                ax.imshow(plate(kernels[moment], largest), interpolation="nearest")


def first_run(weights: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first split and seed."""
    first = weights.sort_values(["split", "seed"], kind="stable").iloc[0]
    return weights[(weights["split"] == first["split"]) & (weights["seed"] == first["seed"])]


def first_filters(weights: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first filters, at most FILTERS of them."""
    return weights[weights["filter"].isin(np.unique(weights["filter"])[:FILTERS])]


def kernels_of(weights: pd.DataFrame) -> np.ndarray:
    """Filters x height x width x channels."""
    weights = weights.sort_values(list(KERNEL))
    return weights["value"].to_numpy(dtype=float).reshape([weights[axis].nunique() for axis in KERNEL])


def plate(kernels: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The filters side by side as an RGB image in [0, 1]: 0 is mid-grey, the largest weight an end.

    Args:
        kernels: filters x height x width x channels; three channels are colours, of another number the
            mean is shown in grey.
        largest: for each filter, the absolute weight that reaches black or white (or full colour).
    """
    scale = np.where(largest > 0, 2 * largest, 1)[:, None, None, None]
    shades = 0.5 + kernels / scale
    if kernels.shape[-1] != 3:
        shades = shades.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    count, height, width, _ = shades.shape
    rows = ceil(count / COLUMNS)
    image = np.ones((rows * (height + 1) - 1, COLUMNS * (width + 1) - 1, 3))
    for index, shade in enumerate(shades):
        top, left = (index // COLUMNS) * (height + 1), (index % COLUMNS) * (width + 1)
        image[top : top + height, left : left + width] = shade
    return image


def draw_cosines(ax: Axes, filters: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The share of filters up to each cosine: a thin line a run, a thick one over all runs."""
    for init, style in styles.items():
        known = filters[filters["init"] == init].dropna(subset=["cosine"])
        if known.empty:
            continue
        look: dict[str, Any] = {"color": style.colour, "linestyle": style.line}
        for _, run in known.groupby(["split", "seed"]):
            ax.ecdf(run["cosine"], **look, linewidth=0.6, alpha=0.5)
        ax.ecdf(known["cosine"], **look, linewidth=1.4, label=init)
    ax.set_xlabel("cosine of a filter, before with after")
    ax.set_ylabel("share of filters")
    ax.set_title(f"{len(pd.unique(filters['filter']))} filters a run")
