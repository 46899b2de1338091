"""Images in the features of a source's network, against timm's own functions and torch's resize."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_runs import store_of
from safetensors.numpy import save_file
from scipy.special import expit, softmax
from torch import nn
from torch.nn import functional
from trained_networks import SMALL

from medtransfer.config.argument import as_argument
from medtransfer.config.model import ModelSettings
from medtransfer.data.splits import training_subset
from medtransfer.errors import DataError
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.weights import Sidecar, save_weights
from medtransfer.representation import embedding
from medtransfer.representation.embedding import (
    EmbeddedImages,
    SourceNetwork,
    drawn_rows,
    embed,
    read_embedding,
    source_probabilities,
    write_embedding,
)

PROJECT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SIDE, CLASSES = 64, 7
MEAN, STD = (0.2, 0.4, 0.7), (0.5, 0.3, 0.2)
NETWORKS = {
    "resnet18": SMALL["resnet18"][0],
    "swin": SMALL["swin"][0],
    "efficientnet": SMALL["efficientnet"][0],
    "vit": SMALL["vit"][0],
    "convnext": ModelSettings("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}),
    "bit": ModelSettings("resnetv2_50x1_bit", {"channels": (128, 128, 128, 128), "stem_chs": 32}),
}
CBR = ModelSettings("cbr", {"channels": [6, 9], "kernel_size": 3})


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def source_of(
    model: ModelSettings, channels: int = 3, size: int | None = SIDE, outputs: int = CLASSES
) -> tuple[SourceNetwork, nn.Module]:
    """A source's network and the same as a module, no tensor at its start."""
    network = build_network(model, channels, outputs, size or SIDE, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.add_(noise.abs() if name.endswith("running_var") else 0.05 * noise)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    about = Sidecar("made up", "", MEAN, STD, image_size=size, outputs=outputs)
    return SourceNetwork(model, state, about), network


def pictures(count: int = 9, side: int = 40, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    generator = np.random.default_rng(3)
    values = generator.integers(0, np.iinfo(kind).max + 1, (count, side, side, channels))
    # each with a brightness and a grain of its own, so that features differ
    coarse = np.repeat(np.repeat(values[:, ::8, ::8], 8, axis=1), 8, axis=2)
    share = np.linspace(0.1, 1, count)[:, None, None, None]
    return (share * coarse + (1 - share) * 0.3 * values).astype(kind)


def prepared(images: np.ndarray, side: int | None = SIDE) -> torch.Tensor:
    """Three channels, written out."""
    values = torch.from_numpy(images.astype(np.float32) / np.iinfo(images.dtype).max)
    values = torch.stack([values[..., c] for c in range(3)], dim=1)
    if side is not None:
        values = functional.interpolate(
            values, (side, side), mode="bilinear", antialias=True, align_corners=False
        )
    for channel in range(3):
        values[:, channel] = (values[:, channel] - MEAN[channel]) / STD[channel]
    return values


LABELS = np.arange(9) % 2
ROWS = np.array([7, 0, 3, 8])


@pytest.mark.parametrize("name", NETWORKS)
def test_features_and_logits_are_those_of_timm_at_the_sources_size(name):
    source, network = source_of(NETWORKS[name])
    images = pictures()
    found = embed(source, images, LABELS, ROWS, CPU)
    with torch.no_grad():
        seen = network.forward_features(prepared(images[ROWS]))
        features = network.forward_head(seen, pre_logits=True).flatten(1)
        logits = network(prepared(images[ROWS]))
    for given, expected in ((found.features, features.numpy()), (found.logits, logits.numpy())):
        spread = expected.std(axis=0).max()
        assert spread > 1e-4
        np.testing.assert_allclose(given, expected, rtol=0, atol=5e-3 * spread)
    np.testing.assert_array_equal(found.labels, LABELS[ROWS])
    assert found.features.dtype == found.logits.dtype == np.float32
    assert found.logits.shape == (4, CLASSES)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_without_a_head_has_features_only(name):
    source, network = source_of(NETWORKS[name])
    heads = head_prefixes(network)
    body = {key: tensor for key, tensor in source.state.items() if not key.startswith(heads)}
    assert len(body) < len(source.state)
    headless = replace(source, state=body, about=replace(source.about, outputs=0))
    found = embed(headless, pictures(), LABELS, ROWS, CPU)
    assert found.logits is None
    expected = embed(source, pictures(), LABELS, ROWS, CPU).features
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)


def cbr_outputs(network: nn.Module, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        features = network.layers(images).mean(dim=(2, 3))
        return features.numpy(), network.head(features).numpy()


def test_a_cbrs_features_are_its_means_over_positions():
    source, network = source_of(CBR)
    found = embed(source, pictures(), LABELS, ROWS, CPU)
    features, logits = cbr_outputs(network, prepared(pictures()[ROWS]))
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-5)


def test_where_the_sources_size_is_unknown_images_keep_theirs():
    source, network = source_of(CBR, size=None)
    found = embed(source, pictures(), LABELS, ROWS, CPU)
    features, _ = cbr_outputs(network, prepared(pictures()[ROWS], side=None))
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=1e-5)
    other = embed(source_of(CBR)[0], pictures(), LABELS, ROWS, CPU)
    assert not np.allclose(found.features, other.features, atol=1e-3)


