"""Images in the features of a source's own network: what distances and transferability are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.disk_problems import damage_named
from medtransfer.errors import DataError
from medtransfer.files import written_whole
from medtransfer.models.source import source_network
from medtransfer.models.units import classifier_names
from medtransfer.models.weights import Sidecar, StateDict
from medtransfer.representation.filters import first_convolution
from medtransfer.seeds import derived_seed
from medtransfer.training.augmentation import resized
from medtransfer.training.inputs import to_floats

BATCH = 64


@dataclass(frozen=True)
class SourceNetwork:
    """A network as its source trained it."""

    model: ModelSettings
    state: StateDict
    about: Sidecar


@dataclass(frozen=True)
class EmbeddedImages:
    """Images as a source's network sees them.

    Attributes:
        features: what its head sees, n x d, float32.
        logits: of its own head, n x Z; None where it has none.
        labels: of the data set, n class indices or n x K.
    """

    features: np.ndarray
    logits: np.ndarray | None
    labels: np.ndarray


def drawn_rows(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, at random, the same whatever the network."""
    return np.random.default_rng(derived_seed(0, "embedded images")).permutation(rows)[:most]


def embed(
    network: SourceNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    device: torch.device,
) -> EmbeddedImages:
    """Images in the features and logits of a source's network, with its normalisation.

    Images are resized, antialiased, to the side that the source's weights were trained on, so that
    all data sets go through the same resize; where that isn't known, they keep the store's.

    Args:
        network: of the source.
        images: uint8 or uint16, N x H x W x C.
        labels: of all images, N class indices or N x K.
        rows: which of them.
        device: where to compute.
    """
    side = network.about.image_size or images.shape[1]
    model = source_network(network.model, network.state, side).to(device)
    outputs = [
        _seen_and_said(model, _inputs(images[chosen], network.about, side, model).to(device))
        for chosen in np.array_split(rows, max(1, -(-len(rows) // BATCH)))
    ]
    features, logits = (torch.cat(parts).cpu().numpy() for parts in zip(*outputs, strict=True))
    return EmbeddedImages(features, logits if _has_head(model) else None, labels[rows])


def _inputs(pixels: np.ndarray, about: Sidecar, side: int, model: nn.Module) -> torch.Tensor:
    """Stored pixels, N x H x W x C, as the source's network takes them, N x C x side x side."""
    images = resized(to_floats(torch.from_numpy(pixels)), side)
    channels = model.state_dict()[first_convolution(model)].shape[1]
    if images.shape[1] != channels:  # grey as colour three times, colour as grey by its mean
        images = images.expand(-1, 3, -1, -1) if channels == 3 else images.mean(1, keepdim=True)
    mean, std = (torch.tensor(values) for values in (about.mean, about.std))
    if channels == 1:  # as in training
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    return (images - mean[:, None, None]) / std[:, None, None]


@torch.inference_mode()
def _seen_and_said(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the classifier sees, n x d, and what it says, n x Z."""
    seen: list[torch.Tensor] = []
    classifier = model.get_submodule(classifier_names(model)[0])
    handle = classifier.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        logits = model(images)
    finally:
        handle.remove()
    return seen[0].flatten(1).float(), logits.flatten(1).float()


def _has_head(model: nn.Module) -> bool:
    return any(True for _ in model.get_submodule(classifier_names(model)[0]).parameters())


def source_probabilities(logits: np.ndarray | None) -> np.ndarray | None:
    """Probabilities of the source's classes, n x Z; a single logit is a yes or no."""
    if logits is None:
        return None
    values = torch.from_numpy(logits).double()
    if values.shape[1] == 1:
        values = torch.cat([torch.zeros_like(values), values], dim=1)
    return values.softmax(1).numpy()


def write_embedding(found: EmbeddedImages, names: Sequence[str], path: Path) -> None:
    """Write one safetensors file, whole or not at all.

    Args:
        found: of one source's network and data set.
        names: of the source, the network and the data set.
        path: of the file.
    """
    arrays = {"features": found.features, "labels": found.labels}
    if found.logits is not None:
        arrays["logits"] = found.logits
    header = dict(zip(_NAMES, names, strict=True))
    with written_whole(path) as partial:
        save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, partial, metadata=header)


def read_embedding(path: Path) -> tuple[EmbeddedImages, tuple[str, str, str]]:
    """What :func:`write_embedding` wrote: the arrays, and the names of source, network and data set.

    Raises:
        DataError: no such file, a damaged one, or another one.
    """
    with (
        damage_named(path, "file of embedded images", (SafetensorError, ValueError)),
        safe_open(path, framework="numpy") as file,
    ):
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if set(header) != set(_NAMES):
        raise DataError(f"{path}: not a file of embedded images; embed them anew")
    source, model, dataset = (header[name] for name in _NAMES)
    found = EmbeddedImages(arrays["features"], arrays.get("logits"), arrays["labels"])
    return found, (source, model, dataset)


_NAMES = ("source", "model", "dataset")
