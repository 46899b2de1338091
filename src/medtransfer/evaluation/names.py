"""Metrics and cells in words."""

import pandas as pd

from medtransfer.config.names import parse_init

METRIC_LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "quadratic_kappa": "quadratic κ",
}


def distinguish_recipes(table: pd.DataFrame) -> pd.DataFrame:
    """Where a table holds several recipes, name the recipe with the network."""
    if table["recipe"].nunique() < 2:
        return table
    return table.assign(model=table["model"] + ", " + table["recipe"])


def whole_starts(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of inits that treat all units alike; partial transfers have a figure of their own."""
    return table[~_partial(table)]


def partial_transfers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of inits of which only the first units take the source's weights."""
    return table[_partial(table)]


def _partial(table: pd.DataFrame) -> pd.Series:
    known = {init: parse_init(init).partial for init in table["init"].unique()}
    return table["init"].map(known).astype(bool)
