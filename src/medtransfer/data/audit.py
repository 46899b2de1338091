"""What a data set and its splits hold, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats.contingency import association

from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.groups import PARTS, contradictory_pixels, leakage
from medtransfer.data.subgroups import subgroups

# Examples that are listed of each problem, and values of a column before it is only counted.
EXAMPLES = 10
MOST_VALUES = 20


def audit_dataset(
    samples: pd.DataFrame,
    rejected: pd.DataFrame,
    duplicates: pd.DataFrame,
    splits: Mapping[str, pd.DataFrame],
    dataset: DatasetSettings,
) -> dict[str, Any]:
    """Counts and findings of a data set.

    Args:
        samples, rejected: of the store.
        duplicates: of schema DUPLICATES.
        splits: tables of schema SPLIT by name.
        dataset: names of classes; accepted leakage; what is dropped; bands and intersections of groups.

    Returns:
        What ``audit.json`` holds: plain lists, mappings, texts and numbers.
    """
    return {
        "images": len(samples),
        "patients": int(samples["patient"].nunique()),
        "images_of_unknown_patients": int((samples["patient"] == samples["image_id"]).sum()),
        "patients_at_several_sites": _at_several_sites(samples),
        "rejected": len(rejected),
        "rejected_reasons": reason_counts(rejected),
        "classes": class_counts(samples, dataset),
        "sites": _counts(samples["site"]),
        "display": _counts(samples["display"]),
        "burned_in": _counts(samples["burned_in"].replace("", "not stated")),
        "duplicates": _duplicates(samples, duplicates),
        "contradictions": _contradictions(samples),
        "site_confounding": site_confounding(samples, dataset),
        "accepted_leakage": list(dataset.accept),
        "dropped": list(dataset.drop),
        "splits": {
            name: _audit_split(samples, split, duplicates, dataset) for name, split in splits.items()
        },
    }


def _at_several_sites(samples: pd.DataFrame) -> int:
    """Patients with images of more than one site: the same person, or an id that two hospitals gave."""
    known = samples[samples["site"].notna() & (samples["patient"] != samples["image_id"])]
    return int((known.groupby("patient")["site"].nunique() > 1).sum())


def reason_counts(rejected: pd.DataFrame) -> dict[str, int]:
    """``stage: reason`` and how many images it cost, the most frequent first."""
    pairs = zip(rejected["stage"], rejected["reason"], strict=True)
    return dict(Counter(f"{stage}: {reason}" for stage, reason in pairs).most_common())


def class_counts(samples: pd.DataFrame, dataset: DatasetSettings) -> dict[str, int]:
    """Images of each class; for multilabel, images with each label."""
    if isinstance(dataset.labels, tuple):
        return {name: int((samples[f"label_{name}"] == 1).sum()) for name in dataset.labels}
    counts = samples["label"].value_counts()
    return {name: int(counts.get(i, 0)) for i, name in enumerate(dataset.class_names)}


def site_confounding(samples: pd.DataFrame, dataset: DatasetSettings) -> dict[str, float]:
    """Cramér's V between site and label, from 0 (independent) to 1 (the site tells the label).

    For multilabel, one for each label. Nothing when fewer than two sites are known.
    """
    known = samples[samples["site"].notna()]
    if known["site"].nunique() < 2:
        return {}
    columns = [f"label_{n}" for n in dataset.labels] if isinstance(dataset.labels, tuple) else ["label"]
    return {
        name: float(association(table.to_numpy(), method="cramer"))
        for name in columns
        if min((table := pd.crosstab(known["site"], known[name])).shape) > 1
    }


def _counts(column: pd.Series) -> dict[str, int]:
    """Values and how often each occurs; a column of very many values is one number of them."""
    counts = column.value_counts()
    if len(counts) > MOST_VALUES:
        return {f"{len(counts)} different values": int(counts.sum())}
    return {str(value): int(count) for value, count in counts.items()}


def _duplicates(samples: pd.DataFrame, duplicates: pd.DataFrame) -> dict[str, Any]:
    """Pairs by kind, those between different patients, and the first of these as manifest rows."""
    facts = samples.set_index("image_id")[["manifest_row", "patient"]]
    a, b = facts.loc[duplicates["image_a"]], facts.loc[duplicates["image_b"]]
    strangers = a["patient"].to_numpy() != b["patient"].to_numpy()
    found: dict[str, Any] = {}
    for kind in ("exact", "near"):
        chosen = (duplicates["kind"] == kind).to_numpy()
        rows = np.stack([a["manifest_row"], b["manifest_row"]], axis=1)[chosen & strangers]
        found[f"{kind}_pairs"] = int(chosen.sum())
        found[f"{kind}_pairs_of_different_patients"] = len(rows)
        found[f"{kind}_examples"] = rows[:EXAMPLES].tolist()
    return found


def _contradictions(samples: pd.DataFrame) -> dict[str, Any]:
    """Equal images with different labels, and the first of them as manifest rows."""
    torn = samples[samples["pixel_sha256"].isin(contradictory_pixels(samples))]
    sets = [group["manifest_row"].tolist() for _, group in torn.groupby("pixel_sha256", sort=False)]
    return {"images": len(torn), "examples": sets[:EXAMPLES]}


def _audit_split(
    samples: pd.DataFrame, split: pd.DataFrame, duplicates: pd.DataFrame, dataset: DatasetSettings
) -> dict[str, Any]:
    part = split["part"].to_numpy()
    part_of = dict(zip(split["image_id"], part, strict=True))
    inside = duplicates[duplicates["image_a"].map(part_of) == duplicates["image_b"].map(part_of)]
    return {
        "parts": {
            name: _audit_part(samples[part == name], dataset)
            for name in (*PARTS, "excluded")
            if name in part
        },
        "pairs_within_parts": _counts(inside["kind"]),
        "leakage": {kind: len(pairs) for kind, pairs in leakage(samples, split, duplicates).items()},
    }


def _audit_part(samples: pd.DataFrame, dataset: DatasetSettings) -> dict[str, Any]:
    groups = subgroups(samples, dataset, "samples")
    return {
        "images": len(samples),
        "patients": int(samples["patient"].nunique()),
        "classes": class_counts(samples, dataset),
        "sites": _counts(samples["site"]),
        "groups": {str(name): _counts(groups[name]) for name in groups},
    }
