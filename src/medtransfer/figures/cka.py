"""CKA of all pairs of units: within a network before and after, before with after, init with init."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from medtransfer.figures.by_depth import (
    CHANCE,
    MAIN,
    analysed,
    by_depth,
    draw_means,
    label_units,
    line_keys,
    named_units,
    placed,
    same_network,
    short,
)
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    interval_bars,
    legend_below,
    note,
    ordered,
)

COLOURS = "magma"
SCALE = Normalize(0, 1)
KINDS = {"unit": "units", "attention": "attention", "mlp": "MLP"}
# of a row of maps: the network before, after, and before against after
COLUMNS = 3
MAP, LINES = 1.75, 2.2
NAMED = 4


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block of maps and, below, of lines for each data set (columns) and network (rows).

    Args:
        tables: ``cka``.
    """
    table = tables["cka"]
    if not table.empty:
        table = analysed(table[table["pair"].isin(["within", "fine_tuning", "inits"])])
    if table.empty:
        return note("no similarities: no run of this study is analysed")
    datasets, models = ordered(table["dataset"]), ordered(table["model_a"])
    styles = init_styles([*table["init_a"], *table["init_b"]])
    cells = {
        (model, dataset): table[(table["dataset"] == dataset) & (table["model_a"] == model)]
        for model in models
        for dataset in datasets
    }
    heights = [max(map_rows(cells[m, d]) for d in datasets) * MAP + LINES for m in models]
    figure = Figure(
        figsize=(len(datasets) * COLUMNS * MAP * 1.1 + 0.8, sum(heights) + 0.6), layout="constrained"
    )
    blocks = figure.subfigures(len(models), len(datasets), squeeze=False, height_ratios=heights)
    for block, ((model, dataset), cell) in zip(blocks.ravel(), cells.items(), strict=True):
        if not cell.empty:
            draw_block(block, cell, styles, f"{dataset}, {model}")
    add_scale(figure)
    line_keys(figure, {"images shuffled": CHANCE})
    legend_below(figure)
    return figure


def add_scale(figure: Figure) -> None:
    """The one bar of colours that all maps share."""
    maps = [ax for ax in figure.axes if ax.images]
    figure.colorbar(
        ScalarMappable(SCALE, COLOURS), ax=maps, shrink=0.25, aspect=30, extend="min",
        label="debiased linear CKA",
    )  # fmt: skip


def map_rows(table: pd.DataFrame) -> int:
    """Rows of maps of one data set and network."""
    inits, pairs = len(own_inits(table)), len(list(init_pairs(table)))
    return inits + -(-pairs // COLUMNS)


def own_inits(table: pd.DataFrame) -> list[str]:
    """The inits with maps of their own."""
    return ordered(table[table["pair"] != "inits"]["init_a"])


def init_pairs(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The pairs of inits and the rows of their trained networks."""
    rows = table[(table["pair"] == "inits") & (table["moment_a"] == "end")]
    for pair, found in rows.groupby(["init_a", "init_b"], sort=False):
        yield pair, found


def draw_block(
    figure: SubFigure, table: pd.DataFrame, styles: dict[str, InitStyle], title: str
) -> None:
    """The maps and lines of one data set and network."""
    rows = map_rows(table)
    above, below = figure.subfigures(2, 1, height_ratios=[rows * MAP, LINES])
    above.suptitle(title, fontsize=9)
    axes = above.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    places = iter(axes)
    for init, row in zip(own_inits(table), places, strict=False):
        draw_own_maps(row, table, init)
    others = itertools.chain.from_iterable(places)
    for ((a, b), found), ax in zip(init_pairs(table), others, strict=False):
        draw_map(ax, found, f"{a} (up) with {b}, after")
    draw_diagonals(below, same_network(table, "fine_tuning"), styles)


def draw_own_maps(axes: np.ndarray, table: pd.DataFrame, init: str) -> None:
    """Three maps of one init: before fine-tuning, after, and before against after."""
    own = table[table["init_a"] == init]
    within = own[own["pair"] == "within"]
    draw_map(axes[0], within[within["moment_a"] == "start"], f"{init}: before")
    draw_map(axes[1], within[within["moment_a"] == "end"], f"{init}: after")
    draw_map(axes[2], own[own["pair"] == "fine_tuning"], f"{init}: before (up) with after")


def draw_map(ax: Axes, table: pd.DataFrame, title: str) -> None:
    """The mean over the runs for each pair of points; points of one kind stand together."""
    if table.empty:
        return
    ax.set_axis_on()
    up, right = (kinds_of_points(table, side) for side in ("a", "b"))
    values = table.pivot_table("value", "point_a", "point_b", aggfunc="mean", dropna=False)
    values = values.reindex([*itertools.chain(*up.values())], columns=[*itertools.chain(*right.values())])
    ax.imshow(np.ma.masked_invalid(values), cmap=COLOURS, norm=SCALE, origin="lower")
    label_points(ax.yaxis, up)
    label_points(ax.xaxis, right)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_tick_params(length=2, labelsize=6)
    for tick in ax.get_xticklabels():
        tick.set(rotation=40, ha="right", rotation_mode="anchor")
    ax.grid(visible=False)
    runs = len(table[["split", "seed_a"]].drop_duplicates())
    ax.set_title(f"{title}\n({runs} run{'s' * (runs > 1)})", fontsize=7)


def kinds_of_points(table: pd.DataFrame, side: str) -> dict[str, list[str]]:
    """Names of the points of each kind that the network has, in the order of depth."""
    names = [f"point_{side}", f"kind_{side}", f"order_{side}"]
    points = table[names].drop_duplicates().set_axis(["point", "kind", "order"], axis=1)
    found = {kind: by_depth(points[points["kind"] == kind], "point") for kind in KINDS}
    return {kind: own for kind, own in found.items() if own}


def label_points(axis, kinds: dict[str, list[str]]) -> None:
    """Names of a few units; where there are several kinds, these, with lines between them."""
    if len(kinds) == 1:
        (names,) = kinds.values()
        shown = named_units(len(names), NAMED)
        axis.set_ticks(shown, [f"{i} {short(names[i])}" for i in shown])
        return
    ends = np.cumsum([len(names) for names in kinds.values()])
    starts = np.append(0, ends[:-1])
    axis.set_ticks((starts + ends - 1) / 2, [KINDS[kind] for kind in kinds])
    line = axis.axes.axhline if axis.axis_name == "y" else axis.axes.axvline
    for edge in ends[:-1]:
        line(edge - 0.5, color="white", linewidth=1)


def draw_diagonals(figure: SubFigure, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """Each point before with itself after fine-tuning: a panel a kind of points."""
    same = table[table["point_a"] == table["point_b"]]
    same = same.rename(columns={"point_a": "unit", "order_a": "order"})
    kinds = [kind for kind in KINDS if kind in set(same["kind_a"])]
    if not kinds:
        return
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        draw_diagonal(ax, same[same["kind_a"] == kind], styles)
        ax.set_title(f"before with after: {KINDS[kind]}")
    axes[0].set_ylabel("CKA")


def draw_diagonal(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init with its baseline; each run with its interval over images."""
    rows = placed(table, styles)
    for init, style in styles.items():
        own = rows[rows["init"] == init]
        draw_means(ax, own.assign(value=own["baseline"]), style, CHANCE)
        draw_means(ax, own, style, MAIN, label=init)
        known = own.dropna(subset=["value", "low", "high"])
        ax.vlines(known["place"], known["low"], known["high"], style.colour, linewidth=0.7, alpha=0.6)
    label_units(ax, by_depth(table))
