"""Activation checkpointing: blocks compute their activations again for the gradient, and keep none.

A step then needs the memory of one block's activations and of what passes between blocks (Chen et al.
2016), for about a third more time. The result is the same: what is computed again draws the same
dropout, and batch norms count each batch once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medtransfer.models.units import network_units

_Context = contextlib.AbstractContextManager[Any]


def recompute_activations(network: nn.Module) -> None:
    """Have every block of the network's units, in place, compute its activations twice a step.

    Names and values of its tensors stay as they are.
    """
    modules = dict(network.named_modules())
    for unit in network_units(network):
        for member in unit.members:
            module = modules.get(member)
            # a single layer keeps little beside its input, which is kept anyway
            if module is not None and any(True for _ in module.children()):
                module.forward = _recomputing(module, module.forward)


def _recomputing(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[_Context, _Context]:
        return contextlib.nullcontext(), _statistics_kept(module)

    def recomputing(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)

    return recomputing


@contextlib.contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Within the block, batch norms in training take a batch's statistics and record nothing."""
    recording = [
        (part, part.momentum)
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
        if part.track_running_stats
    ]
    for part, _ in recording:
        part.momentum = 0.0
    try:
        yield
    finally:
        for part, momentum in recording:
            part.momentum = momentum
            if part.num_batches_tracked is not None:
                part.num_batches_tracked -= 1
