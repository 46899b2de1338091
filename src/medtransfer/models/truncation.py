"""Truncated networks: the first units of a network under a new head.

Raghu et al. ("Transfusion", 2019) and Ke et al. ("CheXtransfer", 2021) found that the late units of
ImageNet networks can be cut off; Matsoukas et al. (2022) use the first five blocks of DeiT-S.
"""

from __future__ import annotations

import torch
from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.models.shapes import evaluating, input_shape, run_on_shapes
from medtransfer.models.units import Cut, Unit, classifier_names, is_norm, network_units


def truncate(network: nn.Module, first_units: int, image: tuple[int, int, int]) -> None:
    """Keep, in place, the first units and fit the head to what the last of them gives.

    Args:
        network: a whole network.
        first_units: how many to keep, the stem counted, the head not.
        image: channels, height and width of its images.

    Raises:
        ConfigError: fewer units than that, or a network that can't be cut there.
    """
    units = network_units(network)
    body, head = units[:-1], units[-1]
    if first_units > len(body):
        names = ", ".join(unit.name for unit in body)
        raise ConfigError(
            f"key 'first_units' is {first_units}; allowed: up to {len(body)}, the units of this "
            f"network before its head ({names})"
        )
    for unit in body[first_units:]:
        for member in unit.members:
            network.set_submodule(member, Cut(), strict=True)
    last = body[first_units - 1].name
    try:
        _fit_head(network, head, image)
        run_on_shapes(network, image)
        _check_cut(network, body[:first_units], image)
    except ConfigError as error:
        raise ConfigError(f"this network can't be cut after its unit {last}: {error}") from error


def _check_cut(network: nn.Module, kept: tuple[Unit, ...], image: tuple[int, int, int]) -> None:
    """Refuse a network that counts its units otherwise, or whose logits no longer see the image.

    The second happens where a class token is read that has met no block yet.
    """
    if [unit.name for unit in network_units(network)[:-1]] != [unit.name for unit in kept]:
        raise ConfigError("its units are not one after the other")
    count = image[0] * image[1] * image[2]
    given = torch.linspace(-1, 1, count).reshape(1, *image).requires_grad_()
    with evaluating(network):
        logits = network(given)
    try:
        gradient = torch.autograd.grad(logits.sum(), given)[0]
    except RuntimeError as error:  # an activation in place after what needed its input
        raise ConfigError(f"it could not be trained: {error}") from error
    if not gradient.any():
        raise ConfigError("its logits would not depend on the image")


def _fit_head(network: nn.Module, head: Unit, image: tuple[int, int, int]) -> None:
    """Give the norm and the classifiers of the head the width that comes in, at their fresh start."""
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if head.holds(name) and (is_norm(module) or isinstance(module, nn.Linear | nn.Conv2d))
    ]
    first, layer = layers[0]
    shape = input_shape(network, image, first)
    width = shape[_channel_dimension(layer, shape)]
    classifiers = classifier_names(network)
    for name, layer in layers:
        if is_norm(layer):
            _resize_norm(layer, width)
        elif name in classifiers:
            network.set_submodule(name, _classifier_of(layer, width), strict=True)
        elif _input_width(layer) != width:
            raise ConfigError(f"its head has a layer {name} of another width")


def _channel_dimension(layer: nn.Module, shape: torch.Size) -> int:
    """Where a layer looks for channels: first in feature maps, last in tokens and pooled features."""
    last = isinstance(layer, nn.Linear) or type(layer) is nn.LayerNorm or len(shape) != 4
    return -1 if last else 1


def _resize_norm(norm: nn.Module, width: int) -> None:
    for name, parameter in list(norm.named_parameters(recurse=False)):
        start = torch.full((width,), 1.0 if name == "weight" else 0.0)
        setattr(norm, name, nn.Parameter(start, requires_grad=parameter.requires_grad))
    for name, buffer in list(norm.named_buffers(recurse=False)):
        if buffer.ndim:
            setattr(norm, name, torch.full((width,), 1.0 if name == "running_var" else 0.0))
    for name, value in (
        ("num_features", width), ("num_channels", width), ("normalized_shape", (width,))
    ):  # fmt: skip
        if hasattr(norm, name):
            setattr(norm, name, value)


def _input_width(layer: nn.Module) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels  # type: ignore


def _classifier_of(layer: nn.Module, width: int) -> nn.Module:
    """A fresh classifier like ``layer`` for another width."""
    bias = layer.bias is not None
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(width, layer.out_channels, layer.kernel_size, bias=bias)  # type: ignore
    return nn.Linear(width, layer.out_features, bias=bias)  # type: ignore
