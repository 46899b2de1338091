"""Dermoscopy of skin lesions: the training sets of ISIC 2019 and of ISIC 2018 task 3 (HAM10000)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import (
    check_values,
    find,
    manifest,
    one_hot_class,
    one_row_each,
    optional_column,
    paths_by_name,
    read_table,
)
from medtransfer.errors import DataError

ISIC2019_CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
HAM10000_CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def adapt_isic2019(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """ISIC Challenge 2019, training set.

    ``ISIC_2019_Training_GroundTruth.csv`` has a column with 0 or 1 for each class,
    ``ISIC_2019_Training_Metadata.csv`` the lesion, sex, age and anatomical site, and
    ``ISIC_2019_Training_Input/<image>.jpg`` the pictures. The lesion stands for the patient; the
    prefix of its name is the collection that it came from. An image marked ``UNK`` has no label.
    """
    truth_path = folder / "ISIC_2019_Training_GroundTruth.csv"
    truth = one_row_each(read_table(truth_path, ["image", *ISIC2019_CLASSES]), "image", truth_path)
    label = one_hot_class(truth, ISIC2019_CLASSES, truth_path).replace("UNK", "")
    facts_path = folder / "ISIC_2019_Training_Metadata.csv"
    wanted = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    facts = _in_step(truth["image"], read_table(facts_path, wanted), "image", facts_path)
    return manifest(
        {
            "image": _placed(folder, "ISIC_2019_Training_Input", truth["image"]),
            "label": label,
            "patient": facts["lesion_id"],
            "site": facts["lesion_id"].str.partition("_")[0],
            "sex": facts["sex"],
            "age": facts["age_approx"],
            "anatomical_site": facts["anatom_site_general"],
        }
    )


def adapt_ham10000(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """HAM10000 (Tschandl et al. 2018), as ISIC Challenge 2018 task 3 or as Harvard Dataverse has it.

    ISIC: ``ISIC2018_Task3_Training_GroundTruth.csv`` (0 or 1 for each class; in the folder or in one
    of that name), ``ISIC2018_Task3_Training_LesionGroupings.csv``, images in
    ``ISIC2018_Task3_Training_Input``. Dataverse: ``HAM10000_metadata.csv`` (or without the suffix),
    images in folders ``HAM10000_images_*``. With both tables there, labels are those of ISIC and sex,
    age, localisation and source those of the other. The lesion stands for the patient.
    """
    own = [folder / name for name in ("HAM10000_metadata.csv", "HAM10000_metadata")]
    tables = [path for path in own if path.is_file()]
    of_isic = any(folder.glob("ISIC2018_Task3_Training_GroundTruth*"))
    labels = _isic2018_labels(folder) if of_isic or not tables else _ham_facts(tables[0])
    facts = _in_step(labels["image"], _ham_facts(tables[0]), "image", tables[0]) if tables else labels
    return manifest(
        {
            "image": _placed(
                folder, "ISIC2018_Task3_Training_Input", labels["image"], "HAM10000_images*"
            ),
            "label": labels["label"],
            "patient": labels["patient"],
            "site": optional_column(facts, "dataset"),
            "sex": optional_column(facts, "sex"),
            "age": optional_column(facts, "age"),
            "anatomical_site": optional_column(facts, "localization"),
        }
    )


def _isic2018_labels(folder: Path) -> pd.DataFrame:
    """``image``, ``label`` and ``patient`` (the lesion) of ISIC 2018 task 3."""
    name = "ISIC2018_Task3_Training_GroundTruth"
    path = find(folder, f"{name}.csv", f"{name}/{name}.csv")
    truth = one_row_each(read_table(path, ["image", *HAM10000_CLASSES]), "image", path)
    lesions_path = folder / "ISIC2018_Task3_Training_LesionGroupings.csv"
    lesions = _in_step(
        truth["image"], read_table(lesions_path, ["image", "lesion_id"]), "image", lesions_path
    )
    label = one_hot_class(truth, HAM10000_CLASSES, path)
    return pd.DataFrame({"image": truth["image"], "label": label, "patient": lesions["lesion_id"]})


def _ham_facts(path: Path) -> pd.DataFrame:
    """HAM10000's own table with the columns ``image``, ``label`` and ``patient`` added."""
    table = one_row_each(read_table(path, ["lesion_id", "image_id", "dx"]), "image_id", path)
    label = table["dx"].str.upper()
    check_values(label, HAM10000_CLASSES, path, "dx")
    return table.assign(image=table["image_id"], label=label, patient=table["lesion_id"])


def _in_step(images: pd.Series, table: pd.DataFrame, key: str, path: Path) -> pd.DataFrame:
    """The rows of a second table in the order of the images; each image must have one."""
    rows = one_row_each(table, key, path).set_index(key, drop=False)
    missing = images[~images.isin(rows.index)]
    if len(missing):
        raise DataError(f"{path}: no row for image '{missing.iloc[0]}' ({len(missing)} such images)")
    return rows.loc[images].reset_index(drop=True)


def _placed(folder: Path, subfolder: str, names: pd.Series, *others: str) -> list[str]:
    """Where each image is; one that is missing is named where it would be."""
    places: dict[str, str] = {}
    for pattern in (subfolder, *others):
        places = paths_by_name(folder, pattern) | places
    return [places.get(f"{name}.jpg", f"{subfolder}/{name}.jpg") for name in names]
