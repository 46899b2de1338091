"""The starts of Matsoukas et al. (CVPR 2022): which tensors are pre-trained, drawn and reset at each n.

The tables here are written from the description of their released code: a tensor's name decides at
which n it is the source's. Nothing here reads the project's own tables of levels.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from trained_networks import Weights, started, trained_weights

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.models.initialisation import body_weights, initialise, tensor_origins
from medtransfer.models.units import network_units
from medtransfer.seeds import derived_seed

ALWAYS = 0  # the level at which tensors that are never redrawn are pre-trained
LEVELS = {"resnet50": 6, "inception_v3": 7, "deit_s": 14, "swin_t": 14}
HEADS = {"resnet50": "fc.", "inception_v3": "fc.", "deit_s": "head.", "swin_t": "head."}
SETTINGS = {
    "resnet50": ModelSettings("resnet50"),
    "inception_v3": ModelSettings("inception_v3"),
    "deit_s": ModelSettings("deit_small_patch16_224"),
    "swin_t": ModelSettings("swin_tiny_patch4_window7_224"),
}
# the same modules with fewer channels
NARROW = {
    "resnet50": ModelSettings("resnet50", {"channels": (8, 16, 24, 32)}),
    "inception_v3": ModelSettings("inception_v3"),
    "deit_s": ModelSettings("deit_small_patch16_224", {"embed_dim": 48, "num_heads": 3}),
    "swin_t": ModelSettings(
        "swin_tiny_patch4_window7_224", {"embed_dim": 24, "num_heads": (1, 2, 4, 8)}
    ),
}
SWIN_DEPTHS = (2, 2, 6, 2)
RESET = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


# n of the released code + 2 = the level from which on a tensor is pre-trained


def resnet_level(name: str) -> int:
    if name.startswith("conv1."):
        return 1  # n = -1
    if name.startswith("bn1."):
        return 2  # n = 0
    return 2 + int(re.match(r"layer(\d)\.", name)[1])  # n = 1 ... 4


def inception_level(name: str) -> int:
    first = {
        "Conv2d_1a": -1,
        "Conv2d_2a": 0,
        "Conv2d_2b": 0,
        "Conv2d_3b": 1,
        "Conv2d_4a": 2,
        "Mixed_5": 3,
        "Mixed_6": 4,
        "Mixed_7": 5,
    }
    return 2 + next(n for prefix, n in first.items() if name.startswith(prefix))


def deit_level(name: str) -> int:
    if name in ("cls_token", "pos_embed"):
        return ALWAYS
    if name.startswith("patch_embed."):
        return 1
    if name.startswith("norm."):
        return 14  # n = 12, the whole network
    return 2 + int(re.match(r"blocks\.(\d+)\.", name)[1])


def swin_level(name: str) -> int:
    if name.endswith("relative_position_bias_table"):
        return ALWAYS
    if name.startswith("patch_embed."):
        return 1
    if name.startswith("norm."):
        return 14
    stage, block = re.match(r"layers\.(\d)\.(?:downsample|blocks\.(\d+))\.", name).groups()
    # patch merging before a stage comes with that stage's first block
    return 2 + sum(SWIN_DEPTHS[: int(stage)]) + int(block or 0)


LEVEL_OF: dict[str, Callable[[str], int]] = {
    "resnet50": resnet_level,
    "inception_v3": inception_level,
    "deit_s": deit_level,
    "swin_t": swin_level,
}


def is_norm(model: str, name: str) -> bool:
    """Whether a tensor belongs to a norm layer, by the networks' own names."""
    if model == "resnet50":
        return re.search(r"\b(bn\d|downsample\.1)\.", name) is not None
    return re.search(r"\b(bn|norm\d?)\.", name) is not None


@pytest.fixture(scope="module", params=list(SETTINGS))
def case(request) -> tuple[str, nn.Module, Weights]:
    size, seed = size_of(request.param), derived_seed(3, "weights")
    network = build_network(NARROW[request.param], 3, 5, size, seed)
    return request.param, network, trained_weights(network)


def size_of(model: str) -> int:
    return 96 if model in ("resnet50", "inception_v3") else 224


def start(case: tuple[str, nn.Module, Weights], init: str) -> Weights:
    """The state at step 0 of a run with seed 3, made from the network that is built already."""
    _, network, source = case
    network = copy.deepcopy(network)
    body = body_weights(network, source)
    initialise(network, parse_init(init), body, derived_seed(3, "stats"))
    return network.state_dict()


def expected_origin(model: str, name: str, level: int) -> str:
    if name.startswith(HEADS[model]):
        return "random"
    if LEVEL_OF[model](name) <= level:
        return "source"
    return "reset" if is_norm(model, name) else "drawn"


