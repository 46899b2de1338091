"""The training loops that benchmarks/training.py sets side by side, each ready to take steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm.data
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import AugmentationSettings, RecipeSettings
from medtransfer.models.build import build_network
from medtransfer.training.arithmetic import (
    choose,
    known_measurements,
    network_name,
    prepare,
    processor_model,
)
from medtransfer.training.batches import TrainingBatches
from medtransfer.training.calibration import fixed_batch_step
from medtransfer.training.learner import Learner
from medtransfer.training.optimisation import Schedule, build_optimizer
from medtransfer.training.selection import Selection
from medtransfer.training.specification import Part, Specification
from medtransfer.training.stages import Stage, take_step

Step = Callable[[], None]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEARNING_RATE, WEIGHT_DECAY = 5e-4, 0.05
AUGMENTATION = AugmentationSettings(
    flip_horizontal=0.5, rotate=10, scale=0.1, translate=0.05, brightness=0.1, contrast=0.1
)
ENDLESS = 10**9
CLASSES = 2


@dataclass(frozen=True)
class Cell:
    """One network at one side.

    Attributes:
        pixels: uint8, N x side x side x 3; image i is of class i mod 2.
        folder: the same images as files, one folder a class.
        table: file of measurements beside those of the package.
    """

    model: ModelSettings
    side: int
    batch_size: int
    workers: int
    device: torch.device
    pixels: np.ndarray
    folder: Path
    table: Path

    def network(self) -> torch.nn.Module:
        return build_network(self.model, 3, CLASSES, self.side, seed=0).train()


def write_pictures(pixels: np.ndarray, folder: Path, suffix: str) -> None:
    """Images as files of ``folder/<class>/``."""
    for i, image in enumerate(pixels):
        path = folder / str(i % CLASSES) / f"{i:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90)


def specification(cell: Cell, precision: str) -> Specification:
    """Of a run of the cell as the pipeline would make it, its arithmetic looked up in the tables."""
    recipe = RecipeSettings(
        steps=ENDLESS, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, schedule="constant",
        batch_size=cell.batch_size, augmentation=AUGMENTATION, precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    found = known_measurements(cell.table).nearest(
        processor_model(cell.device), network_name(cell.model), cell.side, torch.get_num_threads()
    )
    return Specification(
        "multiclass", ("a", "b"), "accuracy", cell.model, recipe, "random", 0, MEAN, STD,  # type: ignore[arg-type]
        arithmetic=choose(precision, cell.device, found),
    )  # fmt: skip


def ours(cell: Cell, precision: str = "fast") -> Step:
    """The steps of this package from a pixel store in memory."""
    plan = specification(cell, precision)
    network = prepare(cell.network(), plan.arithmetic_on(cell.device), cell.device)
    labels = torch.arange(len(cell.pixels)) % CLASSES
    part = Part(torch.from_numpy(cell.pixels).to(cell.device), labels.to(cell.device))
    optimizer = build_optimizer(network, plan.recipe)
    schedule = Schedule(optimizer, plan.recipe, ENDLESS)
    batches = TrainingBatches(part, plan)
    learner = Learner(network, optimizer, schedule, Selection("metric", None), batches)
    stage = Stage("main", plan, 0, 1.0, None)

    def step() -> None:
        take_step(learner, stage)
        learner.losses.clear()

    return step


def ceiling(cell: Cell) -> Step:
    """A bare step on one batch that stays where it is, in the arithmetic of ``ours``."""
    arithmetic = specification(cell, "fast").arithmetic_on(cell.device)
    return fixed_batch_step(cell.model, cell.side, cell.batch_size, arithmetic, cell.device)


def plain_loop(cell: Cell) -> Step:
    """A loop over a folder of pictures as PyTorch's tutorials have it, in float32."""
    changes = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(
                10, (0.05, 0.05), (0.9, 1.1), interpolation=transforms.InterpolationMode.BILINEAR
            ),
            transforms.ColorJitter(0.1, 0.1),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pictures = datasets.ImageFolder(str(cell.folder), changes)
    loader = DataLoader(
        pictures,
        batch_size=cell.batch_size,
        # no end of an epoch, at which all workers would be started anew
        sampler=RandomSampler(pictures, replacement=True, num_samples=ENDLESS),
        num_workers=cell.workers,
        pin_memory=cell.device.type == "cuda",
    )
    network = cell.network().to(cell.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = iter(loader)

    def step() -> None:
        images, labels = (tensor.to(cell.device, non_blocking=True) for tensor in next(batches))
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def timm_loop(cell: Cell) -> Step:
    """timm's loader with its augmentation, its mixed precision (bfloat16) and channels_last."""
    gpu = cell.device.type == "cuda"
    loader = timm.data.create_loader(
        timm.data.ImageDataset(str(cell.folder)),
        input_size=(3, cell.side, cell.side),
        batch_size=cell.batch_size,
        is_training=True,
        color_jitter=0.1,
        mean=MEAN,
        std=STD,
        num_workers=cell.workers,
        use_prefetcher=gpu,
        device=cell.device,
        pin_memory=gpu,
        use_multi_epochs_loader=True,
    )
    network = cell.network().to(cell.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = _endless(loader)

    def step() -> None:
        images, labels = next(batches)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(cell.device.type, torch.bfloat16):
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _endless(loader: Iterable[list[torch.Tensor]]) -> Iterator[list[torch.Tensor]]:
    while True:
        yield from loader


LOOPS: dict[str, Callable[[Cell], Step]] = {
    "ours": ours,
    "ours, float32": lambda cell: ours(cell, "float32"),
    "plain loop": plain_loop,
    "timm": timm_loop,
    "ceiling": ceiling,
}
