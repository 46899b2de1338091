"""Real files in twins that differ in encoding only: those of pydicom, and of pydicom-data."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import fixture, picture, read_fixture
from pydicom import dcmread
from pydicom.pixels import pixel_array

MR = ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"]
# one file and its other encodings, all of which keep every bit
EXACT = {
    "MR_small.dcm": [f"MR_small_{name}.dcm" for name in MR],
    "SC_rgb_small_odd.dcm": ["SC_rgb_small_odd_big_endian.dcm"],
    "liver_1frame.dcm": ["liver_expb_1frame.dcm"],
    "rtdose_1frame.dcm": ["rtdose_expb_1frame.dcm", "rtdose_rle_1frame.dcm"],
    # of pydicom-data; UNCI is the irreversible J2KI after its decoding by another program
    "693_UNCR.dcm": ["693_J2KR.dcm"],
    "693_UNCI.dcm": ["693_J2KI.dcm"],
    "MR2_UNCR.dcm": ["MR2_J2KR.dcm"],
    "MR2_UNCI.dcm": ["MR2_J2KI.dcm"],
    "RG1_UNCR.dcm": ["RG1_J2KR.dcm"],
    "RG1_UNCI.dcm": ["RG1_J2KI.dcm"],
    "RG3_UNCR.dcm": ["RG3_J2KR.dcm"],
    "RG3_UNCI.dcm": ["RG3_J2KI.dcm"],
    "US1_UNCR.dcm": ["US1_J2KR.dcm", "examples_jpeg2k.dcm"],
    "US1_UNCI.dcm": ["US1_J2KI.dcm"],
    "JPEG2000_UNC.dcm": ["JPEG2000.dcm"],
    "OBXXXX1A.dcm": ["OBXXXX1A_expb.dcm", "OBXXXX1A_rle.dcm"],
    "gdcm-US-ALOKA-16.dcm": ["gdcm-US-ALOKA-16_big.dcm"],
    "color-pl.dcm": ["color-px.dcm"],
    "SC_rgb.dcm": [
        "SC_rgb_expb.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_gdcm2k_uncompressed.dcm",
    ],
    "SC_rgb_16bit.dcm": ["SC_rgb_expb_16bit.dcm", "SC_rgb_rle_16bit.dcm"],
    "SC_rgb_32bit.dcm": ["SC_rgb_expb_32bit.dcm", "SC_rgb_rle_32bit.dcm"],
    # decoded by DCMTK
    "SC_rgb_dcmtk_ebcr_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cr.dcm"],
    "SC_rgb_dcmtk_ebcyn1_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cy+n1.dcm"],
    "SC_rgb_dcmtk_ebcyn2_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cy+n2.dcm"],
    "SC_rgb_dcmtk_ebcynp_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cy+np.dcm"],
    "SC_rgb_dcmtk_ebcys2_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cy+s2.dcm"],
    "SC_rgb_dcmtk_ebcys4_dcmd.dcm": ["SC_rgb_dcmtk_+eb+cy+s4.dcm"],
    "SC_rgb_jpeg_dcmd.dcm": ["SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm"],
}
FRAMES = {
    "rtdose.dcm": (15, ["rtdose_expb.dcm", "rtdose_rle.dcm"]),
    "emri_small.dcm": (
        10,
        [
            "emri_small_RLE.dcm",
            "emri_small_big_endian.dcm",
            "emri_small_jpeg_2k_lossless.dcm",
            "emri_small_jpeg_ls_lossless.dcm",
        ],
    ),
    "liver.dcm": (3, ["liver_expb.dcm"]),
    "OBXXXX1A_2frame.dcm": (2, ["OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_rle_2frame.dcm"]),
    "SC_rgb_2frame.dcm": (2, ["SC_rgb_expb_2frame.dcm", "SC_rgb_rle_2frame.dcm"]),
    "SC_rgb_16bit_2frame.dcm": (2, ["SC_rgb_expb_16bit_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"]),
    "SC_rgb_32bit_2frame.dcm": (2, ["SC_rgb_expb_32bit_2frame.dcm", "SC_rgb_rle_32bit_2frame.dcm"]),
}
# the most and the mean difference of 255 levels that a lossy encoding may make
LOSSY = [
    ("SC_rgb.dcm", "SC_ybr_full_422_uncompressed.dcm", 6, 0.6),
    ("SC_rgb.dcm", "SC_ybr_full_uncompressed.dcm", 6, 0.6),
    ("SC_rgb.dcm", "SC_rgb_jls_lossy_line.dcm", 2, 0.8),
    ("SC_rgb.dcm", "SC_rgb_jls_lossy_sample.dcm", 2, 0.8),
    ("SC_rgb.dcm", "SC_rgb_jpeg_dcmtk.dcm", 6, 0.6),
    ("SC_rgb.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", 80, 3),
    ("SC_rgb.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", 3, 0.2),
    ("SC_rgb.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", 6, 0.6),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", 5, 2),
    ("MR2_UNCR.dcm", "MR2_J2KI.dcm", 20, 2),
    ("RG1_UNCR.dcm", "RG1_J2KI.dcm", 5, 0.5),
    ("RG3_UNCR.dcm", "RG3_J2KI.dcm", 5, 0.3),
    ("US1_UNCR.dcm", "US1_J2KI.dcm", 130, 2),
]


@pytest.mark.parametrize(
    ("one", "other"), [(one, other) for one, others in EXACT.items() for other in others]
)
def test_a_lossless_encoding_changes_no_pixel(one, other):
    expected = read_fixture(one)
    assert expected.std() > 0.5
    np.testing.assert_array_equal(read_fixture(other), expected)


@pytest.mark.parametrize(
    ("one", "frames", "other"),
    [(one, frames, other) for one, (frames, others) in FRAMES.items() for other in others],
)
def test_a_lossless_encoding_changes_no_pixel_of_any_frame(one, frames, other):
    seen = []
    for frame in range(frames):
        expected = read_fixture(one, frame)
        np.testing.assert_array_equal(read_fixture(other, frame), expected)
        seen.append(expected.tobytes())
    assert len(set(seen)) == frames


@pytest.mark.parametrize(("one", "other", "most", "mean"), LOSSY)
def test_a_lossy_encoding_changes_little(one, other, most, mean):
    difference = np.abs(read_fixture(one) - read_fixture(other))
    assert 0 < difference.max() <= most
    assert difference.mean() <= mean


@pytest.mark.parametrize(
    ("name", "bands"),
    [
        ("JPEGLSNearLossless_08.dcm", [255, 125, 65, 30, 15, 5, 5, 0, 0]),
        ("JPEGLSNearLossless_16.dcm", [65535, 32765, 16385, 4095, 1025, 255, 65, 15, 5, 0]),
    ],
)
def test_near_lossless_jpeg_ls_is_the_bands_that_gdcm_reads(name, bands):
    dataset = dcmread(fixture(name))
    columns = np.repeat(np.array(bands)[:, None], 5, axis=0).repeat(10, axis=1)
    np.testing.assert_array_equal(pixel_array(dataset, decoding_plugin="gdcm"), columns)
    found = picture(fixture(name).read_bytes())
    assert found.display == ("full range" if dataset.BitsStored == 8 else "percentiles")
    # with so many values at either end, the percentiles are the ends
    np.testing.assert_allclose(found.values, columns / bands[0], atol=1e-6)


def test_the_first_frame_of_a_file_is_the_file_of_that_frame():
    np.testing.assert_array_equal(read_fixture("rtdose.dcm", 0), read_fixture("rtdose_1frame.dcm"))
    np.testing.assert_array_equal(read_fixture("liver.dcm", 0), read_fixture("liver_1frame.dcm"))
    np.testing.assert_array_equal(read_fixture("OBXXXX1A_2frame.dcm", 0), read_fixture("OBXXXX1A.dcm"))


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_UNCR.dcm"])
def test_real_monochrome1_is_the_negative_of_its_window(name):
    dataset = dcmread(fixture(name))
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    shown = np.clip((pixel_array(dataset) - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    np.testing.assert_allclose(read_fixture(name), 255 - 255 * shown, atol=1e-3)
