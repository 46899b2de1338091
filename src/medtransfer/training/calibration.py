"""Measuring how fast a network trains with each arithmetic, for the table of measurements."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.models.build import build_network
from medtransfer.training.arithmetic import (
    MEMORY_FORMATS,
    Arithmetic,
    Measurement,
    Rate,
    attentions,
    network_name,
    prepare,
    processor_model,
)
from medtransfer.training.optimisation import build_optimizer
from medtransfer.training.prediction import autocast

ARITHMETICS = tuple(
    Arithmetic(precision, memory_format)
    for precision in ("float32", "bfloat16")
    for memory_format in ("channels_last", "contiguous")
)


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and seconds of each arithmetic in each round."""

    rounds: int = 5
    seconds: float = 1.0


def measure(
    model: ModelSettings,
    side: int,
    batch_size: int,
    device: torch.device,
    arithmetics: Iterable[Arithmetic] = ARITHMETICS,
    effort: Effort = Effort(),
) -> Measurement:
    """Rates of training steps on one batch, AdamW, in rounds in which each arithmetic has its turn.

    Of a network with attention each is measured with the plain one, too.

    Raises:
        ConfigError: the network can't be built for images of this side.
    """
    arithmetics = list(arithmetics)
    if attentions(build_network(model, 3, 2, side, seed=0)):
        arithmetics += [replace(a, attention="plain") for a in arithmetics]
    steps = {a: fixed_batch_step(model, side, batch_size, a, device) for a in arithmetics}
    seconds = seconds_per_call(steps, device, effort)
    return Measurement(
        processor_model(device),
        torch.get_num_threads(),
        network_name(model),
        side,
        batch_size,
        str(torch.__version__),
        tuple(Rate(a, round(batch_size / each, 2)) for a, each in seconds.items()),
    )


def fixed_batch_step(
    model: ModelSettings, side: int, batch_size: int, arithmetic: Arithmetic, device: torch.device
) -> Callable[[], None]:
    """A training step on one batch of noise that stays on the device, and nothing beside."""
    network = prepare(build_network(model, 3, 2, side, seed=0).train(), arithmetic, device)
    optimizer = build_optimizer(network, RecipeSettings(steps=1))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, side, side, generator=generator).to(device)
    images = images.contiguous(memory_format=MEMORY_FORMATS[arithmetic.memory_format])
    labels = (torch.arange(batch_size) % 2).to(device)

    def step() -> None:
        loss = _loss(network, images, labels, arithmetic)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def _loss(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, arithmetic: Arithmetic
) -> torch.Tensor:
    with autocast(arithmetic.precision, images.device):
        logits = network(images).float()
    return functional.cross_entropy(logits, labels)


def seconds_per_call(
    calls: Mapping[Arithmetic, Callable[[], None]], device: torch.device, effort: Effort
) -> dict[Arithmetic, float]:
    """Median over rounds of the time of one call, after two calls that aren't counted."""
    times: dict[Arithmetic, list[float]] = {key: [] for key in calls}
    for call in calls.values():
        call()
        call()
    for _ in range(effort.rounds):
        for key, call in calls.items():
            times[key].append(mean_seconds(call, device, effort.seconds))
    return {key: statistics.median(found) for key, found in times.items()}


def mean_seconds(call: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Time of one call, over as many as there is time for."""
    count, began = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - began < seconds:
        call()
        count += 1
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / count
