"""Weights of a source for a network: all of them, checked; and the network that the source trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from http_server import hosts, ranged
from PIL import Image
from safetensors.torch import save_file

from medtransfer.config.argument import as_argument
from medtransfer.config.model import ModelSettings
from medtransfer.config.source import IMPORT_KEYS, RenameSettings, WeightFileSettings
from medtransfer.errors import DataError
from medtransfer.models.build import build_network
from medtransfer.models.source import import_weights, source_network
from medtransfer.models.weights import file_sha256, load_weights

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent")).resolve()
HALF = (0.5, 0.5, 0.5)
RESNET = ModelSettings("resnet18")


def weights_of(model: ModelSettings, outputs: int = 5, channels: int = 3) -> dict[str, torch.Tensor]:
    """Tensors of a network, none at its start."""
    network = build_network(model, channels, outputs, 224, seed=0)
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(t.shape, generator=generator) if t.is_floating_point() else t + 7
        for name, t in network.state_dict().items()
    }


def saved(state: dict[str, torch.Tensor], folder: Path, **keys) -> WeightFileSettings:
    torch.save(state, folder / "w.pth")
    return WeightFileSettings(**{"path": str(folder / "w.pth"), "mean": HALF, "std": HALF, **keys})


@pytest.mark.parametrize(
    "model",
    [
        RESNET,
        ModelSettings("vit_tiny_patch16_224"),
        ModelSettings("swin_tiny_patch4_window7_224"),
        ModelSettings("cbr", {"channels": [4, 8]}),
        ModelSettings("resnetv2_50x1_bit"),
    ],
    ids=lambda model: model.architecture,
)
@pytest.mark.parametrize(("outputs", "channels"), [(5, 3), (1, 1)])
def test_everything_comes_through_and_the_network_answers_with_its_own_head(
    tmp_path, model, outputs, channels
):
    state = weights_of(model, outputs, channels)
    found, sidecar = import_weights(saved(state, tmp_path), model)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], values) for name, values in state.items())
    assert sidecar.outputs == outputs
    network = source_network(model, found, None)
    assert not network.training
    for name, values in network.state_dict().items():
        assert torch.equal(values, state[name]), name
    with torch.no_grad():
        assert network(torch.zeros(1, channels, 224, 224)).shape == (1, outputs)


def test_a_lightning_checkpoint_of_a_wrapped_network_is_read(tmp_path):
    state = weights_of(RESNET)
    wrapped = {"state_dict": {f"model.backbone.{n}": t for n, t in state.items()}, "epoch": 3}
    told: list[str] = []
    found, _ = import_weights(saved(wrapped, tmp_path), RESNET, told.append)
    assert all(torch.equal(found[name], values) for name, values in state.items())
    assert "prefix 'model.backbone.' is cut off" in told


def test_rename_and_drop_make_other_names_the_networks(tmp_path):
    state = weights_of(RESNET)
    foreign = {n.replace("layer", "stage_").replace("fc.", "classifier."): t for n, t in state.items()}
    foreign["queue"] = torch.zeros(3)
    rules = (RenameSettings(r"^stage_(\d)", r"layer\1"), RenameSettings("^classifier", "fc"))
    found, _ = import_weights(saved(foreign, tmp_path, rename=rules, drop=("^queue$",)), RESNET)
    assert all(torch.equal(found[name], values) for name, values in state.items())


def test_what_is_known_goes_into_the_sidecar(tmp_path):
    keys = {"mean": (0.1,), "std": (0.2,), "origin": "a release", "licence": "mit", "image_size": 96}
    _, sidecar = import_weights(saved(weights_of(RESNET), tmp_path, **keys), RESNET)
    assert (sidecar.mean, sidecar.std) == ((0.1,), (0.2,))
    assert (sidecar.origin, sidecar.licence, sidecar.image_size) == ("a release", "mit", 96)


def test_an_unknown_size_stays_unknown(tmp_path):
    _, sidecar = import_weights(saved(weights_of(RESNET), tmp_path), RESNET)
    assert sidecar.image_size is None


# strictness


def test_counters_may_be_missing_and_a_head_too(tmp_path):
    state = weights_of(RESNET)
    body = {n: t for n, t in state.items() if not n.startswith("fc.") and "num_batches" not in n}
    found, sidecar = import_weights(saved(body, tmp_path), RESNET)
    assert found.keys() == body.keys()
    assert sidecar.outputs == 0
    with torch.no_grad():
        assert source_network(RESNET, found, None)(torch.zeros(1, 3, 64, 64)).shape == (1, 512)


def test_a_headless_cbr_is_accepted(tmp_path):
    model = ModelSettings("cbr", {"channels": [4, 8]})
    body = {n: t for n, t in weights_of(model).items() if not n.startswith("head.")}
    assert import_weights(saved(body, tmp_path), model)[1].outputs == 0


@pytest.mark.parametrize(
    "lost", ["layer3.0.conv1.weight", "bn1.running_var", "fc.bias", "conv1.weight"]
)
def test_a_missing_tensor_is_named(tmp_path, lost):
    state = weights_of(RESNET)
    del state[lost]
    with pytest.raises(DataError, match=rf"w\.pth: .*missing \(1\): {lost}; .*resnet18"):
        import_weights(saved(state, tmp_path), RESNET)


def test_an_unexpected_tensor_is_named(tmp_path):
    state = weights_of(RESNET) | {"layer5.weight": torch.zeros(2)}
    with pytest.raises(DataError, match=r"unexpected \(1\): layer5\.weight"):
        import_weights(saved(state, tmp_path), RESNET)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path):
    state = weights_of(RESNET) | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}
    expected = r"layer1\.0\.conv1\.weight: \(64, 64, 1, 1\), the network's is \(64, 64, 3, 3\)"
    with pytest.raises(DataError, match=rf"other shapes \(1\): {expected}"):
        import_weights(saved(state, tmp_path), RESNET)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_stem_of_other_channels_than_1_or_3_is_refused(tmp_path, channels):
    state = weights_of(RESNET) | {"conv1.weight": torch.zeros(64, channels, 7, 7)}
    with pytest.raises(DataError, match=r"other shapes \(1\): conv1\.weight"):
        import_weights(saved(state, tmp_path), RESNET)


def test_a_head_whose_tensors_disagree_is_refused(tmp_path):
    state = weights_of(RESNET) | {"fc.bias": torch.zeros(4)}
    with pytest.raises(DataError, match=r"other shapes \(1\): fc\."):
        import_weights(saved(state, tmp_path), RESNET)


def test_many_problems_are_counted_and_a_few_shown(tmp_path):
    with pytest.raises(DataError) as caught:
        import_weights(saved(weights_of(ModelSettings("resnet34")), tmp_path), RESNET)
    message = str(caught.value)
    assert "unexpected (96): " in message and " and 93 more" in message
    assert len(message) < 700


def test_a_network_for_another_image_size_is_refused_by_its_position_embedding(tmp_path):
    model = ModelSettings("vit_tiny_patch16_224")
    state = weights_of(model)
    with pytest.raises(
        DataError, match=r"pos_embed: \(1, 197, 192\), the network's is \(1, 577, 192\)"
    ):
        import_weights(saved(state, tmp_path, image_size=384), model)


def test_a_source_network_refuses_what_is_not_its_own():
    with pytest.raises(DataError, match=r"resnet18: .*missing \(1\): bn1\.weight"):
        source_network(RESNET, {n: t for n, t in weights_of(RESNET).items() if n != "bn1.weight"}, 64)


def test_only_architecture_and_arguments_of_a_network_matter(tmp_path):
    cut = ModelSettings("resnet18", first_units=2, grey_input="repeat", weights_of="another")
    state, _ = import_weights(saved(weights_of(RESNET), tmp_path), cut)
    assert len(source_network(cut, state, 64).state_dict()) == len(weights_of(RESNET))


# files


def test_the_right_checksum_is_accepted_in_either_case(tmp_path):
    file = saved(weights_of(RESNET), tmp_path)
    digest = file_sha256(tmp_path / "w.pth")
    for written in (digest, digest.upper()):
        import_weights(saved(weights_of(RESNET), tmp_path, sha256=written), RESNET)
    assert file.sha256 is None


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_another_checksum_is_refused_before_the_file_is_opened(tmp_path, kind):
    path = tmp_path / "w.pth"
    path.write_bytes(b"not weights at all")
    file = WeightFileSettings(path=str(path), mean=HALF, std=HALF, **{kind: "0" * 32})
    with pytest.raises(DataError, match=rf"w\.pth: {kind} is [0-9a-f]+, expected 0+"):
        import_weights(file, RESNET)


def test_a_missing_file_is_an_error_that_says_where_it_goes_and_where_it_is_from(tmp_path):
    file = WeightFileSettings(
        path=str(tmp_path / "absent.npz"), mean=HALF, std=HALF, origin="https://a/b.npz"
    )
    with pytest.raises(DataError, match=r"absent\.npz: no such file.*'path'; its origin: https://a/b"):
        import_weights(file, RESNET)


def test_a_tag_is_fetched_once_and_its_normalisation_follows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ModelSettings("resnet18")
    state = weights_of(model, outputs=1000)
    save_file(state, tmp_path / "served.safetensors")
    with hosts() as start:
        host = start()
        where = "/timm/resnet18.tv_in1k/resolve/main/model.safetensors"
        host.says(ranged((tmp_path / "served.safetensors").read_bytes()), path=where)
        monkeypatch.setenv("HF_ENDPOINT", host.url(""))
        for _ in range(2):
            found, sidecar = import_weights(WeightFileSettings(hub="resnet18.tv_in1k"), model)
        assert len(host.asked("User-Agent", path=where)) == 1
    assert all(torch.equal(found[name], values) for name, values in state.items())
    assert sidecar.mean == (0.485, 0.456, 0.406)
    assert (sidecar.outputs, sidecar.image_size, sidecar.licence) == (1000, 224, "bsd-3-clause")


def test_a_dino_tag_has_no_head(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ModelSettings("vit_small_patch16_224")
    state = dict(timm.create_model("vit_small_patch16_224", num_classes=0).state_dict())
    files = tmp_path / "resources/weights/files"
    files.mkdir(parents=True)
    save_file(state, files / "vit_small_patch16_224.dino.safetensors")
    found, sidecar = import_weights(WeightFileSettings(hub="vit_small_patch16_224.dino"), model)
    assert found.keys() == state.keys()
    assert sidecar.outputs == 0


# scripts


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT / "workflow/scripts" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_script_stores_weights_and_sidecar_and_says_what_it_did(tmp_path):
    state = weights_of(RESNET)
    file = saved({f"module.{name}": t for name, t in state.items()}, tmp_path, licence="mit")
    result = run(
        "import_weights.py", "--file", as_argument(file), "--model", as_argument(RESNET),
        "--output", "out/w.safetensors", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "prefix 'module.' is cut off" in result.stderr
    found, sidecar = load_weights(tmp_path / "out/w.safetensors")
    assert all(torch.equal(found[name], values) for name, values in state.items())
    assert (sidecar.licence, sidecar.outputs) == ("mit", 5)


def test_the_script_of_trained_weights_writes_the_same_facts(tmp_path):
    state = weights_of(RESNET, outputs=2)
    (tmp_path / "run").mkdir()
    save_file(state, tmp_path / "run/model.safetensors")
    facts = {"mean": list(HALF), "std": list(HALF), "outputs": ["a", "b"], "image_size": 64}
    (tmp_path / "run/run.json").write_text(json.dumps(facts))
    result = run("export_weights.py", "--run", "run", "--output", "w.safetensors", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    found, sidecar = load_weights(tmp_path / "w.safetensors")
    assert found.keys() == state.keys()
    assert (sidecar.outputs, sidecar.image_size, sidecar.mean) == (2, 64, HALF)
    assert sidecar.origin == "trained here, run"


def test_the_address_of_a_file_is_no_part_of_what_its_import_depends_on():
    keys = {"sha256": "0" * 64, "mean": HALF, "std": HALF}
    here, there = (WeightFileSettings(url=f"https://{h}/w.npz", **keys) for h in ("a", "b"))
    assert as_argument(here, IMPORT_KEYS) == as_argument(there, IMPORT_KEYS)
    assert as_argument(here) != as_argument(there)


# real weights


def real(name: str) -> WeightFileSettings:
    path = DATA / "weights/mobilenetv2_100" / f"mobilenetv2_100.{name}.fp16.safetensors"
    return WeightFileSettings(path=str(path), mean=HALF, std=HALF, image_size=224)


def real_test(test):
    absent = pytest.mark.skipif(not DATA.is_dir(), reason="MEDTRANSFER_REAL_DATA is no folder")
    return pytest.mark.real(absent(test))


@real_test
@pytest.mark.parametrize(("name", "outputs"), [("imagenet1k_qat", 1000), ("inat_insect", 1022)])
def test_real_weights_load_with_their_own_head(name, outputs):
    model = ModelSettings("mobilenetv2_100", {"pad_type": "same"})
    state, sidecar = import_weights(real(name), model)
    assert sidecar.outputs == outputs
    with torch.no_grad():
        logits = source_network(model, state, sidecar.image_size)(torch.zeros(1, 3, 224, 224))
    assert logits.shape == (1, outputs)


@pytest.fixture(scope="module")
def sample_images() -> tuple[torch.Tensor, np.ndarray]:
    """The middle 224 pixels of the ImageNet sample (short side 256), uint8, and their classes."""
    folder = DATA / "sources/imagenet_sample1000"
    table = pd.read_csv(folder / "labels.csv")
    crops = []
    for name in table["file"]:
        with Image.open(folder / name) as image:
            left, top = (round((side - 224) / 2) for side in image.size)
            crops.append(np.asarray(image.convert("RGB").crop((left, top, left + 224, top + 224))))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2), table["class_index"].to_numpy()


@real_test
@pytest.mark.parametrize(("padding", "accuracy"), [("same", 0.875), ("", 0.790)])
def test_real_weights_score_as_published_with_the_padding_they_were_trained_with(
    sample_images, padding, accuracy
):
    """The owners of the files found 0.889 and 0.803, with a resize that they don't name."""
    model = ModelSettings("mobilenetv2_100", {"pad_type": padding})
    state, sidecar = import_weights(real("imagenet1k_qat"), model)
    network = source_network(model, state, sidecar.image_size).to(memory_format=torch.channels_last)
    images, classes = sample_images
    mean, std = (torch.tensor(values)[:, None, None] for values in (sidecar.mean, sidecar.std))
    with torch.no_grad():
        logits = torch.cat([network((batch / 255 - mean) / std) for batch in images.split(50)])
    assert (logits.argmax(1).numpy() == classes).mean() == pytest.approx(accuracy, abs=0.006)
