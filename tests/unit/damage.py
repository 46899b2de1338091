"""Damaged copies of DICOM files, drawn from a seed: bit flips, cuts, and headers that lie."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes

LIES: dict[str, list[object]] = {
    "Rows": [0, 1, 7, 4096, 60000, 65535],
    "Columns": [0, 1, 7, 4096, 60000, 65535],
    "BitsAllocated": [0, 1, 8, 16, 24, 32, 64],
    "BitsStored": [0, 1, 8, 12, 16, 17, 64],
    "HighBit": [0, 7, 11, 15, 31, 63],
    "SamplesPerPixel": [0, 1, 3, 4, 255],
    "PixelRepresentation": [0, 1, 2],
    "PlanarConfiguration": [0, 1, 2],
    "NumberOfFrames": [0, -1, 2, 1000, 2**31 - 1],
    "PhotometricInterpretation": [
        "RGB",
        "MONOCHROME1",
        "PALETTE COLOR",
        "YBR_FULL_422",
        "YBR_RCT",
        "X",
    ],
    "WindowWidth": [0, -1, 1e300],
    "RescaleSlope": [0, 1e300, -1],
    "PixelPaddingValue": [0, 65535],
}


def fixtures() -> list[Path]:
    """The image files that come with pydicom."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(path for path in folder.glob("*.dcm") if path.stat().st_size < 250_000)


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """A damaged copy of a file."""
    kinds: list[Callable[[bytes, np.random.Generator], bytes]] = [
        _flipped, _flipped, _cut, _lying, _lying, _other_syntax, _overwritten,
    ]  # fmt: skip
    return kinds[generator.integers(len(kinds))](content, generator)


def _flipped(content: bytes, generator: np.random.Generator) -> bytes:
    """A few bits turned, half of the time in the header only."""
    values = np.frombuffer(content, np.uint8).copy()
    end = min(2048, len(values)) if generator.random() < 0.5 else len(values)
    for place in generator.integers(0, end, generator.integers(1, 30)):
        values[place] ^= 1 << generator.integers(8)
    return values.tobytes()


def _cut(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: generator.integers(0, len(content))]


def _overwritten(content: bytes, generator: np.random.Generator) -> bytes:
    """A run of zeros, ones or noise in the middle."""
    length = int(generator.integers(1, max(2, len(content) // 4)))
    start = int(generator.integers(0, len(content) - length))
    noise = [bytes(length), b"\xff" * length, generator.bytes(length)][generator.integers(3)]
    return content[:start] + noise + content[start + length :]


def _lying(content: bytes, generator: np.random.Generator) -> bytes:
    """Some header values replaced by wrong ones."""
    dataset = _parsed(content)
    for name in generator.choice(list(LIES), generator.integers(1, 4), replace=False):
        values = LIES[str(name)]
        _set(dataset, str(name), values[generator.integers(len(values))])
    return _written(dataset, content)


def _other_syntax(content: bytes, generator: np.random.Generator) -> bytes:
    """The same bytes under another transfer syntax."""
    dataset = _parsed(content)
    if not hasattr(dataset, "file_meta"):
        return _cut(content, generator)
    syntax = AllTransferSyntaxes[generator.integers(len(AllTransferSyntaxes))]
    old = str(dataset.file_meta.get("TransferSyntaxUID", "")).encode()
    new = str(syntax).encode()
    width = len(old) + len(old) % 2
    if not old or len(new) > width:
        return _flipped(content, generator)
    return content.replace(old.ljust(width, b"\0"), new.ljust(width, b"\0"), 1)


def _parsed(content: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(content), force=True)


def _set(dataset: Dataset, name: str, value: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setattr(dataset, name, value)


def _written(dataset: Dataset, otherwise: bytes) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset.save_as(file)
        except Exception:  # some lies can't even be written
            return otherwise[:-1]
    return file.getvalue()
