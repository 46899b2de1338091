"""Random changes of a batch, against torch's own, torchvision's and NumPy's arithmetic."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional as reference

from medtransfer.config.recipe import AugmentationSettings
from medtransfer.training import augmentation
from medtransfer.training.augmentation import augment
from medtransfer.training.colours import blended, greys, turned_hue

EVERYTHING = AugmentationSettings(
    flip_horizontal=0.5, flip_vertical=0.5, rotate=20, scale=0.2, translate=0.1, brightness=0.3,
    contrast=0.3, resized_crop=(0.5, 1.0), shear=10, saturation=0.3, hue=0.2, jitter_probability=0.8,
    grey=0.3,
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


# against torchvision


def smooth(count: int = 3, side: int = 32, channels: int = 3) -> torch.Tensor:
    """Pictures without fine detail, so that the way of interpolating hardly counts."""
    return reference.gaussian_blur(batch(count, channels, side), [9, 9], [3.0, 3.0])


@pytest.mark.parametrize("extreme", ["largest_draws", "smallest_draws"])
@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"rotate": 20}, {"angle": -20}),
        ({"shear": 15}, {"shear": [15, 0]}),
        ({"translate": 0.125}, {"translate": [-4, -4]}),
    ],
    ids=["rotate", "shear", "translate"],
)
def test_a_change_of_place_is_that_of_torchvision(request, extreme, settings, parameters):
    request.getfixturevalue(extreme)
    sign = 1 if extreme == "largest_draws" else -1
    usual = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    asked = {
        key: [sign * v for v in value] if isinstance(value, list) else sign * value
        for key, value in parameters.items()
    }
    images = batch(side=32)
    expected = reference.affine(images, **(usual | asked), interpolation=InterpolationMode.BILINEAR)
    found = augment(images, AugmentationSettings(**settings), seeded())
    # torchvision blends the border with a mask of its own
    torch.testing.assert_close(found[:, :, 8:-8, 8:-8], expected[:, :, 8:-8, 8:-8], rtol=0, atol=2e-4)
    assert not torch.allclose(found, images, atol=0.1)


@pytest.mark.usefixtures("largest_draws")
def test_the_largest_scale_is_that_of_torchvision():
    images = batch(side=32)
    expected = reference.affine(
        images, 0.0, [0, 0], 1.25, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    found = augment(images, AugmentationSettings(scale=0.25), seeded())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("largest_draws")
def test_with_edges_what_comes_from_outside_is_the_nearest_pixel():
    images = batch(side=8)
    shifted = augment(images, AugmentationSettings(translate=0.25, fill="edge"), seeded())
    expected = torch.nn.functional.pad(images[:, :, 2:, 2:], (0, 2, 0, 2), mode="replicate")
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-5)


def test_edges_leave_no_black():
    settings = {"rotate": 30, "translate": 0.2, "scale": 0.3, "shear": 10}
    white = torch.ones(20, 1, 16, 16)
    black = augment(white, AugmentationSettings(**settings), seeded())
    edge = augment(white, AugmentationSettings(**settings, fill="edge"), seeded())
    assert black.min() == 0
    assert edge.min() > 0.999


def cuts_of(settings: AugmentationSettings, side: int, crop: int, count: int = 400) -> torch.Tensor:
    """Left, top, width and height in pixels of the cuts of a batch, count x 4."""
    y, x = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)])  # a picture that shows its own coordinates
    found = augment(places.expand(count, 3, side, side), settings, seeded(), crop)
    middle = crop // 2
    width = (found[:, 0, middle, middle + 1] - found[:, 0, middle, middle]) * crop
    height = (found[:, 1, middle + 1, middle] - found[:, 1, middle, middle]) * crop
    left = found[:, 0, middle, middle] + 0.5 - (middle + 0.5) * width / crop
    top = found[:, 1, middle, middle] + 0.5 - (middle + 0.5) * height / crop
    return torch.stack([left, top, width, height], dim=1)


def test_a_resized_crop_is_that_of_torchvision_at_the_same_place():
    settings = AugmentationSettings(resized_crop=(0.3, 1.0))
    cuts = cuts_of(settings, 32, 24, count=12).round().int().tolist()
    images = smooth(12)
    found = augment(images, settings, seeded(), 24)
    for image, result, (left, top, width, height) in zip(images, found, cuts, strict=True):
        expected = reference.resized_crop(image, top, left, height, width, [24, 24], antialias=False)
        # ours sees the pixels beyond the cut
        torch.testing.assert_close(result[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], rtol=0, atol=1e-4)


def test_resized_crops_have_the_shares_and_shapes_of_torchvision():
    side, settings = 64, AugmentationSettings(resized_crop=(0.2, 1.2), crop_ratio=(0.5, 2.0))
    cuts = cuts_of(settings, side, 64, count=3000)
    torch.testing.assert_close(cuts, cuts.round(), rtol=0, atol=0.05)
    left, top, width, height = cuts.round().unbind(1)
    assert left.min() == top.min() == 0
    assert (left + width).max() == (top + height).max() == side
    torch.manual_seed(0)
    picture = torch.zeros(1, side, side)
    cut = transforms.RandomResizedCrop(side, (0.2, 1.2), (0.5, 2.0))
    theirs = [cut.make_params([picture]) for _ in range(3000)]
    other = {key: torch.tensor([float(p[key]) for p in theirs]) for key in theirs[0]}
    for mine, name in ((left, "left"), (top, "top"), (width, "width"), (height, "height")):
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            difference = mine.quantile(share) - other[name].quantile(share)
            assert abs(difference) <= 3, (name, share)
    ratio = torch.log(width / height)
    assert abs(ratio.mean()) < 0.05
    assert (ratio.abs() <= math.log(2) + 0.05).all()


def test_a_cut_that_never_fits_is_the_whole_picture():
    settings = AugmentationSettings(resized_crop=(1.5, 2.0))
    images = batch(side=8)
    torch.testing.assert_close(augment(images, settings, seeded()), images, rtol=0, atol=1e-5)


def test_every_place_of_a_random_crop_is_as_likely():
    cuts = cuts_of(AugmentationSettings(), 12, 8, count=4000).round()
    assert torch.equal(cuts[:, 2:], torch.full((4000, 2), 8.0))
    for axis in (0, 1):
        counts = torch.bincount(cuts[:, axis].int(), minlength=5)
        assert len(counts) == 5
        assert ((counts - 800).abs() < 130).all()  # five standard deviations
    assert abs(torch.corrcoef(cuts[:, :2].T)[0, 1]) < 0.08


def test_a_cut_shows_no_black_at_its_border():
    white = torch.ones(30, 1, 16, 16)
    for cut in ({"resized_crop": (0.3, 1.0), "flip_horizontal": 0.5}, {"flip_vertical": 0.5}):
        found = augment(white, AugmentationSettings(**cut), seeded(), 12)
        torch.testing.assert_close(found, torch.ones(30, 1, 12, 12))


def test_a_cut_that_shrinks_much_is_antialiased():
    images = batch(side=64)
    expected = reference.resize(images, [16, 16], antialias=True)
    settings = AugmentationSettings(resized_crop=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    torch.testing.assert_close(augment(images, settings, seeded(), 16), expected, rtol=0, atol=1e-5)


def test_images_that_shrink_differently_are_each_antialiased_as_alone():
    settings = AugmentationSettings(resized_crop=(0.02, 1.0))
    images = smooth(40, side=64)
    together = augment(images, settings, seeded(), 16)
    cuts = cuts_of(settings, 64, 16, count=40)
    assert cuts[:, 2].min() < 20
    assert cuts[:, 2].max() > 45
    for image, result, cut in zip(images, together, cuts.round().int().tolist(), strict=True):
        left, top, width, height = cut
        expected = reference.resized_crop(image, top, left, height, width, [16, 16], antialias=True)
        assert (result - expected).abs().mean() < 0.01


# colour


def coloured() -> torch.Tensor:
    """Random colours, in the first of two pictures also greys, primaries and mixtures of two."""
    images = batch(count=2, side=8, seed=5)
    corners = torch.tensor(list(np.ndindex(2, 2, 2)), dtype=torch.float32)  # 8 x 3
    images[0, :, 0, :] = corners.T
    images[0, :, 1, :] = torch.linspace(0, 1, 8)
    return images


@pytest.mark.parametrize("turn", [-0.5, -0.31, -0.1, 0.0, 0.07, 0.25, 0.5])
def test_a_turn_of_the_hue_is_that_of_torchvision_and_of_the_standard_library(turn):
    images = coloured()
    found = turned_hue(images, torch.full((2,), turn))
    torch.testing.assert_close(found, reference.adjust_hue(images, turn), rtol=0, atol=1e-5)
    for y, x in ((0, 1), (3, 4), (7, 7)):
        h, s, v = colorsys.rgb_to_hsv(*images[1, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
        assert found[1, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.6])
def test_a_change_of_saturation_is_that_of_torchvision(factor):
    images = coloured()
    found = blended(greys(images), images, torch.full((2, 1, 1, 1), factor))
    torch.testing.assert_close(found, reference.adjust_saturation(images, factor), rtol=0, atol=2e-4)


def test_greys_are_those_of_torchvision():
    images = coloured()
    torch.testing.assert_close(greys(images), reference.rgb_to_grayscale(images), rtol=0, atol=2e-4)
    assert torch.equal(greys(images[:, :1]), images[:, :1])


@pytest.mark.parametrize("extreme", ["largest_draws", "smallest_draws"])
@pytest.mark.parametrize("name", ["brightness", "saturation", "hue"])
def test_the_furthest_change_of_colour_is_that_of_torchvision(request, extreme, name):
    request.getfixturevalue(extreme)
    sign = 1 if extreme == "largest_draws" else -1
    images = coloured()
    change = sign * 0.3 if name == "hue" else 1 + sign * 0.3
    expected = getattr(reference, f"adjust_{name}")(images, change)
    found = augment(images, AugmentationSettings(**{name: 0.3}), seeded())
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    assert not torch.allclose(found, images, atol=0.05)


@pytest.mark.parametrize("extreme", ["largest_draws", "smallest_draws"])
def test_the_furthest_contrast_of_a_grey_image_is_that_of_torchvision(request, extreme):
    request.getfixturevalue(extreme)
    images = batch(count=1, channels=1)
    factor = 1.3 if extreme == "largest_draws" else 0.7
    found = augment(images, AugmentationSettings(contrast=0.3), seeded())
    torch.testing.assert_close(found, reference.adjust_contrast(images, factor), rtol=0, atol=1e-5)


def test_a_certain_loss_of_colour_leaves_three_equal_channels():
    images = batch()
    found = augment(images, AugmentationSettings(grey=1.0), seeded())
    torch.testing.assert_close(found, reference.rgb_to_grayscale(images, 3), rtol=0, atol=2e-4)


def test_colour_is_lost_with_its_probability():
    images = batch(count=1000, side=4)
    found = augment(images, AugmentationSettings(grey=0.2), seeded())
    lost = (found[:, 0] - found[:, 1]).abs().flatten(1).max(1).values < 1e-6
    assert 135 < int(lost.sum()) < 265  # five standard deviations
    assert torch.equal(found[~lost], images[~lost])


@pytest.mark.parametrize("settings", [{"saturation": 0.5}, {"hue": 0.5}, {"grey": 1.0}], ids=str)
def test_grey_images_have_no_colour_to_change(settings):
    images = batch(channels=1)
    assert torch.equal(augment(images, AugmentationSettings(**settings), seeded()), images)


def test_an_image_is_jittered_as_a_whole_or_not_at_all():
    images = batch(count=1000, side=4) * 0.5 + 0.2
    settings = AugmentationSettings(
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1, jitter_probability=0.3
    )
    changes = (augment(images, settings, seeded()) - images).abs().flatten(1).max(1).values
    kept = changes < 1e-5
    assert 625 < int(kept.sum()) < 775  # five standard deviations
    assert changes[~kept].min() > 1e-4


def test_hue_and_saturation_reach_their_bounds_and_not_further():
    images = torch.tensor([0.8, 0.3, 0.3])[:, None, None].expand(500, 3, 2, 2)
    turned = augment(images, AugmentationSettings(hue=0.1), seeded())[:, :, 0, 0]
    hues = np.array([(colorsys.rgb_to_hsv(*colour)[0] + 0.5) % 1 - 0.5 for colour in turned.tolist()])
    assert -0.1 - 1e-6 <= hues.min() < -0.09
    assert 0.09 < hues.max() <= 0.1 + 1e-6
    assert abs(hues.mean()) < 0.015
    changed = augment(images, AugmentationSettings(saturation=0.2), seeded())[:, :, 0, 0]
    spread = (changed[:, 0] - changed[:, 1]) / 0.5
    assert 0.8 - 1e-5 <= spread.min() < 0.82
    assert 1.18 < spread.max() <= 1.2 + 1e-5


@pytest.mark.parametrize(
    "settings",
    [{"shear": 20}, {"resized_crop": (0.3, 0.8)}, {"saturation": 0.8}, {"hue": 0.4}],
    ids=["shear", "resized_crop", "saturation", "hue"],
)
def test_each_image_of_a_batch_has_its_own_draw_of_the_other_changes(settings):
    same = batch(count=1).repeat(5, 1, 1, 1)
    result = augment(same, AugmentationSettings(**settings), seeded())
    for first in range(5):
        for second in range(first):
            assert not torch.allclose(result[first], result[second], atol=1e-3)


@pytest.mark.usefixtures("largest_draws")
def test_a_picture_is_changed_as_a_whole_and_then_cut():
    images = batch(count=60, side=16)
    settings = AugmentationSettings(scale=0.5, translate=0.125, flip_horizontal=1.0)
    whole = augment(images, settings, seeded())
    found = augment(images, settings, seeded(), 9)
    places = []
    for image, result in zip(whole, found, strict=True):
        cuts = {(x, y): image[:, y : y + 9, x : x + 9] for x in range(8) for y in range(8)}
        places += [p for p, cut in cuts.items() if torch.allclose(cut, result, atol=1e-4)]
    assert len(places) == 60
    assert {x for x, _ in places} == {y for _, y in places} == set(range(8))
