"""Ultrasound: breast (BUSI, Al-Dhabyani et al. 2020) and thyroid (DDTI, Pedraza et al. 2015)."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.layout import folder_with, image_files, manifest, shown
from medtransfer.errors import DataError

BUSI_CLASSES = ("benign", "malignant", "normal")
MASK = re.compile(r".*_mask(_\d+)?$")
# Horvath's and Kwak's scales as the set's radiologists used them: from 4a on a biopsy is advised
TIRADS = {
    "1": "benign",
    "2": "benign",
    "3": "benign",
    "4": "malignant",
    "4a": "malignant",
    "4b": "malignant",
    "4c": "malignant",
    "5": "malignant",
}


def adapt_busi(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """``Dataset_BUSI_with_GT/<class>/<class> (<number>).png``, beside them masks, which are left out.

    ``label`` has three classes; ``binary`` counts normal breasts as benign. Patients are unknown.
    """
    root = folder_with(folder, "benign", "Dataset_BUSI_with_GT")
    rows = []
    for name in BUSI_CLASSES:
        files = [path for path in image_files(root / name, (".png",)) if not MASK.match(path.stem)]
        if not files:
            raise DataError(
                f"{root / name}: found {shown(root / name)}; expected '{name} (1).png' and so on"
            )
        rows += [(path.relative_to(folder).as_posix(), name) for path in files]
    labels = [label for _, label in rows]
    return manifest(
        {
            "image": [image for image, _ in rows],
            "label": labels,
            "binary": ["benign" if label == "normal" else label for label in labels],
        }
    )


def adapt_ddti(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """``<case>.xml`` (patient, TI-RADS, marked images) and ``<case>_<number>.jpg`` beside it.

    TI-RADS of 4a and above is malignant. A case without TI-RADS has no label.
    """
    cases = sorted(path for path in folder.rglob("*.xml") if path.is_file())
    if not cases:
        raise DataError(f"{folder}: found {shown(folder)}; expected <case>.xml and <case>_<number>.jpg")
    rows = [row for path in cases for row in _ddti_case(path, folder)]
    names = ("image", "label", "tirads", "patient", "sex", "age")
    return manifest({name: [row[i] for row in rows] for i, name in enumerate(names)})


def _ddti_case(path: Path, folder: Path) -> list[tuple[str, ...]]:
    """One row for each image of a case, be it in the folder or only marked in the XML."""
    try:
        case = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not the XML of a case: {error}") from error
    tirads = (case.findtext("tirads") or "").strip().lower()
    if tirads and tirads not in TIRADS:
        raise DataError(f"{path}: tirads is '{tirads}'; expected {', '.join(TIRADS)} or nothing")
    marked = {(mark.findtext("image") or "").strip() for mark in case.iter("mark")} - {""}
    images = {f"{path.stem}_{number}.jpg" for number in marked}
    images |= {file.name for file in path.parent.glob(f"{path.stem}_*.jpg")}
    facts = (TIRADS.get(tirads, ""), tirads, path.stem, _text(case, "sex"), _text(case, "age"))
    return [((path.parent / name).relative_to(folder).as_posix(), *facts) for name in sorted(images)]


def _text(case: ElementTree.Element, name: str) -> str:
    return (case.findtext(name) or "").strip()
