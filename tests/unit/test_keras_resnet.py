"""Keras's ResNet-50: its arithmetic against a second writing of its definition, and Keras itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from medtransfer.config.model import ModelSettings
from medtransfer.config.source import WeightFileSettings
from medtransfer.errors import DataError
from medtransfer.models.converters import keras_resnet50_state
from medtransfer.models.keras_resnet import keras_resnet50
from medtransfer.models.source import import_weights, source_network
from medtransfer.models.units import network_units

h5py = pytest.importorskip("h5py")

STAGES = {2: (64, 3), 3: (128, 4), 4: (256, 6), 5: (512, 3)}
MODEL = ModelSettings("resnet50_keras")
HALF = (0.5, 0.5, 0.5)


def keras_layers(outputs: int | None, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under Keras's names, in Keras's shapes: kernels H x W x I x O."""
    random = np.random.default_rng(seed)
    layers: dict[str, np.ndarray] = {}

    def add(name: str, side: int, inputs: int, filters: int) -> None:
        spread = np.sqrt(1.5 / (side * side * inputs))
        kernel = random.normal(0, spread, (side, side, inputs, filters))
        layers[f"{name}_conv/kernel"] = kernel
        layers[f"{name}_conv/bias"] = random.normal(0, 0.3, filters)
        layers[f"{name}_bn/gamma"] = random.uniform(0.5, 1.5, filters)
        layers[f"{name}_bn/beta"] = random.normal(0, 0.3, filters)
        layers[f"{name}_bn/moving_mean"] = random.normal(0, 0.3, filters)
        layers[f"{name}_bn/moving_variance"] = random.uniform(0.2, 2.0, filters)

    add("conv1", 7, 3, 64)
    inputs = 64
    for stage, (filters, blocks) in STAGES.items():
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                add(f"{name}_0", 1, inputs, 4 * filters)
            add(f"{name}_1", 1, inputs, filters)
            add(f"{name}_2", 3, filters, filters)
            add(f"{name}_3", 1, filters, 4 * filters)
            inputs = 4 * filters
    # of the size of the epsilon, so that its digits show
    layers["conv1_bn/moving_variance"][:8] = 1e-5
    layers["conv1_bn/gamma"][:8] = 0.01
    if outputs:
        layers["predictions/kernel"] = random.normal(0, 0.05, (2048, outputs))
        layers["predictions/bias"] = random.normal(0, 1, outputs)
    return {name: array.astype(np.float32) for name, array in layers.items()}


def tensor(array: np.ndarray) -> torch.Tensor:
    """In double precision, so that rounding can't hide or make a difference."""
    return torch.from_numpy(array).double()


