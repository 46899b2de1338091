"""From stored pixels to what a network sees."""

from __future__ import annotations

import math

import torch

from medtransfer.config.recipe import RecipeSettings
from medtransfer.models.build import input_channels
from medtransfer.training.arithmetic import MEMORY_FORMATS
from medtransfer.training.augmentation import augment, resized
from medtransfer.training.pixels import Pixels, in_blocks, sent
from medtransfer.training.specification import Specification

STATISTICS_BATCH = 256


def to_floats(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 or uint16, N x H x W x C, to float32 in [0, 1], N x C x H x W in channels-last memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(float(torch.iinfo(pixels.dtype).max))


def training_images(
    pixels: torch.Tensor, recipe: RecipeSettings, generator: torch.Generator
) -> torch.Tensor:
    """Resized and randomly changed images in [0, 1], N x C x side x side, of stored pixels."""
    images = resized(to_floats(pixels), recipe.resize)
    return augment(images, recipe.augmentation, generator, recipe.crop)


def evaluation_images(pixels: torch.Tensor, recipe: RecipeSettings) -> torch.Tensor:
    """Resized images in [0, 1] without any random change, the centre where the recipe crops."""
    images = resized(to_floats(pixels), recipe.resize)
    side = images.shape[-1]
    crop = recipe.crop or side
    first = round((side - crop) / 2)
    return images[:, :, first : first + crop, first : first + crop]


def normalised(images: torch.Tensor, specification: Specification) -> torch.Tensor:
    """Subtract the mean and divide by the standard deviation, in the network's memory format.

    Grey images take the average over the colour channels, unless the network sees them three times.

    Args:
        images: in [0, 1], N x C x H x W.
        specification: mean, std, how the network takes grey images and how it is computed.
    """
    images = images.expand(-1, input_channels(specification.model, images.shape[1]), -1, -1)
    moments = (specification.mean, specification.std)
    mean, std = (sent(torch.tensor(values), images.device) for values in moments)
    if images.shape[1] == 1:
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    result = (images - mean[:, None, None]) / std[:, None, None]
    arithmetic = specification.arithmetic_on(images.device)
    return result.contiguous(memory_format=MEMORY_FORMATS[arithmetic.memory_format])


def pixel_statistics(pixels: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images, in [0, 1].

    A channel without any variation has the standard deviation 1, so that it can be divided by.

    Args:
        pixels: uint8 or uint16, N x H x W x C.
    """
    moments = torch.zeros(2, pixels.shape[-1], dtype=torch.float64, device=pixels.device)
    for batch in in_blocks(pixels, STATISTICS_BATCH):
        values = to_floats(batch).double()
        moments += torch.stack([values, values.square()]).sum(dim=(1, 3, 4))
    mean, square = moments / math.prod(pixels.shape[:3])
    variance = (square - mean.square()).clamp(min=0)
    std = torch.where(variance > 1e-12, variance.sqrt(), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
