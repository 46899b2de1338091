"""Layouts whose labels are folder names: any tree of classes, and RadImageNet (Mei et al. 2022)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import (
    PARTS,
    image_files,
    manifest,
    matched,
    one_row_each,
    read_table,
    shown,
    subfolders,
)
from medtransfer.errors import DataError

MODALITIES = ("CT", "MR", "US")


def adapt_class_folders(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """``[<subset>/][<part>/]<class>/**/<image>``: the class is the name of the folder.

    A level of folders that are all named as parts (train, val, valid, validation, test ...) is the
    ``split``. ``class_index`` numbers the classes in the order of their names.
    """
    root = folder / (settings.subset or "")
    tops = subfolders(root)
    has_parts = bool(tops) and all(path.name.lower() in PARTS for path in tops)
    rows = []
    for part in tops if has_parts else [root]:
        for kind in subfolders(part):
            split = PARTS[part.name.lower()] if has_parts else ""
            rows += [(path, kind.name, split) for path in image_files(kind)]
    if not rows:
        raise DataError(f"{root}: found {shown(root)}; expected folders of images, one a class")
    columns = {
        "image": [path.relative_to(folder).as_posix() for path, _, _ in rows],
        "label": [name for _, name, _ in rows],
    }
    columns |= {"split": [split for _, _, split in rows]} if has_parts else {}
    return _numbered(manifest(columns))


def adapt_radimagenet(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """``[<subset>/]<CT|MR|US>/<anatomy>/<pathology>/<image>`` or the owners' three tables of files.

    ``RadiologyAI_<train|val|test>.csv`` have ``filename``, starting with ``radiology_ai/``, and
    ``label``; without them the folders are listed and there is no split. Ultrasound has no level of
    anatomies. ``label`` is the path of folders from the modality on, since one pathology occurs in
    several anatomies; ``pathology`` is what the table says, else the last folder. Patients are not
    published.
    """
    tables = [(part, folder / f"RadiologyAI_{part}.csv") for part in ("train", "val", "test")]
    if any(path.exists() for _, path in tables):
        return _radimagenet_listed(tables, settings.subset)
    root = folder / (settings.subset or "")
    kinds = [root / name for name in MODALITIES if (root / name).is_dir()]
    files = [path.relative_to(folder) for kind in kinds for path in image_files(kind)]
    if not files:
        raise DataError(
            f"{root}: found {shown(root)}; expected RadiologyAI_train.csv or "
            f"folders {', '.join(MODALITIES)}"
        )
    images = [path.as_posix() for path in files]
    pathologies = [path.parent.name for path in files]
    return _numbered(manifest(_radimagenet_columns(images, pathologies, root)))


def _radimagenet_listed(tables: list[tuple[str, Path]], subset: str | None) -> pd.DataFrame:
    parts = []
    for part, path in tables:
        table = one_row_each(read_table(path, ["filename", "label"]), "filename", path)
        images = [(PurePosixPath(subset or "") / name).as_posix() for name in table["filename"]]
        columns = _radimagenet_columns(images, table["label"].tolist(), path)
        parts.append(pd.DataFrame(columns | {"split": PARTS[part]}))
    table = pd.concat(parts, ignore_index=True)
    return _numbered(manifest({str(name): table[name] for name in table}))


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Adds ``class_index``: the rank of the label among all, which for ImageNet is the usual order."""
    rank = {label: str(index) for index, label in enumerate(sorted(set(table["label"])))}
    return table.assign(class_index=table["label"].map(rank))


def _radimagenet_columns(images: list[str], pathology: list[str], place: Path) -> dict[str, list[str]]:
    expected = ".../<CT|MR|US>/<anatomy>/<pathology>/<image>"
    labels = matched(r"(?:.*/)?((?:CT|MR|US)/.+)/[^/]+$", images, place, expected)
    return {
        "image": images,
        "label": labels,
        "pathology": pathology,
        "modality": [label.split("/")[0] for label in labels],
        "anatomy": ["/".join(label.split("/")[1:-1]) for label in labels],
    }