def reference(layers: dict[str, np.ndarray], images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Activations by the definition in keras.applications.resnet, images N x 3 x H x W."""
    made: dict[str, torch.Tensor] = {}

    def normed_convolution(x: torch.Tensor, name: str, stride: int, padding: int) -> torch.Tensor:
        # Keras's default "valid" takes no padding; "same" with stride 1 and kernel 3 is 1 on each side
        kernel = tensor(layers[f"{name}_conv/kernel"]).permute(3, 2, 0, 1)
        x = functional.pad(x, [padding] * 4)
        x = functional.conv2d(x, kernel, stride=stride)
        x = x + tensor(layers[f"{name}_conv/bias"])[:, None, None]
        gamma, beta, mean, variance = (
            tensor(layers[f"{name}_bn/{kind}"])[:, None, None]
            for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - mean) / torch.sqrt(variance + 1.001e-5) + beta

    def block(x: torch.Tensor, name: str, stride: int, projected: bool) -> torch.Tensor:
        shortcut = normed_convolution(x, f"{name}_0", stride, 0) if projected else x
        x = normed_convolution(x, f"{name}_1", stride, 0).relu()
        x = normed_convolution(x, f"{name}_2", 1, 1).relu()
        return (normed_convolution(x, f"{name}_3", 1, 0) + shortcut).relu()

    x = normed_convolution(images, "conv1", 2, 3).relu()
    made["conv1_relu"] = x
    x = functional.max_pool2d(functional.pad(x, [1] * 4), 3, 2)
    for stage, (_, blocks) in STAGES.items():
        for number in range(1, blocks + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            x = block(x, f"conv{stage}_block{number}", stride, projected=number == 1)
            made[f"conv{stage}_block{number}_out"] = x
    made["avg_pool"] = x.mean(dim=(2, 3))
    if "predictions/kernel" in layers:
        made["predictions"] = made["avg_pool"] @ tensor(layers["predictions/kernel"])
        made["predictions"] = made["predictions"] + tensor(layers["predictions/bias"])
    return made


def activations(network: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same, of a network with timm's names."""
    made: dict[str, torch.Tensor] = {}
    places = {"act1": "conv1_relu", "global_pool": "avg_pool", "fc": "predictions"}
    for stage, (_, blocks) in STAGES.items():
        for number in range(1, blocks + 1):
            places[f"layer{stage - 1}.{number - 1}"] = f"conv{stage}_block{number}_out"
    modules = dict(network.named_modules())
    for place, name in places.items():
        modules[place].register_forward_hook(
            lambda _, __, output, name=name: made.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        network.eval()(images)
    return made


def write_h5(path: Path, layers: dict[str, np.ndarray], layout: str) -> Path:
    """An h5 file as Keras lays it out."""
    with h5py.File(path, "w") as file:
        for name, array in layers.items():
            layer, variable = name.split("/")
            if layout == "legacy":
                file[f"{layer}/{layer}/{variable}:0"] = array
            elif layout == "model":
                file[f"model_weights/{layer}/{layer}/{variable}:0"] = array
                file[f"optimizer_weights/Adam/{layer}/{variable}/m:0"] = array * 0
            elif layout == "nested":
                file[f"resnet50/{layer}/{variable}:0"] = array
            else:
                _write_keras_3(file, layer, variable, array)
    return path


def _write_keras_3(file: h5py.File, layer: str, variable: str, array: np.ndarray) -> None:
    order = ["kernel", "bias"] if variable in ("kernel", "bias") else None
    order = order or ["gamma", "beta", "moving_mean", "moving_variance"]
    group = file.require_group(f"layers/made_up_{layer}/vars")
    group.attrs["name"] = layer
    group[str(order.index(variable))] = array


def settings(path: Path, converter: str = "keras_resnet50") -> WeightFileSettings:
    return WeightFileSettings(path=str(path), mean=HALF, std=HALF, converter=converter)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 70, 58, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture(scope="module")
def layers() -> dict[str, np.ndarray]:
    return keras_layers(outputs=7)


@pytest.fixture(scope="module")
def network(layers, tmp_path_factory) -> torch.nn.Module:
    path = write_h5(tmp_path_factory.mktemp("keras") / "w.h5", layers, "legacy")
    state, sidecar = import_weights(settings(path), MODEL)
    assert sidecar.outputs == 7
    return source_network(MODEL, state, 224).double()


def test_every_block_gives_the_activations_of_keras_definition(network, layers, images):
    found, expected = activations(network, images), reference(layers, images)
    assert found.keys() == expected.keys()
    assert len(found) == 19
    for name, values in expected.items():
        assert found[name].shape == values.shape, name
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=0, msg=name)
        assert values.std() > 0.05, name  # nothing has died out


@pytest.mark.parametrize("layout", ["model", "nested", "keras3"])
def test_each_layout_of_keras_files_gives_the_same_tensors(network, layers, layout, tmp_path):
    state, _ = import_weights(settings(write_h5(tmp_path / "w.h5", layers, layout)), MODEL)
    expected = network.state_dict()
    assert state.keys() == {name for name in expected if "num_batches_tracked" not in name}
    for name, values in state.items():
        assert torch.equal(values.double(), expected[name]), name


def test_a_file_without_top_has_no_head_and_gives_features(layers, images, tmp_path):
    body = {name: array for name, array in layers.items() if not name.startswith("predictions")}
    path = write_h5(tmp_path / "notop.h5", body, "legacy")
    state, sidecar = import_weights(settings(path), MODEL)
    assert sidecar.outputs == 0
    assert not any(name.startswith("fc.") for name in state)
    with torch.no_grad():
        features = source_network(MODEL, state, None).double()(images)
    torch.testing.assert_close(features, reference(layers, images)["avg_pool"], atol=1e-4, rtol=0)


def test_the_same_weights_in_the_torchvision_shape_compute_something_else(network, images):
    """Renaming alone, as ports did, gives a network that loads and whose features differ."""
    import timm

    renamed = timm.create_model("resnet50", num_classes=7).double()
    renamed.load_state_dict(network.state_dict(), strict=False)
    right, wrong = activations(network, images), activations(renamed, images)
    for name, values in right.items():
        scale = values.abs().mean()
        assert (wrong[name] - values).abs().mean() > 0.05 * scale, name


@pytest.mark.parametrize("change", ["stride", "bias", "epsilon"])
def test_each_part_of_the_arithmetic_matters(network, layers, images, change):
    altered = keras_resnet50(num_classes=7).double()
    altered.load_state_dict(network.state_dict())
    for name, module in altered.named_modules():
        if change == "stride" and name == "layer3.0.conv1":
            module.stride = (1, 1)
        elif change == "stride" and name == "layer3.0.conv2":
            module.stride = (2, 2)
        elif change == "bias" and name == "layer4.2.conv3":
            torch.nn.init.zeros_(module.bias)
        elif change == "epsilon" and name == "bn1":
            module.eps = 1e-5
    found, expected = activations(altered, images), reference(layers, images)
    assert any(not torch.allclose(found[n], expected[n], atol=1e-4, rtol=0) for n in expected)


def test_weights_that_take_blue_first_take_red_first_after_import(layers, images, tmp_path):
    path = write_h5(tmp_path / "caffe.h5", layers, "legacy")
    state, _ = import_weights(settings(path, "keras_resnet50_bgr"), MODEL)
    found = activations(source_network(MODEL, state, None).double(), images)
    expected = reference(layers, images.flip(1))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=0, msg=name)


