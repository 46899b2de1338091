"""How networks start: at random, with a source's weights, its statistics, or parts of both."""

from __future__ import annotations

import ast
import copy
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from torch import nn
from torch.nn import functional
from trained_networks import (
    SMALL,
    Weights,
    is_head,
    norm_prefixes,
    small_network,
    small_start,
    trained_weights,
)

from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.build import build_network
from medtransfer.models.initialisation import (
    body_weights,
    draw,
    fit_channels,
    initialise,
    tensor_origins,
)
from medtransfer.models.units import network_units, unit_of_tensors

BASIC = ("cbr", "vit")
STATS = ("stats", "stats_permutation", "stats_bootstrap")
NORM_START = {
    "weight": 1.0,
    "bias": 0.0,
    "running_mean": 0.0,
    "running_var": 1.0,
    "num_batches_tracked": 0,
}


@pytest.fixture(params=BASIC)
def model(request) -> str:
    return request.param


@pytest.fixture(params=list(SMALL))
def any_model(request) -> str:
    return request.param


def begin(network: nn.Module, init: str, source: Weights, seed: int = 1) -> Weights:
    """Initialise in place; the state afterwards."""
    initialise(network, parse_init(init), body_weights(network, source), seed)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def copied(state: Weights) -> Weights:
    return {name: tensor.clone() for name, tensor in state.items()}


