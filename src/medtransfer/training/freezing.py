"""Training the head alone, on a body that stays as it is to the last bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from torch import nn

from medtransfer.models.build import head_prefixes


@contextlib.contextmanager
def learning(network: nn.Module, which: Literal["all", "head"]) -> Iterator[None]:
    """Within the block, only these weights have gradients; ``all`` changes nothing."""
    heads = head_prefixes(network) if which == "head" else ("",)
    frozen = [
        parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and not name.startswith(heads)
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def set_training_mode(network: nn.Module, which: Literal["all", "head"]) -> None:
    """Put what learns in training mode.

    ``head`` leaves the body in evaluation mode: its batch norms use and keep their running statistics
    and nothing in it is dropped. The dropout before the head is on: it belongs to the modules around
    the head, or to their dropout layers.
    """
    network.train()
    if which == "all":
        return
    heads = head_prefixes(network)
    modules = dict(network.named_modules())
    around = {name for name in modules if any(_within(head, name) for head in heads)}
    for name, module in modules.items():
        in_head = f"{name}.".startswith(heads)
        dropout = isinstance(module, nn.Dropout) and name.rpartition(".")[0] in around
        module.training = in_head or name in around or dropout


def _within(head: str, name: str) -> bool:
    return name == "" or head.startswith(f"{name}.")
