"""The look of all figures: colours that colour-blind readers tell apart, markers for print in grey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any, get_args

import matplotlib
import numpy as np
from matplotlib.figure import Figure, SubFigure

from medtransfer.config.names import Init, Sampler, parse_init
from medtransfer.files import written_whole

# Okabe & Ito (2008), dark to light; black is the reference's
SOURCE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
RANDOM_COLOUR = "#444444"
# seven, so that 42 sources differ in colour or marker; the starts without a source have their own
SOURCE_MARKERS = "DsvX^p*"
# of lines over the depth, likewise seven
SERIES_MARKERS = "o^sDv<>"
MARKERS = {"random": "o", "gabor": "P"}
LINES = {"random": "-", "gabor": ":", "stats": (0, (4, 1.5)), "partial": "-.", "transfer": "-"}
SAMPLERS = get_args(Sampler)
PARAMETERS: Any = {
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 150,
    "pdf.fonttype": 42,
    "svg.hashsalt": "medtransfer",
}
# of a legend's entry, in inches: its height, its mark with the space around it, and a character
ENTRY_HEIGHT, ENTRY_MARK, ENTRY_CHARACTER = 0.17, 0.65, 0.058
# for so many rows of them panels() leaves space
LEGEND_ROWS = 2
# pixels an inch, fewer in figures of many rows: an image may be so many wide or high
DPI, MOST_PIXELS = 200, 60_000
# characters in a line of a note
NOTE_LINE = 60
# metadata that would differ from one drawing to the next
TIMELESS = {".pdf": {"CreationDate": None}, ".png": {"Software": None}, ".svg": {"Date": None}}


@dataclass(frozen=True)
class InitStyle:
    """How an init is drawn in every figure."""

    colour: str
    marker: str
    line: object
    filled: bool

    @property
    def mark(self) -> dict[str, Any]:
        """The marker and its colours, as matplotlib names them."""
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "color": self.colour, "markerfacecolor": face}


def apply_style() -> None:
    """Use the project's look, drawing to files."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update(PARAMETERS)


def init_styles(inits: Iterable[str]) -> dict[str, InitStyle]:
    """A style for each init: the source decides colour and marker, the kind the filling and the line.

    Statistics that are drawn otherwise than i.i.d. normal have a marker of their own.
    """
    names = list(dict.fromkeys(inits))
    sources = sorted({s for s in (parse_init(name).source for name in names) if s is not None})
    styles = {}
    for name in names:
        init = parse_init(name)
        kind = _kind(init)
        if init.source is None:
            colour, marker = RANDOM_COLOUR, MARKERS[kind]
        else:
            number = sources.index(init.source)
            colour = SOURCE_COLOURS[number % len(SOURCE_COLOURS)]
            marker = SOURCE_MARKERS[(number + SAMPLERS.index(init.sampler)) % len(SOURCE_MARKERS)]
        styles[name] = InitStyle(colour, marker, LINES[kind], kind != "stats")
    return styles


def series_look(number: int) -> dict[str, Any]:
    """Colour and marker, as matplotlib names them, of a line over the depth; 42 of them differ."""
    return {
        "color": SOURCE_COLOURS[number % len(SOURCE_COLOURS)],
        "marker": SERIES_MARKERS[number % len(SERIES_MARKERS)],
    }


def _kind(init: Init) -> str:
    if init.source is None:
        return "gabor" if init.gabor else "random"
    if init.upto is None:
        return "transfer"
    return "partial" if init.partial else "stats"


def panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    share_y: bool | str = False,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure with rows x columns axes of ``size`` inches each; axes as a 2-D array.

    Args:
        rows, columns: how many.
        size: width and height; of the mean panel where they differ.
        share_y: as of matplotlib's subplots.
        widths: of the columns, relative to each other.
        heights: of the rows, likewise.
    """
    figure = Figure(figsize=(max(3.5, columns * size[0]), rows * size[1] + 0.6), layout="constrained")
    axes = figure.subplots(
        rows, columns, squeeze=False, sharey=share_y,  # type: ignore[arg-type]
        width_ratios=widths, height_ratios=heights,
    )  # fmt: skip
    return figure, axes


def offsets(count: int, width: float) -> np.ndarray:
    """Positions that spread ``count`` series side by side over ``width``, centred on 0."""
    return (np.arange(count) - (count - 1) / 2) * (width / max(count, 1))


def legend_below(figure: Figure, columns: int = 4) -> None:
    """One legend of everything labelled in any panel, under the panels; none where nothing is.

    A figure grows by the rows of a long legend.

    Args:
        figure: with its panels.
        columns: at most; fewer in a narrow figure.
    """
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries = {**dict(zip(labels, handles, strict=True)), **entries}
    if not entries:
        return
    width = figure.get_figwidth()
    columns = next((n for n in range(columns, 1, -1) if _legend_width([*entries], n) <= width), 1)
    further = max(0, ceil(len(entries) / columns) - LEGEND_ROWS)
    figure.set_figheight(figure.get_figheight() + further * ENTRY_HEIGHT)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)


def _legend_width(labels: list[str], columns: int) -> float:
    """Inches that a legend needs whose entries fill one column after the other."""
    parts = np.array_split([len(label) for label in labels], columns)
    return sum(ENTRY_MARK + ENTRY_CHARACTER * float(part.max(initial=0)) for part in parts)


def key(figure: Figure | SubFigure, label: str, **look: Any) -> None:
    """An entry of the legend for what is drawn alike in several colours; nothing else is drawn."""
    axes = next(axes for axes in figure.axes if axes.axison)
    axes.plot([], [], label=label, **{"color": RANDOM_COLOUR, "linestyle": "none", **look})


def note(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, axes = panels(1, 1, (4.5, 1.0))
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, fill(text, NOTE_LINE), ha="center", va="center")
    return figure


def interval_bars(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lengths below and above the mean, 2 x N; 0 where there is no interval."""
    return np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)


def ordered(values: Iterable[str]) -> list[str]:
    """Distinct values in the order in which they first occur."""
    return list(dict.fromkeys(values))


def save_figure(figure: Figure, paths: Iterable[Path]) -> None:
    """Write one file a path, whole, by its suffix; the same figure gives the same bytes."""
    dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
    for path in paths:
        with written_whole(path) as partial:
            figure.savefig(partial, metadata=TIMELESS[path.suffix], dpi=dpi)
