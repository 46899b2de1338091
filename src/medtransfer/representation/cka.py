"""Centred kernel alignment (CKA) of representations: of two, and of all pairs of many.

CKA(X, Y) = HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)) (Kornblith et al., ICML 2019). Debiased, each HSIC is
the U-statistic HSIC_1 of Song et al. (JMLR 13, 2012); it may be slightly below 0. Biased, it is HSIC_0,
which calls independent representations alike when there are more features than images.

A representation without any variation over the images has no CKA; here it is 0 with everything, itself
too, so that tables and maps have no NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.gram import (
    FEWEST_IMAGES,
    centred_gram,
    dot_products,
    hsic_vectors,
    is_float64,
    squared_lengths,
)
from medtransfer.representation.matrices import as_features


def linear_cka(x: np.ndarray, y: np.ndarray, debiased: bool = True) -> float:
    """CKA of the linear kernel, in float64; memory grows with the smaller of n² and d².

    Args:
        x: n x d1 activations.
        y: n x d2 activations of the same images in the same order.
        debiased: HSIC_1 in numerator and denominators, for four images or more; else HSIC_0.

    Raises:
        DataError: not two matrices of as many images, too few images, or values that aren't finite.
    """
    x, y = _checked(x, y, FEWEST_IMAGES if debiased else 2)
    first, second = _centred_features(x), _centred_features(y)
    products = _squared_products(first, second)
    if not debiased:
        return _single_ratio(*products)
    lengths = [(features**2).sum(axis=1) for features in (first, second)]
    sides = ((0, 1), (0, 0), (1, 1))
    return _single_ratio(
        *(_hsic_1(p, lengths[i], lengths[j]) for p, (i, j) in zip(products, sides, strict=True))
    )


def rbf_cka(x: np.ndarray, y: np.ndarray, threshold: float = 0.5, debiased: bool = False) -> float:
    """CKA of the Gaussian kernel exp(-|a - b|² / (2 σ²)), σ = ``threshold`` times the median distance.

    The median is of all n² squared distances, those of images to themselves included, and the default
    is the biased HSIC, both as in the public demonstration of Kornblith et al.

    Args:
        x: n x d1 activations.
        y: n x d2 activations of the same images in the same order.
        threshold: bandwidth over the median distance, above 0.
        debiased: as in :func:`linear_cka`.

    Raises:
        DataError: as :func:`linear_cka`; also if the median distance is 0 although not all are.
        ConfigError: a threshold that is not above 0.
    """
    if not threshold > 0:
        raise ConfigError(f"threshold is {threshold}; allowed: above 0")
    x, y = _checked(x, y, FEWEST_IMAGES if debiased else 2)
    grams = np.stack([_gaussian_gram(x, threshold), _gaussian_gram(y, threshold)])
    vectors = hsic_vectors(grams, debiased)
    lengths = squared_lengths(vectors)
    return float(ratio(dot_products(vectors, vectors), lengths[:, None], lengths)[0, 1])


def cka_matrix(
    activations: Sequence[Any], others: Sequence[Any] | None = None, debiased: bool = True
) -> np.ndarray:
    """CKA of all pairs of layers, of one network or of two, from their activations.

    :func:`linear_cka` for each pair, but each Gram matrix is made once and flattened, and all pairs are
    one matrix product. Memory is n² / 2 values a layer, and one Gram matrix.

    Args:
        activations: P arrays or tensors of n x D_p, or n x ... to be flattened (unpooled feature maps),
            on any device; the same images in the same order.
        others: Q of the same images, for instance of another network; without, ``activations``.
        debiased: as in :func:`linear_cka`.

    Returns:
        P x Q float64; float64 activations are multiplied in float64, others in float32.

    Raises:
        DataError: different numbers of images, too few, or values that aren't finite.
    """
    counts = {len(x) for x in (*activations, *(others or ()))}
    fewest = FEWEST_IMAGES if debiased else 2
    if len(counts) != 1 or min(counts) < fewest:
        found = f"activations of {sorted(counts)} images"
        raise DataError(f"{found}; allowed: the same images for all, {fewest} or more")
    vectors = _vectors(activations, debiased)
    other_vectors = vectors if others is None else _vectors(others, debiased)
    lengths, other_lengths = squared_lengths(vectors), squared_lengths(other_vectors)
    return ratio(dot_products(vectors, other_vectors), lengths[:, None], other_lengths)


def ratio(cross: np.ndarray, own: np.ndarray, own_of_others: np.ndarray) -> np.ndarray:
    """HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)), shapes as broadcast; 0 where a denominator isn't above 0.

    Rounding beyond -1 and 1 is cut off.
    """
    norms = np.sqrt(np.maximum(own, 0)) * np.sqrt(np.maximum(own_of_others, 0))
    values = np.divide(cross, norms, out=np.zeros(np.shape(cross)), where=norms > 0)
    return np.clip(values, -1, 1)


def _checked(x: np.ndarray, y: np.ndarray, fewest: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = as_features("activations x", x, fewest), as_features("activations y", y, fewest)
    if len(x) != len(y):
        raise DataError(f"x has {len(x)} images and y has {len(y)}; allowed: the same images in both")
    return x, y


def _centred_features(x: np.ndarray) -> np.ndarray:
    """Without column means, and scaled so that no square overflows; constant columns are exactly 0."""
    shifted = x - x[0]
    largest = np.abs(shifted).max()
    if largest > 0:
        shifted /= largest
    return shifted - shifted.mean(axis=0)


def _squared_products(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """‖xᵀy‖², ‖xᵀx‖², ‖yᵀy‖² (Frobenius); by Gram matrices if there are more features than images."""
    if max(x.shape[1], y.shape[1]) <= len(x):
        return tuple(float(np.sum((a.T @ b) ** 2)) for a, b in ((x, y), (x, x), (y, y)))  # type: ignore[return-value]
    first, second = (x @ x.T).ravel(), (y @ y.T).ravel()
    return float(first @ second), float(first @ first), float(second @ second)


def _hsic_1(product: float, first: np.ndarray, second: np.ndarray) -> float:
    """HSIC_1 times n (n - 3), from ‖xᵀy‖² and the n squared lengths of each side's centred rows.

    Song's sums over Gram matrices without their diagonals, where the rows of the whole matrices sum to
    0. A difference that rounding alone can make is 0.
    """
    n = len(first)
    value = product - n / (n - 2) * first @ second + first.sum() * second.sum() / ((n - 1) * (n - 2))
    return float(value) if abs(value) > n * np.finfo(np.float64).eps * product else 0.0


def _single_ratio(cross: float, own: float, own_of_other: float) -> float:
    return float(ratio(np.asarray(cross), np.asarray(own), np.asarray(own_of_other)))


def _gaussian_gram(x: np.ndarray, threshold: float) -> np.ndarray:
    centred = _centred_features(x)
    lengths = (centred**2).sum(axis=1)
    distances = np.maximum(lengths[:, None] + lengths - 2 * (centred @ centred.T), 0)
    np.fill_diagonal(distances, 0)
    median = float(np.median(distances))
    if median == 0 and distances.any():
        raise DataError("the median distance of images is 0; allowed: more than half of them differ")
    return np.exp(-distances / (2 * threshold**2 * median)) if median else np.zeros_like(distances)


def _vectors(activations: Sequence[Any], debiased: bool) -> np.ndarray:
    """P vectors of centred Gram matrices, of which only one is in memory at a time."""
    dtype = np.float64 if any(is_float64(x) for x in activations) else np.float32
    n = len(activations[0])
    vectors = np.empty((len(activations), n * (n - 1) // 2 + (0 if debiased else n)), dtype=dtype)
    for point, x in enumerate(activations):
        vectors[point] = hsic_vectors(centred_gram(x)[None], debiased)[0]
    return vectors
