"""Picture files to values, and values to squares."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtransfer.data import images
from medtransfer.data.images import EncodedFile, to_square
from medtransfer.errors import DataError


def encoded(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decode_image(content: bytes, name: str) -> np.ndarray:
    return EncodedFile(content, name).picture().values


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def square(image: np.ndarray, size: int, channels: int = 1, geometry: str = "pad") -> np.ndarray:
    """Values of 0 to 255 to a square, as a deep image would be."""
    return to_square((image / 255).astype(np.float32), size, channels, geometry)


def triangle_weights(length: int, size: int) -> np.ndarray:
    """Antialiased linear interpolation as a matrix, size x length, written out slowly."""
    scale = length / size
    weights = np.zeros((size, length))
    for target in range(size):
        centre = (target + 0.5) * scale
        for source in range(length):
            distance = abs(source + 0.5 - centre) / max(scale, 1.0)
            weights[target, source] = max(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


# decoding


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_grey_picture_is_its_values(kind):
    values = noise(5, 7)
    found = decode_image(encoded(values, kind), "x.any")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_colour_picture_is_its_values(kind):
    values = noise(5, 7, 3)
    found = decode_image(encoded(values, kind), "x.any")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values)


def test_transparency_is_dropped_and_colours_stay():
    values = noise(5, 7, 4)
    np.testing.assert_array_equal(decode_image(encoded(values), "x.png"), values[..., :3])


def test_grey_with_transparency_is_grey():
    values = noise(5, 7, 2)
    found = decode_image(encoded(Image.fromarray(values, "LA")), "x.png")
    np.testing.assert_array_equal(found, values[..., 0])


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("options", [{}, {"transparency": bytes([0, 128, 255, 255])}])
def test_palette_indices_become_their_colours(options):
    colours = np.array([[1, 2, 3], [250, 0, 7], [9, 200, 30], [90, 90, 90]], dtype=np.uint8)
    indices = np.array([[0, 1, 2], [3, 3, 0]], dtype=np.uint8)
    picture = Image.fromarray(indices, "L")
    picture.putpalette(colours.ravel().tolist())
    found = decode_image(encoded(picture, **options), "x.png")
    np.testing.assert_array_equal(found, colours[indices])


def test_black_and_white_is_0_and_255():
    values = noise(5, 7) > 127
    found = decode_image(encoded(Image.fromarray(values)), "x.png")
    np.testing.assert_array_equal(found, np.where(values, 255, 0))


def test_a_16_bit_picture_is_stretched_between_its_percentiles():
    values = np.random.default_rng(0).integers(1000, 9000, (30, 30)).astype(np.uint16)
    ordered = np.sort(values.ravel().astype(float))
    low, high = np.interp(899 * np.array([0.01, 0.99]), np.arange(900), ordered)
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    found = decode_image(encoded(values), "x.png")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found * 255, expected, atol=1e-3)


def test_a_jpeg_is_close_to_what_was_stored():
    y, x = np.mgrid[:32, :48]
    values = np.stack([4 * x, 5 * y, 128 + x - y], axis=2).astype(np.uint8)
    found = decode_image(encoded(values, "JPEG", quality=95, subsampling=0), "x.jpg")
    assert found.shape == (32, 48, 3)
    assert np.abs(found.astype(int) - values).max() < 6
    assert np.abs(found.astype(int) - values).mean() < 1.5


def test_a_grey_jpeg_has_no_colour_axis():
    found = decode_image(encoded(np.full((16, 24), 77, dtype=np.uint8), "JPEG"), "x.jpeg")
    assert found.shape == (16, 24)
    np.testing.assert_allclose(found, 77, atol=1)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.T),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].T),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_a_camera_that_was_turned_gives_an_upright_picture(orientation, upright):
    values = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(encoded(values, exif=exif), "x.png")
    np.testing.assert_array_equal(found, upright(values))


def test_the_content_decides_the_format_not_the_name():
    values = noise(5, 7)
    for name in ("x.jpg", "x.dcm", "x", "x.txt"):
        np.testing.assert_array_equal(decode_image(encoded(values), name), values)


@pytest.mark.parametrize("name", ["x.png", "x.dcm", "x"])
def test_an_empty_file_is_refused(name):
    with pytest.raises(DataError, match="empty file"):
        decode_image(b"", name)


@pytest.mark.parametrize("content", [b"hello, this is a letter\n" * 20, b"\x00" * 500, b"x"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.png", "not an image: no known format"),
        ("x.txt", "not an image: no known format"),
        ("x.dcm", "no pixel data in the file"),
        ("x.DCM", "no pixel data in the file"),
        ("x", "no pixel data in the file"),
    ],
)
def test_a_file_that_is_no_image_is_refused(content, name, message):
    with pytest.raises(DataError, match=message):
        decode_image(content, name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_picture_that_breaks_off_raises(kind):
    content = encoded(noise(64, 64), kind)
    with pytest.raises((OSError, SyntaxError, ValueError), match=r"truncated|broken|not enough"):
        decode_image(content[: len(content) // 2], f"x.{kind.lower()}")
    assert decode_image(content, "x").shape == (64, 64)


def test_a_picture_has_one_frame():
    file = EncodedFile(encoded(noise(5, 7)), "x.png")
    assert file.frames == 1
    np.testing.assert_array_equal(file.picture(0).values, file.picture().values)
    for frame in (1, 7):
        with pytest.raises(DataError, match=f"frame {frame} of a picture file, which has one frame, 0"):
            file.picture(frame)


def test_a_picture_of_more_pixels_than_any_image_has_is_refused(monkeypatch):
    content = encoded(noise(5, 7))
    monkeypatch.setattr(images, "MOST_SAMPLES", 35)
    assert decode_image(content, "x.png").shape == (5, 7)
    monkeypatch.setattr(images, "MOST_SAMPLES", 34)
    with pytest.raises(DataError, match="7 x 5 pixels; allowed: at most 34"):
        decode_image(content, "x.png")


# squares


@pytest.mark.parametrize("geometry", ["pad", "crop", "stretch"])
@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((20, 30), 1, (16, 16, 1)),
        ((20, 30), 3, (16, 16, 3)),
        ((30, 20, 3), 1, (16, 16, 1)),
        ((5, 4, 3), 3, (16, 16, 3)),
        ((1, 1), 1, (16, 16, 1)),
        ((300, 2), 1, (16, 16, 1)),
    ],
)
def test_a_square_is_bytes_of_the_size_and_channels_asked_for(geometry, shape, channels, expected):
    found = square(noise(*shape), 16, channels, geometry)
    assert found.dtype == np.uint8
    assert found.shape == expected
    assert found.any()


@pytest.mark.parametrize("geometry", ["pad", "crop", "stretch"])
def test_a_square_of_the_right_size_stays_as_it_is(geometry):
    grey, colour = noise(12, 12), noise(12, 12, 3)
    np.testing.assert_array_equal(square(grey, 12, 1, geometry)[..., 0], grey)
    np.testing.assert_array_equal(square(colour, 12, 3, geometry), colour)


@pytest.mark.parametrize("geometry", ["crop", "stretch"])
@pytest.mark.parametrize("shape", [(37, 53), (9, 4), (16, 16, 3)])
def test_a_constant_stays_constant(geometry, shape):
    assert (square(np.full(shape, 200), 16, 3, geometry) == 200).all()


def test_a_wide_picture_is_padded_above_and_below():
    found = square(np.full((4, 8), 200), 8)[..., 0]
    np.testing.assert_array_equal(found[2:6], 200)
    assert found[:2].sum() == found[6:].sum() == 0


def test_a_tall_picture_is_padded_left_and_right_of_its_own_content():
    image = np.repeat(np.array([[10, 20, 30]]), 9, axis=0)
    found = square(image, 9)[..., 0]
    expected = np.zeros((9, 9))
    expected[:, 3:6] = [10, 20, 30]
    np.testing.assert_array_equal(found, expected)


def test_padding_keeps_the_proportions_when_shrinking():
    found = square(np.full((40, 80, 3), 90), 16, 3)
    assert (found[4:12] == 90).all()
    assert (found == 90).sum() == 8 * 16 * 3


def test_a_very_narrow_picture_keeps_at_least_one_column():
    found = square(np.full((1000, 2), 255), 16)[..., 0]
    assert (found.max(axis=0) == 255).sum() == 1


def test_cropping_keeps_the_centre_of_the_longer_side():
    columns = np.repeat(np.arange(8)[None] * 10, 4, axis=0)
    np.testing.assert_array_equal(square(columns, 4, 1, "crop")[..., 0], columns[:, 2:6])
    np.testing.assert_array_equal(square(columns.T, 4, 1, "crop")[..., 0], columns.T[2:6])


def test_cropping_between_pixels_takes_half_of_each():
    columns = np.repeat(np.array([[0, 10, 20, 30, 40]]), 4, axis=0)
    np.testing.assert_array_equal(square(columns, 4, 1, "crop")[0, 1:3, 0], [15, 25])


def test_stretching_fills_the_square_along_each_axis_alone():
    rows = np.repeat(np.arange(4)[:, None] * 50, 8, axis=1)
    found = square(rows, 4, 1, "stretch")[..., 0]
    np.testing.assert_array_equal(found, rows[:, :4])


@pytest.mark.parametrize(("length", "size"), [(40, 16), (9, 16), (33, 8), (16, 16)])
def test_resizing_is_antialiased_linear_interpolation(length, size):
    image = noise(length, length + 5)
    expected = triangle_weights(length, size) @ image @ triangle_weights(length + 5, size).T
    found = square(image, size, 1, "stretch")[..., 0]
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_a_fine_checkerboard_becomes_flat_grey():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    found = square(board, 16, 1)[..., 0].astype(float)
    assert np.abs(found - 127.5).max() < 2
    assert np.abs(board[::4, ::4] - 127.5).min() == 127.5


def test_colour_becomes_luma():
    pure = np.zeros((8, 8, 3))
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        image = pure.copy()
        image[..., channel] = 255
        assert (square(image, 8, 1) == round(255 * weight)).all()
    colours = noise(8, 8, 3)
    expected = np.asarray(Image.fromarray(colours).convert("L"), dtype=int)
    assert np.abs(square(colours, 8, 1)[..., 0] - expected).max() <= 1


def test_grey_is_repeated_over_three_channels():
    grey = noise(8, 8)
    found = square(grey, 8, 3)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], grey)


def test_each_colour_is_resized_by_itself():
    colours = noise(20, 20, 3)
    found = square(colours, 8, 3)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], square(colours[..., channel], 8)[..., 0])


def test_values_are_rounded_and_clipped():
    image = np.array([[-3.0, 0.4, 0.6, 254.6], [300.0, 254.4, 1.5, 2.5]] * 2)
    np.testing.assert_array_equal(square(image, 4)[:2, :, 0], [[0, 0, 1, 255], [255, 254, 2, 2]])


def test_the_image_is_not_changed():
    image = noise(20, 10, 3).astype(np.float32)
    image.flags.writeable = False
    assert to_square(image, 8, 1, "pad").any()


# against Pillow's arithmetic


def pillow_square(image: np.ndarray, size: int, geometry: str) -> np.ndarray:
    """Levels of 0 to 255 as float, size x size x C, by Pillow's filter on floats."""
    height, width = image.shape[:2]
    side, long = min(height, width), max(height, width)
    box = None
    inner = (size, size)
    if geometry == "crop":
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    if geometry == "pad":
        inner = max(1, round(width * size / long)), max(1, round(height * size / long))
    planes = image[..., None] if image.ndim == 2 else image
    square = np.zeros((size, size, planes.shape[2]))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    for channel in range(planes.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., channel], dtype=np.float32))
        resized = np.asarray(plane.resize(inner, Image.Resampling.BILINEAR, box=box))
        square[top : top + inner[1], left : left + inner[0], channel] = resized
    return square