def equal(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def redrawn(model: str, rest: str = "stats") -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """``(source's tensor, drawn tensor)`` of all tensors outside of head and norm layers."""
    network = small_network(model)
    source = trained_weights(network)
    drawn = small_start(model, f"s-{rest}", source)
    fixed = norm_prefixes(network)
    names = [n for n in source if not n.startswith(fixed) and not is_head(n, network)]
    return {name: (source[name], drawn[name]) for name in names}


# whole starts


@pytest.mark.parametrize("init", ["random", "gabor"])
def test_a_start_without_a_source_looks_at_no_weights(model, init):
    network = small_network(model)
    source = trained_weights(network)
    again = small_network(model)
    initialise(network, parse_init(init), source, seed=1)
    initialise(again, parse_init(init), {}, seed=2)
    assert equal(network.state_dict(), again.state_dict())


def test_a_random_start_leaves_the_network_as_it_was_built(any_model):
    network = small_network(any_model)
    before = copied(network.state_dict())
    initialise(network, parse_init("random"), {}, seed=1)
    assert equal(network.state_dict(), before)


def test_transfer_copies_the_source_outside_of_the_head_and_nothing_inside(any_model):
    network = small_network(any_model)
    source = trained_weights(small_network(any_model, seed=5))
    before = copied(network.state_dict())
    for name, tensor in begin(network, "s", source).items():
        expected = before[name] if is_head(name, network) else source[name]
        assert torch.equal(tensor, expected), name


def test_a_source_with_another_head_transfers(model):
    network = small_network(model, outputs=2)
    source = trained_weights(small_network(model, outputs=1000))
    head = {n: t.clone() for n, t in network.state_dict().items() if is_head(n, network)}
    assert len(head) == 2
    for name, tensor in begin(network, "s", source).items():
        assert torch.equal(tensor, head.get(name, source[name])), name


def test_the_head_starts_the_same_in_all_kinds_of_start_of_a_seed_and_differs_between_seeds(any_model):
    network = small_network(any_model)
    source = trained_weights(network)
    inits = [
        "random",
        "s",
        "gabor",
        *(f"s-{rest}" for rest in STATS),
        "s-upto1-stats",
        "s-upto2-random",
    ]
    inits += [f"s-upto{len(network_units(network))}-{rest}" for rest in ("stats", "random")]
    starts = [small_start(any_model, init, source) for init in inits]
    other = small_start(any_model, "random", source, seed=2)
    head = [name for name in starts[0] if is_head(name, network)]
    assert len(head) == 2
    for name in head:
        assert not torch.equal(starts[0][name], source[name])
        assert all(torch.equal(starts[0][name], start[name]) for start in starts)
    weight = next(name for name in head if name.endswith("weight"))
    assert not torch.equal(starts[0][weight], other[weight])


# draws


@pytest.mark.parametrize("rest", ["stats", "stats_bootstrap", "upto1-stats"])
def test_draws_have_the_moments_of_their_source_tensor(model, rest):
    network = small_network(model)
    pairs = redrawn(model, rest)
    first = set(pairs) if "upto" not in rest else {n for n, u in unit_of_tensors(network).items() if u}
    pairs = {name: pair for name, pair in pairs.items() if name in first}
    assert len(pairs) >= 2
    for name, (source, drawn) in pairs.items():
        count = source.numel()
        mean, spread = source.mean().item(), source.std(correction=0).item()
        # five standard errors of the mean, and of the standard deviation, of a normal sample
        assert abs(drawn.mean().item() - mean) < 5 * spread / math.sqrt(count), name
        error = abs(drawn.std(correction=0).item() - spread)
        assert error < 5 * spread / math.sqrt(2 * count) + spread / count, name


def test_normal_draws_are_normal():
    tensor = torch.rand(200, 200, generator=torch.Generator().manual_seed(0)) ** 4  # far from normal
    drawn = draw(tensor, "normal", seed=3).flatten()
    z = (drawn - drawn.mean()) / drawn.std()
    assert abs((z**3).mean().item()) < 5 * math.sqrt(6 / z.numel())
    assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(24 / z.numel())


def test_normal_draws_hold_no_value_of_the_source_and_no_correlation_with_it(any_model):
    pairs = redrawn(any_model)
    assert len(pairs) >= 3
    for name, (source, drawn) in pairs.items():
        assert not torch.equal(source, drawn), name
        assert (source == drawn).float().mean() < 0.01, name
        if source.numel() > 2:
            correlation = torch.corrcoef(torch.stack([source.flatten(), drawn.flatten()]))[0, 1]
            assert abs(correlation.item()) < 5 / math.sqrt(source.numel()), name


def test_a_permutation_holds_the_same_values_in_another_order(any_model):
    pairs = redrawn(any_model, "stats_permutation")
    assert len(pairs) >= 3
    for name, (source, drawn) in pairs.items():
        assert drawn.shape == source.shape
        assert not torch.equal(drawn, source), name
        assert torch.equal(drawn.flatten().sort().values, source.flatten().sort().values), name


def test_a_bootstrap_holds_values_of_the_source_only_some_of_them_more_than_once(any_model):
    for name, (source, drawn) in redrawn(any_model, "stats_bootstrap").items():
        assert drawn.shape == source.shape
        assert not torch.equal(drawn, source), name
        assert torch.isin(drawn, source).all(), name
        if source.numel() > 1000:
            share = drawn.unique().numel() / source.unique().numel()
            assert abs(share - (1 - math.exp(-1))) < 0.05, name  # of n values drawn n times


def test_only_a_constant_tensor_can_equal_its_draw():
    constant = torch.full((3, 4), 0.25)
    for sampler in ("normal", "permutation", "bootstrap"):
        assert torch.equal(draw(constant, sampler, seed=1), constant)
        assert torch.equal(draw(torch.tensor(0.5), sampler, seed=1), torch.tensor(0.5))


def test_a_draw_is_the_same_for_any_number_of_threads():
    tensor = torch.randn(40_000, generator=torch.Generator().manual_seed(1))
    threads = torch.get_num_threads()
    try:
        drawn = []
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            drawn.append(draw(tensor, "normal", seed=5))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_draws_of_tensors_with_one_shape_are_independent_of_each_other():
    pairs = redrawn("vit")
    first, second = (pairs[f"blocks.{i}.attn.qkv.weight"][1].flatten() for i in (0, 1))
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1].item()
    assert abs(correlation) < 5 / math.sqrt(first.numel())


@pytest.mark.parametrize("rest", STATS)
@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("vit", "cls_token"),
        ("vit", "pos_embed"),
        ("vit", "patch_embed.proj.bias"),
        ("swin", "layers.0.blocks.0.attn.relative_position_bias_table"),
    ],
)
def test_stats_redraw_tokens_positions_and_biases_too(name, tensor, rest):
    source, drawn = redrawn(name, rest)[tensor]
    assert drawn.shape == source.shape
    assert not torch.isclose(drawn, source, rtol=1e-3).all()


