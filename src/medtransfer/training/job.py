"""One run from tables and arrays to tables: what a training job does between its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medtransfer.config.typed import plain
from medtransfer.data.splits import training_subset
from medtransfer.data.stored_images import check_pixels, read_images
from medtransfer.models.weights import StateDict
from medtransfer.provenance import processor, software_versions
from medtransfer.tables import Column, Schema, read_table
from medtransfer.training.labels import outputs_without_contrast
from medtransfer.training.memory import room_for_images
from medtransfer.training.oversight import Oversight
from medtransfer.training.pixels import MappedPixels, Pixels
from medtransfer.training.run import train
from medtransfer.training.specification import Outcome, Part, Specification

PREDICTIONS = Schema(
    name="predictions",
    row="one image of the validation, test or external part",
    columns={
        "image_id": Column("text", "as in samples"),
        "patient": Column("text", "as in samples"),
        "part": Column("text", "validation, test, external or external-<other data set>"),
    },
    families={
        "logit_": Column("number", "network output, named by its class"),
        "label_": Column("number", "multilabel: 0, 1 or empty"),
        "label": Column("integer", "index of the class, from 0"),
    },
)
HISTORY = Schema(
    name="history",
    row="one scoring of the validation part during a run",
    columns={
        "stage": Column("text", "main; head in a first stage of the head alone"),
        "step": Column("integer", "optimiser steps so far"),
        "epoch": Column("number", "passes over the training images so far"),
        "learning_rate": Column("number", "of the latest step; empty before a stage's first"),
        "training_loss": Column("number", "mean since the previous row; empty before a stage's first"),
        "validation_loss": Column("number", "negative log-likelihood on the validation part"),
        "validation_metric": Column("number", "the data set's target metric"),
    },
    families={},
)


@dataclass(frozen=True)
class Store:
    """A pixel store and a split of it: N images in the same order.

    Attributes:
        images: uint8 or uint16, N x H x W x C, usually a memory map.
        samples: a table of schema SAMPLES.
        split: a table of schema SPLIT.
        room: bytes up to which a run copies its images into memory; by default half of what is free.
    """

    images: np.ndarray
    samples: pd.DataFrame
    split: pd.DataFrame
    room: int | None = None


def read_store(images: Path, samples: Path, split: Path, room: int | None = None) -> Store:
    """A store from its files: a memory map and two tables.

    Raises:
        FileError: a file is damaged; of the images, it is shorter than it should be.
    """
    table = read_table(samples)
    return Store(read_images(images, len(table)), table, read_table(split), room)


@dataclass(frozen=True)
class RunResult:
    """The four things that a run stores."""

    weights: StateDict
    predictions: pd.DataFrame
    history: pd.DataFrame
    facts: dict[str, object]


def train_run(
    specification: Specification,
    store: Store,
    subset: str,
    source: StateDict,
    device: str,
    oversight: Oversight | None = None,
) -> RunResult:
    """Train one run on a pixel store.

    Args:
        specification: what decides the run's result.
        store: the images with their labels and parts.
        subset: which training images.
        source: pre-trained weights, empty for a random start.
        device: ``cpu`` or ``cuda``.
        oversight: what saves the run's state and shows it; by default nothing does.

    Raises:
        FileError: an image isn't as it was stored.
        DataError, ConfigError: tables, weights and specification don't fit together.
        TrainingError: the loss is no longer finite.
        Stopped: the oversight is told to stop.
    """
    rows = {"train": training_subset(store.split, subset, specification.seed)}
    for part in ("validation", "test", "external"):
        chosen = np.flatnonzero((store.split["part"] == part).to_numpy())
        if len(chosen):
            rows[part] = chosen
    labels = label_array(store.samples, specification.outputs, specification.task)
    unlearned = outputs_without_contrast(
        labels[rows["train"]], specification.outputs, specification.task
    )
    room = room_for_images(torch.device(device)) if store.room is None else store.room
    for chosen in rows.values():
        check_pixels(store.images, store.samples, chosen)
    parts = cut_parts(store.images, labels, rows, room)
    oversight = oversight or Oversight()
    oversight.keeper.identify(images=images_identity(store, rows))
    outcome = train(specification, parts, source, torch.device(device), oversight)
    outcome.facts["outputs_without_contrast"] = list(unlearned)
    return RunResult(
        outcome.weights,
        predictions_table(store.samples, rows, outcome, specification.outputs),
        history_table(outcome),
        run_facts(outcome, {name: len(r) for name, r in rows.items()}, device),
    )


def images_identity(store: Store, rows: Mapping[str, np.ndarray]) -> str:
    """A hash of which images are in each part, and of the table of their labels and pixels' hashes."""
    digest = hashlib.sha256(str((store.images.shape, store.images.dtype)).encode())
    for name, chosen in rows.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(chosen, dtype=np.int64).tobytes())
    for column in store.samples:
        digest.update(str(column).encode())
        values = pd.util.hash_pandas_object(store.samples[column], index=False)
        digest.update(values.to_numpy().tobytes())
    return digest.hexdigest()


