"""Shapes without computing: against a real pass through the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import SMALL, small_network

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.models.shapes import input_shape, output_shapes, run_on_shapes
from medtransfer.models.units import network_units


@pytest.mark.parametrize("name", SMALL)
def test_shapes_are_those_of_a_real_pass(name):
    network = small_network(name).eval()
    size = SMALL[name][1]
    modules = dict(network.named_modules())
    members = [m for unit in network_units(network) for m in unit.members if m in modules]
    outputs, inputs = {}, {}
    hooks = [
        modules[member].register_forward_hook(
            lambda _module, given, output, member=member: (
                outputs.update({member: output.shape}),
                inputs.update({member: given[0].shape}),
                None,
            )[-1]
        )
        for member in members
    ]
    logits = network(torch.rand(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    image = (3, size, size)
    assert run_on_shapes(network, image) == logits.shape == (1, 4)
    assert output_shapes(network, image, members) == outputs
    for member in (members[0], members[len(members) // 2], members[-1]):
        assert input_shape(network, image, member) == inputs[member]


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_network_changes_and_no_hook_stays(training):
    network = small_network("resnet18").train(training)
    network.bn1.eval()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    modes = {name: module.training for name, module in network.named_modules()}
    run_on_shapes(network, (3, 64, 64))
    output_shapes(network, (3, 64, 64), ["layer1"])
    input_shape(network, (3, 64, 64), "layer2")
    with pytest.raises(ConfigError):
        output_shapes(network, (2, 64, 64), ["layer1"])
    state = network.state_dict()
    assert all(torch.equal(tensor, before[key]) and not tensor.is_meta for key, tensor in state.items())
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_large_networks_cost_nothing():
    with torch.device("meta"):
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4096 * 4096, 10**6))
    assert run_on_shapes(network, (3, 4096, 4096)) == (1, 10**6)


@pytest.mark.parametrize("image", [(1, 32, 32), (3, 48, 32), (3, 16, 16), (3, 32)])
def test_an_image_that_the_network_does_not_take_is_an_error_with_its_shape(image):
    settings = ModelSettings("deit_tiny_patch16_224", {"depth": 1})
    fixed = build_network(settings, 3, 2, 32, seed=0)
    sides = ", ".join(map(str, image))
    with pytest.raises(ConfigError, match=rf"doesn't take images of shape \({sides}\)"):
        run_on_shapes(fixed, image)


def test_a_module_that_is_not_called_is_an_error_that_names_it():
    network = small_network("cbr")
    network.spare = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="doesn't call its module spare"):
        input_shape(network, (3, 32, 32), "spare")
