"""Logits of images, in training and evaluation."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from medtransfer.training.inputs import evaluation_images, normalised
from medtransfer.training.pixels import Pixels, in_blocks
from medtransfer.training.specification import Specification

EVALUATION_BATCH = 256


def logits_of(network: nn.Module, images: torch.Tensor, specification: Specification) -> torch.Tensor:
    """Logits, float32, N x K, of images in [0, 1], N x C x H x W."""
    with autocast(specification.arithmetic_on(images.device).precision, images.device):
        logits: torch.Tensor = network(normalised(images, specification))
        return logits.float()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The precision of the forward pass; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def evaluation_batch(specification: Specification) -> int:
    """Images that are predicted at once: fewer where the recipe says that memory is short."""
    return min(EVALUATION_BATCH, specification.recipe.micro_batch_size or EVALUATION_BATCH)


@torch.no_grad()
def predict(network: nn.Module, pixels: Pixels, specification: Specification) -> np.ndarray:
    """Logits in evaluation mode, float32, N x K, of stored pixels, N x H x W x C."""
    network.eval()
    batches = [
        logits_of(network, evaluation_images(batch, specification.recipe), specification)
        for batch in in_blocks(pixels, evaluation_batch(specification))
    ]
    return torch.cat(batches).cpu().numpy()