SHAPES = [(40, 56), (57, 33), (9, 14), (16, 16), (31, 200), (40, 56, 3), (13, 9, 3)]


@pytest.mark.parametrize("geometry", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [16, 21])
def test_bytes_become_what_pillow_makes_of_floats_rounded_once(size, shape, geometry):
    image = noise(*shape)
    channels = 3 if len(shape) == 3 else 1
    expected = pillow_square(image, size, geometry)
    found = to_square(image, size, channels, geometry)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-3)
    # of Pillow's bytes, which are rounded after each of the two passes, they are a level off at most
    if geometry == "stretch":
        bytes_of = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        difference = found.astype(int).squeeze() - np.asarray(bytes_of).astype(int)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("geometry", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_16_bits_keep_what_8_would_round_away(kind, shape, geometry):
    levels = noise(*shape)
    image = levels if kind is np.uint8 else (levels / 255).astype(np.float32)
    channels = 3 if len(shape) == 3 else 1
    expected = pillow_square(levels, 16, geometry) * 257
    found = to_square(image, 16, channels, geometry, 16)
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, expected, atol=0.55)
    eight = to_square(image, 16, channels, geometry)
    np.testing.assert_allclose(eight, found / 257, atol=0.51)


def test_bytes_and_the_same_image_in_floats_give_the_same_square():
    for shape in SHAPES:
        levels = noise(*shape)
        channels = 3 if len(shape) == 3 else 1
        from_bytes = to_square(levels, 21, channels, "pad").astype(int)
        from_floats = square(levels, 21, channels).astype(int)
        assert np.abs(from_bytes - from_floats).max() <= 1
        assert (from_bytes != from_floats).mean() < 0.01


@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_of_an_image_of_the_right_size_comes_back(bits):
    levels = np.arange(256).reshape(16, 16)
    scale = 257 if bits == 16 else 1
    for image in (levels.astype(np.uint8), (levels / 255).astype(np.float32)):
        found = to_square(image, 16, 1, "stretch", bits)[..., 0]
        np.testing.assert_array_equal(found, levels * scale)


def test_16_bits_hold_every_level_of_a_deep_image():
    levels = np.arange(65536).reshape(256, 256)
    deep = (levels / 65535).astype(np.float32)
    np.testing.assert_array_equal(to_square(deep, 256, 1, "pad", 16)[..., 0], levels)


@pytest.mark.parametrize("bits", [8, 16])
def test_luma_of_bytes_is_that_of_floats(bits):
    colours = noise(40, 56, 3)
    planes = pillow_square(colours, 16, "stretch")
    expected = planes @ [0.299, 0.587, 0.114] * (257 if bits == 16 else 1)
    found = to_square(colours, 16, 1, "stretch", bits)[..., 0]
    np.testing.assert_allclose(found, expected, atol=0.55)
