"""The figures by name, and what each needs."""

from __future__ import annotations

from typing import Literal, get_args

FigureName = Literal[
    "metrics", "gains", "verdict", "wtst_gains", "label_efficiency",
    "validation_curves", "convergence",
    "external", "calibration", "selective", "subgroups", "corruption",
    "cka", "cca", "weight_distance", "knn", "reinitialisation", "filters", "agreement",
    "domain_distance", "transferability",
]  # fmt: skip
ALL_FIGURES: tuple[FigureName, ...] = get_args(FigureName)
# of metrics alone, which other people's results have, too
METRIC_FIGURES: tuple[FigureName, ...] = (
    "metrics", "gains", "verdict", "wtst_gains", "label_efficiency",
)  # fmt: skip
# what is drawn unless a study says otherwise; it needs nothing beyond the runs
DEFAULT_FIGURES: tuple[FigureName, ...] = (*METRIC_FIGURES, "validation_curves", "external")
# for which the trained networks see images again
NETWORK_FIGURES: tuple[FigureName, ...] = (
    "corruption",
    "cka", "cca", "weight_distance", "knn", "reinitialisation", "filters", "agreement",
    "domain_distance", "transferability",
)  # fmt: skip
