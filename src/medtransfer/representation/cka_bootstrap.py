"""Intervals of CKA by a bootstrap over images.

A resample takes image i w_i times. Two copies of one image are no two images: their entries would be of
the diagonal, which HSIC_1 leaves out. So HSIC_1 of a resample is the mean of

    K_ij (L_ij + L_qr - 2 L_iq)

over four different images, each quadruple weighted with w_i w_j w_q w_r. For w = 1 that is Song's
U-statistic, and as there, means of features don't matter. Sums over different images are sums over all,
less those that share an image. With K and L without their diagonals, M = K ∘ L, a = K w, b = L w,
a' = K w², b' = L w², powers of w by entry, products of vectors summed over images, and s_m = Σ w_i^m:

    of K_ij L_ij   (s1² - s2) wᵀMw - 4 s1 w²ᵀMw + 4 w³ᵀMw + 2 w²ᵀMw²
    of K_ij L_iq   s1 (wab - wᵀMw²) - (w²ab - w²ᵀMw²) - (wa'b + wab' - 2 w³ᵀMw)
    of K_ij L_qr   (wᵀa) (wᵀb) - 4 w²ab + 2 w²ᵀMw²
    of 1           s1⁴ - 6 s1² s2 + 8 s1 s3 + 3 s2² - 6 s4

HSIC_1(w) = (first - 2 second + third) / fourth. The resamples are the columns of one matrix, so that
all of them are a few matrix products a pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medtransfer.errors import ConfigError
from medtransfer.representation.cka import ratio
from medtransfer.representation.gram import FEWEST_IMAGES, hsic_vectors
from medtransfer.representation.gram_blocks import paired_blocks, usable_blocks


@dataclass(frozen=True)
class BootstrapIntervals:
    """Debiased CKA of pairs of measured points with percentile intervals.

    Attributes:
        pairs: K pairs of indices of points.
        value: K values of all images.
        low: K lower ends.
        high: K upper ends.
    """

    pairs: tuple[tuple[int, int], ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class _Weighed:
    """A Gram matrix without its diagonal, b x b, and its products with weights and squares, b x R."""

    matrix: np.ndarray
    sums: np.ndarray
    sums_of_squares: np.ndarray


def bootstrap_cka(
    gram_blocks: Iterable[np.ndarray],
    pairs: Sequence[tuple[int, int]] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> BootstrapIntervals:
    """Percentile intervals of debiased CKA over resampled images.

    Images are resampled within their blocks, the same resamples for all pairs; a resample of fewer than
    four different images in a block is drawn again. The intervals tell how CKA would vary with other
    images, not with other runs. A resample in which a point's HSIC with itself isn't above 0, which
    takes few images, counts as 0.

    In float64; memory is P b² + 2 P b ``n_resamples`` values for the P points in use.

    Args:
        gram_blocks: per block of images, P x b x b Gram matrices, the same points in the same order.
        pairs: pairs of indices of points; without, all of different points, in the order of
            ``itertools.combinations``.
        n_resamples: how many.
        seed: of the resamples.
        confidence: coverage of the intervals, above 0 and below 1.

    Raises:
        DataError: as ``cka_blocks.pairwise_cka``.
        ConfigError: a pair of a point that is not there, or a setting beyond what is allowed.
    """
    _check_settings(n_resamples, confidence)
    generator = np.random.default_rng(seed)
    chosen: tuple[tuple[int, int], ...] = ()
    hsics: dict[tuple[int, int], np.ndarray] = {}
    for grams, _ in usable_blocks(paired_blocks(gram_blocks, None), FEWEST_IMAGES):
        chosen = chosen or _chosen_pairs(pairs, len(grams))
        images = grams.shape[1]
        weights = np.column_stack([np.ones(images), _resamples(images, n_resamples, generator)])
        for pair, values in _pair_hsics(grams, chosen, weights):
            hsics[pair] = hsics.get(pair, 0) + images * values
    values = np.array([ratio(hsics[p, q], hsics[p, p], hsics[q, q]) for p, q in chosen])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[:, 1:], [tail, 1 - tail], axis=1)
    return BootstrapIntervals(chosen, values[:, 0], low, high)


def weighted_hsic(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """HSIC_1 of images with weights, over different images only.

    Args:
        first: b x b Gram matrix; its diagonal doesn't count.
        second: b x b Gram matrix of the same images.
        weights: b x R, at least four above 0 in each column.

    Returns:
        R values.
    """
    return _hsic(_weighed(first, weights), _weighed(second, weights), weights)


def _check_settings(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1:
        raise ConfigError(f"n_resamples is {n_resamples}; allowed: 1 or more")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; allowed: above 0 and below 1")


def _chosen_pairs(pairs: Sequence[tuple[int, int]] | None, points: int) -> tuple[tuple[int, int], ...]:
    if pairs is None:
        pairs = list(itertools.combinations(range(points), 2))
    if not pairs:
        raise ConfigError(f"no pair of {points} points; allowed: one or more")
    unknown = [(p, q) for p, q in pairs if not (0 <= p < points and 0 <= q < points)]
    if unknown:
        raise ConfigError(f"pairs {unknown} of {points} points; allowed: 0 to {points - 1}")
    return tuple((int(p), int(q)) for p, q in pairs)


def _resamples(images: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """b x R: how often each image is drawn in each of R resamples of b images with replacement."""
    chances = np.full(images, 1 / images)
    drawn = generator.multinomial(images, chances, count)
    while (few := (drawn > 0).sum(axis=1) < FEWEST_IMAGES).any():
        drawn[few] = generator.multinomial(images, chances, int(few.sum()))
    return drawn.T.astype(np.float64)


def _pair_hsics(
    grams: np.ndarray, pairs: Sequence[tuple[int, int]], weights: np.ndarray
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Weighted HSICs of the pairs, and of each of their points with itself."""
    points = sorted({point for pair in pairs for point in pair})
    sides = {point: _weighed(grams[point], weights) for point in points}
    for p, q in dict.fromkeys([*pairs, *((point, point) for point in points)]):
        yield (p, q), _hsic(sides[p], sides[q], weights)


