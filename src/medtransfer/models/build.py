"""Networks by name: the CBR family, the Keras form of ResNet-50, and every timm classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.typed import suggestion
from medtransfer.errors import ConfigError
from medtransfer.models.cbr import CBR
from medtransfer.models.units import classifier_names

# what architectures raise when they are given arguments that they can't use
_WRONG_ARGUMENTS = (
    TypeError,
    ValueError,
    RuntimeError,
    AssertionError,
    AttributeError,
    LookupError,
    ZeroDivisionError,
)


def build_network(
    settings: ModelSettings, channels: int, outputs: int, image_size: int, seed: int
) -> nn.Module:
    """A whole network at its framework's own random start; ``first_units`` is not looked at.

    Args:
        settings: architecture and its arguments.
        channels: input channels, 1 or 3.
        outputs: number of logits.
        image_size: side of the images; passed to networks that are built for one size.
        seed: of the random start; the global generator is left as it was.

    Raises:
        ConfigError: unknown architecture, or arguments that it doesn't take.
    """
    arguments = {**settings.arguments, "in_chans": channels, "num_classes": outputs}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            if settings.architecture == "cbr":
                return CBR(**arguments)
            if settings.architecture == "resnet50_keras":
                from medtransfer.models.keras_resnet import keras_resnet50

                return keras_resnet50(**arguments)
            return _timm_network(settings.architecture, arguments, image_size)
        except _WRONG_ARGUMENTS as error:
            raise ConfigError(f"architecture {settings.architecture}: {error}") from error


def _timm_network(architecture: str, arguments: dict[str, Any], image_size: int) -> nn.Module:
    import timm  # here, since a CBR run needs none of its import time

    if not timm.is_model(architecture):
        known = timm.list_models()
        raise ConfigError(
            f"unknown architecture '{architecture}'{suggestion(architecture, known)} "
            "(allowed: cbr, resnet50_keras, or a name that timm.list_models() gives)"
        )
    default = timm.get_pretrained_cfg(architecture)
    if default is not None and default.fixed_input_size and image_size != default.input_size[-1]:
        arguments = {"img_size": image_size, **arguments}
    network: nn.Module = timm.create_model(architecture, **arguments)
    return network


def input_channels(settings: ModelSettings, stored: int) -> int:
    """Input channels of the network for images stored with so many."""
    return 3 if settings.grey_input == "repeat" else stored


def head_prefixes(network: nn.Module) -> tuple[str, ...]:
    """Module prefixes, each ending in a dot, of the layers that produce the logits."""
    return tuple(f"{name}." for name in classifier_names(network))
