"""Optimisers by name, and the learning-rate schedule step by step against its definition."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.models.build import build_network
from medtransfer.training.optimisation import build_optimizer, learning_rate_factor


def recipe(**settings: object) -> RecipeSettings:
    return RecipeSettings(**({"steps": 10} | settings))


def factors(total: int, **settings: object) -> list[float]:
    return [learning_rate_factor(step, total, recipe(**settings)) for step in range(total)]


def cbr() -> nn.Module:
    return build_network(ModelSettings("cbr", {"channels": [4, 8]}), 3, 2, 16, seed=0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_a_name_gives_its_optimiser_at_the_recipes_rate(name, kind):
    optimizer = build_optimizer(cbr(), recipe(optimizer=name, learning_rate=0.0125))
    assert type(optimizer) is kind
    assert [group["lr"] for group in optimizer.param_groups] == [0.0125, 0.0125]


def test_sgd_has_the_recipes_momentum():
    optimizer = build_optimizer(cbr(), recipe(optimizer="sgd", momentum=0.7))
    assert {group["momentum"] for group in optimizer.param_groups} == {0.7}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weight_matrices_decay_and_biases_and_norms_do_not(name):
    network = cbr()
    optimizer = build_optimizer(network, recipe(optimizer=name, weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    found = {parameter: decay[id(tensor)] for parameter, tensor in network.named_parameters()}
    assert found == {
        "layers.0.conv.weight": 0.3,
        "layers.0.norm.weight": 0.0,
        "layers.0.norm.bias": 0.0,
        "layers.1.conv.weight": 0.3,
        "layers.1.norm.weight": 0.0,
        "layers.1.norm.bias": 0.0,
        "head.weight": 0.3,
        "head.bias": 0.0,
    }


def test_every_parameter_is_optimised_once():
    network = cbr()
    groups = build_optimizer(network, recipe()).param_groups
    optimised = [id(p) for group in groups for p in group["params"]]
    assert sorted(optimised) == sorted(id(p) for p in network.parameters())


def test_frozen_parameters_are_left_out():
    network = cbr()
    network.head.requires_grad_(False)
    groups = build_optimizer(network, recipe()).param_groups
    optimised = {id(p) for group in groups for p in group["params"]}
    assert optimised == {id(p) for p in network.layers.parameters()}


def test_a_step_of_sgd_follows_its_formula_for_decayed_and_free_tensors():
    network = nn.Linear(2, 1)
    weight, bias = network.weight.detach().clone(), network.bias.detach().clone()
    settings = recipe(optimizer="sgd", learning_rate=0.1, weight_decay=0.5, momentum=0.9)
    optimizer = build_optimizer(network, settings)
    network(torch.tensor([[2.0, 3.0]])).sum().backward()
    optimizer.step()
    gradient = torch.tensor([[2.0, 3.0]])
    torch.testing.assert_close(network.weight.detach(), weight - 0.1 * (gradient + 0.5 * weight))
    torch.testing.assert_close(network.bias.detach(), bias - 0.1)


def test_cosine_after_a_warm_up_follows_its_definition_at_every_step():
    expected = [1 / 4, 2 / 4, 3 / 4, 1.0]  # a fifth of 20 steps
    expected += [(1 + math.cos(math.pi * k / 16)) / 2 for k in range(16)]
    assert factors(20, warmup=0.2) == pytest.approx(expected, abs=1e-12)


def test_cosine_of_four_steps_by_hand():
    half = math.sqrt(0.5) / 2
    assert factors(4, warmup=0.0) == pytest.approx([1, 0.5 + half, 0.5, 0.5 - half], abs=1e-12)


def test_cosine_would_reach_0_one_step_after_the_last():
    for warmup in (0.0, 0.25):
        assert learning_rate_factor(8, 8, recipe(warmup=warmup)) == pytest.approx(0, abs=1e-12)
        assert factors(8, warmup=warmup)[-1] > 0.02


def test_constant_stays_at_the_peak_after_the_warm_up():
    assert factors(6, warmup=0.5, schedule="constant") == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])


def test_without_a_warm_up_the_first_step_is_at_the_peak():
    assert factors(5, warmup=0.0, schedule="constant") == [1.0] * 5
    assert factors(5, warmup=0.0)[0] == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_warm_up_over_the_whole_budget_ends_at_the_peak(schedule):
    found = factors(5, warmup=1.0, schedule=schedule)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_share_that_is_no_whole_number_of_steps_is_rounded_up():
    found = factors(10, warmup=0.11, schedule="constant")
    assert found[:3] == [0.5, 1.0, 1.0]


def test_a_share_that_is_a_whole_number_of_steps_is_that_number():
    # in binary, 0.07 * 100 is a little more than 7
    found = factors(100, warmup=0.07, schedule="constant")
    assert found[:8] == pytest.approx([1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1, 1])


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_a_budget_of_one_step_trains_at_the_peak(schedule, warmup):
    assert factors(1, warmup=warmup, schedule=schedule) == [1.0]


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_the_rate_never_leaves_zero_to_peak_and_never_rises_again(warmup):
    found = factors(40, warmup=warmup)
    assert all(0 < value <= 1 for value in found)
    first, last = found.index(1.0), len(found) - 1 - found[::-1].index(1.0)
    assert last - first <= 1  # the end of the warm-up and the start of the cosine
    assert all(a < b for a, b in itertools.pairwise(found[: first + 1]))
    assert all(a > b for a, b in itertools.pairwise(found[last:]))
