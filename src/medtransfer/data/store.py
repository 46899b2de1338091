"""The pixel store: every readable image of a manifest as one uint8 memory map and one table."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.images import decode_image, to_square
from medtransfer.data.privacy import keyed_hash
from medtransfer.errors import DataError
from medtransfer.tables import Column, Schema, write_table

SAMPLES = Schema(
    name="samples",
    row="one stored image, in the order of images.npy",
    columns={
        "image_id": Column("text", "keyed hash of the image's path and frame"),
        "manifest_row": Column("integer", "row of the manifest, from 0"),
        "sha256": Column("text", "hash of the source file's bytes"),
        "pixel_sha256": Column("text", "hash of the stored pixels: this table changes when they do"),
        "patient": Column("text", "keyed hash of the patient; the image_id where none is known"),
        "site": Column("text", "hospital or scanner, empty when the manifest names none"),
        "published_part": Column("text", "train, validation or test as published, or empty"),
    },
    families={
        "group_": Column("text", "a subgroup column of the manifest"),
        "label_": Column("number", "multilabel: 0, 1 or empty"),
        "label": Column("integer", "index of the class, from 0"),
    },
)
REJECTED = Schema(
    name="rejected",
    row="one row of the manifest that gave no image",
    columns={
        "manifest_row": Column("integer", "row of the manifest, from 0"),
        "file": Column("text", "file name as the manifest has it, with its folder"),
        "frame": Column("integer", "frame number, -1 for files with a single frame"),
        "stage": Column("text", "manifest, read or decode"),
        "reason": Column("text", "what was wrong"),
    },
    families={},
)


QUOTED = re.compile(r"""(b?'[^']*'|b?"[^"]*")""")


@dataclass(frozen=True)
class _Request:
    """One image to decode into a row of the memory map."""

    row: int
    file: str
    frame: int


@dataclass(frozen=True)
class _Outcome:
    """The hashes of an image's file and pixels, or the stage and reason of its rejection."""

    row: int
    sha256: str = ""
    pixel_sha256: str = ""
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Target:
    """The memory map and the geometry that the worker processes share."""

    path: str
    size: int
    channels: int
    geometry: str


def build_store(
    manifest: pd.DataFrame, dataset: DatasetSettings, key: bytes, folder: Path, workers: int = 1
) -> None:
    """Decode all images of a manifest into ``folder``.

    Writes ``images.npy`` (uint8, N x size x size x channels), ``samples.parquet`` (N rows, same
    order), ``rejected.parquet`` and ``audit.json``. An image that can't be read costs its own row
    only.

    Args:
        manifest: as :func:`medtransfer.data.manifest.read_manifest` returns it.
        dataset: geometry, and the share of rejected images that is still accepted.
        key: secret for the patient hashes.
        folder: where the four files go.
        workers: decoding processes; decoders hold the interpreter's lock, so threads don't help.

    Raises:
        DataError: no image could be read, or more than ``max_rejected`` of them could not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".images.npy.part"
    shape = (len(manifest), dataset.image_size, dataset.image_size, dataset.channels)
    np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape).flush()
    target = _Target(str(partial), dataset.image_size, dataset.channels, dataset.geometry)
    outcomes = list(_decode_all(manifest, target, workers))
    accepted = np.array([outcome.row for outcome in outcomes if not outcome.reason], dtype=np.int64)
    rejected = _rejected_table(manifest, outcomes)
    write_table(rejected, REJECTED, folder / "rejected.parquet")
    try:
        _check_rejected(rejected, dataset.max_rejected, len(manifest))
    except DataError:
        partial.unlink()
        raise
    _keep_rows(partial, accepted, folder / "images.npy")
    samples = _samples_table(manifest, outcomes, accepted, key)
    write_table(samples, SAMPLES, folder / "samples.parquet")
    audit = json.dumps(audit_counts(samples, rejected, dataset), indent=2)
    (folder / "audit.json").write_text(audit + "\n")


def _decode_all(manifest: pd.DataFrame, target: _Target, workers: int) -> Iterator[_Outcome]:
    """Outcomes of all rows, in any order; rows without a label are never opened."""
    labelled = _has_label(manifest)
    requests = []
    for row in range(len(manifest)):
        if labelled[row]:
            entry = manifest.iloc[row]
            requests.append((_Request(row, str(entry["file"]), int(entry["frame"])), target))
        else:
            yield _Outcome(row, stage="manifest", reason="no label")
    if workers <= 1:
        yield from map(_decode_one, requests)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_decode_one, requests, chunksize=16)


def _has_label(manifest: pd.DataFrame) -> np.ndarray:
    if "label" in manifest:
        return manifest["label"].to_numpy() >= 0
    labels = manifest[[c for c in manifest if str(c).startswith("label_")]]
    return labels.notna().any(axis=1).to_numpy()


def _decode_one(job: tuple[_Request, _Target]) -> _Outcome:
    """Decode one image into its row of the memory map; whatever goes wrong is the outcome."""
    request, target = job
    frame = None if request.frame < 0 else request.frame
    try:
        content = Path(request.file).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _Outcome(request.row, stage="read", reason=reason)
    digest = hashlib.sha256(content).hexdigest()
    try:
        image = decode_image(content, request.file, frame)
        square = to_square(image, target.size, target.channels, target.geometry)
    except DataError as error:
        return _Outcome(request.row, digest, stage="decode", reason=str(error))
    except Exception as error:  # decoders raise anything on damaged bytes
        return _Outcome(request.row, digest, stage="decode", reason=_decoder_reason(error))
    images = np.lib.format.open_memmap(target.path, mode="r+")
    images[request.row] = square
    return _Outcome(request.row, digest, hashlib.sha256(square.tobytes()).hexdigest())


def _decoder_reason(error: Exception) -> str:
    """A decoder's message in one line, without what it quotes: that can be any part of a header."""
    message = " ".join(QUOTED.sub("…", str(error)).split())[:240]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _rejected_table(manifest: pd.DataFrame, outcomes: list[_Outcome]) -> pd.DataFrame:
    failed = pd.DataFrame(
        [asdict(outcome) for outcome in outcomes if outcome.reason],
        columns=["row", "stage", "reason"],
    ).sort_values("row")
    rows = failed["row"].to_numpy(dtype=np.int64)
    table = manifest.iloc[rows][["manifest_row", "file", "frame"]].reset_index(drop=True)
    table["stage"], table["reason"] = failed["stage"].to_list(), failed["reason"].to_list()
    return table


