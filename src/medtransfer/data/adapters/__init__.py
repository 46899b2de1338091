"""Adapters: from the layout that a public data set is published in to a manifest.

An adapter reads tables and lists folders; it never decodes an image. It returns one row an image, all
text: ``image`` (path below the data set's folder, with forward slashes), where needed ``frame`` (from
0, in a file of many images), label columns, and as far as the owners say so ``patient`` (patient,
lesion or slide), ``site``, ``split`` (train, validation, test) and columns for subgroups. A labelled
image whose file is missing stays in: the store rejects it by name. A file without a label is left out,
unless the layout has no labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pandas as pd

from medtransfer.config.access import AdapterName, AdapterSettings
from medtransfer.data.adapters.dermoscopy import adapt_ham10000, adapt_isic2019
from medtransfer.data.adapters.folders import adapt_class_folders, adapt_radimagenet
from medtransfer.data.adapters.fundus import adapt_aptos2019, adapt_eyepacs2015
from medtransfer.data.adapters.knee import adapt_mrnet
from medtransfer.data.adapters.layout import Adapter
from medtransfer.data.adapters.mammograms import adapt_cbis_ddsm
from medtransfer.data.adapters.medmnist import adapt_medmnist
from medtransfer.data.adapters.pathology import adapt_patchcamelyon
from medtransfer.data.adapters.radiographs import (
    adapt_chexpert,
    adapt_kermany_chest,
    adapt_nih_chestxray14,
    adapt_rsna_pneumonia,
)
from medtransfer.data.adapters.ultrasound import adapt_busi, adapt_ddti
from medtransfer.errors import DataError

ADAPTERS: dict[str, Adapter] = {
    "aptos2019": adapt_aptos2019,
    "busi": adapt_busi,
    "cbis_ddsm": adapt_cbis_ddsm,
    "chexpert": adapt_chexpert,
    "class_folders": adapt_class_folders,
    "ddti": adapt_ddti,
    "eyepacs2015": adapt_eyepacs2015,
    "ham10000": adapt_ham10000,
    "isic2019": adapt_isic2019,
    "kermany_chest": adapt_kermany_chest,
    "medmnist": adapt_medmnist,
    "mrnet": adapt_mrnet,
    "nih_chestxray14": adapt_nih_chestxray14,
    "patchcamelyon": adapt_patchcamelyon,
    "radimagenet": adapt_radimagenet,
    "rsna_pneumonia": adapt_rsna_pneumonia,
}
assert set(ADAPTERS) == set(get_args(AdapterName)), "the settings name adapters that are not here"


def adapt(folder: Path, settings: AdapterSettings) -> pd.DataFrame:
    """The manifest of a public data set.

    Args:
        folder: where its files are.
        settings: which layout they have, and how its labels are read.

    Returns:
        One row an image, as the module says.

    Raises:
        DataError: naming the file or folder, what was found and what is expected.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; fetch or place the data set there")
    table = ADAPTERS[settings.name](folder, settings)
    if table.empty:
        raise DataError(f"{folder}: no images in the layout of {settings.name}")
    keys = [key for key in ("image", "frame") if key in table]
    again = table[table.duplicated(keys)]
    if len(again):
        raise DataError(f"{folder}: image '{again['image'].iloc[0]}' has more than one row")
    return table