def _weighed(gram: np.ndarray, weights: np.ndarray) -> _Weighed:
    matrix = gram.astype(np.float64)
    np.fill_diagonal(matrix, 0)
    # what has no HSIC but rounding would have a ratio of rounding
    if not hsic_vectors(gram[None]).any():
        matrix[:] = 0
    return _Weighed(matrix, matrix @ weights, matrix @ weights**2)


def _hsic(first: _Weighed, second: _Weighed, weights: np.ndarray) -> np.ndarray:
    """HSIC_1(w) by the sums at the head of this file, for each column of weights."""
    w, w2, w3 = (weights**power for power in (1, 2, 3))
    s1, s2 = w.sum(axis=0), w2.sum(axis=0)
    products = first.matrix * second.matrix
    rows = products @ w
    both = first.sums * second.sums
    m11, m21, m31 = ((power * rows).sum(axis=0) for power in (w, w2, w3))
    m22 = (w2 * (products @ w2)).sum(axis=0)
    ab, ab2 = (w * both).sum(axis=0), (w2 * both).sum(axis=0)
    mixed = (w * (first.sums_of_squares * second.sums + first.sums * second.sums_of_squares)).sum(
        axis=0
    )
    same_pair = (s1**2 - s2) * m11 - 4 * s1 * m21 + 4 * m31 + 2 * m22
    one_shared = s1 * (ab - m21) - (ab2 - m22) - (mixed - 2 * m31)
    none_shared = (w * first.sums).sum(axis=0) * (w * second.sums).sum(axis=0) - 4 * ab2 + 2 * m22
    return (same_pair - 2 * one_shared + none_shared) / _quadruples(weights)


def _quadruples(weights: np.ndarray) -> np.ndarray:
    """Σ w_i w_j w_q w_r over different images, for each column of weights."""
    s1, s2, s3, s4 = ((weights**power).sum(axis=0) for power in (1, 2, 3, 4))
    return s1**4 - 6 * s1**2 * s2 + 8 * s1 * s3 + 3 * s2**2 - 6 * s4
