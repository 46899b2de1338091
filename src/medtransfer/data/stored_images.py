"""The images of a finished pixel store, and whether they still are what was stored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.disk_problems import damage_named, damaged


def read_images(path: Path, count: int) -> np.ndarray:
    """The images of a finished store as a memory map, count x H x W x C.

    Raises:
        FileError: no such file, or one that is cut or holds another number of images.
    """
    with damage_named(path, "file of images", (ValueError, EOFError)):
        images: np.ndarray = np.load(path, mmap_mode="r")
    if len(images) != count:
        raise damaged(path, f"{len(images)} images found, {count} in the table beside it")
    return images


def check_pixels(images: np.ndarray, samples: pd.DataFrame, rows: np.ndarray) -> None:
    """Raise unless images are those that were stored: a bad disk or copy doesn't tell.

    Args:
        images: uint8 or uint16, N x H x W x C, usually a memory map.
        samples: N rows with the hashes of the stored pixels; tables made by hand may have none.
        rows: which images to look at.

    Raises:
        FileError: how many of them are others, and the row of the first.
    """
    if "pixel_sha256" not in samples:
        return
    stored = samples["pixel_sha256"].to_numpy()
    others = [row for row in rows if hashlib.sha256(images[row].tobytes()).hexdigest() != stored[row]]
    if others:
        path = Path(getattr(images, "filename", None) or "images.npy")
        found = f"{len(others)} of {len(rows)} images are not as stored, the first in row {others[0]}"
        raise damaged(path, found)
