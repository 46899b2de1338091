"""Files of tensors, as people publish them, become names and tensors; nothing in them is ever run.

Read are safetensors, PyTorch files (``weights_only``, so that a pickle can't call code), NumPy archives
(``allow_pickle=False``) and Keras's HDF5 files.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from medtransfer.errors import DataError
from medtransfer.models.weights import StateDict

Report = Callable[[str], None]

# where training scripts put the tensors, beside optimisers and counters; the first found is taken
CONTAINERS = ("state_dict", "model", "state_dict_ema", "model_ema", "teacher")
# Keras 3 numbers the variables of a layer; how many there are tells which they are
KERAS_VARIABLES = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}


def read_checkpoint(path: Path, report: Report = lambda _: None) -> StateDict:
    """The tensors of a file by name; floats of any precision become float32.

    The suffix says what a file is: ``.safetensors``, ``.npz``, ``.h5`` or ``.hdf5``; any other is read
    as a PyTorch file. Of a training checkpoint the tensors in ``state_dict``, ``model`` and so on are
    taken. Names in an HDF5 file are ``<layer>/<variable>``, e.g. ``conv1_conv/kernel``.

    Args:
        path: the file.
        report: is told what was taken out of a checkpoint.

    Raises:
        DataError: no such file, damaged, of another kind, or with content other than tensors.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of weights")
    readers: dict[str, Callable[[Path], Any]] = {
        ".safetensors": _read_safetensors,
        ".npz": _read_npz,
        ".h5": _read_h5,
        ".hdf5": _read_h5,
    }
    content = readers.get(path.suffix.lower(), _read_pytorch)(path)
    tensors = _tensors(content, path, report)
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _read_safetensors(path: Path) -> StateDict:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from error


def _read_pytorch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle ends in errors of any kind
        raise DataError(
            f"{path}: not a PyTorch file that holds only tensors and plain values "
            f"({type(error).__name__}: {_first_line(error)}). What else it holds isn't unpickled, as "
            "that could run code. If it is yours, for example a Lightning checkpoint with "
            "hyperparameters, save its tensors alone where it was trained, "
            "torch.save(checkpoint['state_dict'], 'weights.pth'), and name that file"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:200]


def _read_npz(path: Path) -> StateDict:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not an npz archive that holds only arrays of numbers "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error


def _read_h5(path: Path) -> StateDict:
    try:
        import h5py  # here, since other files are read without it
    except ImportError as error:
        raise DataError(
            f"{path}: reading it needs the package h5py, which is not installed (pip install h5py)"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            arrays = list(_keras_arrays(file))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not an HDF5 file of Keras weights ({type(error).__name__}: {_first_line(error)})"
        ) from error
    names = [name for name, _ in arrays]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: holds more than one tensor named {twice[0]}")
    return {name: torch.from_numpy(array) for name, array in arrays}


def _keras_arrays(file: Any) -> Iterator[tuple[str, np.ndarray]]:
    """``<layer>/<variable>`` and values of every array; optimisers' arrays are left out.

    The paths are ``[model_weights/][model/]<layer>/<layer>/<variable>[:0]`` up to Keras 2, and
    ``[...]/vars/<number>`` in Keras 3, where the group's attribute ``name`` is the layer's.
    """
    import h5py

    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item))
    for dataset in (item for item in found if isinstance(item, h5py.Dataset)):
        *groups, variable = dataset.name.strip("/").split("/")
        if groups and groups[0] not in ("optimizer_weights", "optimizer"):
            layer = groups[-1]
            if layer == "vars":
                layer = str(dataset.parent.attrs["name"])
                variable = KERAS_VARIABLES[len(dataset.parent)][int(variable)]
            yield f"{layer}/{variable.removesuffix(':0')}", dataset[()]


def _tensors(content: Any, path: Path, report: Report) -> StateDict:
    """The mapping of names to tensors in what a file holds."""
    if isinstance(content, Mapping):
        inner = next((name for name in CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if inner is not None:
            others = ", ".join(str(name) for name in content if name != inner) or "nothing"
            report(f"{path.name}: '{inner}' is taken, beside it {others}")
            return _tensors(content[inner], path, report)
        if content and all(torch.is_tensor(value) for value in content.values()):
            return {str(name): tensor.detach() for name, tensor in content.items()}
    raise DataError(
        f"{path}: not a mapping of names to tensors, nor one in {', '.join(CONTAINERS)}; "
        f"found {_described(content)}"
    )


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return type(content).__name__
    others = [name for name, value in content.items() if not torch.is_tensor(value)]
    if not others:
        return "nothing"
    return f"{len(others)} entries without a tensor, such as '{others[0]}'"
