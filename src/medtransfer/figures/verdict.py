"""The verdicts as a matrix: rows are networks and amounts of training data, columns comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import GAP_COLOUR, metric_label, signed
from medtransfer.figures.style import key, legend_below, note, ordered, panels

# of a cell, inches, and so many comparisons side by side before the matrix goes on below
CELL = (1.35, 0.5)
MOST_COLUMNS = 5
# of the matrix's names and title, in cells
ABOVE = 1.3
NAMES_WIDTH = 1.0
TEXT_SIZE = 6.5


@dataclass(frozen=True)
class VerdictLook:
    """A sign for print in grey, a light colour, and hatching for what isn't known."""

    sign: str
    colour: str
    hatch: str = ""


LOOKS = {
    "helps": VerdictLook("▲", "#9CCBEB"),
    "harms": VerdictLook("▼", "#E8895A"),
    "equivalent": VerdictLook("=", "#D3D3D3"),
    "can't tell": VerdictLook("?", "white", "////"),
    "not declared": VerdictLook("–", "white"),
}
# verdict with the variation between samples of patients added -> face of the mark
OTHER_PATIENTS = {"holds": "black", "not shown": "white"}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The verdicts on whole starts.

    Args:
        tables: ``verdicts``.
    """
    return {"verdicts": whole_starts(tables["verdicts"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One matrix a data set; many comparisons go on in further matrices below.

    Args:
        tables: ``verdicts``.
    """
    verdicts = select(tables)["verdicts"]
    if verdicts.empty:
        return note("no verdicts: no cell of this study has two inits")
    verdicts = verdicts.assign(
        row=verdicts["model"] + "\n" + verdicts["subset"],
        comparison=verdicts["init"] + "\n− " + verdicts["reference"],
    )
    compared = {
        dataset: ordered(verdicts["comparison"][verdicts["dataset"] == dataset])
        for dataset in ordered(verdicts["dataset"])
    }
    matrices = [
        (dataset, comparisons[first : first + MOST_COLUMNS])
        for dataset, comparisons in compared.items()
        for first in range(0, len(comparisons), MOST_COLUMNS)
    ]
    heights = [verdicts[verdicts["dataset"] == name]["row"].nunique() + ABOVE for name, _ in matrices]
    columns = max(len(names) for _, names in matrices)
    size = ((columns + NAMES_WIDTH) * CELL[0], float(np.mean(heights)) * CELL[1])
    figure, axes = panels(len(matrices), 1, size, heights=heights)
    for ax, (dataset, names) in zip(axes[:, 0], matrices, strict=True):
        rows = verdicts[verdicts["dataset"] == dataset]
        draw_matrix(ax, rows, names, columns)
        ax.set_title(f"{dataset}: difference in test {metric_label(rows)}, {_margin(rows)}", loc="left")
    verdict_keys(figure, verdicts)
    legend_below(figure)
    return figure


def _margin(rows: pd.DataFrame) -> str:
    return f"equivalent within ±{rows['margin'].iloc[0]:g}"


def draw_matrix(ax: Axes, verdicts: pd.DataFrame, comparisons: list[str], columns: int) -> None:
    """A cell for each row and comparison; what was not compared is a gap.

    Args:
        ax: where to draw.
        verdicts: of one data set, with the columns ``row`` and ``comparison``.
        comparisons: the columns that are drawn.
        columns: for how many there is space.
    """
    rows = ordered(verdicts["row"])
    found = {(row["row"], row["comparison"]): row for _, row in verdicts.iterrows()}
    for down, row in enumerate(rows):
        for across, comparison in enumerate(comparisons):
            if (row, comparison) in found:
                draw_verdict(ax, across, down, found[row, comparison])
            else:
                write(ax, across, down, "no runs", color=GAP_COLOUR)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(comparisons)), comparisons)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def draw_verdict(ax: Axes, across: int, down: int, row: pd.Series) -> None:
    """One cell: the verdict, the difference with its interval, and what it rests on."""
    look = LOOKS[row["verdict"]]
    corner = (across - 0.47, down - 0.45)
    box = Rectangle(corner, 0.94, 0.9, facecolor=look.colour, hatch=look.hatch, edgecolor="#C8C8C8")
    ax.add_patch(box)
    # hatching must not run through letters
    behind = {"facecolor": look.colour, "edgecolor": "none", "pad": 0.8} if look.hatch else None
    words = {
        f"{look.sign} {_verdict(row)}": (-0.24, "bold"),
        _difference(row): (0.03, "normal"),
        _repeats(row): (0.28, "normal"),
    }
    for text, (height, weight) in words.items():
        write(ax, across, down + height, text, weight=weight, bbox=behind)
    if row["other_patients"] in OTHER_PATIENTS:
        ax.plot(
            [across + 0.4], [down - 0.28], marker="o", markersize=4, color="black",
            markerfacecolor=OTHER_PATIENTS[row["other_patients"]], markeredgewidth=0.7,
        )  # fmt: skip


def write(ax: Axes, across: float, down: float, text: str, **look: Any) -> None:
    """Small words centred on a place of the matrix."""
    ax.text(across, down, text, ha="center", va="center", size=TEXT_SIZE, **look)


def _verdict(row: pd.Series) -> str:
    if row["verdict"] != "not declared" and row["above_chance"] == "neither":
        return f"{row['verdict']}, at chance"
    small = row["verdict"] in ("helps", "harms") and row["within_margin"]
    return f"{row['verdict']}, < margin" if small else str(row["verdict"])


def _difference(row: pd.Series) -> str:
    if not np.isfinite(row["mean"]):
        return "no value"
    if not np.isfinite(row["low"]):
        return f"{signed(row['mean'])}, no interval"
    return f"{signed(row['mean'])} [{signed(row['low'])}, {signed(row['high'])}]"


def _repeats(row: pd.Series) -> str:
    """How many repeats there are; of what can't be told, how many would decide."""
    unit = row["paired_by"]
    there = f"{row['pairs']} {unit}{'s' * (row['pairs'] != 1)}"
    if row["verdict"] != "can't tell" or np.isnan(row["needed"]):
        return there
    if np.isinf(row["needed"]):
        return f"{there}; no number would do"
    # two figures, which are more than a standard deviation of a few repeats can bear
    needed = float(f"{row['needed']:.2g}")
    return f"{there}, needs about {needed:,.0f}"


def verdict_keys(figure: Figure, verdicts: pd.DataFrame) -> None:
    """The legend: what the marks of other patients mean."""
    marked = set(verdicts["other_patients"])
    meanings = {"holds": "holds for other patients too", "not shown": "not shown for other patients"}
    for value, face in OTHER_PATIENTS.items():
        if value in marked:
            key(
                figure, meanings[value], marker="o", markersize=4, color="black", markerfacecolor=face,
                markeredgewidth=0.7,
            )  # fmt: skip
