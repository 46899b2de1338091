"""One image of a file of any kind, and its square pixels."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.sparse import csr_array

from medtransfer.data.dicom import MOST_SAMPLES, DicomFile, Picture
from medtransfer.data.display import percentile_range
from medtransfer.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", "")
HDF5_SUFFIXES = (".h5", ".hdf5")
# Rec. 601 luma, as Pillow's conversion to "L"
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Source(Protocol):
    """A file with one image or several."""

    @property
    def frames(self) -> int:
        """Number of images."""

    def picture(self, frame: int | None = None) -> Picture:
        """Decode one image; ``frame`` counts from 0 and is None for files with a single one."""

    def sha256(self, frame: int | None = None) -> str:
        """Hash of the bytes that the image is read from."""


def open_source(path: Path) -> Source:
    """Open a DICOM file, an array file (.npy, .h5) or any format that Pillow reads.

    Raises:
        OSError: the file can't be read.
        DataError: the file is empty or no image.
        Exception: whatever a parser raises on damaged data.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "is a folder" if path.is_dir() else "No such file or directory")
    if path.suffix.lower() == ".npy":
        return ArrayFile(np.load(path, mmap_mode="r", allow_pickle=False))
    if path.suffix.lower() in HDF5_SUFFIXES:
        return ArrayFile(_hdf5_array(path))
    return EncodedFile(path.read_bytes(), path.name)


class EncodedFile:
    """A DICOM or picture file, held as its bytes.

    Args:
        content: the bytes of the file.
        name: the file's name; its suffix marks DICOM files that lack the 128-byte preamble.
    """

    def __init__(self, content: bytes, name: str) -> None:
        if not content:
            raise DataError("empty file")
        self.content = content
        self.dicom = DicomFile(content) if _is_dicom(content, name) else None

    @property
    def frames(self) -> int:
        return 1 if self.dicom is None else self.dicom.frames

    def sha256(self, frame: int | None = None) -> str:
        del frame  # all frames are of the same bytes
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def picture(self, frame: int | None = None) -> Picture:
        if self.dicom is not None:
            return self.dicom.picture(frame)
        if frame:
            raise DataError(f"frame {frame} of a picture file, which has one frame, 0")
        with Image.open(io.BytesIO(self.content)) as picture:
            return _picture(picture)


class ArrayFile:
    """Images in one array: N x H x W (grey) or N x H x W x 3 (colour), or a single H x W image.

    Only the images asked for are read.
    """

    def __init__(self, array: Any) -> None:
        if not 2 <= array.ndim <= 4 or (array.ndim == 4 and array.shape[3] not in (1, 3)):
            raise DataError(
                f"an array of shape {tuple(array.shape)}; allowed: N x H x W [x 1 or 3], H x W"
            )
        if array.dtype.kind not in "uif":
            raise DataError(f"an array of {array.dtype}; allowed: integers and floats")
        self.array = array

    @property
    def frames(self) -> int:
        return 1 if self.array.ndim == 2 else int(self.array.shape[0])

    def sha256(self, frame: int | None = None) -> str:
        return hashlib.sha256(np.ascontiguousarray(self._image(frame)).tobytes()).hexdigest()

    def picture(self, frame: int | None = None) -> Picture:
        image = self._image(frame)
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        if image.dtype == np.uint8:
            return Picture(image)
        return Picture(_stretched(image), "percentiles")

    def _image(self, frame: int | None) -> np.ndarray:
        if self.array.ndim == 2:
            return np.asarray(self.array)
        if frame is None and self.frames > 1:
            raise DataError(f"{self.frames} images; name the manifest's column in the key 'frame'")
        if (frame or 0) >= self.frames:
            raise DataError(f"image {frame} of {self.frames}; images count from 0")
        return np.asarray(self.array[frame or 0])


def _is_dicom(content: bytes, name: str) -> bool:
    """By the magic word; by the suffix where that is missing and Pillow knows the bytes as nothing."""
    if content[128:132] == b"DICM":
        return True
    try:
        with Image.open(io.BytesIO(content)):
            return False
    except UnidentifiedImageError as error:
        if Path(name).suffix.lower() in DICOM_SUFFIXES:
            return True
        raise DataError("not an image: no known format") from error


