"""Pre-trained weights on disk: safetensors beside a JSON file that says what they are."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medtransfer.errors import DataError

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Sidecar:
    """What a file of weights is: where from, its checksum, and the inputs it expects."""

    origin: str
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


# Runs from a random start see images in [-1, 1].
RANDOM_START = Sidecar("random start", "", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def import_weights(path: Path, sha256: str | None) -> StateDict:
    """Read weights from safetensors or from a PyTorch file that holds tensors and nothing else.

    Half-precision tensors become float32.

    Raises:
        DataError: no such file, another checksum, or content that isn't a mapping of tensors.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of weights; put it there or correct the key 'path'")
    digest = file_sha256(path)
    if sha256 is not None and digest != sha256.lower():
        raise DataError(f"{path}: sha256 is {digest}, expected {sha256}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{path}: not safetensors, nor a PyTorch file that holds only tensors "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise DataError(f"{path}: not a mapping of names to tensors")
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }


def save_weights(
    state: StateDict, path: Path, origin: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Write ``path`` (safetensors) and its sidecar, the same name with the suffix ``.json``."""
    write_state(state, path)
    sidecar = Sidecar(origin, file_sha256(path), mean, std)
    path.with_suffix(".json").write_text(json.dumps(asdict(sidecar), indent=2) + "\n")


def write_state(state: StateDict, path: Path) -> None:
    """Write tensors as safetensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    save_file(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}, partial
    )
    partial.replace(path)


def load_weights(path: Path) -> tuple[StateDict, Sidecar]:
    """Weights and their sidecar; raises DataError when the two don't belong together."""
    if not path.with_suffix(".json").is_file():
        raise DataError(f"{path}: its sidecar {path.stem}.json is missing")
    facts = json.loads(path.with_suffix(".json").read_text())
    sidecar = Sidecar(facts["origin"], facts["sha256"], tuple(facts["mean"]), tuple(facts["std"]))
    if file_sha256(path) != sidecar.sha256:
        raise DataError(f"{path}: the file is not the one that {path.stem}.json describes")
    return load_file(path), sidecar


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
