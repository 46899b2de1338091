"""How runs do in each subgroup of the patients: the worst group, gaps, and whether transfer moves them.

All intervals are over patients, through resamples that all groups, runs and inits share: what differs
between groups or inits is paired wherever it rests on the same patients. The mean over the runs of a
cell is resampled; the spread between the runs stands beside it.

A group that is too small has a value without an interval and counts for no worst group and no gap; the
group of images whose value is missing doesn't count either. The gap, the largest less the smallest
value, is above 0 even where all groups are alike, and the worst value is too bad, the more so the
smaller and the more numerous the groups are. Their intervals allow for that
(:mod:`medtransfer.evaluation.extremes`) and hold the truth at least as often as they say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.data.subgroups import subgroups
from medtransfer.errors import DataError
from medtransfer.evaluation.extremes import interval_of_largest
from medtransfer.evaluation.results import METRICS, PLACE, RUN_COLUMNS
from medtransfer.evaluation.subgroup_values import (
    SMALLEST_CLASS,
    SMALLEST_GROUP,
    Group,
    GroupValues,
    PartImages,
    ScoredRun,
    group_values,
)
from medtransfer.statistics.bootstrap import Interval
from medtransfer.statistics.comparison import compared
from medtransfer.tables import Column, Schema, table_of

T = TypeVar("T")
_CELL = {
    **{name: RUN_COLUMNS[name] for name in PLACE},
    "part": METRICS.columns["part"],
    "metric": Column(
        "text",
        "the data set's target metric; for binary and multilabel the true_positive_rate and "
        "false_positive_rate at the threshold of the largest Youden's J on the run's validation part "
        "(mean over outputs), else balanced_accuracy, the mean over classes of the share recognised",
    ),
    "division": Column("text", "column of the manifest, or several joined by &"),
    "init": RUN_COLUMNS["init"],
}
SUBGROUPS = Schema(
    name="subgroups",
    row="one metric of one subgroup in one cell: recipe, data set, model, init, subset and part",
    columns={
        **_CELL,
        "group": Column("text", "value of the column, band of numbers, or (missing)"),
        "mean": Column("number", "mean over the runs in which it is defined"),
        "low": Column("number", "lower end of its interval over patients; empty for small groups"),
        "high": Column("number", "upper end of that interval"),
        "sd": Column("number", "standard deviation over the runs; empty for one run"),
        "runs": Column("integer", "runs in the mean"),
        "images": Column("integer", "images of the group in the part, over all splits"),
        "patients": Column("integer", "their patients"),
        "positives": Column(
            "integer",
            "images of the positive class, of several classes of the rarest; least of a split",
        ),
        "rarest": Column(
            "integer", "patients with the class or answer that fewest have; least of a split"
        ),
        "small": Column(
            "truth",
            f"whether it is too small in a split: below {SMALLEST_GROUP} patients, or rarest below "
            f"{SMALLEST_CLASS}, which doesn't count for accuracy and quadratic_kappa",
        ),
        "compared": Column("truth", "whether it counts for worst group and gap: known and not small"),
    },
    families={},
)
SUBGROUP_GAPS = Schema(
    name="subgroup_gaps",
    row="the worst group's value, or the gap between groups, of one metric in one cell; or the "
    "difference of two inits in one of these",
    columns={
        **_CELL,
        "reference": Column("text", "the init that is subtracted; empty: none"),
        "property": Column(
            "text",
            "worst: the worst group's value; gap: largest less smallest value; with a reference, the "
            "difference of two inits in these, both in the groups named here",
        ),
        "value": Column("number", "of the means over the runs, for a difference over those that pair"),
        "low": Column(
            "number",
            "lower end of its interval over patients; above 0 for a gap: the groups do differ",
        ),
        "high": Column("number", "upper end of that interval"),
        "sd": Column("number", "standard deviation over the runs, for the named groups"),
        "best_group": Column(
            "text", "the group with the best mean; with a reference, by the mean of both inits"
        ),
        "worst_group": Column("text", "the group with the worst mean, likewise"),
        "groups": Column("integer", "groups that are compared"),
        "runs": Column("integer", "runs, or pairs of runs"),
    },
    families={},
)


@dataclass(frozen=True)
class SubgroupTables:
    """Of one data set.

    Attributes:
        groups: a table of schema SUBGROUPS.
        gaps: a table of schema SUBGROUP_GAPS.
    """

    groups: pd.DataFrame
    gaps: pd.DataFrame


def subgroup_tables(
    runs: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    samples: pd.DataFrame,
    dataset: DatasetSettings,
    study: StudySettings,
) -> SubgroupTables:
    """Metrics of the subgroups of one data set, with worst groups, gaps, and differences of inits.

    Args:
        runs: a table of schema RUNS, of one data set.
        predictions: a table of schema PREDICTIONS a run, in the same order.
        samples: a table of schema SAMPLES, of which the images and the columns of groups are used.
        dataset: task, outputs, target metric, bands and intersections.
        study: reference, families, confidence and number of resamples.

    Returns:
        Every part but validation; parts of other data sets, none of whose images are among the samples,
        are passed over. A gap needs two groups that are large enough. Inits are compared as metrics are
        (:func:`medtransfer.statistics.comparison.compared`), through runs of the same split and seed.

    Raises:
        DataError: bands or intersections don't fit the samples; some images of a part are among the
            samples and some aren't; a run has no validation part.
    """
    where = ", ".join(f"samples of {name}" for name in runs["dataset"].unique())
    divisions = subgroups(samples, dataset, where).set_axis(samples["image_id"].to_numpy())
    groups: list[dict[str, object]] = []
    gaps: list[dict[str, object]] = []
    for part in _parts(predictions, divisions):
        tables = [table[table["part"] == part] for table in predictions]
        images = PartImages.of(part, tables, divisions, study.statistics.resamples)
        scored = [
            ScoredRun.of(run, table, whole, images, dataset)
            for (_, run), table, whole in zip(runs.iterrows(), tables, predictions, strict=True)
            if len(table)
        ]
        for values in group_values(scored, images, dataset):
            groups += [{**values.cell, **row} for row in _group_rows(values, study.confidence)]
            gaps += [{**values.cell, **row} for row in _gap_rows(values, study)]
    return SubgroupTables(table_of(groups, SUBGROUPS), table_of(gaps, SUBGROUP_GAPS))


def _parts(predictions: Sequence[pd.DataFrame], divisions: pd.DataFrame) -> list[str]:
    """The parts that have images of these samples, but validation; none where nothing divides them."""
    found: dict[str, bool] = {}
    for table in predictions:
        for part, rows in table.groupby("part", sort=False):
            known = rows["image_id"].isin(divisions.index)
            if known.any() and not known.all():
                raise DataError(
                    f"part {part}: {int((~known).sum())} of {len(rows)} images aren't among the "
                    f"samples (first: {rows['image_id'][~known].iloc[0]}); allowed: predictions and "
                    "samples of the same store"
                )
            if part != "validation" and known.all() and not divisions.empty:
                found[str(part)] = True
    return list(found)


def _group_rows(values: GroupValues, confidence: float) -> Iterator[dict[str, object]]:
    for init, groups in values.by_init.items():
        for group in groups:
            estimates, sizes = group.estimates, group.sizes.values()
            low, high = (math.nan, math.nan) if group.small else _ends(group.mean.interval(confidence))
            yield {
                "init": init,
                "group": group.name,
                "mean": estimates.mean(),
                "low": low,
                "high": high,
                "sd": estimates.std(ddof=1),
                "runs": int(estimates.notna().sum()),
                "images": sum(size.images for size in sizes),
                "patients": len(frozenset().union(*(size.patients for size in sizes))),
                "positives": min(size.positives for size in sizes),
                "rarest": min(size.rarest for size in sizes),
                "small": group.small,
                "compared": group.compared,
            }


def _gap_rows(values: GroupValues, study: StudySettings) -> Iterator[dict[str, object]]:
    sign = -1.0 if values.cell["metric"] == "false_positive_rate" else 1.0
    for init, groups in values.by_init.items():
        chosen = [group for group in groups if group.compared]
        if len(chosen) > 1:
            rows = _extremes(chosen, sign, study.confidence)
            yield from ({"init": init, "reference": "", **row} for row in rows)
    for init, reference in compared(list(values.by_init), study):
        pairs = _paired_groups(values.by_init[init], values.by_init[reference])
        if len(pairs) > 1:
            rows = _changes(pairs, sign, study.confidence)
            yield from ({"init": init, "reference": reference, **row} for row in rows)


def _extremes(groups: Sequence[Group], sign: float, confidence: float) -> Iterator[dict[str, object]]:
    """The worst group's value and the gap of one init.

    Args:
        groups: at least two.
        sign: -1 where a lower value is better, else 1.
        confidence: coverage of the intervals, at least.
    """
    means = [group.mean for group in groups]
    best, worst = _best_and_worst(groups, [sign * mean.estimate for mean in means])
    about = _about([best, worst], groups)
    # the worst is the largest of what is the worse the larger it is
    low, high = interval_of_largest([-sign * mean for mean in means], confidence)
    ends = sorted((-sign * low, -sign * high))
    yield _row("worst", worst.mean.estimate, ends, worst.estimates, about)
    gap = sign * (best.mean - worst.mean)
    low, high = interval_of_largest([a - b for a, b in permutations(means, 2)], confidence)
    of_runs = sign * (best.estimates - worst.estimates)
    yield _row("gap", gap.estimate, (float(np.maximum(low, 0.0)), high), of_runs, about)


def _paired_groups(groups: Sequence[Group], reference: Sequence[Group]) -> list[tuple[Group, Group]]:
    """The groups that are compared under both inits, each with the runs of splits and seeds of both."""
    others = {group.name: group for group in reference}
    pairs = []
    for group in groups:
        if group.name in others:
            other = others[group.name]
            shared = [repeat for repeat in group.values if repeat in other.values]
            pairs.append((group.of_runs(shared), other.of_runs(shared)))
    return [pair for pair in pairs if pair[0].values and all(group.compared for group in pair)]


def _changes(
    pairs: Sequence[tuple[Group, Group]], sign: float, confidence: float
) -> Iterator[dict[str, object]]:
    """Differences of two inits in the groups that are best and worst by the mean of both.

    Means of both say nothing of the difference between them, so choosing by them favours no init.

    Args:
        pairs: at least two groups, each under an init and under its reference.
        sign: -1 where a lower value is better, else 1.
        confidence: coverage of the intervals.
    """
    both = [sign * (own.mean.estimate + other.mean.estimate) for own, other in pairs]
    best, worst = _best_and_worst(pairs, both)
    about = _about([best[0], worst[0]], pairs)
    changes = [own.mean - other.mean for own, other in (best, worst)]
    gap = sign * (changes[0] - changes[1])
    ends = [_ends(change.interval_of_difference(confidence)) for change in (changes[1], gap)]
    of_runs = [own.estimates - other.estimates for own, other in (best, worst)]
    yield _row("worst", changes[1].estimate, ends[0], of_runs[1], about)
    of_gap = sign * (of_runs[0] - of_runs[1])
    yield _row("gap", gap.estimate, ends[1], of_gap, about)


def _best_and_worst(things: Sequence[T], goodness: Sequence[float]) -> tuple[T, T]:
    order = np.argsort(goodness, kind="stable")
    return things[order[-1]], things[order[0]]


def _about(best_and_worst: Sequence[Group], groups: Sequence[object]) -> dict[str, object]:
    best, worst = best_and_worst
    return {
        "best_group": best.name,
        "worst_group": worst.name,
        "groups": len(groups),
        "runs": len(worst.values),
    }


def _row(
    name: str,
    value: float,
    ends: Sequence[float],
    of_runs: pd.Series,
    about: Mapping[str, object],
) -> dict[str, object]:
    low, high = ends
    sd = of_runs.std(ddof=1)
    return {"property": name, "value": value, "low": low, "high": high, "sd": sd, **about}


def _ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high
