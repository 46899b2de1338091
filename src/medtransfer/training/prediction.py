"""Logits of images, in training and evaluation."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from medtransfer.training.inputs import evaluation_images, normalised
from medtransfer.training.specification import Specification

EVALUATION_BATCH = 256


def logits_of(network: nn.Module, images: torch.Tensor, specification: Specification) -> torch.Tensor:
    """Logits, float32, N x K, of images in [0, 1], N x C x H x W."""
    with autocast(specification.recipe.precision, images.device):
        logits: torch.Tensor = network(normalised(images, specification))
        return logits.float()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic of the forward pass: bfloat16 where the recipe says so, float32 elsewhere."""
    low = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


@torch.no_grad()
def predict(network: nn.Module, pixels: torch.Tensor, specification: Specification) -> np.ndarray:
    """Logits in evaluation mode, float32, N x K, of stored pixels, N x H x W x C."""
    network.eval()
    batches = [
        logits_of(network, evaluation_images(batch, specification.recipe), specification)
        for batch in torch.split(pixels, EVALUATION_BATCH)
    ]
    return torch.cat(batches).cpu().numpy()
