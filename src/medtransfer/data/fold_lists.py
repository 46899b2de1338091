"""The lists of a published cross-validation, matched with a manifest by file name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from medtransfer.config.names import LIST_NAMES, fold_list_path
from medtransfer.data.text_table import read_text_table
from medtransfer.errors import DataError

PARTS = ("train", "validation", "test")


def read_fold_lists(files: pd.Series, pattern: str, column: str) -> dict[int, np.ndarray]:
    """The part of each file in each fold.

    Args:
        files: paths of the manifest's images; their names must be unique.
        pattern: path of the lists, with ``{part}`` (train, val, test) and ``{fold}`` (from 1); as many
            folds are read as there are lists.
        column: of the lists, with the image's path or name.

    Returns:
        For each fold ``train``, ``validation``, ``test`` or NaN (in no list) for each file.

    Raises:
        DataError: a list of a fold is missing, lists an image twice, or one that isn't in the manifest.
    """
    folds: dict[int, np.ndarray] = {}
    while _path(pattern, "train", len(folds) + 1).is_file():
        fold = len(folds) + 1
        position = _unique_names(files)
        folds[fold] = _parts_of_fold(position, pattern, column, fold)
    return folds


def _path(pattern: str, part: str, fold: int) -> Path:
    return Path(fold_list_path(pattern, part, fold))


def _parts_of_fold(position: dict[str, int], pattern: str, column: str, fold: int) -> np.ndarray:
    """The part of each file in one fold."""
    parts = np.full(len(position), np.nan, dtype=object)
    for part, name in zip(PARTS, LIST_NAMES, strict=True):
        path = _path(pattern, name, fold)
        listed = _listed_names(path, column)
        missing = [image for image in listed if image not in position]
        if missing:
            raise DataError(
                f"{path}: {len(missing)} of {len(listed)} listed images are not in the manifest, "
                f"the first {missing[0]!r}"
            )
        rows = [position[image] for image in listed]
        twice = [image for image, row in zip(listed, rows, strict=True) if isinstance(parts[row], str)]
        if twice or len(set(listed)) < len(listed):
            raise DataError(f"{path}: lists an image twice, or one of another part: {twice[:1]}")
        parts[rows] = part
    return parts


def _unique_names(files: pd.Series) -> dict[str, int]:
    names = [Path(file).name for file in files]
    position = {name: row for row, name in enumerate(names)}
    if len(position) < len(names):
        repeated = next(name for row, name in enumerate(names) if position[name] != row)
        raise DataError(f"key 'fold_lists' needs unique file names; the manifest repeats {repeated!r}")
    return position


def _listed_names(path: Path, column: str) -> list[str]:
    table = read_text_table(path)
    if column not in table:
        raise DataError(
            f"{path}: no column '{column}' (key 'fold_column') (columns: {', '.join(table.columns)})"
        )
    return [PurePosixPath(str(name)).name for name in table[column]]
