"""Truncated networks: the first units under a new head."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import started, trained_weights

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.truncation import truncate
from medtransfer.models.units import network_units, unit_of_tensors

# name: architecture, arguments, side of the images
FAMILIES = {
    "cbr": ("cbr", {"channels": [4, 6, 8], "kernel_size": 5}, 32),
    "resnet": ("resnet18", {"channels": (8, 16, 24, 32)}, 64),
    "resnet with a deep stem": ("test_resnet", {}, 64),
    "preactivated resnet": ("resnetv2_18", {"channels": (8, 16, 24, 32)}, 64),
    "densenet": ("densenet121", {"growth_rate": 4, "block_config": (2, 2, 2)}, 64),
    "efficientnet": ("test_efficientnet", {}, 64),
    "mobilenet": ("mobilenetv3_small_050", {}, 64),
    "convnext": ("test_convnext", {}, 64),
    "nfnet": ("test_nfnet", {}, 64),
    "regnet": ("regnetx_002", {}, 64),
    "mean of tokens": ("test_vit2", {"depth": 3, "embed_dim": 24, "num_heads": 2}, 32),
    "class token": ("test_vit", {"depth": 3, "embed_dim": 24, "num_heads": 2}, 32),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8), "window_size": 2},
        64,
    ),
    "beit": ("beit_base_patch16_224", {"embed_dim": 24, "depth": 3, "num_heads": 2}, 224),
}
BLIND = {("class token", 1)}  # the class token has met no patch yet


def settings_of(family: str, first_units: int | None = None) -> ModelSettings:
    architecture, arguments, _ = FAMILIES[family]
    return ModelSettings(architecture, arguments, first_units=first_units)


def whole(family: str, outputs: int = 3) -> nn.Module:
    return build_network(settings_of(family), 3, outputs, FAMILIES[family][2], seed=0)


def truncated(network: nn.Module, family: str, first_units: int) -> nn.Module:
    side = FAMILIES[family][2]
    truncate(network, first_units, (3, side, side))
    return network


def cuts(family: str) -> list[int]:
    count = len(network_units(whole(family)))
    chosen = range(1, count) if count < 7 else {1, 2, count // 2, count - 1}
    return [cut for cut in sorted(chosen) if (family, cut) not in BLIND]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truncated_network_keeps_its_first_units_their_numbers_and_their_tensors(family):
    full = whole(family)
    units, numbers = network_units(full), unit_of_tensors(full)
    state = full.state_dict()
    for cut in cuts(family):
        network = truncated(whole(family), family, cut)
        kept = network_units(network)
        assert [unit.name for unit in kept[:-1]] == [unit.name for unit in units[:cut]]
        for name, number in unit_of_tensors(network).items():
            whole_number = numbers[name]
            assert number == (whole_number if whole_number < cut else cut), (cut, name)
            if number < cut:
                assert torch.equal(network.state_dict()[name], state[name])
        lost = [name for name in state if cut <= numbers[name] < len(units) - 1]
        assert not set(lost) & set(network.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truncated_network_gives_logits_that_depend_on_the_image_and_can_be_trained(family):
    side = FAMILIES[family][2]
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    for cut in cuts(family):
        network = truncated(whole(family), family, cut).eval()
        logits = network(images)
        assert logits.shape == (2, 3)
        assert not torch.equal(logits[0], logits[1]), cut
        logits.sum().backward()
        weights = [p for n, p in network.named_parameters() if n.startswith(head_prefixes(network))]
        assert all(weight.grad is not None for weight in weights)


def pooled(values: torch.Tensor, family: str) -> torch.Tensor:
    """Pooled activations, N x C, as each family's head pools them; without its norm."""
    if family == "mean of tokens":
        return values[:, 1:].mean(dim=1)  # the first is a register
    if family == "class token":
        return values[:, 0]
    return values.mean(dim=(1, 2)) if family == "swin" else values.mean(dim=(2, 3))


def fresh_norm(values: torch.Tensor, family: str) -> torch.Tensor:
    """The head's norm, at its start, of a unit's activations."""
    if family in ("class token", "mean of tokens", "swin"):
        mean, variance = values.mean(-1, keepdim=True), values.var(-1, correction=0, keepdim=True)
        return (values - mean) / torch.sqrt(variance + (1e-5 if family == "swin" else 1e-6))
    return values


