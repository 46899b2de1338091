"""Mixtures of normal distributions with full covariances."""

from __future__ import annotations

import math

import numpy as np
from scipy import linalg
from scipy.special import logsumexp


def spread_start(values: np.ndarray, components: int, seed: int) -> np.ndarray:
    """Hard memberships (n x components) around k-means++ centres (Arthur & Vassilvitskii, 2007)."""
    generator = np.random.default_rng(seed)
    centres = [values[generator.integers(len(values))]]
    distances = np.sum((values - centres[0]) ** 2, axis=1)
    member = np.zeros(len(values), dtype=int)
    while len(centres) < components and distances.sum() > 0:
        row = generator.choice(len(values), p=distances / distances.sum())
        centres.append(values[row])
        to_new = np.sum((values - values[row]) ** 2, axis=1)
        member[to_new < distances] = len(centres) - 1
        distances = np.minimum(distances, to_new)
    return np.eye(len(centres))[member]


def gaussian_mixture(
    values: np.ndarray,
    responsibilities: np.ndarray,
    *,
    ridge: float = 1e-6,
    tolerance: float = 1e-3,
    steps: int = 100,
) -> np.ndarray:
    """Expectation maximisation of a mixture of normal distributions with full covariances.

    Args:
        values: n x d.
        responsibilities: n x components to start from; rows sum to 1.
        ridge: added to the variances, as a share of the features' mean variance.
        tolerance: steps end when the mean log-likelihood of an image grows by less.
        steps: and after so many.

    Returns:
        Responsibilities of the fitted mixture, n x components, rows sum to 1.
    """
    added = ridge * float(np.var(values, axis=0).mean())
    before = -math.inf
    for _ in range(steps):
        joint = _joint_log_densities(values, responsibilities, added)
        densities = logsumexp(joint, axis=1)
        responsibilities = np.exp(joint - densities[:, None])
        now = float(densities.mean())
        if now - before < tolerance:
            break
        before = now
    return responsibilities


def _joint_log_densities(values: np.ndarray, responsibilities: np.ndarray, added: float) -> np.ndarray:
    """Log of weight times density (n x components) of the distributions that these memberships make."""
    images, features = values.shape
    columns = []
    for column in responsibilities.T:
        total = column.sum() + 10 * np.finfo(np.float64).eps
        centred = values - column @ values / total
        covariance = (column[:, None] * centred).T @ centred / total
        covariance[np.diag_indices(features)] += added
        root = linalg.cholesky(covariance, lower=True, check_finite=False)
        scaled = linalg.solve_triangular(root, centred.T, lower=True, check_finite=False)
        logarithm = features * math.log(2 * math.pi) + 2 * np.log(np.diag(root)).sum()
        columns.append(math.log(total / images) - 0.5 * (logarithm + np.sum(scaled**2, axis=0)))
    return np.stack(columns, axis=1)
