"""Images on pages: small, the same to the eye, in the size of print."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medtransfer.figures.style import note, save_figure
from medtransfer.pictures import picture


def png(pixels: np.ndarray, mode: str = "RGB", **about: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, "PNG", **about)
    return file.getvalue()


def decoded(source: str) -> Image.Image:
    head, content = source.split(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def gradient(side: int = 64) -> np.ndarray:
    down, across = np.mgrid[:side, :side]
    return np.stack([down * 4, across * 4, down + across], axis=-1).astype(np.uint8)


def test_a_figure_is_smaller_and_looks_the_same(tmp_path):
    path = tmp_path / "figure.png"
    save_figure(note("nothing to draw here"), [path])
    made = picture(path.read_bytes())
    image, before = decoded(made.source), Image.open(path)
    assert image.mode == "P" and image.size == before.size
    error = np.asarray(image.convert("RGB"), dtype=int) - np.asarray(before.convert("RGB"), dtype=int)
    assert np.abs(error).max() <= 16
    assert len(made.source) < len(path.read_bytes())


def test_an_image_of_too_many_colours_stays_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    content = png(noise)
    assert np.array_equal(np.asarray(decoded(picture(content).source)), noise)


def test_what_is_transparent_is_white():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (200, 0, 0, 255)
    shown = np.asarray(decoded(picture(png(pixels, "RGBA")).source).convert("RGB"))
    assert shown[0, 0].tolist() == [200, 0, 0] and shown[7, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("dpi", "width"), [(None, 64), (192, 32), (96, 64), (48, 128)])
def test_the_size_is_that_of_print(dpi, width):
    about = {} if dpi is None else {"dpi": (dpi, dpi)}
    made = picture(png(gradient()[:32], **about))
    assert (made.width, made.height) == (width, width // 2)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", png(gradient())[:80]])
def test_what_is_no_png_is_an_error(content):
    with pytest.raises(ValueError, match="no PNG image"):
        picture(content)
