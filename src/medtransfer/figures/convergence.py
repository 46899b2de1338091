"""How many steps training needs: the share of runs that aren't there yet, by Kaplan and Meier."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from statsmodels.duration.survfunc import SurvfuncRight

from medtransfer.figures.cells import (
    among,
    analysed_alike,
    count_runs,
    draw_blocks,
    draw_forest,
    forest_height,
    interval_key,
    metric_label,
    rows_of,
    span,
)
from medtransfer.figures.style import InitStyle, init_styles, key, legend_below, note

WIDTHS = (3.0, 3.0)
CELL = ["dataset", "model", "threshold_kind"]
# widest and thinnest line
LINES = (2.6, 1.0)
KINDS = {"share": "share of the reference's best", "absolute": "the same in all cells"}


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs with a threshold to reach, and the tests of their cells.

    Args:
        tables: ``convergence`` and ``convergence_tests``.
    """
    runs, tests = (tables[name] for name in ("convergence", "convergence_tests"))
    if not runs.empty:
        runs, tests = analysed_alike(runs[runs["threshold"].notna()], tests)
    return {"convergence": runs, "convergence_tests": among(tests, runs, CELL)}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block a data set (columns), network and threshold (rows): curves, and differences of means.

    Args:
        tables: ``convergence`` and ``convergence_tests``.
    """
    runs, tests = select(tables).values()
    if runs.empty:
        return note("no convergence: no cell of this study has a threshold to reach")
    styles = init_styles(runs["init"])

    def draw_cell(axes: np.ndarray, names: dict[str, str]) -> None:
        draw_waiting(axes[0], rows_of(runs, names), styles)
        draw_differences(axes[1], tests if tests.empty else rows_of(tests, names), styles)

    most = 1 if tests.empty else int(tests.groupby(CELL).size().max())
    height = forest_height(most, 2.3, lines=2)
    figure = draw_blocks(runs, draw_cell, WIDTHS, height, rows=("model", "threshold_kind"))
    key(figure, "stopped before", marker="|", markersize=6)
    if len(tests):
        interval_key(figure, "paired interval")
    legend_below(figure)
    return figure


def draw_waiting(ax: Axes, runs: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """A falling line an init, and a tick for each run that stopped before it got there.

    Args:
        ax: where to draw.
        runs: of one cell and threshold, a row a run.
        styles: of inits.
    """
    # lines that lie on each other are all seen: the later, the thinner
    for width, (init, style) in zip(np.linspace(*LINES, len(styles)), styles.items(), strict=True):
        own = runs[runs["init"] == init]
        if own.empty:
            continue
        steps, shares = not_there_yet(own["step"].to_numpy(), own["reached"].to_numpy())
        stopped = own[~own["reached"]]["step"].to_numpy()
        ax.plot(
            steps, shares, color=style.colour, linestyle=style.line, linewidth=width,
            drawstyle="steps-post",
        )  # fmt: skip
        at = shares[np.searchsorted(steps, stopped, side="right") - 1]
        ax.plot(stopped, at, "|", color=style.colour, markersize=7, markeredgewidth=1)
        ax.plot(steps[1:-1], shares[1:-1], **style.mark, linestyle="none", markersize=4)
        ax.plot([], [], **style.mark, linestyle=style.line, linewidth=1.2, markersize=4, label=init)
    ax.set_xlim(left=0)
    ax.set_ylim(-0.04, 1.05)
    ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    ax.set_ylabel(f"runs that aren't there yet\n({count_runs(runs)} runs)")
    kind = runs["threshold_kind"].iloc[0]
    ax.set_xlabel(
        f"optimiser steps until validation {metric_label(runs)}\n"
        f"of {runs['threshold'].iloc[0]:.3f} ({KINDS.get(kind, kind)})"
    )


def not_there_yet(steps: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Kaplan-Meier curve from step 0 to the last known step.

    Args:
        steps: N, of getting there or of stopping before.
        reached: N truths: whether it got there.

    Returns:
        K rising steps, and the share of runs that aren't there from each of them on.
    """
    curve = SurvfuncRight(steps.astype(float), reached.astype(int))
    # the times of events alone
    shares = np.concatenate([[1.0], curve.surv_prob])
    return np.concatenate([[0.0], curve.surv_times, [steps.max()]]), np.append(shares, shares[-1])


def draw_differences(ax: Axes, tests: pd.DataFrame, styles: dict[str, InitStyle]) -> None:
    """The mean difference in steps of each init from the reference, up to their common horizon.

    Args:
        ax: where to draw.
        tests: of one cell and threshold, a row an init.
        styles: of inits.
    """
    if tests.empty:
        ax.set_axis_off()
        return
    names = {"difference": "mean", "difference_low": "low", "difference_high": "high"}
    rows = tests[["init", *names]].rename(columns=names)
    # where nobody got there, both waited till the end: that is no difference of 0
    nobody = tests[["reached", "reference_reached"]].sum(axis=1) == 0
    labels = [comparison_name(row) for _, row in tests.iterrows()]
    draw_forest(ax, rows.mask(nobody).assign(init=tests["init"], label=labels), styles)
    ax.set_xlabel(f"steps more than the reference\n({span(tests['pairs'])} pairs)")


def comparison_name(test: pd.Series) -> str:
    """The two inits, how many runs of each got there, and the p of the log-rank test."""
    arrived = (f"{test[f'{side}reached']} of {test[f'{side}runs']}" for side in ("", "reference_"))
    p = f"; p = {test['p_log_rank']:.2g}" if pd.notna(test["p_log_rank"]) else ""
    return f"{test['init']} − {test['reference']}\n{', '.join(arrived)} there{p}"
