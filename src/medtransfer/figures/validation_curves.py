"""The validation metric during training: the mean over runs, in the band from lowest to highest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import whole_starts
from medtransfer.figures.cells import count_runs, draw_blocks, metric_label, rows_of
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note

WIDTHS, HEIGHT = (3.2,), 1.8
# of the axis beyond the curves, as a share of them, and at least
MARGIN, LEAST_ROOM = 0.05, 0.01
UNSEEN = ["epoch", "learning_rate", "training_loss", "validation_loss"]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The validation metric of the runs of whole starts, with none of what else was measured.

    Args:
        tables: ``curves``.
    """
    curves = whole_starts(tables["curves"]).drop(columns=UNSEEN, errors="ignore")
    return {"curves": curves if curves.empty else curves.dropna(subset=["validation_metric"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set and network (rows) and subset (columns); of one subset, data sets beside
    each other.

    Args:
        tables: ``curves``.
    """
    curves = select(tables)["curves"]
    if curves.empty:
        return note("no validation curves: no run of this study has a history")
    styles = init_styles(curves["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        rows = rows_of(curves, names)
        draw_curves(axes[0], rows, styles)
        axes[0].set_ylim(*limits.loc[names["dataset"]])

    limits = _limits(curves)
    one = curves["subset"].nunique() == 1
    rows, columns = (["model", "subset"], ["dataset"]) if one else (["dataset", "model"], ["subset"])
    figure = draw_blocks(curves, draw_cell, WIDTHS, HEIGHT, rows, columns)
    key(figure, "band: lowest to highest run", linestyle="-", linewidth=5, alpha=0.15)
    legend_below(figure)
    return figure


def _limits(curves: pd.DataFrame) -> pd.DataFrame:
    """The ends of the y axis for each data set, whose networks are compared with each other."""
    known = curves.groupby("dataset")["validation_metric"]
    room = (MARGIN * (known.max() - known.min())).clip(lower=LEAST_ROOM)
    return pd.DataFrame({"low": known.min() - room, "high": known.max() + room})


def draw_curves(ax: Axes, curves: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """One line an init over the steps, with the range of its runs."""
    for init, style in styles.items():
        runs = curves[curves["init"] == init]
        if runs.empty:
            continue
        value = runs.groupby("step")["validation_metric"].agg(["mean", "min", "max"])
        ax.fill_between(
            value.index, value["min"], value["max"], color=style.colour, alpha=0.15, linewidth=0
        )
        ax.plot(
            value.index, value["mean"], color=style.colour, linestyle=style.line, linewidth=1.2,
            marker=style.marker, markersize=2.5,
            markerfacecolor=style.colour if style.filled else "white", label=init,
        )  # fmt: skip
    ax.set_xlabel("optimiser step")
    ax.set_ylabel(f"validation {metric_label(curves)}\n({count_runs(curves)} runs)")
