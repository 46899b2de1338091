"""Running statistics of redrawn batch norm layers from a pass over images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_networks import SMALL, small_network, started, trained_weights

from medtransfer.config.names import parse_init
from medtransfer.errors import DataError
from medtransfer.representation.batch_norm import calibrate, uncalibrated_layers

WITH_BATCH_NORM = ("cbr", "resnet18", "efficientnet")


def batches_of(name: str, *sizes: int) -> list[torch.Tensor]:
    side = SMALL[name][1]
    images = torch.randn(sum(sizes), 3, side, side, generator=torch.Generator().manual_seed(1))
    # each image has a brightness and contrast of its own, so that batches differ
    images = images * torch.linspace(0.5, 2, len(images))[:, None, None, None] + torch.linspace(
        -1, 1, len(images)
    ).reshape(-1, 1, 1, 1)
    return list(torch.split(images, sizes))


def norms_of(network: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}


@torch.no_grad()
def inputs_of(network: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    caught = []
    hook = network.get_submodule(name).register_forward_pre_hook(
        lambda _m, i: caught.append(i[0].clone())
    )
    network.eval()(images)
    hook.remove()
    return caught[0]


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_the_first_layer_has_the_mean_and_variance_of_all_its_inputs(name):
    network = small_network(name)
    batches = batches_of(name, 7, 7, 3)
    calibrated = calibrate(network, batches)
    first = next(iter(norms_of(network)))
    inputs = inputs_of(network, first, torch.cat(batches)).double()
    found = calibrated.get_submodule(first)
    torch.testing.assert_close(
        found.running_mean.double(), inputs.mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        found.running_var.double(), inputs.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_with_one_batch_every_layer_standardises_what_comes_in(name):
    network = small_network(name)
    (images,) = batches_of(name, 16)
    calibrated = calibrate(network, [images])
    for layer, norm in norms_of(calibrated).items():
        inputs = inputs_of(calibrated, layer, images)
        values = (inputs - norm.running_mean[:, None, None]) / norm.running_var[:, None, None].sqrt()
        assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-3
        live = norm.running_var > 1e-6
        assert live.any()
        assert (values.var((0, 2, 3), correction=0)[live] - 1).abs().max() < 1e-3
    with torch.no_grad():
        trained = small_network(name).train()(images)
        torch.testing.assert_close(calibrated.eval()(images), trained, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(network.eval()(images), trained, rtol=1e-1)
    raw = norms_of(network)
    last = list(raw)[-1]
    spread = inputs_of(network, last, images).var(dim=(0, 2, 3))
    assert (spread - 1).abs().max() > 0.5  # so it was not so before


def test_later_layers_pool_what_they_saw_while_normalising_by_batch():
    network = small_network("cbr")
    batches = batches_of("cbr", 6, 6, 4)
    calibrated = calibrate(network, batches)
    seen = []
    reference = small_network("cbr").train()
    reference.layers[1].norm.register_forward_pre_hook(lambda _m, i: seen.append(i[0].clone()))
    with torch.no_grad():
        for batch in batches:
            reference(batch)
    values = torch.cat(seen).double()
    norm = calibrated.layers[1].norm
    torch.testing.assert_close(
        norm.running_mean.double(), values.mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        norm.running_var.double(), values.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-5
    )
    moving = reference.layers[1].norm
    assert not torch.allclose(norm.running_var, moving.running_var, rtol=1e-2)


def test_the_order_and_size_of_batches_change_nothing_in_the_first_layer():
    network = small_network("resnet18")
    whole = torch.cat(batches_of("resnet18", 12))
    results = [
        calibrate(network, batches).bn1
        for batches in ([whole], list(torch.split(whole, 5)), list(torch.split(whole.flip(0), 4)))
    ]
    for found in results[1:]:
        torch.testing.assert_close(found.running_mean, results[0].running_mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.running_var, results[0].running_var, rtol=1e-5, atol=1e-6)


def test_calibration_is_deterministic_and_leaves_the_network_alone():
    network = small_network("efficientnet").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (calibrate(network, batches_of("efficientnet", 5, 5)) for _ in range(2))
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert all(torch.equal(t, second.state_dict()[n]) for n, t in first.state_dict().items())
    assert all(module.training for module in first.modules())
    assert not any(m._forward_pre_hooks for m in first.modules())
    changed = {n for n, t in first.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {
        f"{name}.{buffer}"
        for name in norms_of(network)
        for buffer in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_dropout_is_off_during_calibration():
    from medtransfer.models.cbr import CBR

    network = CBR(channels=(4, 8), kernel_size=3)
    network.layers.insert(1, nn.Dropout(0.9))
    images = torch.randn(8, 3, 16, 16)
    first, second = (calibrate(network.train(), [images]) for _ in range(2))
    assert torch.equal(first.layers[2].norm.running_var, second.layers[2].norm.running_var)


def test_other_layers_keep_their_statistics_and_normalise_by_them():
    network = small_network("resnet18")
    network.load_state_dict(trained_weights(network))
    layers = [name for name in norms_of(network) if name.startswith("layer4.1")]
    calibrated = calibrate(network, batches_of("resnet18", 4, 4), layers)
    for name, norm in norms_of(calibrated).items():
        same = torch.equal(norm.running_var, network.get_submodule(name).running_var)
        assert same == (name not in layers)
    inputs = inputs_of(network, layers[0], torch.cat(batches_of("resnet18", 4, 4))).double()
    torch.testing.assert_close(
        calibrated.get_submodule(layers[0]).running_mean.double(),
        inputs.mean(dim=(0, 2, 3)),
        rtol=1e-4,
        atol=1e-4 * float(inputs.abs().max()),
    )


@pytest.mark.parametrize(
    ("init", "redrawn"),
    [
        ("random", "all"),
        ("gabor", "all"),
        ("a", "none"),
        ("a-stats", "all"),
        ("a-stats_as_released", "all"),
        ("a-upto3-stats", "later"),
        ("a-upto3-random", "later"),
        ("a-upto3-slim", "later"),
    ],
)
def test_layers_are_calibrated_that_have_no_source(init, redrawn):
    settings, size = SMALL["resnet18"]
    source = trained_weights(small_network("resnet18"))
    network = started(settings, init, source, size=size)
    found = uncalibrated_layers(network, parse_init(init))
    norms = norms_of(network)
    untouched = tuple(
        name
        for name, norm in norms.items()
        if torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
        and torch.equal(norm.running_var, torch.ones_like(norm.running_var))
    )
    assert found == untouched
    later = [name for name in norms if not name.startswith(("bn1", "layer1."))]
    assert list(found) == {"all": list(norms), "none": [], "later": later}[redrawn]


def test_nothing_to_calibrate_needs_no_image():
    def none():
        raise AssertionError("an image was asked for")
        yield

    network = small_network("vit")
    copied = calibrate(network, none())
    assert copied is not network
    assert calibrate(small_network("cbr"), none(), layers=()) is not None


def test_batches_of_one_image_or_none_are_errors():
    network = small_network("cbr")
    with pytest.raises(DataError, match="batch of 1 images"):
        calibrate(network, batches_of("cbr", 4, 1))
    with pytest.raises(DataError, match="at least one batch"):
        calibrate(network, [])
