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
from medtransfer.models.units import unit_of_tensors
from medtransfer.training.optimisation import Schedule, build_optimizer


def recipe(**settings: object) -> RecipeSettings:
    return RecipeSettings(**({"steps": 10} | settings))


def rates(total: int, values: dict[int, float] | None = None, **settings: object) -> list[float]:
    """The rate of each step; ``values`` are of the validations after so many steps."""
    chosen = recipe(**settings)
    optimizer = build_optimizer(nn.Linear(2, 1), chosen)
    schedule = Schedule(optimizer, chosen, total)
    found = []
    for step in range(total):
        found.append(schedule.rate)
        optimizer.step()
        schedule.after_step()
        if step + 1 in (values or {}):
            schedule.after_validation(values[step + 1])
    return found


def factors(total: int, **settings: object) -> list[float]:
    """Shares of the peak at each step."""
    return rates(total, **{"learning_rate": 1.0, **settings})


def factor_by_formula(step: int, total: int, warmup: int, schedule: str) -> float:
    """The rate's definition: a rise that ends at the peak, then constant or half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 1.0 if schedule == "constant" else 0.5 * (1.0 + math.cos(math.pi * progress))


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


def test_lamb_is_timms_without_a_clip_of_its_own():
    from timm.optim.lamb import Lamb

    optimizer = build_optimizer(cbr(), recipe(optimizer="lamb", learning_rate=0.5))
    assert type(optimizer) is Lamb
    assert {(group["lr"], group["max_grad_norm"]) for group in optimizer.param_groups} == {(0.5, None)}


def test_rmsprop_has_the_recipes_momentum():
    optimizer = build_optimizer(cbr(), recipe(optimizer="rmsprop", momentum=0.6))
    assert type(optimizer) is torch.optim.RMSprop
    assert {group["momentum"] for group in optimizer.param_groups} == {0.6}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop", "lamb"])
def test_every_optimiser_reduces_a_loss(name):
    torch.manual_seed(0)
    network, target = nn.Linear(3, 1), torch.tensor([[1.0], [-1.0]])
    inputs = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])
    optimizer = build_optimizer(network, recipe(optimizer=name, learning_rate=0.02, momentum=0.5))
    losses = []
    for _ in range(60):
        loss = (network(inputs) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def first_step(name: str, decay: float) -> torch.Tensor:
    """The first step of a weight of 10 whose gradient is 1, at the rate 0.1."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 10.0)
    optimizer = build_optimizer(network, recipe(optimizer=name, learning_rate=0.1, weight_decay=decay))
    network(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    return network.weight.detach() - 10.0


def test_adam_adds_the_decay_to_the_gradient_and_adamw_to_the_step():
    # Adam's first step is the rate x the gradient's sign, however large a decay adds to it
    assert first_step("adam", 0.5).item() == pytest.approx(-0.1, rel=1e-4)
    assert first_step("adamw", 0.5).item() == pytest.approx(-0.1 - 0.1 * 0.5 * 10, rel=1e-4)


def test_the_rate_of_a_unit_falls_with_its_distance_from_the_head():
    network = build_network(ModelSettings("cbr", {"channels": [4, 8, 8]}), 3, 2, 16, seed=0)
    optimizer = build_optimizer(network, recipe(learning_rate=0.1, layer_decay=0.5, weight_decay=0.3))
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    units = unit_of_tensors(network)
    assert len(groups) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        group = groups[id(parameter)]
        assert group["lr"] == pytest.approx(0.1 * 0.5 ** (max(units.values()) - units[name]))
        assert group["weight_decay"] == (0.3 if parameter.ndim >= 2 else 0.0)
    heights = {"head": 0.1, "layers.2": 0.05, "layers.1": 0.025, "layers.0": 0.0125}
    for name, parameter in network.named_parameters():
        expected = next(rate for prefix, rate in heights.items() if name.startswith(prefix))
        assert groups[id(parameter)]["lr"] == pytest.approx(expected)


def test_layer_decay_knows_the_units_of_a_timm_network():
    network = build_network(ModelSettings("test_vit"), 3, 2, 160, seed=0)
    optimizer = build_optimizer(network, recipe(learning_rate=1.0, layer_decay=0.5))
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(network.head.weight)] == 1.0
    blocks = [rates[id(block.attn.qkv.weight)] for block in network.blocks]
    assert blocks == [0.5 ** (len(blocks) - i) for i in range(len(blocks))]
    assert rates[id(network.patch_embed.proj.weight)] == 0.5 ** (len(blocks) + 1)


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


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize(
    ("total", "warmup"), [(250, 0.1), (1000, 0.0), (20000, 0.05), (7, 1.0), (40, 0.3)]
)
def test_the_curve_is_that_of_the_formula_at_every_step(total, warmup, schedule):
    found = rates(total, learning_rate=0.003, warmup=warmup, schedule=schedule)
    steps = math.ceil(round(warmup * total, 9))
    expected = [0.003 * factor_by_formula(step, total, steps, schedule) for step in range(total)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_a_warm_up_from_a_rate_reaches_the_peak_at_the_step_after_it():
    found = rates(8, learning_rate=0.5, warmup_steps=4, warmup_start=0.1, schedule="constant")
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])


