"""MedMNIST v2 and MedMNIST+ (Yang et al. 2023), 2-D sets: unpacked ``.npz`` files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.arrays import array_shape, opened
from medtransfer.data.adapters.layout import PARTS, manifest, shown
from medtransfer.errors import DataError

ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
# What the numbers in the label arrays mean, from the owners' medmnist/info.py.
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis",
        "cardiomegaly",
        "effusion",
        "infiltration",
        "mass",
        "nodule",
        "pneumonia",
        "pneumothorax",
        "consolidation",
        "edema",
        "emphysema",
        "fibrosis",
        "pleural",
        "hernia",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "collecting duct, connecting tubule",
        "distal convoluted tubule",
        "glomerular endothelial cells",
        "interstitial endothelial cells",
        "leukocytes",
        "podocytes",
        "proximal tubule segments",
        "thick ascending limb",
    ),
    "organamnist": ORGANS,
    "organcmnist": ORGANS,
    "organsmnist": ORGANS,
}


def adapt_medmnist(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """``<subset>/<train|val|test>_images.npy`` and ``..._labels.npy``.

    ``<subset>`` is the name of the ``.npz`` file, e.g. ``breastmnist_224``. Images are N x H x W or
    N x H x W x 3, labels N x 1 or N: column ``label`` with the name of the class (its number for sets
    that this module doesn't know). N x L labels become L columns of 0 and 1. A part without labels
    has empty ones; at least one part must be there.
    """
    root = folder / str(settings.subset)
    parts = [part for part in ("train", "val", "test") if (root / f"{part}_images.npy").is_file()]
    if not parts:
        raise DataError(f"{root}: found {shown(root)}; expected train_images.npy and so on")
    classes = CLASSES.get(re.sub(r"_\d+$", "", root.name), ())
    table = pd.concat([_part(root, part, classes) for part in parts], ignore_index=True).fillna("")
    return manifest({str(name): table[name] for name in table})


def _part(root: Path, part: str, classes: tuple[str, ...]) -> pd.DataFrame:
    path = root / f"{part}_images.npy"
    shape = array_shape(path)
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        raise DataError(f"{path}: an array of shape {shape}; expected N x H x W or N x H x W x 3")
    table = pd.DataFrame({"image": f"{root.name}/{path.name}", "frame": np.arange(shape[0])})
    table["split"] = PARTS[part]
    labels = root / f"{part}_labels.npy"
    if not labels.is_file():
        return table
    values = opened(labels)
    if values.ndim not in (1, 2) or len(values) != shape[0] or values.dtype.kind not in "iu":
        raise DataError(
            f"{labels}: {values.dtype} of shape {values.shape}; expected whole numbers of shape "
            f"{shape[0]}, {shape[0]} x 1 or {shape[0]} x labels"
        )
    return table.assign(**_label_columns(np.asarray(values), classes, labels))


def _label_columns(values: np.ndarray, classes: tuple[str, ...], path: Path) -> dict[str, list[str]]:
    """``label``, or one column a label."""
    columns = values.reshape(len(values), -1).T
    if len(columns) > 1:
        names = classes if len(classes) == len(columns) else [f"label_{i}" for i in range(len(columns))]
        return {name: [str(v) for v in column] for name, column in zip(names, columns, strict=True)}
    numbers = columns[0].tolist()
    if classes and not 0 <= min(numbers, default=0) <= max(numbers, default=0) < len(classes):
        raise DataError(
            f"{path}: labels from {min(numbers)} to {max(numbers)}; expected 0 to {len(classes) - 1}"
        )
    return {"label": [classes[v] if classes else str(v) for v in numbers]}
