"""The validation metric during training of starts that take a part of a source's weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from medtransfer.config.names import Init, parse_init
from medtransfer.evaluation.names import distinguish_subsets
from medtransfer.figures.cells import draw_blocks, rows_of
from medtransfer.figures.style import SOURCE_COLOURS, InitStyle, key, legend_below, note
from medtransfer.figures.validation_curves import UNSEEN, draw_curves

CELL = ["dataset", "recipe", "model", "subset"]
WIDTH, HEIGHT = 3.4, 2.1
# from the shallowest to the deepest transfer: light to dark, which grey keeps
COLOUR_MAP, COLOUR_RANGE = "viridis", (0.8, 0.15)
# none of them that of a random start, of statistics, of a whole source or of Gabor filters
MARKERS = "^v<>*Xphd8H"
SOURCE_LINES = ("-", "-.", (0, (5, 1, 1, 1, 1, 1)))
SLIM_LINE = (0, (4, 1.5))


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The curves of cells with a partial start: its own, its baseline's, its source's and random ones.

    Args:
        tables: ``curves``.
    """
    curves = tables["curves"]
    if curves.empty:
        return {"curves": curves}
    curves = curves.drop(columns=UNSEEN, errors="ignore").dropna(subset=["validation_metric"])
    cells = curves.groupby(CELL, sort=False)["init"]
    return {"curves": curves[cells.transform(in_comparison).astype(bool)]}


def in_comparison(inits: pd.Series) -> pd.Series:
    """Whether each init of a cell is partial, or the baseline or source of one; none where none is."""
    known = {name: parse_init(name) for name in inits.unique()}
    partial = {name for name, init in known.items() if init.partial or init.gabor}
    sources = {known[name].source for name in partial}
    beside = {"random"} | {known[name].baseline for name in partial} | sources
    return inits.isin(partial | beside if partial else set())


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows); a line a start, in the order of its depth.

    Args:
        tables: ``curves``.
    """
    curves = select(tables)["curves"]
    if curves.empty:
        return note("no partial start: no init of this study is gabor or <source>-upto<k>-...")
    curves = distinguish_subsets(curves)
    styles = depth_styles(curves["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        draw_curves(axes[0], rows_of(curves, names), styles)

    figure = draw_blocks(curves, draw_cell, (WIDTH,), HEIGHT)
    key(figure, "band: lowest to highest run", linestyle="-", linewidth=5, alpha=0.15)
    legend_below(figure)
    return figure


def depth_styles(inits: pd.Series) -> dict[str, InitStyle]:
    """A style for each start, the undivided ones around the partial ones, these by their depth.

    The deeper a transfer, the darker, each depth with a marker of its own. Random starts are grey, a
    source's statistics dotted, the whole source black; Gabor filters and slim rests have colours that
    aren't in the order.

    Args:
        inits: with repetitions.
    """
    known = {name: parse_init(name) for name in inits.unique()}
    names = sorted(known, key=lambda name: (_rank(known[name]), known[name].source or ""))
    depths = sorted({init.upto for init in known.values() if init.upto})
    sources = sorted({init.source for init in known.values() if init.source})
    return {name: _style(known[name], depths, sources) for name in names}


def _rank(init: Init) -> tuple[int, int]:
    """Random, statistics, transfers by depth, whole sources, slim rests, Gabor filters."""
    if init.gabor:
        return 5, 0
    if init.source is None:
        return 0, 0
    if init.upto is None:
        return 3, 0
    if init.rest == "slim":
        return 4, init.upto
    return (2, init.upto) if init.partial else (1, 0)


def _style(init: Init, depths: list[int], sources: list[str]) -> InitStyle:
    if init.gabor:
        return InitStyle(SOURCE_COLOURS[1], "P", ":", True)
    if init.source is None:
        return InitStyle("#888888", "o", "-", True)
    line = SOURCE_LINES[sources.index(init.source) % len(SOURCE_LINES)]
    if init.upto is None:
        return InitStyle("black", "D", line, True)
    if not init.partial:
        return InitStyle("#888888", "s", ":", False)
    marker = MARKERS[depths.index(init.upto) % len(MARKERS)]
    if init.rest == "slim":
        return InitStyle(SOURCE_COLOURS[3], marker, SLIM_LINE, False)
    share = depths.index(init.upto) / max(1, len(depths) - 1)
    light, dark = COLOUR_RANGE
    colour = to_hex(colormaps[COLOUR_MAP](light + share * (dark - light)))
    return InitStyle(colour, marker, line, init.rest == "random")
