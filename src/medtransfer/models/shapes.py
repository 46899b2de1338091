"""The shapes that a network gives, found without computing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from medtransfer.errors import ConfigError

# what networks raise when they are given an image, or features, that they weren't made for
_WRONG_SHAPE = (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, LookupError)


class _Reached(Exception):
    """The module whose input was wanted has been called."""


def output_shapes(
    network: nn.Module, image: tuple[int, int, int], modules: Sequence[str]
) -> dict[str, torch.Size]:
    """Shapes of what the named modules give for one image of shape (channels, height, width).

    Raises:
        ConfigError: the network doesn't take such an image.
    """
    shapes: dict[str, torch.Size] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape})
        )
        for name in modules
    ]
    try:
        run_on_shapes(network, image)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def input_shape(network: nn.Module, image: tuple[int, int, int], module: str) -> torch.Size:
    """Shape of what the named module is given; what comes after it is not run.

    Raises:
        ConfigError: the network doesn't take such an image, or doesn't call the module.
    """
    shapes: list[torch.Size] = []

    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        shapes.append(inputs[0].shape)
        raise _Reached

    hook = network.get_submodule(module).register_forward_pre_hook(note)
    try:
        run_on_shapes(network, image)
    except _Reached:
        return shapes[0]
    finally:
        hook.remove()
    raise ConfigError(f"the network doesn't call its module {module}")


def run_on_shapes(network: nn.Module, image: tuple[int, int, int]) -> torch.Size:
    """The shape of the logits for one image of shape (channels, height, width).

    Runs on torch's "meta" device, in evaluation mode: nothing is allocated and nothing changes.

    Raises:
        ConfigError: the network doesn't take such an image.
    """
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    try:
        with torch.no_grad(), evaluating(network):
            given = torch.empty(1, *image, device="meta")
            logits: torch.Tensor = torch.func.functional_call(network, meta, (given,))
    except _WRONG_SHAPE as error:
        raise ConfigError(f"the network doesn't take images of shape {image}: {error}") from error
    return logits.shape


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module then returns to its own mode."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
