"""One image file of any kind to square uint8 pixels."""

from __future__ import annotations

import io
from pathlib import PurePath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medtransfer.data.dicom import percentile_range, read_dicom
from medtransfer.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", "")
# Rec. 601 luma, as Pillow's conversion to "L"
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def decode_image(content: bytes, name: str, frame: int | None = None) -> np.ndarray:
    """Decode a DICOM file or any format that Pillow reads.

    Args:
        content: the bytes of the file.
        name: the file's name; its suffix marks DICOM files that lack the 128-byte preamble.
        frame: frame of a multi-frame DICOM file.

    Returns:
        float32 in [0, 255], H x W or H x W x 3.

    Raises:
        DataError: the file is empty or no image.
    """
    if not content:
        raise DataError("empty file")
    if content[128:132] == b"DICM":
        return read_dicom(content, frame)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return _picture_values(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        if PurePath(name).suffix.lower() in DICOM_SUFFIXES:
            return read_dicom(content, frame)
        raise DataError("not an image: no known format") from error


def _picture_values(picture: Image.Image) -> np.ndarray:
    """8-bit pictures as they are; deeper ones state no display range, so percentiles give it."""
    if picture.mode.startswith(("I", "F")):
        return (percentile_range(np.asarray(picture, dtype=np.float64)) * 255.0).astype(np.float32)
    grey = picture.mode in ("1", "L", "LA")
    return np.asarray(picture.convert("L" if grey else "RGB"), dtype=np.float32)


def to_square(image: np.ndarray, size: int, channels: int, geometry: str) -> np.ndarray:
    """Resize with antialiasing to a square.

    Args:
        image: float32 in [0, 255], H x W or H x W x 3.
        size: side of the result in pixels.
        channels: 1 (colour becomes luma) or 3 (grey is repeated).
        geometry: ``pad`` with black, ``crop`` the centre, or ``stretch``.

    Returns:
        uint8, size x size x channels.
    """
    if image.ndim == 3 and channels == 1:
        image = image @ LUMA
    planes = image[..., None] if image.ndim == 2 else image
    height, width = planes.shape[:2]
    box = _crop_box(height, width) if geometry == "crop" else None
    rows, columns = _inner_size(height, width, size) if geometry == "pad" else (size, size)
    square = np.zeros((size, size, planes.shape[2]), dtype=np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    for plane in range(planes.shape[2]):
        picture = Image.fromarray(np.ascontiguousarray(planes[..., plane]))
        resized = picture.resize((columns, rows), Image.Resampling.BILINEAR, box=box)
        values = np.clip(np.rint(np.asarray(resized)), 0, 255).astype(np.uint8)
        square[top : top + rows, left : left + columns, plane] = values
    return np.repeat(square, channels, axis=2) if square.shape[2] < channels else square


def _crop_box(height: int, width: int) -> tuple[float, float, float, float]:
    """The centred square as (left, upper, right, lower)."""
    side = min(height, width)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def _inner_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns of a picture scaled to fit a square."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
