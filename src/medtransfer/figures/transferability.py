"""Scores of transferability against the gains that fine-tuning brought."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.evaluation.names import distinguish_subsets
from medtransfer.figures.cells import interval_key
from medtransfer.figures.gain_points import (
    PointStyles,
    draw_points,
    gain_label,
    point_keys,
    point_styles,
)
from medtransfer.figures.style import legend_below, note, panels

SCORES = {
    "logme": "LogME",
    "leep": "LEEP",
    "nleep": "NLEEP",
    "h_score": "H-score",
    "h_score_shrunk": "H-score, shrunk covariance",
    "knn": "nearest neighbours",
}
COLUMNS = 3
MEASURE = "kendall"
SCOPES = ("within", "across")


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The scores that have a gain, and their rank correlations with it.

    Args:
        tables: ``scores`` and ``correlations``.
    """
    scores, correlations = tables["scores"], tables["correlations"]
    if scores.empty:
        return {"scores": scores, "correlations": correlations[:0]}
    scores = distinguish_subsets(scores.dropna(subset=["value", "gain"]))
    scores = scores[scores["score"].isin(SCORES)]
    if len(correlations):
        drawn = correlations["score"].isin(scores["score"]) & correlations["scope"].isin(SCOPES)
        columns = [name for name in correlations if name != "dataset"]
        correlations = correlations.loc[drawn & (correlations["measure"] == MEASURE), columns]
    return {"scores": scores, "correlations": correlations}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a score, with its rank correlations with the gain.

    Args:
        tables: ``scores`` and ``correlations``.
    """
    chosen = select(tables)
    scores = chosen["scores"]
    if scores.empty:
        return note("nothing to predict: no source of this study has scores and gains")
    names = [name for name in SCORES if name in set(scores["score"])]
    styles = point_styles(scores["dataset"], scores["model"], scores["source"])
    columns = min(COLUMNS, len(names))
    figure, axes = panels(-(-len(names) // columns), columns, (2.9, 2.4), share_y=True)
    for ax in axes.ravel()[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.ravel(), names, strict=False):
        draw_score(ax, scores[scores["score"] == name], chosen["correlations"], styles)
    for ax in axes[:, 0]:
        ax.set_ylabel(gain_label([], scores["reference"]))
    point_keys(figure, styles)
    interval_key(figure, "paired interval of the gain")
    legend_below(figure)
    return figure


def draw_score(ax: Axes, scores: pd.DataFrame, correlations: pd.DataFrame, styles: PointStyles) -> None:
    """Gains over one score."""
    draw_points(ax, scores.assign(x=scores["value"]), styles)
    name = scores["score"].iloc[0]
    ax.set_xlabel(SCORES[name])
    ax.set_title(correlation_title(correlations, name))


def correlation_title(correlations: pd.DataFrame, score: str) -> str:
    """Kendall's tau within data sets and across all, with the number of pairs."""
    if correlations.empty:
        return SCORES[score]
    rows = correlations[correlations["score"] == score]
    found = []
    for scope in SCOPES:
        for _, row in rows[rows["scope"] == scope].iterrows():
            p = f" (p = {row['p']:.2g})" if pd.notna(row["p"]) else ""
            value = f"{row['value']:.2f}".replace("-", "−") if pd.notna(row["value"]) else "none"
            found.append(f"{scope} data sets {value}{p}, n = {row['pairs']}")
    return "\n".join([f"{SCORES[score]}: Kendall's τ", *found])
