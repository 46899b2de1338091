"""Metrics and cells in words."""

import pandas as pd

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
