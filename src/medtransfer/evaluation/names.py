"""Metrics and cells in words."""

from collections.abc import Mapping

import pandas as pd

from medtransfer.config.names import parse_init

METRIC_LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "quadratic_kappa": "quadratic κ",
    "auroc_weighted": "AUROC (weighted)",
    "auroc_micro": "AUROC (micro)",
    "auprc_weighted": "AUPRC (weighted)",
    "auprc_micro": "AUPRC (micro)",
    "negative_log_likelihood": "negative log-likelihood",
    "brier": "Brier score",
    "ece_mass": "ECE",
    "aurc": "AURC",
}


def distinguish_recipes(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Where tables hold several recipes, name the recipe with the network: in all or in none of them.

    Tables of pairs have two networks a row, ``model_a`` and ``model_b``; those without recipes stay as
    they are.
    """
    recipes = {name for table in tables.values() for name in _values(table, "recipe")}
    if len(recipes) < 2:
        return dict(tables)
    return {name: _joined(table, "recipe") for name, table in tables.items()}


def distinguish_subsets(table: pd.DataFrame) -> pd.DataFrame:
    """Where a data set has several subsets of training data, name the subset with the network."""
    datasets = (rows for _, rows in table.groupby("dataset", sort=False))
    several = any(_named_with_model(rows, "subset") is not rows for rows in datasets)
    return _named_with_model(table, "subset") if several else table


def _named_with_model(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table if len(_values(table, name)) < 2 else _joined(table, name)


def _values(table: pd.DataFrame, name: str) -> set[str]:
    return {value for side in _sides(table, name) for value in table[f"{name}{side}"].dropna()}


def _joined(table: pd.DataFrame, name: str) -> pd.DataFrame:
    named = {
        f"model{side}": table[f"model{side}"] + ", " + table[f"{name}{side}"]
        for side in _sides(table, name)
    }
    return table.assign(**named)


def _sides(table: pd.DataFrame, name: str) -> list[str]:
    """The columns of a name: itself, or those of the two networks of a pair."""
    return [side for side in ("", "_a", "_b") if f"{name}{side}" in table]


def whole_starts(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of inits that treat all units alike; partial transfers have a figure of their own.

    Of tables of pairs, those of two such inits.
    """
    sides = [name for name in ("init", "init_a", "init_b") if name in table]
    for name in sides:
        table = table[~_partial(table[name])]
    return table


def partial_transfers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of inits of which only the first units take the source's weights."""
    return table[_partial(table["init"])]


def _partial(inits: pd.Series) -> pd.Series:
    known = {init: parse_init(init).partial for init in inits.unique()}
    return inits.map(known).astype(bool)
