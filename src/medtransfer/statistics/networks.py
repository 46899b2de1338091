"""The networks of a study: how large they are and what they are relatives of."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from medtransfer.evaluation.names import whole_starts
from medtransfer.evaluation.results import METRICS
from medtransfer.tables import Column, Schema, table_of

PLACE = ("recipe", "dataset", "model")
NETWORKS = Schema(
    name="networks",
    row="one network for one data set",
    columns={
        **{name: METRICS.columns[name] for name in PLACE},
        "parameters": Column("number", "its weights and biases, as started whole; never empty"),
        "family": Column("text", "the kind of network; empty where not known"),
    },
    families={},
)


def networks(metrics: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """The sizes that runs report: they differ between data sets, by colours and classes.

    Slim starts, whose networks are smaller, don't count.

    Args:
        metrics: a table of schema METRICS.
        families: network to its family.

    Returns:
        A table of schema NETWORKS; networks whose number of parameters no run knows aren't in it.
    """
    known = whole_starts(metrics).dropna(subset=["parameters"])
    sizes = known.groupby(list(PLACE), sort=False)["parameters"].first().reset_index()
    rows = [{**row, "family": families.get(row["model"])} for _, row in sizes.iterrows()]
    return table_of(rows, NETWORKS)
