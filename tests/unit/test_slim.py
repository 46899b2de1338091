"""Slim hybrids: the first units at full width from a source, the others half as wide and at random."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import SMALL, Weights, started, trained_weights

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.models.slim import build_slim_hybrid
from medtransfer.models.units import network_units, unit_of_tensors

FAMILIES = {name: SMALL[name] for name in ("cbr", "vit", "swin", "resnet18")} | {
    "four layers": (ModelSettings("cbr", {"channels": [8, 16, 32, 64], "kernel_size": 3}), 32),
    "class token": (ModelSettings("test_vit", {"depth": 3, "embed_dim": 24, "num_heads": 2}), 32),
    "resnet50": (ModelSettings("resnet50", {"channels": (8, 16, 24, 32)}), 64),
    "resnetv2": (ModelSettings("resnetv2_18", {"channels": (16, 32, 48, 64)}), 64),
}
CHANNELS = {"cbr": 3, "resnet50": 1}


def whole(family: str) -> nn.Module:
    settings, size = FAMILIES[family]
    return build_network(settings, CHANNELS.get(family, 3), 4, size, seed=8)


def slim(family: str, upto: int, source: Weights, seed: int = 1) -> nn.Module:
    settings, size = FAMILIES[family]
    channels = CHANNELS.get(family, 3)
    return started(settings, f"s-upto{upto}-slim", source, size=size, seed=seed, channels=channels)


def unit_widths(network: nn.Module, images: torch.Tensor) -> list[int]:
    """Channels of what each unit before the head gives."""
    widths = {}
    count = len(network_units(network)) - 1

    def note(index: int, output: torch.Tensor) -> None:
        maps = output.ndim == 4 and output.shape[2] == output.shape[3]
        widths[index] = output.shape[1 if maps else -1]

    for index in range(count):
        network.get_submodule(last_module(network, index)).register_forward_hook(
            lambda _module, _inputs, output, index=index: note(index, output)
        )
    with torch.no_grad():
        network.eval()(images)
    return [widths[index] for index in range(count)]


def last_module(network: nn.Module, index: int) -> str:
    modules = dict(network.named_modules())
    return next(m for m in reversed(network_units(network)[index].members) if m in modules)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_units_are_whole_and_the_sources_and_the_others_half_as_wide_and_random(family):
    full = whole(family)
    source = trained_weights(full)
    count = len(network_units(full))
    chosen = {1, 2, 3, count // 2, count - 3, count - 2} if count > 8 else range(1, count - 1)
    size = FAMILIES[family][1]
    images = torch.rand(2, CHANNELS.get(family, 3), size, size)
    wide = unit_widths(full, images)
    for upto in sorted(set(chosen)):
        network = slim(family, upto, source)
        state = network.state_dict()
        kept = [name for name, unit in unit_of_tensors(full).items() if unit < upto]
        for name in kept:
            assert torch.equal(state[name], source[name]), (upto, name)
        others = set(state) - set(kept)
        assert not any(n in source and torch.equal(state[n], source[n]) for n in others), upto
        halves = [width if index < upto else width // 2 for index, width in enumerate(wide)]
        assert unit_widths(network, images) == halves, upto


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slim_hybrid_keeps_the_numbers_of_units_and_learns_everywhere(family):
    full = whole(family)
    units = network_units(full)
    size = FAMILIES[family][1]
    images = torch.rand(4, CHANNELS.get(family, 3), size, size)
    for upto in {1, 2, len(units) // 2, len(units) - 2}:
        network = slim(family, upto, trained_weights(full)).train()
        assert [unit.name for unit in network_units(network)] == [unit.name for unit in units]
        numbers = unit_of_tensors(network)
        projections = {number for name, number in numbers.items() if ".projection." in name}
        assert projections <= {upto}
        assert bool(projections) == (
            "cbr" not in FAMILIES[family][0].architecture and not tied(family, upto)
        )
        logits = network(images)
        assert logits.shape == (4, 4)
        logits.square().sum().backward()
        blind = [n for n, p in network.named_parameters() if p.grad is None]
        assert not blind, (upto, blind)


def tied(family: str, upto: int) -> bool:
    """Whether the first slim unit reads the stem of a ResNet, which has one width."""
    return upto == 1 and "resnet" in FAMILIES[family][0].architecture


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_of_a_slim_hybrid_loads_into_one_that_is_built_anew(family):
    source = trained_weights(whole(family))
    first, second = slim(family, 2, source, seed=1), slim(family, 2, source, seed=2)
    second.load_state_dict(trained_weights(first), strict=True)
    size = FAMILIES[family][1]
    images = torch.rand(2, CHANNELS.get(family, 3), size, size)
    first.load_state_dict(trained_weights(first), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(first.eval()(images), second.eval()(images), equal_nan=True)


def cbr_count(widths: list[int], kernel: int, outputs: int) -> int:
    pairs = zip([3, *widths], widths, strict=False)
    return sum(a * b * kernel**2 + 2 * b for a, b in pairs) + widths[-1] * outputs + outputs


@pytest.mark.parametrize(
    ("upto", "widths"), [(1, [8, 8, 16, 32]), (2, [8, 16, 16, 32]), (3, [8, 16, 32, 32])]
)
def test_a_slim_cbr_has_the_parameters_of_its_widths(upto, widths):
    network = slim("four layers", upto, trained_weights(whole("four layers")))
    assert [layer.conv.out_channels for layer in network.layers] == widths
    assert sum(p.numel() for p in network.parameters()) == cbr_count(widths, 3, 4)


def bottleneck(inputs: int, planes: int, outputs: int, shortcut: bool) -> int:
    """Parameters of a bottleneck: three convolutions, their batch norms, and its shortcut's."""
    count = inputs * planes + 9 * planes**2 + planes * outputs + 2 * (2 * planes + outputs)
    return count + (inputs * outputs + 2 * outputs if shortcut else 0)


