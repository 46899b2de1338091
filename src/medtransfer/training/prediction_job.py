"""What a finished run says of images that it wasn't trained to see: other data sets, corrupted images.

Nothing is adapted: the selected weights, the run's normalisation and its preprocessing for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from medtransfer.config.corruptions import CorruptionName
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.data.mapped_labels import mapped_labels
from medtransfer.data.stored_images import check_pixels
from medtransfer.errors import DataError
from medtransfer.evaluation.corruptions import SEVERITIES, corrupt
from medtransfer.files import read_json
from medtransfer.models.weights import read_state
from medtransfer.tables import Column, Schema
from medtransfer.training.colours import LUMA
from medtransfer.training.finished import finished_network, finished_specification
from medtransfer.training.job import PREDICTIONS, Store
from medtransfer.training.prediction import evaluation_batch, predict
from medtransfer.training.specification import Specification

CORRUPTED = Schema(
    name="corrupted",
    row="one image of the test part, corrupted in one way and severity",
    columns={
        **PREDICTIONS.columns,
        "corruption": Column("text", "noise, blur, contrast, jpeg or resolution"),
        "severity": Column("integer", "1 to 5"),
    },
    families=PREDICTIONS.families,
)

# what happens to some stored images, given with their rows, before the run's own preprocessing
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """The network of a finished run, for stored images of any side, depth and number of channels.

    Attributes:
        network: with its selected weights, in evaluation mode.
        specification: of the run; images are first resized to the side that its own were stored with.
        channels: of its own stored images.
        device: where the network is.
    """

    network: nn.Module
    specification: Specification
    channels: int
    device: torch.device

    def logits(self, images: np.ndarray, rows: np.ndarray, change: Change | None = None) -> np.ndarray:
        """Logits, float32, n x K.

        Args:
            images: uint8 or uint16, N x H x W x C, usually a memory map.
            rows: which of them, n.
            change: what happens to them first; by default nothing.
        """
        size = evaluation_batch(self.specification)
        found = []
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            block = images[chosen] if change is None else change(images[chosen], chosen)
            pixels = torch.from_numpy(in_channels(block, self.channels)).to(self.device)
            found.append(predict(self.network, pixels, self.specification))
        return np.concatenate(found)


def read_predictor(folder: Path, images: np.ndarray, device: torch.device) -> Predictor:
    """The network of a finished run.

    Args:
        folder: with run.json and model.safetensors.
        images: the pixel store that it was trained on, N x S x S x C.
        device: where to compute.

    Raises:
        ConfigError: the record isn't one of this version.
    """
    record = folder / "run.json"
    specification = finished_specification(read_json(record), str(record))
    side, channels = images.shape[2:]
    weights = read_state(folder / "model.safetensors")
    network = finished_network(specification, weights, (side, channels), device)
    recipe = replace(specification.recipe, resize=specification.recipe.resize or side)
    return Predictor(network, replace(specification, recipe=recipe), channels, device)


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Stored images, N x H x W x C, with another number of channels, as the pixel store makes them.

    Grey is repeated, colour becomes luma.
    """
    if images.shape[3] == channels:
        return images
    if images.shape[3] == 1:
        return np.repeat(images, channels, axis=3)
    luma = images @ np.array(LUMA, dtype=np.float32)
    return np.rint(luma).astype(images.dtype)[..., None]


@dataclass(frozen=True)
class External:
    """Another data set, and what its labels are for a run.

    Attributes:
        name: of the data set.
        images: uint8 or uint16, N x H x W x C.
        samples: N rows of schema SAMPLES.
        dataset: its task and classes.
        settings: how its classes are called here.
    """

    name: str
    images: np.ndarray
    samples: pd.DataFrame
    dataset: DatasetSettings
    settings: ExternalSettings


def external_part(name: str) -> str:
    """What another data set is called where parts of the data are named."""
    return f"external-{name}"


def predict_external(
    predictor: Predictor, external: External, store: Store, dataset: DatasetSettings
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Predictions of another data set's images.

    Images that are also in the training or validation part are left out, whether they are equal as
    files or as stored pixels; so all runs of a split are tested on the same images.

    Args:
        predictor: of the run.
        external: the other data set.
        store: what the run was trained on.
        dataset: its task and classes.

    Returns:
        A table of schema PREDICTIONS in the order of the other store; and how many images it has, how
        many have no class of ours, how many are left out and how many are tested.

    Raises:
        DataError: no image is left.
    """
    labels = mapped_labels(external.samples, external.dataset, dataset, external.settings)
    known = _seen(external.samples.loc[labels.index], store)
    counts = {
        "images": len(external.samples),
        "without_class": len(external.samples) - len(labels),
        "seen_in_training": int(known.sum()),
        "tested": int((~known).sum()),
    }
    labels = labels[~known]
    if labels.empty:
        raise DataError(
            f"all {known.sum()} images of {external.name} with a class of ours are images of the "
            "training or validation part; needed: others"
        )
    logits = predictor.logits(external.images, labels.index.to_numpy())
    table = external.samples.loc[labels.index, ["image_id", "patient"]]
    table = table.assign(part=external_part(external.name)).join(labels)
    return _with_logits(table, logits, dataset.outputs), counts


def _seen(samples: pd.DataFrame, store: Store) -> np.ndarray:
    """N truths: whether an image is one of those that a run of the split learns or selects by."""
    inside = store.split["part"].isin(["train", "validation"]).to_numpy()
    own = store.samples[inside]
    equal = [samples[column].isin(own[column]) for column in ("sha256", "pixel_sha256")]
    return (equal[0] | equal[1]).to_numpy()


def predict_corrupted(predictor: Predictor, store: Store, corruption: CorruptionName) -> pd.DataFrame:
    """Predictions of the test images in all severities of a corruption.

    The stored images are corrupted, before the run's own preprocessing. Their noise is drawn from the
    hash of their pixels, so it is the same for every run, and whatever the key of the patient hashes.

    Args:
        predictor: of the run.
        store: what it was trained on.
        corruption: what is done.

    Returns:
        A table of schema CORRUPTED, in the order of the store within each severity.
    """
    rows = np.flatnonzero((store.split["part"] == "test").to_numpy())
    check_pixels(store.images, store.samples, rows)
    hashes = store.samples["pixel_sha256"].to_numpy()
    chosen = store.samples.iloc[rows]
    table = chosen[["image_id", "patient"]].assign(part="test", corruption=corruption)
    table = table.join(chosen[[c for c in chosen if str(c).startswith("label")]])

    def corrupted(severity: int) -> Change:
        return lambda images, rows: corrupt(images, corruption, severity, hashes[rows].tolist())

    outputs = predictor.specification.outputs
    tables = [
        _with_logits(
            table.assign(severity=severity),
            predictor.logits(store.images, rows, corrupted(severity)),
            outputs,
        )
        for severity in SEVERITIES
    ]
    return pd.concat(tables, ignore_index=True)


def _with_logits(table: pd.DataFrame, logits: np.ndarray, outputs: tuple[str, ...]) -> pd.DataFrame:
    table = table.reset_index(drop=True)
    return table.join(pd.DataFrame(logits, columns=[f"logit_{name}" for name in outputs]))
