"""DICOM files to display values.

The order follows DICOM PS3.3 C.11 and PS3.4 N.2: stored values, modality LUT or rescale, VOI LUT or
window, then inversion for photometric reasons.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medtransfer.errors import DataError

# Display range of an image that states none: percentiles of its own values.
PERCENTILES = (1.0, 99.0)


def read_dicom(content: bytes, frame: int | None = None) -> np.ndarray:
    """Decode one frame to display values.

    Args:
        content: the bytes of the file.
        frame: number of the frame from 0; None for files with a single frame.

    Returns:
        float32 in [0, 255], H x W (grey) or H x W x 3 (colour). Higher is brighter.

    Raises:
        DataError: no pixels, or a frame that isn't there.
        Exception: whatever the decoder of the transfer syntax raises on damaged data.
    """
    with warnings.catch_warnings():
        # pydicom quotes odd header values in its warnings, and those can identify a patient
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _native_syntax(dataset)
        stored = _stored_values(dataset, _checked_frame(dataset, frame))
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return _full_range(apply_color_lut(stored, dataset))
        if stored.ndim == 3:
            return _colour(stored, dataset)
        return _grey(stored, dataset)


def _checked_frame(dataset: Dataset, frame: int | None) -> int:
    if "PixelData" not in dataset:
        raise DataError("no pixel data in the file")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frame is None and frames > 1:
        raise DataError(f"{frames} frames; name the manifest's frame column in the key 'frame'")
    if frame is not None and frame >= frames:
        raise DataError(f"frame {frame} of {frames}; frames count from 0")
    return frame or 0


def _native_syntax(dataset: Dataset) -> UID:
    """The uncompressed transfer syntax that a file without meta header was parsed with."""
    implicit, little_endian = dataset.original_encoding
    if not little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _stored_values(dataset: Dataset, frame: int) -> np.ndarray:
    """Pixels of a frame; values that sit above the lowest bits (HighBit) are shifted down."""
    shift = int(dataset.get("HighBit", 0)) + 1 - int(dataset.get("BitsStored", 1))
    if shift <= 0 or dataset.get("SamplesPerPixel") != 1:
        return pixel_array(dataset, index=frame)
    bits = dataset.BitsStored
    dataset.BitsStored = dataset.HighBit + 1
    values = pixel_array(dataset, index=frame) >> shift
    dataset.BitsStored = bits
    return values


def _full_range(values: np.ndarray) -> np.ndarray:
    """Unsigned integers to [0, 255] by the range of their type."""
    scale = 255.0 / np.iinfo(values.dtype).max
    return np.asarray(values, dtype=np.float32) * np.float32(scale)


def _colour(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    return stored.astype(np.float32) * np.float32(255.0 / (2 ** int(dataset.BitsStored) - 1))


def _grey(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    values = apply_modality_lut(stored, dataset).astype(np.float64)
    if dataset.get("VOILUTSequence"):
        shown = _voi_lut(values, dataset.VOILUTSequence[0])
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        shown = window(
            values,
            _first(dataset.WindowCenter),
            _first(dataset.WindowWidth),
            str(dataset.get("VOILUTFunction") or "LINEAR"),
        )
    else:
        shown = percentile_range(values, stored != dataset.get("PixelPaddingValue"))
    if _is_inverse(dataset):
        shown = 1.0 - shown
    return (shown * 255.0).astype(np.float32)


def _first(value: object) -> float:
    """Windows may be lists of alternatives; the first is the default presentation."""
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # type: ignore[arg-type]


def _is_inverse(dataset: Dataset) -> bool:
    """PresentationLUTShape decides where present (PS3.3 C.11.6); MONOCHROME1 otherwise."""
    shape = dataset.get("PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE"):
        return bool(shape == "INVERSE")
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1")


def _voi_lut(values: np.ndarray, item: Dataset) -> np.ndarray:
    """PS3.3 C.11.2.1.1: table look-up, values outside the table take its ends; result in [0, 1]."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):  # stored as words
        data = np.frombuffer(data, "<u2" if item.is_little_endian is not False else ">u2")
    table = np.asarray(data, dtype=np.float64)[: entries or 65536]
    position = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
    return np.clip(table[position] / (2**bits - 1), 0.0, 1.0)


def window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Window of PS3.3 C.11.2.1.2-3 onto [0, 1]: LINEAR, LINEAR_EXACT or SIGMOID."""
    if function == "SIGMOID" and width > 0:
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function == "LINEAR" and width >= 1:
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)
    raise DataError(
        f"window of width {width}, or its VOI LUT function; allowed: LINEAR with width >= 1, "
        "LINEAR_EXACT or SIGMOID with width > 0"
    )


def percentile_range(values: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Stretch the documented percentiles of the ``inside`` values onto [0, 1]; a flat image is 0."""
    chosen = values if inside is None or not np.any(inside) else values[inside]
    low, high = np.percentile(chosen, PERCENTILES)
    if high <= low:
        low, high = float(chosen.min()), float(chosen.max())
    if high <= low:
        return np.zeros_like(values, dtype=np.float64)
    return np.clip((values - low) / (high - low), 0.0, 1.0)
