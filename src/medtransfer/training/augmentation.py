"""Random changes of a batch, drawn for each image, on the device where the batch lives."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from medtransfer.config.recipe import AugmentationSettings
from medtransfer.training.colours import blended, greys, turned_hue
from medtransfer.training.pixels import sent

CROP_DRAWS = 10  # as torchvision's RandomResizedCrop


def augment(
    images: torch.Tensor,
    settings: AugmentationSettings,
    generator: torch.Generator,
    crop: int | None = None,
) -> torch.Tensor:
    """Flip, turn, scale, shear, shift, crop and re-light a batch.

    The picture is flipped, turned and so on as a whole, then cut; all of it is one interpolation.

    Args:
        images: float in [0, 1], N x C x H x H.
        settings: how far each change may go.
        generator: CPU generator, so that a seed gives the same draws on every device.
        crop: side of the result, cut out at a random place; default: the side of the images.

    Returns:
        N x C x crop x crop in [0, 1]. What comes from outside of a picture is as ``settings.fill``.
    """
    side = crop or images.shape[-1]
    cuts = bool(settings.resized_crop) or side != images.shape[-1]
    if cuts or _moves(settings):
        matrices = _affine_matrices(len(images), settings, generator)  # N x 2 x 3
        if cuts:
            matrices = _after(matrices, _cut_matrices(images, settings, side, generator))
        # a cut alone shows nothing from outside: black must not mix into its border
        inside = settings.fill == "edge" or (cuts and not _shows_outside(settings))
        images = _sampled(images, matrices, side, "border" if inside else "zeros")
    return _relit(images, settings, generator)


def resized(images: torch.Tensor, side: int | None) -> torch.Tensor:
    """Images of another side, bilinear and antialiased; None leaves them as they are."""
    if side is None or side == images.shape[-1]:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def _moves(settings: AugmentationSettings) -> bool:
    return bool(settings.flip_horizontal or settings.flip_vertical) or _shows_outside(settings)


def _shows_outside(settings: AugmentationSettings) -> bool:
    return any((settings.rotate, settings.scale, settings.translate, settings.shear))


def _affine_matrices(
    count: int, settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Maps from output to input coordinates, count x 2 x 3: flip, then shear, scale, turn, shift."""
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
    matrices = torch.stack(rows, dim=1)
    if settings.shear:
        slant = torch.tan(_uniform(count, math.radians(settings.shear), generator))
        matrices[:, :, 1] += slant[:, None] * matrices[:, :, 0]
    return matrices


def _cut_matrices(
    images: torch.Tensor, settings: AugmentationSettings, side: int, generator: torch.Generator
) -> torch.Tensor:
    """Maps from the coordinates of a random cut to those of its picture, N x 2 x 3."""
    count, whole = len(images), images.shape[-1]
    if settings.resized_crop:
        sizes = _cut_sizes(count, whole, settings, generator)
    else:
        sizes = torch.full((count, 2), float(side))
    # a whole number of pixels from the left and from the top
    first = torch.floor(torch.rand(count, 2, generator=generator) * (whole - sizes + 1))
    matrices = torch.diag_embed(sizes / whole)
    centre = (2 * first + sizes) / whole - 1
    return torch.cat([matrices, centre[:, :, None]], dim=2)


