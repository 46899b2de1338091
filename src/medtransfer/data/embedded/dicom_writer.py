"""Writing phantoms as DICOM files in the variety that hospitals produce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

# Made UIDs live under the root of UUID-derived identifiers (PS3.5 B.2): no registered organisation.
UID_ROOT = "2.25."


@dataclass(frozen=True)
class Acquisition:
    """How stored values encode brightness."""

    syntax: UID
    bits: int
    inverted: bool
    slope: float
    intercept: float
    windowed: bool

    @classmethod
    def draw(cls, site: str, generator: np.random.Generator) -> Acquisition:
        """Site A mostly stores 12 bits as MONOCHROME2, site B mostly 10 bits as MONOCHROME1."""
        syntaxes = [
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            RLELossless,
            JPEGLSLossless,
            JPEG2000Lossless,
        ]
        rescaled = generator.random() < 0.3
        return cls(
            syntax=syntaxes[int(generator.integers(len(syntaxes)))],
            bits=int(generator.choice([12, 14, 16] if site == "A" else [8, 10, 12])),
            inverted=bool(generator.random() < (0.2 if site == "A" else 0.8)),
            slope=float(generator.choice([0.5, 2.0])) if rescaled else 1.0,
            intercept=-1024.0 if rescaled else 0.0,
            windowed=bool(generator.random() < 0.8),
        )


def write_dicom(
    path: Path,
    brightness: np.ndarray,
    acquisition: Acquisition,
    identity: tuple[str, str, str, int],
    generator: np.random.Generator,
) -> None:
    """Store a picture so that a correct reader shows ``brightness`` again.

    Args:
        path: the file to write.
        brightness: float in [0, 1], H x W.
        acquisition: encoding of the stored values.
        identity: name, patient id, sex and age in years for the header.
        generator: source of the file's unique identifier.
    """
    values = 1.0 - brightness if acquisition.inverted else brightness
    largest = 2**acquisition.bits - 1
    dtype = np.uint8 if acquisition.bits <= 8 else np.uint16
    stored = np.rint(values * largest).astype(dtype)
    dataset = _header(path, identity, generator)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if acquisition.inverted else "MONOCHROME2"
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = acquisition.bits, acquisition.bits - 1
    dataset.PixelRepresentation = 0
    if acquisition.slope != 1.0 or acquisition.intercept != 0.0:
        dataset.RescaleSlope = str(acquisition.slope)
        dataset.RescaleIntercept = str(acquisition.intercept)
    if acquisition.windowed:
        _add_window(dataset, largest * acquisition.slope, acquisition.intercept)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if dtype is np.uint8 else "OW"
    if acquisition.syntax.is_compressed:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # the encoder is named, since the default order depends on what is installed
        plugin = "pylibjpeg" if acquisition.syntax in (RLELossless, JPEG2000Lossless) else "pyjpegls"
        dataset.compress(acquisition.syntax, encoding_plugin=plugin, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = acquisition.syntax
    dataset.save_as(path, enforce_file_format=True)


def _add_window(dataset: FileDataset, span: float, intercept: float) -> None:
    """The window that shows the whole range; a second, narrower one is only an alternative."""
    center, width = intercept + (span + 1) / 2, span + 1
    dataset.WindowCenter = [f"{center:.10g}", f"{center:.10g}"]
    dataset.WindowWidth = [f"{width:.10g}", f"{width / 2:.10g}"]


def _header(
    path: Path, identity: tuple[str, str, str, int], generator: np.random.Generator
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = UID(UID_ROOT + str(int(generator.integers(1, 2**62))))
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CR"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = identity[:3]
    dataset.PatientAge = f"{identity[3]:03d}Y"
    return dataset
