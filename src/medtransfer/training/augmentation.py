"""Random changes of a batch, drawn for each image, on the device where the batch lives."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from medtransfer.config.recipe import AugmentationSettings


def augment(
    images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Flip, turn, scale, shift and re-light a batch.

    Args:
        images: float in [0, 1], N x C x H x W.
        settings: how far each change may go.
        generator: CPU generator, so that a seed gives the same draws on every device.

    Returns:
        A tensor like ``images``; places that come from outside of a picture are 0.
    """
    if _moves(settings):
        matrices = _affine_matrices(len(images), settings, generator).to(images)  # N x 2 x 3
        grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid.to(images.dtype), align_corners=False)
    if settings.brightness:
        images = images * _factors(len(images), settings.brightness, generator).to(images)
    if settings.contrast:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * _factors(len(images), settings.contrast, generator).to(images)
    return images.clamp(0, 1) if settings.brightness or settings.contrast else images


def _moves(settings: AugmentationSettings) -> bool:
    return any(
        (
            settings.flip_horizontal,
            settings.flip_vertical,
            settings.rotate,
            settings.scale,
            settings.translate,
        )
    )


def _affine_matrices(
    count: int, settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Maps from output to input coordinates, count x 2 x 3, composed of all geometric changes."""
    angle = _uniform(count, math.radians(settings.rotate), generator)
    size = 1.0 / (1.0 + _uniform(count, settings.scale, generator))
    mirror_x = _signs(count, settings.flip_horizontal, generator)
    mirror_y = _signs(count, settings.flip_vertical, generator)
    # grid coordinates span 2 over a side
    shift = 2.0 * _uniform(2 * count, settings.translate, generator).reshape(count, 2)
    cosine, sine = size * torch.cos(angle), size * torch.sin(angle)
    rows = [
        torch.stack([cosine * mirror_x, -sine * mirror_y, shift[:, 0]], dim=1),
        torch.stack([sine * mirror_x, cosine * mirror_y, shift[:, 1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def _uniform(count: int, bound: float, generator: torch.Generator) -> torch.Tensor:
    return bound * (2.0 * torch.rand(count, generator=generator) - 1.0)


def _signs(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """-1 with the given probability, else 1."""
    return 1.0 - 2.0 * (torch.rand(count, generator=generator) < probability).float()


def _factors(count: int, bound: float, generator: torch.Generator) -> torch.Tensor:
    return 1.0 + _uniform(count, bound, generator).reshape(count, 1, 1, 1)