def _cut_sizes(
    count: int, whole: int, settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Width and height in pixels, count x 2, of cuts of a random share and shape.

    As torchvision's RandomResizedCrop: uniform in the share, log-uniform in the ratio; a draw that
    doesn't fit into the picture is drawn again, and the whole picture is taken when none fits.
    """
    low, high = settings.resized_crop
    draws = torch.rand(2, count, CROP_DRAWS, generator=generator)
    area = (low + (high - low) * draws[0]) * whole**2
    low, high = (math.log(ratio) for ratio in settings.crop_ratio)
    ratio = torch.exp(low + (high - low) * draws[1])
    sizes = torch.stack([torch.sqrt(area * ratio), torch.sqrt(area / ratio)], dim=-1).round()
    fits = ((sizes >= 1) & (sizes <= whole)).all(-1)  # count x CROP_DRAWS
    chosen = sizes[torch.arange(count), fits.int().argmax(1)]  # the first that fits
    return torch.where(fits.any(1, keepdim=True), chosen, float(whole))


def _after(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """The affine maps (N x 2 x 3) that apply ``inner`` to a place, then ``outer``."""
    linear = outer[:, :, :2]
    shift = linear @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([linear @ inner[:, :, :2], shift], dim=2)


def _sampled(images: torch.Tensor, matrices: torch.Tensor, side: int, padding: str) -> torch.Tensor:
    """Bilinear samples at the mapped places, N x C x side x side.

    An image that shrinks by 2, 4, ... is sampled from a picture that was made smaller by as much, with
    antialiasing.

    Args:
        matrices: on the CPU, so that nothing has to be waited for.
    """
    shrinks = matrices[:, :, :2].det().abs().sqrt() * images.shape[-1] / side
    halvings = torch.log2(shrinks + 1e-4).floor().clamp(min=0).int()
    if not halvings.any():
        return _bilinear(images, matrices, side, padding)
    result = images.new_empty((*images.shape[:2], side, side))
    for number in sorted(set(halvings.tolist())):
        rows = torch.nonzero(halvings == number)[:, 0]
        there = sent(rows, images.device)
        smaller = resized(images[there], max(1, images.shape[-1] >> number))
        result[there] = _bilinear(smaller, matrices[rows], side, padding)
    return result


def _bilinear(images: torch.Tensor, matrices: torch.Tensor, side: int, padding: str) -> torch.Tensor:
    size = [*images.shape[:2], side, side]
    grid = functional.affine_grid(_like(images, matrices), size, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _relit(
    images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Brightness, contrast, saturation, hue, loss of colour, in this order.

    Contrast changes the distance from the mean over all pixels and channels. Grey images have neither
    saturation nor hue; the draws are made all the same.
    """
    count = len(images)
    jittered = _with_probability(count, settings.jitter_probability, generator)
    if settings.brightness:
        factors = _factors(jittered, settings.brightness, generator)
        images = images * _like(images, factors)
    if settings.contrast:
        factors = _like(images, _factors(jittered, settings.contrast, generator))
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        # a new tensor, then in place: fresh memory costs more than the arithmetic
        images = (images - mean).mul_(factors).add_(mean)
    if settings.brightness or settings.contrast:
        images.clamp_(0, 1)
    colour = images.shape[1] == 3
    if settings.saturation:
        factors = _factors(jittered, settings.saturation, generator)
        images = blended(greys(images), images, _like(images, factors)) if colour else images
    if settings.hue:
        turns = jittered * _uniform(count, settings.hue, generator)
        images = turned_hue(images, _like(images, turns)) if colour else images
    if settings.grey:
        lost = _with_probability(count, settings.grey, generator)[:, None, None, None]
        images = blended(images, greys(images), _like(images, lost)) if colour else images
    return images


def _like(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """What was drawn on the CPU, with the device and type of the images."""
    return sent(drawn, images.device).to(images.dtype)


def _uniform(count: int, bound: float, generator: torch.Generator) -> torch.Tensor:
    return bound * (2.0 * torch.rand(count, generator=generator) - 1.0)


def _signs(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """-1 with the given probability, else 1."""
    return 1.0 - 2.0 * (torch.rand(count, generator=generator) < probability).float()


def _with_probability(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """1 with the given probability, else 0; a certain 1 takes no draw."""
    if probability == 1.0:
        return torch.ones(count)
    return (torch.rand(count, generator=generator) < probability).float()


def _factors(changed: torch.Tensor, bound: float, generator: torch.Generator) -> torch.Tensor:
    """Factors around 1, N x 1 x 1 x 1, of the images that are changed (1) and 1 of others (0)."""
    factors = 1.0 + _uniform(len(changed), bound, generator)
    return torch.where(changed > 0, factors, 1.0)[:, None, None, None]
