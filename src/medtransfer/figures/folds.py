"""The target metric of every fold or seed by start, runs of one fold or seed joined."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.config.names import is_fold
from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import (
    GAP_COLOUR,
    among,
    analysed_alike,
    draw_intervals,
    interval_key,
    metric_label,
    rows_of,
    span,
    target_on_test,
)
from medtransfer.figures.main_table import without_recipe
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    key,
    legend_below,
    note,
    ordered,
    panels,
)
from medtransfer.figures.typeset import SMALL, wrapped

CELL = ["recipe", "dataset", "model", "subset", "init", "metric"]
RUNS = (*CELL, "split", "seed", "value")
MEANS = (*CELL, "mean", "low", "high", "runs")
# inches of a page, a panel and its y axis, and of a start
PAGE_WIDTH, LEAST_WIDTH, AXIS_WIDTH, START_WIDTH = 7.2, 2.3, 0.75, 0.3
HEIGHT = 2.4
# places beside that of a start: of its runs and of their mean, and between recipes
RUN_PLACE, MEAN_PLACE = -0.12, 0.18
RECIPE_GAP = 0.7
# inches that a recipe's name may have, whatever its starts; points of print
RECIPE_WIDTH, TITLE_SIZE = 0.8, 8.0
PAIR_COLOUR = "#B0B0B0"
PANEL = ["dataset", "model"]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs of whole starts with their target metric on the test part, and the means of their cells.

    Args:
        tables: ``metrics`` and ``summary``.
    """
    metrics, summary = (whole_starts(target_on_test(tables[name])) for name in ("metrics", "summary"))
    if metrics.empty or summary.empty:
        return {"metrics": pd.DataFrame(), "summary": pd.DataFrame()}
    metrics = without_recipe(metrics)[list(RUNS)].dropna(subset=["value"])
    summary = without_recipe(summary)[list(MEANS)].dropna(subset=["mean"])
    return {"metrics": metrics, "summary": among(summary, metrics, CELL)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network; recipes side by side in it.

    Args:
        tables: ``metrics`` and ``summary``.
    """
    chosen = select(tables)
    if chosen["metrics"].empty:
        return note("no results: no run of this study was scored on test images")
    metrics, summary = analysed_alike(chosen["metrics"], chosen["summary"])
    styles = init_styles(summary["init"])
    distinct = summary[PANEL].drop_duplicates()
    cells = [dict(zip(PANEL, values, strict=True)) for values in distinct.itertuples(index=False)]
    most = max(len(starts(rows_of(summary, names))) for names in cells)
    width = min(PAGE_WIDTH, max(LEAST_WIDTH, AXIS_WIDTH + START_WIDTH * most))
    across = min(len(cells), int(PAGE_WIDTH / width))
    figure, axes = panels(ceil(len(cells) / across), across, (width, HEIGHT))
    for ax, names in zip(axes.flat, cells, strict=False):
        draw_panel(ax, rows_of(metrics, names), rows_of(summary, names), styles)
    for ax in axes.flat[len(cells) :]:
        ax.set_axis_off()
    if any_pairs(metrics):
        key(figure, "runs of one fold or seed", linestyle="-", marker=".", linewidth=0.6,
            markersize=4, color=PAIR_COLOUR)  # fmt: skip
    if summary["low"].notna().any():
        interval_key(figure, "interval of the mean over runs")
    legend_below(figure)
    return figure


def starts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The recipes and starts that have a place: each start of the panel in each of its recipes."""
    return [(recipe, init) for recipe in ordered(rows["recipe"]) for init in ordered(rows["init"])]


def any_pairs(metrics: pd.DataFrame) -> bool:
    """Whether any two runs share recipe, data set, network, split and seed."""
    return bool(metrics.duplicated(["recipe", *PANEL, "split", "seed"]).any())


def runs_name(metrics: pd.DataFrame, summary: pd.DataFrame) -> str:
    """How many runs a start has, and of what."""
    folds = all(is_fold(split) for split in metrics["split"].unique())
    unit = "fold" if folds and metrics["seed"].nunique() == 1 else "run" if folds else "seed"
    return f"{span(summary['runs'])} {unit}{'' if summary['runs'].max() == 1 else 's'}"


def draw_panel(
    ax: Axes, metrics: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, InitStyle]
) -> None:
    """The runs of each start as dots, joined from start to start, and means beside them.

    Args:
        ax: where to draw.
        metrics: of one data set and network.
        summary: likewise.
        styles: of all inits.
    """
    names = starts(summary)
    recipes = ordered(summary["recipe"])
    places = {name: place + RECIPE_GAP * recipes.index(name[0]) for place, name in enumerate(names)}
    for recipe in recipes:
        draw_pairs(ax, metrics[metrics["recipe"] == recipe], places)
    for (recipe, init), place in places.items():
        cell = {"recipe": recipe, "init": init}
        runs, means = rows_of(metrics, cell), rows_of(summary, cell)
        if means.empty:
            ax.text(place, 0.5, "no runs", rotation=90, va="center", ha="center", color=GAP_COLOUR,
                    size=6.5, transform=ax.get_xaxis_transform())  # fmt: skip
            continue
        ax.plot(
            np.full(len(runs), place + RUN_PLACE), runs["value"], styles[init].marker, markersize=3,
            color=styles[init].colour, markeredgewidth=0, alpha=0.7,
        )  # fmt: skip
        draw_intervals(ax, np.array([place + MEAN_PLACE]), means, styles[init], joined=False)
    label_starts(ax, places)
    lines = label_recipes(ax, places, recipes) if len(recipes) > 1 else 0
    ax.set_ylabel(f"test {metric_label(summary)}")
    first = summary.iloc[0]
    width = max(LEAST_WIDTH - AXIS_WIDTH, START_WIDTH * len(names))
    title = wrapped(f"{first['dataset']}, {first['model']}", width, TITLE_SIZE)
    ax.set_title("\n".join([*title, runs_name(metrics, summary)]), pad=4 + lines * SMALL * 1.3)


