"""The pixel store: every readable image of a manifest as one uint8 memory map and one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.code_fingerprint import code_fingerprint
from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.audit import reason_counts
from medtransfer.data.decoding import Outcome, Request, StoreWriter, Target, count_frames
from medtransfer.data.pixel_map import PixelMap
from medtransfer.data.privacy import keyed_hash
from medtransfer.data.progress import Progress
from medtransfer.data.workers import Loss, supervised_map
from medtransfer.errors import DataError
from medtransfer.locks import PATIENCE_SECONDS, hidden_folder
from medtransfer.tables import Column, Schema, family, write_table

SAMPLES = Schema(
    name="samples",
    row="one stored image, in the order of images.npy",
    columns={
        "image_id": Column("text", "keyed hash of the image's path and frame"),
        "manifest_row": Column("integer", "row of the manifest, from 0"),
        "frame": Column("integer", "frame of the file, -1 for files with a single one"),
        "sha256": Column("text", "hash of the source file's bytes; of the image's, in array files"),
        "pixel_sha256": Column("text", "hash of the stored pixels: this table changes when they do"),
        "patient": Column("text", "keyed hash of the patient; the image_id where none is known"),
        "header_patient": Column("text", "keyed hash of the DICOM header's PatientID, or empty"),
        "header_study": Column("text", "keyed hash of its StudyInstanceUID, or empty"),
        "display": Column(
            "text", "what gave the range of grey levels: voi lut, window, percentiles or full range"
        ),
        "burned_in": Column("text", "the header's word on annotations in the pixels: yes, no or empty"),
        "site": Column("text", "hospital or scanner, empty when the manifest names none"),
        "published_part": Column("text", "train, validation or test as published, or empty"),
    },
    families={
        "group_": Column("text", "a subgroup column of the manifest"),
        "published_part_": Column("text", "the same for a fold of a published cross-validation"),
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


# Rejected images that the error lists: Snakemake removes the table of a failed job.
MOST_LISTED = 200


def build_store(
    manifest: pd.DataFrame,
    dataset: DatasetSettings,
    key: bytes,
    folder: Path,
    workers: int = 1,
    report: Callable[[str], None] = print,
) -> None:
    """Decode all images of a manifest into ``folder``, one process at a time.

    Writes ``images.npy`` (uint8 or uint16, N x size x size x channels), ``samples.parquet`` (N rows,
    same order) and ``rejected.parquet``. An image that can't be read, or whose decoder crashes or
    hangs, costs its own row only. A job that is killed leaves what it has decoded; the same job goes on
    from there, as it does when too many images were rejected and their files were mended.

    Args:
        manifest: as :func:`medtransfer.data.manifest.read_manifest` returns it.
        dataset: geometry, and the share of rejected images that is still accepted.
        key: secret for the patient hashes.
        folder: where the files go.
        workers: decoding processes; decoders hold the interpreter's lock, so threads don't help.
        report: takes a line of progress now and then.

    Raises:
        DataError: no image could be read, more than ``max_rejected`` of them could not, or the disk is
            full.
    """
    with hidden_folder(folder / ".decoding", PATIENCE_SECONDS, "decoding these images"):
        _build_store(manifest, dataset, key, folder, workers, report)


def _build_store(
    manifest: pd.DataFrame,
    dataset: DatasetSettings,
    key: bytes,
    folder: Path,
    workers: int,
    report: Callable[[str], None],
) -> None:
    if dataset.all_frames:
        manifest = _one_row_a_frame(manifest, workers)
    outcomes, pixels = _decode_all(manifest, dataset, key, folder, workers, report)
    rejected = _rejected_table(manifest, outcomes)
    write_table(rejected, REJECTED, folder / "rejected.parquet")
    _check_rejected(rejected, dataset.max_rejected, len(manifest))
    accepted = np.array([outcome.row for outcome in outcomes if not outcome.reason], dtype=np.int64)
    samples = _samples_table(manifest, outcomes, accepted, dataset, key)
    # the pixels last: what was decoded is kept for the next try, should the table not be written
    write_table(samples, SAMPLES, folder / "samples.parquet")
    pixels.finish(accepted, folder / "images.npy")
    if len(rejected):
        report(f"{len(samples):,} images stored, {len(rejected):,} rejected: see rejected.parquet")


def _one_row_a_frame(manifest: pd.DataFrame, workers: int) -> pd.DataFrame:
    """The manifest with a row for each frame of its files, in order."""
    files = manifest["file"].drop_duplicates().tolist()
    counts = {
        file: 1 if isinstance(count, Loss) else count
        for file, count in supervised_map(count_frames, files, workers)
    }
    repeats = manifest["file"].map(counts).to_numpy()
    table = manifest.loc[manifest.index.repeat(repeats)].reset_index(drop=True)
    frames = np.concatenate([np.arange(count) for count in repeats])
    table["frame"] = np.where(np.repeat(repeats, repeats) == 1, -1, frames)
    return table


def _decode_all(
    manifest: pd.DataFrame,
    dataset: DatasetSettings,
    key: bytes,
    folder: Path,
    workers: int,
    report: Callable[[str], None],
) -> tuple[list[Outcome], PixelMap]:
    """The outcomes of all rows, by row, and their pixels; rows without a label are never opened."""
    shape = (len(manifest), dataset.image_size, dataset.image_size, dataset.channels)
    dtype = np.dtype(np.uint8 if dataset.bits == 8 else np.uint16)
    pixels = PixelMap(folder, shape, dtype, _identity(manifest, dataset, key))
    target = Target(
        str(pixels.path), dataset.image_size, dataset.channels, dataset.geometry, dataset.bits, key
    )
    labelled = _has_label(manifest)
    requests = [
        Request(row, file, frame)
        for row, (file, frame) in enumerate(zip(manifest["file"], manifest["frame"], strict=True))
        if labelled[row] and row not in pixels.done
    ]
    progress = Progress(int(labelled.sum()), len(pixels.done), "images", report)
    if pixels.done:
        report(f"{len(pixels.done):,} images of an earlier job are kept")
    for request, result in supervised_map(StoreWriter(target), requests, workers):
        outcome = _lost(request, result) if isinstance(result, Loss) else result
        pixels.record(outcome)
        progress.step(failed=bool(outcome.reason))
    unlabelled = [
        Outcome(int(row), stage="manifest", reason="no label") for row in np.flatnonzero(~labelled)
    ]
    return sorted([*pixels.done.values(), *unlabelled], key=lambda outcome: outcome.row), pixels


def _lost(request: Request, loss: Loss) -> Outcome:
    return Outcome(request.row, request.file, stage="decode", reason=loss.reason)


def _identity(manifest: pd.DataFrame, dataset: DatasetSettings, key: bytes) -> str:
    """What pixels and hashes depend on beside the files: a resumed job must agree in all of it."""
    geometry = (dataset.image_size, dataset.channels, dataset.geometry, dataset.bits)
    rows = pd.util.hash_pandas_object(manifest[["file", "frame"]], index=False).to_numpy().tobytes()
    package = Path(__file__).parents[1]
    code = code_fingerprint(package / "data" / "decoding.py", package.parent)
    secret = hashlib.sha256(key).hexdigest()
    return json.dumps([geometry, hashlib.sha256(rows).hexdigest(), code, secret])


def _has_label(manifest: pd.DataFrame) -> np.ndarray:
    if "label" in manifest:
        return manifest["label"].to_numpy() >= 0
    labels = manifest[family(manifest, "label_")]
    return labels.notna().any(axis=1).to_numpy()


def _rejected_table(manifest: pd.DataFrame, outcomes: list[Outcome]) -> pd.DataFrame:
    failed = pd.DataFrame(
        [(o.row, o.stage, o.reason) for o in outcomes if o.reason],
        columns=["row", "stage", "reason"],
    )
    rows = failed["row"].to_numpy(dtype=np.int64)
    table = manifest.iloc[rows][["manifest_row", "file", "frame"]].reset_index(drop=True)
    table["stage"], table["reason"] = failed["stage"].to_list(), failed["reason"].to_list()
    return table


def _check_rejected(rejected: pd.DataFrame, allowed: float, total: int) -> None:
    """Rows without a label were never opened and don't count as unreadable."""
    unreadable = int((rejected["stage"] != "manifest").sum())
    share = unreadable / total
    if len(rejected) == total or share > allowed:
        reason, count = next(iter(reason_counts(rejected).items()))
        raise DataError(
            f"{len(rejected)} of {total} images could not be used ({share:.1%}; 'max_rejected' allows "
            f"{allowed:.1%}). Most often: {reason} ({count} images). What was decoded is kept for the "
            f"next try.\n{_listed(rejected)}"
        )


