"""Fundus photographs graded for diabetic retinopathy: APTOS 2019 and EyePACS 2015 (both Kaggle)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import (
    check_values,
    manifest,
    matched,
    one_row_each,
    read_table,
)

GRADES = ("0", "1", "2", "3", "4")


def adapt_aptos2019(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """APTOS 2019 Blindness Detection: ``train.csv`` and ``train_images/<id_code>.png``.

    The competition's test images have no public grades and are left out. Patients are unknown.
    """
    path = folder / "train.csv"
    table = one_row_each(read_table(path, ["id_code", "diagnosis"]), "id_code", path)
    check_values(table["diagnosis"], GRADES, path, "diagnosis")
    images = [f"train_images/{code}.png" for code in table["id_code"]]
    return manifest({"image": images, "grade": table["diagnosis"]})


def adapt_eyepacs2015(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """Kaggle Diabetic Retinopathy Detection 2015: ``trainLabels.csv`` and ``train/<image>.jpeg``.

    ``<patient>_left`` and ``<patient>_right`` are the two eyes of one patient.
    """
    path = folder / "trainLabels.csv"
    table = one_row_each(read_table(path, ["image", "level"]), "image", path)
    check_values(table["level"], GRADES, path, "level")
    patients = matched(
        r"(.+)_(?:left|right)$", table["image"], path, "<patient>_left or <patient>_right"
    )
    return manifest(
        {
            "image": [f"train/{name}.jpeg" for name in table["image"]],
            "grade": table["level"],
            "patient": patients,
            "eye": [name.rpartition("_")[2] for name in table["image"]],
        }
    )
