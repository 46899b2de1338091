"""Mammograms: CBIS-DDSM (Lee et al. 2017), from The Cancer Imaging Archive."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import (
    check_values,
    manifest,
    optional_column,
    read_table,
    subfolders,
)
from medtransfer.errors import DataError

TABLES = (
    ("mass", "train"),
    ("mass", "test"),
    ("calc", "train"),
    ("calc", "test"),
)
PATHOLOGY = {"BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign", "MALIGNANT": "malignant"}
COLUMNS = ("patient_id", "left or right breast", "image view", "pathology", "image file path")


def adapt_cbis_ddsm(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """``<mass|calc>_case_description_<train|test>_set.csv`` and the full mammograms as DICOM.

    The tables have one row a lesion, and here there is one row an image: malignant if any of its
    lesions is; ``lesions`` counts them and ``conflicting`` is 1 where they differ. The tables name a
    file ``<case>/<study>/<series>/000000.dcm``, which no download has: the one DICOM file below that
    series, or else below the case, is taken, ``CBIS-DDSM/`` in front or not.
    """
    lesions = pd.concat([_lesions(folder, *names) for names in TABLES], ignore_index=True)
    cases = {path.name: path for outer in (folder, *subfolders(folder)) for path in subfolders(outer)}
    images = lesions.groupby("path", sort=True)
    first = images.first()
    kinds = images["label"].nunique()
    return manifest(
        {
            "image": [_image(path, folder, cases) for path in first.index],
            "label": images["label"].max(),  # malignant sorts after benign
            "patient": first["patient_id"],
            "split": first["split"],
            "side": first["left or right breast"],
            "view": first["image view"],
            "abnormality": first["abnormality"],
            "density": first["density"],
            "lesions": images.size(),
            "conflicting": (kinds > 1).astype(int),
        }
    )


def _lesions(folder: Path, abnormality: str, part: str) -> pd.DataFrame:
    path = folder / f"{abnormality}_case_description_{part}_set.csv"
    table = read_table(path, COLUMNS)
    check_values(table["pathology"], PATHOLOGY, path, "pathology")
    return table.assign(
        path=table["image file path"],
        label=table["pathology"].map(PATHOLOGY),
        split=part,
        abnormality=abnormality,
        # the two kinds of table spell this column differently
        density=optional_column(table, "breast_density", "breast density"),
    )


def _image(path: str, folder: Path, cases: dict[str, Path]) -> str:
    """Where the image that a table names is; as the table has it where there is none."""
    case, _, inner = path.partition("/")
    if case not in cases:
        return path
    series = cases[case] / Path(inner).parent
    place = series if series.is_dir() else cases[case]
    files = sorted(file for file in place.rglob("*") if file.suffix.lower() == ".dcm")
    if len(files) > 1:
        raise DataError(f"{place}: {len(files)} DICOM files; expected one full mammogram")
    return (files[0] if files else series / Path(inner).name).relative_to(folder).as_posix()
