"""Chest radiographs: CheXpert, NIH ChestX-ray14, RSNA Pneumonia and Kermany's paediatric set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import (
    PARTS,
    check_values,
    find,
    folder_with,
    image_files,
    manifest,
    matched,
    one_row_each,
    optional_column,
    paths_by_name,
    read_table,
    shown,
    subfolders,
)
from medtransfer.errors import DataError

CHEXPERT_LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# what the labeller may say of a finding; an empty cell is a finding that the report doesn't mention
CHEXPERT_VALUES = {"1.0": "1", "1": "1", "0.0": "0", "0": "0", "": "0"}
UNCERTAIN = ("-1.0", "-1")
UNCERTAIN_AS = {"zeros": "0", "ones": "1", "ignore": ""}

NIH_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)

# the owners' test set is hidden: papers report on their validation set
OFFICIAL_PARTS = {"train": "train", "valid": "test"}

KERMANY_CLASSES = ("NORMAL", "PNEUMONIA")
KERMANY_PATIENT = r"(?:(?:NORMAL2-)?IM-(?=\d)|(?=person))((?:person)?\d+)[-_]"


def adapt_chexpert(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """CheXpert (Irvin et al. 2019), full size or small: ``train.csv``, ``valid.csv`` and their images.

    ``Path`` is ``CheXpert-v1.0[-small]/<train|valid>/patient<n>/study<n>/view<n>_<view>.jpg``. A
    finding that the report doesn't mention is 0; an uncertain one becomes what the settings say. The
    owners' validation images are the test part, since their test set is hidden.
    """
    root = folder_with(folder, "train.csv", *[path.name for path in subfolders(folder)])
    parts = [_chexpert_part(root, part) for part in ("train", "valid")]
    table = pd.concat(parts, ignore_index=True)
    if settings.views == "frontal":
        table = table[table["Frontal/Lateral"].str.lower() == "frontal"]
    values = CHEXPERT_VALUES | dict.fromkeys(UNCERTAIN, UNCERTAIN_AS[settings.uncertain or "zeros"])
    outer = root.relative_to(folder)
    inner = [path.partition("/")[2] for path in table["Path"]]
    return manifest(
        {
            "image": [(outer / path).as_posix() for path in inner],
            **{name: table[name].map(values) for name in CHEXPERT_LABELS},
            "patient": [path.split("/")[1] for path in inner],
            "split": table["split"],
            "sex": table["Sex"],
            "age": table["Age"],
            "view": table["Frontal/Lateral"],
            "projection": table["AP/PA"],
        }
    )


def _chexpert_part(root: Path, part: str) -> pd.DataFrame:
    path = root / f"{part}.csv"
    facts = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"]
    table = one_row_each(read_table(path, [*facts, *CHEXPERT_LABELS]), "Path", path)
    for name in CHEXPERT_LABELS:
        check_values(table[name], (*CHEXPERT_VALUES, *UNCERTAIN), path, name)
    matched(
        r"[^/]+/\w+/(patient\d+)/[^/]+/[^/]+$",
        table["Path"],
        path,
        "CheXpert-v1.0/train/patient1/study1/x.jpg",
    )
    return table.assign(split=OFFICIAL_PARTS[part])


def adapt_nih_chestxray14(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """NIH ChestX-ray14 (Wang et al. 2017): ``Data_Entry_2017_v2020.csv`` (or without ``_v2020``).

    Images are in ``images/`` or in ``images_001/images/`` to ``images_012/images/``. The official
    parts are ``train_val_list.txt`` (train) and ``test_list.txt`` (test).
    """
    path = find(folder, "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
    columns = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"]
    table = one_row_each(read_table(path, columns), "Image Index", path)
    found = table["Finding Labels"].str.split("|")
    named = found.explode()
    check_values(named, (*NIH_LABELS, "No Finding"), path, "Finding Labels")
    places = paths_by_name(folder, "images*")
    names = table["Image Index"]
    split = _nih_parts(folder)
    return manifest(
        {
            "image": [places.get(name, f"images/{name}") for name in names],
            **{label: [str(int(label in row)) for row in found] for label in NIH_LABELS},
            "patient": table["Patient ID"],
            "split": [split.get(name, "") for name in names],
            "sex": optional_column(table, "Patient Gender", "Patient Sex"),
            "age": table["Patient Age"],
            "view": table["View Position"],
        }
    )


def _nih_parts(folder: Path) -> dict[str, str]:
    """The part of each image that the two lists name."""
    parts: dict[str, str] = {}
    for name, part in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
        path = find(folder, name)
        images = path.read_text(encoding="utf-8-sig").split()
        twice = [image for image in images if parts.get(image, part) != part]
        if twice:
            raise DataError(f"{path}: '{twice[0]}' is in the other list too ({len(twice)} such images)")
        parts |= dict.fromkeys(images, part)
    return parts


def adapt_rsna_pneumonia(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """RSNA Pneumonia Detection Challenge 2018, stage 2, training set.

    ``stage_2_train_labels.csv`` has one row a box (several an image, one without a box for a
    negative image), ``stage_2_detailed_class_info.csv`` the kind of negative; images are
    ``stage_2_train_images/<patientId>.dcm``. An image is positive if any of its rows is. ``patientId``
    names the image: the challenge doesn't say which images are of one patient.
    """
    path = folder / "stage_2_train_labels.csv"
    boxes = read_table(path, ["patientId", "Target"])
    check_values(boxes["Target"], ("0", "1"), path, "Target")
    targets = boxes.groupby("patientId")["Target"].max()
    path = folder / "stage_2_detailed_class_info.csv"
    kinds = read_table(path, ["patientId", "class"])[["patientId", "class"]]
    kind = one_row_each(kinds, "patientId", path).set_index("patientId")["class"]
    return manifest(
        {
            "image": [f"stage_2_train_images/{name}.dcm" for name in targets.index],
            "label": targets.map({"0": "normal", "1": "pneumonia"}),
            "finding": kind.reindex(targets.index).fillna(""),
        }
    )


def adapt_kermany_chest(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """Paediatric chest X-rays (Kermany et al. 2018): ``chest_xray/<part>/<class>/<name>.jpeg``.

    Parts are ``train``, ``test`` and, in Kaggle's copy, ``val``. The patient is told by the file name:
    ``person<n>_<bacteria|virus>_<n>``, ``IM-<n>-<n>`` or ``NORMAL2-IM-<n>-<n>``; the two series of
    normal children count as one, as in study 4.
    """
    root = folder_with(folder, "train", "chest_xray")
    rows: list[tuple[str, ...]] = []
    for part in (path for path in subfolders(root) if path.name in PARTS):
        for kind in subfolders(part):
            check_values(pd.Series([kind.name.upper()]), KERMANY_CLASSES, part, "(folder names)")
            files = image_files(kind, (".jpeg",))
            rows += [
                (path.relative_to(folder).as_posix(), kind.name.upper(), PARTS[part.name])
                for path in files
            ]
    if not rows:
        raise DataError(f"{root}: found {shown(root)}; expected train/NORMAL/*.jpeg and so on")
    names = [image.rpartition("/")[2] for image, _, _ in rows]
    return manifest(
        {
            "image": [image for image, _, _ in rows],
            "label": [label for _, label, _ in rows],
            "subtype": [_kermany_subtype(name) for name in names],
            "patient": kermany_patients(names, root),
            "split": [part for _, _, part in rows],
        }
    )


def kermany_patients(names: list[str], folder: Path) -> list[str]:
    """The patient in each file name: ``person123``, or the number of a normal child, as text."""
    expected = "person<n>_<bacteria|virus>_<n>, IM-<n>-<n> or NORMAL2-IM-<n>-<n>"
    return matched(KERMANY_PATIENT, names, folder, expected)


def _kermany_subtype(name: str) -> str:
    """What kind of pneumonia the file name says."""
    return next((kind for kind in ("bacteria", "virus") if f"_{kind}_" in name), "normal")
