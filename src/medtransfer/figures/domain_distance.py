"""How far each data set is from a source's own images, and what the source brings there."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.config.names import parse_init
from medtransfer.figures.cells import FOREST_ROW, interval_key
from medtransfer.figures.gain_points import (
    PointStyles,
    draw_points,
    gain_label,
    point_keys,
    point_styles,
)
from medtransfer.figures.style import interval_bars, key, legend_below, note, ordered, panels

MEASURES = {"frechet": "Fréchet distance", "kernel": "squared kernel distance"}
EXTRAPOLATED = "frechet_extrapolated"
GAINS = (
    "dataset", "recipe", "model", "subset", "source", "init", "reference", "metric", "mean", "low",
    "high", "pairs",
)  # fmt: skip
# between networks, in points of print: they share the distance of their data set
APART = 4.0


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The known distances, and the gains of their sources on their data sets.

    Args:
        tables: ``distances`` and ``gains``.
    """
    distances, gains = tables["distances"], tables["gains"]
    if len(distances):
        distances = distances[distances["measure"].isin([*MEASURES, EXTRAPOLATED])]
        distances = distances.dropna(subset=["value"])
    if distances.empty or gains.empty:
        return {"distances": distances, "gains": pd.DataFrame(columns=list(GAINS))}
    gains = source_gains(gains).dropna(subset=["mean"])
    measured = distances[distances["measure"].isin(MEASURES)]
    known = set(zip(measured["source"], measured["dataset"], strict=True))
    places = zip(gains["source"], gains["dataset"], strict=True)
    return {"distances": distances, "gains": gains.loc[[p in known for p in places], list(GAINS)]}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two rows a source: its distances to the data sets, and below its gains over them.

    Args:
        tables: ``distances`` and ``gains``.
    """
    chosen = select(tables)
    distances, gains = chosen["distances"], chosen["gains"]
    if distances.empty:
        return note("no domain distances: no source of this study names its own images")
    sources = ordered(distances["source"])
    styles = point_styles(distances["dataset"], gains["model"], [""])
    height = max(2.3, FOREST_ROW * distances["dataset"].nunique() + 1)
    figure, axes = panels(2 * len(sources), len(MEASURES), (3.4, height))
    for above, below, source in zip(axes[::2], axes[1::2], sources, strict=True):
        own = distances[distances["source"] == source]
        for upper, lower, measure in zip(above, below, MEASURES, strict=True):
            draw_distances(upper, own, measure, styles)
            points = with_distances(gains[gains["source"] == source], own, measure)
            draw_relation(lower, points, MEASURES[measure], styles)
            upper.set_title(f"from {source}")
    if EXTRAPOLATED in set(distances["measure"]):
        key(figure, "extrapolated to endlessly many images", marker="D", markerfacecolor="white",
            markersize=4)  # fmt: skip
    point_keys(figure, styles)
    interval_key(figure, "jackknife's, paired interval")
    legend_below(figure, columns=3)
    return figure


def source_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """The gains of whole sources in the target metric of the test part, with ``source``.

    Over the reference of the study, or over the source's statistics where that is all there is. With
    all training data, or the first subset of a data set that is never used as a whole.
    """
    inits = {name: parse_init(name) for name in gains["init"].unique()}
    whole = [name for name, init in inits.items() if init.source is not None and init.upto is None]
    gains = gains[gains["target"] & (gains["part"] == "test") & gains["init"].isin(whole)]
    gains = gains.assign(source=[str(inits[name].source) for name in gains["init"]])
    baseline = gains["reference"] == gains["init"].map(lambda name: inits[name].baseline)
    gains = gains if baseline.all() else gains[~baseline]
    subsets = gains.groupby("dataset")["subset"]
    largest = subsets.transform(lambda names: "full" if "full" in set(names) else names.iloc[0])
    return gains[gains["subset"] == largest]


def with_distances(gains: pd.DataFrame, distances: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One row a data set and network, with the distance ``x`` and the gain with its interval."""
    x = distances[distances["measure"] == measure].set_index("dataset")["value"]
    gains = gains.rename(columns={"mean": "gain", "low": "gain_low", "high": "gain_high"})
    gains = gains.assign(x=gains["dataset"].map(x).astype(float), source="")
    return gains.dropna(subset=["x", "gain"])


def draw_distances(ax: Axes, distances: pd.DataFrame, measure: str, styles: PointStyles) -> None:
    """One line a data set, from near to far, with its interval; extrapolated ones beside it."""
    rows = distances[distances["measure"] == measure].dropna(subset=["value"]).sort_values("value")
    if rows.empty:
        ax.set_axis_off()
        return
    for place, (_, row) in enumerate(rows.iterrows()):
        value, low, high = (np.array([row[name]], float) for name in ("value", "low", "high"))
        ax.errorbar(
            value, [place], xerr=interval_bars(value, low, high), fmt="o", markersize=4.5,
            color=styles.colours[row["dataset"]], elinewidth=1, capsize=2,
        )  # fmt: skip
    if measure == "frechet":
        draw_extrapolated(ax, distances, list(rows["dataset"]), styles)
    ax.set_yticks(range(len(rows)), rows["dataset"])
    ax.set_ylim(-0.5, len(rows) - 0.5)
    ax.set_xlim(left=min(0, ax.get_xlim()[0]))
    ax.grid(axis="y", visible=False)
    fewest, most = rows["images"].min(), rows["images"].max()
    images = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    ax.set_xlabel(
        f"{MEASURES[measure]},\n{images} images each,\nfeatures of {rows['extractor'].iloc[0]}"
    )


def draw_extrapolated(
    ax: Axes, distances: pd.DataFrame, datasets: list[str], styles: PointStyles
) -> None:
    """What endlessly many images would give, by extrapolation, a little below the measured ones."""
    rows = distances[distances["measure"] == EXTRAPOLATED].dropna(subset=["value"])
    for _, row in rows[rows["dataset"].isin(datasets)].iterrows():
        ax.plot(
            row["value"], datasets.index(row["dataset"]) - 0.2, "D", markersize=4,
            color=styles.colours[row["dataset"]], markerfacecolor="white",
        )  # fmt: skip


def draw_relation(ax: Axes, points: pd.DataFrame, label: str, styles: PointStyles) -> None:
    """The gains over the distance; no line is fitted through so few data sets."""
    if points.empty:
        ax.set_axis_off()
        return
    draw_points(ax, points, styles, APART)
    ax.set_xlabel(label)
    ax.set_ylabel(gain_label(points["metric"], points["reference"]))
    ax.set_title(f"n = {len(points)} (data sets: {points['dataset'].nunique()})")
