"""The headers of NumPy files: what shape an array has, without reading it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medtransfer.errors import DataError


def array_shape(path: Path) -> tuple[int, ...]:
    """Shape of the array in a ``.npy`` file."""
    return opened(path).shape


def opened(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file, mapped: only what is used is read.

    Raises:
        DataError: no such file, or not an array of numbers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an array of numbers: {error}") from error
