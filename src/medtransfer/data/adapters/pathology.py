"""Histology: PatchCamelyon (Veeling et al. 2018), patches of Camelyon16's lymph nodes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import PARTS, manifest, read_table
from medtransfer.errors import DataError


def adapt_patchcamelyon(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """``camelyonpatch_level_2_split_<train|valid|test>_<x|y>.h5`` and ``..._meta.csv``.

    ``x`` holds N x 96 x 96 x 3 pixels and ``y`` N x 1 x 1 x 1 labels; ``wsi`` of the meta table is the
    slide, which stands for the patient. With ``sample``, so many images are drawn without replacement
    from all parts in the order train, valid, test.
    """
    table = pd.concat([_part(folder, part) for part in ("train", "valid", "test")], ignore_index=True)
    if settings.sample is not None:
        if settings.sample > len(table):
            raise DataError(
                f"{folder}: {len(table)} images; expected at least sample {settings.sample}"
            )
        generator = np.random.default_rng(settings.sample_seed)
        table = table.iloc[np.sort(generator.choice(len(table), settings.sample, replace=False))]
    return manifest({str(name): table[name] for name in table})


def _part(folder: Path, part: str) -> pd.DataFrame:
    stem = f"camelyonpatch_level_2_split_{part}"
    images, labels = folder / f"{stem}_x.h5", folder / f"{stem}_y.h5"
    shape = _dataset(images, "x", values=False)
    y = _dataset(labels, "y", values=True).reshape(-1)
    meta = folder / f"{stem}_meta.csv"
    slides = read_table(meta, ["wsi"])["wsi"]
    if not len(y) == shape[0] == len(slides):
        raise DataError(
            f"{folder}: {shape[0]} images in {images.name}, {len(y)} labels in {labels.name} and "
            f"{len(slides)} rows in {meta.name}; expected as many of each"
        )
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"{labels}: labels {sorted(set(y.tolist()))}; expected 0 and 1")
    return pd.DataFrame(
        {
            "image": images.name,
            "frame": np.arange(len(y)),
            "label": np.where(y == 1, "tumor", "normal"),
            "patient": slides,
            "split": PARTS[part],
        }
    )


def _dataset(path: Path, name: str, *, values: bool) -> Any:
    """A data set of an HDF5 file: its values, or its shape only."""
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise DataError(
            f"{path}: reading HDF5 needs the package h5py, which isn't installed"
        ) from error
    if not path.is_file():
        raise DataError(f"{path}: no such file; unpack {path.name}.gz")
    try:
        with h5py.File(path, "r") as file:
            if name not in file:
                raise DataError(f"{path}: holds {', '.join(file)}; expected '{name}'")
            return np.asarray(file[name]) if values else file[name].shape
    except OSError as error:
        raise DataError(f"{path}: not an HDF5 file: {error}") from error
