"""Gram matrices of activations, and vectors of them whose dot products are HSICs.

A Gram matrix holds the dot products of n images' activations: n x n, however wide the layer, so that
convolutional layers needn't be pooled. The Hilbert-Schmidt independence criterion (HSIC) of two layers
is a dot product of their centred Gram matrices. Each is centred and flattened once; the HSICs of all
pairs of layers, and of networks, are then one matrix product.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from medtransfer.errors import DataError

# below this, HSIC_1 isn't defined: it compares four different images
FEWEST_IMAGES = 4
# entries of the vectors per product, so that float32 sums stay short
PIECE = 8192


def centred_gram(x: Any, block: int = 65536) -> np.ndarray:
    """The doubly centred Gram matrix of activations, H x xᵀ H with H = I - 1 1ᵀ / n.

    Features are centred before they are multiplied, so that a large mean costs no digits; constant
    features count exactly nothing. At most ``block`` features are copied at a time.

    Args:
        x: n x D, or n x ... to be flattened; a NumPy array, or a torch tensor on any device, where the
            products are then made.
        block: features per chunk.

    Returns:
        n x n on the host; float64 for float64 activations, else float32. Products are made in that
        type; sums over chunks and means in float64.

    Raises:
        DataError: fewer than one feature, or values that aren't finite.
    """
    features = x.reshape(len(x), -1) if len(x) else x
    if min(features.shape) < 1:
        raise DataError(f"activations have shape {tuple(x.shape)}; allowed: images x features, no 0")
    total: Any = None
    for start in range(0, features.shape[1], block):
        product = _product(features[:, start : start + block])
        # many float32 terms would lose digits
        total = product if total is None else _in_float64(total) + product
    host = total if isinstance(total, np.ndarray) else total.cpu().numpy()
    return _centre_(host).astype(np.float64 if is_float64(x) else np.float32, copy=False)


def is_float64(x: Any) -> bool:
    """Whether an array or tensor is of float64, so that its Gram matrix is, too."""
    return str(x.dtype).endswith("float64")


def hsic_vectors(grams: np.ndarray, debiased: bool = True) -> np.ndarray:
    """Flattened centred Gram matrices, scaled so that dot products are HSICs.

    Debiased, HSIC_1 = ⟨U, V⟩ / (b (b - 3)) of the U-centred matrices (Song et al., JMLR 13, 2012,
    equation 5; Székely & Rizzo, Annals of Statistics 42, 2014): the diagonal is left out, of the
    means, too. Biased, HSIC_0 = tr(K H L H) / (b - 1)². The matrices are symmetric: their upper
    triangles are enough, with √2.

    Args:
        grams: P x b x b; centred or not, which changes HSICs by rounding only.
        debiased: HSIC_1, which needs four images, or HSIC_0, which needs two.

    Returns:
        P x b (b - 1) / 2, or P x b (b + 1) / 2 with the diagonal if biased; the type of ``grams``.
        What differs from 0 by rounding only is 0.
    """
    points, images, _ = grams.shape
    first = 1 if debiased else 0
    shifts = _shifts(grams, debiased)
    scale = math.sqrt(2 / (images * (images - 3))) if debiased else math.sqrt(2) / (images - 1)
    vectors = np.empty((points, images * (images + 1) // 2 - first * images), dtype=grams.dtype)
    position = 0
    for row in range(images):
        columns = slice(row + first, images)
        values = vectors[:, position : position + images - row - first]
        np.subtract(grams[:, row, columns], shifts[:, columns], out=values)
        values -= shifts[:, [row]]
        values *= scale
        if not debiased:
            values[:, 0] /= math.sqrt(2)
        position += values.shape[1]
    vectors[np.einsum("pm,pm->p", vectors, vectors) <= scale**2 * _rounding(grams)] = 0
    return vectors


def dot_products(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """P x Q dot products of P x m and Q x m vectors; pieces in their own type, summed in float64."""
    total = np.zeros((len(vectors), len(others)))
    for start in range(0, vectors.shape[1], PIECE):
        piece = vectors[:, start : start + PIECE]
        # the same array twice is multiplied at half the cost
        other = piece if others is vectors else others[:, start : start + PIECE]
        total += piece @ other.T
    return total


def squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """P dot products of P x m vectors with themselves, as :func:`dot_products` has them."""
    total = np.zeros(len(vectors))
    for start in range(0, vectors.shape[1], PIECE):
        piece = vectors[:, start : start + PIECE]
        total += np.einsum("pm,pm->p", piece, piece)
    return total


def triangle_positions(order: np.ndarray, debiased: bool = True) -> np.ndarray:
    """Where the entries of the vector of a Gram matrix are found when its images are reordered.

    Args:
        order: permutation of b images.
        debiased: as in :func:`hsic_vectors`.

    Returns:
        Indices, so that ``vector[positions]`` is the vector of ``gram[order][:, order]``.
    """
    upper = np.triu_indices(len(order), 1 if debiased else 0)
    place = np.zeros((len(order), len(order)), dtype=np.int64)
    place[upper] = np.arange(len(upper[0]))
    rows, columns = np.sort([order[upper[0]], order[upper[1]]], axis=0)
    return place[rows, columns]


def _product(part: Any) -> Any:
    """Dot products of centred features, n x n, in float64 for float64 and else in float32."""
    values = _in_float64(part) if is_float64(part) else _in_float32(part)
    # without their first row, constant features are exactly 0; their mean would leave rounding
    centred = values - values[0]
    # the final centring is exact: here it is enough to be near
    centred -= centred.mean(0)
    with _full_precision(centred):
        return centred @ centred.T


def _full_precision(values: Any) -> contextlib.AbstractContextManager[Any]:
    """Keep products of tensors in their own type where the caller works in mixed precision."""
    if isinstance(values, np.ndarray):
        return contextlib.nullcontext()
    import torch  # who has a tensor has it loaded already

    return torch.autocast(values.device.type, enabled=False)


def _in_float64(x: Any) -> Any:
    return x.astype(np.float64, copy=False) if isinstance(x, np.ndarray) else x.double()


def _in_float32(x: Any) -> Any:
    return x.astype(np.float32, copy=False) if isinstance(x, np.ndarray) else x.float()


def _centre_(gram: np.ndarray) -> np.ndarray:
    """Take row and column means, which are summed in float64, from a Gram matrix in place."""
    means = gram.mean(axis=1, dtype=np.float64)
    if not np.isfinite(means).all():
        raise DataError("activations have NaN or infinite values; allowed: finite ones")
    shift = (means - means.mean() / 2).astype(gram.dtype)
    gram -= shift[:, None]
    gram -= shift
    return gram


def _shifts(grams: np.ndarray, debiased: bool) -> np.ndarray:
    """P x b values s, summed in float64, so that K_ij - s_i - s_j is the centred matrix of each K."""
    images = grams.shape[1]
    sums = grams.sum(axis=2, dtype=np.float64)
    if not np.isfinite(sums).all():
        points = np.flatnonzero(~np.isfinite(sums).all(axis=1)).tolist()
        raise DataError(f"Gram matrices {points} have NaN or infinite values; allowed: finite ones")
    if debiased:
        sums -= grams.diagonal(axis1=1, axis2=2)
        totals = sums.sum(axis=1, keepdims=True)
        shifts = sums / (images - 2) - totals / (2 * (images - 1) * (images - 2))
    else:
        shifts = sums / images - sums.mean(axis=1, keepdims=True) / (2 * images)
    return shifts.astype(grams.dtype)


def _rounding(grams: np.ndarray) -> np.ndarray:
    """Sums of squares, one a matrix, that rounding alone can give; relative to the diagonal.

    Activations of which only one image differs have no U-centred matrix but rounding, for example.
    """
    diagonals = grams.diagonal(axis1=1, axis2=2).astype(np.float64)
    relative = grams.shape[1] * float(np.finfo(grams.dtype).eps)
    return relative**2 * (diagonals**2).sum(axis=1)
