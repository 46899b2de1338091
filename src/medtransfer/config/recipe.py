"""The settings of a training recipe: everything that decides a run beside its data and start."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError

Monitor = Literal["metric", "loss", "accuracy"]


def _is_range(values: tuple[float, ...]) -> bool:
    return len(values) == 2 and values[0] <= values[1]


@dataclass(frozen=True)
class AugmentationSettings:
    """Random changes of a training image, drawn independently for each image."""

    resized_crop: tuple[float, ...] = option(
        "smallest and largest share of the area that is cut out and resized; empty: none; a share "
        "above 1 counts as a draw that doesn't fit, which is drawn again",
        default=(),
        minimum=0.0,
    )
    crop_ratio: tuple[float, ...] = option(
        "smallest and largest width through height of that cut", default=(0.75, 4 / 3), minimum=0.01
    )
    flip_horizontal: float = option("probability", default=0.0, minimum=0.0, maximum=1.0)
    flip_vertical: float = option("probability", default=0.0, minimum=0.0, maximum=1.0)
    rotate: float = option("largest angle in degrees", default=0.0, minimum=0.0, maximum=180.0)
    scale: float = option(
        "largest change of size, as a share of it", default=0.0, minimum=0.0, maximum=0.9
    )
    translate: float = option(
        "largest shift, as a share of the side", default=0.0, minimum=0.0, maximum=0.5
    )
    shear: float = option("largest angle in degrees", default=0.0, minimum=0.0, maximum=80.0)
    fill: Literal["black", "edge"] = option(
        "what comes from outside of a picture: black, or its nearest pixel", default="black"
    )
    brightness: float = option("largest relative change", default=0.0, minimum=0.0, maximum=1.0)
    contrast: float = option("largest relative change", default=0.0, minimum=0.0, maximum=1.0)
    saturation: float = option(
        "largest relative change; grey images have none", default=0.0, minimum=0.0, maximum=1.0
    )
    hue: float = option(
        "largest turn, as a share of a full one; grey images have none",
        default=0.0,
        minimum=0.0,
        maximum=0.5,
    )
    jitter_probability: float = option(
        "that an image's brightness, contrast, saturation and hue change at all",
        default=1.0,
        minimum=0.0,
        maximum=1.0,
    )
    grey: float = option("probability of losing all colour", default=0.0, minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        if self.resized_crop and (not _is_range(self.resized_crop) or self.resized_crop[0] == 0):
            raise ConfigError(
                f"key 'resized_crop' is {list(self.resized_crop)}; allowed: two shares above 0, the "
                "smaller first, or none"
            )
        if not _is_range(self.crop_ratio):
            raise ConfigError(
                f"key 'crop_ratio' is {list(self.crop_ratio)}; allowed: two ratios, the smaller first"
            )


@dataclass(frozen=True)
class HeadStageSettings:
    """A first stage in which only the head learns, on a frozen body."""

    learning_rate: float = option("peak learning rate", minimum=0.0)
    epochs: float | None = option(
        "budget in passes over the training images", default=None, minimum=0.0
    )
    steps: int | None = option("budget in optimiser steps (instead of epochs)", default=None, minimum=1)
    validations: int = option("times the validation set is scored", default=10, minimum=1)
    monitor: Monitor = option("what decides the best weights and the end", default="metric")
    patience: int | None = option(
        "end after so many validations without a better value", default=None, minimum=1
    )

    def __post_init__(self) -> None:
        _one_budget(self.epochs, self.steps)


@dataclass(frozen=True)
class CaseSettings:
    """Settings that hold for data sets of some size only; later cases win over earlier ones."""

    images_from: int = option("holds from so many training images on", default=0, minimum=0)
    images_below: int | None = option("holds below so many training images", default=None, minimum=1)
    side_from: int = option("holds from this side of the stored images on", default=0, minimum=0)
    side_below: int | None = option("holds below this side", default=None, minimum=1)
    steps: int | None = option("as the recipe's key", default=None, minimum=1)
    warmup_steps: int | None = option("as the recipe's key", default=None, minimum=0)
    mixup: float | None = option("as the recipe's key", default=None, minimum=0.0)
    resize: int | None = option("as the recipe's key", default=None, minimum=8)
    crop: int | None = option("as the recipe's key", default=None, minimum=8)


@dataclass(frozen=True)
class SearchSettings:
    """The same search for every init: one run a learning rate; the best on validation is taken."""

    learning_rates: tuple[float, ...] = option("candidates", minimum=0.0)
    epochs: float | None = option("budget of a candidate; default: the recipe's", default=None)
    steps: int | None = option("budget of a candidate in steps", default=None, minimum=1)
    seed: int = option("seed of the candidates' runs", default=0, minimum=0)

    def __post_init__(self) -> None:
        if len(set(self.learning_rates)) < max(2, len(self.learning_rates)):
            raise ConfigError(
                f"key 'learning_rates' is {list(self.learning_rates)}; allowed: at least two, each once"
            )
        if min(self.learning_rates) <= 0:
            raise ConfigError(
                f"key 'learning_rates' is {list(self.learning_rates)}; allowed: rates above 0"
            )
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("give the budget as either 'epochs' or 'steps', not both")


@dataclass(frozen=True)
class RecipeSettings:
    """Optimiser, schedule, augmentation, batch and budget of a training run."""

    base: str | None = option(
        "name of the recipe file beside this one whose keys hold where this file gives none",
        default=None,
    )
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "lamb"] = option("optimiser", default="adamw")
    learning_rate: float = option("peak learning rate", default=1e-3, minimum=0.0)
    layer_decay: float = option(
        "factor on the learning rate of each unit below the head, once more with each unit",
        default=1.0,
        minimum=0.0,
        maximum=1.0,
    )
    weight_decay: float = option(
        "decay of weight matrices; biases and norms have none", default=0.05, minimum=0.0
    )
    momentum: float = option("momentum of sgd and rmsprop", default=0.9, minimum=0.0, maximum=1.0)
    batch_size: int = option("images a step", default=32, minimum=1)
    micro_batch_size: int | None = option(
        "images that go through the network at once, where a batch doesn't fit into memory: a step "
        "adds up the gradients of such pieces. As without, but for rounding, and for batch norm, which "
        "sees the pieces one by one",
        default=None,
        minimum=1,
    )
    epochs: float | None = option(
        "budget in passes over the training images", default=None, minimum=0.0
    )
    steps: int | None = option("budget in optimiser steps (instead of epochs)", default=None, minimum=1)
    warmup: float = option(
        "share of the budget with a rising rate", default=0.05, minimum=0.0, maximum=1.0
    )
    warmup_steps: int | None = option(
        "steps with a rising rate (instead of warmup)", default=None, minimum=0
    )
    warmup_start: float | None = option(
        "learning rate of the first step, from which it rises to the peak at the first step after the "
        "warm-up; default: the peak through the number of warm-up steps, and the peak at the last",
        default=None,
        minimum=0.0,
    )
    schedule: Literal["cosine", "constant", "steps", "plateau"] = option(
        "after the warm-up", default="cosine"
    )
    decay_at: tuple[float, ...] = option(
        "schedule 'steps': shares of the budget at which the rate falls", default=(), minimum=0.0
    )
    decay_factor: float = option(
        "schedules 'steps' and 'plateau': factor of each fall", default=0.1, minimum=0.0, maximum=1.0
    )
    plateau_patience: int = option(
        "schedule 'plateau': validations without a better value of 'monitor' that are waited for",
        default=3,
        minimum=0,
    )
    stop_below: float | None = option(
        "end at the validation after which the learning rate is below this", default=None, minimum=0.0
    )
    gradient_clip: float | None = option("largest gradient norm", default=None, minimum=0.0)
    validations: int = option("times the validation set is scored in a run", default=10, minimum=1)
    monitor: Monitor = option(
        "what of the validation part decides the best weights: the data set's target metric, the loss, "
        "or the accuracy",
        default="metric",
    )
    patience: int | None = option(
        "end after so many validations without a better value", default=None, minimum=1
    )
    train: Literal["all", "head"] = option(
        "which weights learn; head: a linear probe of the frozen body", default="all"
    )
    head_first: HeadStageSettings | None = option("a stage before, for the head alone", default=None)
    zero_head: bool = option("start the head's weights at zero", default=False)
    class_weights: Literal["none", "balanced"] = option(
        "balanced: each class (of an output) counts the same in the loss", default="none"
    )
    label_smoothing: float = option(
        "share of the target that is spread over all classes", default=0.0, minimum=0.0, maximum=1.0
    )
    mixup: float = option("alpha of the Beta distribution; 0: none", default=0.0, minimum=0.0)
    dropout: float = option("before the head", default=0.0, minimum=0.0, maximum=0.99)
    drop_path: float = option(
        "stochastic depth, the rate of the last block", default=0.0, minimum=0.0, maximum=0.99
    )
    resize: int | None = option("side to which stored images are resized", default=None, minimum=8)
    crop: int | None = option(
        "side that is cut out: at random in training, the centre in evaluation", default=None, minimum=8
    )
    augmentation: AugmentationSettings = option(
        "random changes of the images", default=AugmentationSettings()
    )
    normalisation: Literal["source", "training_images"] = option(
        "source: the one its weights were trained with ([-1, 1] for other starts); "
        "training_images: their mean and standard deviation, whatever the start",
        default="source",
    )
    cases: tuple[CaseSettings, ...] = option("what depends on the size of the data set", default=())
    search: SearchSettings | None = option(
        "choose the learning rate on validation, for each data set, network and init", default=None
    )
    precision: Literal["auto", "float32", "bfloat16", "fast"] = option(
        "of the forward pass; auto: bfloat16 on a GPU, float32 on the CPU; fast: bfloat16 where it was "
        "measured to be faster, by at least a tenth, for this network on this processor",
        default="auto",
    )

    def __post_init__(self) -> None:
        if self.base is not None:
            raise ConfigError(f"key 'base' is '{self.base}'; allowed: only in files of config/recipes/")
        _one_budget(self.epochs, self.steps)
        if (self.schedule == "steps") != bool(self.decay_at):
            raise ConfigError(
                "schedule 'steps' needs the key 'decay_at', and no other schedule takes it"
            )
        if any(share > 1 for share in self.decay_at):
            raise ConfigError(f"key 'decay_at' is {list(self.decay_at)}; allowed: shares up to 1")
        if self.warmup_start is not None and self.warmup_start >= self.learning_rate:
            raise ConfigError(
                f"key 'warmup_start' is {self.warmup_start}; allowed: below the learning rate, "
                f"{self.learning_rate}"
            )
        if self.train == "head" and self.head_first is not None:
            raise ConfigError("key 'head_first' needs 'train: all'; a linear probe has one stage")

    def total_steps(self, images: int) -> int:
        """Optimiser steps of a run on ``images`` training images, at least one."""
        return budget_steps(self.epochs, self.steps, images, self.batch_size)

    def total_warmup_steps(self, total: int) -> int:
        """Steps with a rising rate in a run of ``total`` steps."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return math.ceil(round(self.warmup * total, 9))  # 0.07 * 100 is a little above 7

    def input_side(self, side: int) -> int:
        """Side of the images that the network sees, for stored images of this side."""
        return self.crop or self.resize or side

    def for_data(self, images: int, side: int) -> RecipeSettings:
        """The recipe with its cases applied, for so many training images of this stored side.

        Raises:
            ConfigError: the crop is larger than the images.
        """
        chosen: dict[str, object] = {}
        for case in self.cases:
            if _holds(case, images, side):
                chosen |= {
                    key: getattr(case, key)
                    for key in ("steps", "warmup_steps", "mixup", "resize", "crop")
                    if getattr(case, key) is not None
                }
        if "steps" in chosen:
            chosen["epochs"] = None
        recipe = dataclasses.replace(self, cases=(), **chosen)  # type: ignore[arg-type]
        whole = recipe.resize or side
        if recipe.crop is not None and recipe.crop > whole:
            raise ConfigError(f"key 'crop' is {recipe.crop}; allowed: up to the images' side, {whole}")
        return recipe


def budget_steps(epochs: float | None, steps: int | None, images: int, batch_size: int) -> int:
    """Optimiser steps of a budget given in epochs or in steps, at least one."""
    if steps is not None:
        return steps
    return max(1, round(float(epochs or 0.0) * images / batch_size))


def _holds(case: CaseSettings, images: int, side: int) -> bool:
    return case.images_from <= images < (case.images_below or images + 1) and case.side_from <= side < (
        case.side_below or side + 1
    )


def _one_budget(epochs: float | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise ConfigError("give the budget as either 'epochs' or 'steps', not both and not neither")
