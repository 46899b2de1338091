"""CKA of all pairs of many measured points from Gram matrices that are kept in blocks of images.

Gram matrices of all images of many networks don't fit in memory; those of one block of images do. Each
HSIC is summed over the blocks and divided once at the end, the right minibatch form, whether its points
are of one network or of two. A point without any variation has a CKA of 0, as in ``cka``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from medtransfer.errors import ConfigError
from medtransfer.representation.cka import ratio
from medtransfer.representation.gram import (
    FEWEST_IMAGES,
    dot_products,
    hsic_vectors,
    squared_lengths,
    triangle_positions,
)
from medtransfer.representation.gram_blocks import cut_blocks, paired_blocks, usable_blocks


@dataclass(frozen=True)
class ShuffledBaseline:
    """CKA of images paired at random: mean and a high quantile over permutations, P x Q each."""

    mean: np.ndarray
    high: np.ndarray


def pairwise_cka(
    gram_blocks: Iterable[np.ndarray],
    debiased: bool = True,
    *,
    others: Iterable[np.ndarray] | None = None,
) -> np.ndarray:
    """CKA of all pairs of measured points, from their Gram matrices over blocks of images.

    HSICs are summed over the blocks, each weighted with its number of images, and divided once at the
    end. One block gives ``cka.linear_cka``. Only one block is in memory at a time.

    Args:
        gram_blocks: per block of images, P x b x b Gram matrices, the same points in the same order.
        debiased: as in ``cka.linear_cka``.
        others: per block of the same images, Q x b x b Gram matrices of other points.

    Returns:
        P x P; with ``others``, P x Q. float64; float32 Gram matrices are multiplied in float32.

    Raises:
        DataError: blocks that don't belong together, values that aren't finite, or no block that is
            large enough. Blocks of too few images (four; two if biased) are left out with a warning.
    """
    cross = own = own_of_others = np.zeros(())
    for images, vectors, other_vectors in _vector_blocks(gram_blocks, others, debiased):
        cross = cross + images * dot_products(vectors, other_vectors)
        own = own + images * squared_lengths(vectors)
        own_of_others = own_of_others + images * squared_lengths(other_vectors)
    return ratio(cross, own[:, None], own_of_others)


def mean_of_ratios_cka(
    gram_blocks: Iterable[np.ndarray],
    batch: int = 64,
    debiased: bool = True,
    *,
    others: Iterable[np.ndarray] | None = None,
) -> np.ndarray:
    """The mean over batches of each batch's CKA, as the code released with study 1 has it.

    Not the CKA of all images: a mean of ratios isn't the ratio of means. For comparison with published
    values only; arguments and result otherwise as in :func:`pairwise_cka`.

    Args:
        gram_blocks: as there; each block is cut into batches of consecutive images.
        batch: images a batch; 64 in study 1. The last of a block may be smaller and counts as much.
        debiased: as there.
        others: as there.
    """
    total, count = np.zeros(()), 0
    smallest = FEWEST_IMAGES if debiased else 2
    other_batches = None if others is None else cut_blocks(others, batch)
    batches = paired_blocks(cut_blocks(gram_blocks, batch), other_batches)
    for grams, other_grams in usable_blocks(batches, smallest):
        total = total + pairwise_cka([grams], debiased, others=[other_grams])
        count += 1
    return total / count


def shuffled_cka(
    gram_blocks: Iterable[np.ndarray],
    n_permutations: int = 100,
    seed: int = 0,
    quantile: float = 0.95,
    *,
    debiased: bool = True,
    others: Iterable[np.ndarray] | None = None,
) -> ShuffledBaseline:
    """What :func:`pairwise_cka` gives when the images of the second side are permuted.

    The baseline of a CKA: what the same representations have in common without the same images. Images
    are permuted within their blocks, in the same way for all points of a permutation.

    Args:
        gram_blocks: as there.
        n_permutations: how many.
        seed: of the permutations.
        quantile: which one over permutations to give beside their mean, within 0 to 1.
        debiased: as there.
        others: as there.
    """
    if n_permutations < 1:
        raise ConfigError(f"n_permutations is {n_permutations}; allowed: 1 or more")
    generators = [np.random.default_rng([seed, number]) for number in range(n_permutations)]
    cross = own = own_of_others = np.zeros(())
    for images, vectors, other_vectors in _vector_blocks(gram_blocks, others, debiased):
        orders = (generator.permutation(images) for generator in generators)
        moved = (other_vectors[:, triangle_positions(order, debiased)] for order in orders)
        cross = cross + images * np.stack([dot_products(vectors, shuffled) for shuffled in moved])
        own = own + images * squared_lengths(vectors)
        own_of_others = own_of_others + images * squared_lengths(other_vectors)
    values = ratio(cross, own[:, None], own_of_others)
    return ShuffledBaseline(values.mean(axis=0), np.quantile(values, quantile, axis=0))


def _vector_blocks(
    gram_blocks: Iterable[np.ndarray], others: Iterable[np.ndarray] | None, debiased: bool
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number of images and vectors of both sides of each usable block."""
    smallest = FEWEST_IMAGES if debiased else 2
    for grams, other_grams in usable_blocks(paired_blocks(gram_blocks, others), smallest):
        vectors = hsic_vectors(grams, debiased)
        same = other_grams is grams
        yield grams.shape[1], vectors, vectors if same else hsic_vectors(other_grams, debiased)
