"""How much of the training data an init needs to reach what the reference reaches with all of it.

The curve of an init is its mean target metric over the images of its subsets, made monotone: more
images do no harm, so where a subset scores below a smaller one the two are pooled (isotonic regression
with equal weights). Between two subsets it is linear in the logarithm of the images. The value looked
for is the reference's own mean with all images, so the reference itself needs at most all of them.
Below the smallest subset and beyond the largest nothing is known: there a share is only bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.names import is_redrawn
from medtransfer.evaluation.results import METRICS
from medtransfer.seeds import derived_seed
from medtransfer.statistics.comparison import independent_repeats
from medtransfer.tables import Column, Schema, table_of

CELL = ["recipe", "dataset", "model", "part", "metric"]
EXACTLY, AT_MOST, MORE_THAN = "exactly", "at most", "more than"
_BOUND = "exactly; at most: the smallest subset is enough; more than: the largest is not"
LABEL_EFFICIENCY = Schema(
    name="label_efficiency",
    row="the training data with which one init matches the reference with all of it, on one part",
    columns={
        **{name: METRICS.columns[name] for name in CELL},
        "draws": Column(
            "text", "fixed: all seeds have the same subsets; redrawn: each seed has subsets of its own"
        ),
        "init": METRICS.columns["init"],
        "reference": Column("text", "the init that is matched"),
        "reference_value": Column("number", "its mean with all training images"),
        "share": Column("number", "of these images, with which the init's mean reaches that value"),
        "bound": Column("text", f"how the share is meant; {_BOUND}"),
        "low": Column("number", "lower end of the share's interval over seeds or folds; empty for one"),
        "low_bound": Column("text", "how that end is meant, likewise"),
        "high": Column("number", "upper end of that interval"),
        "high_bound": Column("text", "how that end is meant, likewise"),
        "images": Column("number", "the share as a number of images"),
        "training_images": Column("number", "all training images, averaged over the runs"),
        "subsets": Column("integer", "numbers of training images that the init was trained on"),
        "repeats": Column("integer", "seeds or folds of the number of images that has fewest"),
    },
    families={},
)
# Means closer than this differ by rounding only.
ROUNDING = 1e-12


def label_efficiency(
    metrics: pd.DataFrame, reference: str, confidence: float, n_draws: int = 2000
) -> pd.DataFrame:
    """The share of training data with which each init matches the reference with all data.

    The interval is over seeds, or over folds with the correction of Nadeau and Bengio: see
    :func:`drawn_curves`. It holds no variation of the test images, and with fixed subsets none of the
    draw of the training images.

    Args:
        metrics: a table of schema METRICS. Rows of the validation part, of other than target metrics
            (of which a higher value is better), without a value and without a known number of training
            images are passed over.
        reference: the init that is to be matched.
        confidence: coverage of the intervals.
        n_draws: curves that are drawn for an interval.

    Returns:
        A table of schema LABEL_EFFICIENCY: a row for each init with at least two numbers of training
        images, the reference's own among them, in each cell whose reference has runs on all data.
    """
    used = metrics["target"] & (metrics["part"] != "validation") & metrics["value"].notna()
    known = metrics[used & (metrics["training_images"] > 0)]
    rows = [
        {**dict(zip(CELL, key, strict=True)), "draws": draws, "reference": reference, **row}
        for key, cell in known.groupby(CELL, sort=False)
        for draws, runs in _by_draws(cell)
        for row in _rows(runs, reference, confidence, n_draws)
    ]
    return table_of(rows, LABEL_EFFICIENCY)


def _by_draws(cell: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each way of drawing subsets, with those on all data."""
    whole, redrawn = cell["subset"] == "full", cell["subset"].map(is_redrawn).astype(bool)
    yield "fixed", cell[~redrawn]
    if redrawn.any():
        yield "redrawn", cell[whole | redrawn]


def _rows(
    runs: pd.DataFrame, reference: str, confidence: float, n_draws: int
) -> Iterator[dict[str, object]]:
    target = runs[(runs["init"] == reference) & (runs["subset"] == "full")]
    if target.empty:
        return
    goal, whole = _mean(target), float(target["training_images"].mean())
    for init, own in runs.groupby("init", sort=False):
        sizes = own.groupby("subset")["training_images"].transform("mean")
        images = np.sort(sizes.unique())
        if len(images) < 2:
            continue
        means = [*(_mean(own[sizes == size]) for size in images), goal]
        values = np.array([[mean.value for mean in means]])
        found = matching_images(images, values[:, :-1], values[:, -1])[0]
        low, high = _interval(images, means, confidence, n_draws)
        yield {
            "init": str(init),
            "reference_value": goal.value,
            **_named("share", "bound", found, images, whole),
            **_named("low", "low_bound", low, images, whole),
            **_named("high", "high_bound", high, images, whole),
            "images": float(np.clip(found, images[0], images[-1])),
            "training_images": whole,
            "subsets": len(images),
            "repeats": min(len(mean.repeats) for mean in means),
        }