@pytest.mark.parametrize("rest", [*STATS, "upto0-stats"])
def test_stats_reset_norm_layers_and_their_running_statistics(any_model, rest):
    network = small_network(any_model)
    drawn = small_start(any_model, f"s-{rest}")
    names = [name for name in drawn if name.startswith(norm_prefixes(network))]
    assert len(names) >= 10
    for name in names:
        expected = torch.full_like(drawn[name], NORM_START[name.rpartition(".")[2]])
        assert torch.equal(drawn[name], expected), name


@pytest.mark.parametrize(
    ("architecture", "arguments", "norm"),
    [
        ("test_vit", {"depth": 1, "embed_dim": 24, "num_heads": 2, "norm_layer": "rmsnorm"}, "norm"),
        ("test_efficientnet_gn", {}, "bn1"),
        ("test_convnext", {}, "head.norm"),
    ],
)
def test_stats_reset_other_norms(architecture, arguments, norm):
    network = build_network(ModelSettings(architecture, arguments), 3, 2, 64, seed=0)
    weight = begin(network, "s-stats", trained_weights(network))[f"{norm}.weight"]
    assert torch.equal(weight, torch.ones_like(weight))


def test_a_block_without_norms_is_no_norm_although_its_name_says_so():
    network = build_network(ModelSettings("test_nfnet"), 3, 2, 64, seed=0)
    origins = tensor_origins(network, parse_init("s-stats"))
    body = {name: origin for name, origin in origins.items() if not is_head(name, network)}
    assert set(body.values()) == {"drawn"}


def test_an_evolved_norm_is_reset_to_its_own_start():
    network = build_network(ModelSettings("test_efficientnet_evos"), 3, 2, 64, seed=0)
    drawn = begin(network, "s-stats", trained_weights(network))
    assert torch.equal(drawn["bn1.v"], torch.ones_like(drawn["bn1.v"]))
    assert torch.equal(drawn["bn1.bias"], torch.zeros_like(drawn["bn1.bias"]))


def test_the_gain_of_a_global_response_norm_is_redrawn_like_a_layer_scale():
    network = build_network(ModelSettings("test_convnext2"), 3, 2, 64, seed=0)
    origins = tensor_origins(network, parse_init("s-stats"))
    gains = [name for name in origins if ".grn." in name or name.endswith(".gamma")]
    assert gains
    assert {origins[name] for name in gains} == {"drawn"}


def test_running_variances_are_never_negative(any_model):
    for init in ("s", "s-stats", "s-stats_permutation", "s-stats_bootstrap", "s-upto2-stats"):
        state = small_start(any_model, init)
        variances = [tensor for name, tensor in state.items() if name.endswith("running_var")]
        assert all((variance > 0).all() for variance in variances)


# constants


class Blurred(nn.Module):
    """A network with a buffer that is a constant, as of anti-aliasing filters."""

    classifier_name = "head"

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.block.register_buffer("filter", torch.tensor([1.0, 2.0, 1.0]) / 4)
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize("rest", [*STATS, "upto1-stats", "upto1-random"])
def test_constant_buffers_are_not_redrawn(rest):
    network = Blurred()
    source = trained_weights(network) | {"block.filter": network.block.filter.clone()}
    state = begin(network, f"s-{rest}", source)
    assert torch.equal(state["block.filter"], torch.tensor([0.25, 0.5, 0.25]))
    assert not torch.equal(state["block.0.weight"], source["block.0.weight"])


@pytest.mark.parametrize("architecture", ["resnetaa50", "swin_tiny_patch4_window7_224"])
def test_buffers_of_real_networks_outside_of_norms_stay_as_built(architecture):
    with torch.device("meta"):
        network = timm.create_model(architecture)
    parameters = {name for name, _ in network.named_parameters()}
    origins = tensor_origins(network, parse_init("s-stats"))
    norms = tuple(f"{n}." for n, m in network.named_modules() if hasattr(m, "running_var"))
    constants = [n for n in origins if n not in parameters and not n.startswith(norms or ("?",))]
    assert all(origins[name] == "random" for name in constants)


# parts