def run_facts(outcome: Outcome, sizes: Mapping[str, int], device: str) -> dict[str, object]:
    """The run's record: what was carried out, what came out, with what it was computed."""
    hardware = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {
        **plain(asdict(outcome.specification)),
        "training_images": sizes["train"],
        "images": dict(sizes),
        "best_step": outcome.best_step,
        "best_validation_metric": outcome.best_value,
        "best_monitored_value": outcome.best_monitored,
        **outcome.facts,
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "versions": software_versions(),
    }


def label_array(samples: pd.DataFrame, outputs: tuple[str, ...], task: str) -> np.ndarray:
    """Labels as training and metrics take them: N class indices, or N x K for multilabel."""
    if task == "multilabel":
        return samples[[f"label_{name}" for name in outputs]].to_numpy(dtype=np.float64)
    return samples["label"].to_numpy(dtype=np.int64)


def cut_parts(
    images: np.ndarray,
    labels: np.ndarray,
    rows: Mapping[str, np.ndarray],
    room: int | None = None,
) -> dict[str, Part]:
    """The rows of each part of the pixel store, copied; left where they are if they need more room.

    Args:
        images: N x H x W x C.
        labels: of :func:`label_array`.
        rows: of each part.
        room: bytes that all copies together may take; None: as many as they need.
    """
    needed = sum(len(chosen) for chosen in rows.values()) * (images.nbytes // max(1, len(images)))
    fits = room is None or needed <= room

    def pixels(chosen: np.ndarray) -> Pixels:
        return torch.from_numpy(images[chosen]) if fits else MappedPixels(images, chosen)

    return {
        name: Part(pixels(chosen), torch.from_numpy(labels[chosen])) for name, chosen in rows.items()
    }


def input_side(specification: Specification, store: Store, subset: str) -> int:
    """Side of the images that the network of a run sees."""
    stored = store.images.shape[1]
    images = len(training_subset(store.split, subset, specification.seed))
    return specification.recipe.for_data(images, stored).input_side(stored)


def predictions_table(
    samples: pd.DataFrame,
    rows: Mapping[str, np.ndarray],
    outcome: Outcome,
    outputs: tuple[str, ...],
) -> pd.DataFrame:
    """Predictions of all evaluated parts, in the order of the store within each part."""
    tables = []
    for part, logits in outcome.logits.items():
        chosen = samples.iloc[rows[part]]
        table = chosen[["image_id", "patient"]].assign(part=part)
        table = table.join(chosen[[c for c in chosen if str(c).startswith("label")]])
        scores = pd.DataFrame(logits, columns=[f"logit_{o}" for o in outputs], index=chosen.index)
        tables.append(table.join(scores))
    return pd.concat(tables, ignore_index=True)


def history_table(outcome: Outcome) -> pd.DataFrame:
    """The validation curve of a run."""
    return pd.DataFrame(outcome.history).astype({"step": "int64"})
