"""CKA of all pairs of units: within a network before and after, before with after, init with init."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from medtransfer.figures.by_depth import (
    CHANCE,
    MAIN,
    PAIR,
    by_depth,
    draw_means,
    label_units,
    line_keys,
    named_units,
    placed,
    run_keys,
    same_network,
    short,
    shown,
)
from medtransfer.figures.cells import interval_key, span
from medtransfer.figures.style import (
    InitStyle,
    init_styles,
    legend_below,
    note,
    ordered,
)

COLOURS = "magma"
SCALE = Normalize(0, 1)
KINDS = {"unit": "units", "attention": "attention", "mlp": "MLP"}
# of a row of maps: the network before, after, and before with after
COLUMNS = 3
# inches
MAP, LINES, BAR = 1.75, 2.2, 0.55
NAMED = 4


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The similarities within networks, before with after, and of trained networks of two inits.

    Args:
        tables: ``cka``.
    """
    table = tables["cka"]
    if len(table):
        trained = (table["pair"] == "inits") & (table["moment_a"] == "end")
        table = table[table["pair"].isin(["within", "fine_tuning"]) | trained]
    points = [f"{name}_{side}" for side in "ab" for name in ("moment", "point", "kind", "order")]
    return {"cka": shown(table, [*PAIR, *points, "value", "low", "high", "baseline", "images"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block of maps and, below, of lines for each data set (columns) and network (rows).

    Args:
        tables: ``cka``.
    """
    table = select(tables)["cka"]
    if table.empty:
        return note("no similarities: no run with a whole start is analysed in this study")
    datasets, models = ordered(table["dataset"]), ordered(table["model_a"])
    styles = init_styles([*table["init_a"], *table["init_b"]])
    cells = {
        (model, dataset): table[(table["dataset"] == dataset) & (table["model_a"] == model)]
        for model in models
        for dataset in datasets
    }
    heights = [max(map_rows(cells[m, d]) for d in datasets) * MAP + LINES for m in models]
    width = len(datasets) * COLUMNS * MAP
    figure = Figure(figsize=(width, sum(heights) + BAR + 0.6), layout="constrained")
    above, body = figure.subfigures(2, 1, squeeze=False, height_ratios=[BAR, sum(heights)])[:, 0]
    draw_scale(above)
    blocks = body.subfigures(len(models), len(datasets), squeeze=False, height_ratios=heights)
    for block, ((model, dataset), cell) in zip(blocks.ravel(), cells.items(), strict=True):
        if not cell.empty:
            title = f"{dataset}, {model}: {span(cell['images'])} images"
            draw_block(block, cell, styles, title)
    line_keys(figure, {"images shuffled": CHANCE})
    run_keys(figure, same_network(table, "fine_tuning"))
    interval_key(figure, "interval of a run over images")
    legend_below(figure)
    return figure


def draw_scale(figure: SubFigure) -> None:
    """The bar of colours that all maps share."""
    ax = figure.subplots(1, 3, width_ratios=[1, 2, 1])
    for side in ax[::2]:
        side.set_axis_off()
    bar = figure.colorbar(
        ScalarMappable(SCALE, COLOURS), cax=ax[1], orientation="horizontal", extend="min"
    )
    bar.set_label("debiased linear CKA")


def map_rows(table: pd.DataFrame) -> int:
    """Rows of maps of one data set and network."""
    inits, pairs = len(own_inits(table)), len(list(init_pairs(table)))
    return inits + -(-pairs // COLUMNS)


def own_inits(table: pd.DataFrame) -> list[str]:
    """The inits with maps of their own."""
    return ordered(table[table["pair"] != "inits"]["init_a"])


def init_pairs(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The pairs of inits and the rows of their trained networks."""
    rows = table[table["pair"] == "inits"]
    for (a, b), found in rows.groupby(["init_a", "init_b"], sort=False):
        yield (str(a), str(b)), found


def draw_block(
    figure: SubFigure, table: pd.DataFrame, styles: dict[str, InitStyle], title: str
) -> None:
    """The maps and lines of one data set and network."""
    rows = map_rows(table)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[rows * MAP, LINES])[:, 0]
    above.suptitle(title, fontsize=9)
    axes = above.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    places = iter(axes)
    for init, row in zip(own_inits(table), places, strict=False):
        draw_own_maps(row, table, init)
    others = itertools.chain.from_iterable(places)
    for ((a, b), found), ax in zip(init_pairs(table), others, strict=False):
        draw_map(ax, found, "after", (a, b))
    name_points_once(axes)
    draw_diagonals(below, same_network(table, "fine_tuning"), styles)


def name_points_once(axes: np.ndarray) -> None:
    """Leave the names of points at the left maps and at the lowest of each column."""
    for ax in axes[:, 1:].ravel():
        ax.tick_params(labelleft=False)
    for column in axes.T:
        drawn = [ax for ax in column if ax.axison]
        for ax in drawn[:-1]:
            ax.tick_params(labelbottom=False)


def draw_own_maps(axes: np.ndarray, table: pd.DataFrame, init: str) -> None:
    """Three maps of one init: before fine-tuning, after, and before with after."""
    own = table[table["init_a"] == init]
    within = own[own["pair"] == "within"]
    for ax, (moment, name) in zip(axes, {"start": "before", "end": "after"}.items(), strict=False):
        draw_map(ax, within[within["moment_a"] == moment], f"{init}\n{name}")
    moved = own[own["pair"] == "fine_tuning"]
    draw_map(axes[2], moved, f"{init}\nbefore with after", ("before", "after"))


def draw_map(ax: Axes, table: pd.DataFrame, title: str, sides: tuple[str, str] = ("", "")) -> None:
    """The mean over the runs for each pair of points; points of one kind stand together.

    Args:
        ax: where to draw.
        table: of one kind of pair.
        title: beside the number of runs.
        sides: what goes up and what goes right.
    """
    if table.empty:
        return
    ax.set_axis_on()
    up, right = (kinds_of_points(table, side) for side in ("a", "b"))
    values = table.groupby(["point_a", "point_b"])["value"].mean().unstack()
    values = values.reindex(
        [*itertools.chain(*up.values())], columns=[*itertools.chain(*right.values())]
    )
    ax.imshow(np.ma.masked_invalid(values), cmap=COLOURS, norm=SCALE, origin="lower")
    label_points(ax.yaxis, ax.axhline, up)
    label_points(ax.xaxis, ax.axvline, right)
    ax.tick_params(length=2, labelsize=6)
    for tick in ax.get_xticklabels():
        tick.set(rotation=40, ha="right", rotation_mode="anchor")
    ax.grid(visible=False)
    ax.set_ylabel(sides[0], fontsize=6.5, labelpad=1)
    ax.set_xlabel(sides[1], fontsize=6.5, labelpad=1)
    runs = len(table[["split", "seed_a"]].drop_duplicates())
    ax.set_title(f"{title}, {runs} run{'s' * (runs > 1)}", fontsize=7)


def kinds_of_points(table: pd.DataFrame, side: str) -> dict[str, list[str]]:
    """Names of the points of each kind that the network has, in the order of depth."""
    names = [f"point_{side}", f"kind_{side}", f"order_{side}"]
    points = table[names].drop_duplicates().set_axis(["point", "kind", "order"], axis=1)
    found = {kind: by_depth(points[points["kind"] == kind], "point") for kind in KINDS}
    return {kind: own for kind, own in found.items() if own}


def label_points(axis: Axis, line: Callable[..., object], kinds: dict[str, list[str]]) -> None:
    """Names of a few units; where there are several kinds, these, with lines between them.

    Args:
        axis: of a map.
        line: draws across a place of the axis.
        kinds: names of the points of each kind.
    """
    if len(kinds) == 1:
        (names,) = kinds.values()
        shown = named_units(len(names), NAMED)
        axis.set_ticks(shown, [f"{i} {short(names[i])}" for i in shown])
        return
    ends = np.cumsum([len(names) for names in kinds.values()])
    starts = np.append(0, ends[:-1])
    axis.set_ticks((starts + ends - 1) / 2, [KINDS[kind] for kind in kinds])
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