@pytest.mark.parametrize("rest", ["stats", "random"])
def test_the_first_units_are_the_sources_and_the_others_are_not(any_model, rest):
    network = small_network(any_model)
    source = trained_weights(network)
    units = unit_of_tensors(network)
    nothing_kept = small_start(any_model, f"s-{rest}" if rest == "stats" else "random", source)
    for upto in range(len(network_units(network)) + 1):
        state = small_start(any_model, f"s-upto{upto}-{rest}", source)
        for name, tensor in state.items():
            kept = units[name] < upto and not is_head(name, network)
            assert torch.equal(tensor, source[name] if kept else nothing_kept[name]), (upto, name)
            if not kept and tensor.is_floating_point():
                assert not torch.equal(tensor, source[name]), (upto, name)


def test_upto_no_unit_is_stats_and_upto_all_is_transfer(model):
    count = len(network_units(small_network(model)))
    assert equal(small_start(model, "s-upto0-stats"), small_start(model, "s-stats"))
    assert equal(small_start(model, f"s-upto{count}-stats"), small_start(model, "s"))
    assert equal(small_start(model, f"s-upto{count}-random"), small_start(model, "s"))
    assert equal(small_start(model, "s-upto0-random"), small_start(model, "random"))


def test_another_seed_gives_another_draw_of_every_tensor(any_model):
    first, other = (
        small_start(any_model, "s-upto1-stats"),
        small_start(any_model, "s-upto1-stats", seed=2),
    )
    network = small_network(any_model)
    units = unit_of_tensors(network)
    names = [name for name in redrawn(any_model) if units[name] >= 1]
    assert names
    assert not any(torch.equal(first[name], other[name]) for name in names)


@pytest.mark.parametrize("rest", ["stats", "random"])
def test_more_units_than_there_are_is_an_error_that_counts_and_names_them(rest):
    message = r"init 'upto5'; allowed here: up to 4 \(layers\.0, layers\.1, layers\.2, head\)"
    with pytest.raises(ConfigError, match=message):
        small_start("cbr", f"s-upto5-{rest}")


# reproducibility


def test_a_start_is_reproducible_and_leaves_the_global_generator_alone(any_model):
    source = trained_weights(small_network(any_model))
    inits = [
        "random",
        "gabor",
        "s",
        "s-stats",
        "s-stats_permutation",
        "s-upto2-stats",
        "s-upto2-random",
    ]
    inits += ["s-upto1-slim"] if any_model != "efficientnet" else []
    for init in inits:
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = small_start(any_model, init, source)
        assert torch.equal(torch.get_rng_state(), before), init
        torch.manual_seed(2)
        assert equal(first, small_start(any_model, init, source)), init


def test_a_draw_does_not_depend_on_the_order_of_the_source_mapping(model):
    source = trained_weights(small_network(model))
    backwards = dict(reversed(source.items()))
    assert equal(small_start(model, "s-stats", source), small_start(model, "s-stats", backwards))


def test_a_draw_of_a_tensor_does_not_depend_on_what_else_the_network_holds():
    shallow, deep = (
        build_network(ModelSettings("cbr", {"channels": widths, "kernel_size": 3}), 3, 2, 32, seed=0)
        for widths in ([4, 8], [4, 8, 16])
    )
    source = trained_weights(deep)
    kept = {n: source[n] for n in shallow.state_dict() if not is_head(n, shallow)}
    first, second = begin(shallow, "s-stats", kept), begin(deep, "s-stats", source)
    assert all(torch.equal(first[name], second[name]) for name in kept)


def digests() -> dict[str, str]:
    """Checksums of some starts."""
    starts = {}
    for name in BASIC:
        for init in ("random", "gabor", "s-stats", "s-upto2-stats_bootstrap", "s-upto1-slim"):
            digest = hashlib.sha256()
            for key, tensor in sorted(small_start(name, init).items()):
                digest.update(key.encode() + tensor.numpy().tobytes())
            starts[f"{name} {init}"] = digest.hexdigest()
    return starts


