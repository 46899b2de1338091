"""First-layer filters before and after fine-tuning, and how far each turned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import analysed
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note

# of a plate
FILTERS = 16
COLUMNS = 4
MOMENTS = {"start": "before", "end": "after"}
# inches
PLATE, CURVES, HEIGHT = 1.25, 2.6, 1.75


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One row a data set and network: plates of each init, before and after, then the angles.

    Args:
        tables: ``filters`` and ``filter_weights``.
    """
    filters, weights = tables["filters"], tables["filter_weights"]
    if filters.empty:
        return note("no filters: no analysed network begins with a convolution")
    filters = analysed(filters)
    weights = analysed(weights) if len(weights) else weights
    if filters.empty:
        return note("no filters: no analysed run has a whole start")
    styles = init_styles(filters["init"])
    cells = filters[["dataset", "model"]].drop_duplicates().to_numpy().tolist()
    plates = len(styles) * len(MOMENTS)
    figure = Figure(figsize=(plates * PLATE + CURVES, len(cells) * HEIGHT + 0.6), layout="constrained")
    ratios = [PLATE] * plates + [CURVES]
    axes = figure.subplots(len(cells), plates + 1, squeeze=False, width_ratios=ratios)
    for row, (dataset, model) in zip(axes, cells, strict=True):
        own, shown = (t[(t["dataset"] == dataset) & (t["model"] == model)] for t in (filters, weights))
        draw_plates(row[:-1], shown, list(styles))
        row[0].set_ylabel(f"{dataset}, {model}")
        draw_cosines(row[-1], own, styles)
    legend_below(figure)
    return figure


def draw_plates(axes: np.ndarray, weights: pd.DataFrame, inits: list[str]) -> None:
    """Two plates an init, of its first run: before and after, each filter on the same scale in both."""
    for place, init in enumerate(inits):
        run = first_run(weights[weights["init"] == init])
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
    if weights.empty:
        return weights
    first = weights.sort_values(["split", "seed"], kind="stable").iloc[0]
    return weights[(weights["split"] == first["split"]) & (weights["seed"] == first["seed"])]


def kernels_of(weights: pd.DataFrame) -> np.ndarray:
    """Filters x height x width x channels, at most FILTERS of them, the first ones."""
    axes = ["filter", "row", "column", "channel"]
    weights = weights[weights["filter"].isin(np.unique(weights["filter"])[:FILTERS])]
    weights = weights.sort_values(axes)
    return weights["value"].to_numpy(dtype=float).reshape([weights[axis].nunique() for axis in axes])


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
    rows = math.ceil(count / COLUMNS)
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
