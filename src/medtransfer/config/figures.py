"""The figures by name, and what each needs."""

from __future__ import annotations

from typing import Literal, get_args

FigureName = Literal[
    "main_table", "metrics", "folds", "gains", "verdict", "wtst_gains", "label_efficiency",
    "class_table", "factors",
    "validation_curves", "convergence", "cost_benefit",
    "reuse_share", "capacity", "depth_convergence", "partial_curves",
    "external", "calibration", "selective", "subgroups", "corruption",
    "cka", "cca", "top_layers", "start_end", "weight_distance", "knn", "reinitialisation", "filters",
    "agreement",
    "domain_distance", "transferability",
    "cca_gain", "zoo_map", "predicted_gains",
]  # fmt: skip
ALL_FIGURES: tuple[FigureName, ...] = get_args(FigureName)
# of metrics alone, which other people's results have, too
METRIC_FIGURES: tuple[FigureName, ...] = (
    "main_table", "metrics", "folds", "gains", "verdict", "wtst_gains", "label_efficiency",
)  # fmt: skip
# what is drawn unless a study says otherwise; it needs nothing beyond the runs
DEFAULT_FIGURES: tuple[FigureName, ...] = (*METRIC_FIGURES, "validation_curves", "external")
# for which the trained networks see images again
NETWORK_FIGURES: tuple[FigureName, ...] = (
    "corruption",
    "cka", "cca", "top_layers", "start_end", "weight_distance", "knn", "reinitialisation", "filters",
    "agreement",
    "domain_distance", "transferability",
    "cca_gain", "zoo_map",
)  # fmt: skip
