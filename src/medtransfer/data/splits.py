"""Patient-level splits and nested training subsets.

Patients are ordered by the hash of their images' bytes before anything is drawn, so a split depends
on the images, the labels and the seed alone: not on the order of the manifest nor on the key of the
patient hashes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.names import parse_fold, subset_size
from medtransfer.errors import DataError
from medtransfer.tables import Column, Schema

SPLIT = Schema(
    name="split",
    row="one stored image, in the order of images.npy",
    columns={
        "image_id": Column("text", "as in samples"),
        "part": Column("text", "train, validation, test or external"),
        "training_rank": Column(
            "integer",
            "training images up to and with this image's patient, in the order in which nested "
            "subsets take patients; 0 outside of train",
        ),
    },
    families={},
)
# A stratum of fewer patients can't be spread over the parts and joins the others of its size.
SMALLEST_STRATUM = 5


def make_split(samples: pd.DataFrame, dataset: DatasetSettings, split: str) -> pd.DataFrame:
    """Assign every image to a part, whole patients together, balanced over the labels.

    Args:
        samples: the stored images.
        dataset: shares, seed, external sites.
        split: ``holdout``, ``published`` or ``cv<folds>-<fold>``.

    Returns:
        A table of schema SPLIT with the rows of ``samples``.

    Raises:
        DataError: a class without training or validation images, a patient in two published parts.
    """
    external = _external(samples, dataset)
    patients = _patients(samples[~external])
    if split == "published":
        assigned = _published_parts(samples[~external])
    else:
        assigned = _drawn_parts(patients, dataset, parse_fold(split))
    part = samples["patient"].map(assigned).to_numpy(dtype=object, copy=True)
    part[external] = "external"
    table = pd.DataFrame({"image_id": samples["image_id"], "part": part})
    table["training_rank"] = _training_rank(samples, part, patients, dataset.splits.seed)
    _check_classes(samples, table, dataset, split)
    return table


def training_subset(split: pd.DataFrame, subset: str) -> np.ndarray:
    """Rows of the training images in a subset, ascending.

    Subsets are nested and hold whole patients, so a subset may have a few images fewer than its name
    says, never more; at least the first patient is in.
    """
    ranks = split["training_rank"].to_numpy()
    in_train = (split["part"] == "train").to_numpy()
    size = subset_size(subset, int(in_train.sum()))
    smallest = ranks[in_train].min()
    return np.flatnonzero(in_train & (ranks <= max(size, smallest)))


def _external(samples: pd.DataFrame, dataset: DatasetSettings) -> np.ndarray:
    """Images of the external sites, N truth values, with all other images of their patients.

    A patient who was at an external and at another site is kept out of training as a whole.
    """
    sites = [str(site) for site in dataset.external_sites]
    known = sorted(samples["site"].dropna().unique())
    for site in sites:
        if site not in known:
            raise DataError(f"external_sites names '{site}'; the stored images have {known}")
    there = samples["site"].isin(sites)
    return samples["patient"].isin(samples["patient"][there]).to_numpy()


def _patients(samples: pd.DataFrame) -> pd.DataFrame:
    """One row a patient, ordered by image content: ``images``, ``stratum``; index ``patient``."""
    groups = samples.assign(stratum=_strata(samples)).groupby("patient")
    table = groups.agg(first=("sha256", "min"), images=("sha256", "size"), stratum=("stratum", "max"))
    table = table.sort_values(["first", "stratum", "images"], kind="stable")
    sizes = table["stratum"].map(table["stratum"].value_counts())
    table.loc[sizes < SMALLEST_STRATUM, "stratum"] = "(rare)"
    return table


def _strata(samples: pd.DataFrame) -> pd.Series:
    """What an image is balanced by: its class, or the set of its positive labels, as sortable text."""
    if "label" in samples:
        return samples["label"].map("{:06d}".format)
    labels = samples[[column for column in samples if str(column).startswith("label_")]]
    return (labels.fillna(0).astype(int)).astype(str).agg("".join, axis=1)


def _drawn_parts(
    patients: pd.DataFrame, dataset: DatasetSettings, fold: tuple[int, int] | None
) -> dict[str, str]:
    settings = dataset.splits
    position = _positions(patients, settings.seed)
    if fold is None:
        test = position < settings.test
        validation = ~test & (position < settings.test + settings.validation)
    else:
        folds, number = fold
        turn = (position * folds).astype(int)
        test = turn == number
        rest = _positions(patients[~test], settings.seed + 1 + number)
        validation = np.zeros(len(patients), dtype=bool)
        validation[~test] = rest < settings.validation
    parts = np.where(test, "test", np.where(validation, "validation", "train"))
    return dict(zip(patients.index, parts.tolist(), strict=True))


def _positions(patients: pd.DataFrame, seed: int) -> np.ndarray:
    """A random place in (0, 1) for each patient, evenly spread within each stratum."""
    generator = np.random.default_rng(seed)
    position = np.empty(len(patients))
    strata = patients["stratum"].to_numpy()
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order = generator.permutation(len(members))
        position[members[order]] = (np.arange(len(members)) + generator.random()) / len(members)
    return position


def _published_parts(samples: pd.DataFrame) -> dict[str, str]:
    if samples["published_part"].isna().any():
        count = int(samples["published_part"].isna().sum())
        raise DataError(f"{count} images have no part in the published split")
    parts = samples.groupby("patient")["published_part"].agg(["first", "nunique"])
    torn = int((parts["nunique"] > 1).sum())
    if torn:
        raise DataError(f"the published split puts {torn} patients into more than one part")
    return dict(zip(parts.index, parts["first"], strict=True))


def _training_rank(
    samples: pd.DataFrame, part: np.ndarray, patients: pd.DataFrame, seed: int
) -> np.ndarray:
    in_train = part == "train"
    training = patients[patients.index.isin(set(samples["patient"][in_train]))]
    order = np.argsort(_positions(training, seed), kind="stable")
    cumulative = training["images"].iloc[order].cumsum()
    rank = samples["patient"].map(cumulative).fillna(0).astype(np.int64).to_numpy()
    return np.where(in_train, rank, 0)


def _check_classes(
    samples: pd.DataFrame, table: pd.DataFrame, dataset: DatasetSettings, split: str
) -> None:
    for part in ("train", "validation"):
        chosen = samples[(table["part"] == part).to_numpy()]
        for output, count in _class_counts(chosen, dataset).items():
            if count == 0:
                raise DataError(f"split {split}: no {part} image of class '{output}'")


def _class_counts(samples: pd.DataFrame, dataset: DatasetSettings) -> dict[str, int]:
    if isinstance(dataset.labels, tuple):
        return {name: int((samples[f"label_{name}"] == 1).sum()) for name in dataset.labels}
    counts = samples["label"].value_counts()
    return {name: int(counts.get(i, 0)) for i, name in enumerate(dataset.class_names)}
