"""One image of a file of any kind, and its square pixels."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
    """Resize with antialiasing (a triangle filter of the output's pixel) to a square.

    Args:
        image: uint8, or float32 in [0, 1]; H x W or H x W x 3.
        size: side of the result in pixels.
        channels: 1 (colour becomes luma) or 3 (grey is repeated).
        geometry: ``pad`` with black, ``crop`` the centre, or ``stretch``.
        bits: 8 or 16 a channel of the result.

    Returns:
        uint8 or uint16, size x size x channels.
    """
    if image.ndim == 3 and channels == 1:
        image = _unit(image) @ LUMA
    height, width = image.shape[:2]
    box = _crop_box(height, width) if geometry == "crop" else None
    rows, columns = _inner_size(height, width, size) if geometry == "pad" else (size, size)
    resized = _resize(image, (columns, rows), box, bits)
    planes = resized[..., None] if resized.ndim == 2 else resized
    square = np.zeros((size, size, planes.shape[2]), dtype=planes.dtype)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = planes
    return np.repeat(square, channels, axis=2) if square.shape[2] < channels else square


def _unit(image: np.ndarray) -> np.ndarray:
    """Values of an image as float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255.0) if image.dtype == np.uint8 else image


def _resize(
    image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None, bits: int
) -> np.ndarray:
    """Pictures of 8 bits by Pillow's own arithmetic, others in float32; rounded to ``bits``."""
    if image.dtype == np.uint8 and bits == 8:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box))
    values = _unit(image)
    planes = [values] if values.ndim == 2 else [values[..., i] for i in range(values.shape[2])]
    highest = 2**bits - 1
    resized = []
    for plane in planes:
        picture = Image.fromarray(np.ascontiguousarray(plane))
        smooth = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=box))
        resized.append(np.clip(np.rint(smooth * np.float32(highest)), 0, highest))
    stacked = resized[0] if image.ndim == 2 else np.stack(resized, axis=2)
    return stacked.astype(np.uint8 if bits == 8 else np.uint16)


def _crop_box(height: int, width: int) -> tuple[float, float, float, float]:
    """The centred square as (left, upper, right, lower)."""
    side = min(height, width)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def _inner_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns of a picture scaled to fit a square."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
