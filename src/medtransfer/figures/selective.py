"""How wrong are the decisions that remain when the least sure are left to someone else?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medtransfer.figures.by_depth import analysed, draw_panels
from medtransfer.figures.cells import span
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows), a line an init.

    Args:
        tables: ``risk_coverage`` and ``summary``.
    """
    risks, summary = (tables[name] for name in ("risk_coverage", "summary"))
    if not risks.empty:
        risks = analysed(risks[risks["part"] == "test"])
    if risks.empty:
        return note("no selective prediction: no run of this study has predictions of test images")
    styles = init_styles(risks["init"])
    images = summary[summary["part"] == "test"].groupby("dataset")["images"].max()

    def draw_panel(ax: Axes, rows: pd.DataFrame) -> None:
        draw_risks(ax, rows, styles)
        ax.set_xlabel(f"coverage: decided share of {images[rows['dataset'].iloc[0]]} test images")

    figure = draw_panels(risks, draw_panel, (3.2, 2.2), share_y="col")
    # panels share their axis: its top is known when all are drawn
    for ax in figure.axes:
        ax.set_ylim(bottom=0)
        ax.tick_params(labelleft=True)
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
    runs = risks[["init", "split", "seed"]].drop_duplicates().groupby("init").size()
    ax.set_ylabel(f"risk: wrong decisions\namong them ({span(runs)} runs)")
