"""How networks start: at random, with a source's weights, or with their statistics only."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from timm.layers import RmsNorm
from torch import nn
from torch.nn import functional

from medtransfer.config.model import ModelSettings
from medtransfer.errors import DataError
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.initialisation import body_weights, fit_channels, initialise, redraw

MODELS = {
    "cbr": ModelSettings("cbr", {"channels": [8, 16, 32], "kernel_size": 5}),
    "vit": ModelSettings("test_vit", {"depth": 2, "embed_dim": 48, "num_heads": 3}),
}
SIZE = 32
Weights = dict[str, torch.Tensor]


def network_of(model: str, channels: int = 3, outputs: int = 4, seed: int = 0) -> nn.Module:
    return build_network(MODELS[model], channels, outputs, SIZE, seed)


def trained_weights(network: nn.Module, seed: int = 99) -> Weights:
    """Weights as after training: no tensor is constant, each has its own mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        mean, spread = (0.5 + torch.rand(2, generator=generator)).tolist()
        noise = torch.randn(tensor.shape, generator=generator)
        state[name] = (mean + 0.3 * spread * noise).abs() if tensor.is_floating_point() else tensor + 7
    return state


def start(model: str, kind: str, source: Weights, seed: int = 1, channels: int = 3) -> Weights:
    network = network_of(model, channels)
    initialise(network, kind, source, seed)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def is_head(name: str, network: nn.Module) -> bool:
    return name.startswith(head_prefixes(network))


def norm_prefixes(network: nn.Module) -> tuple[str, ...]:
    kinds = (nn.BatchNorm2d, nn.LayerNorm)
    return tuple(f"{n}." for n, m in network.named_modules() if isinstance(m, kinds))


@pytest.fixture(params=list(MODELS))
def model(request) -> str:
    return request.param


def test_a_random_start_leaves_the_network_as_it_was_built(model):
    network = network_of(model)
    before = copy.deepcopy(network.state_dict())
    initialise(network, "random", trained_weights(network), seed=1)
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_transfer_copies_the_source_outside_of_the_head_and_nothing_inside(model):
    network = network_of(model)
    source = trained_weights(network_of(model, seed=5))
    before = copy.deepcopy(network.state_dict())
    initialise(network, "transfer", source, seed=1)
    for name, tensor in network.state_dict().items():
        expected = before[name] if is_head(name, network) else source[name]
        assert torch.equal(tensor, expected), name


def test_a_source_with_another_head_transfers(model):
    network = network_of(model, outputs=2)
    source = trained_weights(network_of(model, outputs=1000))
    head = [n for n in network.state_dict() if is_head(n, network)]
    before = {n: network.state_dict()[n].clone() for n in head}
    initialise(network, "transfer", source, seed=1)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name] if name in head else source[name]), name


def test_the_head_starts_the_same_in_all_kinds_of_start(model):
    source = trained_weights(network_of(model))
    starts = [start(model, kind, source) for kind in ("random", "transfer", "stats")]
    head = [name for name in starts[0] if is_head(name, network_of(model))]
    body = next(name for name in starts[0] if name not in head)
    assert len(head) == 2
    assert not torch.equal(starts[0][body], starts[1][body])
    for name in head:
        assert torch.equal(starts[0][name], starts[1][name])
        assert torch.equal(starts[0][name], starts[2][name])


