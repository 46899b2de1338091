"""Corruptions of stored images against other libraries, formulas written out and invariances."""

from __future__ import annotations

import io
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from medtransfer.config.corruptions import CorruptionName
from medtransfer.evaluation import corruptions
from medtransfer.evaluation.corruptions import SEVERITIES, SIDE, STRENGTHS, corrupt

NAMES = list(STRENGTHS)


def scene(count: int = 3, side: int = 48, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Smooth shapes with some texture, colours apart, all levels well inside the range."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    images = []
    for _ in range(count):
        waves = [
            np.sin(2 * np.pi * (a * x + b * y + c))
            for a, b, c in generator.uniform(0.5, 6, (channels, 3))
        ]
        images.append(
            0.5 + 0.25 * np.stack(waves, axis=-1) + generator.normal(0, 0.02, (side, side, 1))
        )
    highest = np.iinfo(dtype).max
    return np.rint(np.stack(images).clip(0, 1) * highest).astype(dtype)


def ids(images: np.ndarray) -> list[str]:
    return [f"image {i}" for i in range(len(images))]


def shares(images: np.ndarray) -> np.ndarray:
    return images / float(np.iinfo(images.dtype).max)


def test_the_strengths_are_those_of_imagenet_c():
    # gaussian_noise, gaussian_blur, contrast, jpeg_compression and pixelate
    assert STRENGTHS == {
        "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "blur": (1, 2, 3, 4, 6),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "jpeg": (25, 18, 15, 10, 7),
        "resolution": (0.6, 0.5, 0.4, 0.3, 0.25),
    }
    assert set(NAMES) == set(get_args(CorruptionName))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_severity_changes_more_and_nothing_else_about_the_array(name, channels, dtype):
    images = scene(side=96, channels=channels, dtype=dtype)
    before = images.copy()
    images.setflags(write=False)
    distances = []
    for severity in SEVERITIES:
        found = corrupt(images, name, severity, ids(images))
        assert found.dtype == images.dtype and found.shape == images.shape
        distances.append(np.sqrt(np.mean((shares(found) - shares(images)) ** 2, axis=(1, 2, 3))))
    assert np.array_equal(images, before)
    assert (distances[0] > 0.003).all()
    assert (np.diff(distances, axis=0) > 0).all()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_standard_deviation_and_mean_0(severity):
    grey = np.full((2, 200, 200, 1), 32768, dtype=np.uint16)
    deviation = STRENGTHS["noise"][severity - 1]
    changes = shares(corrupt(grey, "noise", severity, ["a", "b"])) - shares(grey)
    inside = np.abs(changes) < 0.49  # the rest is cut
    assert changes.mean() == pytest.approx(0, abs=4 * deviation / np.sqrt(changes.size))
    # quartiles aren't moved by the cut
    quartiles = np.quantile(changes, [0.25, 0.75])
    assert quartiles == pytest.approx([-0.6745 * deviation, 0.6745 * deviation], rel=0.03)
    assert inside.mean() > 0.8


def test_noise_is_an_images_own_whatever_the_order_and_the_others():
    images = scene(4)
    images[1:] = images[0]
    found = corrupt(images, "noise", 2, ids(images))
    order = [2, 0, 3, 1]
    turned = corrupt(images[order], "noise", 2, [ids(images)[i] for i in order])
    assert np.array_equal(turned, found[order])
    assert np.array_equal(corrupt(images[3:], "noise", 2, ids(images)[3:]), found[3:])
    assert not np.array_equal(found[0], found[1])
    noise = shares(found) - shares(images)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_noise_is_the_same_at_every_severity_but_stronger():
    images = np.full((1, 32, 32, 1), 30000, dtype=np.uint16)
    mild, strong = (shares(corrupt(images, "noise", s, ["a"])) - shares(images) for s in (1, 2))
    assert strong == pytest.approx(mild * 0.12 / 0.08, abs=2e-4)


def test_colours_have_noise_of_their_own():
    images = scene(1)
    noise = shares(corrupt(images, "noise", 1, ["a"])) - shares(images)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(("side", "severity"), [*((SIDE, s) for s in SEVERITIES), (96, 3), (96, 5)])
def test_blur_spreads_a_point_by_its_standard_deviation_in_proportion_to_the_side(severity, side):
    point = np.zeros((1, side, side, 1), dtype=np.uint16)
    middle = side // 2
    point[0, middle - 1 : middle + 2, middle - 1 : middle + 2] = 65535
    found = corrupt(point, "blur", severity, ["a"])[0, :, :, 0].astype(float)
    expected = STRENGTHS["blur"][severity - 1] * side / SIDE
    places = np.arange(side) - middle
    for axis in (0, 1):
        spread = found.sum(axis) @ places**2 / found.sum()
        # three pixels have a variance of 2/3 themselves
        assert spread - 2 / 3 == pytest.approx(expected**2, rel=0.03, abs=0.03)


def test_blur_is_the_sum_over_neighbours_weighted_by_a_gaussian_with_edges_repeated():
    images = scene(1, side=SIDE // 4, channels=1)
    deviation = 6 / 4  # severity 5 on a quarter of the side
    reach = np.arange(-6, 7)
    kernel = np.exp(-(reach**2) / (2 * deviation**2))
    kernel /= kernel.sum()
    padded = np.pad(shares(images)[0, :, :, 0], 6, mode="edge")
    rows = sum(w * padded[6 + r : 6 + r + SIDE // 4] for r, w in zip(reach, kernel, strict=True))
    both = sum(w * rows[:, 6 + r : 6 + r + SIDE // 4] for r, w in zip(reach, kernel, strict=True))
    found = shares(corrupt(images, "blur", 5, ["a"]))[0, :, :, 0]
    assert found == pytest.approx(both, abs=0.6 / 255)


@pytest.mark.parametrize("name", ["blur", "contrast", "resolution"])
def test_colours_do_not_run_into_each_other(name):
    images = scene(2)
    alone = [corrupt(images[..., c : c + 1], name, 4, ids(images)) for c in range(3)]
    assert np.array_equal(corrupt(images, name, 4, ids(images)), np.concatenate(alone, axis=3))


def test_contrast_by_hand():
    image = np.array([[10, 30], [50, 110]], dtype=np.uint8)[None, :, :, None]
    # mean 50; of each distance to it .4, then .05 is left
    assert corrupt(image, "contrast", 1, ["a"])[0, :, :, 0].tolist() == [[34, 42], [50, 74]]
    assert corrupt(image, "contrast", 5, ["a"])[0, :, :, 0].tolist() == [[48, 49], [50, 53]]


def test_contrast_has_a_mean_of_each_image_and_colour():
    images = np.zeros((2, 2, 2, 3), dtype=np.uint8)
    images[0, 0] = [200, 100, 40]
    images[1] = 77
    found = corrupt(images, "contrast", 3, ["a", "b"])
    assert found.mean(axis=(1, 2)) == pytest.approx(np.array([[100, 50, 20], [77, 77, 77]]))
    assert (found[0, 0] - found[0, 1]).tolist() == [[40, 20, 8]] * 2


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(channels):
    images = scene(2, channels=channels)
    for severity, quality in enumerate((25, 18, 15, 10, 7), start=1):
        found = corrupt(images, "jpeg", severity, ids(images))
        for image, decoded in zip(images, found, strict=True):
            stream = io.BytesIO()
            Image.fromarray(image.squeeze()).save(stream, "JPEG", quality=quality)
            expected = np.asarray(Image.open(io.BytesIO(stream.getvalue())))
            assert np.array_equal(decoded.squeeze(), expected)


def test_jpeg_of_deep_images_is_that_of_their_8_bits():
    images = scene(2)
    deep = images.astype(np.uint16) * 257
    expected = corrupt(images, "jpeg", 3, ids(images)).astype(np.uint16) * 257
    assert np.array_equal(corrupt(deep, "jpeg", 3, ids(images)), expected)


def test_resolution_is_averaging_over_blocks_and_pillows_linear_enlargement():
    images = scene(1, side=64, channels=1, dtype=np.uint16)
    blocks = shares(images)[0, :, :, 0].reshape(16, 4, 16, 4).mean(axis=(1, 3)).astype(np.float32)
    expected = np.asarray(Image.fromarray(blocks).resize((64, 64), Image.Resampling.BILINEAR))
    found = shares(corrupt(images, "resolution", 5, ["a"]))[0, :, :, 0]  # a quarter of the side
    assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("side", [5, 24, 33])
def test_averaging_covers_every_pixel_alike_for_any_number_of_pixels(side, severity):
    fewer = max(1, round(STRENGTHS["resolution"][severity - 1] * side))
    weights = corruptions._averaging(side, fewer)
    fine = np.repeat(np.eye(side), fewer, axis=0)  # each pixel in so many equal slices
    expected = fine.reshape(fewer, side, side).mean(axis=1)
    assert weights == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["blur", "resolution", "contrast"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_image_has_nothing_to_lose(name, level):
    images = np.full((1, 24, 24, 3), level, dtype=np.uint8)
    for severity in SEVERITIES:
        assert np.array_equal(corrupt(images, name, severity, ["a"]), images)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", NAMES)
def test_grey_is_corrupted_alike_in_one_channel_and_in_three_among_colours(name, dtype):
    grey = scene(3, channels=1, dtype=dtype)
    mixed = np.concatenate([np.repeat(grey, 3, axis=3), scene(2, dtype=dtype)])[[3, 0, 4, 1, 2]]
    names = [f"image {i}" for i in (3, 0, 4, 1, 2)]
    found = corrupt(mixed, name, 3, names)[[1, 3, 4]]
    assert np.array_equal(found, np.repeat(corrupt(grey, name, 3, ids(grey)), 3, axis=3))


@pytest.mark.parametrize("name", NAMES)
def test_both_depths_are_corrupted_alike(name):
    images = scene(2)
    deep = images.astype(np.uint16) * 257
    both = [shares(corrupt(pixels, name, 2, ids(images))) for pixels in (images, deep)]
    assert both[0] == pytest.approx(both[1], abs=0.51 / 255)


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_cut_not_wrapped(name):
    images = np.zeros((1, 16, 16, 1), dtype=np.uint8)
    images[:, :, 8:] = 255
    found = corrupt(images, name, 1, ["a"])[0, :, :, 0].astype(int)
    assert found[:, :6].mean() < 110 and found[:, -6:].mean() > 145


@pytest.mark.parametrize("name", NAMES)
def test_many_images_are_corrupted_as_each_alone(name):
    images = scene(5, side=16)
    many = np.concatenate([images] * 30)
    names = [f"image {i % 5}" for i in range(150)]
    found = corrupt(many, name, 4, names)
    assert np.array_equal(found, np.concatenate([corrupt(images, name, 4, names[:5])] * 30))


@pytest.mark.parametrize("name", NAMES)
def test_no_images_give_none(name):
    assert corrupt(np.zeros((0, 8, 8, 1), dtype=np.uint8), name, 1, []).shape == (0, 8, 8, 1)


@pytest.mark.parametrize(("name", "severity"), [("fog", 1), ("noise", 0), ("noise", 6)])
def test_another_corruption_or_severity_is_an_error(name, severity):
    with pytest.raises(ValueError, match="allowed: noise, blur, contrast, jpeg, resolution"):
        corrupt(scene(1), name, severity, ["a"])