def _hdf5_array(path: Path) -> Any:
    """The only data set of an HDF5 file."""
    try:
        import h5py  # only data sets in HDF5 need it
    except ImportError as error:
        raise DataError("HDF5 files need the package h5py") from error
    file = h5py.File(path, "r")
    names = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
    if len(names) != 1:
        raise DataError(f"an HDF5 file with the data sets {names}; allowed: exactly one")
    return file[names[0]]


def _picture(picture: Image.Image) -> Picture:
    """8-bit pictures as they are; deeper ones state no display range, so percentiles give it."""
    if picture.width * picture.height > MOST_SAMPLES:
        raise DataError(f"{picture.width} x {picture.height} pixels; allowed: at most {MOST_SAMPLES}")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):
        return Picture(_stretched(np.asarray(upright)), "percentiles")
    grey = upright.mode in ("1", "L", "LA")
    return Picture(np.asarray(upright.convert("L" if grey else "RGB")))


def _stretched(values: np.ndarray) -> np.ndarray:
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise DataError("pixels that are no finite numbers")
    return percentile_range(numbers).astype(np.float32)


def to_square(image: np.ndarray, size: int, channels: int, geometry: str, bits: int = 8) -> np.ndarray:
    """Resize with antialiasing to a square.

    Args:
        image: uint8, or float32 in [0, 1]; H x W or H x W x 3.
        size: side of the result in pixels.
        channels: 1 (colour becomes luma) or 3 (grey is repeated).
        geometry: ``pad`` with black, ``crop`` the centre, or ``stretch``.
        bits: 8 or 16 a channel of the result.

    Returns:
        uint8 or uint16, size x size x channels, rounded once.
    """
    height, width = image.shape[:2]
    rows, columns = _inner_size(height, width, size) if geometry == "pad" else (size, size)
    vertical, horizontal = (0.0, float(height)), (0.0, float(width))
    if geometry == "crop":
        vertical, horizontal = _centre(height, width), _centre(width, height)
    planes = resize(image, (rows, columns), vertical, horizontal)
    if planes.shape[2] == 3 and channels == 1:
        planes = (planes @ LUMA)[..., None]
    highest = 2**bits - 1
    levels = np.rint(planes * np.float32(highest / 255.0 if image.dtype == np.uint8 else highest))
    square = np.zeros((size, size, planes.shape[2]), dtype=np.uint8 if bits == 8 else np.uint16)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = np.clip(levels, 0, highest)
    return np.repeat(square, channels, axis=2) if square.shape[2] < channels else square


def resize(
    image: np.ndarray,
    shape: tuple[int, int],
    vertical: tuple[float, float],
    horizontal: tuple[float, float],
) -> np.ndarray:
    """Antialiased linear interpolation: rows, then columns.

    Args:
        image: H x W or H x W x C.
        shape: rows and columns of the result.
        vertical, horizontal: where the first row (column) begins and the last ends, in pixels.

    Returns:
        float32, rows x columns x C.
    """
    planes = image[..., None] if image.ndim == 2 else image
    height, width, count = planes.shape
    values = planes.reshape(height, width * count).astype(np.float32, copy=False)
    squeezed = _weights(height, shape[0], *vertical) @ values
    turned = squeezed.reshape(shape[0], width, count).swapaxes(0, 1).reshape(width, -1)
    result = _weights(width, shape[1], *horizontal) @ turned
    return result.reshape(shape[1], shape[0], count).swapaxes(0, 1)


@lru_cache(maxsize=32)
def _weights(length: int, size: int, start: float, stop: float) -> csr_array:
    """Linear interpolation of ``length`` values at ``size`` points, size x length.

    When it shrinks, each point takes all values under a triangle as wide as two of the result's
    pixels: what Pillow and torchvision call antialiased bilinear resampling.
    """
    scale = (stop - start) / size
    reach = max(scale, 1.0)
    centres = start + (np.arange(size) + 0.5) * scale
    first = np.floor(centres - reach).astype(np.int64)
    places = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = np.maximum(0.0, 1.0 - np.abs(places + 0.5 - centres[:, None]) / reach)
    weights[(places < 0) | (places >= length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows, taps = np.nonzero(weights)
    entries = weights[rows, taps].astype(np.float32), (rows, places[rows, taps])
    return csr_array(entries, shape=(size, length))


def _centre(side: int, other: int) -> tuple[float, float]:
    """Where the centred square begins and ends along a side."""
    start = max(0.0, (side - other) / 2)
    return start, side - start


def _inner_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns of a picture scaled to fit a square."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
