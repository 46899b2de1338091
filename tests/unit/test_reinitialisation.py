"""One unit after the other put back, and the network as before afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import SMALL, small_network, small_start, started, trained_weights

from medtransfer.config.names import Init, parse_init
from medtransfer.errors import DataError
from medtransfer.models.units import network_units
from medtransfer.representation.reinitialisation import (
    REINITIALISATION,
    fresh_state,
    reinitialised_scores,
)


def trained(name: str) -> nn.Module:
    network = small_network(name)
    network.load_state_dict(trained_weights(network))
    return network.eval()


def copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", SMALL)
def test_each_unit_alone_has_its_replacement_while_it_is_evaluated(name):
    network = trained(name)
    end, start = copied(network), small_start(name, "random")
    units = network_units(network)
    seen = []

    def evaluate(given: nn.Module) -> dict[str, float]:
        assert given is network
        state = given.state_dict()
        seen.append({n for n, t in state.items() if not torch.equal(t, end[n])})
        assert all(torch.equal(state[n], start[n]) for n in seen[-1])
        return {"accuracy": 1.0}

    reinitialised_scores(network, start, evaluate, "start")
    differs = {n for n in end if not torch.equal(end[n], start[n])}
    assert seen[0] == set()
    assert len(seen) == len(units) + 1
    for unit, changed in zip(units, seen[1:], strict=True):
        assert changed == {n for n in differs if unit.holds(n)}
        assert changed
    assert set().union(*seen) == differs


def test_statistics_of_batch_norm_go_with_their_unit():
    network = trained("resnet18")
    start = small_start("resnet18", "random")
    statistics = []
    reinitialised_scores(
        network,
        start,
        lambda n: statistics.append(n.bn1.running_var.mean().item()) or {"a": 0.0},
        "start",
    )
    intact, stem, *others = statistics
    assert stem == 1.0 != intact
    assert set(others) == {intact}


def test_the_head_of_a_transformer_does_not_take_layers_of_its_blocks_along():
    network = small_network("vit")
    network.load_state_dict(trained_weights(network))
    end, start = copied(network), small_start("vit", "random")
    changed = []
    reinitialised_scores(
        network,
        start,
        lambda n: (
            changed.append([k for k, t in n.state_dict().items() if not torch.equal(t, end[k])])
            or {"a": 0.0}
        ),
        "start",
    )
    assert sorted(changed[-1]) == ["head.bias", "head.weight", "norm.bias", "norm.weight"]
    assert any("mlp.fc1" in name for name in changed[2])


@pytest.mark.parametrize("name", SMALL)
def test_the_network_is_the_same_bit_for_bit_afterwards(name):
    network = trained(name)
    before = copied(network)
    pointers = {n: t.data_ptr() for n, t in network.state_dict().items()}
    reinitialised_scores(network, small_start(name, "random"), lambda _: {"a": 0.0}, "fresh")
    after = network.state_dict()
    assert all(torch.equal(after[n], t) for n, t in before.items())
    assert {n: t.data_ptr() for n, t in after.items()} == pointers


def test_the_network_is_restored_where_evaluation_fails():
    network = trained("cbr")
    before, calls = copied(network), []

    def evaluate(_: nn.Module) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("stop")
        return {"a": 0.0}

    with pytest.raises(RuntimeError, match="stop"):
        reinitialised_scores(network, small_start("cbr", "random"), evaluate, "start")
    assert all(torch.equal(network.state_dict()[n], t) for n, t in before.items())


def test_the_table_has_a_row_for_each_unit_and_metric_with_the_drop():
    network = trained("cbr")
    values = iter([(0.9, 1.0), (0.5, 2.0), (0.8, 3.0), (0.95, 1.5), (0.4, 9.0)])
    table = reinitialised_scores(
        network,
        small_start("cbr", "random"),
        lambda _: dict(zip(("auroc", "loss"), next(values), strict=True)),
        "start",
    )
    REINITIALISATION.check(table)
    assert list(table["unit"]) == ["layers.0"] * 2 + ["layers.1"] * 2 + ["layers.2"] * 2 + ["head"] * 2
    assert list(table["order"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert set(table["kind"]) == {"start"}
    auroc = table[table["metric"] == "auroc"]
    assert list(auroc["value"]) == [0.5, 0.8, 0.95, 0.4]
    assert list(auroc["drop"].round(12)) == [0.4, 0.1, -0.05, 0.5]


def test_putting_the_same_values_back_changes_no_score():
    network = trained("cbr")
    images = torch.randn(4, 3, 32, 32)

    def evaluate(given: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {"sum": float(given(images).sum())}

    table = reinitialised_scores(network, copied(network), evaluate, "start")
    assert list(table["drop"]) == [0.0] * len(network_units(network))
    other = reinitialised_scores(network, small_start("cbr", "random"), evaluate, "start")
    assert (other["drop"] != 0).all()


def test_weights_of_another_network_are_an_error_and_nothing_is_evaluated():
    network = trained("cbr")

    def never(_: nn.Module) -> dict[str, float]:
        raise AssertionError

    with pytest.raises(DataError, match=r"conv1.weight|layers.0.conv.weight"):
        reinitialised_scores(network, small_start("resnet18", "random"), never, "start")
    start = small_start("cbr", "random")
    start["head.weight"] = torch.zeros(3, 3)
    with pytest.raises(DataError, match=r"head.weight"):
        reinitialised_scores(network, start, never, "start")


def test_a_fresh_draw_is_a_random_start_of_another_seed():
    settings, size = SMALL["cbr"]
    image = {"channels": 3, "outputs": 4, "image_size": size}
    drawn = fresh_state(settings, parse_init("a"), **image, seed=1)
    again = fresh_state(settings, parse_init("random"), **image, seed=1)
    other = fresh_state(settings, Init(), **image, seed=2)
    own = small_start("cbr", "random", seed=1)
    weights = [n for n in drawn if n.endswith("conv.weight") or n == "head.weight"]
    assert len(weights) == 4
    for name in weights:
        assert torch.equal(drawn[name], again[name])
        assert not torch.equal(drawn[name], other[name])
        assert not torch.equal(drawn[name], own[name])
        # the framework's own scale
        assert drawn[name].std().item() == pytest.approx(own[name].std().item(), rel=0.3)


def test_a_fresh_draw_of_a_slim_network_has_its_shapes_and_nothing_of_the_source():
    settings, size = SMALL["cbr"]
    source = trained_weights(small_network("cbr"))
    init = parse_init("a-upto2-slim")
    network = started(settings, "a-upto2-slim", source, size=size)
    drawn = fresh_state(settings, init, channels=3, outputs=4, image_size=size, seed=1)
    state = network.state_dict()
    assert {n: t.shape for n, t in drawn.items()} == {n: t.shape for n, t in state.items()}
    for name in ("layers.0.conv.weight", "layers.1.conv.weight", "layers.2.conv.weight", "head.weight"):
        assert not torch.equal(drawn[name], state[name])
    assert drawn["layers.0.conv.weight"].abs().max() < 0.5
