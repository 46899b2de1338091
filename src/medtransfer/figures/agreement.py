"""Are two runs right and wrong on the same images, more often than their accuracies make it likely?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.figures.by_depth import analysed
from medtransfer.figures.style import InitStyle, init_styles, note, offsets, panels

SEEDS, INITS = "seeds", "inits"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One row a data set and network: similarity, overlap of errors, kappa.

    Args:
        tables: ``agreement``.
    """
    table = tables["agreement"]
    if not table.empty:
        table = analysed(table[table["pair"].isin([SEEDS, INITS])])
    if table.empty:
        return note("no agreement: no two analysed runs differ in the seed or the init alone")
    table = table.assign(group=[group_name(row) for _, row in table.iterrows()])
    table = table.sort_values("pair", ascending=False, kind="stable")
    styles = init_styles([*table["init_a"], *table["init_b"]])
    cells = table[["dataset", "model_a"]].drop_duplicates().to_numpy().tolist()
    most = table["group"].nunique()
    figure, axes = panels(len(cells), 3, (2.9, max(2.3, 0.17 * most + 0.8)))
    for row, (dataset, model) in zip(axes, cells, strict=True):
        chosen = table[(table["dataset"] == dataset) & (table["model_a"] == model)]
        draw_kappa(row[0], chosen, styles)
        draw_against_chance(row[1], chosen, styles, ("chance", "similarity"))
        draw_against_chance(row[2], chosen, styles, ("expected_error_overlap", "error_overlap"))
        row[0].set_title(f"{dataset}, {model}: {chosen['images'].max()} images")
        row[1].set_title("both right or both wrong")
        row[2].set_title("errors in common")
    return figure


def group_name(row: pd.Series) -> str:
    """What the two runs of a pair are."""
    if row["pair"] == SEEDS:
        return f"{row['init_a']}: two seeds"
    return f"{row['init_a']} and {row['init_b']}"


def marker(row: pd.Series, styles: dict[str, InitStyle]) -> dict[str, Any]:
    """The init's own marker for two seeds; for two inits a hexagon, half in the colour of each."""
    a, b = (styles[row[f"init_{side}"]] for side in ("a", "b"))
    faces = [style.colour if style.filled else "white" for style in (a, b)]
    if row["pair"] == SEEDS:
        return {"marker": a.marker, "color": a.colour, "markerfacecolor": faces[0]}
    return {
        "marker": "h", "fillstyle": "left", "color": b.colour if b.filled else a.colour,
        "markerfacecolor": faces[0], "markerfacecoloralt": faces[1],
    }  # fmt: skip


def draw_against_chance(
    ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle], names: tuple[str, str]
) -> None:
    """Each pair as a small mark, the mean of a group as a large one, and the line of equality.

    Args:
        ax: where to draw.
        table: of one data set and network.
        styles: of inits.
        names: columns with what chance gives, and what was observed.
    """
    known = table.dropna(subset=list(names))
    if known.empty:
        ax.set_axis_off()
        return
    ends = [known[list(names)].min().min(), known[list(names)].max().max()]
    ax.plot(ends, ends, color="#888888", linewidth=0.8)
    for _, group in known.groupby("group", sort=False):
        look = marker(group.iloc[0], styles)
        x, y = group[names[0]], group[names[1]]
        ax.plot(x, y, **look, linestyle="none", markersize=2.5, alpha=0.5, markeredgewidth=0.3)
        ax.plot([x.mean()], [y.mean()], **look, linestyle="none", markersize=6, markeredgewidth=0.7)
    ax.set_xlabel("expected by chance")
    ax.set_ylabel("observed")


def draw_kappa(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """One line a group: each pair as a small mark, their mean as a large one."""
    groups = list(dict.fromkeys(table["group"]))
    for place, name in enumerate(groups):
        group = table[table["group"] == name].dropna(subset=["kappa"])
        if group.empty:
            continue
        look = marker(group.iloc[0], styles) | {"linestyle": "none"}
        beside = place + 0.25 + np.asarray(offsets(len(group), 0.3))
        ax.plot(group["kappa"], beside, **look, markersize=2.5, alpha=0.5, markeredgewidth=0.3)
        ax.plot([group["kappa"].mean()], [place - 0.1], **look, markersize=6, markeredgewidth=0.7)
    ax.axvline(0, color="#888888", linewidth=0.8)
    ax.set_yticks(range(len(groups)), groups)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("Cohen's κ of the two runs' classes")
