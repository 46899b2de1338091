"""Weights on disk: what is accepted, what is refused, and what the sidecar remembers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtransfer.errors import DataError
from medtransfer.models.weights import (
    RANDOM_START,
    import_weights,
    load_weights,
    save_weights,
    write_state,
)

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def example() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(2, 3, 3, 3, generator=generator),
        "norm.num_batches_tracked": torch.tensor(12),
    }


class Touch:
    """Unpickling an instance creates a file: what a malicious checkpoint would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_precision_becomes_float32_and_counters_stay_whole_numbers(tmp_path, suffix):
    half = {name: t.half() if t.is_floating_point() else t for name, t in example().items()}
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(half, path)
    state = import_weights(path, None)
    assert state["conv.weight"].dtype == torch.float32
    assert torch.equal(state["conv.weight"], half["conv.weight"].float())
    assert state["norm.num_batches_tracked"].dtype == torch.int64
    assert state["norm.num_batches_tracked"] == 12


def test_a_bfloat16_file_becomes_float32(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, path)
    state = import_weights(path, None)
    assert state["a"].dtype == torch.float32
    assert state["a"].tolist() == [1.5, -2.0]


def test_the_right_checksum_is_accepted_in_either_case(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(example(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for written in (digest, digest.upper()):
        state = import_weights(path, written)
        assert torch.equal(state["conv.weight"], example()["conv.weight"])


def test_another_checksum_is_refused_and_both_are_shown(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(example(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"sha256 is {digest}, expected {'0' * 64}"):
        import_weights(path, "0" * 64)


def test_the_checksum_is_compared_before_the_file_is_opened_as_weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not weights at all")
    with pytest.raises(DataError, match="expected ffff"):
        import_weights(path, "ffff")


def test_a_missing_file_is_an_error_that_says_which_key_to_correct(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such file of weights.*'path'"):
        import_weights(tmp_path / "absent.pth", None)


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "weights.pth"
    torch.save(example() | {"payload": Touch(trace)}, path)
    with pytest.raises(DataError, match=r"weights\.pth"):
        import_weights(path, None)
    assert not trace.exists()


def test_no_code_of_a_pickle_runs_whatever_error_it_ends_in(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "weights.pth"
    torch.save({"payload": Touch(trace)}, path)
    with pytest.raises(Exception, match=r"(?i)weights"):
        import_weights(path, None)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the payload is a real one


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_is_no_file_of_weights_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_text("<html>404</html>")
    with pytest.raises(DataError, match=rf"page\{suffix}"):
        import_weights(path, None)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"state_dict": {"a": torch.zeros(2)}}])
def test_anything_but_a_flat_mapping_of_tensors_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match="not a mapping of names to tensors"):
        import_weights(path, None)


def test_weights_and_sidecar_come_back_as_they_were_saved(tmp_path):
    path = tmp_path / "folder" / "model.safetensors"
    save_weights(example(), path, "a paper's release", MEAN, STD)
    state, sidecar = load_weights(path)
    assert state.keys() == example().keys()
    for name, tensor in example().items():
        assert torch.equal(state[name], tensor)
        assert state[name].dtype == tensor.dtype
    assert (sidecar.origin, sidecar.mean, sidecar.std) == ("a paper's release", MEAN, STD)
    assert sidecar.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sidecar_is_readable_json_beside_the_file(tmp_path):
    save_weights(example(), tmp_path / "model.safetensors", "here", MEAN, STD)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["origin"] == "here"
    assert facts["mean"] == list(MEAN)


def test_a_tampered_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(example(), path, "here", MEAN, STD)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"not the one that model\.json describes"):
        load_weights(path)


def test_the_sidecar_of_another_file_is_refused(tmp_path):
    save_weights(example(), tmp_path / "a.safetensors", "a", MEAN, STD)
    save_weights({"other": torch.ones(3)}, tmp_path / "b.safetensors", "b", MEAN, STD)
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
    torch.save({"embedding": whole, "decoder": whole}, tmp_path / "tied.pth")
    state = import_weights(tmp_path / "tied.pth", None)
    write_state(state, tmp_path / "tied.safetensors")
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
