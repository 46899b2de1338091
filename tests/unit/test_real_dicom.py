"""Real DICOM files in twins that differ in encoding only. Skipped where the files are absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medtransfer.data.images import open_source

FOLDER = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent")) / "dicom_mixed"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="MEDTRANSFER_REAL_DATA has no dicom_mixed"),
]
TWINS = [
    ("693_UNCR.dcm", "693_J2KR.dcm"),
    ("US1_UNCR.dcm", "US1_J2KR.dcm"),
    ("MR_small.dcm", "MR_small_RLE.dcm"),
    ("MR_small.dcm", "MR_small_bigendian.dcm"),
    ("MR_small.dcm", "MR_small_implicit.dcm"),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
    ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
    ("color-pl.dcm", "color-px.dcm"),
    ("US1_UNCR.dcm", "US1_J2KR.dcm"),
]


def read(name: str, frame: int | None = None) -> np.ndarray:
    values = open_source(FOLDER / name).picture(frame).values
    return values if values.dtype == np.uint8 else values * 255


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_the_encoding_of_an_image_changes_no_pixel(one, other):
    image = read(one)
    assert image.std() > 5
    np.testing.assert_array_equal(image, read(other))


@pytest.mark.parametrize("frame", [0, 4, 9])
def test_frames_of_an_enhanced_mr_are_the_same_in_every_encoding(frame):
    image = read("emri_small.dcm", frame)
    np.testing.assert_array_equal(image, read("emri_small_RLE.dcm", frame))
    np.testing.assert_array_equal(image, read("emri_small_big_endian.dcm", frame))


@pytest.mark.parametrize(
    ("name", "bone", "air"),
    [
        ("RG1_J2KI.dcm", (0.30, 0.48), (0.27, 0.32)),  # spine, lung
        ("RG3_J2KI.dcm", (0.50, 0.52), (0.50, 0.30)),  # shin, beside the leg
    ],
)
def test_monochrome1_radiographs_show_bone_brighter_than_air(name, bone, air):
    image = read(name)

    def brightness(place: tuple[float, float]) -> float:
        row, column = (round(share * side) for share, side in zip(place, image.shape, strict=True))
        return float(image[row - 15 : row + 15, column - 15 : column + 15].mean())

    assert brightness(bone) > brightness(air) + 40


def test_a_truncated_file_raises():
    with pytest.raises(ValueError, match="less than expected"):
        read("MR_truncated.dcm")
