"""The settings of one data set: where its manifest is and what its columns mean."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from medtransfer.config.access import AccessSettings, AdapterSettings, CardSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.config.typed import allowed_names, option, suggestion
from medtransfer.errors import ConfigError

Task = Literal["binary", "multiclass", "multilabel", "ordinal"]
Metric = Literal["auroc", "auprc", "accuracy", "balanced_accuracy", "quadratic_kappa"]

Leakage = Literal["patients", "header_patients", "exact_duplicates", "near_duplicates"]

DEFAULT_METRIC: dict[Task, Metric] = {
    "binary": "auroc",
    "multiclass": "balanced_accuracy",
    "multilabel": "auroc",
    "ordinal": "quadratic_kappa",
}
METRIC_TASKS: dict[Metric, tuple[Task, ...]] = {
    "auroc": ("binary", "multiclass", "multilabel", "ordinal"),
    "auprc": ("binary", "multiclass", "multilabel", "ordinal"),
    "accuracy": ("binary", "multiclass", "ordinal"),
    "balanced_accuracy": ("binary", "multiclass", "ordinal"),
    "quadratic_kappa": ("ordinal",),
}


@dataclass(frozen=True)
class GeneratorSettings:
    """A data set that is drawn from a seed instead of being read from a manifest."""

    name: Literal["phantom_chest", "phantom_fundus", "fractal"] = option("which generator")
    size: int = option("patients (phantoms) or classes (fractal)", minimum=2)
    images: int = option("images per class, for fractal", default=0, minimum=0)
    seed: int = option("seed of the whole data set", default=0, minimum=0)

    def __post_init__(self) -> None:
        if (self.name == "fractal") != (self.images > 0):
            raise ConfigError(
                f"key 'images' is {self.images} for generator {self.name}; allowed: at least 1 for "
                "fractal, and no such key for phantoms, which draw their own number"
            )


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the patients held out for validation and test."""

    validation: float = option("share for validation", default=0.15, minimum=0.01, maximum=0.9)
    test: float = option("share for test (holdout)", default=0.25, minimum=0.01, maximum=0.9)
    seed: int = option("seed of the draw", default=0, minimum=0)

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ConfigError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "allowed: a sum below 1"
            )


