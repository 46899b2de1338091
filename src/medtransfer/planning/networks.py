"""What an image costs in a network, and what its weights weigh, found without computing anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.models.build import build_network, input_channels
from medtransfer.models.shapes import run_on_shapes
from medtransfer.models.slim import build_slim_hybrid
from medtransfer.models.truncation import truncate


@dataclass(frozen=True)
class NetworkCost:
    """Of one network at one size.

    Attributes:
        operations: floating-point operations of one image's forward pass; a multiplication with its
            addition counts two.
        weight_bytes: of its tensors, parameters and buffers.
    """

    operations: int
    weight_bytes: int


def network_cost(
    settings: ModelSettings, init: Init, channels: int, outputs: int, side: int
) -> NetworkCost:
    """The cost of a run's network.

    Args:
        settings: of the network.
        init: how it starts; a slim start makes it narrower.
        channels: of the stored images.
        outputs: number of logits.
        side: of the images that the network sees.

    Raises:
        ConfigError: settings that don't go together.
    """
    image = (input_channels(settings, channels), side, side)
    network = _network(settings, init, image, outputs)
    with FlopCounterMode(display=False) as counter:
        run_on_shapes(network, image)
    tensors = network.state_dict().values()
    return NetworkCost(counter.get_total_flops(), sum(t.numel() * t.element_size() for t in tensors))


def _network(
    settings: ModelSettings, init: Init, image: tuple[int, int, int], outputs: int
) -> nn.Module:
    """The network; only those that are cut or made narrower need memory for their weights."""
    plain = init.rest != "slim" and settings.first_units is None
    with torch.device("meta" if plain else "cpu"):
        network = build_network(settings, image[0], outputs, image[-1], seed=0)
    if init.rest == "slim":
        network = build_slim_hybrid(settings, network, init.upto or 0, image, 0)
    if settings.first_units is not None:
        truncate(network, settings.first_units, image)
    return network
