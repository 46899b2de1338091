"""DICOM files to pictures: decoding, the rules of display, and what else of the header is needed."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from medtransfer.data.display import (
    DisplayRange,
    GreyRules,
    Transform,
    display_values,
    is_window,
    look_up,
    window,
)
from medtransfer.data.look_up_tables import lut, palette, signed
from medtransfer.errors import DataError

# More samples in a frame than any clinical image has; a header that claims more is damaged.
MOST_SAMPLES = 2**28
PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
RETIRED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
# Decoders by transfer syntax, the best first: exact, strict about damaged streams, then least work.
# For JPEG 2000 GDCM may be done sooner, but by taking two cores: in one it needs a fifth more.
DECODERS: dict[UID, tuple[str, ...]] = {
    RLELossless: ("pylibjpeg", "pydicom"),
    JPEGBaseline8Bit: ("pillow", "pylibjpeg", "gdcm"),
    JPEGExtended12Bit: ("pylibjpeg", "pillow", "gdcm"),
    JPEGLossless: ("gdcm", "pylibjpeg"),
    JPEGLosslessSV1: ("gdcm", "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", "pylibjpeg", "gdcm")),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "gdcm", "pillow")),
}
END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True)
class Picture:
    """A decoded image, and the facts of its header that the project keeps.

    Attributes:
        values: H x W (grey) or H x W x 3 (colour); uint8, or float32 in [0, 1]. Higher is brighter.
        display: what gave the range of display.
        burned_in: the header's word on annotations in the pixels: ``yes``, ``no`` or empty.
        patient_id: of the header, or None; an identity, never to be stored as it is.
        study: UID of the study in the header, or None; an identity as well.
    """

    values: np.ndarray
    display: DisplayRange = "full range"
    burned_in: str = ""
    patient_id: str | None = None
    study: str | None = None


class DicomFile:
    """A parsed DICOM file.

    Args:
        content: the bytes of the file.

    Raises:
        DataError: no pixels, or sizes that no image has.
        Exception: whatever pydicom raises on damaged data.
    """

    def __init__(self, content: bytes) -> None:
        with warnings.catch_warnings():
            # pydicom quotes odd header values in its warnings, and those can identify a patient
            warnings.simplefilter("ignore")
            self.dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            if "TransferSyntaxUID" not in self.dataset.file_meta:
                self.dataset.file_meta.TransferSyntaxUID = _native_syntax(self.dataset)
            _check_header(self.dataset)

    @cached_property
    def frames(self) -> int:
        """Number of frames that the header states and the pixel data can hold."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stated = _stated_frames(self.dataset)
            held = stated if stated == 1 else _held_frames(self.dataset)
        if stated > held:
            raise DataError(f"the header states {stated} frames and the pixel data hold {held}")
        return stated

    def picture(self, frame: int | None = None) -> Picture:
        """Decode one frame.

        Args:
            frame: its number from 0; None for files with a single frame.

        Raises:
            DataError: a frame that isn't there, or pixels that can't be shown.
            Exception: whatever the decoder of the transfer syntax raises on damaged data.
        """
        header = self.dataset
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values, display = _shown(header, self._checked(frame))
            identity = _text(header, "PatientID"), _text(header, "StudyInstanceUID")
            return Picture(values, display, _burned_in(header), *identity)

    def _checked(self, frame: int | None) -> int:
        if frame is None and self.frames > 1:
            raise DataError(
                f"{self.frames} frames; name the manifest's frame column in the key 'frame', or set "
                "'all_frames'"
            )
        if frame is not None and frame >= self.frames:
            raise DataError(f"frame {frame} of {self.frames}; frames count from 0")
        return frame or 0


def _native_syntax(dataset: Dataset) -> UID:
    """The uncompressed transfer syntax that a file without meta header was parsed with."""
    implicit, little_endian = dataset.original_encoding
    if not little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _check_header(dataset: Dataset) -> None:
    if not any(name in dataset for name in PIXEL_ELEMENTS):
        raise DataError("no pixel data in the file")
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    samples = dataset.get("SamplesPerPixel", 1)
    if not all(isinstance(value, int) and value > 0 for value in (rows, columns, samples)):
        raise DataError(
            f"{rows} rows x {columns} columns x {samples} samples; allowed: at least 1 of each"
        )
    if rows * columns * samples > MOST_SAMPLES:
        raise DataError(
            f"{rows} rows x {columns} columns x {samples} samples; allowed: at most {MOST_SAMPLES}"
        )


def _stated_frames(dataset: Dataset) -> int:
    stated = int(dataset.get("NumberOfFrames") or 1)
    if stated < 1:
        raise DataError(f"the header states {stated} frames; allowed: at least 1")
    return stated


