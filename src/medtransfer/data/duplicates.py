"""Images that are the same picture: equal in every pixel, or alike for a perceptual hash.

The hash is the sign, against their median, of the 255 lowest spatial frequencies (a discrete cosine
transform of a 32 x 32 thumbnail, without its mean), after Zauner, *Implementation and Benchmarking
of Perceptual Image Hash Functions*, 2010, with 255 bits instead of 64. Recompression, rescaling and
changes of contrast turn 2-20 bits; pictures of different patients differ in 44 bits or more (measured
on 5,856 chest radiographs; 76 on 1,200 blood cells).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn

from medtransfer.errors import DataError
from medtransfer.tables import Column, Schema

DUPLICATES = Schema(
    name="duplicates",
    row="one pair of stored images that show the same picture",
    columns={
        "image_a": Column("text", "image_id, the earlier in samples"),
        "image_b": Column("text", "image_id, the later"),
        "kind": Column("text", "exact: all pixels are equal; near: the perceptual hashes are close"),
        "bits": Column("integer", "bits of 255 in which their hashes differ; 0 for exact pairs"),
    },
    families={},
)
THUMBNAIL = 32
FREQUENCIES = 16
# Bits of 255 in which near duplicates may differ.
NEAR_BITS = 32
BLOCK = 2048
# More near pairs than this an image says that the hash can't tell these images apart.
MOST_PAIRS_AN_IMAGE = 100


def find_duplicates(samples: pd.DataFrame, images: np.ndarray, near: bool = True) -> pd.DataFrame:
    """Pairs of equal and of nearly equal images.

    Of a set of equal images, each is paired with the first; near pairs are those of the first ones.

    Args:
        samples: of the store, N rows.
        images: N x H x W x C, the store's memory map.
        near: whether near duplicates are looked for: N^2 comparisons, a minute for 100,000 images.

    Returns:
        A table of schema DUPLICATES, by the order of the images.

    Raises:
        DataError: the images are too alike for the perceptual hash.
    """
    digests = samples["pixel_sha256"].to_numpy()
    firsts = np.flatnonzero(~samples["pixel_sha256"].duplicated().to_numpy())
    first_of = dict(zip(digests[firsts], firsts, strict=True))
    pairs = [(first_of[digest], i, 0) for i, digest in enumerate(digests) if first_of[digest] != i]
    kinds = ["exact"] * len(pairs)
    if near:
        close = list(_near_pairs(perceptual_hashes(images, firsts), firsts))
        pairs += close
        kinds += ["near"] * len(close)
    table = pd.DataFrame(pairs, columns=["a", "b", "bits"], dtype=np.int64).assign(kind=kinds)
    table = table.sort_values(["a", "b"], kind="stable")
    identity = samples["image_id"].to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "image_a": identity[table["a"]],
            "image_b": identity[table["b"]],
            "kind": table["kind"].to_numpy(dtype=object),
            "bits": table["bits"].to_numpy(),
        }
    )


def perceptual_hashes(images: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Hashes of images, N x H x W x C, as int8 of -1 and 1, N x 255."""
    chosen = np.arange(len(images)) if rows is None else rows
    hashes = np.empty((len(chosen), FREQUENCIES**2 - 1), dtype=np.int8)
    for start in range(0, len(chosen), BLOCK):
        block = np.stack([_thumbnail(images[i]) for i in chosen[start : start + BLOCK]])
        spectrum = dctn(block, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
        waves = spectrum.reshape(len(block), -1)[:, 1:]
        above = waves > np.median(waves, axis=1, keepdims=True)
        hashes[start : start + len(block)] = np.where(above, 1, -1)
    return hashes


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A grey thumbnail, float32, of an H x W x C image."""
    grey = Image.fromarray(image.mean(axis=2, dtype=np.float32))
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def _near_pairs(hashes: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Pairs of rows whose hashes differ in at most NEAR_BITS, and the number of those bits.

    The product of two hashes is 255 minus twice the bits that differ; products of blocks bound the
    memory.
    """
    vectors = hashes.astype(np.float32)
    found = 0
    for start in range(0, len(vectors), BLOCK):
        products = vectors[start : start + BLOCK] @ vectors[start:].T
        bits = ((hashes.shape[1] - products) / 2).astype(np.int64)
        first, second = np.nonzero(bits <= NEAR_BITS)
        for a, b in zip(first[second > first], second[second > first], strict=True):
            yield int(rows[start + a]), int(rows[start + b]), int(bits[a, b])
        found += int((second > first).sum())
        if found > MOST_PAIRS_AN_IMAGE * len(vectors):
            raise DataError(
                f"{found} pairs of {len(vectors)} images look alike: the perceptual hash can't tell "
                "them apart; accept near_duplicates in the data set's settings"
            )
