"""Gabor stems: the filters by their spectra, and everything else of the start as at random."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trained_networks import SMALL, small_network, small_start, started

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.gabor import gabor_filters, set_gabor_filters

# number of filters, side: stems of ResNets and BiT, CBRs, patch embeddings, EfficientNets, Inception
SHAPES = [(64, 7), (32, 5), (96, 16), (384, 16), (192, 4), (32, 3), (5, 7), (1, 7), (3, 3)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "side"), SHAPES)
def test_filters_have_mean_0_and_norm_1_and_all_differ(count, side, channels):
    filters = gabor_filters(count, channels, side)
    assert filters.shape == (count, channels, side, side)
    assert filters.dtype == torch.float32
    torch.testing.assert_close(
        filters.mean(dim=(2, 3)), torch.zeros(count, channels), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(filters.flatten(1).norm(dim=1), torch.ones(count))
    assert torch.isfinite(filters).all()


@pytest.mark.parametrize(("count", "side"), [(64, 7), (32, 5), (96, 16), (48, 11)])
def test_no_two_grey_filters_are_the_same_up_to_their_sign(count, side):
    flat = gabor_filters(count, 1, side).flatten(1)
    similarity = (flat @ flat.T).abs() - torch.eye(count)
    assert similarity.max() < 0.999


def peak(image: torch.Tensor, padded: int = 256) -> tuple[float, float]:
    """Frequency (cycles a pixel) and orientation (degrees of 180) of the highest of the spectrum."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(image, s=(padded, padded)).abs())
    y, x = divmod(int(spectrum.argmax()), padded)
    fx, fy = (x - padded // 2) / padded, (y - padded // 2) / padded
    return math.hypot(fx, fy), math.degrees(math.atan2(fy, fx)) % 180


def turned(first: float, second: float) -> float:
    """The angle between two orientations."""
    return min((first - second) % 180, (second - first) % 180)


def test_spectra_of_large_filters_peak_at_the_documented_frequencies_and_orientations():
    count, side, orientations = 96, 31, 8
    filters = gabor_filters(count, 1, side)[:, 0]
    frequencies = count // (orientations * 2)
    # from 1/side, whose envelope reaches beyond the filter, to 1/4
    expected = [(1 / side) * (side / 4) ** (i / (frequencies - 1)) for i in range(frequencies)]
    for index in range(count):
        step, angle = index // 16, index % 16 // 2
        frequency, orientation = peak(filters[index])
        if step >= 2:
            assert frequency == pytest.approx(expected[step], rel=0.15), index
            assert turned(orientation, angle * 180 / orientations) < 3, index
    assert expected[-1] == pytest.approx(1 / 4)


@pytest.mark.parametrize("index", [0, 6, 15, 20, 37])
def test_the_two_phases_are_even_and_odd(index):
    filters = gabor_filters(96, 1, 15)[:, 0]
    even, odd = filters[2 * index], filters[2 * index + 1]
    torch.testing.assert_close(even, even.flip(0, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(odd, -odd.flip(0, 1), atol=1e-6, rtol=0)
    assert abs((even * odd).sum().item()) < 1e-5


def test_a_filter_is_the_documented_formula():
    side, frequency, angle = 9, 1 / 9, math.pi / 4  # lowest frequency; third of eight orientations
    values = torch.zeros(side, side, dtype=torch.float64)
    for row in range(side):
        for column in range(side):
            x, y = column - 4, row - 4
            u = x * math.cos(angle) + y * math.sin(angle)
            v = -x * math.sin(angle) + y * math.cos(angle)
            s = 0.4 / frequency
            wave = math.cos(2 * math.pi * frequency * u + math.pi / 2)
            values[row, column] = math.exp(-(u * u + 0.64 * v * v) / (2 * s * s)) * wave
    values -= values.mean()
    values /= values.norm()
    torch.testing.assert_close(gabor_filters(64, 1, side)[5, 0].double(), values, atol=1e-5, rtol=0)


def test_half_of_the_colour_filters_see_light_and_the_others_are_blind_to_grey():
    filters = gabor_filters(64, 3, 7)
    light, colours = filters[:32], filters[32:]
    assert torch.equal(light[:, 0], light[:, 1])
    assert torch.equal(light[:, 0], light[:, 2])
    torch.testing.assert_close(colours.sum(dim=1), torch.zeros(32, 7, 7), atol=1e-6, rtol=0)
    red_green, blue_yellow = colours[:16], colours[16:]
    assert not red_green[:, 2].any()
    torch.testing.assert_close(red_green[:, 0], -red_green[:, 1])
    torch.testing.assert_close(blue_yellow[:, 2], -2 * blue_yellow[:, 0])
    # every colour meets all eight orientations
    angles = {round(peak(image)[1] / 22.5) % 8 for image in gabor_filters(64, 3, 31)[48:, 0]}
    assert angles == set(range(8))


def test_an_odd_number_of_filters_has_one_more_of_light():
    filters = gabor_filters(5, 3, 7)
    grey = [torch.equal(f[0], f[1]) and torch.equal(f[1], f[2]) for f in filters]
    assert grey == [True, True, True, False, False]


@pytest.mark.parametrize(("architecture", "side"), [("resnet18", 7), ("mobilenetv2_100", 3)])
def test_a_stem_keeps_the_average_norm_of_its_random_start(architecture, side):
    for channels in (1, 3):
        states = [
            started(ModelSettings(architecture), init, {}, size=64, channels=channels).state_dict()
            for init in ("random", "gabor")
        ]
        name = "conv1.weight" if architecture == "resnet18" else "conv_stem.weight"
        random, gabor = (state[name] for state in states)
        norms = gabor.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, random.flatten(1).norm(dim=1).mean().expand_as(norms))
        assert gabor.shape[1:] == (channels, side, side)
        directions = gabor / norms.reshape(-1, 1, 1, 1)
        torch.testing.assert_close(directions, gabor_filters(*gabor.shape[:3]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_everything_but_the_stems_convolution_is_the_random_start(name, channels):
    random = small_start(name, "random", {}, channels=channels)
    gabor = small_start(name, "gabor", {}, channels=channels)
    changed = {key for key in random if not torch.equal(random[key], gabor[key])}
    stems = {
        "cbr": {"layers.0.conv.weight"},
        "vit": {"patch_embed.proj.weight"},
        "swin": {"patch_embed.proj.weight"},
        "resnet18": {"conv1.weight"},
        "efficientnet": {"conv_stem.weight"},
    }
    biases = {key.replace("weight", "bias") for key in stems[name]} & set(random)
    assert stems[name] <= changed <= stems[name] | biases
    assert all(not gabor[bias].any() for bias in biases)


def test_the_seed_decides_the_rest_but_not_the_filters():
    first, other = (small_start("cbr", "gabor", {}, seed=seed) for seed in (1, 2))
    stems = [state["layers.0.conv.weight"] for state in (first, other)]
    directions = [stem / stem.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) for stem in stems]
    torch.testing.assert_close(*directions)
    assert not torch.equal(first["layers.1.conv.weight"], other["layers.1.conv.weight"])


def test_a_gabor_network_learns():
    network = small_network("vit")
    set_gabor_filters(network.patch_embed.proj)
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    assert network.patch_embed.proj.weight.requires_grad
    assert network.patch_embed.proj.weight.grad is not None


@pytest.mark.parametrize("kernel", [1, 2])
def test_a_stem_smaller_than_3_is_refused(kernel):
    message = rf"at least 3 x 3; it is \(8, 3, {kernel}, {kernel}\)"
    with pytest.raises(ConfigError, match=message):
        set_gabor_filters(nn.Conv2d(3, 8, kernel))
    with pytest.raises(ConfigError, match=message):
        started(ModelSettings("cbr", {"channels": [8], "kernel_size": kernel}), "gabor", {}, size=32)
