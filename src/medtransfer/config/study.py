"""The settings of studies and of the hardware they run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from medtransfer.config.corruptions import ALL_CORRUPTIONS, CorruptionName
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.figures import DEFAULT_FIGURES, METRIC_FIGURES, FigureName
from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.representation import RepresentationSettings
from medtransfer.config.results import ResultsSettings
from medtransfer.config.source import SourceSettings
from medtransfer.config.statistics import StatisticsSettings
from medtransfer.config.typed import option
from medtransfer.errors import ConfigError


@dataclass(frozen=True)
class GridSettings:
    """A block of runs: every combination of the lists."""

    recipe: str = option("name of a recipe")
    datasets: tuple[str, ...] = option("names of data sets")
    models: tuple[str, ...] = option("names of networks")
    inits: tuple[str, ...] = option(
        "starts: random, gabor, <source>, <source>-stats, <source>-upto<k>-stats, "
        "<source>-upto<k>-random, <source>-upto<k>-slim (k units keep the source's weights)"
    )
    subsets: tuple[str, ...] = option(
        "training data: full; n500 (images), p10 (percent): the same images for all seeds; "
        "n500-redrawn, p10-redrawn: drawn anew for each seed",
        default=("full",),
    )
    splits: tuple[str, ...] = option(
        "holdout, published, published-1 ... (of fold_lists), or cv5-0 ... cv5-4", default=("holdout",)
    )
    seeds: tuple[int, ...] = option("one run each", default=(0, 1, 2), minimum=0)

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "inits", "subsets", "splits", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"key '{name}' is an empty list; give at least one value")
            if len(set(values)) < len(values):
                raise ConfigError(f"key '{name}' repeats a value: {list(values)}")
        if len({split.rpartition("-")[0] or split for split in self.splits}) > 1:
            raise ConfigError(
                f"key 'splits' is {list(self.splits)}; allowed in one grid: folds of one "
                "cross-validation, or one other split"
            )


@dataclass(frozen=True)
class StudySettings:
    """One study: its question, its runs, what they are compared with, and its figures."""

    title: str = option("headline of the report")
    grids: tuple[GridSettings, ...] = option("the runs", default=())
    results: ResultsSettings | None = option(
        "results from elsewhere, beside the runs or instead of them", default=None
    )
    left_out: tuple[str, ...] = option(
        "runs that can't be had, such as failed ones: paths below results/runs/, or the folders that "
        "they begin with; figures and tables have gaps there",
        default=(),
    )
    published: str | None = option(
        "CSV file below config/ with the numbers of a paper, which tables show beside the study's own",
        default=None,
    )
    question: str = option("what the study asks, in a sentence", default="")
    reference: str = option("the init that gains are measured against", default="random")
    confidence: float = option("coverage of the intervals", default=0.95, minimum=0.5, maximum=0.999)
    statistics: StatisticsSettings = option(
        "margins, families and power of the conclusions", default=StatisticsSettings()
    )
    figures: tuple[FigureName, ...] = option(
        "which figures to draw; what they show is computed for them; none: "
        f"{', '.join(DEFAULT_FIGURES)}; of results from elsewhere alone {', '.join(METRIC_FIGURES)}",
        default=(),
    )
    corruptions: tuple[CorruptionName, ...] = option(
        "what is done to the test images for the figure corruption, in five severities each",
        default=ALL_CORRUPTIONS,
    )
    representation: RepresentationSettings = option(
        "of which runs the figures of corruption and hidden layers are drawn, and on how many images",
        default=RepresentationSettings(),
    )

    def __post_init__(self) -> None:
        problems = [
            *self._run_problems(),
            *self._statistics_problems(),
            *self._figure_problems(),
        ]
        if problems:
            raise ConfigError("\n".join(problems))

    def _run_problems(self) -> Iterator[str]:
        if not self.grids and self.results is None:
            yield (
                "keys 'grids' and 'results' are both empty; a study needs at least one block of runs "
                "or a table of results"
            )
        elif self.results is None and self.reference not in self._inits:
            inits = sorted(self._inits)
            yield f"reference '{self.reference}' is no init of the grids; allowed: {inits}"

    def _statistics_problems(self) -> Iterator[str]:
        """Comparisons of starts that no run has, and a metric from elsewhere without a margin."""
        if self.results is not None:
            yield from _problems_of(self.statistics.margin, self.results.target)
            return
        for family in self.statistics.families:
            named = {init for pair in family.comparisons for init in pair} - {"all"}
            for init in sorted(named - self._inits):
                yield (
                    f"family '{family.name}' compares '{init}', which is no init of the grids; "
                    f"allowed: {sorted(self._inits)}"
                )

    def _figure_problems(self) -> Iterator[str]:
        if not self.corruptions or len(set(self.corruptions)) < len(self.corruptions):
            yield (
                f"key 'corruptions' is {list(self.corruptions)}; allowed: each at most once, of "
                + ", ".join(ALL_CORRUPTIONS)
            )
        unfit = [name for name in self.figures if not self.grids and name not in METRIC_FIGURES]
        if unfit:
            yield (
                f"figure '{unfit[0]}' needs runs, and 'grids' is empty; allowed without: "
                + ", ".join(METRIC_FIGURES)
            )

    @property
    def _inits(self) -> set[str]:
        return {init for grid in self.grids for init in grid.inits}

    @property
    def drawn(self) -> tuple[FigureName, ...]:
        """The figures of the study."""
        return self.figures or (DEFAULT_FIGURES if self.grids else METRIC_FIGURES)


def _problems_of(check: Callable[[str], object], value: str) -> Iterator[str]:
    try:
        check(value)
    except ConfigError as error:
        yield str(error)


@dataclass(frozen=True)
class HardwareSettings:
    """Where and how widely jobs run; changing these repeats nothing."""

    device: Literal["auto", "cpu", "cuda"] = option(
        "auto takes a GPU where there is one; cuda makes its absence an error", default="auto"
    )
    jobs_per_gpu: int = option("training jobs that share one GPU", default=1, minimum=1)
    large_models: tuple[str, ...] = option(
        "networks whose training jobs, of the rule train_large, ask a cluster for four times the "
        "memory and time",
        default=(),
    )
    train_threads: int = option("CPU threads of a training job", default=1, minimum=1)
    memory_format: Literal["auto", "channels_last", "contiguous"] = option(
        "of images and weights in training; auto: the fastest that was measured for the network on "
        "this processor (workflow/scripts/calibrate.py), else channels_last",
        default="auto",
    )
    compile: bool = option(
        "compile networks at the start of each training job; on a CPU this takes minutes and brings "
        "nothing",
        default=False,
    )
    checkpoint_activations: bool = option(
        "compute the activations of each block again for its gradient rather than keep them: the same "
        "result with less memory, in about a third more time",
        default=False,
    )
    images_mb: float | None = option(
        "MiB of images up to which a training job copies them into memory (and its GPU's); beyond, "
        "each batch is read from the disk; by default half of what is free",
        default=None,
        minimum=0.0,
    )
    deterministic: bool = option(
        "deterministic kernels only: the same bits twice on one kind of GPU, and slower; on the CPU "
        "runs are so anyway",
        default=False,
    )
    save_seconds: float | None = option(
        "seconds between two saves of a running training's state; by default, saving takes at most 2 % "
        "of the time",
        default=None,
        minimum=0.0,
    )
    tensorboard: bool = option(
        "training also writes event files to results/tensorboard/; needs the package tensorboard",
        default=False,
    )
    store_threads: int = option("processes that decode images", default=8, minimum=1)
    connections: int = option("files of a data set downloaded at once", default=2, minimum=1)

    def __post_init__(self) -> None:
        if self.compile and self.checkpoint_activations:
            raise ConfigError(
                "keys 'compile' and 'checkpoint_activations' are both true; allowed: one of them"
            )


@dataclass(frozen=True)
class Config:
    """The whole configuration; named parts may also be files in config/datasets/ and so on."""

    studies: dict[str, StudySettings] = option("the studies to run, by name")
    only_finished: bool = option(
        "take the runs that are finished and train no others; figures and tables have gaps there",
        default=False,
    )
    hardware: HardwareSettings = option("where jobs run", default=HardwareSettings())
    datasets: dict[str, DatasetSettings] = option(
        "data sets, beside those of config/datasets/", default={}
    )
    models: dict[str, ModelSettings] = option("networks, beside those of config/models/", default={})
    recipes: dict[str, RecipeSettings] = option("recipes, beside those of config/recipes/", default={})
    sources: dict[str, SourceSettings] = option("sources, beside those of config/sources/", default={})
