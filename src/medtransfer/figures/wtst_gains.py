"""The gain as a function of the transferred depth: how many units must keep the source's weights?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from medtransfer.config.names import parse_init
from medtransfer.figures.cells import (
    METHODS,
    interval_key,
    mark_gap,
    metric_label,
    name_absent,
    span,
    target_on_test,
)
from medtransfer.figures.style import (
    interval_bars,
    legend_below,
    note,
    offsets,
    ordered,
    panels,
    series_look,
)


@dataclass(frozen=True)
class _Series:
    """The transfers of one source over the same baseline, with one amount of training data."""

    source: str
    baseline: str
    subset: str


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The gains of partial and whole transfers over the start without transferred units.

    With the columns ``source`` and ``upto``, the number of transferred units; empty: all.

    Args:
        tables: ``gains``.
    """
    return {"gains": _over_baselines(target_on_test(tables["gains"]))}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a data set (columns) and network (rows); a line a source, baseline and subset.

    Args:
        tables: ``gains``.
    """
    gains = select(tables)["gains"]
    if gains.empty:
        return note("no transferred depth: no init of this study is <source>-upto<k>-...")
    keys = gains[_KEYS].drop_duplicates().to_numpy(dtype=str).tolist()
    series = [_Series(source, baseline, subset) for source, baseline, subset in keys]
    datasets, models = ordered(gains["dataset"]), ordered(gains["model"])
    figure, axes = panels(len(models), len(datasets), (3.4, 2.0))
    for row, model in enumerate(models):
        for column, dataset in enumerate(datasets):
            chosen = gains[(gains["dataset"] == dataset) & (gains["model"] == model)]
            draw_depths(axes[row, column], chosen, series)
            # networks have depths of their own
            gone = name_absent(gains[gains["model"] == model], chosen) if len(chosen) else []
            axes[row, column].set_title("\n".join([f"{dataset}, {model}", *gone]))
    for ax in axes[-1]:
        ax.set_xlabel("units with the source's weights, from the stem")
    for unit in ordered(gains["paired_by"]):
        interval_key(figure, METHODS[unit])
    legend_below(figure, columns=2)
    return figure


_KEYS = ["source", "reference", "subset"]


def _over_baselines(gains: pd.DataFrame) -> pd.DataFrame:
    """Gains of partial and whole transfers over their baseline, of series with a partial transfer."""
    if gains.empty:
        return gains
    inits = {name: parse_init(name) for name in gains["init"].unique()}
    transfers = [name for name, init in inits.items() if init.partial or init.upto is None]
    gains = gains[gains["init"].isin(transfers)]
    gains = gains.assign(
        source=[str(inits[name].source) for name in gains["init"]],
        upto=[float(inits[name].upto or np.nan) for name in gains["init"]],
    )
    partial = gains["upto"].notna()
    baselines = [inits[name].baseline for name in gains["init"]]
    gains = gains[~partial | (gains["reference"] == baselines)]
    lines = gains.groupby([*_KEYS, "dataset", "model"], sort=False)
    return lines.filter(lambda rows: rows["upto"].notna().any())


def draw_depths(ax: Axes, gains: pd.DataFrame, series: list[_Series]) -> None:
    """Mean paired differences with intervals over the number of units, 0 being the baseline."""
    ax.axhline(0, color="#888888", linewidth=0.8)
    if gains.empty:
        mark_gap(np.array([ax]))
        return
    whole = float(gains["upto"].max()) + 1
    for number, (one, shift) in enumerate(zip(series, offsets(len(series), 0.3), strict=True)):
        keys = zip(_KEYS, (one.source, one.baseline, one.subset), strict=True)
        rows = gains[np.logical_and.reduce([gains[name] == value for name, value in keys])]
        rows = rows.assign(upto=rows["upto"].fillna(whole)).sort_values("upto")
        mean, low, high = (np.append(0.0, rows[name]) for name in ("mean", "low", "high"))
        ax.errorbar(
            np.append(0.0, rows["upto"]) + shift, mean, interval_bars(mean, low, high),
            **series_look(number), linestyle="-", linewidth=1, markersize=4, elinewidth=0.8, capsize=2,
            label=f"{one.subset}: {one.source} over {one.baseline}",
        )  # fmt: skip
    ticks = sorted({0.0, *gains["upto"].dropna()} | ({whole} if gains["upto"].isna().any() else set()))
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.set_xticklabels(["none" if t == 0 else "all" if t == whole else f"{t:.0f}" for t in ticks])
    ax.set_ylabel(f"difference in test\n{metric_label(gains)} ({span(gains['pairs'])} pairs)")
