"""Pre-trained weights on disk: safetensors beside a JSON file that says what they are."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medtransfer.disk_problems import damage_named
from medtransfer.errors import DataError
from medtransfer.files import read_json, write_json, written_whole

StateDict = dict[str, torch.Tensor]

# a counter that only momentum-free batch norm reads; some publishers leave it out
COUNTER = "num_batches_tracked"
# how many names of tensors an error shows
SHOWN = 3


@dataclass(frozen=True)
class Sidecar:
    """What a file of weights is: where from, its checksum, and the inputs it expects.

    Attributes:
        origin: where the weights come from.
        sha256: checksum of the safetensors file beside the sidecar.
        mean: per-channel mean subtracted from images in [0, 1].
        std: per-channel divisor after the mean.
        licence: of the weights; empty when unknown.
        image_size: side of the images that the weights were trained on; None when unknown.
        outputs: of the source's own head, 0 when the file has none; None when unknown.
    """

    origin: str
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str = ""
    image_size: int | None = None
    outputs: int | None = None


# Runs from a random start see images in [-1, 1].
RANDOM_START = Sidecar("random start", "", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def save_weights(state: StateDict, path: Path, about: Sidecar) -> None:
    """Write ``path`` (safetensors) and its sidecar, the same name with the suffix ``.json``.

    The checksum in ``about`` is replaced by that of the file.
    """
    write_state(state, path)
    sidecar = dataclasses.replace(about, sha256=file_sha256(path))
    write_json(path.with_suffix(".json"), dataclasses.asdict(sidecar))


def write_state(state: StateDict, path: Path) -> None:
    """Write tensors as safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with written_whole(path) as partial:
        save_file(tensors, partial)


def read_state(path: Path) -> StateDict:
    """The tensors that :func:`write_state` wrote.

    Raises:
        FileError: no such file, or a damaged one.
    """
    with damage_named(path, "safetensors file", (SafetensorError, ValueError)):
        return load_file(path)


def load_weights(path: Path) -> tuple[StateDict, Sidecar]:
    """Weights and their sidecar; raises DataError when the two don't belong together."""
    if not path.with_suffix(".json").is_file():
        raise DataError(f"{path}: its sidecar {path.stem}.json is missing")
    facts = read_json(path.with_suffix(".json"))
    sidecar = Sidecar(
        facts["origin"],
        facts["sha256"],
        tuple(facts["mean"]),
        tuple(facts["std"]),
        facts.get("licence", ""),
        facts.get("image_size"),
        facts.get("outputs"),
    )
    if file_sha256(path) != sidecar.sha256:
        raise DataError(
            f"{path}: the file is not the one that {path.stem}.json describes; delete both and run the "
            "same command again"
        )
    return read_state(path), sidecar


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more
