"""Studies and metrics of runs that are small enough to be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from medtransfer.config.statistics import FamilySettings, StatisticsSettings
from medtransfer.config.study import GridSettings, StudySettings

Values = dict[tuple[str, int], float] | list[float]


def study(
    reference: str = "random", statistics: dict[str, Any] | None = None, **settings: Any
) -> StudySettings:
    """A study of several inits; ``statistics`` are keys of StatisticsSettings."""
    inits = ("random", "src", "src-stats", "gabor", "other", "absent")
    grid = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=inits)
    given = {"title": "A toy.", "grids": (grid,), "reference": reference} | settings
    return StudySettings(**given, statistics=StatisticsSettings(**(statistics or {})))


def family(name: str, *comparisons: tuple[str, str], **keys: Any) -> FamilySettings:
    return FamilySettings(name=name, comparisons=comparisons, **keys)


def rows_of(init: str, values: Values, **changes: object) -> list[dict[str, Any]]:
    """Rows of schema METRICS, one a run; a list is of seeds 0, 1, ... on the holdout split."""
    if isinstance(values, list):
        values = {("holdout", seed): value for seed, value in enumerate(values)}
    constant = {
        "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "part": "test",
        "metric": "auroc", "target": True, "images": 100, "patients": 50, "training_images": 400,
        "test_train_ratio": 0.25, "parameters": 1000.0,
    }  # fmt: skip
    return [
        constant | {"init": init, "split": split, "seed": seed, "value": value} | changes
        for (split, seed), value in values.items()
    ]


def pair_of(differences: list[float], base: float = 0.7, **changes: object) -> list[dict[str, Any]]:
    """A random start that always has the same value, and a source with these differences to it."""
    random = rows_of("random", [base] * len(differences), **changes)
    return random + rows_of("src", [base + value for value in differences], **changes)


FOLDS = {
    "random": [(0.60, 0.62), (0.70, 0.72), (0.65, 0.63), (0.55, 0.57), (0.61, 0.69)],
    "src": [(0.66, 0.64), (0.73, 0.75), (0.69, 0.69), (0.58, 0.62), (0.70, 0.72)],
}
FOLD_DIFFERENCES = [
    float(np.mean(source) - np.mean(random))
    for random, source in zip(FOLDS["random"], FOLDS["src"], strict=True)
]
FOLD_RATIO = (4 * 20 / 80 + 24 / 76) / 5


def fold_rows(prefix: str = "cv5-", first: int = 0, **changes: object) -> list[dict[str, Any]]:
    """Five folds with two seeds each; four of them test on 20 images, the last on 24."""
    return [
        row
        for init, folds in FOLDS.items()
        for fold, seeds in enumerate(folds)
        for row in rows_of(
            init,
            {(f"{prefix}{fold + first}", seed): value for seed, value in enumerate(seeds)},
            images=20 if fold < 4 else 24,
            training_images=80 if fold < 4 else 76,
            test_train_ratio=20 / 80 if fold < 4 else 24 / 76,
            **changes,
        )
    ]


def holm_by_hand(p_values: list[float]) -> list[float]:
    order = np.argsort(p_values)
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, running)
    return adjusted


def benjamini_hochberg_by_hand(p_values: list[float]) -> list[float]:
    count, order = len(p_values), np.argsort(p_values)
    adjusted, running = [0.0] * count, math.inf
    for rank in range(count, 0, -1):
        place = order[rank - 1]
        running = min(running, p_values[place] * count / rank)
        adjusted[place] = running
    return adjusted