@pytest.mark.parametrize("model", SETTINGS)
def test_every_level_of_the_released_code_keeps_draws_and_resets_what_its_table_says(model):
    with torch.device("meta"):
        network = build_network(SETTINGS[model], 3, 5, size_of(model), seed=0)
    seen = set()
    for level in range(LEVELS[model] + 1):
        origins = tensor_origins(network, parse_init(f"s-upto{level}-stats_as_released"))
        assert origins == {name: expected_origin(model, name, level) for name in origins}, level
        seen |= set(origins.values())
    assert seen == {"random", "source", "drawn", "reset"}
    assert set(origins.values()) == {"random", "source"}


def test_the_tensors_at_step_0_are_those_of_the_table(case):
    model, _, source = case
    whole, random = start(case, "s-stats_as_released"), start(case, "random")
    # Inception has no narrow form: fewer levels of it
    for level in range(0, LEVELS[model] + 1, 3 if model == "inception_v3" else 1):
        state = start(case, f"s-upto{level}-stats_as_released")
        assert state.keys() == source.keys()
        for name, tensor in state.items():
            origin = expected_origin(model, name, level)
            if origin == "source":
                assert torch.equal(tensor, source[name]), (level, name)
            elif origin == "reset":
                value = RESET[name.rpartition(".")[2]]
                assert torch.equal(tensor, torch.full_like(tensor, value)), (level, name)
            elif origin == "random":
                assert torch.equal(tensor, random[name]), (level, name)
            else:
                assert torch.equal(tensor, whole[name]), (level, name)  # one draw for all levels
                assert not torch.equal(tensor, source[name]), (level, name)


def test_a_run_starts_with_those_tensors(case):
    model, _, source = case
    init = "s-upto2-stats_as_released"
    network = started(NARROW[model], init, source, size=size_of(model), seed=3, outputs=5)
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in start(case, init).items())


def test_the_released_draw_of_a_tensor_is_the_strict_one(case):
    model, _, source = case
    released, strict = start(case, "s-stats_as_released"), start(case, "s-stats")
    for name in source:
        if name.startswith(HEADS[model]) or LEVEL_OF[model](name) != ALWAYS:
            assert torch.equal(released[name], strict[name]), name
        else:
            assert torch.equal(released[name], source[name]), name
            assert not torch.equal(strict[name], source[name]), name


# strict starts count units; n of the paper is the same k only in transformers
STRICT = {
    "resnet50": {0: 1, 1: 4, 2: 8, 3: 14, 4: 17},
    "inception_v3": {-1: 1, 0: 3, 1: 4, 2: 5, 3: 8, 4: 13, 5: 16},
    "deit_s": {n: n + 2 for n in range(-2, 13)},
    "swin_t": {n: n + 2 for n in range(-2, 13)},
}


@pytest.mark.parametrize("model", SETTINGS)
def test_each_n_of_the_paper_is_a_number_of_units(model):
    with torch.device("meta"):
        network = build_network(SETTINGS[model], 3, 5, size_of(model), seed=0)
    for n, upto in STRICT[model].items():
        strict = tensor_origins(network, parse_init(f"s-upto{upto}-stats"))
        for name, origin in strict.items():
            expected = expected_origin(model, name, n + 2)
            if not name.startswith(HEADS[model]) and LEVEL_OF[model](name) == ALWAYS:
                # tokens and positions belong to the stem, bias tables to their block
                owner = name.replace("relative_position_bias_table", "qkv.weight")
                level = 1 if owner == name else swin_level(owner)
                expected = "source" if level <= n + 2 else "drawn"
            assert origin == expected, (n, name)


@pytest.mark.parametrize("model", SETTINGS)
def test_a_level_beyond_the_last_is_an_error_that_counts_them(model):
    with torch.device("meta"):
        network = build_network(SETTINGS[model], 3, 5, size_of(model), seed=0)
    beyond = LEVELS[model] + 1
    with pytest.raises(ConfigError, match=f"'upto{beyond}'; allowed here: up to {beyond - 1} "):
        tensor_origins(network, parse_init(f"s-upto{beyond}-stats_as_released"))


def test_the_narrow_networks_have_the_tensors_of_the_real_ones(case):
    model, narrow, _ = case
    with torch.device("meta"):
        network = build_network(SETTINGS[model], 3, 5, size_of(model), seed=0)
    assert list(narrow.state_dict()) == list(network.state_dict())


def test_resnets_stem_is_one_unit_but_two_levels():
    with torch.device("meta"):
        network = build_network(SETTINGS["resnet50"], 3, 5, 224, seed=0)
    assert "bn1" in network_units(network)[0].members
    first = tensor_origins(network, parse_init("s-upto1-stats_as_released"))
    assert (first["conv1.weight"], first["bn1.weight"]) == ("source", "reset")


def test_another_network_has_no_released_levels():
    with torch.device("meta"):
        network = build_network(ModelSettings("mobilenetv2_100"), 3, 5, 64, seed=0)
    with pytest.raises(ConfigError, match="not defined for EfficientNet; allowed: ResNet, Incep"):
        tensor_origins(network, parse_init("s-stats_as_released"))
