"""Gabor filters as a network's first convolution.

Raghu et al. ("Transfusion", NeurIPS 2019) start the first layer with synthetic Gabor filters and the
rest at random; their grid isn't published. Ours, for O filters of side k:

* a filter is ``exp(-(u^2 + 0.64 v^2) / (2 s^2)) cos(2 pi f u + p)`` at the pixel (x, y) from the
  centre, with ``u = x cos t + y sin t``, ``v = -x sin t + y cos t`` and ``s = 0.4 / f`` (about one
  octave of bandwidth), with its mean removed;
* colours: luminance (1, 1, 1), red-green (1, -1, 0), blue-yellow (1, 1, -2), each of norm 1, the
  filters of a grey stem being luminance only; half of a colour stem's filters are luminance;
* phases p: 0 and 90 degrees; orientations t: 8 over half a turn (fewer for fewer than 16 filters of a
  kind); frequencies f: geometric from 1/k to 1/4 cycles a pixel (to 1/3 where k < 5), as many as the
  number of filters asks for.

All filters of a stem have one norm, that of its random start on average, so that what comes after sees
activations of the usual size.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from medtransfer.errors import ConfigError

ORIENTATIONS = 8
PHASES = (0.0, math.pi / 2)
LUMINANCE = ((1.0, 1.0, 1.0),)
OPPONENTS = ((1.0, -1.0, 0.0), (1.0, 1.0, -2.0))


def set_gabor_filters(convolution: nn.Conv2d) -> None:
    """Replace a stem's random weights, O x C x k x k with C 1 or 3, by Gabor filters; the bias by 0.

    Raises:
        ConfigError: the stem's kernels are smaller than 3 x 3.
    """
    weight = convolution.weight
    if min(weight.shape[2:]) < 3:
        raise ConfigError(f"init 'gabor' needs a stem of at least 3 x 3; it is {tuple(weight.shape)}")
    filters = gabor_filters(*weight.shape[:3]).to(weight)
    norm = weight.detach().flatten(1).norm(dim=1).mean()
    with torch.no_grad():
        weight.copy_(filters * norm)
        if convolution.bias is not None:
            convolution.bias.zero_()


def gabor_filters(count: int, channels: int, side: int) -> torch.Tensor:
    """Filters of norm 1, float32, count x channels x side x side."""
    if channels == 1:
        return _plane_waves(count, side)[:, None]
    bright = (count + 1) // 2
    waves = [_plane_waves(bright, side), _plane_waves(count - bright, side)]
    colours = [_colours(LUMINANCE, bright), _colours(OPPONENTS, count - bright)]
    return torch.einsum("nyx,nc->ncyx", torch.cat(waves), torch.cat(colours))


def _colours(palette: tuple[tuple[float, ...], ...], count: int) -> torch.Tensor:
    """Colours of norm 1, count x 3, in blocks, so that each meets every orientation."""
    chosen = torch.tensor([palette[i * len(palette) // max(1, count)] for i in range(count)])
    return nn.functional.normalize(chosen.reshape(count, 3), dim=1)


def _plane_waves(count: int, side: int) -> torch.Tensor:
    """Grey Gabor filters of mean 0 and norm 1, count x side x side."""
    angles = min(ORIENTATIONS, max(1, count // len(PHASES)))
    frequencies = max(1, math.ceil(count / (angles * len(PHASES))))
    lowest, highest = 1 / side, 1 / (4 if side >= 5 else 3)
    steps = torch.arange(frequencies) / max(1, frequencies - 1)
    axis = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    filters = [
        _gabor(x, y, lowest * (highest / lowest) ** float(step), angle * math.pi / angles, phase)
        for step in steps
        for angle in range(angles)
        for phase in PHASES
    ]
    stacked = torch.stack(filters)[:count] if count else torch.zeros(0, side, side)
    stacked = stacked - stacked.mean(dim=(1, 2), keepdim=True)
    return nn.functional.normalize(stacked.flatten(1), dim=1).reshape(-1, side, side)


def _gabor(
    x: torch.Tensor, y: torch.Tensor, frequency: float, angle: float, phase: float
) -> torch.Tensor:
    u = x * math.cos(angle) + y * math.sin(angle)
    v = -x * math.sin(angle) + y * math.cos(angle)
    width = 0.4 / frequency
    envelope = torch.exp(-(u**2 + 0.64 * v**2) / (2 * width**2))
    return envelope * torch.cos(2 * math.pi * frequency * u + phase)
