"""Changes of colour in a batch of RGB images."""

from __future__ import annotations

import torch

# luma of ITU-R BT.601, as PIL and torchvision weigh the colours
LUMA = (0.299, 0.587, 0.114)


def greys(images: torch.Tensor) -> torch.Tensor:
    """Luma of RGB images, N x 3 x H x W, as N x 1 x H x W; other images are returned as they are."""
    if images.shape[1] != 3:
        return images
    red, green, blue = (weight * images[:, i] for i, weight in enumerate(LUMA))
    return (red + green + blue)[:, None]


def blended(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """``(1 - share) * first + share * second`` within [0, 1], for shares of N x 1 x 1 x 1."""
    return (first + (second - first) * share).clamp(0, 1)


def turned_hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """RGB images whose hue is turned, saturation and value kept.

    Args:
        images: in [0, 1], N x 3 x H x W.
        turns: N, as shares of a full turn.

    Returns:
        A tensor like ``images``. Formulas of the HSV hexcone model (Smith 1978).
    """
    red, green, blue = images.unbind(1)  # N x H x W each
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + 6 * turns[:, None, None]

    def channel(offset: float) -> torch.Tensor:
        place = (offset + sextant) % 6
        return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], dim=1)
