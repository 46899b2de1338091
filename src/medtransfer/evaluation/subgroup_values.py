"""Metrics of subgroups under joint resamples of the patients, before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.subgroups import MISSING
from medtransfer.errors import DataError
from medtransfer.evaluation.metrics import weighted_metric
from medtransfer.evaluation.operating_point import RATES, rate, youden_thresholds
from medtransfer.evaluation.predictions import Predictions, predictions_of
from medtransfer.evaluation.results import PLACE
from medtransfer.evaluation.weighting import Statistic
from medtransfer.statistics.resampling import Resampled, Resamples, mean, patient_resamples, resampled

# A group needs so many patients, and so many with each class (or answer) that the part has.
SMALLEST_GROUP = 10
SMALLEST_CLASS = 5
# These are means over all images, whatever their classes.
WITHOUT_CLASSES = ("accuracy", "quadratic_kappa")


@dataclass(frozen=True)
class PartImages:
    """The images of one part, of all splits together, N.

    Attributes:
        part: its name.
        rows: of each image_id, its place.
        patients: N.
        divisions: N rows of group names, ordered categories.
        resamples: of their patients.
    """

    part: str
    rows: pd.Series
    patients: np.ndarray
    divisions: pd.DataFrame
    resamples: Resamples

    @staticmethod
    def of(
        part: str, tables: Sequence[pd.DataFrame], divisions: pd.DataFrame, n_resamples: int
    ) -> PartImages:
        every = pd.concat([table[["image_id", "patient"]] for table in tables])
        every = every.drop_duplicates("image_id").sort_values("image_id")
        # splits may share patients, so all are drawn together
        drawn = patient_resamples(every["patient"], part, n_resamples)
        rows = pd.Series(np.arange(len(every)), index=every["image_id"].to_numpy())
        return PartImages(part, rows, every["patient"].to_numpy(), divisions.loc[rows.index], drawn)

    def resamples_of(self, rows: np.ndarray) -> Resamples:
        """The same draws, of some of the images."""
        return self.resamples.take(rows)


@dataclass(frozen=True)
class ScoredRun:
    """One run on one part.

    Attributes:
        run: its columns.
        rows: places of its images among all of the part, n.
        predictions: of these images.
        thresholds: of the outputs, fixed on the run's validation part; none without rates.
    """

    run: pd.Series
    rows: np.ndarray
    predictions: Predictions
    thresholds: np.ndarray

    @staticmethod
    def of(
        run: pd.Series,
        table: pd.DataFrame,
        whole: pd.DataFrame,
        images: PartImages,
        dataset: DatasetSettings,
    ) -> ScoredRun:
        thresholds = np.empty(0)
        if set(RATES) & set(subgroup_metrics(dataset)):
            validation = whole[whole["part"] == "validation"]
            if validation.empty:
                raise DataError(f"predictions of run {run['path']}: no validation part for a threshold")
            thresholds = youden_thresholds(predictions_of(validation, dataset))
        rows = images.rows[table["image_id"]].to_numpy()
        return ScoredRun(run, rows, predictions_of(table, dataset), thresholds)

    @property
    def repeat(self) -> tuple[str, int]:
        """Split and seed."""
        return str(self.run["split"]), int(self.run["seed"])

    def statistic(self, metric: str, members: np.ndarray) -> Statistic:
        """A metric of the images that are members, n truths."""
        predictions = self.predictions.take(members)
        if metric in RATES:
            return rate(metric, predictions, self.thresholds)
        return lambda weights: weighted_metric(metric, predictions, weights)


@dataclass(frozen=True)
class GroupSize:
    """How large a group is in one split.

    Attributes:
        images: of the group.
        patients: with these images.
        positives: images of the class with fewest; for multilabel with the label that fewest have.
        rarest: patients with the class or answer that fewest have, of those that occur in the part.
    """

    images: int
    patients: frozenset[str]
    positives: int
    rarest: int

    @staticmethod
    def of(scored: ScoredRun, members: np.ndarray, patients: np.ndarray) -> GroupSize:
        targets, own = scored.predictions.targets, patients[members]
        counts = [
            (answer, targets[members, k] == answer)
            for k in range(targets.shape[1])
            for answer in (1.0, 0.0)
            if (targets[:, k] == answer).any()
        ]
        return GroupSize(
            int(members.sum()),
            frozenset(own),
            min((int(there.sum()) for answer, there in counts if answer), default=0),
            min((len(set(own[there])) for _, there in counts), default=0),
        )

    def is_small(self, metric: str) -> bool:
        """Whether it is too small for an interval of a metric."""
        few = metric not in WITHOUT_CLASSES and self.rarest < SMALLEST_CLASS
        return few or len(self.patients) < SMALLEST_GROUP


@dataclass(frozen=True)
class Group:
    """One group under one init.

    Attributes:
        name: of the group.
        values: of each run, by split and seed; without replicates where the group is small.
        sizes: by split.
    """

    name: str
    values: Mapping[tuple[str, int], Resampled]
    sizes: Mapping[str, GroupSize]

    @property
    def small(self) -> bool:
        """Whether it is too small in the split of one of the runs."""
        return any(not len(value.replicates) for value in self.values.values())

    @property
    def compared(self) -> bool:
        """Whether it counts for worst group and gaps."""
        return self.name != MISSING and not self.small

    @property
    def estimates(self) -> pd.Series:
        """The value of each run."""
        return pd.Series({repeat: value.estimate for repeat, value in self.values.items()})

    @property
    def mean(self) -> Resampled:
        """Of all runs; only where the group isn't small."""
        return mean(list(self.values.values()))

    def of_runs(self, repeats: Sequence[tuple[str, int]]) -> Group:
        """The same of some of the runs."""
        return Group(self.name, {repeat: self.values[repeat] for repeat in repeats}, self.sizes)