def test_another_process_gives_the_same_bits_with_another_number_of_threads():
    threads = torch.get_num_threads() + 1
    code = (
        f"import torch; torch.set_num_threads({threads}); torch.rand(7);"
        "from test_initialisation import digests; print(digests())"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = digests()
    assert ast.literal_eval(result.stdout) == here
    assert len(set(here.values())) == 10


def test_starting_leaves_the_source_unchanged(model):
    network = small_network(model)
    source = trained_weights(network)
    before = copied(source)
    for init in ("s", "s-stats_permutation", "s-upto1-random"):
        begin(network, init, source)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
    assert equal(source, before)


# sources that don't fit


def test_a_missing_tensor_is_an_error_that_names_it(model):
    network = small_network(model)
    source = trained_weights(network)
    name = next(n for n in source if not is_head(n, network))
    del source[name]
    with pytest.raises(DataError, match=f"missing: {name}; unexpected: none"):
        body_weights(network, source)


def test_an_unexpected_tensor_is_an_error_that_names_it(model):
    network = small_network(model)
    source = trained_weights(network) | {"extra.weight": torch.zeros(2)}
    with pytest.raises(DataError, match=r"missing: none; unexpected: extra\.weight"):
        body_weights(network, source)


def test_a_long_list_of_missing_tensors_is_cut_and_counted():
    network = small_network("cbr")
    body = len([n for n in network.state_dict() if not is_head(n, network)])
    required = body - 3  # each norm layer's num_batches_tracked may be missing
    with pytest.raises(DataError, match=f"and {required - 3} more; unexpected: none"):
        body_weights(network, {})


def test_a_tensor_of_another_shape_is_an_error_that_names_both_shapes(any_model):
    network = small_network(any_model)
    source = trained_weights(network)
    names = [n for n in source if not is_head(n, network) and source[n].ndim]
    for name in (names[0], names[-1]):
        needed = str(tuple(source[name].shape)).replace("(", r"\(").replace(")", r"\)")
        wrong = source | {name: torch.zeros(5, 7)}
        with pytest.raises(DataError, match=rf"{name} has shape \(5, 7\); the network's is {needed}"):
            body_weights(network, wrong)


def test_a_failed_start_leaves_the_network_unchanged(model):
    network = small_network(model)
    before = copied(network.state_dict())
    source = trained_weights(network)
    with pytest.raises(ConfigError, match="upto99"):
        begin(network, "s-upto99-stats", source)
    assert equal(network.state_dict(), before)


def test_a_source_without_batch_counters_is_accepted():
    network = small_network("cbr")
    full = trained_weights(network)
    source = {n: t for n, t in full.items() if not n.endswith("num_batches_tracked")}
    assert len(source) < len(full)
    for init in ("s", "s-upto1-stats", "s-stats"):
        state = begin(small_network("cbr"), init, source)
        stem = "layers.0.conv.weight"
        assert torch.equal(state[stem], source[stem]) == (init != "s-stats")
        assert state["layers.0.norm.num_batches_tracked"] == 0


# channels


def test_the_summed_stem_answers_a_grey_image_as_the_colour_stem_answers_it_repeated():
    torch.manual_seed(0)
    colour = torch.randn(6, 3, 5, 5, dtype=torch.float64)
    grey = fit_channels(colour, torch.Size((6, 1, 5, 5)))
    images = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    expected = functional.conv2d(images.repeat(1, 3, 1, 1), colour)
    torch.testing.assert_close(functional.conv2d(images, grey), expected)


def test_the_first_colours_stem_answers_a_grey_image_as_the_colour_stem_answers_red():
    torch.manual_seed(0)
    colour = torch.randn(6, 3, 5, 5, dtype=torch.float64)
    first = fit_channels(colour, torch.Size((6, 1, 5, 5)), "first")
    images = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    red = torch.cat([images, torch.zeros(2, 2, 12, 12)], dim=1)
    torch.testing.assert_close(functional.conv2d(images, first), functional.conv2d(red, colour))


def test_a_grey_stem_made_colour_answers_a_colourless_image_as_before():
    torch.manual_seed(0)
    grey = torch.randn(6, 1, 5, 5, dtype=torch.float64)
    colour = fit_channels(grey, torch.Size((6, 3, 5, 5)))
    assert torch.equal(colour[:, 0], colour[:, 2])
    images = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    answer = functional.conv2d(images.repeat(1, 3, 1, 1), colour)
    torch.testing.assert_close(answer, functional.conv2d(images, grey))


def test_a_grey_network_with_transferred_colour_weights_computes_as_the_colour_network(model):
    colour, grey = small_network(model).eval(), small_network(model, channels=1).eval()
    source = trained_weights(colour)
    begin(colour, "s", source)
    begin(grey, "s", source)
    # the random heads differ, since the stems before them took different numbers of draws
    grey.load_state_dict({n: t for n, t in source.items() if is_head(n, grey)}, strict=False)
    colour.load_state_dict({n: t for n, t in source.items() if is_head(n, colour)}, strict=False)
    images = torch.rand(2, 1, SMALL[model][1], SMALL[model][1])
    with torch.no_grad():
        torch.testing.assert_close(
            grey(images), colour(images.repeat(1, 3, 1, 1)), rtol=1e-3, atol=1e-4
        )


def test_a_grey_source_starts_a_colour_network_which_computes_as_the_grey_one():
    colour, grey = small_network("cbr").eval(), small_network("cbr", channels=1).eval()
    source = trained_weights(grey)
    begin(colour, "s", source)
    grey.load_state_dict(source)
    head = {n: t for n, t in source.items() if is_head(n, grey)}
    colour.load_state_dict(head, strict=False)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            colour(images.repeat(1, 3, 1, 1)), grey(images), rtol=1e-3, atol=1e-4
        )


