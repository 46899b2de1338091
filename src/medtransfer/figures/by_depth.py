"""What figures by depth share: panels over data sets and networks, a line an init over the units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, NullFormatter

from medtransfer.evaluation.names import distinguish_subsets, whole_starts
from medtransfer.figures.cells import TITLE_CHARACTERS, mark_gap, span
from medtransfer.figures.style import InitStyle, key, offsets, ordered, panels

# what tells runs apart, and pairs of runs
RUN = ("dataset", "recipe", "model", "init", "subset", "split", "seed")
PAIR = (
    "pair", "dataset", "split",
    *(f"{name}_{side}" for side in "ab" for name in ("recipe", "model", "init", "subset", "seed")),
)  # fmt: skip

# what a panel names of its units, evenly spread over the depth, and how long a name is
NAMED_UNITS = 8
NAME_LENGTH = 14
CELLS_IN_A_ROW = 3


@dataclass(frozen=True)
class Look:
    """What tells the values of one kind from those of another, whatever the init."""

    line: object = "-"
    width: float = 1.2
    marker_size: float = 4.0
    alpha: float = 1.0
    runs: bool = True


MAIN = Look()
BEFORE = Look(line=(0, (4, 1.5)), width=0.9, marker_size=3.0, alpha=0.6)
CHANCE = Look(line=":", width=0.9, marker_size=0.0, alpha=0.8, runs=False)


def analysed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole starts, with the subset in the network's name where there are several."""
    return table if table.empty else distinguish_subsets(whole_starts(table))


