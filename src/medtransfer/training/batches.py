"""The endless stream of training batches, decided by a seed and the recipe alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from medtransfer.seeds import derived_seed
from medtransfer.training.inputs import training_images
from medtransfer.training.specification import Part, Specification


@dataclass(frozen=True)
class Batch:
    """Images in [0, 1], N x C x H x W, with their labels.

    Attributes:
        other_labels: of the images that were mixed in; None without MixUp.
        share: how much the first labels count.
    """

    images: torch.Tensor
    labels: torch.Tensor
    other_labels: torch.Tensor | None = None
    share: float = 1.0


def training_batches(part: Part, specification: Specification) -> Iterator[Batch]:
    """Shuffled, randomly changed and mixed batches without end."""
    recipe, seed = specification.recipe, specification.seed
    order = torch.Generator().manual_seed(derived_seed(seed, "order"))
    augmentation = torch.Generator().manual_seed(derived_seed(seed, "augmentation"))
    mixing = np.random.default_rng(derived_seed(seed, "mixup"))
    for rows in shuffled_rows(len(part.pixels), recipe.batch_size, order):
        chosen = rows.to(part.pixels.device)
        batch = Batch(training_images(part.pixels[chosen], recipe, augmentation), part.labels[chosen])
        yield mixed(batch, recipe.mixup, mixing) if recipe.mixup else batch


def shuffled_rows(count: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Endless epochs of shuffled rows; an incomplete last batch is dropped unless alone."""
    while True:
        order = torch.randperm(count, generator=generator)
        whole = [batch for batch in torch.split(order, size) if len(batch) == min(size, count)]
        yield from whole


def mixed(batch: Batch, alpha: float, generator: np.random.Generator) -> Batch:
    """MixUp (Zhang et al. 2018): the weighted mean of each image and another one of the batch.

    The share is drawn from Beta(alpha, alpha), once a batch as in BiT (Kolesnikov et al. 2020).
    """
    share = float(generator.beta(alpha, alpha))
    others = torch.from_numpy(generator.permutation(len(batch.images))).to(batch.images.device)
    images = share * batch.images + (1 - share) * batch.images[others]
    return Batch(images, batch.labels, batch.labels[others], share)
