"""The choice of a learning rate: of the candidates, the one with the best value on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medtransfer.config.recipe import Monitor
from medtransfer.errors import TrainingError
from medtransfer.evaluation.results import RUN_COLUMNS
from medtransfer.tables import Column, Schema
from medtransfer.training.selection import is_better

CELL_COLUMNS = {name: column for name, column in RUN_COLUMNS.items() if name != "seed"}
SEARCHES = Schema(
    name="searches",
    row="one candidate of a search of the learning rate",
    columns={
        **CELL_COLUMNS,
        "learning_rate": Column("number", "the candidate's peak learning rate"),
        "seed": Column("integer", "seed of the candidate's run"),
        "monitor": Column("text", "what of the validation part decides: metric, loss or accuracy"),
        "metric": Column("text", "the data set's target metric"),
        "value": Column("number", "its best on the validation part; empty where the training diverged"),
        "best_step": Column("number", "optimiser steps at that; empty where the training diverged"),
        "chosen": Column("truth", "whether the runs of the cell take this learning rate"),
        "edge": Column("text", "lower or upper: chosen, and no candidate is lower or higher; else no"),
    },
    families={},
)


def choose_rate(values: Mapping[float, float], monitor: Monitor) -> float:
    """The learning rate with the best value; the lowest of equals.

    Args:
        values: by learning rate, the best on the validation part; not finite where training diverged,
            which never wins.
        monitor: what the values are.

    Raises:
        TrainingError: no value is finite.
    """
    best = None
    for rate in sorted(values):
        value = values[rate]
        if math.isfinite(value) and (best is None or is_better(value, values[best], monitor)):
            best = rate
    if best is None:
        tried = ", ".join(f"{rate:g}" for rate in sorted(values))
        raise TrainingError(
            f"no candidate of the search has a value on the validation part (tried: {tried}); training "
            f"diverged, or '{monitor}' is undefined there; allowed: 'learning_rates' of which one has"
        )
    return best


def search_table(cell: Sequence[str], records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """How the candidates of one cell did, by rising learning rate, and which one is chosen.

    Args:
        cell: recipe, data set, network, init, subset and split of the runs that take the choice.
        records: facts of each candidate's run, of which only what was measured on the validation part
            is looked at.

    Returns:
        A table of schema SEARCHES.

    Raises:
        TrainingError: no candidate has a value.
    """
    table = pd.DataFrame([_candidate(record) for record in records])
    table = table.sort_values("learning_rate", ignore_index=True)
    rates, (monitor,) = table["learning_rate"], set(table["monitor"])
    rate = choose_rate(dict(zip(rates, table["value"], strict=True)), monitor)
    edge = {rates.iloc[0]: "lower", rates.iloc[-1]: "upper"}.get(rate, "no")
    table["chosen"] = rates == rate
    table["edge"] = table["chosen"].map({True: edge, False: "no"})
    identity = pd.DataFrame([list(cell)] * len(table), columns=list(CELL_COLUMNS))
    return pd.concat([identity, table], axis=1)


def _candidate(record: Mapping[str, Any]) -> dict[str, object]:
    """A candidate's value is that of the weights which its run kept."""
    diverged = "diverged" in record
    return {
        "learning_rate": record["recipe"]["learning_rate"],
        "seed": record["seed"],
        "monitor": record["recipe"]["monitor"],
        "metric": record["metric"],
        "value": math.nan if diverged else record["best_monitored_value"],
        "best_step": math.nan if diverged else float(record["best_step"]),
    }
