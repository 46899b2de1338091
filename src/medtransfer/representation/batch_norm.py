"""Running statistics of batch norm for networks that never saw an image.

At step 0 of a random, stats or partial start the running mean and variance of redrawn batch norm layers
are 0 and 1. In evaluation mode such a network normalises nothing and its activations are degenerate. A
pass over training images gives the layers what they would have had.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from medtransfer.config.names import Init
from medtransfer.errors import DataError
from medtransfer.models.initialisation import tensor_origins

BATCH_NORM = nn.modules.batchnorm._BatchNorm
# a variance needs two values, which a single image doesn't give every layer
FEWEST_IMAGES = 2


def uncalibrated_layers(network: nn.Module, init: Init) -> tuple[str, ...]:
    """Names of the batch norm layers whose running statistics aren't the source's at step 0.

    They are all of a random or Gabor start and of ``<source>-stats``, those outside of the first units
    of a partial start, and none of a whole source.

    Args:
        network: of the run.
        init: how it starts.
    """
    origins = tensor_origins(network, init)
    return tuple(name for name in _batch_norms(network) if origins[f"{name}.running_mean"] != "source")


def calibrate(
    network: nn.Module, batches: Iterable[torch.Tensor], layers: Sequence[str] | None = None
) -> nn.Module:
    """A copy of the network whose batch norm layers have the statistics of these images.

    During one pass these layers normalise by their batch, as in training; everything else is in
    evaluation mode. Their running mean and variance become those of all their inputs pooled, each image
    counting the same: variance within batches plus variance between their means, divided by the number
    of values, as batches are normalised; no moving average. Wu & Johnson (arXiv 2105.07576) call this
    PreciseBN. The inputs of the first layer don't depend on how images are batched; those of later ones
    do a little.

    Args:
        network: stays as it is.
        batches: normalised images, n x C x H x W with n of at least 2, on the network's device; not
            touched where there is nothing to calibrate.
        layers: names of the batch norm layers; None for all that keep statistics.

    Raises:
        DataError: no batch, or one of a single image.
    """
    calibrated = copy.deepcopy(network)
    known = _batch_norms(calibrated)
    norms = list(known.values()) if layers is None else [known[name] for name in layers]
    if not norms:
        return calibrated
    moments = {norm: _Moments() for norm in norms}
    with torch.inference_mode(), _normalising_by_batch(calibrated, norms), _watched(moments):
        for batch in batches:
            if len(batch) < FEWEST_IMAGES:
                raise DataError(f"a batch of {len(batch)} images for batch norm; allowed: 2 or more")
            calibrated(batch)
    for norm, found in moments.items():
        found.store(norm)
    return calibrated


@dataclass
class _Moments:
    """Mean and population variance of all values so far, float64, per channel."""

    count: int = 0
    mean: torch.Tensor | None = None
    variance: torch.Tensor | None = None

    def add(self, values: torch.Tensor) -> None:
        """Pool with further values, n x channels x ... (Chan, Golub & LeVeque 1979)."""
        dimensions = [d for d in range(values.ndim) if d != 1]
        variance, mean = torch.var_mean(values.float(), dim=dimensions, correction=0)
        mean, variance = mean.double(), variance.double()
        count = values.numel() // values.shape[1]
        if self.mean is None or self.variance is None:
            self.count, self.mean, self.variance = count, mean, variance
            return
        total = self.count + count
        old, new = self.count / total, count / total
        between = (mean - self.mean).square() * old * new
        self.variance = self.variance * old + variance * new + between
        self.mean = self.mean * old + mean * new
        self.count = total

    @torch.no_grad()
    def store(self, norm: nn.Module) -> None:
        """Give the layer these statistics."""
        if self.mean is None or self.variance is None:
            raise DataError("no image came through a batch norm layer; needed: at least one batch")
        norm.get_buffer("running_mean").copy_(self.mean)
        norm.get_buffer("running_var").copy_(self.variance)


def _batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    """Batch norm layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, BATCH_NORM) and module.running_mean is not None
    }


@contextmanager
def _normalising_by_batch(network: nn.Module, norms: Sequence[nn.Module]) -> Iterator[None]:
    """Training mode for these layers alone; then each module is in its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    for norm in norms:
        norm.training = True
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _watched(moments: dict[nn.Module, _Moments]) -> Iterator[None]:
    """Add what comes into the layers to their moments."""
    hooks = [
        norm.register_forward_pre_hook(lambda _module, inputs, found=found: found.add(inputs[0]))
        for norm, found in moments.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
