"""Corrupted images: what another scanner, a worse exposure or a lossy archive does to them.

Five corruptions in five severities. Their strengths are those of ImageNet-C (Hendrycks & Dietterich,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019), which were
chosen for images of 224 pixels:

============ ===================================================== ==============================
corruption   what is done                                          at severity 1, 2, 3, 4, 5
============ ===================================================== ==============================
noise        Gaussian noise is added; its standard deviation, as a 0.08, 0.12, 0.18, 0.26, 0.38
             share of the range of grey levels
blur         a Gaussian filter; its standard deviation in pixels   1, 2, 3, 4, 6
             of an image of 224, in proportion for other sides
contrast     what is left of each pixel's distance to the mean     0.4, 0.3, 0.2, 0.1, 0.05
jpeg         JPEG of this quality, 8 bits a channel                25, 18, 15, 10, 7
resolution   detail is lost down to this share of the side         0.6, 0.5, 0.4, 0.3, 0.25
============ ===================================================== ==============================

Other than there, what is lost in resolution is filled in by linear interpolation, as the pixel store
enlarges small pictures, not by squares. Noise and JPEG weigh more on small images, which have fewer
pixels to average over and fewer blocks of 8; the mildest blurs hardly change images below 100 pixels,
in which such detail is lost already. A grey image stays grey, and is corrupted alike whether it is
stored in one channel or in three.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medtransfer.config.corruptions import CorruptionName

SEVERITIES = (1, 2, 3, 4, 5)
STRENGTHS: dict[CorruptionName, tuple[float, ...]] = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "blur": (1, 2, 3, 4, 6),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "jpeg": (25, 18, 15, 10, 7),
    "resolution": (0.6, 0.5, 0.4, 0.3, 0.25),
}
# side of the images that the strengths were chosen for, in pixels
SIDE = 224
BLOCK = 64


def corrupt(
    images: np.ndarray, corruption: CorruptionName, severity: int, identities: Sequence[str]
) -> np.ndarray:
    """Corrupt stored images.

    Args:
        images: uint8 or uint16, N x H x W x C with C of 1 or 3; stay as they are.
        corruption: what is done to them.
        severity: 1 to 5.
        identities: N texts, one an image, from which its noise is drawn: an image has the same noise
            in every run and every order, and at every severity, only stronger.

    Returns:
        An array like ``images``.

    Raises:
        ValueError: an unknown corruption or severity.
    """
    if corruption not in STRENGTHS or severity not in SEVERITIES:
        raise ValueError(
            f"corruption '{corruption}' of severity {severity}; allowed: {', '.join(STRENGTHS)} of "
            f"severity {SEVERITIES[0]} to {SEVERITIES[-1]}"
        )
    strength = STRENGTHS[corruption][severity - 1]
    corrupted = np.empty_like(images)
    grey = _is_grey(images)
    for chosen, channels in ((grey, slice(0, 1)), (~grey, slice(None))):
        for rows in _blocks(np.flatnonzero(chosen)):
            corrupted[rows] = _CORRUPTIONS[corruption](
                images[rows][..., channels], strength, [identities[row] for row in rows]
            )
    return corrupted


def _is_grey(images: np.ndarray) -> np.ndarray:
    """N truth values: whether all channels of an image are equal."""
    grey = np.ones(len(images), dtype=bool)
    for rows in _blocks(np.arange(len(images))):
        block = images[rows]
        grey[rows] = (block == block[..., :1]).all(axis=(1, 2, 3))
    return grey


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    """So many rows at a time, so that their copies as floats fit into memory."""
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def _noise(images: np.ndarray, deviation: float, identities: Sequence[str]) -> np.ndarray:
    shape = images.shape[1:]
    draws = [_generator(name).standard_normal(shape, dtype=np.float32) for name in identities]
    return _levels(_shares(images) + np.float32(deviation) * np.stack(draws), images.dtype)


def _generator(identity: str) -> np.random.Generator:
    digest = hashlib.sha256(identity.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _blur(images: np.ndarray, deviation: float, _identities: Sequence[str]) -> np.ndarray:
    pixels = deviation * images.shape[1] / SIDE
    blurred = gaussian_filter(_shares(images), (0, pixels, pixels, 0), mode="nearest")
    return _levels(blurred, images.dtype)


def _contrast(images: np.ndarray, factor: float, _identities: Sequence[str]) -> np.ndarray:
    """Of each channel; its mean is over the image, with the black around it where it is padded."""
    shares = _shares(images)
    means = shares.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return _levels(means + np.float32(factor) * (shares - means), images.dtype)


def _jpeg(images: np.ndarray, quality: float, _identities: Sequence[str]) -> np.ndarray:
    """Deeper images are rounded to the 8 bits that JPEG has."""
    small = _levels(_shares(images), np.dtype(np.uint8))
    decoded = np.stack([_through_jpeg(image, int(quality)) for image in small])
    return _levels(_shares(decoded), images.dtype)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """An H x W x C image of uint8 written as JPEG and read again."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
        stream, "JPEG", quality=quality
    )
    with Image.open(stream) as picture:
        return np.asarray(picture).reshape(image.shape)


def _resolution(images: np.ndarray, share: float, _identities: Sequence[str]) -> np.ndarray:
    rows, columns = (_coarsening(side, max(1, round(share * side))) for side in images.shape[1:3])
    coarse = np.einsum("ih,nhwc,jw->nijc", rows, _shares(images), columns, optimize=True)
    return _levels(coarse, images.dtype)


def _coarsening(side: int, fewer: int) -> np.ndarray:
    """What averaging into fewer pixels and interpolating back does to a line, side x side."""
    return (_enlargement(fewer, side) @ _averaging(side, fewer)).astype(np.float32)


def _averaging(side: int, fewer: int) -> np.ndarray:
    """Means over the area that each of the fewer pixels covers, fewer x side."""
    width = side / fewer
    first = np.arange(fewer)[:, None] * width
    pixel = np.arange(side)[None, :]
    covered = np.minimum(first + width, pixel + 1) - np.maximum(first, pixel)
    return np.maximum(covered, 0) / width


def _enlargement(fewer: int, side: int) -> np.ndarray:
    """Linear interpolation between the centres of pixels, side x fewer."""
    places = ((np.arange(side) + 0.5) * fewer / side - 0.5).clip(0, fewer - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(fewer)[None, :]))


def _shares(images: np.ndarray) -> np.ndarray:
    """Stored levels as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)


def _levels(shares: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers as stored levels, cut to [0, 1] and rounded once."""
    return np.rint(shares.clip(0, 1) * np.float32(np.iinfo(dtype).max)).astype(dtype)


_CORRUPTIONS: dict[CorruptionName, Callable[[np.ndarray, float, Sequence[str]], np.ndarray]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
    "resolution": _resolution,
}
