"""What a trained network loses when one unit is put back to its start."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.figures.by_depth import (
    BEFORE,
    CHANCE,
    MAIN,
    RUN,
    by_depth,
    draw_means,
    draw_panels,
    label_units,
    line_keys,
    placed,
    run_keys,
    shown,
)
from medtransfer.figures.style import InitStyle, init_styles, legend_below, note

LOOKS = {"start": MAIN, "fresh": BEFORE}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The scores of whole starts with one unit put back, and how far they are below the intact ones.

    Args:
        tables: ``reinitialisation``.
    """
    table = tables["reinitialisation"]
    if len(table):
        table = table[table["kind"].isin(LOOKS)]
    columns = [*RUN, "unit", "order", "kind", "metric", "value", "drop"]
    return {"reinitialisation": shown(table, columns)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows).

    Args:
        tables: ``reinitialisation``.
    """
    table = select(tables)["reinitialisation"]
    if table.empty:
        return note("no unit was put back: no run with a whole start is analysed in this study")
    styles = init_styles(table["init"])
    figure = draw_panels(
        table, lambda ax, rows: draw_losses(ax, rows, styles), (3.4, 2.2), share_y="col"
    )
    for ax in figure.axes:
        ax.tick_params(labelleft=True)
    names = {"unit put back to its start": MAIN, "to a fresh random start": BEFORE}
    drawn = [kind in set(table["kind"]) for kind in LOOKS]
    line_keys(figure, {n: look for (n, look), d in zip(names.items(), drawn, strict=True) if d})
    line_keys(figure, {"intact network": CHANCE})
    run_keys(figure, table)
    legend_below(figure)
    return figure


def draw_losses(ax: Axes, table: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A line an init and kind over the unit that was put back, and the intact network's mean."""
    rows = placed(table, styles)
    for init, style in styles.items():
        own = rows[rows["init"] == init]
        for kind, look in LOOKS.items():
            label = init if kind == "start" else None
            draw_means(ax, own[own["kind"] == kind], style, look, label)
        draw_intact(ax, own, style)
    label_units(ax, by_depth(table))
    ax.set_xlabel("unit that is put back")
    metric = table["metric"].iloc[0]
    ax.set_ylabel(f"test {METRIC_LABELS.get(metric, metric)}")


def draw_intact(ax: Axes, rows: pd.DataFrame, style: InitStyle) -> None:
    """A level line at the mean over the runs of the metric with all units as they were trained.

    Args:
        ax: where to draw.
        rows: of one init; each run repeats its value for each unit.
        style: of the init.
    """
    intact = (rows["value"] + rows["drop"]).groupby([rows["split"], rows["seed"]]).first()
    if intact.notna().any():
        ax.axhline(
            intact.mean(), color=style.colour, linestyle=CHANCE.line, linewidth=CHANCE.width,
            alpha=CHANCE.alpha,
        )  # fmt: skip
