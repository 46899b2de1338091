"""What figures of gains against something share: a point a data set, network and source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.figures.style import (
    RANDOM_COLOUR,
    SOURCE_COLOURS,
    interval_bars,
    key,
    offsets,
    ordered,
)

MODEL_MARKERS = "osD^vP*X<>ph"
SOURCE_FILLS = ("full", "none", "left", "bottom", "right", "top")
POINTS_PER_INCH = 72
# seven, and twelve markers: no two of 84 data sets look alike
DATASET_COLOURS = (*SOURCE_COLOURS, RANDOM_COLOUR)


@dataclass(frozen=True)
class PointStyles:
    """The colour tells the data set, the marker the network, the filling the source."""

    colours: dict[str, str]
    markers: dict[str, str]
    fills: dict[str, str]


def point_styles(datasets: Iterable[str], models: Iterable[str], sources: Iterable[str]) -> PointStyles:
    """One look a name, in the order of the tables."""
    return PointStyles(
        _each(datasets, SOURCE_COLOURS), _each(models, MODEL_MARKERS), _each(sources, SOURCE_FILLS)
    )


def _each(names: Iterable[str], looks: Iterable[str]) -> dict[str, str]:
    known = tuple(looks)
    return {name: known[i % len(known)] for i, name in enumerate(ordered(names))}


def dataset_styles(datasets: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker a data set, where they tell nothing else."""
    looks = zip(cycle(DATASET_COLOURS), cycle(MODEL_MARKERS), strict=False)
    return {
        name: {"color": colour, "marker": marker}
        for name, (colour, marker) in zip(ordered(datasets), looks, strict=False)
    }


def draw_points(
    ax: Axes,
    points: pd.DataFrame,
    styles: PointStyles,
    models_apart: float = 0.0,
    datasets_apart: float = 0.0,
) -> None:
    """Gains with intervals over ``x``, and a line at no gain.

    Args:
        ax: where to draw.
        points: with the columns dataset, model, source, x, gain, gain_low and gain_high.
        styles: of all that the figure draws.
        models_apart: how far networks are drawn side by side, in points of print, where they share x.
        datasets_apart: the same of data sets.
    """
    ax.axhline(0, color="#888888", linewidth=0.8)
    models = _beside(styles.markers, models_apart)
    datasets = _beside(styles.colours, datasets_apart)
    points = points.dropna(subset=["x", "gain"])
    inch = ax.figure.dpi_scale_trans
    for _, point in points.iterrows():
        inches = (models[point["model"]] + datasets[point["dataset"]]) / POINTS_PER_INCH
        aside = ScaledTranslation(inches, 0, inch)
        gain, low, high = (np.array([point[n]], float) for n in ("gain", "gain_low", "gain_high"))
        ax.errorbar(
            [point["x"]], gain, interval_bars(gain, low, high), fmt=styles.markers[point["model"]],
            color=styles.colours[point["dataset"]], fillstyle=styles.fills[point["source"]],
            markersize=5, elinewidth=0.8, capsize=1.5, transform=ax.transData + aside,
        )  # fmt: skip
    # axes take no notice of what is drawn aside
    for name in ("gain", "gain_low", "gain_high"):
        ax.update_datalim(points[["x", name]].dropna().to_numpy(dtype=float))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(0.1)
    ax.autoscale_view()


def _beside(names: Iterable[str], apart: float) -> dict[str, float]:
    """Of each name how far aside it is drawn, in points of print."""
    known = list(names)
    return dict(zip(known, offsets(len(known), len(known)) * apart, strict=True))


def gain_label(metrics: Iterable[str], references: Iterable[str]) -> str:
    """What a gain is: of which metric, over which start."""
    names, over = ordered(metrics), ordered(references)
    what = METRIC_LABELS.get(names[0], names[0]) if len(names) == 1 else "target metric"
    return f"gain in test {what}\n" + (f"over {over[0]}" if len(over) == 1 else "over the reference")


def point_keys(figure: Figure, styles: PointStyles) -> None:
    """The legend: data sets, networks, and sources where there are several."""
    for name, colour in styles.colours.items():
        key(figure, name, linestyle="-", linewidth=4, color=colour)
    for name, marker in styles.markers.items():
        key(figure, name, marker=marker, markersize=5)
    if len(styles.fills) > 1:
        for name, fill in styles.fills.items():
            key(figure, name, marker="o", markersize=6, fillstyle=fill)
