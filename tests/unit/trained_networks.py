"""Small networks of several families, weights as after training, and starts from them, for tests."""

from __future__ import annotations

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.start import starting_network

Weights = dict[str, torch.Tensor]

# name: settings and the side of the images
SMALL = {
    "cbr": (ModelSettings("cbr", {"channels": [8, 16, 32], "kernel_size": 5}), 32),
    "vit": (ModelSettings("test_vit", {"depth": 2, "embed_dim": 48, "num_heads": 3}), 32),
    "swin": (
        ModelSettings(
            "swin_tiny_patch4_window7_224",
            {"embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8), "window_size": 2},
        ),
        64,
    ),
    "resnet18": (ModelSettings("resnet18", {"channels": (16, 32, 48, 64)}), 64),
    "efficientnet": (ModelSettings("test_efficientnet"), 64),
}


def small_network(name: str, channels: int = 3, outputs: int = 4, seed: int = 0) -> nn.Module:
    settings, size = SMALL[name]
    return build_network(settings, channels, outputs, size, seed)


def trained_weights(network: nn.Module, seed: int = 99) -> Weights:
    """Weights as after training: no tensor is constant, each has its own mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        mean, spread = (0.5 + torch.rand(2, generator=generator)).tolist()
        noise = torch.randn(tensor.shape, generator=generator)
        values = mean + 0.3 * spread * noise
        if name.endswith("running_var"):
            values = values.abs()
        state[name] = values if tensor.is_floating_point() else tensor + 7
    return state


def started(
    settings: ModelSettings, init: str, source: Weights, *, size: int, seed: int = 1, **images: int
) -> nn.Module:
    """The network of a run whose init has this name, for 3 channels and 4 outputs by default."""
    sizes = {"channels": 3, "outputs": 4, "image_size": size} | images
    return starting_network(settings, parse_init(init), source, seed=seed, **sizes)


def small_start(
    name: str, init: str, source: Weights | None = None, seed: int = 1, channels: int = 3
) -> Weights:
    """The state at step 0 of one of the small networks; from trained weights of its own by default."""
    settings, size = SMALL[name]
    if source is None:
        source = trained_weights(small_network(name))
    network = started(settings, init, source, size=size, seed=seed, channels=channels)
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def is_head(name: str, network: nn.Module) -> bool:
    return name.startswith(head_prefixes(network))


def norm_prefixes(network: nn.Module) -> tuple[str, ...]:
    kinds = (nn.BatchNorm2d, nn.LayerNorm)
    return tuple(f"{n}." for n, m in network.named_modules() if isinstance(m, kinds))
