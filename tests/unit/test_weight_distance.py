"""Distances of weights from their start, unit by unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from trained_networks import SMALL, norm_prefixes, small_network, trained_weights

from medtransfer.errors import DataError
from medtransfer.models.cbr import CBR
from medtransfer.models.units import network_units
from medtransfer.representation.weight_distance import WEIGHT_DISTANCE, weight_distances


def values(table, measure: str) -> dict[str, float]:
    chosen = table[table["measure"] == measure]
    return dict(zip(chosen["unit"], chosen["value"], strict=True))


def states(network: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return (
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        trained_weights(network),
    )


def test_numbers_worked_out_by_hand():
    network = CBR(channels=(1,), kernel_size=1, in_chans=2)
    start = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    end = {name: torch.full_like(tensor, 100) for name, tensor in start.items()}
    start["layers.0.conv.weight"] = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    end["layers.0.conv.weight"] = torch.tensor([3.0, 10.0]).reshape(1, 2, 1, 1)
    start["head.weight"], end["head.weight"] = torch.tensor([[2.0]]), torch.tensor([[5.0]])
    start["head.bias"], end["head.bias"] = torch.tensor([0.0]), torch.tensor([4.0])
    table = weight_distances(network, start, end, as_released=True)
    WEIGHT_DISTANCE.check(table)
    assert values(table, "per_weight") == {"layers.0": 3.0, "head": 3.5}
    assert values(table, "l2") == {"layers.0": 6.0, "head": 5.0}
    assert values(table, "relative") == {"layers.0": 1.2, "head": 2.5}
    released = (3.0 + 3.0 + 4.0) / 3
    assert values(table, "per_weight_as_released") == pytest.approx(
        {"layers.0": released, "head": released}
    )
    assert list(table["order"]) == [0] * 4 + [1] * 4
    assert list(table["weights"]) == [2] * 4 + [2] * 4


@pytest.mark.parametrize("name", SMALL)
def test_every_unit_counts_its_own_parameters_outside_of_norm_layers(name):
    network = small_network(name)
    start, end = states(network)
    table = weight_distances(network, start, end)
    parameters = [n for n, _ in network.named_parameters() if not n.startswith(norm_prefixes(network))]
    assert len(parameters) < len(start)
    for order, unit in enumerate(network_units(network)):
        own = [n for n in parameters if any(n == m or n.startswith(m + ".") for m in unit.members)]
        moved = [(end[n].double() - start[n].double()).numpy().ravel() for n in own]
        before = np.concatenate([start[n].double().numpy().ravel() for n in own])
        rows = table[table["order"] == order].set_index("measure")
        assert set(rows["unit"]) == {unit.name}
        assert rows.loc["per_weight", "value"] == pytest.approx(
            np.mean([math.sqrt((d**2).sum()) / len(d) for d in moved])
        )
        l2 = math.sqrt((np.concatenate(moved) ** 2).sum())
        assert rows.loc["l2", "value"] == pytest.approx(l2)
        assert rows.loc["relative", "value"] == pytest.approx(l2 / math.sqrt((before**2).sum()))
        assert rows.loc["l2", "weights"] == len(before)


def test_norm_layers_and_buffers_do_not_count():
    network = small_network("resnet18")
    start, _ = states(network)
    end = dict(start)
    for name in start:
        if name.startswith(norm_prefixes(network)):
            end[name] = start[name] + 5
    table = weight_distances(network, start, end)
    assert (table["value"] == 0).all()


def test_units_differ_from_each_other():
    network = small_network("cbr")
    table = weight_distances(network, *states(network))
    for measure in ("per_weight", "l2", "relative"):
        assert len(set(values(table, measure).values())) == 4
    assert "per_weight_as_released" not in set(table["measure"])


def test_a_move_of_one_unit_shows_there_alone():
    network = small_network("vit")
    start, _ = states(network)
    end = dict(start, **{"blocks.1.mlp.fc1.weight": start["blocks.1.mlp.fc1.weight"] + 0.1})
    table = weight_distances(network, start, end)
    moved = {unit for unit, value in values(table, "l2").items() if value > 0}
    assert moved == {"blocks.1"}


def test_a_unit_that_starts_from_zeros_has_no_relative_distance():
    network = small_network("cbr")
    start, _ = states(network)
    start["head.weight"], start["head.bias"] = (
        torch.zeros_like(start["head.weight"]),
        torch.zeros_like(start["head.bias"]),
    )
    moved = dict(start, **{"head.weight": start["head.weight"] + 1})
    for end in (start, moved):
        assert math.isnan(values(weight_distances(network, start, end), "relative")["head"])
    assert values(weight_distances(network, start, moved), "l2")["head"] == pytest.approx(
        math.sqrt(128)
    )


def test_the_values_of_the_network_itself_do_not_matter():
    network = small_network("cbr")
    start, end = states(network)
    before = weight_distances(network, start, end)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert before.equals(weight_distances(network, start, end))


def test_states_of_another_network_are_errors():
    network = small_network("cbr")
    start, end = states(network)
    with pytest.raises(DataError, match=r"layers.0.conv.weight"):
        weight_distances(network, start, trained_weights(small_network("resnet18")))
    with pytest.raises(DataError, match=r"head.bias"):
        weight_distances(network, {**start, "head.bias": torch.zeros(2)}, end)
