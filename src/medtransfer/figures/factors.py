"""What gains go with: training images, distance of the domain, size and family of the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from medtransfer.figures.cells import GAP_COLOUR, interval_key, signed
from medtransfer.figures.gain_points import (
    PointStyles,
    draw_points,
    gain_label,
    point_keys,
    point_styles,
)
from medtransfer.figures.main_table import without_recipe
from medtransfer.figures.style import legend_below, note, ordered, panels
from medtransfer.figures.typeset import SMALL, wrapped

POINTS = (
    "recipe", "dataset", "model", "subset", "metric", "init", "source", "reference", "gain", "gain_low",
    "gain_high", "pairs", "training_images", "distance", "parameters", "family",
)  # fmt: skip
TERMS = (
    "init", "metric", "term", "estimate", "low", "high", "p", "datasets", "rows", "left_out", "remark",
)  # fmt: skip
# how the remark of a model begins that says why it wasn't
NOT_FITTED = "not fitted"
# inches of a panel, of a line of words above it, and how long that may be
SIZE = (1.75, 1.9)
WORDS_LINE, WORDS_WIDTH = 0.12, 1.42
# points of print between marks of the same x
APART = 3.0
# beyond the smallest and the largest number: wide enough for a tick at 1, 2 or 5
LOG_MARGIN = 1.7
TICKS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Factor:
    """A column of the points, its axis, and what its terms in the model are called."""

    column: str
    label: str
    term: str
    unit: str = ""
    logarithmic: bool = False
    shared_by: str = "models"


FACTORS = (
    Factor("training_images", "training images", "log_training_images", "ln(images)", logarithmic=True),
    Factor("distance", "Fréchet distance\nof the images", "distance", "unit of distance"),
    Factor("parameters", "parameters", "log_parameters", "ln(parameters)", True, "datasets"),
    Factor("family", "family of the network", "family_", shared_by="datasets"),
)


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The gains that are known, and the terms of the models of their starts and metrics.

    Args:
        tables: ``points`` and ``models``.
    """
    points, models = tables["points"], tables["models"]
    if points.empty:
        return {"points": points, "models": models[:0]}
    points = without_recipe(points)[list(POINTS)].dropna(subset=["gain"])
    terms = tuple(factor.term for factor in FACTORS)
    slopes = models["term"].str.startswith(terms) & models["estimate"].notna()
    refused = (models["left_out"] == "") & models["remark"].str.startswith(NOT_FITTED)
    return {"points": points, "models": models.loc[slopes | refused, list(TERMS)]}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a source and metric, a panel a factor.

    Args:
        tables: ``points`` and ``models``.
    """
    chosen = select(tables)
    points, models = chosen["points"], chosen["models"]
    if points.empty:
        return note("no gains of whole sources: nothing that they could depend on")
    rows = [
        (gains, models[(models["init"] == init) & (models["metric"] == metric)])
        for (init, metric), gains in points.groupby(["init", "metric"], sort=False)
    ]
    words = [[slope_lines(fitted, factor, gains) for factor in FACTORS] for gains, fitted in rows]
    most = max(len(lines) for row in words for lines in row)
    styles = point_styles(points["dataset"], points["model"], [""])
    size = (SIZE[0], SIZE[1] + WORDS_LINE * most)
    figure, axes = panels(len(rows), len(FACTORS), size, share_y="row")
    for row, (gains, _), lines in zip(axes, rows, words, strict=True):
        draw_row(row, gains, lines, styles)
    interval_key(figure, "interval over pairs of runs")
    point_keys(figure, styles)
    legend_below(figure)
    return figure


def draw_row(
    axes: np.ndarray, points: pd.DataFrame, words: list[list[str]], styles: PointStyles
) -> None:
    """The gains of one source in one metric over each factor, with words above each panel."""
    for ax, factor, lines in zip(axes, FACTORS, words, strict=True):
        draw_factor(ax, points, factor, styles)
        ax.set_title("\n".join(lines), size=SMALL, loc="left")
    source = points["source"].iloc[0]
    axes[0].set_ylabel(f"{source}:\n{gain_label(points['metric'], points['reference'])}")


def draw_factor(ax: Axes, points: pd.DataFrame, factor: Factor, styles: PointStyles) -> None:
    """The gains over one factor; networks (or data sets) with the same x side by side."""
    families = sorted(points["family"].dropna().unique())
    x = points[factor.column]
    if factor.column == "family":
        x = x.map({name: place for place, name in enumerate(families)})
    known = points.assign(x=x.astype(float), source="").dropna(subset=["x"])
    ax.set_xlabel(factor.label)
    if known.empty:
        ax.set_xticks([])
        ax.text(0.5, 0.5, "not known", ha="center", va="center", color=GAP_COLOUR,
                transform=ax.transAxes)  # fmt: skip
        return
    draw_points(ax, known, styles, **{f"{factor.shared_by}_apart": APART})
    if factor.logarithmic:
        scale_logarithmically(ax, known["x"])
    elif factor.column == "family":
        ax.set_xticks(range(len(families)), families, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_xlim(-0.6, len(families) - 0.4)
    else:
        ax.margins(x=0.2)
        ax.xaxis.set_major_locator(MaxNLocator(3))


def scale_logarithmically(ax: Axes, values: pd.Series) -> None:
    """A logarithmic x axis around the values, with a few plain numbers."""
    low, high = values.min(), values.max()
    ax.set_xscale("log")
    ax.set_xlim(low / LOG_MARGIN, high * LOG_MARGIN)
    digits = TICKS if high < 20 * low else TICKS[:1]
    powers = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.log10(high) + 1)
    ax.xaxis.set_major_locator(FixedLocator([digit * power for power in powers for digit in digits]))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_locator(NullLocator())


def slope_lines(models: pd.DataFrame, factor: Factor, points: pd.DataFrame) -> list[str]:
    """The slopes of a factor with interval and range without each data set; or why there are none."""
    own = models[models["term"].str.startswith(factor.term)]
    whole = own[own["left_out"] == ""]
    fitted = whole.dropna(subset=["estimate"])
    if fitted.empty:
        return wrapped(_reason(models, whole), WORDS_WIDTH, SMALL)
    lines = []
    for _, row in fitted.iterrows():
        name = row["term"].removeprefix(factor.term) + ":" if factor.column == "family" else "slope"
        lines += [
            f"{name} {slope(row['estimate'])}",
            f"[{slope(row['low'])}, {slope(row['high'])}]",
            *_without_each(own[own["term"] == row["term"]]),
        ]
    base = points["family"].dropna().min()
    lines.append(f"against {base}" if factor.column == "family" else f"per {factor.unit}")
    return [part for line in lines for part in wrapped(line, WORDS_WIDTH, SMALL)]


def _without_each(rows: pd.DataFrame) -> list[str]:
    """The range of a slope over models that leave one data set out; nothing where none was fitted."""
    found = rows["estimate"][rows["left_out"] != ""].dropna()
    return [f"one left out: {slope(found.min())} to {slope(found.max())}"] if len(found) else []


def slope(value: float) -> str:
    """Three decimals, or two figures of what is smaller."""
    return signed(value) if abs(value) >= 0.001 else f"{value:+.2g}".replace("-", "−")


def _reason(models: pd.DataFrame, own: pd.DataFrame) -> str:
    """Why there is no slope of a factor, whose terms are ``own``."""
    whole = models[models["left_out"] == ""]
    remarks = own["remark"] if len(own) else whole["remark"]
    refused = [text for text in ordered(remarks) if text.startswith(NOT_FITTED)]
    return refused[0] if refused else "not in the model: the same for all gains, or not known"
