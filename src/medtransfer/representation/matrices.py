"""Checks of the feature matrices that measures take."""

from __future__ import annotations

import numpy as np

from medtransfer.errors import DataError


def as_features(name: str, values: np.ndarray, least: int = 1) -> np.ndarray:
    """Features as float64, n x d; the argument itself where it is float64 already.

    Args:
        name: what the matrix is, for the messages.
        values: n x d numbers.
        least: the fewest rows allowed.

    Raises:
        DataError: not a matrix, too few rows, no column, or a value that is NaN or infinite.
    """
    features = np.asarray(values, dtype=np.float64)
    if features.ndim != 2 or features.shape[1] == 0:
        raise DataError(f"{name} have shape {features.shape}; allowed: images x features")
    if len(features) < least:
        raise DataError(f"{name} have {len(features)} images; needed: at least {least}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise DataError(
            f"{name}: {len(bad)} of {len(features)} images have NaN or infinite features, "
            f"first in row {bad[0]}; allowed: finite numbers"
        )
    return features