@dataclass(frozen=True)
class DatasetSettings:
    """One data set: a manifest (or a generator), the meaning of its columns, and its geometry."""

    task: Task = option("kind of label")
    labels: str | tuple[str, ...] = option("label column; for multilabel a list of 0/1 columns")
    image_size: int = option("side of the stored square images, in pixels", minimum=8)
    manifest: str | None = option("CSV or parquet table, one row an image", default=None)
    generator: GeneratorSettings | None = option("draw the images instead", default=None)
    adapter: AdapterSettings | None = option(
        "make the manifest from a public data set's own layout instead", default=None
    )
    access: AccessSettings | None = option(
        "how the files of a public data set come to this machine", default=None
    )
    root: str | None = option("folder of the image paths (default: the manifest's)", default=None)
    image: str = option("column of image paths", default="image")
    classes: tuple[str | int, ...] | int = option(
        "label values in order: the positive class last, grades ascending; or a number n for 0 ... n-1",
        default=(),
    )
    patient: str | None = option(
        "column of the patient (lesion, slide); splits keep it whole", default=None
    )
    patient_in_header: bool = option(
        "take the patient from the DICOM headers (PatientID) instead of a column", default=False
    )
    site: str | None = option("column of the hospital or scanner", default=None)
    split: str | None = option(
        "column with train/validation/test, used by the split 'published'", default=None
    )
    fold_lists: str | None = option(
        "lists of a published cross-validation, CSV: a path with {part} (train, val, test) and {fold} "
        "(from 1), used by the splits published-1, published-2 ...",
        default=None,
    )
    fold_column: str = option("column of these lists with the image's path or name", default="path")
    frame: str | None = option(
        "column of the frame (DICOM) or image (.npy, .h5) within a file, from 0", default=None
    )
    all_frames: bool = option("store every frame of multi-frame files as an image", default=False)
    groups: tuple[str, ...] = option("columns that define subgroups, e.g. sex, age", default=())
    bands: dict[str, tuple[float, ...]] = option(
        "of columns of numbers in 'groups': the rising edges between their subgroups, e.g. "
        "age: [40, 60] for <40, 40 to <60 and ≥60; DICOM ages such as 045Y are read in years",
        default={},
    )
    intersections: tuple[tuple[str, ...], ...] = option(
        "lists of columns of 'groups' that define subgroups together, e.g. [[sex, age]]", default=()
    )
    external_sites: tuple[str | int, ...] = option(
        "sites kept out of training: the out-of-distribution test", default=()
    )
    external: dict[str, ExternalSettings] = option(
        "other data sets, all of whose images are an out-of-distribution test of every run, by name",
        default={},
    )
    metric: Metric | None = option("target metric (default: by task)", default=None)
    channels: Literal[1, 3] = option("1 grey, 3 colour", default=3)
    geometry: Literal["pad", "crop", "stretch"] = option(
        "how a picture becomes square: pad with black, crop the centre, or stretch", default="pad"
    )
    bits: Literal[8, 16] = option(
        "bits a channel of the stored pixels: 16 for small differences in a wide range", default=8
    )
    max_rejected: float = option(
        "largest share of unreadable images before the run stops",
        default=0.01,
        minimum=0.0,
        maximum=1.0,
    )
    drop: tuple[Literal["duplicates", "contradictions"], ...] = option(
        "images left out of all parts: equal images after the first, or equal images with other labels",
        default=(),
    )
    accept: tuple[Leakage, ...] = option(
        "leakage that is known and accepted: such pairs may lie in different parts", default=()
    )
    splits: SplitSettings = option("how patients are held out", default=SplitSettings())
    origin: str = option("where the data come from, shown in the report", default="")
    card: CardSettings | None = option("version, licence, known defects", default=None)

    def __post_init__(self) -> None:
        problems = [
            *self._source_problems(),
            *self._label_problems(),
            *self._site_problems(),
            *self._column_problems(),
            *self._band_problems(),
            *self._intersection_problems(),
        ]
        if problems:
            raise ConfigError("\n".join(problems))

    def _source_problems(self) -> list[str]:
        ways = (self.manifest, self.generator, self.adapter)
        if sum(way is not None for way in ways) != 1:
            return ["give one of 'manifest', 'generator' and 'adapter', no more and no less"]
        if self.access is not None and self.adapter is None:
            return ["key 'access' needs the key 'adapter', which makes the manifest of what is fetched"]
        return []

    def _label_problems(self) -> list[str]:
        problems = []
        if (self.task == "multilabel") != isinstance(self.labels, tuple):
            problems.append(
                f"key 'labels' is {self.labels!r} for task {self.task}; allowed: "
                "a list of columns for multilabel, one column otherwise"
            )
        count = len(self.listed_classes)
        if self.task == "binary" and count != 2:
            problems.append(f"key 'classes' has {count} values; binary needs [negative, positive]")
        if self.task in ("multiclass", "ordinal") and count < 3 and self.generator is None:
            problems.append(f"key 'classes' has {count} values; {self.task} needs at least 3")
        if self.task == "multilabel" and count:
            problems.append("key 'classes' has no meaning for multilabel: the columns are the classes")
        if len(set(self.class_names)) < len(self.class_names):
            problems.append("key 'classes' names a class twice")
        if self.metric is not None and self.task not in METRIC_TASKS[self.metric]:
            fitting = [name for name, tasks in METRIC_TASKS.items() if self.task in tasks]
            problems.append(f"metric {self.metric} for task {self.task}; allowed: {', '.join(fitting)}")
        return problems

    def _site_problems(self) -> list[str]:
        if self.external_sites and self.site is None:
            return ["key 'external_sites' needs the key 'site', the column that it selects from"]
        return []

    def _column_problems(self) -> list[str]:
        problems = []
        if self.all_frames and self.frame is not None:
            problems.append("give 'frame', a column that chooses frames, or 'all_frames', not both")
        if self.fold_lists is not None and not {"{part}", "{fold}"} <= _fields(self.fold_lists):
            problems.append(
                f"key 'fold_lists' is '{self.fold_lists}'; allowed: a path with {{part}} and {{fold}}"
            )
        if self.patient_in_header and self.patient is not None:
            problems.append("give 'patient', a column, or 'patient_in_header', not both")
        return problems

    def _band_problems(self) -> Iterator[str]:
        for column, edges in self.bands.items():
            yield from self._group_problems("bands", column)
            rising = all(low < high for low, high in itertools.pairwise(edges))
            if not edges or not rising or not all(map(math.isfinite, edges)):
                yield (
                    f"key 'bands.{column}' is {list(edges)}; allowed: at least one number, each above "
                    "the one before it"
                )

    def _intersection_problems(self) -> Iterator[str]:
        for number, columns in enumerate(self.intersections):
            key = f"intersections[{number}]"
            for column in columns:
                yield from self._group_problems(key, column)
            if len(columns) < 2 or len(set(columns)) < len(columns):
                yield f"key '{key}' is {list(columns)}; allowed: at least two columns, each once"

    def _group_problems(self, key: str, column: str) -> Iterator[str]:
        if column not in self.groups:
            yield (
                f"key '{key}' names '{column}'{suggestion(column, self.groups)}; "
                f"allowed: columns of the key 'groups': {allowed_names(self.groups)}"
            )

    @property
    def listed_classes(self) -> tuple[str, ...]:
        """The values of the key 'classes', written out."""
        listed = range(self.classes) if isinstance(self.classes, int) else self.classes
        return tuple(str(name) for name in listed)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order; for multilabel the label columns."""
        if isinstance(self.labels, tuple):
            return self.labels
        if self.generator is not None and self.generator.name == "fractal":
            return tuple(str(formula) for formula in range(self.generator.size))
        return self.listed_classes

    @property
    def target_metric(self) -> Metric:
        """The metric that early stopping watches and that tables lead with."""
        return self.metric or DEFAULT_METRIC[self.task]

    @property
    def chance_level(self) -> float | None:
        """The target metric of a network that says the same of every image.

        None where it depends on how many images each class has, as that of AUPRC and accuracy does.
        """
        levels = {"auroc": 0.5, "balanced_accuracy": 1 / len(self.class_names), "quadratic_kappa": 0.0}
        return levels.get(self.target_metric)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs: one for binary (the positive class), else one a class."""
        return self.class_names[-1:] if self.task == "binary" else self.class_names


def _fields(pattern: str) -> set[str]:
    """The names in braces of a path pattern, with their braces."""
    return set(re.findall(r"{\w+}", pattern))
