"""DICOM files made in memory, the fixtures of pydicom, and what the tests compare them by."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medtransfer.data.dicom import DicomFile, Picture
from medtransfer.data.display import PERCENTILES


def image(stored: np.ndarray, bits: int | None = None, **tags: Any) -> Dataset:
    """A data set of one grey or colour frame in memory; further tags by keyword."""
    bits = bits or stored.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "2.25.1"
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = even(stored.tobytes())
    dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def frames_image(stored: np.ndarray, bits: int | None = None, **tags: Any) -> Dataset:
    """A data set of several frames, N x H x W or N x H x W x 3."""
    dataset = image(stored[0], bits, NumberOfFrames=len(stored), **tags)
    dataset.PixelData = even(stored.tobytes())
    return dataset


def even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def swapped(data: bytes, width: int = 2) -> bytes:
    """Words in the other byte order."""
    return np.frombuffer(data, f"u{width}").byteswap().tobytes()


def encoded(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a file in a transfer syntax."""
    if syntax.is_compressed:
        # the RLE encoder of GDCM aborts the interpreter on frames of an odd number of bytes
        plugin = "pylibjpeg" if syntax == RLELossless else ""
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    return written(dataset)


def written(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def big_endian(dataset: Dataset) -> bytes:
    """The bytes of a big endian file of a data set whose pixels are little endian."""
    if dataset["PixelData"].VR == "OW":
        width = max(2, dataset.BitsAllocated // 8)
        dataset.PixelData = swapped(dataset.PixelData, width)
    return encoded(dataset, ExplicitVRBigEndian)


def in_syntax(dataset: Dataset, syntax: UID) -> bytes:
    """The bytes of a file in any syntax, of a data set whose pixels are little endian."""
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
        return written(dataset)
    return big_endian(dataset) if syntax == ExplicitVRBigEndian else encoded(dataset, syntax)


def edited(content: bytes, **tags: Any) -> bytes:
    """A file with other header values; odd ones are written without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(io.BytesIO(content), force=True)
        for name, value in tags.items():
            if value is None:
                del dataset[name]
            else:
                setattr(dataset, name, value)
        return written(dataset)


def cut(content: bytes, share: float, frame: int = 0) -> bytes:
    """A compressed file, one frame of which breaks off after a share of its bytes."""
    dataset = dcmread(io.BytesIO(content))
    count = int(dataset.get("NumberOfFrames") or 1)
    parts = list(generate_frames(dataset.PixelData, number_of_frames=count))
    parts[frame] = parts[frame][: int(len(parts[frame]) * share) // 2 * 2]
    dataset.PixelData = encapsulate(parts)
    return written(dataset)


def fixture(name: str) -> Path:
    """A file of pydicom or of pydicom-data; the test is skipped where it isn't installed."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not installed (pydicom-data)")
    return Path(str(path))


def levels(values: np.ndarray) -> np.ndarray:
    """Display values as float32 in [0, 255]."""
    return values.astype(np.float32) if values.dtype == np.uint8 else values * np.float32(255)


def picture(content: bytes | Dataset, frame: int | None = None) -> Picture:
    return DicomFile(encoded(content) if isinstance(content, Dataset) else content).picture(frame)


def read_dicom(content: bytes, frame: int | None = None) -> np.ndarray:
    return levels(DicomFile(content).picture(frame).values)


def read_fixture(name: str, frame: int | None = None) -> np.ndarray:
    return read_dicom(fixture(name).read_bytes(), frame)


def shown(stored: np.ndarray, bits: int | None = None, **tags: Any) -> np.ndarray:
    return read_dicom(encoded(image(stored, bits, **tags)))


def lut(entries: np.ndarray, first: int, bits: int, representation: str = "US") -> Dataset:
    """An item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new(0x00283003, "LO", "table")
    data = entries.astype("<u2")
    value = data.tolist() if representation == "US" else data.tobytes()
    item.add_new(0x00283006, representation, value)
    return item


def stretched(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[0, 255] between the first and last percentile of the chosen values, by sorting."""
    ordered = np.sort(chosen.ravel().astype(np.float64))
    places = (len(ordered) - 1) * np.array(PERCENTILES) / 100
    low, high = np.interp(places, np.arange(len(ordered)), ordered)
    return np.clip((values - low) / (high - low), 0, 1) * 255


def noise(low: int, high: int, shape: tuple[int, ...], kind: type = np.uint16) -> np.ndarray:
    """Integers of [low, high), of which both ends occur."""
    values = np.random.default_rng(sum(shape)).integers(low, high, shape)
    values.flat[0], values.flat[-1] = low, high - 1
    return values.astype(kind)
