"""From stored pixels to what a network sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference
from training_runs import CPU, MODEL, parts_of, problem, specification

from medtransfer.errors import ConfigError
from medtransfer.training import run as training
from medtransfer.training.inputs import (
    evaluation_images,
    normalised,
    pixel_statistics,
    to_floats,
    training_images,
)
from medtransfer.training.prediction import predict
from medtransfer.training.run import train


def pixels_of(count: int = 3, side: int = 21, channels: int = 3) -> torch.Tensor:
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 256, (count, side, side, channels), dtype=np.uint8))


class Watching(torch.nn.Module):
    """Answers with the mean of each channel of what it is given."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_colour_images_are_normalised_channel_by_channel():
    pixels = torch.tensor([51, 102, 204], dtype=torch.uint8).expand(2, 4, 4, 3)
    plan = specification(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.1))
    found = predict(Watching(), pixels, plan)
    np.testing.assert_allclose(found, [[0.2, 0.8, 5.0]] * 2, rtol=1e-5)


def test_grey_images_are_normalised_by_the_average_over_the_colours():
    pixels = torch.full((2, 4, 4, 1), 153, dtype=torch.uint8)
    plan = specification(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    found = predict(Watching(), pixels, plan)
    np.testing.assert_allclose(found, [[(0.6 - 0.2) / 0.5]] * 2, rtol=1e-5)


def test_repeated_grey_images_are_normalised_channel_by_channel():
    pixels = torch.full((2, 4, 4, 1), 153, dtype=torch.uint8)
    plan = specification(
        mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.1), model=replace(MODEL, grey_input="repeat")
    )
    found = predict(Watching(), pixels, plan)
    np.testing.assert_allclose(found, [[1.0, 1.6, 3.0]] * 2, rtol=1e-5)


def test_a_network_of_repeated_images_has_three_input_channels():
    plan = specification(model=replace(MODEL, grey_input="repeat"))
    outcome = train(plan, parts_of("binary"), {}, CPU)
    assert outcome.weights["layers.0.conv.weight"].shape[1] == 3
    assert np.isfinite(outcome.logits["test"]).all()


def test_statistics_are_those_of_all_pixels_of_a_channel():
    pixels = pixels_of(count=600, side=5)
    mean, std = pixel_statistics(pixels)
    values = pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, values.std((0, 1, 2)), rtol=1e-5)


def test_sixteen_bits_have_the_statistics_of_the_same_pictures():
    pixels = pixels_of()
    deep = torch.from_numpy(pixels.numpy().astype(np.uint16) * 257)
    np.testing.assert_allclose(pixel_statistics(deep), pixel_statistics(pixels), rtol=1e-6)


def test_a_channel_without_variation_is_divided_by_1():
    mean, std = pixel_statistics(torch.full((2, 3, 3, 1), 51, dtype=torch.uint8))
    assert mean == pytest.approx((0.2,))
    assert std == (1.0,)


def test_normalisation_by_the_training_images_is_used_and_recorded(monkeypatch):
    seen: list[torch.Tensor] = []
    original = training.fit

    def recording(network, plan, parts, oversight):
        seen.append(normalised(to_floats(parts["train"].pixels), plan))
        return original(network, plan, parts, oversight)

    monkeypatch.setattr(training, "fit", recording)
    plan = specification(normalisation="training_images", init="src")
    parts = parts_of("binary", channels=3)
    source = training.starting_network(replace(plan, init="random"), parts["train"], {}).state_dict()
    outcome = train(plan, parts, source, CPU)
    assert abs(seen[0].mean((0, 2, 3))).max() < 1e-5
    np.testing.assert_allclose(seen[0].std((0, 2, 3)), 1, atol=1e-3)
    assert (outcome.specification.mean, outcome.specification.std) == pixel_statistics(
        parts["train"].pixels
    )
    assert plan.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("resize", "crop"), [(13, None), (40, None), (None, 9), (30, 21), (14, 14)])
def test_evaluation_resizes_with_antialiasing_and_cuts_the_centre_as_torchvision(resize, crop):
    pixels = pixels_of()
    images = pixels.permute(0, 3, 1, 2).float() / 255
    expected = reference.resize(images, [resize, resize], antialias=True) if resize else images
    if crop:
        expected = reference.center_crop(expected, [crop, crop])
    found = evaluation_images(pixels, specification(resize=resize, crop=crop).recipe)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_training_crop_is_a_whole_number_of_pixels_away_from_a_corner():
    pixels = pixels_of(count=40, side=8)
    recipe = specification(crop=6).recipe
    found = training_images(pixels, recipe, torch.Generator().manual_seed(0))
    images = to_floats(pixels)
    places = []
    for image, whole in zip(found, images, strict=True):
        matches = [
            (x, y)
            for x in range(3)
            for y in range(3)
            if torch.allclose(image, whole[:, y : y + 6, x : x + 6], atol=1e-4)
        ]
        assert len(matches) == 1
        places += matches
    assert set(places) == {(x, y) for x in range(3) for y in range(3)}


@pytest.mark.parametrize(("resize", "crop", "side"), [(16, None, 16), (16, 10, 10), (None, 8, 8)])
def test_the_network_sees_images_of_the_recipes_side(resize, crop, side, monkeypatch):
    sides = set()
    original = training.fit

    def recording(network, plan, parts, oversight):
        network.register_forward_pre_hook(lambda _, images: sides.add(images[0].shape[-2:]))
        return original(network, plan, parts, oversight)

    monkeypatch.setattr(training, "fit", recording)
    train(specification(resize=resize, crop=crop), parts_of("binary"), {}, CPU)
    assert sides == {(side, side)}


def test_a_transformer_is_built_for_the_recipes_side():
    model = replace(MODEL, architecture="test_vit", arguments={"depth": 1, "patch_size": 4})
    plan = specification(model=model, resize=16, steps=1, validations=1)
    outcome = train(plan, parts_of("binary", count=16), {}, CPU)
    assert outcome.weights["pos_embed"].shape[1] == 4 * 4 + 1


def test_a_crop_larger_than_the_images_is_refused():
    with pytest.raises(ConfigError, match=r"key 'crop' is 13; allowed: up to the images' side, 12"):
        train(specification(crop=13), {"train": problem("binary")}, {}, CPU)