def test_only_a_stem_of_another_number_of_channels_is_changed():
    stem, vector = torch.randn(4, 3, 3, 3), torch.randn(3)
    assert torch.equal(fit_channels(stem, stem.shape), stem)
    assert torch.equal(fit_channels(vector, torch.Size((1,))), vector)
    wide = torch.randn(4, 8, 3, 3)
    assert torch.equal(fit_channels(wide, torch.Size((4, 1, 3, 3))), wide)


def test_stats_of_a_grey_stem_are_those_of_the_summed_colour_stem():
    source = trained_weights(small_network("cbr"))
    stem = "layers.0.conv.weight"
    summed = source[stem].sum(dim=1)
    drawn = small_start("cbr", "s-stats", source, channels=1)[stem]
    spread, count = summed.std(correction=0).item(), summed.numel()
    assert drawn.shape == (8, 1, 5, 5)
    assert abs(drawn.mean().item() - summed.mean().item()) < 5 * spread / math.sqrt(count)


# image sizes


def test_position_embeddings_are_resampled_to_another_image_size_the_class_token_s_excepted():
    settings, size = SMALL["vit"]
    source = trained_weights(build_network(settings, 3, 4, 2 * size, seed=0))
    network = build_network(settings, 3, 4, 3 * size, seed=0)
    state = begin(network, "s", source)
    expected = resample_abs_pos_embed(source["pos_embed"], [6, 6], old_size=[4, 4], num_prefix_tokens=1)
    assert state["pos_embed"].shape == (1, 37, 48)
    assert torch.equal(state["pos_embed"], expected)
    assert torch.equal(state["pos_embed"][:, 0], source["pos_embed"][:, 0])
    others = [n for n in source if n != "pos_embed" and not is_head(n, network)]
    assert all(torch.equal(state[name], source[name]) for name in others)


def test_bias_tables_are_resampled_to_another_window():
    settings, size = SMALL["swin"]
    source = trained_weights(build_network(settings, 3, 4, size, seed=0))
    wider = copy.deepcopy(settings)
    wider.arguments["window_size"] = 4
    network = build_network(wider, 3, 4, size, seed=0)
    state = begin(network, "s", source)
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    expected = resize_rel_pos_bias_table(source[name], (4, 4), (49, 1))
    assert state[name].shape == (49, 1)
    assert torch.equal(state[name], expected)


def test_a_source_without_a_class_token_doesnt_fit_a_network_with_one():
    settings, size = SMALL["vit"]
    other = ModelSettings(
        "test_vit", {**settings.arguments, "class_token": False, "global_pool": "avg"}
    )
    network = build_network(settings, 3, 4, size, seed=0)
    with pytest.raises(DataError, match="missing: cls_token"):
        body_weights(network, trained_weights(build_network(other, 3, 4, size, seed=0)))
