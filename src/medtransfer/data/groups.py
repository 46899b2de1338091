"""What a split must keep together, and what leaks when it doesn't."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medtransfer.config.dataset import Leakage
from medtransfer.errors import DataError
from medtransfer.tables import family

# Parts between which nothing may leak; images of other parts are never trained on or scored together.
PARTS = ("train", "validation", "test", "external")
LEAKAGE_IN_WORDS: dict[Leakage, str] = {
    "patients": "patients with images in several parts",
    "header_patients": "patients of the DICOM headers with images in several parts",
    "exact_duplicates": "pairs of equal images in different parts",
    "near_duplicates": "pairs of nearly equal images in different parts",
}
# A group with more than this share of all images leaves nothing to split.
LARGEST_SHARE = 0.5


def group_images(
    samples: pd.DataFrame, duplicates: pd.DataFrame, accept: Collection[Leakage]
) -> np.ndarray:
    """Number the groups that a drawn split keeps whole.

    Images belong together when they are of one patient, by the manifest or by the DICOM header, or
    when they are duplicates, and through any chain of these. Links of an accepted kind don't count,
    but those of the manifest's patients always do.

    Args:
        samples: N rows.
        duplicates: pairs of ``image_id``; pairs with images outside of ``samples`` are ignored.
        accept: the kinds of leakage that are accepted.

    Returns:
        The number of each image's group, N integers.
    """
    links = [_same_value(samples["patient"])]
    if "header_patients" not in accept:
        links.append(_same_value(samples["header_patient"]))
    kinds = [kind for kind in ("exact", "near") if f"{kind}_duplicates" not in accept]
    links.append(_duplicate_links(samples, duplicates[duplicates["kind"].isin(kinds)]))
    a, b = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(len(samples), len(samples)))
    return np.asarray(connected_components(graph, directed=False)[1])


def _same_value(column: pd.Series) -> np.ndarray:
    """Links from each image to the first with the same value, 2 x M; empty values link nothing."""
    values = column.to_numpy(dtype=object)
    rows = np.flatnonzero(values != "")
    codes, _ = pd.factorize(values[rows])
    _, firsts = np.unique(codes, return_index=True)
    return np.stack([rows, rows[firsts[codes]]]) if len(rows) else np.empty((2, 0), dtype=np.int64)


def _duplicate_links(samples: pd.DataFrame, duplicates: pd.DataFrame) -> np.ndarray:
    """Pairs of duplicates as positions in samples, 2 x M."""
    position = pd.Series(np.arange(len(samples)), index=samples["image_id"].to_numpy())
    inside = duplicates[["image_a", "image_b"]].isin(position.index).all(axis=1)
    pairs = duplicates[inside]
    return np.stack([position[pairs["image_a"]].to_numpy(), position[pairs["image_b"]].to_numpy()])


def check_groups(groups: np.ndarray, samples: pd.DataFrame) -> None:
    """Refuse a group that holds most of the images, unless it is a single patient of the manifest."""
    sizes = np.bincount(groups)
    largest = sizes.argmax()
    if sizes[largest] <= LARGEST_SHARE * len(groups):
        return
    patients = samples["patient"][groups == largest].nunique()
    if patients > 1:
        raise DataError(
            f"{sizes[largest]} of {len(groups)} images, of {patients} patients, are linked by "
            "duplicates or by the patient ids of their DICOM headers, so no split can keep them "
            "together. Ids that are no real ones: accept header_patients. Images that only look "
            "alike: accept near_duplicates (duplicates.parquet beside the store lists the pairs)"
        )


def dropped_images(
    samples: pd.DataFrame, duplicates: pd.DataFrame, drop: Collection[str]
) -> np.ndarray:
    """Images that the settings leave out of every part, N truth values."""
    dropped = np.zeros(len(samples), dtype=bool)
    exact = duplicates[duplicates["kind"] == "exact"]
    if "duplicates" in drop:
        dropped |= samples["image_id"].isin(exact["image_b"]).to_numpy()
    if "contradictions" in drop:
        dropped |= samples["pixel_sha256"].isin(contradictory_pixels(samples)).to_numpy()
    return dropped


def contradictory_pixels(samples: pd.DataFrame) -> list[str]:
    """Pixel hashes of images that occur with different labels."""
    labels = samples[family(samples, "label")]
    distinct = labels.assign(pixels=samples["pixel_sha256"]).drop_duplicates()
    counts = distinct["pixels"].value_counts()
    return sorted(counts.index[counts > 1])


def leakage(
    samples: pd.DataFrame, split: pd.DataFrame, duplicates: pd.DataFrame
) -> dict[Leakage, pd.DataFrame]:
    """What a split tears apart: for each kind, pairs of images in different parts.

    Returns:
        Tables with ``row_a``, ``row_b`` (rows of the manifest), ``part_a``, ``part_b``; one pair for
        each torn patient.
    """
    table = samples[["image_id", "manifest_row", "patient", "header_patient"]].copy()
    table["part"] = split["part"].to_numpy()
    table = table[table["part"].isin(PARTS)]
    pairs = duplicates.merge(_renamed(table, "a"), on="image_a").merge(
        _renamed(table, "b"), on="image_b"
    )
    torn = pairs[pairs["part_a"] != pairs["part_b"]]
    columns = ["row_a", "row_b", "part_a", "part_b"]
    return {
        "patients": _torn(table, "patient"),
        "header_patients": _torn(table[table["header_patient"] != ""], "header_patient"),
        "exact_duplicates": torn.loc[torn["kind"] == "exact", columns],
        "near_duplicates": torn.loc[torn["kind"] == "near", columns],
    }


def _renamed(table: pd.DataFrame, suffix: str) -> pd.DataFrame:
    names = {"image_id": "image", "manifest_row": "row", "part": "part"}
    return table[list(names)].rename(columns={k: f"{v}_{suffix}" for k, v in names.items()})


def _torn(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """For each value of a column with images in several parts, the first two such images."""
    firsts = table.drop_duplicates([column, "part"])
    several = firsts[firsts[column].duplicated(keep=False)].groupby(column, sort=False)
    pairs = [group.head(2) for _, group in several]
    return pd.DataFrame(
        {
            f"{name}_{suffix}": [pair[source].iloc[place] for pair in pairs]
            for place, suffix in enumerate("ab")
            for name, source in (("row", "manifest_row"), ("part", "part"))
        }
    )


def check_leakage(
    samples: pd.DataFrame,
    split: pd.DataFrame,
    duplicates: pd.DataFrame,
    accept: Collection[Leakage],
    name: str,
) -> None:
    """Raise DataError, naming examples, unless everything that leaks is accepted."""
    found = leakage(samples, split, duplicates)
    problems = list(_problems({kind: pairs for kind, pairs in found.items() if kind not in accept}))
    if problems:
        kinds = [kind for kind, pairs in found.items() if len(pairs) and kind not in accept]
        raise DataError(
            f"split {name} leaks: {'; '.join(problems)}. Mend the split or the data, or name what you "
            f"accept in the data set's settings: accept: [{', '.join(kinds)}]"
        )


def _problems(found: dict[Leakage, pd.DataFrame]) -> Iterator[str]:
    for kind, pairs in found.items():
        if len(pairs):
            first = pairs.iloc[0]
            yield (
                f"{len(pairs)} {LEAKAGE_IN_WORDS[kind]} (first: manifest row {first['row_a']} in "
                f"{first['part_a']}, row {first['row_b']} in {first['part_b']})"
            )