def test_parameters_are_as_many_as_keras_publishes():
    """keras.applications lists 25,636,712 for ResNet50, of which 53,120 don't train."""
    network = keras_resnet50()
    trained = sum(parameter.numel() for parameter in network.parameters())
    running = sum(b.numel() for n, b in network.named_buffers() if "running" in n)
    assert (trained + running, running) == (25_636_712, 53_120)


def test_the_random_start_is_keras_own():
    torch.manual_seed(0)
    network = keras_resnet50()
    kernel = network.layer2[0].conv2.weight
    limit = (6 / (9 * 128 + 9 * 128)) ** 0.5  # Glorot and Bengio (2010), uniform
    assert kernel.abs().max() <= limit
    assert kernel.abs().max() > 0.99 * limit
    assert kernel.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert all((m.bias == 0).all() for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 53
    for norm in norms:
        assert (norm.weight == 1).all() and (norm.eps, norm.momentum) == (1.001e-5, 0.01)


def test_it_is_a_resnet_of_timm_for_units_heads_and_channels():
    import timm

    network = keras_resnet50(in_chans=1, num_classes=3, drop_rate=0.5)
    names = [unit.name for unit in network_units(network)]
    assert names == [unit.name for unit in network_units(timm.create_model("resnet50"))]
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 3)
    assert network.drop_rate == 0.5


def test_a_layer_that_is_missing_or_unknown_is_named(layers, tmp_path):
    changed = {n: a for n, a in layers.items() if not n.startswith("conv4_block6_2_bn")}
    changed["extra_conv/kernel"] = np.zeros((1, 1, 2, 2), np.float32)
    path = write_h5(tmp_path / "w.h5", changed, "legacy")
    with pytest.raises(DataError, match=r"missing \(4\): layer3\.5\.bn2.* and 1 more") as caught:
        import_weights(settings(path), MODEL)
    assert "unexpected (1): extra_conv/kernel" in str(caught.value)


def test_a_name_that_two_layers_share_is_an_error():
    twice = {"predictions/bias": torch.zeros(2), "dense/bias": torch.zeros(2)}
    with pytest.raises(DataError, match=r"would both be named fc\.bias"):
        keras_resnet50_state(twice)


KERAS = """
import sys, numpy as np, keras, h5py
folder, layout = sys.argv[1:]
network = keras.applications.ResNet50(
    weights=None, classes=5, input_shape=(96, 96, 3), classifier_activation=None
)
random = np.random.default_rng(0)
for weight in network.weights:
    value = np.asarray(weight)
    positive = weight.name in ("gamma", "moving_variance")
    noise = random.uniform(0.5, 1.5, value.shape) if positive else random.normal(0, 0.1, value.shape)
    weight.assign(value + noise if "kernel" in weight.name and value.ndim == 2 else
                  noise if value.ndim == 1 else value)
if layout == "weights":
    network.save_weights(folder + "/w.weights.h5")
elif layout == "model":
    network.save(folder + "/w.h5")
images = random.normal(0, 1, (2, 96, 96, 3)).astype(np.float32)
names = ["conv1_relu", "conv2_block3_out", "conv3_block1_out", "conv5_block3_out", "predictions"]
outputs = [network.get_layer(name).output for name in names]
made = keras.Model(network.input, outputs).predict(images, verbose=0)
np.savez(folder + "/made.npz", images=images, **dict(zip(names, made)))
"""


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras isn't installed")
@pytest.mark.parametrize("layout", ["weights", "model"])
def test_activations_are_those_of_keras_itself(layout, tmp_path):
    command = [sys.executable, "-c", KERAS, str(tmp_path), layout]
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    state, sidecar = import_weights(settings(next(tmp_path.glob("*.h5"))), MODEL)
    assert sidecar.outputs == 5
    made = np.load(tmp_path / "made.npz")
    images = tensor(made["images"]).permute(0, 3, 1, 2)
    found = activations(source_network(MODEL, state, None).double(), images)
    for name in set(made.files) - {"images"}:
        expected = tensor(made[name])
        expected = expected.permute(0, 3, 1, 2) if expected.ndim == 4 else expected
        torch.testing.assert_close(found[name], expected, atol=1e-4, rtol=1e-5, msg=name)
        assert expected.std() > 0.01