def test_a_warm_up_may_start_at_0():
    found = rates(5, learning_rate=0.3, warmup_steps=3, warmup_start=0.0, schedule="constant")
    assert found == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.3], abs=1e-12)


def test_steps_of_warm_up_hold_instead_of_the_share():
    found = factors(6, warmup_steps=2, warmup=1.0, schedule="constant")
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1])
    assert factors(3, warmup_steps=0, schedule="constant") == [1.0] * 3


def test_a_warm_up_longer_than_the_budget_never_reaches_the_peak():
    assert factors(3, warmup_steps=6) == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_steps_fall_at_shares_of_the_budget():
    found = factors(10, schedule="steps", decay_at=(0.3, 0.65, 0.65), decay_factor=0.5, warmup_steps=2)
    # 6.5 is rounded to the even number
    assert found == pytest.approx([0.5, 1, 1, 0.5, 0.5, 0.5, 0.125, 0.125, 0.125, 0.125])


PLATEAU = {"schedule": "plateau", "plateau_patience": 1, "decay_factor": 0.5, "warmup": 0.0}


def test_a_plateau_falls_after_its_patience_and_counts_anew():
    values = {1: 0.5, 2: 0.6, 3: 0.6, 4: 0.6, 5: 0.6, 6: 0.6, 7: 0.9, 8: 0.1, 9: 0.1}
    # steps 3 and 4 are no better: the rate of step 4 (from 0) falls; likewise 5 and 6, 8 and 9
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert rates(10, values, learning_rate=1.0, **PLATEAU) == pytest.approx(expected)


def test_a_plateau_of_the_loss_waits_for_a_lower_value():
    values = {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2}
    assert rates(6, values, learning_rate=1.0, monitor="loss", **PLATEAU) == [1.0] * 6
    assert rates(6, values, learning_rate=1.0, monitor="metric", **PLATEAU)[-1] < 1
    rising = {step: 0.7 - value for step, value in values.items()}
    found = rates(6, rising, learning_rate=1.0, monitor="loss", **PLATEAU)
    assert found == [1, 1, 1, 0.5, 0.5, 0.5]


def test_a_plateau_is_not_looked_for_during_the_warm_up():
    settings = {**PLATEAU, "warmup_steps": 4, "learning_rate": 1.0}
    found = rates(8, dict.fromkeys(range(1, 8), 0.5), **settings)
    # validations after 4, 5, 6 steps count: the first is a best, two are no better
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5])


def test_an_undefined_value_is_no_better():
    found = rates(4, dict.fromkeys((1, 2, 3), math.nan), learning_rate=1.0, **PLATEAU)
    assert found[-1] < 1


@pytest.mark.parametrize(
    "settings",
    [
        {"warmup": 0.3},
        {"schedule": "constant", "warmup_steps": 4, "warmup_start": 0.001},
        {"schedule": "steps", "decay_at": (0.5,), "warmup": 0.2},
        PLATEAU,
    ],
    ids=["cosine", "constant", "steps", "plateau"],
)
def test_every_group_keeps_its_share_of_the_rate(settings):
    chosen = recipe(layer_decay=0.5, learning_rate=0.01, **settings)
    network = cbr()
    optimizer = build_optimizer(network, chosen)
    schedule = Schedule(optimizer, chosen, 10)
    moved = set()
    for _ in range(10):
        found = sorted({round(group["lr"] / schedule.rate, 9) for group in optimizer.param_groups})
        assert found == [0.25, 0.5, 1.0]
        moved.add(round(schedule.rate, 12))
        optimizer.step()
        schedule.after_step()
        schedule.after_validation(0.5)
    assert len(moved) > 1


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
    found = [round(value, 12) for value in factors(40, warmup=warmup)]
    assert all(0 < value <= 1 for value in found)
    first, last = found.index(1.0), len(found) - 1 - found[::-1].index(1.0)
    assert last - first <= 1  # the end of the warm-up and the start of the cosine
    assert all(a < b for a, b in itertools.pairwise(found[: first + 1]))
    assert all(a > b for a, b in itertools.pairwise(found[last:]))
