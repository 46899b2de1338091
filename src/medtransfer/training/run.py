"""One run: fine-tune a network and keep its best weights, its curve and its predictions."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medtransfer.config.dataset import Metric, Task
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.recipe import RecipeSettings
from medtransfer.errors import TrainingError
from medtransfer.evaluation.metrics import Predictions, evaluate
from medtransfer.models.build import build_network
from medtransfer.models.initialisation import initialise
from medtransfer.models.weights import StateDict
from medtransfer.training.augmentation import augment
from medtransfer.training.optimisation import build_optimizer, learning_rate_factor

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Specification:
    """What decides a run's result, beside the images.

    Attributes:
        init: ``random``, ``<source>`` or ``<source>-stats``.
        mean, std: input normalisation per channel, of images in [0, 1].
    """

    task: Task
    outputs: tuple[str, ...]
    metric: Metric
    model: ModelSettings
    recipe: RecipeSettings
    init: str
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Part:
    """The images of one part: pixels uint8 or uint16, N x H x W x C; labels as in Predictions."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass
class Outcome:
    """What a run leaves behind.

    Attributes:
        weights: of the validation step with the best target metric, the earliest of equals.
        history: one entry a validation.
        logits: of each evaluated part, float32, N x K.
    """

    weights: StateDict = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    best_step: int = -1
    best_value: float = float("-inf")
    facts: dict[str, object] = field(default_factory=dict)


def train(
    specification: Specification, parts: dict[str, Part], source: StateDict, device: torch.device
) -> Outcome:
    """Fine-tune on ``parts["train"]``, select on ``parts["validation"]``, predict all other parts.

    Args:
        specification: the run.
        parts: the images; everything beside ``train`` is predicted with the selected weights.
        source: pre-trained weights; empty for the init ``random``.
        device: where to compute.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    network = starting_network(specification, parts["train"], source)
    network = network.to(device).to(memory_format=torch.channels_last)
    parts = {name: _on_device(part, device) for name, part in parts.items()}
    started = time.perf_counter()
    outcome = _fit(network, specification, parts)
    trained = time.perf_counter()
    network.load_state_dict(outcome.weights)
    for name, part in parts.items():
        if name != "train":
            outcome.logits[name] = predict(network, part.pixels, specification)
    outcome.facts |= {
        "training_seconds": trained - started,
        "evaluation_seconds": time.perf_counter() - trained,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    return outcome


def starting_network(specification: Specification, images: Part, source: StateDict) -> nn.Module:
    """The network at step 0, a pure function of model, init, source weights and seed."""
    _, _, size, channels = images.pixels.shape
    network = build_network(
        specification.model,
        channels,
        len(specification.outputs),
        size,
        derived_seed(specification.seed, "weights"),
    )
    kind = parse_init(specification.init).kind
    initialise(network, kind, source, derived_seed(specification.seed, "stats"))
    return network


def derived_seed(seed: int, purpose: str) -> int:
    """Independent seeds for weights, order, augmentation and dropout, so that pairs share them."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _on_device(part: Part, device: torch.device) -> Part:
    return Part(part.pixels.to(device), part.labels.to(device))