def _listed(rejected: pd.DataFrame) -> str:
    """A line for each rejected image, up to MOST_LISTED."""
    shown = rejected.head(MOST_LISTED)
    lines = [
        f"  {file}: {stage}: {reason}"
        for file, stage, reason in zip(shown["file"], shown["stage"], shown["reason"], strict=True)
    ]
    if len(rejected) > MOST_LISTED:
        lines.append(f"  and {len(rejected) - MOST_LISTED} more")
    return "\n".join(lines)


def _samples_table(
    manifest: pd.DataFrame,
    outcomes: list[Outcome],
    accepted: np.ndarray,
    dataset: DatasetSettings,
    key: bytes,
) -> pd.DataFrame:
    stored = [outcome for outcome in outcomes if not outcome.reason]
    kept = manifest.iloc[accepted].reset_index(drop=True)
    identities = kept["file"] + "#" + kept["frame"].astype(str)
    image_ids = [keyed_hash(key, identity) for identity in identities]
    table = pd.DataFrame({"image_id": image_ids, "manifest_row": kept["manifest_row"]})
    table["frame"] = kept["frame"]
    for name in ("sha256", "pixel_sha256"):
        table[name] = [getattr(outcome, name) for outcome in stored]
    patients = [keyed_hash(key, str(p)) if pd.notna(p) else "" for p in kept["patient"]]
    if dataset.patient_in_header:
        patients = [outcome.header_patient for outcome in stored]
    table["patient"] = [p or image_id for p, image_id in zip(patients, image_ids, strict=True)]
    for name in ("header_patient", "header_study", "display", "burned_in"):
        table[name] = [getattr(outcome, name) for outcome in stored]
    for name in ("site", *family(kept, "published_part")):
        table[name] = kept[name].astype(object).where(kept[name].notna(), None)
    for name in (*family(kept, "group_"), *family(kept, "label")):
        table[name] = kept[name]
    return table