def redrawn(model: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """``(source's tensor, drawn tensor)`` of all tensors outside of head and norm layers."""
    network = network_of(model)
    source = trained_weights(network)
    drawn = start(model, "stats", source)
    fixed = norm_prefixes(network) + head_prefixes(network)
    return {n: (source[n], drawn[n]) for n in source if not n.startswith(fixed)}


def test_stats_draws_have_the_moments_of_their_source_tensor(model):
    pairs = redrawn(model)
    assert len(pairs) >= 3
    for name, (source, drawn) in pairs.items():
        count = source.numel()
        mean, spread = source.mean().item(), source.std(correction=0).item()
        # five standard errors of the mean, and of the standard deviation, of a normal sample
        assert abs(drawn.mean().item() - mean) < 5 * spread / math.sqrt(count), name
        error = abs(drawn.std(correction=0).item() - spread)
        assert error < 5 * spread / math.sqrt(2 * count) + spread / count, name


def test_stats_draws_hold_no_value_of_the_source_and_no_correlation_with_it(model):
    for name, (source, drawn) in redrawn(model).items():
        assert not torch.equal(source, drawn), name
        assert (source == drawn).float().mean() < 0.01, name
        correlation = torch.corrcoef(torch.stack([source.flatten(), drawn.flatten()]))[0, 1]
        assert abs(correlation.item()) < 5 / math.sqrt(source.numel()), name


def test_stats_draws_of_tensors_with_one_shape_are_independent_of_each_other():
    pairs = redrawn("vit")
    first, second = (pairs[f"blocks.{i}.attn.qkv.weight"][1].flatten() for i in (0, 1))
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1].item()
    assert abs(correlation) < 5 / math.sqrt(first.numel())


@pytest.mark.parametrize("name", ["cls_token", "pos_embed", "patch_embed.proj.bias"])
def test_stats_redraws_tokens_positions_and_biases_too(name):
    source, drawn = redrawn("vit")[name]
    assert drawn.shape == source.shape
    assert not torch.isclose(drawn, source, rtol=1e-3).all()


def test_stats_resets_norm_layers_and_their_running_statistics(model):
    network = network_of(model)
    drawn = start(model, "stats", trained_weights(network))
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    values["num_batches_tracked"] = 0
    names = [name for name in drawn if name.startswith(norm_prefixes(network))]
    assert len(names) >= 10
    for name in names:
        expected = values[name.rpartition(".")[2]]
        assert torch.equal(drawn[name], torch.full_like(drawn[name], expected)), name


def test_stats_resets_the_root_mean_square_norms_of_timm():
    settings = ModelSettings(
        "test_vit", {"depth": 1, "embed_dim": 24, "num_heads": 2, "norm_layer": RmsNorm}
    )
    network = build_network(settings, 3, 2, SIZE, seed=0)
    drawn = redraw(network, body_weights(network, trained_weights(network)), seed=0)
    for name in ("blocks.0.norm1.weight", "blocks.0.norm2.weight", "norm.weight"):
        assert torch.equal(drawn[name], torch.ones(24)), name


