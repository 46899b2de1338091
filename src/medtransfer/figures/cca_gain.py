"""How alike a unit is before and after fine-tuning, against what the source gained."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.figures.by_depth import by_depth, named_units, short
from medtransfer.figures.cells import ZERO_LINE, among, mark_gap
from medtransfer.figures.gain_points import dataset_styles
from medtransfer.figures.style import (
    key,
    legend_below,
    note,
    ordered,
    panels,
)

# in this order: the first of which every value is reliable
MEASURES = {"sampled_channels": "CCA of 64 channels", "svcca": "SVCCA"}
ROW = ["pool", "init"]
PANEL = [*ROW, "measure", "point"]
MOST_UNITS = 5
MEAN: Any = {"markersize": 5.5, "markerfacecolor": "white", "markeredgewidth": 1.2}
SIZE = (1.75, 1.9)
LABEL_CHARACTERS = 24
KEPT_POINTS = [
    "pool", "init", "dataset", "recipe", "model", "subset", "split", "seed", "measure", "point",
    "order", "similarity", "relative_gain", "dataset_similarity", "dataset_gain", "metric", "reference",
]  # fmt: skip
LEFT_OUT = ["gain", "metrics", "pooled_spearman", "pooled_spearman_p", "within_spearman",
            "within_spearman_p", "reliable"]  # fmt: skip


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Relative gains at a few units of each network, by one measure, and their correlations.

    The measure is that of study 4, sampled channels, where each of its values is reliable, else SVCCA.

    Args:
        tables: ``points`` and ``correlations``.
    """
    points, correlations = tables["points"], tables["correlations"]
    if points.empty:
        return {"points": points, "correlations": correlations}
    points = points.dropna(subset=["relative_gain"])
    chosen = [_few_units(_of_one_measure(rows)) for _, rows in points.groupby(ROW, sort=False)]
    points = pd.concat(chosen)[KEPT_POINTS] if chosen else points
    relative = correlations[correlations["gain"] == "relative"].drop(columns=LEFT_OUT)
    return {"points": points, "correlations": among(relative, points, PANEL)}


def _of_one_measure(rows: pd.DataFrame) -> pd.DataFrame:
    reliable = rows.groupby("measure")["reliable"].all()
    found = [name for name in MEASURES if reliable.get(name, False)]
    known = [name for name in reversed(MEASURES) if name in reliable]
    return rows[rows["measure"] == [*found, *known][0]]


def _few_units(rows: pd.DataFrame) -> pd.DataFrame:
    units = by_depth(rows, "point")
    return rows[rows["point"].isin([units[i] for i in named_units(len(units), MOST_UNITS)])]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One row a network and source, one panel a unit by depth.

    Args:
        tables: ``points`` and ``correlations``.
    """
    points, correlations = select(tables).values()
    if points.empty:
        return note(
            "no gain beside a similarity: no analysed run of a source has a run of the reference"
        )
    rows = points[ROW].drop_duplicates().itertuples(index=False)
    units = [(row, by_depth(_rows(points, row), "point")) for row in rows]
    styles = dataset_styles(ordered(points["dataset"]))
    figure, axes = panels(len(units), max(len(names) for _, names in units), SIZE, share_y="row")
    for places, (row, names) in zip(axes, units, strict=True):
        for ax, unit in zip(places, names, strict=False):
            draw_unit(ax, _rows(points, (*row, unit)), _rows(correlations, (*row, unit)), styles)
        for ax in places[len(names) :]:
            ax.set_axis_off()
        places[0].set_ylabel(gain_label(_rows(points, row)))
    for name, look in styles.items():
        key(figure, name, markersize=4.5, **look)
    key(figure, "mean of a data set, slope within", marker="o", linestyle="-", linewidth=1, **MEAN)
    key(figure, "above: Pearson's r [interval], p")
    legend_below(figure)
    return figure


def _rows(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Of a network and source, and perhaps a unit."""
    chosen = zip([*ROW, "point"], names, strict=False)
    return table[np.logical_and.reduce([table[column] == name for column, name in chosen])]


def gain_label(points: pd.DataFrame) -> str:
    """What the gains of a row of panels are of."""
    names = [METRIC_LABELS.get(name, name) for name in ordered(points["metric"])]
    of = f"{points['pool'].iloc[0]}, from {points['init'].iloc[0]}:"
    what = f"gain in {' or '.join(names)} over {points['reference'].iloc[0]}, relative"
    return "\n".join(fill(text, LABEL_CHARACTERS + 6) for text in (of, what))


def draw_unit(
    ax: Axes, points: pd.DataFrame, correlations: pd.DataFrame, styles: dict[str, dict[str, Any]]
) -> None:
    """A dot a run, through the mean of each data set the slope within; correlations above."""
    if points.empty:
        mark_gap(np.array([ax]))
        return
    found = correlations.iloc[0]
    ax.axhline(0, **ZERO_LINE)
    for dataset, rows in points.groupby("dataset", sort=False):
        look = styles[str(dataset)]
        ax.plot(rows["similarity"], rows["relative_gain"], linestyle="none", markersize=3.5,
                markeredgewidth=0.5, alpha=0.75, **look)  # fmt: skip
        draw_slope(ax, rows, found["within_slope"], look)
    ax.set_title(f"{short(points['point'].iloc[0])}\n{correlation_text(found)}", fontsize=6.5)
    datasets = f"{found['datasets']} data set{'' if found['datasets'] == 1 else 's'}"
    ax.set_xlabel(f"{MEASURES[found['measure']]},\nn = {found['points']} of {datasets}")
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.margins(0.12)


def draw_slope(ax: Axes, rows: pd.DataFrame, slope: float, look: dict[str, Any]) -> None:
    """The mean of a data set, and through it the slope within, as far as its runs reach."""
    x, y = (float(rows[name].iloc[0]) for name in ("dataset_similarity", "dataset_gain"))
    ends = np.array([rows["similarity"].min(), rows["similarity"].max()])
    if np.isfinite(slope):
        ax.plot(ends, y + slope * (ends - x), "-", color=look["color"], linewidth=1)
    ax.plot([x], [y], linestyle="none", **look, **MEAN)


def correlation_text(found: pd.Series) -> str:
    """Both correlations, each with its interval and p where it has them."""
    lines = []
    for name in ("pooled", "within"):
        value, low, high, p = (found[f"{name}{end}"] for end in ("", "_low", "_high", "_p"))
        if pd.isna(value):
            lines.append(f"{name}: not known")
            continue
        interval = "" if pd.isna(low) else f" [{two(low)}, {two(high)}]"
        lines.append(f"{name} {two(value)}{interval}" + ("" if pd.isna(p) else f", p {probability(p)}"))
    return "\n".join(lines)


def two(value: float) -> str:
    """A correlation with two decimals, a true minus and no zero before the point."""
    return f"{value:.2f}".replace("-", "−").replace("0.", ".")


def probability(p: float) -> str:
    """A p with two decimals, or that it is smaller than they tell."""
    return "< .01" if p < 0.01 else two(p)
