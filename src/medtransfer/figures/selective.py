"""How wrong are the decisions that remain when the least sure are left to someone else?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medtransfer.figures.by_depth import analysed
from medtransfer.figures.cells import count_runs, draw_blocks, rows_of
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note

WIDTHS, HEIGHT = (3.2,), 2.2
# of the axis above the highest risk
MARGIN = 1.05


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The risks on test images, with the column ``images``: how many the data set has.

    Args:
        tables: ``risk_coverage`` and ``summary``.
    """
    risks, summary = (tables[name] for name in ("risk_coverage", "summary"))
    if risks.empty:
        return {"risk_coverage": risks}
    images = summary[summary["part"] == "test"].groupby("dataset")["images"].max()
    risks = analysed(risks[(risks["part"] == "test") & risks["risk"].notna()])
    return {"risk_coverage": risks.assign(images=risks["dataset"].map(images))}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows), a line an init.

    Args:
        tables: ``risk_coverage`` and ``summary``.
    """
    risks = select(tables)["risk_coverage"]
    if risks.empty:
        return note("no selective prediction: no run of this study has predictions of test images")
    styles = init_styles(risks["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        rows = rows_of(risks, names)
        draw_risks(axes[0], rows, styles)
        axes[0].set_xlabel(f"coverage: decided share of {rows['images'].iloc[0]} test images")

        # networks of a data set are compared with each other
        axes[0].set_ylim(0, MARGIN * risks[risks["dataset"] == names["dataset"]]["risk"].max())

    figure = draw_blocks(risks, draw_cell, WIDTHS, HEIGHT)
    key(figure, "band: lowest to highest run", linestyle="-", linewidth=5, alpha=0.15)
    legend_below(figure)
    return figure


def draw_risks(ax: Axes, risks: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The mean over runs in the band of all runs; a mark and a level line where all is decided."""
    for init, style in styles.items():
        own = risks[risks["init"] == init]
        if own.empty:
            continue
        risk = own.groupby("coverage")["risk"].agg(["mean", "min", "max"])
        ax.fill_between(
            risk.index, risk["min"], risk["max"], color=style.colour, alpha=0.12, linewidth=0
        )
        ax.plot(
            risk.index, risk["mean"], **style.mark, linestyle=style.line, linewidth=1.2, markersize=4.5,
            markevery=[-1], label=init,
        )  # fmt: skip
        ax.axhline(risk["mean"].iloc[-1], color=style.colour, linestyle=":", linewidth=0.6, alpha=0.7)
    ax.set_xlim(0, 1.03)
    ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    ax.set_ylabel(f"risk: wrong decisions\namong them ({count_runs(risks)} runs)")