def test_a_draw_is_reproducible_and_another_seed_gives_another(model):
    source = trained_weights(network_of(model))
    first, again = start(model, "stats", source, seed=1), start(model, "stats", source, seed=1)
    other = start(model, "stats", source, seed=2)
    drawn = redrawn(model)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_a_draw_does_not_touch_the_global_generator(model):
    network = network_of(model)
    source = trained_weights(network)
    untouched = copy.deepcopy(network.state_dict())
    before = torch.get_rng_state()
    initialise(network, "stats", source, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert any(not torch.equal(t, untouched[n]) for n, t in network.state_dict().items())


def test_a_draw_does_not_depend_on_the_order_of_the_source_mapping(model):
    source = trained_weights(network_of(model))
    backwards = dict(reversed(source.items()))
    first, second = start(model, "stats", source), start(model, "stats", backwards)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_initialising_leaves_the_source_unchanged(model):
    network = network_of(model)
    source = trained_weights(network)
    before = {name: tensor.clone() for name, tensor in source.items()}
    initialise(network, "transfer", source, seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(source[name], before[name]) for name in source)


@pytest.mark.parametrize("kind", ["transfer", "stats"])
def test_a_missing_tensor_is_an_error_that_names_it(model, kind):
    network = network_of(model)
    source = trained_weights(network)
    name = next(n for n in source if not is_head(n, network))
    del source[name]
    with pytest.raises(DataError, match=f"missing: {name}; unexpected: none"):
        initialise(network, kind, source, seed=1)


@pytest.mark.parametrize("kind", ["transfer", "stats"])
def test_an_unexpected_tensor_is_an_error_that_names_it(model, kind):
    network = network_of(model)
    source = trained_weights(network) | {"extra.weight": torch.zeros(2)}
    with pytest.raises(DataError, match=r"missing: none; unexpected: extra\.weight"):
        initialise(network, kind, source, seed=1)


def test_a_long_list_of_missing_tensors_is_cut_and_counted():
    network = network_of("cbr")
    body = len([n for n in network.state_dict() if not is_head(n, network)])
    required = body - 3  # each norm layer's num_batches_tracked may be missing
    with pytest.raises(DataError, match=f"and {required - 3} more; unexpected: none"):
        initialise(network, "transfer", {}, seed=1)


def test_a_tensor_of_another_shape_is_an_error_that_names_both_shapes(model):
    network = network_of(model)
    source = trained_weights(network)
    name = [n for n in source if not is_head(n, network) and source[n].ndim][-1]
    needed = tuple(source[name].shape)
    source[name] = torch.zeros(5, 7)
    message = rf"{name} has shape \(5, 7\); the network's is \({needed[0]},"
    with pytest.raises(DataError, match=message):
        initialise(network, "transfer", source, seed=1)


def test_a_failed_start_leaves_the_network_unchanged():
    network = network_of("cbr")
    before = copy.deepcopy(network.state_dict())
    source = trained_weights(network) | {"extra.weight": torch.zeros(2)}
    with pytest.raises(DataError, match="extra"):
        initialise(network, "transfer", source, seed=1)
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_a_source_without_batch_counters_is_accepted():
    network = network_of("cbr")
    full = trained_weights(network)
    source = {n: t for n, t in full.items() if not n.endswith("num_batches_tracked")}
    assert len(source) < len(full)
    initialise(network, "transfer", source, seed=1)
    stem = "layers.0.conv.weight"
    assert torch.equal(network.state_dict()[stem], source[stem])


def test_the_summed_stem_answers_a_grey_image_as_the_colour_stem_answers_it_repeated():
    torch.manual_seed(0)
    colour = torch.randn(6, 3, 5, 5, dtype=torch.float64)
    grey = fit_channels(colour, torch.Size((6, 1, 5, 5)))
    images = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    expected = functional.conv2d(images.repeat(1, 3, 1, 1), colour)
    torch.testing.assert_close(functional.conv2d(images, grey), expected)


def test_a_grey_network_with_transferred_colour_weights_computes_as_the_colour_network(model):
    colour, grey = network_of(model).eval(), network_of(model, channels=1).eval()
    source = trained_weights(colour)
    initialise(colour, "transfer", source, seed=1)
    initialise(grey, "transfer", source, seed=1)
    # the random heads differ, since the stems before them took different numbers of draws
    grey.load_state_dict({n: t for n, t in source.items() if is_head(n, grey)}, strict=False)
    colour.load_state_dict({n: t for n, t in source.items() if is_head(n, colour)}, strict=False)
    images = torch.rand(2, 1, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(
            grey(images), colour(images.repeat(1, 3, 1, 1)), rtol=1e-3, atol=1e-4
        )


def test_only_a_colour_stem_is_summed():
    stem = torch.randn(4, 3, 3, 3)
    vector = torch.randn(3)
    assert torch.equal(fit_channels(stem, stem.shape), stem)
    assert torch.equal(fit_channels(vector, torch.Size((1,))), vector)
    grey = torch.randn(4, 1, 3, 3)
    assert torch.equal(fit_channels(grey, torch.Size((4, 3, 3, 3))), grey)


def test_grey_weights_do_not_fit_a_colour_network():
    source = trained_weights(network_of("cbr", channels=1))
    message = r"layers\.0\.conv\.weight has shape \(8, 1, 5, 5\); the network's is \(8, 3, 5, 5\)"
    with pytest.raises(DataError, match=message):
        initialise(network_of("cbr"), "transfer", source, seed=1)


def test_stats_of_a_grey_stem_are_those_of_the_summed_colour_stem():
    source = trained_weights(network_of("cbr"))
    stem = "layers.0.conv.weight"
    summed = source[stem].sum(dim=1)
    drawn = start("cbr", "stats", source, channels=1)[stem]
    spread, count = summed.std(correction=0).item(), summed.numel()
    assert drawn.shape == (8, 1, 5, 5)
    assert abs(drawn.mean().item() - summed.mean().item()) < 5 * spread / math.sqrt(count)