@pytest.mark.parametrize("family", ["cbr", "resnet", "regnet", "swin", "class token", "mean of tokens"])
def test_the_logits_are_those_of_the_full_networks_activations_after_the_last_unit(family):
    full = whole(family).eval()
    trained = trained_weights(full)
    vectors = {name: tensor for name, tensor in trained.items() if tensor.ndim == 1}
    full.load_state_dict(vectors, strict=False)  # norms and biases that matter
    side = FAMILIES[family][2]
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    units, numbers = network_units(full), unit_of_tensors(full)
    activations: dict[int, torch.Tensor] = {}
    for index, unit in enumerate(units[:-1]):
        last = [member for member in unit.members if member in dict(full.named_modules())][-1]
        full.get_submodule(last).register_forward_hook(
            lambda _module, _inputs, output, index=index: activations.update({index: output})
        )
    with torch.no_grad():
        full(images)
    for cut in cuts(family):
        network = truncated(whole(family), family, cut).eval()
        body = {name: tensor for name, tensor in full.state_dict().items() if numbers[name] < cut}
        missing, unexpected = network.load_state_dict(body, strict=False)
        assert not unexpected
        assert set(missing) == set(network.state_dict()) - set(body)
        values = activations[cut - 1]
        normal = fresh_norm(values, family)
        if family == "mean of tokens":  # its norm comes after the mean
            features = fresh_norm(pooled(values, family), family)
        else:
            features = pooled(normal, family)
        head = network.get_submodule(head_prefixes(network)[0][:-1])
        with torch.no_grad():
            torch.testing.assert_close(network(images), head(features), rtol=1e-3, atol=1e-4)


def test_a_network_that_is_kept_whole_has_a_fresh_head_and_the_same_body():
    network = truncated(whole("resnet"), "resnet", 9)
    full = whole("resnet")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, full.state_dict()[name]) != name.startswith("fc."), name


@pytest.mark.parametrize("init", ["s", "s-stats", "s-upto2-stats", "s-upto2-random", "s-upto1-slim"])
@pytest.mark.parametrize("family", ["cbr", "resnet", "class token", "swin"])
def test_weights_of_the_full_network_start_a_truncated_one_as_they_start_the_full_one(family, init):
    source = trained_weights(whole(family, outputs=7))
    side = FAMILIES[family][2]
    full = started(settings_of(family), init, source, size=side).state_dict()
    network = started(settings_of(family, 2), init, source, size=side)
    body = [n for n, unit in unit_of_tensors(network).items() if unit < 2]
    assert body
    for name in body:
        assert torch.equal(network.state_dict()[name], full[name]), name
    images = torch.rand(2, 3, side, side)
    assert network(images).shape == (2, 4)


def test_more_units_than_before_the_head_is_an_error_that_names_the_key_and_the_units():
    message = r"key 'first_units' is 4; allowed: up to 3, .*\(layers\.0, layers\.1, layers\.2\)"
    with pytest.raises(ConfigError, match=message):
        truncated(whole("cbr"), "cbr", 4)


def test_upto_counts_the_units_that_are_left():
    source = trained_weights(whole("cbr"))
    with pytest.raises(ConfigError, match=r"'upto4'; allowed here: up to 3 \(.*, head\)"):
        started(settings_of("cbr", 2), "s-upto4-stats", source, size=32)


@pytest.mark.parametrize(
    ("architecture", "arguments", "size", "cut", "message"),
    [
        ("test_vit", {}, 32, 1, "after its unit patch_embed: its logits would not depend on the image"),
        ("inception_next_atto", {}, 64, 2, "its head has a layer head.fc1 of another width"),
        ("xcit_nano_12_p16_224", {"depth": 2}, 224, 2, "after its unit pos_embed"),
        ("cait_xxs24_224", {"depth": 2}, 224, 2, "can't be cut after its unit blocks.0"),
        ("selecsls42", {}, 96, 2, "can't be cut after its unit features.0"),
        ("ghostnet_050", {}, 64, 1, "can't be cut after its unit stem: it could not be trained"),
    ],
)
def test_a_network_that_cannot_be_cut_there_is_an_error_that_says_why(
    architecture, arguments, size, cut, message
):
    network = build_network(ModelSettings(architecture, arguments), 3, 4, size, seed=0)
    with pytest.raises(ConfigError, match=message):
        truncate(network, cut, (3, size, size))


def test_truncating_leaves_the_mode_of_the_network():
    for training in (True, False):
        network = truncated(whole("resnet").train(training), "resnet", 3)
        assert network.layer1.training is training
        assert network.training is training


def test_a_start_of_a_truncated_network_is_a_function_of_its_seed():
    states = [
        started(settings_of("class token", 3), "random", {}, size=32, seed=seed).state_dict()
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])