def draw_pairs(ax: Axes, metrics: pd.DataFrame, places: dict[tuple[str, str], float]) -> None:
    """A thin line through the runs of one split and seed, in the order of the starts."""
    at = [places[pair] + RUN_PLACE for pair in zip(metrics["recipe"], metrics["init"], strict=True)]
    for _, runs in metrics.assign(place=at).groupby(["split", "seed"], sort=False):
        runs = runs.sort_values("place")
        ax.plot(runs["place"], runs["value"], color=PAIR_COLOUR, linewidth=0.6, zorder=1)


def label_starts(ax: Axes, places: dict[tuple[str, str], float]) -> None:
    """The starts' names below the axis."""
    ax.set_xticks(list(places.values()), [init for _, init in places], rotation=40, ha="right",
                  rotation_mode="anchor")  # fmt: skip
    ax.set_xlim(min(places.values()) - 0.6, max(places.values()) + 0.6)
    ax.grid(axis="x", visible=False)


def label_recipes(ax: Axes, places: dict[tuple[str, str], float], recipes: list[str]) -> int:
    """The recipes' names above their starts, a line between them; the most lines of a name."""
    most = 0
    for recipe in recipes:
        own = [place for (name, _), place in places.items() if name == recipe]
        lines = wrapped(recipe, max(START_WIDTH * len(own), RECIPE_WIDTH), SMALL)
        most = max(most, len(lines))
        ax.text(float(np.mean(own)), 1.0, "\n".join(lines), size=SMALL, ha="center", va="bottom",
                transform=ax.get_xaxis_transform())  # fmt: skip
        if own[0] > 0:
            ax.axvline(own[0] - 0.5 - RECIPE_GAP / 2, color="#BBBBBB", linewidth=0.5)
    return most
