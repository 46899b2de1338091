"""Metrics and cells in words."""

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


def distinguish_recipes(table: pd.DataFrame) -> pd.DataFrame:
    """Where a table holds several recipes, name the recipe with the network.

    Tables of pairs have two networks a row, ``model_a`` and ``model_b``; those without recipes are
    returned as they are.
    """
    return _named_with_model(table, "recipe")


def distinguish_subsets(table: pd.DataFrame) -> pd.DataFrame:
    """Where a data set has several subsets of training data, name the subset with the network."""
    datasets = (rows for _, rows in table.groupby("dataset", sort=False))
    several = any(_named_with_model(rows, "subset") is not rows for rows in datasets)
    return _named_with_model(table, "subset") if several else table


def _named_with_model(table: pd.DataFrame, name: str) -> pd.DataFrame:
    sides = [side for side in ("", "_a", "_b") if f"{name}{side}" in table]
    if len({value for side in sides for value in table[f"{name}{side}"].dropna()}) < 2:
        return table
    named = {f"model{side}": table[f"model{side}"] + ", " + table[f"{name}{side}"] for side in sides}
    return table.assign(**named)


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
