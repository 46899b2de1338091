"""Images of figures as parts of web pages."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from medtransfer.pages import Picture

# of the screen, to which an inch of print is drawn
PIXELS_PER_INCH = 96
COLOURS = 256
# of 255, in any channel of any pixel: more than this a reader might see
MOST_ERROR = 16


def picture(png: bytes) -> Picture:
    """An image in the size that it has in print, with its resolution kept.

    Lines and letters have few colours, so a palette holds them in a third of the bytes; an image of
    more colours than that stays as it is.

    Args:
        png: the bytes of a PNG file, which may name its resolution.

    Raises:
        ValueError: they are none.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            across = image.info.get("dpi", (PIXELS_PER_INCH, PIXELS_PER_INCH))[0]
            width, height = (round(side / across * PIXELS_PER_INCH) for side in image.size)
            paper = Image.new("RGBA", image.size, "white")
            opaque = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    except OSError as error:
        raise ValueError(f"no PNG image: {error}") from error
    content = base64.b64encode(_encoded(opaque)).decode()
    return Picture(f"data:image/png;base64,{content}", max(1, width), max(1, height))


def _encoded(image: Image.Image) -> bytes:
    """The bytes of a PNG file, with a palette if one holds the colours of the image."""
    reduced = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    before, after = (np.asarray(one, dtype=np.int16) for one in (image, reduced.convert("RGB")))
    file = io.BytesIO()
    chosen = reduced if np.abs(before - after).max() <= MOST_ERROR else image
    chosen.save(file, "PNG", optimize=True)
    return file.getvalue()
