"""Networks by name: the CBR family by the arithmetic of its paper, and timm's classifiers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from medtransfer.config.model import ModelSettings
from medtransfer.config.typed import read_settings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.cbr import CBR
from medtransfer.models.units import network_units

# name: (channels, kernel, reported parameters), Raghu et al. 2019; all have 4 pools
FAMILY = {
    "cbr_large_t": ((32, 64, 128, 256, 512), 7, 8_532_480),
    "cbr_large_w": ((64, 128, 256, 512), 7, 8_432_128),
    "cbr_small": ((32, 64, 128, 256), 7, 2_108_672),
    "cbr_tiny": ((32, 64, 128, 256), 5, 1_076_480),
}
FILES = sorted((Path(__file__).parents[2] / "config" / "models").glob("*.yaml"))
# parameters of the networks with 1,000 classes for colour images, as published (timm, torchvision, BiT)
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "inception_v3": 23_834_568,
    "deit_ti": 5_717_416,
    "deit_s": 22_050_664,
    "deit_b": 86_567_656,
    "swin_t": 28_288_354,
    "swin_s": 49_606_258,
    "mobilenetv2": 3_504_872,
    "efficientnet_b0": 5_288_548,
    "bit_r50x1": 25_549_352,
    "bit_r101x1": 44_541_480,
    "bit_r101x3": 387_934_888,
    "bit_r152x4": 936_533_224,
    "vit_s_dino": 22_050_664,
}


def cbr(**arguments: object) -> ModelSettings:
    return ModelSettings("cbr", arguments)


def from_file(name: str, outputs: int = 5, channels: int = 3, size: int = 224) -> nn.Module:
    """A network of the configuration, without memory for its weights."""
    path = next(path for path in FILES if path.stem == name)
    with torch.device("meta"):
        return build_network(read_settings(ModelSettings, path), channels, outputs, size, seed=0)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", FAMILY)
def test_convolutions_after_the_first_and_a_5_class_head_have_the_reported_parameters(name):
    channels, _, reported = FAMILY[name]
    network = from_file(name)
    assert tuple(layer.conv.out_channels for layer in network.layers) == channels
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    heads = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert len(convolutions) == len(channels)
    assert len(heads) == 1
    counted = sum(m.weight.numel() for m in convolutions[1:]) + heads[0].weight.numel()
    assert counted == reported


@pytest.mark.parametrize("name", FAMILY)
def test_all_parameters_are_convolutions_without_bias_two_per_norm_channel_and_the_head(name):
    channels, kernel, reported = FAMILY[name]
    network = from_file(name)
    assert tuple(layer.conv.out_channels for layer in network.layers) == channels
    first_convolution = 3 * channels[0] * kernel * kernel
    norms, head_bias = 2 * sum(channels), 5
    assert parameters(network) == reported + first_convolution + norms + head_bias


def test_the_tiny_of_the_text_has_four_times_the_parameters_of_the_reported_one():
    network = from_file("cbr_tiny_text")
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    counted = sum(m.weight.numel() for m in convolutions[1:]) + network.head.weight.numel()
    assert counted == 25 * (64 * 128 + 128 * 256 + 256 * 512) + 5 * 512 == 4_303_360


@pytest.mark.parametrize(
    ("name", "pooled"),
    [("cbr_large_t", 4), ("cbr_large_w", 4), ("cbr_small", 4), ("cbr_tiny", 4), ("cbr_tiny_text", 4)],
)
def test_the_first_four_layers_of_the_family_pool_and_a_fifth_does_not(name, pooled):
    layers = from_file(name).layers
    assert [hasattr(layer, "pool") for layer in layers] == [True] * pooled + [False] * (len(layers) - 4)
    assert all((pool.kernel_size, pool.stride) == (3, 2) for pool in (x.pool for x in layers[:4]))
    assert all(layer.conv.stride == (1, 1) and layer.conv.bias is None for layer in layers)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_network_of_the_configuration_builds_for_grey_and_colour(path):
    settings = read_settings(ModelSettings, path)
    for channels in (1, 3):
        network = from_file(path.stem, outputs=7, channels=channels)
        stem = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        assert stem.in_channels == channels
        heads = [network.get_submodule(prefix[:-1]) for prefix in head_prefixes(network)]
        assert heads[0].weight.shape[0] == 7
    units = len(network_units(network))
    assert settings.first_units is None or settings.first_units < units


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_networks_of_the_studies_have_the_published_parameters(name):
    assert parameters(from_file(name, outputs=1000)) == PUBLISHED[name]


def test_the_keras_resnet_has_a_bias_for_each_channel_of_each_convolution_besides():
    convolutions = [m for m in from_file("resnet50").modules() if isinstance(m, nn.Conv2d)]
    biases = sum(m.out_channels for m in convolutions)
    assert parameters(from_file("resnet50_keras", outputs=1000)) == PUBLISHED["resnet50"] + biases


def test_every_network_of_the_studies_is_counted():
    counted = {*PUBLISHED, *FAMILY, "cbr_tiny_text", "resnet50_keras"}
    assert {path.stem for path in FILES} - counted == {"cbr_micro", "vit_micro", "deit_s_5_blocks"}


def test_deit_s_of_five_blocks_is_deit_s_until_it_is_cut():
    path = next(path for path in FILES if path.stem == "deit_s_5_blocks")
    settings = read_settings(ModelSettings, path)
    assert (settings.first_units, settings.weights_of) == (6, "deit_s")
    assert parameters(from_file("deit_s_5_blocks", outputs=1000)) == PUBLISHED["deit_s"]


# sides after each layer, by hand: same keeps n; valid loses kernel - 1; a pool gives ceil(n / 2)
@pytest.mark.parametrize(
    ("padding", "kernel", "sides"),
    [
        ("same", 7, [113, 57, 29, 15]),
        ("same", 5, [113, 57, 29, 15]),
        ("valid", 7, [110, 52, 23, 9]),
        ("valid", 5, [111, 54, 25, 11]),
    ],
)
def test_padding_changes_the_sides_as_computed_by_hand(padding, kernel, sides):
    settings = cbr(channels=[2, 3, 4, 5], kernel_size=kernel, padding=padding)
    with torch.device("meta"):
        layers = build_network(settings, 3, 5, 225, seed=0).layers
        values, found = torch.empty(1, 3, 225, 225), []
        for layer in layers:
            values = layer(values)
            found.append(values.shape[-1])
    assert found == sides


def test_an_unknown_padding_is_an_error():
    with pytest.raises(ConfigError, match=r"architecture cbr: .*'full'"):
        build_network(cbr(channels=[4], padding="full"), 3, 2, 32, seed=0)


def test_each_pool_halves_the_side_and_layers_beyond_pools_keep_it():
    images = torch.zeros(1, 3, 64, 64)
    four = CBR(channels=(2, 3, 4, 5, 6), kernel_size=7, pools=4).layers(images)
    every = CBR(channels=(2, 3, 4, 5, 6), kernel_size=7).layers(images)
    none = CBR(channels=(2, 3), kernel_size=5, pools=0).layers(images)
    assert four.shape == (1, 6, 4, 4)
    assert every.shape == (1, 6, 2, 2)
    assert none.shape == (1, 3, 64, 64)


def test_a_cbr_computes_convolution_norm_relu_pool_mean_and_head():
    torch.manual_seed(0)
    network = CBR(channels=(4, 6), kernel_size=3, pools=1, in_chans=1, num_classes=2).eval()
    state = {name: torch.rand_like(t) + 0.5 for name, t in network.state_dict().items()
             if t.is_floating_point()}  # fmt: skip
    network.load_state_dict(state, strict=False)
    images = torch.randn(3, 1, 9, 9)
    values = images
    for layer in range(2):
        weights = {k.split(f"layers.{layer}.")[1]: v for k, v in state.items()
                   if k.startswith(f"layers.{layer}.")}  # fmt: skip
        values = functional.conv2d(values, weights["conv.weight"], padding=1)
        scale = weights["norm.weight"] / torch.sqrt(weights["norm.running_var"] + 1e-5)
        centred = values - weights["norm.running_mean"].reshape(1, -1, 1, 1)
        values = centred * scale.reshape(1, -1, 1, 1) + weights["norm.bias"].reshape(1, -1, 1, 1)
        values = values.clamp(min=0)
        if layer == 0:
            values = functional.max_pool2d(values, 3, 2, 1)
    expected = values.flatten(2).mean(2) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("outputs", [1, 5])
def test_a_cbr_gives_one_row_of_logits_an_image_for_grey_and_colour(channels, outputs):
    network = build_network(cbr(channels=[4, 8], kernel_size=5), channels, outputs, 20, seed=0)
    assert network(torch.rand(3, channels, 20, 20)).shape == (3, outputs)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("architecture", "size"),
    [("test_resnet", 64), ("test_vit", 64), ("test_vit", 160)],
)
def test_timm_networks_take_grey_and_colour_at_any_image_size(architecture, size, channels):
    network = build_network(ModelSettings(architecture), channels, 4, size, seed=0).eval()
    assert network(torch.rand(2, channels, size, size)).shape == (2, 4)


def test_a_vit_at_another_size_has_a_position_for_each_of_its_patches():
    network = build_network(ModelSettings("test_vit"), 3, 2, 96, seed=0)
    patches = (96 // 16) ** 2
    assert network.state_dict()["pos_embed"].shape[1] == patches + 1  # and the class token


def test_a_name_gives_the_network_that_timm_gives():
    network = build_network(ModelSettings("test_resnet"), 3, 7, 160, seed=0)
    reference = timm.create_model("test_resnet", num_classes=7)
    assert type(network) is type(reference)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in reference.state_dict().items()}


def test_arguments_reach_the_architecture():
    settings = ModelSettings("test_vit", {"depth": 2, "embed_dim": 24, "num_heads": 2})
    network = build_network(settings, 1, 2, 32, seed=0)
    assert len(network.blocks) == 2
    assert network.cls_token.shape[-1] == 24


def test_an_unknown_architecture_is_an_error_that_suggests_a_near_name():
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet5O'.*mean 'resnet50'\?"):
        build_network(ModelSettings("resnet5O"), 3, 2, 64, seed=0)


@pytest.mark.parametrize("architecture", ["resnet50.nonsense", "vit_small_patch16_224.dini"])
def test_an_unknown_tag_of_weights_is_an_error_that_names_it(architecture):
    with pytest.raises(ConfigError, match=architecture):
        build_network(ModelSettings(architecture), 3, 2, 64, seed=0)


@pytest.mark.parametrize(
    ("architecture", "arguments", "size", "message"),
    [
        ("swin_tiny_patch4_window7_224", {"window_size": "wide"}, 64, "architecture swin_tiny"),
        ("test_vit", {"embed_dim": 25, "num_heads": 2}, 32, "architecture test_vit: "),
        ("cbr", {"channels": []}, 32, r"architecture cbr: channels \[\] .*allowed: from 1"),
        ("cbr", {"channels": [4, 0]}, 32, r"channels \[4, 0\] .*allowed: from 1"),
        ("cbr", {"channels": [4], "kernel_size": 0}, 32, "kernel_size 0; allowed: from 1"),
        ("cbr", {"channels": "wide"}, 32, "architecture cbr: "),
        ("resnet18", {"norm_layer": "nothing"}, 32, "architecture resnet18: .*nothing"),
    ],
)
def test_bad_arguments_are_errors_that_name_the_architecture(architecture, arguments, size, message):
    with pytest.raises(ConfigError, match=message):
        build_network(ModelSettings(architecture, arguments), 3, 2, size, seed=0)


@pytest.mark.parametrize("architecture", ["cbr", "test_vit", "test_efficientnet"])
def test_an_argument_that_an_architecture_does_not_take_is_an_error_that_names_both(architecture):
    message = rf"architecture {architecture}: .*'colour_space'"
    with pytest.raises(ConfigError, match=message):
        build_network(ModelSettings(architecture, {"colour_space": "lab"}), 3, 2, 64, seed=0)


@pytest.mark.parametrize("settings", [cbr(channels=[4, 8]), ModelSettings("test_vit")])
def test_a_seed_decides_the_weights_whatever_the_global_generator_is_at(settings):
    torch.manual_seed(1)
    first = build_network(settings, 3, 2, 32, seed=5)
    torch.manual_seed(2)
    again = build_network(settings, 3, 2, 32, seed=5)
    other = build_network(settings, 3, 2, 32, seed=6)
    assert same_weights(first, again)
    assert not same_weights(first, other)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_building_leaves_the_global_generator_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_network(cbr(channels=[4, 8]), 3, 2, 32, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_is_as_it_was_even_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match="wrong"):
        build_network(cbr(wrong=1), 3, 2, 32, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (cbr(channels=[4, 8]), ("head.",)),
        (ModelSettings("mobilenetv2_100"), ("classifier.",)),
        (ModelSettings("test_vit"), ("head.",)),
        (
            ModelSettings(
                "deit_tiny_distilled_patch16_224",
                {"depth": 1, "embed_dim": 24, "num_heads": 2},
            ),
            ("head.", "head_dist."),
        ),
    ],
    ids=lambda value: value.architecture if isinstance(value, ModelSettings) else "",
)
def test_the_head_is_the_last_linear_layers_and_nothing_else(settings, expected):
    network = build_network(settings, 3, 11, 32, seed=0)
    prefixes = head_prefixes(network)
    assert prefixes == expected
    inside = [m for n, m in network.named_modules() if f"{n}." in prefixes]
    assert all(isinstance(m, nn.Linear) and m.out_features == 11 for m in inside)
    outside = {n for n, t in network.state_dict().items() if not n.startswith(prefixes)}
    assert not any(11 in network.state_dict()[name].shape for name in outside)


def test_a_head_prefix_ends_in_a_dot_so_that_it_matches_no_longer_name():
    for architecture in ("test_resnet", "test_vit"):
        network = build_network(ModelSettings(architecture), 3, 2, 32, seed=0)
        assert all(re.fullmatch(r"[\w.]+\.", prefix) for prefix in head_prefixes(network))