@pytest.mark.parametrize("upto", [1, 2, 4, 9, 16])
def test_a_slim_resnet50_has_the_parameters_of_its_widths(upto):
    total, inputs, index = 49 * 3 * 64 + 2 * 64, 64, 1
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            planes = 64 * 2**stage // (1 if index < upto else 2)
            if index == upto and upto > 1:
                half = inputs // 2
                total += inputs * half
                inputs = half
            total += bottleneck(inputs, planes, 4 * planes, shortcut=block == 0)
            inputs, index = 4 * planes, index + 1
    with torch.device("meta"):
        full = build_network(ModelSettings("resnet50"), 3, 4, 64, seed=0)
    network = started(
        ModelSettings("resnet50"), f"s-upto{upto}-slim", trained_weights_of_zeros(full), size=64
    )
    assert sum(p.numel() for p in network.parameters()) == total + inputs * 4 + 4


@pytest.mark.parametrize(
    ("architecture", "factor", "upto", "halved"),
    [
        ("resnetv2_50x1_bit", 1, 9, [1, 1, 2, 2]),  # units 0 to 8: the stem, 3 + 4 blocks, one
        ("resnetv2_50x3_bit", 3, 1, [2, 2, 2, 2]),
        ("resnetv2_152x4_bit", 4, 2, [2, 2, 2, 2]),
    ],
)
def test_bit_is_halved_from_the_width_that_its_factor_gives(architecture, factor, upto, halved):
    settings = ModelSettings(architecture)
    with torch.device("meta"):
        full = build_network(settings, 3, 4, 64, seed=0)
        network = build_slim_hybrid(settings, full, upto, (3, 64, 64), seed=0)
        assert network(torch.empty(1, 3, 64, 64)).shape == (1, 4)
    widths = [stage.blocks[-1].conv3.out_channels for stage in network.stages]
    published = (256, 512, 1024, 2048)
    assert widths == [factor * w // half for w, half in zip(published, halved, strict=True)]
    assert network.stem.conv.out_channels == 64 * factor


def test_a_slim_bit_of_real_weights_computes():
    settings = ModelSettings("resnetv2_50x1_bit")
    source = build_network(settings, 3, 4, 32, seed=8).state_dict()
    network = started(settings, "s-upto9-slim", source, size=32)
    kept = [name for name, unit in unit_of_tensors(network).items() if unit < 9]
    assert all(torch.equal(network.state_dict()[name], source[name]) for name in kept)
    logits = network(torch.rand(2, 3, 32, 32))
    assert not torch.equal(logits[0], logits[1])


def trained_weights_of_zeros(network: nn.Module) -> Weights:
    return {name: torch.zeros(tensor.shape) for name, tensor in network.state_dict().items()}


def test_attention_heads_are_halved_as_far_as_they_divide_the_width():
    network = slim("vit", 1, trained_weights(whole("vit")))
    assert (network.blocks[0].attn.num_heads, network.blocks[0].attn.qkv.in_features) == (1, 24)
    swin = slim("swin", 1, trained_weights(whole("swin")))
    assert [stage.blocks[0].attn.num_heads for stage in swin.layers] == [1, 1, 2, 4]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_slim_is_a_function_of_the_seed(family):
    source = trained_weights(whole(family))
    states = [slim(family, 2, source, seed).state_dict() for seed in (1, 1, 2)]
    slims = [n for n, unit in unit_of_tensors(slim(family, 2, source)).items() if unit >= 2]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    weights = [name for name in slims if states[0][name].ndim > 1]
    assert not any(torch.equal(states[0][name], states[2][name]) for name in weights)


@pytest.mark.parametrize("upto", [0, 3, 4])
def test_no_full_or_no_slim_unit_is_an_error_that_says_what_is_allowed(upto):
    with pytest.raises(ConfigError, match=f"keeps {upto} units at full width; allowed: 1 to 2"):
        slim("cbr", upto, trained_weights(whole("cbr")))


def test_a_network_without_a_known_slim_form_is_an_error_that_names_those_that_have_one():
    settings, size = SMALL["efficientnet"]
    source = trained_weights(build_network(settings, 3, 4, size, seed=0))
    with pytest.raises(
        ConfigError, match="of EfficientNet is known for a slim start; known: CBR, ResNet"
    ):
        started(settings, "s-upto1-slim", source, size=size)
