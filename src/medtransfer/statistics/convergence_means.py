"""How many steps every start needs on average, so that all starts of a cell can be compared at once."""

from __future__ import annotations

import pandas as pd

from medtransfer.evaluation.results import CURVES
from medtransfer.statistics.convergence import (
    CELL_COLUMNS,
    THRESHOLD_COLUMNS,
    common_horizon,
    restricted_mean,
)
from medtransfer.tables import Column, Schema, table_of

CONVERGENCE_MEANS = Schema(
    name="convergence_means",
    row="one threshold in one cell: the steps of an init, up to a horizon that all of the cell's share",
    columns={
        **CELL_COLUMNS,
        **THRESHOLD_COLUMNS,
        "init": CURVES.columns["init"],
        "reference": Column("text", "the study's reference, which the threshold may be a share of"),
        "horizon": Column("integer", "steps up to which all inits of the cell can be compared"),
        "mean": Column("number", "restricted mean: steps until there, counting at most the horizon"),
        "low": Column("number", "lower end of its interval; empty for one run"),
        "high": Column("number", "upper end"),
        "runs": Column("integer", "runs of the init"),
        "reached": Column("integer", "how many of them got there up to the horizon"),
    },
    families={},
)
_CELL = [*CELL_COLUMNS, *THRESHOLD_COLUMNS]


def convergence_means(
    convergence: pd.DataFrame, reference: str, confidence: float = 0.95
) -> pd.DataFrame:
    """The restricted mean of steps of every init, in each cell and for each threshold.

    Tests against the reference have a horizon for each pair of inits, and means up to different
    horizons can't be compared; here it is one for all of a cell. A start whose runs stop early without
    getting there makes it short for all.

    Args:
        convergence: a table of schema CONVERGENCE.
        reference: the study's.
        confidence: coverage of the intervals.

    Returns:
        A table of schema CONVERGENCE_MEANS.
    """
    rows: list[dict[str, object]] = []
    for key, cell in convergence.groupby(_CELL, sort=False):
        starts = {
            str(init): (runs["step"].to_numpy(dtype=float), runs["reached"].to_numpy(dtype=bool))
            for init, runs in cell.groupby("init", sort=False)
        }
        horizon = common_horizon(list(starts.values()))
        for init, (steps, reached) in starts.items():
            found = restricted_mean(steps, reached, horizon, confidence)
            rows.append(
                {
                    **dict(zip(_CELL, key, strict=True)), "init": init, "reference": reference,
                    "horizon": round(horizon), "mean": found.mean, "low": found.low,
                    "high": found.high, "runs": found.runs, "reached": found.reached,
                }
            )  # fmt: skip
    return table_of(rows, CONVERGENCE_MEANS)
