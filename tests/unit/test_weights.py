"""Weights on disk: what is written, what the sidecar remembers, and what is refused."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

from medtransfer.errors import DataError
from medtransfer.models.weights import RANDOM_START, Sidecar, load_weights, save_weights, write_state

ABOUT = Sidecar("here", "", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "cc-by-4.0", 96, 12)


def example() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(2, 3, 3, 3, generator=generator),
        "norm.num_batches_tracked": torch.tensor(12),
    }


def test_weights_and_sidecar_come_back_as_they_were_saved(tmp_path):
    path = tmp_path / "folder" / "model.safetensors"
    save_weights(example(), path, ABOUT)
    state, sidecar = load_weights(path)
    assert state.keys() == example().keys()
    for name, tensor in example().items():
        assert torch.equal(state[name], tensor)
        assert state[name].dtype == tensor.dtype
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert sidecar == Sidecar("here", digest, ABOUT.mean, ABOUT.std, "cc-by-4.0", 96, 12)


def test_the_sidecar_is_readable_json_beside_the_file(tmp_path):
    save_weights(example(), tmp_path / "model.safetensors", ABOUT)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["origin"] == "here"
    assert facts["mean"] == list(ABOUT.mean)
    assert (facts["licence"], facts["image_size"], facts["outputs"]) == ("cc-by-4.0", 96, 12)


def test_what_is_unknown_is_null(tmp_path):
    about = Sidecar("here", "", ABOUT.mean, ABOUT.std)
    save_weights(example(), tmp_path / "model.safetensors", about)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["image_size"] is None and facts["outputs"] is None


def test_a_sidecar_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(example(), path, ABOUT)
    facts = json.loads((tmp_path / "model.json").read_text())
    old = {key: facts[key] for key in ("origin", "sha256", "mean", "std")}
    (tmp_path / "model.json").write_text(json.dumps(old))
    _, sidecar = load_weights(path)
    assert sidecar == Sidecar("here", facts["sha256"], ABOUT.mean, ABOUT.std)


def test_a_tampered_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(example(), path, ABOUT)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"not the one that model\.json describes"):
        load_weights(path)


def test_the_sidecar_of_another_file_is_refused(tmp_path):
    save_weights(example(), tmp_path / "a.safetensors", ABOUT)
    save_weights({"other": torch.ones(3)}, tmp_path / "b.safetensors", ABOUT)
    (tmp_path / "b.json").replace(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.safetensors: the file is not the one"):
        load_weights(tmp_path / "a.safetensors")


def test_weights_without_their_sidecar_are_an_error_that_names_it(tmp_path):
    path = tmp_path / "model.safetensors"
    write_state(example(), path)
    with pytest.raises(DataError, match=r"model\.json"):
        load_weights(path)


def test_tensors_that_are_not_contiguous_keep_their_values(tmp_path):
    last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    write_state({"last": last, "turned": torch.arange(6.0).reshape(2, 3).T}, tmp_path / "a")
    state = load_file(tmp_path / "a")
    assert torch.equal(state["last"], last)
    assert state["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_tensors_that_share_memory_are_written_each_in_full(tmp_path):
    whole = torch.arange(4.0)
    write_state({"embedding": whole, "decoder": whole}, tmp_path / "tied.safetensors")
    written = load_file(tmp_path / "tied.safetensors")
    assert torch.equal(written["embedding"], whole)
    assert torch.equal(written["decoder"], whole)


def test_writing_leaves_only_the_finished_file(tmp_path):
    write_state(example(), tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_random_start_sees_images_between_minus_one_and_one():
    mean, std = torch.tensor(RANDOM_START.mean), torch.tensor(RANDOM_START.std)
    assert ((torch.zeros(3) - mean) / std).tolist() == [-1, -1, -1]
    assert ((torch.ones(3) - mean) / std).tolist() == [1, 1, 1]