def _held_frames(dataset: Dataset) -> int:
    """The most frames that the pixel data can hold: fragments, or bytes over the bytes of a frame."""
    element = next(name for name in PIXEL_ELEMENTS if name in dataset)
    data = dataset[element].value
    if dataset.file_meta.TransferSyntaxUID.is_compressed and element == "PixelData":
        return sum(1 for _ in generate_fragments(data)) - 1  # the first is the offset table
    if element != "PixelData":
        width = 4 if element == "FloatPixelData" else 8
        return int(len(data) // (dataset.Rows * dataset.Columns * width))
    return int(len(data) * _stated_frames(dataset) // get_expected_length(dataset))


def _burned_in(dataset: Dataset) -> str:
    stated = str(dataset.get("BurnedInAnnotation") or "").strip().lower()
    return stated if stated in ("yes", "no") else ""


def _text(dataset: Dataset, name: str) -> str | None:
    return str(dataset.get(name) or "").strip() or None


def _shown(dataset: Dataset, frame: int) -> tuple[np.ndarray, DisplayRange]:
    """One frame's values for display and what gave their range."""
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in (*GREY, *COLOUR):
        # a damaged header can have anything here, so only known terms are quoted
        found = photometric if photometric in RETIRED else "unknown"
        raise DataError(f"photometric interpretation {found}; allowed: {', '.join((*GREY, *COLOUR))}")
    stored = stored_values(dataset, frame)
    if photometric == "PALETTE COLOR":
        return _palette(stored, dataset), "full range"
    if stored.ndim == 3:
        return _colour(stored, int(dataset.BitsStored)), "full range"
    rules = grey_rules(dataset, frame)
    return display_values(stored, rules), rules.range_name


def stored_values(dataset: Dataset, frame: int) -> np.ndarray:
    """Decode a frame: H x W or H x W x 3, colours as RGB; values above the lowest bits shifted down."""
    decoder = _decoder(dataset, frame)
    bits = int(dataset.get("BitsStored", 1))
    shift = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    if shift > 0 and dataset.get("SamplesPerPixel") == 1:
        return _decoded(dataset, frame, decoder, bits + shift) >> shift
    if decoder == "gdcm" and bits < 8:
        # GDCM ends the process when the stream is deeper than the header says
        return _decoded(dataset, frame, decoder, 8)
    if dataset.get("BitsAllocated") == 1 and dataset.Rows * dataset.Columns % 8:
        # such frames begin within a byte, where pydicom can't begin
        return pixel_array(dataset).reshape(-1, dataset.Rows, dataset.Columns)[frame]
    return pixel_array(dataset, index=frame, decoding_plugin=decoder)


def _decoded(dataset: Dataset, frame: int, decoder: str, bits: int) -> np.ndarray:
    """Decode a frame as if the header stated so many bits."""
    stated = dataset.BitsStored
    dataset.BitsStored = bits
    try:
        return pixel_array(dataset, index=frame, decoding_plugin=decoder)
    finally:
        dataset.BitsStored = stated


def _decoder(dataset: Dataset, frame: int) -> str:
    """The best of the installed decoders of the file's transfer syntax; empty for native pixels."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return ""
    installed = get_decoder(syntax).available_plugins
    order = DECODERS.get(syntax, installed)
    if syntax == JPEGExtended12Bit and dataset.get("BitsStored", 8) > 8:
        order = ("pylibjpeg",)
    chosen = next((name for name in order if name in installed), None)
    if chosen is None:
        raise DataError(
            f"no decoder is installed for {syntax.name} with {dataset.get('BitsStored')} bits; "
            "pylibjpeg-libjpeg (GPL) is one"
        )
    if chosen in ("gdcm", "pyjpegls"):
        _check_complete(dataset, frame)
    return chosen


def _check_complete(dataset: Dataset, frame: int) -> None:
    """Refuse a JPEG stream without end marker: GDCM's answer isn't reliable, CharLS takes seconds."""
    frames = _stated_frames(dataset)
    encoded = pydicom.encaps.get_frame(dataset.PixelData, frame, number_of_frames=frames)
    if END_OF_IMAGE not in encoded[-16:]:
        raise DataError("the compressed image ends early: it has no end marker")


def _colour(stored: np.ndarray, bits: int) -> np.ndarray:
    """uint8 for the usual 8 bits; else float32 in [0, 1]."""
    if stored.dtype == np.uint8 and bits == 8:
        return stored
    return np.clip(stored.astype(np.float32) / np.float32(2**bits - 1), 0.0, 1.0)


def _palette(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Indices to colours, H x W x 3; indices outside take the table's ends."""
    table, first = palette(dataset)
    places = np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)
    return _colour(table, 8 * table.dtype.itemsize)[places]


def grey_rules(dataset: Dataset, frame: int) -> GreyRules:
    """The display rules of a grey frame; functional groups of the frame come before the header's."""
    modality = _modality(dataset, frame)
    voi, range_name = _voi(dataset, frame, _is_ever_negative(dataset, modality))
    full_range = None
    if voi is None and modality is None and _is_ready(dataset):
        full_range, range_name = 2 ** int(dataset.BitsStored) - 1, "full range"
    return GreyRules(modality, voi, range_name, _is_inverse(dataset), _padding(dataset), full_range)


def _is_ready(dataset: Dataset) -> bool:
    """Unsigned values of up to 8 bits without a word on display are meant to be shown as they are."""
    return "PixelData" in dataset and dataset.BitsStored <= 8 and not dataset.PixelRepresentation


def _holder(dataset: Dataset, frame: int, sequence: str, name: str) -> Dataset | None:
    """What holds attribute ``name`` for a frame: its functional group, the shared one, the header."""
    groups = [*(dataset.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1],
              *(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]]  # fmt: skip
    items = [item for group in groups for item in (group.get(sequence) or [])[:1]]
    return next((item for item in (*items, dataset) if item.get(name) not in (None, "")), None)


def _modality(dataset: Dataset, frame: int) -> Transform | None:
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = lut(dataset.ModalityLUTSequence[0])
        signed_first = signed(first) if dataset.get("PixelRepresentation") else first
        return lambda stored: look_up(stored, table, signed_first)
    holder = _holder(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope")
    if holder is None:
        return None
    slope, intercept = float(holder.RescaleSlope), float(holder.get("RescaleIntercept") or 0.0)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise DataError(
            f"rescale slope {slope} and intercept {intercept}; allowed: finite, slope not 0"
        )
    if (slope, intercept) == (1.0, 0.0):
        return None
    return lambda stored: stored * slope + intercept


def _is_ever_negative(dataset: Dataset, modality: Transform | None) -> bool:
    """Whether some possible stored value has a negative modality value."""
    if "PixelData" not in dataset:
        return True
    span = 2 ** int(dataset.BitsStored)
    lowest = -span // 2 if dataset.PixelRepresentation else 0
    ends = np.array([lowest, lowest + span - 1])
    return bool(np.min(ends if modality is None else modality(ends)) < 0)


def _voi(dataset: Dataset, frame: int, negative: bool) -> tuple[Transform | None, DisplayRange]:
    """VOI LUT, else the first window, each the default presentation of a list of alternatives."""
    if dataset.get("VOILUTSequence"):
        table, first, bits = lut(dataset.VOILUTSequence[0])
        start = signed(first) if negative else first
        return _voi_lut(table, start, bits), "voi lut"
    holder = _holder(dataset, frame, "FrameVOILUTSequence", "WindowCenter")
    if holder is None or holder.get("WindowWidth") in (None, ""):
        return None, "percentiles"
    center, width = _first(holder.WindowCenter), _first(holder.WindowWidth)
    function = str(holder.get("VOILUTFunction") or "LINEAR")
    if not is_window(center, width, function):
        # scanners write a width of 0 for "no window"
        return None, "percentiles"
    return lambda values: window(values, center, width, function), "window"


def _voi_lut(table: np.ndarray, first: int, bits: int) -> Transform:
    return lambda values: np.clip(look_up(values, table, first) / (2**bits - 1), 0.0, 1.0)


def _first(value: Any) -> float:
    """Windows may be lists of alternatives; the first is the default presentation."""
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)


def _is_inverse(dataset: Dataset) -> bool:
    """PresentationLUTShape decides where present (PS3.3 C.11.6); MONOCHROME1 otherwise."""
    shape = dataset.get("PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE"):
        return bool(shape == "INVERSE")
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1")


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    """The range of stored values that pad the image (PS3.3 C.7.5.1.1.2), lowest first."""
    element = next(name for name in PIXEL_ELEMENTS if name in dataset)
    prefix = element.removesuffix("Data")
    value = dataset.get(f"{prefix}PaddingValue")
    if not isinstance(value, int | float):
        return None
    limit = dataset.get(f"{prefix}PaddingRangeLimit")
    ends = [value, limit if isinstance(limit, int | float) else value]
    if element == "PixelData" and dataset.get("PixelRepresentation"):
        # implicit VR files give signed values as unsigned words
        ends = [signed(int(end)) for end in ends]
    return min(ends), max(ends)
