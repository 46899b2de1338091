"""The endless stream of training batches, decided by a seed and the recipe alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medtransfer.seeds import derived_seed
from medtransfer.training.inputs import training_images
from medtransfer.training.pixels import PixelReader, sent
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


class TrainingBatches:
    """Shuffled, randomly changed and mixed batches without end; each of the three has its own draws."""

    def __init__(self, part: Part, specification: Specification) -> None:
        seed = specification.seed
        self._labels = part.labels
        self._reader = PixelReader(part.pixels)
        self._recipe = specification.recipe
        order = torch.Generator().manual_seed(derived_seed(seed, "order"))
        self._rows = ShuffledRows(len(part.pixels), self._recipe.batch_size, order)
        self._augmentation = torch.Generator().manual_seed(derived_seed(seed, "augmentation"))
        self._mixing = np.random.default_rng(derived_seed(seed, "mixup"))

    def __next__(self) -> Batch:
        rows = next(self._rows)
        pixels = self._reader.take(rows, self._rows.upcoming)
        images = training_images(pixels, self._recipe, self._augmentation)
        batch = Batch(images, self._labels[sent(rows, self._labels.device)])
        return mixed(batch, self._recipe.mixup, self._mixing) if self._recipe.mixup else batch

    def state_dict(self) -> dict[str, Any]:
        """What decides all batches to come."""
        return {
            "rows": self._rows.state_dict(),
            "augmentation": self._augmentation.get_state(),
            "mixing": self._mixing.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the batches did whose state this is."""
        self._rows.load_state_dict(state["rows"])
        self._augmentation.set_state(state["augmentation"])
        self._mixing.bit_generator.state = state["mixing"]


class ShuffledRows:
    """Endless epochs of shuffled rows; an incomplete last batch is dropped unless alone."""

    def __init__(self, count: int, size: int, generator: torch.Generator) -> None:
        self._count = count
        self._size = size
        self._generator = generator
        self._shuffle()

    def __next__(self) -> torch.Tensor:
        if self._taken == len(self._batches):
            self._shuffle()
        self._taken += 1
        return self._batches[self._taken - 1]

    @property
    def upcoming(self) -> torch.Tensor | None:
        """The rows after those given last; None where the next epoch isn't shuffled yet."""
        return self._batches[self._taken] if self._taken < len(self._batches) else None

    def state_dict(self) -> dict[str, Any]:
        """The generator as it was before this epoch, and the place in the epoch."""
        return {"generator": self._before, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at another place."""
        self._generator.set_state(state["generator"])
        self._shuffle()
        self._taken = state["taken"]

    def _shuffle(self) -> None:
        self._before = self._generator.get_state()
        order = torch.randperm(self._count, generator=self._generator)
        whole = min(self._size, self._count)
        self._batches = [rows for rows in torch.split(order, self._size) if len(rows) == whole]
        self._taken = 0


def pieces(batch: Batch, size: int | None) -> Iterator[Batch]:
    """A batch in pieces of at most this many images, as equal as can be; whole without a size."""
    count = 1 if size is None else math.ceil(len(batch.images) / size)
    images, labels = batch.images.tensor_split(count), batch.labels.tensor_split(count)
    others: Sequence[torch.Tensor | None] = (
        [None] * count if batch.other_labels is None else batch.other_labels.tensor_split(count)
    )
    for parts in zip(images, labels, others, strict=True):
        yield Batch(*parts, batch.share)


def mixed(batch: Batch, alpha: float, generator: np.random.Generator) -> Batch:
    """MixUp (Zhang et al. 2018): the weighted mean of each image and another one of the batch.

    The share is drawn from Beta(alpha, alpha), once a batch as in BiT (Kolesnikov et al. 2020).
    """
    share = float(generator.beta(alpha, alpha))
    others = sent(torch.from_numpy(generator.permutation(len(batch.images))), batch.images.device)
    images = share * batch.images + (1 - share) * batch.images[others]
    return Batch(images, batch.labels, batch.labels[others], share)