def test_grey_images_are_three_equal_colours_to_a_colour_network():
    source, network = source_of(CBR)
    grey = pictures(channels=1)
    found = embed(source, grey, LABELS, ROWS, CPU)
    features, _ = cbr_outputs(network, prepared(np.repeat(grey, 3, axis=3)[ROWS]))
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stored", [1, 3])
def test_colours_are_averaged_for_a_grey_network_and_so_is_its_normalisation(stored):
    source, network = source_of(CBR, channels=1)
    images = pictures(channels=stored)
    found = embed(source, images, LABELS, ROWS, CPU)
    values = torch.from_numpy(images[ROWS].astype(np.float32) / 255).mean(dim=3)[:, None]
    values = functional.interpolate(values, (SIDE, SIDE), mode="bilinear", antialias=True)
    features, _ = cbr_outputs(network, (values - sum(MEAN) / 3) / (sum(STD) / 3))
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=1e-5)


def test_one_number_normalises_all_colours():
    source, _ = source_of(CBR)
    single = replace(source, about=replace(source.about, mean=(0.4,), std=(0.5,)))
    thrice = replace(source, about=replace(source.about, mean=(0.4,) * 3, std=(0.5,) * 3))
    found, expected = (embed(s, pictures(), LABELS, ROWS, CPU).features for s in (single, thrice))
    np.testing.assert_array_equal(found, expected)


def test_sixteen_bits_are_scaled_to_the_same_range():
    source, _ = source_of(CBR)
    eight = pictures()
    sixteen = eight.astype(np.uint16) * 257
    found, expected = (embed(source, v, LABELS, ROWS, CPU).features for v in (sixteen, eight))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_the_order_is_kept_over_batches(monkeypatch, batch):
    source, _ = source_of(CBR)
    whole = embed(source, pictures(), LABELS, ROWS, CPU)
    monkeypatch.setattr(embedding, "BATCH", batch)
    found = embed(source, pictures(), LABELS, ROWS, CPU)
    np.testing.assert_allclose(found.features, whole.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-5, atol=1e-6)


def test_several_labels_an_image_go_with_their_rows():
    source, _ = source_of(CBR)
    labels = np.random.default_rng(0).choice([0.0, 1.0, np.nan], (9, 3))
    np.testing.assert_array_equal(embed(source, pictures(), labels, ROWS, CPU).labels, labels[ROWS])


def test_drawn_rows_are_some_of_all_in_random_order_and_fewer_are_the_first_of_more():
    rows = np.arange(100, 180)
    whole = drawn_rows(rows, 1000)
    np.testing.assert_array_equal(np.sort(whole), rows)
    assert not np.array_equal(whole, rows)
    np.testing.assert_array_equal(drawn_rows(rows, 17), whole[:17])