def _check_rejected(rejected: pd.DataFrame, allowed: float, total: int) -> None:
    """Rows without a label were never opened and don't count as unreadable."""
    unreadable = int((rejected["stage"] != "manifest").sum())
    share = unreadable / total
    if len(rejected) == total or share > allowed:
        reason, count = next(iter(_reason_counts(rejected).items()))
        raise DataError(
            f"{len(rejected)} of {total} images could not be used ({share:.1%}; 'max_rejected' allows "
            f"{allowed:.1%}). Most often: {reason} ({count} images). First: {rejected['file'].iloc[0]}"
        )


def _reason_counts(rejected: pd.DataFrame) -> dict[str, int]:
    """``stage: reason`` and how many images it cost, the most frequent first."""
    pairs = zip(rejected["stage"], rejected["reason"], strict=True)
    return dict(Counter(f"{stage}: {reason}" for stage, reason in pairs).most_common())


def _keep_rows(partial: Path, rows: np.ndarray, path: Path) -> None:
    """Turn the partial memory map into the final one, without the rows of rejected images."""
    images = np.lib.format.open_memmap(partial, mode="r")
    if len(rows) == len(images):
        partial.replace(path)
        return
    compact = path.with_name(".images.npy.compact")
    kept = np.lib.format.open_memmap(
        compact, mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:])
    )
    for start in range(0, len(rows), 4096):
        kept[start : start + 4096] = images[rows[start : start + 4096]]
    kept.flush()
    compact.replace(path)
    partial.unlink()


def _samples_table(
    manifest: pd.DataFrame, outcomes: list[_Outcome], accepted: np.ndarray, key: bytes
) -> pd.DataFrame:
    by_row = {outcome.row: outcome for outcome in outcomes}
    kept = manifest.iloc[accepted].reset_index(drop=True)
    identities = kept["file"] + "#" + kept["frame"].astype(str)
    image_ids = [keyed_hash(key, identity) for identity in identities]
    table = pd.DataFrame({"image_id": image_ids, "manifest_row": kept["manifest_row"]})
    table["sha256"] = [by_row[row].sha256 for row in accepted]
    table["pixel_sha256"] = [by_row[row].pixel_sha256 for row in accepted]
    table["patient"] = [
        keyed_hash(key, str(patient)) if pd.notna(patient) else image_id
        for patient, image_id in zip(kept["patient"], image_ids, strict=True)
    ]
    for name in ("site", "published_part"):
        table[name] = kept[name].astype(object).where(kept[name].notna(), None)
    for name in map(str, kept):
        if name.startswith(("group_", "label")):
            table[name] = kept[name]
    return table


def audit_counts(
    samples: pd.DataFrame, rejected: pd.DataFrame, dataset: DatasetSettings
) -> dict[str, object]:
    """What the report says of a data set: images, patients, rejects by reason, classes, sites."""
    if isinstance(dataset.labels, tuple):
        classes = {name: int((samples[f"label_{name}"] == 1).sum()) for name in dataset.labels}
    else:
        counts = samples["label"].value_counts()
        classes = {name: int(counts.get(i, 0)) for i, name in enumerate(dataset.class_names)}
    return {
        "images": len(samples),
        "patients": int(samples["patient"].nunique()),
        "rejected": len(rejected),
        "rejected_reasons": _reason_counts(rejected),
        "classes": classes,
        "sites": {str(k): int(v) for k, v in samples["site"].value_counts().items()},
    }
