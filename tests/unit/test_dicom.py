"""DICOM to display values: window and VOI LUT, inversion, padding, syntaxes, frames, colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from dicom_files import encoded, image, levels, lut, read_dicom, shown, stretched
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medtransfer.data.display import percentile_range, window
from medtransfer.data.embedded.dicom_writer import Acquisition
from medtransfer.data.images import EncodedFile
from medtransfer.errors import DataError

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]
RAMP = (np.arange(64, dtype=np.uint16) * 65).reshape(8, 8)


def decode_image(content: bytes, name: str) -> np.ndarray:
    return levels(EncodedFile(content, name).picture().values)


# window


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (40, 400), (1000.5, 30.0), (3900, 700)])
def test_window_is_that_of_pydicom(function, center, width):
    values = np.arange(4096, dtype=np.float64)
    dataset = image(values.astype(np.uint16)[None], 12, VOILUTFunction=function)
    dataset.WindowCenter, dataset.WindowWidth = center, width
    expected = apply_windowing(values, dataset) / 4095
    np.testing.assert_allclose(window(values, center, width, function), expected, atol=1e-12)


def test_linear_windows_follow_the_standard_at_their_edges():
    # PS3.3 C.11.2.1.2.1, c=2048, w=4096: 0 is the lowest value, 4095 the highest
    np.testing.assert_allclose(window(np.array([0.0, 4095.0]), 2048, 4096), [0, 1])
    # c=0, w=100: from -50 to 49
    np.testing.assert_allclose(window(np.array([-51.0, -50, 49, 50]), 0, 100), [0, 0, 1, 1])
    assert 0 < window(np.array([-49.0]), 0, 100)[0] < window(np.array([48.0]), 0, 100)[0] < 1
    # C.11.2.1.3.2, LINEAR_EXACT: from -50 to 50, the middle is 0
    exact = window(np.array([-50.0, 0, 50]), 0, 100, "LINEAR_EXACT")
    np.testing.assert_allclose(exact, [0, 0.5, 1])


def test_a_linear_window_of_width_one_is_a_threshold():
    np.testing.assert_array_equal(window(np.array([98.0, 99.0, 100.0]), 99.5, 1.0), [0, 0, 1])


def test_a_sigmoid_far_from_its_centre_does_not_overflow():
    with np.errstate(over="raise"):
        found = window(np.array([-1e6, 0.0, 1e6]), 0, 1, "SIGMOID")
    np.testing.assert_allclose(found, [0, 0.5, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("width", "function"),
    [(0.5, "LINEAR"), (0, "LINEAR"), (0, "LINEAR_EXACT"), (-1, "SIGMOID"), (10, "CUBIC")],
)
def test_a_window_without_meaning_is_refused_with_what_is_allowed(width, function):
    with pytest.raises(
        DataError, match=f"width {width}, or its VOI LUT function; allowed: LINEAR with"
    ):
        window(np.zeros(3), 10, width, function)


# grey images


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.5, 10), (-1, 500)])
def test_a_grey_image_is_rescaled_then_windowed(function, kind, slope, intercept):
    stored = (RAMP.astype(np.int64) - (2048 if kind is np.int16 else 0)).astype(kind)
    middle = float(np.median(stored)) * slope + intercept
    tags = {"WindowCenter": middle, "WindowWidth": 1000, "VOILUTFunction": function}
    tags |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
    dataset = image(stored, 12, **tags)
    smallest, largest = (-2048, 2047) if kind is np.int16 else (0, 4095)
    ends = np.array([smallest, largest]) * slope + intercept
    expected = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    expected = (expected - ends[0]) / (ends[1] - ends[0]) * 255
    found = read_dicom(encoded(dataset))
    assert found.dtype == np.float32
    assert len(np.unique(found)) > 3
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_modality_table_is_looked_up_before_the_window():
    entries = np.arange(4096)[::-1]
    dataset = image(RAMP, 12, ModalityLUTSequence=[lut(entries, 0, 16)])
    dataset.ModalityLUTSequence[0].ModalityLUTType = "US"
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    expected = (4095 - RAMP.astype(np.float64)) / 4095 * 255
    np.testing.assert_allclose(read_dicom(encoded(dataset)), expected, atol=1e-4)


def test_the_first_of_several_windows_is_taken():
    two = shown(RAMP, 12, WindowCenter=[1000, 40], WindowWidth=[800, 80])
    np.testing.assert_array_equal(two, shown(RAMP, 12, WindowCenter=1000, WindowWidth=800))
    assert not np.allclose(two, shown(RAMP, 12, WindowCenter=40, WindowWidth=80))


def test_inversion_comes_after_the_window_not_before():
    stored = np.array([[150, 180, 200, 249]], dtype=np.uint16)
    tags = {"WindowCenter": 200, "WindowWidth": 101, "PhotometricInterpretation": "MONOCHROME1"}
    # LINEAR, c=200, w=101: (v - 199.5) / 100 + 0.5; of 4095 - v it would be 1 throughout
    expected = 255 * (1 - np.array([[0.005, 0.305, 0.505, 0.995]]))
    np.testing.assert_allclose(shown(stored, 12, **tags), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME1", "", True),
    ],
)
def test_the_presentation_shape_decides_inversion_and_never_twice(photometric, shape, inverted):
    tags = {"PhotometricInterpretation": photometric, "WindowCenter": 2048, "WindowWidth": 4096}
    if shape is not None:
        tags["PresentationLUTShape"] = shape
    upright = RAMP.astype(np.float64) / 4095 * 255
    expected = 255 - upright if inverted else upright
    np.testing.assert_allclose(shown(RAMP, 12, **tags), expected, atol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_inversion_follows_every_window_function(function):
    tags = {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": function}
    inverse = shown(RAMP, 12, PhotometricInterpretation="MONOCHROME1", **tags)
    np.testing.assert_allclose(inverse, 255 - shown(RAMP, 12, **tags), atol=1e-3)


# VOI tables


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("representation", ["US", "OW"])
def test_a_voi_table_is_looked_up_as_pydicom_does(representation, syntax):
    entries = np.round(np.linspace(0, 1, 1500) ** 2 * 4095)
    dataset = image(RAMP, 12, VOILUTSequence=[lut(entries, 700, 12, representation)])
    expected = apply_voi_lut(RAMP, image(RAMP, 12, VOILUTSequence=[lut(entries, 700, 12)]))
    found = read_dicom(encoded(dataset, syntax))
    np.testing.assert_allclose(found, expected / 4095 * 255, atol=1e-3)


def test_values_outside_of_a_voi_table_take_its_ends():
    stored = np.array([[0, 99, 100, 101, 102, 103, 900]], dtype=np.uint16)
    item = lut(np.array([10, 20, 255]), 100, 8)
    found = shown(stored, 12, VOILUTSequence=[item])
    np.testing.assert_allclose(found, [[10, 10, 10, 20, 255, 255, 255]], atol=1e-4)


def test_a_voi_table_comes_before_a_window_and_only_its_first_item_counts():
    item, other = lut(np.arange(4096), 0, 12), lut(np.zeros(4096), 0, 12)
    tags = {"WindowCenter": 40, "WindowWidth": 80}
    found = shown(RAMP, 12, VOILUTSequence=[item, other], **tags)
    np.testing.assert_allclose(found, RAMP / 4095 * 255, atol=1e-3)


def test_a_voi_table_is_applied_to_rescaled_values_and_then_inverted():
    item = lut(np.arange(4096), 0, 12)
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": 0, "VOILUTSequence": [item]}
    found = shown(RAMP, 12, PhotometricInterpretation="MONOCHROME1", **tags)
    expected = 255 - np.rint(RAMP * 0.5) / 4095 * 255
    np.testing.assert_allclose(found, expected, atol=1e-3)


# no stated display range


def test_without_window_the_percentiles_of_the_image_are_its_range():
    stored = np.random.default_rng(0).integers(500, 1500, (20, 20)).astype(np.uint16)
    np.testing.assert_allclose(shown(stored, 12), stretched(stored, stored), atol=1e-3)


def test_padding_is_kept_out_of_the_percentiles():
    stored = np.random.default_rng(0).integers(500, 1500, (20, 20)).astype(np.int16)
    stored[:, :8] = -2000
    dataset = image(stored, 16, RescaleSlope=2, RescaleIntercept=100)
    dataset.add_new(0x00280120, "SS", -2000)
    values = stored * 2.0 + 100
    found = read_dicom(encoded(dataset))
    np.testing.assert_allclose(found, stretched(values, values[:, 8:]), atol=1e-3)
    assert (found[:, :8] == 0).all()
    assert not np.allclose(found, stretched(values, values))


def test_an_image_of_padding_only_is_black():
    dataset = image(np.full((4, 4), 7, dtype=np.uint16), 12)
    dataset.add_new(0x00280120, "US", 7)
    assert (read_dicom(encoded(dataset)) == 0).all()


def test_percentiles_of_an_almost_flat_image_fall_back_to_its_extremes():
    values = np.zeros((100, 100))
    values[0, 0] = 5.0
    expected = np.zeros((100, 100))
    expected[0, 0] = 1.0
    np.testing.assert_array_equal(percentile_range(values), expected)
    np.testing.assert_array_equal(percentile_range(np.full((3, 3), 9.0)), np.zeros((3, 3)))


def test_half_a_window_is_no_window():
    stored = np.random.default_rng(0).integers(500, 1500, (20, 20)).astype(np.uint16)
    np.testing.assert_allclose(shown(stored, 12, WindowCenter=40), stretched(stored, stored), atol=1e-3)


# encodings


def test_the_writer_draws_exactly_the_syntaxes_tested_here():
    generator = np.random.default_rng(0)
    drawn = {Acquisition.draw(site, generator).syntax for site in "AB" for _ in range(100)}
    assert drawn == set(SYNTAXES)


@pytest.mark.parametrize("syntax", SYNTAXES[1:], ids=lambda uid: uid.name)
@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 10), (np.uint16, 16)])
def test_every_syntax_gives_the_same_values(syntax, kind, bits):
    stored = np.random.default_rng(0).integers(0, 2**bits, (33, 35)).astype(kind)
    tags = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    found = read_dicom(encoded(image(stored, bits, **tags), syntax))
    np.testing.assert_array_equal(found, shown(stored, bits, **tags))
    np.testing.assert_allclose(found, stored / (2**bits - 1) * 255, atol=1e-3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_signed_values_survive_compression(syntax):
    stored = np.random.default_rng(0).integers(-1000, 1000, (33, 35)).astype(np.int16)
    tags = {"WindowCenter": 0, "WindowWidth": 2000}
    found = read_dicom(encoded(image(stored, 16, **tags), syntax))
    np.testing.assert_array_equal(found, shown(stored, 16, **tags))


def test_big_endian_gives_the_same_values():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    dataset = image(RAMP, 12, **tags)
    dataset.PixelData = RAMP.astype(">u2").tobytes()
    found = read_dicom(encoded(dataset, ExplicitVRBigEndian))
    np.testing.assert_array_equal(found, shown(RAMP, 12, **tags))


def test_values_in_the_upper_bits_give_the_same_image():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    found = shown(RAMP << 4, 12, HighBit=15, **tags)
    np.testing.assert_array_equal(found, shown(RAMP, 12, **tags))


def test_bits_above_the_stored_ones_do_not_matter():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    dirty = RAMP | np.uint16(0xA000)
    np.testing.assert_array_equal(shown(dirty, 12, **tags), shown(RAMP, 12, **tags))


def test_a_file_without_preamble_is_read():
    content = encoded(image(RAMP, 12, WindowCenter=2048, WindowWidth=4096))
    assert content[128:132] == b"DICM"
    found = decode_image(content[132:], "image.dcm")
    np.testing.assert_array_equal(found, read_dicom(content))


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_meta_header_is_read(implicit):
    dataset = image(RAMP, 12, WindowCenter=2048, WindowWidth=4096)
    expected = read_dicom(encoded(dataset))
    del dataset.file_meta
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(decode_image(file.getvalue(), "image.dcm"), expected)


# frames


FRAMES = np.stack([np.full((4, 6), value, dtype=np.uint8) for value in (10, 20, 30)])


def frames() -> bytes:
    dataset = image(FRAMES[0], 8, WindowCenter=128, WindowWidth=256, NumberOfFrames=3)
    dataset.PixelData = FRAMES.tobytes()
    return encoded(dataset)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_the_frame_that_is_asked_for_is_read(frame):
    np.testing.assert_allclose(read_dicom(frames(), frame), FRAMES[frame], atol=1e-4)


def test_several_frames_need_a_frame_number():
    with pytest.raises(DataError, match=r"3 frames; name the manifest's frame column in .* 'frame'"):
        read_dicom(frames())


def test_a_frame_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="frame 3 of 3; frames count from 0"):
        read_dicom(frames(), 3)
    with pytest.raises(DataError, match="frame 1 of 1"):
        read_dicom(encoded(image(RAMP, 12)), 1)


def test_the_only_frame_may_be_named():
    content = encoded(image(RAMP, 12, WindowCenter=900, WindowWidth=1000))
    np.testing.assert_array_equal(read_dicom(content, 0), read_dicom(content))


# colour


def test_rgb_is_kept_as_it_is():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    found = shown(colours)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, colours)


def test_colour_planes_give_the_same_as_colour_pixels():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    dataset = image(colours, PlanarConfiguration=1)
    dataset.PixelData = np.ascontiguousarray(colours.transpose(2, 0, 1)).tobytes() + b"\0"
    np.testing.assert_array_equal(read_dicom(encoded(dataset)), colours)


def test_deep_colour_is_scaled_by_its_bits():
    colours = np.array([[[0, 512, 1023]]], dtype=np.uint16)
    np.testing.assert_allclose(shown(colours, 10), [[[0, 512 / 1023 * 255, 255]]], atol=1e-4)


def test_ybr_becomes_rgb():
    # JFIF: red is (76, 85, 255), green (150, 44, 21), grey has no chroma
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [90, 128, 128]]], dtype=np.uint8)
    found = shown(ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(found, [[[255, 0, 0], [0, 255, 0], [90, 90, 90]]], atol=2)


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_palette_indices_become_their_colours(bits, scale):
    colours = np.array([[0, 10, 20], [250, 0, 5], [3, 200, 255], [9, 9, 9]], dtype=np.uint16)
    stored = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    dataset = image(stored, PhotometricInterpretation="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        table = (colours[:, channel] * scale).astype("<u2" if bits == 16 else "u1")
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    found = read_dicom(encoded(dataset))
    np.testing.assert_allclose(found, colours[stored], atol=1e-3)


# damaged files


def test_a_file_without_pixels_is_refused():
    dataset = image(RAMP, 12)
    del dataset.PixelData
    with pytest.raises(DataError, match="no pixel data in the file"):
        read_dicom(encoded(dataset))


def test_missing_pixels_raise():
    dataset = image(RAMP, 12)
    dataset.PixelData = RAMP.tobytes()[:-20]
    with pytest.raises(ValueError, match="number of bytes of pixel data is less than expected"):
        read_dicom(encoded(dataset))


@pytest.mark.parametrize("syntax", SYNTAXES[2:], ids=lambda uid: uid.name)
@pytest.mark.parametrize("share", [0.99, 0.5])
def test_a_compressed_frame_that_breaks_off_raises(syntax, share):
    stored = np.random.default_rng(0).integers(0, 4096, (33, 35)).astype(np.uint16)
    content = encoded(image(stored, 12, WindowCenter=2048, WindowWidth=4096), syntax)
    assert read_dicom(content).shape == (33, 35)
    dataset = dcmread(io.BytesIO(content))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: int(len(frame) * share) // 2 * 2]])
    file = io.BytesIO()
    dataset.save_as(file)
    with pytest.raises((RuntimeError, DataError), match=r"Unable to decode|no end marker"):
        read_dicom(file.getvalue())


def test_reading_shows_no_warning_since_those_can_quote_a_header(recwarn, capfd):
    dataset = image(RAMP, 12, WindowCenter=2048, WindowWidth=4096)
    expected = read_dicom(encoded(dataset))
    dataset.PixelData = RAMP.tobytes() + b"\0" * 100
    content = encoded(dataset)
    with pytest.warns(UserWarning, match="excess padding"):
        pixel_array(dcmread(io.BytesIO(content)))
    recwarn.clear()
    np.testing.assert_array_equal(read_dicom(content), expected)
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
