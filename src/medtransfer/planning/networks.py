"""What an image costs in a network, and what its weights weigh, found without computing anything."""

from __future__ import annotations

import json

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.config.typed import parse
from medtransfer.models.build import build_network, input_channels
from medtransfer.models.shapes import run_on_shapes
from medtransfer.models.slim import build_slim_hybrid
from medtransfer.models.truncation import truncate
from medtransfer.models.units import classifier_names
from medtransfer.planning.network_costs import Network, NetworkCost


def count(network: Network) -> NetworkCost:
    """The cost of a network with one output.

    Raises:
        ConfigError: settings that don't go together.
    """
    settings = parse(ModelSettings, json.loads(network.settings), "network")
    slim = Init("source", network.whole_units, "slim")
    init = Init() if network.whole_units < 0 else slim
    return network_cost(settings, init, network.channels, 1, network.side)


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
    return NetworkCost(
        counter.get_total_flops(),
        sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        sum(_weight(network, name).numel() // outputs for name in classifier_names(network)),
    )


def _weight(network: nn.Module, layer: str) -> torch.Tensor:
    return network.get_parameter(f"{layer}.weight")


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
