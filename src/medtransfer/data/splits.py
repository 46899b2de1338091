"""Splits that keep patients and duplicates whole, and nested training subsets.

Groups are ordered by the hash of their images' bytes before anything is drawn, so a split depends
on the images, the labels and the seed alone: not on the order of the manifest nor on the key of the
patient hashes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.names import is_redrawn, parse_fold, published_column, subset_size
from medtransfer.data.audit import class_counts
from medtransfer.data.groups import check_groups, check_leakage, dropped_images, group_images
from medtransfer.errors import DataError
from medtransfer.seeds import derived_seed
from medtransfer.tables import Column, Schema, family

SPLIT = Schema(
    name="split",
    row="one stored image, in the order of images.npy",
    columns={
        "image_id": Column("text", "as in samples"),
        "part": Column("text", "train, validation, test, external, or excluded: dropped, in no list"),
        "training_rank": Column(
            "integer",
            "training images up to and with this image's group, in the order in which nested "
            "subsets take groups; 0 outside of train",
        ),
        "stratum": Column(
            "text",
            "what subsets are balanced by: the group's class or set of labels; empty outside of train",
        ),
    },
    families={},
)
# A stratum of fewer patients can't be spread over the parts and joins the others of its size.
SMALLEST_STRATUM = 5


def make_split(
    samples: pd.DataFrame, duplicates: pd.DataFrame, dataset: DatasetSettings, split: str
) -> pd.DataFrame:
    """Assign every image to a part, whole groups together, balanced over the labels.

    A group is a patient, with all others who share a picture with them (see
    :mod:`medtransfer.data.groups`), so that a drawn split can't leak.

    Args:
        samples: the stored images.
        duplicates: pairs of equal and nearly equal images, of schema DUPLICATES.
        dataset: shares, seed, external sites, accepted leakage, what to drop.
        split: ``holdout``, ``published``, ``published-<fold>`` or ``cv<folds>-<fold>``.

    Returns:
        A table of schema SPLIT with the rows of ``samples``.

    Raises:
        DataError: a class without training or validation images; leakage that the settings don't
            accept; one group with most of the images.
    """
    dropped = dropped_images(samples, duplicates, dataset.drop)
    kept = samples[~dropped]
    groups = group_images(kept, duplicates, dataset.accept)
    external = _external(kept, groups, dataset)
    inner = kept.assign(group=groups)[~external]
    if split.startswith("published"):
        part = _published_parts(inner, dataset, split)
    else:
        check_groups(groups, kept)
        part = _drawn_parts(inner, dataset, parse_fold(split))
    parts = np.full(len(samples), "excluded", dtype=object)
    parts[np.flatnonzero(~dropped)[external]] = "external"
    parts[np.flatnonzero(~dropped)[~external]] = part
    table = pd.DataFrame({"image_id": samples["image_id"], "part": parts})
    table = table.assign(training_rank=0, stratum="")
    training = (table["part"] == "train").to_numpy()
    ranks, strata = _training_order(inner[part == "train"], dataset.splits.seed)
    table.loc[training, "training_rank"] = ranks
    table.loc[training, "stratum"] = strata
    check_leakage(samples, table, duplicates, dataset.accept, split)
    _check_classes(samples, table, dataset, split)
    return table


def training_subset(split: pd.DataFrame, subset: str, seed: int | None = None) -> np.ndarray:
    """Rows of the training images in a subset, ascending.

    Subsets are nested and hold whole patients (groups), so a subset may have a few images fewer than
    its name says, never more; at least the first group is in. There is one order of groups for all
    runs, and for the subsets ``-redrawn`` another for each seed.

    Args:
        split: a table of schema SPLIT.
        subset: ``full``, ``n<images>`` or ``p<percent>``; the latter two also with ``-redrawn``.
        seed: of the run; a redrawn subset needs it.

    Raises:
        ConfigError: another name, or more images than there are to train on.
        ValueError: a redrawn subset without a seed.
    """
    in_train = (split["part"] == "train").to_numpy()
    ranks = split["training_rank"].to_numpy()[in_train]
    size = subset_size(subset, len(ranks))
    if is_redrawn(subset):
        ranks = _redrawn_rank(split[in_train], subset, seed)
    return np.flatnonzero(in_train)[ranks <= max(size, ranks.min())]


def _redrawn_rank(training: pd.DataFrame, subset: str, seed: int | None) -> np.ndarray:
    """The rank of each training image in the order of a seed; the rank in the table tells its group."""
    if seed is None:
        raise ValueError(f"subset '{subset}' is drawn anew for each seed; give the run's")
    groups = training.groupby("training_rank").agg(
        images=("stratum", "size"), stratum=("stratum", "first")
    )
    cumulative = _cumulative_images(groups, derived_seed(seed, "training subset"))
    return training["training_rank"].map(cumulative).to_numpy(dtype=np.int64)


def _external(samples: pd.DataFrame, groups: np.ndarray, dataset: DatasetSettings) -> np.ndarray:
    """Images of the external sites, N truth values, with all other images of their groups.

    A patient who was at an external and at another site is kept out of training as a whole.
    """
    sites = [str(site) for site in dataset.external_sites]
    known = sorted(samples["site"].dropna().unique())
    for site in sites:
        if site not in known:
            raise DataError(f"external_sites names '{site}'; the stored images have {known}")
    there = samples["site"].isin(sites).to_numpy()
    return np.isin(groups, groups[there])


def _group_table(samples: pd.DataFrame) -> pd.DataFrame:
    """One row a group, ordered by image content: ``images``, ``stratum``; index ``group``."""
    groups = samples.assign(stratum=_strata(samples)).groupby("group")
    table = groups.agg(
        first=("sha256", "min"),
        images=("sha256", "size"),
        stratum=("stratum", "max"),
        identity=("image_id", "min"),  # decides between equal files only
    )
    table = table.sort_values(["first", "stratum", "images", "identity"])
    sizes = table["stratum"].map(table["stratum"].value_counts())
    table.loc[sizes < SMALLEST_STRATUM, "stratum"] = "(rare)"
    return table


def _strata(samples: pd.DataFrame) -> pd.Series:
    """What an image is balanced by: its class, or the set of its positive labels, as sortable text."""
    if "label" in samples:
        return samples["label"].map("{:06d}".format)
    labels = samples[family(samples, "label_")]
    return (labels.fillna(0).astype(int)).astype(str).agg("".join, axis=1)


def _drawn_parts(
    samples: pd.DataFrame, dataset: DatasetSettings, fold: tuple[int, int] | None
) -> np.ndarray:
    """The part of each image, N texts."""
    settings, groups = dataset.splits, _group_table(samples)
    position = _positions(groups, settings.seed)
    if fold is None:
        test = position < settings.test
        validation = ~test & (position < settings.test + settings.validation)
    else:
        folds, number = fold
        turn = (position * folds).astype(int)
        test = turn == number
        rest = _positions(groups[~test], settings.seed + 1 + number)
        validation = np.zeros(len(groups), dtype=bool)
        validation[~test] = rest < settings.validation
    parts = np.where(test, "test", np.where(validation, "validation", "train"))
    assigned = dict(zip(groups.index, parts.tolist(), strict=True))
    return samples["group"].map(assigned).to_numpy(dtype=object)


def _positions(groups: pd.DataFrame, seed: int) -> np.ndarray:
    """A random place in (0, 1) for each group, evenly spread within each stratum."""
    generator = np.random.default_rng(seed)
    position = np.empty(len(groups))
    strata = groups["stratum"].to_numpy()
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order = generator.permutation(len(members))
        position[members[order]] = (np.arange(len(members)) + generator.random()) / len(members)
    return position


def _published_parts(samples: pd.DataFrame, dataset: DatasetSettings, split: str) -> np.ndarray:
    """The part of each image as published; images in no list of a published fold are excluded.

    Where the publishers name no validation part, one is drawn from their training part.
    """
    column = published_column(split)
    if column not in samples:
        raise DataError(f"split {split}: its lists are not at {dataset.fold_lists} (key 'fold_lists')")
    if split == "published" and samples[column].isna().any():
        count = int(samples[column].isna().sum())
        raise DataError(f"{count} images have no part in the published split")
    parts = samples[column].where(samples[column].notna(), "excluded").to_numpy(dtype=object)
    if "validation" not in parts:
        training = samples[parts == "train"]
        groups = _group_table(training)
        chosen = groups.index[_positions(groups, dataset.splits.seed) < dataset.splits.validation]
        parts[parts == "train"] = np.where(training["group"].isin(chosen), "validation", "train")
    return parts


def _training_order(training: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each training image: images up to and with its group in the order of subsets; its stratum."""
    groups = _group_table(training)
    ranks = training["group"].map(_cumulative_images(groups, seed))
    strata = training["group"].map(groups["stratum"])
    return ranks.to_numpy(dtype=np.int64), strata.to_numpy(dtype=object)


def _cumulative_images(groups: pd.DataFrame, seed: int) -> pd.Series:
    """Images up to and with each group in a balanced order that a seed draws."""
    order = np.argsort(_positions(groups, seed), kind="stable")
    return groups["images"].iloc[order].cumsum()


def _check_classes(
    samples: pd.DataFrame, table: pd.DataFrame, dataset: DatasetSettings, split: str
) -> None:
    for part in ("train", "validation"):
        chosen = samples[(table["part"] == part).to_numpy()]
        for output, count in class_counts(chosen, dataset).items():
            if count == 0:
                raise DataError(f"split {split}: no {part} image of class '{output}'")
