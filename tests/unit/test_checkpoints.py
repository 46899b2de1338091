"""Files of tensors: each kind is read, none runs code, and every damage is an error that names it."""

from __future__ import annotations

import pickle
import random
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medtransfer.errors import DataError
from medtransfer.models.checkpoints import CONTAINERS, read_checkpoint

SUFFIXES = [".safetensors", ".pth", ".npz"]


def example() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(2, 3, 3, 3, generator=generator),
        "norm.num_batches_tracked": torch.tensor(12),
    }


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        torch.save(state, path)
    return path


class Touch:
    """Unpickling an instance creates a file: what a malicious checkpoint would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


class Settings:
    """A class of one's own, as Lightning keeps hyperparameters."""


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bin", ".ckpt"])
def test_half_precision_becomes_float32_and_counters_stay_whole_numbers(tmp_path, suffix):
    half = {name: t.half() if t.is_floating_point() else t for name, t in example().items()}
    state = read_checkpoint(save(half, tmp_path / f"weights{suffix}"))
    assert state.keys() == half.keys()
    assert state["conv.weight"].dtype == torch.float32
    assert torch.equal(state["conv.weight"], half["conv.weight"].float())
    assert state["norm.num_batches_tracked"].dtype == torch.int64
    assert state["norm.num_batches_tracked"] == 12


def test_a_bfloat16_file_becomes_float32(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, path)
    state = read_checkpoint(path)
    assert state["a"].dtype == torch.float32
    assert state["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_tensors_of_a_training_checkpoint_are_taken_and_that_is_told(tmp_path, container):
    path = tmp_path / "last.ckpt"
    torch.save({"epoch": 3, container: OrderedDict(example()), "optimizer": {"lr": 0.1}}, path)
    told: list[str] = []
    state = read_checkpoint(path, told.append)
    assert torch.equal(state["conv.weight"], example()["conv.weight"])
    assert told == [f"last.ckpt: '{container}' is taken, beside it epoch, optimizer"]


def test_of_two_containers_the_first_in_the_documented_order_is_taken(tmp_path):
    path = tmp_path / "last.pth"
    ones, zeros = {"a": torch.ones(1)}, {"a": torch.zeros(1)}
    torch.save({"state_dict_ema": zeros, "teacher": zeros, "model": ones}, path)
    assert read_checkpoint(path)["a"] == 1


def test_containers_within_containers_are_opened(tmp_path):
    path = tmp_path / "last.pth"
    torch.save({"state_dict": {"model": example()}}, path)
    assert read_checkpoint(path).keys() == example().keys()


def test_parameters_become_tensors_without_gradients(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, path)
    state = read_checkpoint(path)
    assert not state["a"].requires_grad


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such file of weights"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    for number, content in enumerate([example() | {"payload": Touch(trace)}, {"p": Touch(trace)}]):
        path = tmp_path / f"weights{number}.pth"
        torch.save(content, path)
        with pytest.raises(DataError, match=rf"weights{number}\.pth"):
            read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the payload is a real one


def test_a_bare_pickle_does_not_run_either(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"payload": Touch(trace)}))
    with pytest.raises(DataError, match=r"weights\.pkl"):
        read_checkpoint(path)
    assert not trace.exists()


def test_a_lightning_checkpoint_with_objects_says_what_to_do(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": example(), "hyper_parameters": Settings()}, path)
    with pytest.raises(DataError) as caught:
        read_checkpoint(path)
    assert "torch.save(checkpoint['state_dict'], 'weights.pth')" in str(caught.value)
    assert "could run code" in str(caught.value)


def test_a_lightning_checkpoint_with_plain_values_is_read(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": example(), "hyper_parameters": {"lr": 0.1, "name": "a"}}, path)
    assert read_checkpoint(path).keys() == example().keys()


def test_objects_in_an_npz_are_not_unpickled(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.ones(2), b=np.array([Touch(trace)], dtype=object))
    with pytest.raises(DataError, match=r"weights\.npz: not an npz archive that holds only arrays"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".h5", ".hdf5", ".SAFETENSORS"])
def test_a_file_that_is_no_file_of_weights_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_text("<html>404</html>")
    if suffix in (".h5", ".hdf5"):
        pytest.importorskip("h5py")
    with pytest.raises(DataError, match=rf"page\{suffix}"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_ends_in_an_error_of_data_or_in_no_error(tmp_path, suffix):
    content = save(example(), tmp_path / f"whole{suffix}").read_bytes()
    chance = random.Random(5)
    refused = 0
    for number in range(60):
        damaged = bytearray(content)
        if number % 2:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(5):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except DataError as error:
            refused += 1
            assert path.name in str(error)
    assert refused >= 25


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.zeros(2)], "found list"),
        ({}, "found nothing"),
        ({"a": torch.zeros(2), "epoch": 3}, "found 1 entries without a tensor, such as 'epoch'"),
        ({"state_dict": {"a": 3}}, "such as 'a'"),
    ],
)
def test_anything_but_a_mapping_of_tensors_is_refused(tmp_path, content, found):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match="not a mapping of names to tensors") as caught:
        read_checkpoint(path)
    assert found in str(caught.value)


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "w.h5"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"w\.h5: reading it needs the package h5py.*pip install h5py"):
        read_checkpoint(path)


def test_two_tensors_of_one_name_in_an_h5_are_an_error(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a/conv1/kernel:0"] = np.ones(2)
        file["b/conv1/kernel:0"] = np.zeros(2)
    with pytest.raises(DataError, match="more than one tensor named conv1/kernel"):
        read_checkpoint(tmp_path / "w.h5")
