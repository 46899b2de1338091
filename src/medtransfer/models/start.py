"""The network of a run at step 0, a pure function of its settings, its init, a source and a seed."""

from __future__ import annotations

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.models.build import build_network, input_channels
from medtransfer.models.initialisation import body_weights, initialise
from medtransfer.models.shapes import run_on_shapes
from medtransfer.models.slim import build_slim_hybrid
from medtransfer.models.truncation import truncate
from medtransfer.models.weights import StateDict
from medtransfer.seeds import derived_seed


def starting_network(  # noqa: PLR0913 (what a run is made of)
    settings: ModelSettings,
    init: Init,
    source: StateDict,
    *,
    channels: int,
    outputs: int,
    image_size: int,
    seed: int,
) -> nn.Module:
    """Build a run's network and give it its start.

    Args:
        settings: of the network.
        init: how it starts.
        source: the source's weights; empty where the init has none.
        channels: of the stored images, 1 or 3.
        outputs: number of logits.
        image_size: side of the images that the network sees.
        seed: of the run.

    Raises:
        ConfigError: an architecture, arguments, a size or an init that don't go together.
        DataError: the source's tensors are not those of the network.
    """
    image = (input_channels(settings, channels), image_size, image_size)
    weights_seed = derived_seed(seed, "weights")
    network = build_network(settings, image[0], outputs, image_size, weights_seed)
    body = {} if init.source is None else body_weights(network, source, settings.grey_input)
    if init.rest == "slim":
        network = build_slim_hybrid(settings, network, init.upto or 0, image, weights_seed)
    if settings.first_units is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights_seed)
            truncate(network, settings.first_units, image)
    run_on_shapes(network, image)
    initialise(network, init, body, derived_seed(seed, "stats"))
    return network


def random_network(
    settings: ModelSettings,
    init: Init,
    *,
    channels: int,
    outputs: int,
    image_size: int,
    seed: int,
) -> nn.Module:
    """A network of the form that an init gives, at its framework's own random start.

    Args:
        settings: of the network.
        init: only a slim one changes the network's form.
        channels: of the stored images.
        outputs: number of logits.
        image_size: side of the images that the network sees.
        seed: of the random start.
    """
    start, source = Init(), {}
    if init.rest == "slim":  # its first units are a source's: here, of another random network
        full = build_network(
            settings,
            input_channels(settings, channels),
            outputs,
            image_size,
            derived_seed(seed, "slim"),
        )
        start, source = init, full.state_dict()
    return starting_network(
        settings,
        start,
        source,
        channels=channels,
        outputs=outputs,
        image_size=image_size,
        seed=seed,
    )