@dataclass(frozen=True)
class GroupValues:
    """One metric in the groups of one division, by init.

    Attributes:
        cell: the columns that all their rows share.
        by_init: the groups in order.
    """

    cell: dict[str, object]
    by_init: Mapping[str, Sequence[Group]]


def subgroup_metrics(dataset: DatasetSettings) -> list[str]:
    """The target metric, and how much is found: as rates at a threshold, or as the mean recall."""
    separate = dataset.task in ("binary", "multilabel")
    return list(dict.fromkeys([dataset.target_metric, *(RATES if separate else ["balanced_accuracy"])]))


def group_values(
    scored: Sequence[ScoredRun], images: PartImages, dataset: DatasetSettings
) -> Iterator[GroupValues]:
    """Every metric in every division of every cell of one part.

    Args:
        scored: the runs on this part.
        images: of the part, with their divisions.
        dataset: task and target metric.
    """
    cells: dict[tuple[object, ...], dict[str, list[ScoredRun]]] = {}
    for one in scored:
        by_init = cells.setdefault(tuple(one.run[PLACE]), {})
        by_init.setdefault(one.run["init"], []).append(one)
    for place, by_init in cells.items():
        for metric in subgroup_metrics(dataset):
            for division in images.divisions:
                names = {**dict(zip(PLACE, place, strict=True)), "part": images.part, "metric": metric}
                yield GroupValues(
                    {**names, "division": str(division)},
                    {
                        init: list(_groups(own, images, images.divisions[division], metric))
                        for init, own in by_init.items()
                    },
                )


def _groups(
    scored: Sequence[ScoredRun], images: PartImages, division: pd.Series, metric: str
) -> Iterator[Group]:
    """The groups of a division that have images of these runs."""
    group_of = division.to_numpy(dtype=object)
    for name in division.cat.categories:
        values: dict[tuple[str, int], Resampled] = {}
        sizes: dict[str, GroupSize] = {}
        for one in scored:
            members, split = group_of[one.rows] == name, one.repeat[0]
            if split not in sizes:
                sizes[split] = GroupSize.of(one, members, images.patients[one.rows])
            values[one.repeat] = _value(one, members, images, metric, sizes[split])
        if any(size.images for size in sizes.values()):
            yield Group(str(name), values, sizes)


def _value(
    one: ScoredRun, members: np.ndarray, images: PartImages, metric: str, size: GroupSize
) -> Resampled:
    """A metric of a run's members; without replicates where they are too few."""
    if not size.images:
        return Resampled(math.nan, np.empty(0), {})
    statistic = one.statistic(metric, members)
    if size.is_small(metric):
        return Resampled(float(statistic(np.ones((1, size.images)))[0]), np.empty(0), {})
    return resampled(statistic, images.resamples_of(one.rows[members]))
