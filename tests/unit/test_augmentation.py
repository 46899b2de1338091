"""Random changes of a batch, against torch's own flips and rotations and NumPy's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medtransfer.config.recipe import AugmentationSettings
from medtransfer.training import augmentation
from medtransfer.training.augmentation import augment

EVERYTHING = AugmentationSettings(
    flip_horizontal=0.5, flip_vertical=0.5, rotate=20, scale=0.2, translate=0.1, brightness=0.3,
    contrast=0.3,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 4, channels: int = 3, side: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=seeded(seed))


@pytest.fixture
def largest_draws(monkeypatch):
    """Every uniform draw takes its upper bound."""
    monkeypatch.setattr(
        augmentation, "_uniform", lambda count, bound, _generator: torch.full((count,), float(bound))
    )


@pytest.fixture
def smallest_draws(monkeypatch):
    """Every uniform draw takes its lower bound."""
    monkeypatch.setattr(
        augmentation,
        "_uniform",
        lambda count, bound, _generator: torch.full((count,), -float(bound)),
    )


def test_settings_of_zero_return_the_batch_and_draw_nothing():
    images, generator = batch(), seeded()
    before = generator.get_state()
    assert torch.equal(augment(images, AugmentationSettings(), generator), images)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("setting", "axes"), [("flip_horizontal", [3]), ("flip_vertical", [2])], ids=["x", "y"]
)
def test_a_certain_flip_is_that_of_torch(setting, axes):
    images = batch()
    flipped = augment(images, AugmentationSettings(**{setting: 1.0}), seeded())
    assert not torch.allclose(flipped, images, atol=0.01)
    torch.testing.assert_close(flipped, torch.flip(images, axes), rtol=0, atol=1e-5)


def test_both_flips_together_turn_by_180_degrees():
    images = batch()
    settings = AugmentationSettings(flip_horizontal=1.0, flip_vertical=1.0)
    turned = augment(images, settings, seeded())
    torch.testing.assert_close(turned, torch.rot90(images, 2, (2, 3)), rtol=0, atol=1e-5)


def test_a_flip_of_probability_one_half_flips_about_half_of_the_images():
    images = batch(count=400, side=4)
    result = augment(images, AugmentationSettings(flip_horizontal=0.5), seeded())
    flipped = torch.isclose(result, images.flip(3), atol=1e-4).flatten(1).all(1)
    kept = torch.isclose(result, images, atol=1e-4).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 150 < int(flipped.sum()) < 250  # five standard deviations


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.usefixtures("largest_draws")
def test_the_largest_turn_of_90_degrees_is_a_quarter_turn(side):
    images = batch(side=side)
    turned = augment(images, AugmentationSettings(rotate=90), seeded())
    torch.testing.assert_close(turned, torch.rot90(images, 1, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("smallest_draws")
def test_the_smallest_turn_of_90_degrees_is_a_quarter_turn_the_other_way():
    images = batch()
    turned = augment(images, AugmentationSettings(rotate=90), seeded())
    torch.testing.assert_close(turned, torch.rot90(images, -1, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("largest_draws")
def test_a_flip_happens_before_the_turn_of_the_coordinates():
    images = batch()
    settings = AugmentationSettings(rotate=90, flip_horizontal=1.0)
    result = augment(images, settings, seeded())
    # output (x, y) reads input R(90°) (-x, y)
    expected = torch.rot90(images, 1, (2, 3)).flip(3)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("largest_draws")
def test_a_shift_of_half_a_side_leaves_half_of_the_picture_black():
    images = batch(side=8) * 0.5 + 0.5
    shifted = augment(images, AugmentationSettings(translate=0.5), seeded())
    expected = torch.zeros_like(images)
    expected[:, :, :4, :4] = images[:, :, 4:, 4:]
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("largest_draws")
def test_the_largest_scale_enlarges_the_centre():
    # a scale of 0.5 makes the picture 1.5 times as large: pixels at ±1.5 of 12 come to ±2.25
    images = torch.zeros(1, 1, 12, 12)
    images[:, :, 3:9, 3:9] = 1.0
    grown = augment(images, AugmentationSettings(scale=0.5), seeded())
    covered = grown.sum().sqrt().item()
    assert covered == pytest.approx(6 * 1.5, abs=0.15)


@pytest.mark.usefixtures("smallest_draws")
def test_the_smallest_scale_shrinks_and_surrounds_with_black():
    images = torch.ones(1, 1, 12, 12)
    shrunk = augment(images, AugmentationSettings(scale=0.5), seeded())
    expected = torch.zeros(12, 12)
    expected[3:9, 3:9] = 1.0
    torch.testing.assert_close(shrunk[0, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("largest_draws")
def test_a_turn_by_45_degrees_fills_the_corners_with_black():
    turned = augment(torch.ones(1, 3, 9, 9), AugmentationSettings(rotate=45), seeded())
    corners = turned[0, :, [0, 0, 8, 8], [0, 8, 0, 8]]
    assert torch.equal(corners, torch.zeros(3, 4))
    assert torch.equal(turned[0, :, 4, 4], torch.ones(3))


@pytest.mark.parametrize(
    "settings",
    [
        AugmentationSettings(rotate=30),
        AugmentationSettings(scale=0.3),
        AugmentationSettings(translate=0.3),
        AugmentationSettings(brightness=0.5),
        AugmentationSettings(contrast=0.5),
    ],
    ids=["rotate", "scale", "translate", "brightness", "contrast"],
)
def test_each_image_of_a_batch_has_its_own_draw(settings):
    same = batch(count=1).repeat(5, 1, 1, 1)
    result = augment(same, settings, seeded())
    for first in range(5):
        for second in range(first):
            assert not torch.allclose(result[first], result[second], atol=1e-3)


def test_each_axis_has_its_own_shift():
    images = torch.zeros(20, 1, 21, 21)
    images[:, :, 10, 10] = 1.0
    moved = augment(images, AugmentationSettings(translate=0.3), seeded())
    place = torch.arange(21.0)
    weight = moved.sum((1, 2, 3))
    x = (moved.sum((1, 2)) * place).sum(1) / weight - 10
    y = (moved.sum((1, 3)) * place).sum(1) / weight - 10
    assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1].item()) < 0.8
    for shift in (x, y):
        assert shift.abs().max() <= 0.3 * 21 + 0.5
        assert shift.min() < 0 < shift.max()


def test_brightness_multiplies_each_image_by_one_factor_within_its_bounds():
    images = batch(count=200) * 0.5 + 0.1  # no result reaches 1
    ratio = augment(images, AugmentationSettings(brightness=0.4), seeded()) / images
    factors = ratio.flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), rtol=1e-4, atol=0)
    assert 0.6 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4


def test_contrast_keeps_the_mean_and_scales_the_distance_from_it():
    images = batch(count=200) * 0.2 + 0.4  # no result leaves [0, 1]
    result = augment(images, AugmentationSettings(contrast=0.4), seeded())
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(result.mean((1, 2, 3), keepdim=True), mean, rtol=1e-4, atol=0)
    spread = result.flatten(1).std(1) / images.flatten(1).std(1)
    factors = spread[:, None, None, None]
    torch.testing.assert_close(result, mean + (images - mean) * factors, rtol=0, atol=1e-5)
    assert 0.6 <= spread.min() < 0.65
    assert 1.35 < spread.max() <= 1.4001


@pytest.mark.parametrize("extreme", ["largest_draws", "smallest_draws"])
def test_brightness_then_contrast_is_the_arithmetic_of_numpy(request, extreme):
    request.getfixturevalue(extreme)
    sign = 1 if extreme == "largest_draws" else -1
    images = batch(count=3)
    result = augment(images, AugmentationSettings(brightness=0.5, contrast=0.25), seeded())
    pixels = images.numpy().astype(np.float64) * (1 + sign * 0.5)
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    expected = np.clip(mean + (pixels - mean) * (1 + sign * 0.25), 0, 1)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


def test_the_result_stays_between_0_and_1():
    images = batch(count=100)
    result = augment(images, AugmentationSettings(brightness=1.0, contrast=1.0), seeded())
    assert result.min() == 0
    assert result.max() == 1


def test_a_seed_decides_all_draws():
    images = batch()
    first = augment(images, EVERYTHING, seeded(3))
    torch.rand(5)  # the global generator plays no part
    again = augment(images, EVERYTHING, seeded(3))
    other = augment(images, EVERYTHING, seeded(4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_successive_batches_of_one_generator_differ():
    images, generator = batch(), seeded()
    first, second = (augment(images, EVERYTHING, generator) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-3)


def test_the_draws_do_not_depend_on_the_images():
    generators = seeded(), seeded()
    augment(torch.zeros(4, 1, 6, 6), EVERYTHING, generators[0])
    augment(batch(), EVERYTHING, generators[1])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())
    assert not torch.equal(generators[0].get_state(), seeded().get_state())


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_stay_and_the_input_is_not_changed(channels):
    images = batch(channels=channels)
    before = images.clone()
    result = augment(images, EVERYTHING, seeded())
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert torch.equal(images, before)
    assert not torch.equal(result, before)
