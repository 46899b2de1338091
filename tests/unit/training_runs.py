"""Short runs of a small network on an easy problem, shared by the tests of training."""

from __future__ import annotations

import numpy as np
import torch

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.training.specification import Part, Specification

CPU = torch.device("cpu")
SIDE = 12
NAMES = ("a", "b", "c")
MODEL = ModelSettings("cbr", {"channels": [8, 16], "kernel_size": 3})


def specification(task: str = "binary", **changes: object) -> Specification:
    """A short run; ``changes`` are of the recipe, except for the specification's own."""
    names = ("init", "seed", "model", "mean", "std", "metric", "arithmetic")
    own = {name: changes.pop(name) for name in names if name in changes}
    settings = {"steps": 6, "batch_size": 8, "validations": 3, "warmup": 0.0} | changes
    metrics = {"binary": "auroc", "multiclass": "balanced_accuracy", "multilabel": "auroc",
               "ordinal": "quadratic_kappa"}  # fmt: skip
    return Specification(
        **{
            "task": task,
            "outputs": ("positive",) if task == "binary" else NAMES,
            "metric": metrics[task],
            "model": MODEL,
            "recipe": RecipeSettings(**settings),
            "init": "random",
            "seed": 0,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
        }
        | own
    )


def problem(task: str, count: int = 48, channels: int = 1, seed: int = 0) -> Part:
    """Noise with a bright square: its place is the class, several places are several labels."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 60, (count, SIDE, SIDE, channels))
    if task == "multilabel":
        labels = generator.integers(0, 2, (count, 3)).astype(np.float64)
        present = labels.copy()
        labels[generator.random((count, 3)) < 0.2] = np.nan
    else:
        classes = 2 if task == "binary" else 3
        labels = generator.permutation(np.arange(count) % classes)
        present = np.eye(3)[labels]
        present[:, 0] *= task != "binary"
    for k in range(3):
        # a vertical bar, a horizontal bar, a block: pooling keeps the kind, not the place
        area = (slice(1, 11), slice(1, 3)), (slice(8, 10), slice(4, 12)), (slice(1, 5), slice(6, 10))
        pixels[:, area[k][0], area[k][1]] += (150 * present[:, k]).astype(int)[:, None, None, None]
    return Part(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))


def parts_of(task: str, **arguments: int) -> dict[str, Part]:
    names = ("train", "validation", "test")
    return {name: problem(task, seed=i, **arguments) for i, name in enumerate(names)}
