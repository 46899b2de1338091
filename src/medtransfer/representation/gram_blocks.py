"""Gram matrices of many measured points over consecutive blocks of images, one block at a time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.gram import centred_gram, is_float64


def gram_blocks(activations: Sequence[Any], images: int) -> Iterator[np.ndarray]:
    """Centred Gram matrices of P measured points, for one block of consecutive images after another.

    Args:
        activations: P arrays or tensors of n x D_p, the same images in the same order.
        images: images a block; n or more give one block, the full Gram matrices.

    Yields:
        P x b x b, float64 if any point is, else float32; b is smaller in the last block if ``images``
        doesn't divide n.

    Raises:
        DataError: arrays of different numbers of images, or as ``gram.centred_gram``.
    """
    counts = {len(x) for x in activations}
    if len(counts) != 1:
        raise DataError(f"activations have {sorted(counts)} images; allowed: the same images for all")
    dtype = np.float64 if any(is_float64(x) for x in activations) else np.float32
    for start in _starts(counts.pop(), images):
        parts = [x[start : start + images] for x in activations]
        grams = np.empty((len(parts), len(parts[0]), len(parts[0])), dtype=dtype)
        for point, part in enumerate(parts):
            grams[point] = centred_gram(part)
        yield grams


def paired_blocks(
    blocks: Iterable[np.ndarray], others: Iterable[np.ndarray] | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of both sides; where there is one side only, each with itself.

    Raises:
        DataError: different numbers of blocks, or of images in a block.
    """
    if others is None:
        yield from ((grams, grams) for grams in blocks)
        return
    for number, (grams, other_grams) in enumerate(itertools.zip_longest(blocks, others)):
        if grams is None or other_grams is None:
            raise DataError(f"one side ends after {number} blocks; allowed: as many blocks in both")
        if grams.shape[1:] != other_grams.shape[1:]:
            found = f"{grams.shape[1:]} and {other_grams.shape[1:]}"
            raise DataError(f"block {number} has matrices of {found}; allowed: the same images in both")
        yield grams, other_grams


def cut_blocks(blocks: Iterable[np.ndarray], images: int) -> Iterator[np.ndarray]:
    """The blocks of at most so many images on the diagonal of each block."""
    return (
        grams[:, start : start + images, start : start + images]
        for grams in blocks
        for start in _starts(grams.shape[1], images)
    )


def usable_blocks(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], smallest: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of blocks of at least so many images, with a warning for each that is left out.

    Raises:
        DataError: a block that isn't P x b x b, another number of points, or no block large enough.
    """
    points: tuple[int, int] | None = None
    for number, (grams, other_grams) in enumerate(pairs):
        if grams.ndim != 3 or grams.shape[1] != grams.shape[2]:
            raise DataError(
                f"block {number} has shape {grams.shape}; allowed: points x images x images"
            )
        found = (len(grams), len(other_grams))
        if points not in (None, found):
            raise DataError(f"block {number} has {found} points; allowed: {points}, as before it")
        if grams.shape[1] < smallest:
            left_out = f"block {number} has {grams.shape[1]} images, fewer than {smallest}: left out"
            warnings.warn(left_out, stacklevel=2)
            continue
        points = found
        yield grams, other_grams
    if points is None:
        raise DataError(f"no block of Gram matrices has {smallest} images or more")


def _starts(count: int, images: int) -> range:
    if images < 1:
        raise ConfigError(f"blocks of {images} images; allowed: 1 or more")
    return range(0, count, images)