@dataclass(frozen=True)
class Mean:
    """The mean of a metric over independent repeats.

    Attributes:
        repeats: the value of each seed or fold, under its name.
        test_train_ratio: of folds, for Nadeau and Bengio's correction; 0 for seeds.
    """

    repeats: pd.Series
    test_train_ratio: float = 0.0

    @property
    def value(self) -> float:
        return float(self.repeats.mean())


def _mean(runs: pd.DataFrame) -> Mean:
    """Of all runs on one number of training images."""
    repeats, ratio = independent_repeats(runs.set_index(["split", "seed"]))
    # two subsets of equally many images may both have runs of a seed
    return Mean(repeats["value"].groupby(repeats.index.map(str)).mean(), ratio)


def drawn_curves(means: Sequence[Mean], n_draws: int) -> np.ndarray:
    """Draws of several means together, as far from their values as chance may have moved them.

    With d the deviations of n repeats from their mean, z standard normal numbers that belong to the
    repeats, c a chi-squared number with n - 1 degrees of freedom (n: fewest repeats of all), and r the
    ratio of test to training images of folds (0 for seeds), a draw is

        mean + d·z / sqrt(n - 1) · sqrt(1 / n + r) / sqrt(c / (n - 1)).

    All means share z and c, so repeats that they have in common stay paired: the percentiles of the
    difference of two means are those of the paired t (of Nadeau and Bengio). Resampling of the repeats
    themselves is too narrow for the three or five of a study. A mean of one repeat doesn't move.

    Returns:
        n_draws x number of means.
    """
    generator = np.random.default_rng(derived_seed(0, "curves of label efficiency"))
    names = pd.Index(sorted({name for mean in means for name in mean.repeats.index}))
    normal = generator.standard_normal((n_draws, len(names)))
    freedom = max(1, min(len(mean.repeats) for mean in means) - 1)
    scale = np.sqrt(generator.chisquare(freedom, n_draws) / freedom)
    columns = []
    for mean in means:
        values, count = mean.repeats.to_numpy(), len(mean.repeats)
        spread = math.sqrt((1 / count + mean.test_train_ratio) / max(1, count - 1))
        moved = normal[:, names.get_indexer(mean.repeats.index)] @ (values - values.mean())
        columns.append(mean.value + spread * moved / scale)
    return np.column_stack(columns)


def matching_images(images: np.ndarray, curves: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """The number of images at which each curve, made monotone, first reaches its goal.

    Args:
        images: K rising numbers of images.
        curves: M x K values.
        goals: M values.

    Returns:
        M numbers of images: -inf where the smallest is enough, inf where the largest isn't.
    """
    rising = monotone(curves)
    reached = rising >= (goals - ROUNDING * np.abs(goals))[:, None]
    row, first = np.arange(len(curves)), reached.argmax(axis=1)
    below = np.maximum(first - 1, 0)
    low, high, logarithms = rising[row, below], rising[row, first], np.log(images)
    part = np.clip((goals - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    found = np.exp(logarithms[below] + part * (logarithms[first] - logarithms[below]))
    found = np.where(part == 1.0, images[first], found)
    return np.where(~reached.any(axis=1), np.inf, np.where(first == 0, -np.inf, found))


def monotone(curves: np.ndarray) -> np.ndarray:
    """Isotonic regression of each row with equal weights, M x K.

    The value at j is the largest over i <= j of the smallest over k >= j of the mean from i to k
    (Barlow et al., Statistical Inference under Order Restrictions, 1972, §1.2).
    """
    places = range(curves.shape[1])
    fitted = [np.max([_smallest_mean(curves, i, j) for i in range(j + 1)], axis=0) for j in places]
    return np.column_stack(fitted)


def _smallest_mean(curves: np.ndarray, first: int, at_least: int) -> np.ndarray:
    """Of each row, the smallest mean of the values from ``first`` to ``at_least`` or further."""
    lasts = range(at_least, curves.shape[1])
    return np.min([curves[:, first : last + 1].mean(axis=1) for last in lasts], axis=0)


def _interval(
    images: np.ndarray, means: Sequence[Mean], confidence: float, n_draws: int
) -> tuple[float, float]:
    """Between which numbers of images a share of the draws lies: infinite beyond the subsets.

    Args:
        images: K rising numbers of images.
        means: at these numbers, then the one that is to be reached.
        confidence: the share.
        n_draws: how many.
    """
    if min(len(mean.repeats) for mean in means) < 2:
        return math.nan, math.nan
    drawn = drawn_curves(means, n_draws)
    ordered = np.sort(matching_images(images, drawn[:, :-1], drawn[:, -1]))
    outside = math.floor(n_draws * (1 - confidence) / 2)
    return float(ordered[outside]), float(ordered[-1 - outside])


def _named(value: str, bound: str, found: float, images: np.ndarray, whole: float) -> dict[str, object]:
    """A number of images as a share of all, with how it is meant."""
    meant = {math.inf: MORE_THAN, -math.inf: AT_MOST}.get(found, "" if math.isnan(found) else EXACTLY)
    return {value: float(np.clip(found, images[0], images[-1])) / whole, bound: meant}
