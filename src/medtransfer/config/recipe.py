"""The settings of a training recipe: everything that decides a run beside its data and start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError


@dataclass(frozen=True)
class AugmentationSettings:
    """Random changes of a training image, drawn independently for each image."""

    flip_horizontal: float = option("probability", default=0.0, minimum=0.0, maximum=1.0)
    flip_vertical: float = option("probability", default=0.0, minimum=0.0, maximum=1.0)
    rotate: float = option("largest angle in degrees", default=0.0, minimum=0.0, maximum=180.0)
    scale: float = option(
        "largest change of size, as a share of it", default=0.0, minimum=0.0, maximum=0.9
    )
    translate: float = option(
        "largest shift, as a share of the side", default=0.0, minimum=0.0, maximum=0.5
    )
    brightness: float = option("largest relative change", default=0.0, minimum=0.0, maximum=1.0)
    contrast: float = option("largest relative change", default=0.0, minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class RecipeSettings:
    """Optimiser, schedule, augmentation, batch and budget of a training run."""

    optimizer: Literal["adamw", "adam", "sgd"] = option("optimiser", default="adamw")
    learning_rate: float = option("peak learning rate", default=1e-3, minimum=0.0)
    weight_decay: float = option(
        "decay of weight matrices; biases and norms have none", default=0.05, minimum=0.0
    )
    momentum: float = option("momentum of sgd", default=0.9, minimum=0.0, maximum=1.0)
    batch_size: int = option("images a step", default=32, minimum=1)
    epochs: float | None = option(
        "budget in passes over the training images", default=None, minimum=0.0
    )
    steps: int | None = option("budget in optimiser steps (instead of epochs)", default=None, minimum=1)
    warmup: float = option(
        "share of the budget with a rising rate", default=0.05, minimum=0.0, maximum=1.0
    )
    schedule: Literal["cosine", "constant"] = option("after the warm-up", default="cosine")
    gradient_clip: float | None = option("largest gradient norm", default=None, minimum=0.0)
    validations: int = option("times the validation set is scored in a run", default=10, minimum=1)
    augmentation: AugmentationSettings = option(
        "random changes of the images", default=AugmentationSettings()
    )
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "arithmetic of the forward pass; auto: bfloat16 on a GPU, float32 on the CPU",
        default="auto",
    )

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError("give the budget as either 'epochs' or 'steps', not both and not neither")

    def total_steps(self, images: int) -> int:
        """Optimiser steps of a run on ``images`` training images, at least one."""
        if self.steps is not None:
            return self.steps
        return max(1, round(float(self.epochs or 0.0) * images / self.batch_size))