def _fit(network: nn.Module, specification: Specification, parts: dict[str, Part]) -> Outcome:
    """The optimisation; returns the outcome with weights and history."""
    recipe, training = specification.recipe, parts["train"]
    total = recipe.total_steps(len(training.pixels))
    optimizer = build_optimizer(network, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total, recipe)
    )
    torch.manual_seed(derived_seed(specification.seed, "dropout"))
    augmentation = torch.Generator().manual_seed(derived_seed(specification.seed, "augmentation"))
    order = torch.Generator().manual_seed(derived_seed(specification.seed, "order"))
    batches = _batches(len(training.pixels), recipe.batch_size, order)
    stops = {round(total * (i + 1) / recipe.validations) for i in range(recipe.validations)}
    outcome = Outcome()
    validate(network, specification, parts["validation"], outcome, 0, float("nan"))
    losses: list[torch.Tensor] = []
    for step in range(1, total + 1):
        rows = next(batches).to(training.pixels.device)
        images = to_floats(training.pixels[rows])
        images = augment(images, recipe.augmentation, augmentation)
        network.train()
        losses.append(_step(network, specification, images, training.labels[rows], optimizer))
        schedule.step()
        if step in stops:
            loss = _mean_loss(losses, step)
            losses.clear()
            validate(network, specification, parts["validation"], outcome, step, loss)
    per_epoch = max(1, len(training.pixels) / recipe.batch_size)
    for entry in outcome.history:
        entry["epoch"] = entry["step"] / per_epoch
    return outcome


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Endless epochs of shuffled rows; an incomplete last batch is dropped unless alone."""
    while True:
        order = torch.randperm(count, generator=generator)
        whole = [batch for batch in torch.split(order, size) if len(batch) == min(size, count)]
        yield from whole


def to_floats(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 or uint16, N x H x W x C, to float32 in [0, 1], N x C x H x W in channels-last memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(float(torch.iinfo(pixels.dtype).max))


def _step(
    network: nn.Module,
    specification: Specification,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
) -> torch.Tensor:
    """One optimiser step; returns the loss without waiting for the device."""
    logits = _logits(network, images, specification)
    loss = loss_of(logits, labels, specification.task)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if specification.recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), specification.recipe.gradient_clip)
    optimizer.step()
    return loss.detach()


def loss_of(logits: torch.Tensor, labels: torch.Tensor, task: Task) -> torch.Tensor:
    """Cross-entropy; per output for binary and multilabel, where unknown (NaN) labels don't count."""
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
    if task == "multilabel":
        known = ~labels.isnan()
        losses = functional.binary_cross_entropy_with_logits(
            logits, labels.nan_to_num().to(logits.dtype), reduction="none"
        )
        return (losses * known).sum() / known.sum().clamp(min=1)
    return functional.cross_entropy(logits, labels)


def _mean_loss(losses: list[torch.Tensor], step: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not np.isfinite(mean):
        first = (
            step
            - len(losses)
            + 1
            + next(i for i, loss in enumerate(losses) if not bool(torch.isfinite(loss)))
        )
        raise TrainingError(
            f"the training loss is not finite from step {first} on; a lower learning rate or a "
            "gradient_clip in the recipe may help"
        )
    return mean


def _logits(network: nn.Module, images: torch.Tensor, specification: Specification) -> torch.Tensor:
    """Logits, float32, N x K, of images in [0, 1], N x C x H x W."""
    with autocast(specification.recipe.precision, images.device):
        logits: torch.Tensor = network(_normalised(images, specification))
        return logits.float()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic of the forward pass: bfloat16 where the recipe says so, float32 elsewhere."""
    low = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def _normalised(images: torch.Tensor, specification: Specification) -> torch.Tensor:
    """Subtract the mean and divide by the std; grey images take the average over colour channels."""
    mean, std = (torch.tensor(v, device=images.device) for v in (specification.mean, specification.std))
    if images.shape[1] == 1:
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    return (images - mean[:, None, None]) / std[:, None, None]


def validate(
    network: nn.Module,
    specification: Specification,
    part: Part,
    outcome: Outcome,
    step: int,
    training_loss: float,
) -> None:
    """Score the validation part, add the entry to the history, keep the weights if they are best."""
    logits = predict(network, part.pixels, specification)
    labels = part.labels.cpu().numpy()
    scores = evaluate(Predictions(specification.task, logits, labels))
    value = scores[specification.metric]
    outcome.history.append(
        {
            "step": step,
            "epoch": 0.0,
            "training_loss": training_loss,
            "validation_loss": scores["negative_log_likelihood"],
            "validation_metric": value,
        }
    )
    first_defined = np.isnan(outcome.best_value) and not np.isnan(value)
    if value > outcome.best_value or first_defined or outcome.best_step < 0:
        outcome.best_step, outcome.best_value = step, value
        outcome.weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


@torch.no_grad()
def predict(network: nn.Module, pixels: torch.Tensor, specification: Specification) -> np.ndarray:
    """Logits in evaluation mode, float32, N x K, of stored pixels, N x H x W x C."""
    network.eval()
    batches = [
        _logits(network, to_floats(batch), specification)
        for batch in torch.split(pixels, EVALUATION_BATCH)
    ]
    return torch.cat(batches).cpu().numpy()
