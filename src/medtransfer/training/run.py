"""One run: fine-tune a network and keep its best weights, its curve and its predictions."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.typed import plain
from medtransfer.errors import ConfigError
from medtransfer.models.build import head_prefixes
from medtransfer.models.start import starting_network as network_at_start
from medtransfer.models.units import network_units
from medtransfer.models.weights import StateDict
from medtransfer.training.arithmetic import prepare
from medtransfer.training.inputs import pixel_statistics
from medtransfer.training.out_of_memory import with_images_at_once, within_memory
from medtransfer.training.oversight import Oversight
from medtransfer.training.prediction import predict
from medtransfer.training.specification import Outcome, Part, Specification
from medtransfer.training.stages import fit, trial_step


def train(
    specification: Specification,
    parts: dict[str, Part],
    source: StateDict,
    device: torch.device,
    oversight: Oversight | None = None,
) -> Outcome:
    """Fine-tune on ``parts["train"]``, select on ``parts["validation"]``, predict all other parts.

    Args:
        specification: the run.
        parts: the images; everything beside ``train`` is predicted with the selected weights.
        source: pre-trained weights; empty for the init ``random``.
        device: where to compute.
        oversight: what saves the run's state and shows it; by default nothing does. A run that was
            stopped goes on from its state, and comes to the same bits on the CPU.

    Raises:
        ConfigError: the recipe doesn't fit the images or the task.
        TrainingError: the loss is no longer finite, or memory doesn't suffice.
        Stopped: the oversight is told to stop.
    """
    specification = resolved(specification, parts["train"])
    arithmetic = specification.arithmetic_on(device)
    specification = replace(specification, arithmetic=arithmetic)
    oversight = oversight or Oversight()
    oversight.keeper.identify(**identity(specification, device))
    network = starting_network(specification, parts["train"], source)
    network = prepare(network, arithmetic, device)
    parts = {name: _on_device(part, device) for name, part in parts.items()}
    outcome = within_memory(
        lambda: fit(network, specification, parts, oversight),
        lambda images: trial_step(network, with_images_at_once(specification, images), parts["train"]),
        specification,
    )
    training_seconds, trained = oversight.keeper.seconds, time.perf_counter()
    for name, part in parts.items():
        if name != "train":
            outcome.logits[name] = predict(network, part.pixels, specification)
    outcome.facts |= {
        "training_seconds": training_seconds,
        "evaluation_seconds": time.perf_counter() - trained,
        "parameters": sum(p.numel() for p in network.parameters()),
        "units": [unit.name for unit in network_units(network)],
        "images_in_memory": isinstance(parts["train"].pixels, torch.Tensor),
        "image_size": specification.recipe.input_side(parts["train"].pixels.shape[1]),
        "resumed": oversight.keeper.resumed,
        "state_seconds": oversight.keeper.state_seconds,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    return outcome


def identity(specification: Specification, device: torch.device) -> dict[str, str]:
    """What a saved state must share with a run, beside the images, the weights and the code."""
    settings = json.dumps(plain(specification), sort_keys=True)
    return {
        "settings": hashlib.sha256(settings.encode()).hexdigest(),
        "torch": str(torch.__version__),
        "device": device.type,
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def resolved(specification: Specification, training: Part) -> Specification:
    """The specification for these training images: the recipe's cases applied, the normalisation set.

    Raises:
        ConfigError: the recipe doesn't fit the images or the task.
    """
    images, side = training.pixels.shape[:2]
    recipe = specification.recipe.for_data(images, side)
    monitors = {recipe.monitor, recipe.head_first.monitor if recipe.head_first else recipe.monitor}
    if specification.task == "multilabel" and "accuracy" in monitors:
        raise ConfigError(
            "key 'monitor' is 'accuracy', which a multilabel task doesn't have; allowed: metric, loss"
        )
    specification = replace(specification, recipe=recipe)
    if recipe.normalisation == "training_images":
        mean, std = pixel_statistics(training.pixels)
        specification = replace(specification, mean=mean, std=std)
    return specification


def starting_network(specification: Specification, images: Part, source: StateDict) -> nn.Module:
    """The network at step 0, a pure function of model, recipe, init, source weights and seed.

    Args:
        specification: resolved for ``images``.
        images: the training images, whose channels and side count.
        source: weights of the init's source.
    """
    _, _, side, channels = images.pixels.shape
    recipe = specification.recipe
    network = network_at_start(
        with_dropout(specification.model, recipe),
        parse_init(specification.init),
        source,
        channels=channels,
        outputs=len(specification.outputs),
        image_size=recipe.input_side(side),
        seed=specification.seed,
    )
    if recipe.zero_head:
        _zero_head(network)
    return network


def with_dropout(model: ModelSettings, recipe: RecipeSettings) -> ModelSettings:
    """The network with the dropout and the stochastic depth of a recipe, in timm's words."""
    rates = {"drop_rate": recipe.dropout, "drop_path_rate": recipe.drop_path}
    asked = {name: rate for name, rate in rates.items() if rate}
    return replace(model, arguments={**model.arguments, **asked}) if asked else model


@torch.no_grad()
def _zero_head(network: nn.Module) -> None:
    heads = head_prefixes(network)
    for name, parameter in network.named_parameters():
        if name.startswith(heads):
            parameter.zero_()


def _on_device(part: Part, device: torch.device) -> Part:
    return Part(part.pixels.to(device), part.labels.to(device))