# probabilities


def test_probabilities_are_the_softmax_of_the_sources_logits():
    logits = np.random.default_rng(0).normal(0, 3, (6, 4)).astype(np.float32)
    found = source_probabilities(logits)
    np.testing.assert_allclose(found, softmax(logits.astype(np.float64), axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert source_probabilities(None) is None


def test_a_single_logit_is_a_yes_or_no():
    logits = np.array([[-800.0], [-1.5], [0.0], [3.0]], dtype=np.float32)
    found = source_probabilities(logits)
    yes = expit(logits[:, 0].astype(np.float64))
    np.testing.assert_allclose(found, np.stack([1 - yes, yes], axis=1), atol=1e-12)


# files


NAMES = ("imagenet", "resnet50", "chest")


@pytest.mark.parametrize("with_logits", [True, False])
@pytest.mark.parametrize("labels", [np.array([2, 0, 1]), np.array([[1.0, np.nan]] * 3)])
def test_what_is_written_comes_back(tmp_path, with_logits, labels):
    generator = np.random.default_rng(0)
    features = np.asfortranarray(generator.normal(size=(3, 5)).astype(np.float32))
    logits = generator.normal(size=(3, 2)).astype(np.float32) if with_logits else None
    path = tmp_path / "new/embedding.safetensors"
    write_embedding(EmbeddedImages(features, logits, labels), NAMES, path)
    found, names = read_embedding(path)
    assert names == NAMES
    np.testing.assert_array_equal(found.features, features)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.labels.dtype == labels.dtype
    if with_logits:
        np.testing.assert_array_equal(found.logits, logits)
    else:
        assert found.logits is None
    assert [p.name for p in path.parent.iterdir()] == ["embedding.safetensors"]


def test_another_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent: no such file"):
        read_embedding(tmp_path / "absent")
    foreign = tmp_path / "weights.safetensors"
    save_file({"features": np.zeros((2, 2))}, foreign)
    with pytest.raises(DataError, match=r"weights\.safetensors: not a file of embedded images"):
        read_embedding(foreign)
    save_file({"features": np.zeros((2, 2))}, foreign, metadata={"format": "1"})
    with pytest.raises(DataError, match=r"weights\.safetensors: not a file of embedded images"):
        read_embedding(foreign)


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_damaged_file_is_refused(tmp_path, kept):
    path = tmp_path / "e.safetensors"
    whole = EmbeddedImages(np.zeros((30, 5), dtype=np.float32), None, np.zeros(30))
    write_embedding(whole, NAMES, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"e\.safetensors: damaged, no whole file of embedded images"):
        read_embedding(path)


# the script


@pytest.mark.parametrize("with_split", [True, False], ids=["training images", "all images"])
def test_the_script_embeds_training_images_or_all(tmp_path, with_split):
    source, _ = source_of(CBR, size=16)
    about = source.about
    save_weights(source.state, tmp_path / "w.safetensors", about)
    store = store_of("multiclass")
    np.save(tmp_path / "images.npy", store.images)
    store.samples.to_parquet(tmp_path / "samples.parquet")
    store.split.to_parquet(tmp_path / "split.parquet")
    command = [
        sys.executable, str(PROJECT / "workflow/scripts/embed.py"), "--images", "images.npy",
        "--samples", "samples.parquet", "--weights", "w.safetensors", "--model", as_argument(CBR),
        "--task", "multiclass", "--outputs", "a", "b", "c", "--names", "s", "m", "d",
        "--probe", "n8-b4-t30", "--device", "cpu", "--output", "out/e.safetensors",
        *(["--split", "split.parquet"] if with_split else []),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found, names = read_embedding(tmp_path / "out/e.safetensors")
    assert names == ("s", "m", "d")
    rows = training_subset(store.split, "full") if with_split else np.arange(len(store.samples))
    rows = drawn_rows(rows, 30)
    expected = embed(source, store.images, store.samples["label"].to_numpy(), rows, CPU)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