def shown(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of whole starts with these columns; no row where the value is nowhere known.

    Rows without a value among others keep their unit's place as a gap.

    Args:
        table: with these columns and ``value``; an empty one may be without.
        columns: to keep.
    """
    rows = analysed(table)
    if rows.empty or rows["value"].isna().all():
        return pd.DataFrame(columns=list(columns))
    return rows[list(columns)]


def same_network(pairs: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The pairs of this kind, whose networks share init and architecture, with columns of one run."""
    rows = pairs[pairs["pair"] == kind]
    return rows.rename(columns={f"{name}_a": name for name in RUN})


def draw_panels(
    table: pd.DataFrame,
    draw_panel: Callable[[Axes, pd.DataFrame], None],
    size: tuple[float, float],
    rows: Sequence[str] = ("model",),
    columns: Sequence[str] = ("dataset",),
    share_y: bool | str = False,
) -> Figure:
    """One panel for each value of the row's and the column's names; one without runs says so.

    Args:
        table: with the named columns, ``init`` and those of a run.
        draw_panel: draws the rows of one panel.
        size: of a panel, inches.
        rows, columns: names of columns of the table; dataset and model are the title.
        share_y: as of matplotlib's subplots.
    """
    down, across = (table[list(names)].drop_duplicates() for names in (rows, columns))
    figure, axes = panels(len(down), len(across), size, share_y)
    for places, above in zip(axes, down.to_dict("records"), strict=True):
        for ax, beside in zip(places, across.to_dict("records"), strict=True):
            wanted = above | beside
            chosen = table[np.logical_and.reduce([table[n] == v for n, v in wanted.items()])]
            ax.set_title(panel_title(wanted["dataset"], wanted["model"], chosen, size[0]))
            if chosen.empty:
                mark_gap(np.array([ax]))
            else:
                draw_panel(ax, chosen)
    return figure


def draw_cells(
    table: pd.DataFrame, draw_panel: Callable[[Axes, pd.DataFrame], None], size: tuple[float, float]
) -> Figure:
    """One panel a data set and network that occur together, some in a row.

    Args:
        table: with the columns ``dataset`` and ``model``.
        draw_panel: draws the rows of one panel.
        size: of a panel, inches.
    """
    cells = list(table.groupby(["dataset", "model"], sort=False))
    columns = min(CELLS_IN_A_ROW, len(cells))
    figure, axes = panels(ceil(len(cells) / columns), columns, size)
    for ax in axes.ravel()[len(cells) :]:
        ax.set_axis_off()
    for ax, ((dataset, model), rows) in zip(axes.flat, cells, strict=False):
        draw_panel(ax, rows)
        title = fill(f"{dataset}, {model}", int(size[0] * TITLE_CHARACTERS))
        ax.set_title("\n".join([title, ax.get_title()]).strip())
    return figure


def panel_title(dataset: str, model: str, rows: pd.DataFrame, width: float) -> str:
    """The cell's name and, in a line of its own, how many runs and images it has.

    Args:
        dataset, model: of the cell.
        rows: of the cell; none where nothing ran.
        width: of the panel, inches.
    """
    name = fill(f"{dataset}, {model}", int(width * TITLE_CHARACTERS))
    return f"{name}\n{counted(rows)}" if len(rows) else name


def counted(rows: pd.DataFrame) -> str:
    """How many runs a start has, and how many images they saw where the table knows.

    Args:
        rows: with the columns ``init``, ``split``, ``seed`` and ``value``, and perhaps ``images``.
    """
    runs = rows.dropna(subset=["value"])[["init", "split", "seed"]].drop_duplicates()
    counts = runs["init"].value_counts() if len(runs) else pd.Series([0])
    found = f"{span(counts)} {'run' if counts.max() == 1 else 'runs'} a start"
    return f"{found}, {span(rows['images'])} images" if "images" in rows else found


def placed(table: pd.DataFrame, inits: Iterable[str], name: str = "unit") -> pd.DataFrame:
    """With the column ``place``: of the unit in the order of depth, inits side by side.

    Args:
        table: with the columns ``order`` and ``init``.
        inits: all that the figure draws.
        name: of the column with the units' names.
    """
    names = list(inits)
    index = {unit: number for number, unit in enumerate(by_depth(table, name))}
    shift = dict(zip(names, offsets(len(names), 0.3), strict=True))
    return table.assign(place=table[name].map(index) + table["init"].map(shift))


def by_depth(table: pd.DataFrame, name: str = "unit") -> list[str]:
    """The names of the units from the stem on."""
    return ordered(table.sort_values("order", kind="stable")[name])


def draw_means(
    ax: Axes, rows: pd.DataFrame, style: InitStyle, look: Look = MAIN, label: str | None = None
) -> None:
    """The mean over the runs as a line over the places, each run as a dot, and a band from the lowest
    run to the highest; gaps where nothing is known.

    Args:
        ax: where to draw.
        rows: of one init, with the columns ``place`` and ``value``.
        style: of the init.
        look: of this kind of value.
        label: in the legend.
    """
    known = rows.dropna(subset=["value"])
    if known.empty:
        return
    runs = rows.groupby("place")["value"]
    if look.runs:
        ax.plot(
            known["place"], known["value"], ".", color=style.colour, markersize=3.5, alpha=0.45,
            markeredgewidth=0,
        )  # fmt: skip
        ax.fill_between(
            runs.mean().index, runs.min(), runs.max(), color=style.colour, alpha=0.12, linewidth=0
        )
    mean = runs.mean()
    ax.plot(
        mean.index, mean, color=style.colour, linestyle=look.line, linewidth=look.width,
        marker=style.marker if look.marker_size else None, markersize=look.marker_size,
        markerfacecolor=style.colour if style.filled else "white", alpha=look.alpha, label=label,
    )  # fmt: skip


def label_units(ax: Axes, names: Sequence[str]) -> None:
    """A tick for each unit, the names of a few of them with their index."""
    shown = named_units(len(names))
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.set_xticklabels(
        [f"{i} {short(names[i])}" for i in shown], rotation=40, ha="right", rotation_mode="anchor"
    )
    ax.xaxis.set_minor_locator(FixedLocator(range(len(names))))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(-0.5, len(names) - 0.5)


def named_units(count: int, most: int = NAMED_UNITS) -> list[int]:
    """Indices of at most so many of ``count`` units, evenly spread, the first and the last included."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def short(name: str) -> str:
    """A unit's name, without its beginning where it is long."""
    return name if len(name) <= NAME_LENGTH else "…" + name[-NAME_LENGTH + 1 :]


def run_keys(figure: Figure | SubFigure, rows: pd.DataFrame) -> None:
    """Entries of the legend that say what dots and bands are; none for bands that are nowhere seen.

    Args:
        figure: with its panels.
        rows: of all panels, with the columns of RUN.
    """
    key(figure, "a run", marker=".", markersize=4)
    cells = [name for name in RUN if name not in ("split", "seed")]
    if rows[list(RUN)].drop_duplicates().groupby(cells).size().max() > 1:
        key(figure, "lowest to highest run", linestyle="-", linewidth=6, alpha=0.25)


def line_keys(figure: Figure | SubFigure, kinds: dict[str, Look]) -> None:
    """Entries of the legend that say what each kind of line is, whatever its colour."""
    for label, look in kinds.items():
        key(figure, label, linestyle=look.line, linewidth=look.width)


def without_branches(table: pd.DataFrame, name: str = "point") -> pd.DataFrame:
    """The rows of whole units: those of the branches of transformers' blocks are left out.

    A branch's name is that of its block and a suffix.
    """
    known = set(table[name])
    branches = {point for point in known if point.rpartition(".")[0] in known}
    return table[~table[name].isin(branches)]
