"""The network of a run at step 0: its parts together, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import SMALL, Weights, small_network, small_start, started, trained_weights

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.build import build_network, input_channels
from medtransfer.models.initialisation import draw
from medtransfer.seeds import derived_seed

CBR, SIDE = SMALL["cbr"]


def grey(kind: str) -> ModelSettings:
    return ModelSettings(CBR.architecture, CBR.arguments, grey_input=kind)


def starts_of(kind: str, init: str, source: Weights) -> nn.Module:
    return started(grey(kind), init, source, size=SIDE, channels=1)


def test_grey_images_are_summed_taken_as_the_first_colour_or_repeated():
    source = trained_weights(small_network("cbr"))
    stem = "layers.0.conv.weight"
    states = {kind: starts_of(kind, "s", source).state_dict() for kind in ("sum", "first", "repeat")}
    torch.testing.assert_close(states["sum"][stem][:, 0], source[stem].sum(dim=1))
    assert torch.equal(states["first"][stem], source[stem][:, :1])
    assert torch.equal(states["repeat"][stem], source[stem])
    others = [name for name in source if name != stem and not name.startswith("head.")]
    for name in others:
        assert all(torch.equal(state[name], source[name]) for state in states.values())


@pytest.mark.parametrize(
    ("kind", "stored", "channels"),
    [
        ("sum", 1, 1),
        ("first", 1, 1),
        ("repeat", 1, 3),
        ("sum", 3, 3),
        ("first", 3, 3),
        ("repeat", 3, 3),
    ],
)
def test_the_networks_channels_follow_from_the_images_and_the_setting(kind, stored, channels):
    assert input_channels(grey(kind), stored) == channels
    network = started(grey(kind), "random", {}, size=SIDE, channels=stored)
    assert network.layers[0].conv.in_channels == channels


def test_a_grey_source_starts_a_colour_network_with_a_third_for_each_colour():
    source = trained_weights(small_network("cbr", channels=1))
    stem = "layers.0.conv.weight"
    state = started(CBR, "s", source, size=SIDE).state_dict()
    torch.testing.assert_close(state[stem], (source[stem] / 3).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", SMALL)
def test_the_random_start_is_the_frameworks_own_at_a_seed_of_its_own(name):
    settings, size = SMALL[name]
    expected = build_network(settings, 3, 4, size, derived_seed(1, "weights")).state_dict()
    state = small_start(name, "random", {})
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in state)


def test_weights_and_draws_have_seeds_of_their_own():
    purposes = ("weights", "stats", "order", "")
    seeds = {derived_seed(seed, purpose) for seed in range(50) for purpose in purposes}
    assert len(seeds) == 200
    assert derived_seed(3, "stats") == derived_seed(3, "stats")
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_what_they_were_so_that_old_runs_can_be_repeated():
    assert derived_seed(0, "weights") == 3699729803252847382
    assert derived_seed(7, "stats") == 8034378681445864888


def test_a_tensors_draw_has_a_seed_of_the_run_the_purpose_and_its_name():
    source = trained_weights(small_network("vit"))
    name = "blocks.1.mlp.fc1.weight"
    expected = draw(source[name], "normal", derived_seed(derived_seed(1, "stats"), name))
    assert torch.equal(small_start("vit", "s-stats", source)[name], expected)


def test_the_outputs_of_the_head_are_those_asked_for_in_every_start():
    source = trained_weights(small_network("vit", outputs=1000))
    settings, size = SMALL["vit"]
    for init in ("random", "gabor", "s", "s-stats", "s-upto1-random", "s-upto1-slim"):
        network = started(settings, init, source, size=size, outputs=6)
        assert network(torch.rand(2, 3, size, size)).shape == (2, 6), init


def test_a_source_of_another_network_is_refused():
    with pytest.raises(DataError, match=r"don't belong to this network; missing: layers\.0\.conv"):
        started(CBR, "s", trained_weights(small_network("vit")), size=SIDE)


def test_an_unknown_architecture_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet5O'.*mean 'resnet50'\?"):
        started(ModelSettings("resnet5O"), "random", {}, size=64)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("inception_v3", 32),
        ("vgg11", 16),
        ("swin_tiny_patch4_window7_224", 3),
        ("test_vit", 8),
        ("cbr", 3),
    ],
)
def test_an_image_that_is_too_small_is_an_error_with_no_other_type(architecture, size):
    arguments = {"padding": "valid"} if architecture == "cbr" else {}
    with pytest.raises(ConfigError, match=f"architecture {architecture}: |shape .3, {size}, {size}."):
        started(ModelSettings(architecture, arguments), "random", {}, size=size)


@pytest.mark.parametrize(
    ("init", "allowed"),
    [
        ("s-upto5-stats", "up to 4"),
        ("s-upto5-random", "up to 4"),
        ("s-upto3-slim", "1 to 2"),
        ("s-upto1-stats_as_released", "ResNet, InceptionV3, Vision"),
    ],
)
def test_an_init_that_the_network_has_not_is_an_error_with_the_allowed_range(init, allowed):
    with pytest.raises(ConfigError, match=f"allowed.*{allowed}"):
        started(CBR, init, trained_weights(small_network("cbr")), size=SIDE)


def test_units_and_inits_count_alike_in_a_truncated_network():
    settings = ModelSettings(CBR.architecture, CBR.arguments, first_units=2)
    source = trained_weights(small_network("cbr"))
    state = started(settings, "s-upto2-random", source, size=SIDE).state_dict()
    kept = [name for name in state if name.startswith("layers.")]
    assert {name.split(".")[1] for name in kept} == {"0", "1"}
    assert all(torch.equal(state[name], source[name]) for name in kept)
    assert state["head.weight"].shape == (4, 16)
