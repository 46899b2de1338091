"""Damaged files and headers: what is refused, what is said about it, and that nothing is printed."""

from __future__ import annotations

import io
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    cut,
    edited,
    encoded,
    fixture,
    frames_image,
    image,
    noise,
    picture,
    read_dicom,
    written,
)
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from medtransfer.data.decoding import Request, failure
from medtransfer.data.dicom import COLOUR, GREY, MOST_SAMPLES, RETIRED, DicomFile
from medtransfer.errors import DataError

STORED = noise(0, 4096, (16, 16))
PATIENT = "Mustermann^Erika"
# a file of each compressed syntax, grey and colour, one frame and several
COMPRESSED = [
    "MR_small_RLE.dcm",
    "SC_rgb_rle_16bit.dcm",
    "rtdose_rle.dcm",
    "JPEGLSNearLossless_08.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "MR_small_jp2klossless.dcm",
    "JPEG2000.dcm",
    "examples_jpeg2k.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "examples_ybr_color.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-LL.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
]


def plain(**tags: object) -> bytes:
    """A file of one grey frame, whose header has then been changed."""
    whole = encoded(image(STORED, 12, PatientName=PATIENT, PatientID=PATIENT))
    return edited(whole, **tags)


# pixel data that ends early


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_frame_that_breaks_off_is_refused(name, share):
    content = fixture(name).read_bytes()
    assert picture(content, 0).values.size
    with pytest.raises((RuntimeError, DataError), match=r"Unable to decode|it has no end marker"):
        picture(cut(content, share), 0)


@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "SC_rgb_jpeg_gdcm.dcm"])
@pytest.mark.parametrize("share", [0.5, 0.97, 0.9999])
def test_a_jpeg_for_gdcm_is_refused_before_it_is_decoded(name, share, capfd):
    """Of such a stream, versions of GDCM show what there is and fill up the rest."""
    with pytest.raises(DataError, match="the compressed image ends early: it has no end marker"):
        picture(cut(fixture(name).read_bytes(), share))
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_ls_that_breaks_off_is_refused_at_once():
    content = cut(fixture("MR_small_jpeg_ls_lossless.dcm").read_bytes(), 0.9)
    began = time.process_time()
    with pytest.raises((RuntimeError, DataError)):
        picture(content)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("broken", [0, 1, 2])
@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda u: u.name
)
def test_only_the_frame_that_breaks_off_is_refused(syntax, broken):
    stored = noise(0, 4096, (3, 33, 35))
    whole = frames_image(stored, 12, WindowCenter=2048, WindowWidth=4096)
    content = cut(encoded(whole, syntax), 0.9, frame=broken)
    file = DicomFile(content)
    for frame in range(3):
        if frame == broken:
            with pytest.raises((RuntimeError, DataError), match=r"Unable to decode|no end marker"):
                file.picture(frame)
        else:
            expected = stored[frame] / 4095
            np.testing.assert_allclose(file.picture(frame).values, expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_a_deflated_file_that_breaks_off_is_refused(share):
    dataset = image(STORED, 12)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = written(dataset)
    assert picture(content).values.shape == (16, 16)
    with pytest.raises(Exception, match=r"incomplete|truncated|pixel data|decompress"):
        picture(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_a_native_file_that_breaks_off_is_refused(share):
    content = encoded(image(noise(0, 4096, (64, 64)), 12))
    with pytest.raises(
        (EOFError, ValueError, DataError), match=r"less than expected|no pixel data|EOF"
    ):
        picture(content[: int(len(content) * share)])


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_12_bit_jpeg_names_the_decoder_that_it_needs(name):
    dataset = dcmread(fixture(name))
    assert dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit
    pytest.importorskip("gdcm")
    try:
        import libjpeg  # noqa: F401
    except ImportError:
        message = (
            r"no decoder is installed for JPEG Extended .* with 12 bits; pylibjpeg-libjpeg \(GPL\)"
        )
        with pytest.raises(DataError, match=message):
            picture(fixture(name).read_bytes())


def test_8_bit_jpeg_extended_needs_no_further_decoder():
    dataset = dcmread(fixture("SC_rgb_jpeg_dcmtk.dcm"))
    expected = picture(written(dataset)).values
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    np.testing.assert_array_equal(picture(written(dataset)).values, expected)


# frames


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda u: u.name)
@pytest.mark.parametrize("stated", [4, 5, 1000, 2**31 - 1])
def test_more_frames_than_the_data_hold_are_refused(stated, syntax):
    content = encoded(frames_image(noise(0, 256, (3, 8, 8), np.uint8)), syntax)
    assert DicomFile(content).frames == 3
    file = DicomFile(edited(content, NumberOfFrames=stated))
    for ask in (lambda: file.frames, lambda: file.picture(0), file.picture):
        with pytest.raises(DataError, match=f"states {stated} frames and the pixel data hold 3"):
            ask()


@pytest.mark.parametrize("stated", [-1, -1000])
def test_a_negative_number_of_frames_is_refused(stated):
    file = DicomFile(plain(NumberOfFrames=stated))
    with pytest.raises(DataError, match=f"the header states {stated} frames; allowed: at least 1"):
        _ = file.frames
    with pytest.raises(DataError, match="allowed: at least 1"):
        file.picture()


@pytest.mark.parametrize("stated", [0, "", None])
def test_no_number_of_frames_means_one(stated, recwarn):
    content = encoded(image(STORED, 12, NumberOfFrames=1))
    file = DicomFile(edited(content, NumberOfFrames=stated))
    assert file.frames == 1
    np.testing.assert_array_equal(file.picture().values, picture(content).values)
    assert not recwarn.list


def test_a_number_of_frames_that_is_none_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        picture(fixture("badVR.dcm").read_bytes())


@pytest.mark.parametrize("frame", [-1, -3])
def test_frames_are_not_counted_from_the_end(frame):
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        picture(encoded(frames_image(noise(0, 256, (3, 8, 8), np.uint8))), frame)


# headers


@pytest.mark.parametrize("name", ["Rows", "Columns", "SamplesPerPixel"])
def test_sizes_of_0_are_refused(name):
    with pytest.raises(DataError, match=r"\b0 (rows|columns|samples).*; allowed: at least 1 of each"):
        DicomFile(plain(**{name: 0}))


@pytest.mark.parametrize("name", ["Rows", "Columns"])
def test_sizes_that_are_not_there_are_refused(name):
    with pytest.raises(DataError, match=r"\bNone (rows|columns).*; allowed: at least 1 of each"):
        DicomFile(plain(**{name: None}))


def test_more_samples_than_any_image_has_are_refused_before_they_are_read():
    with pytest.raises(DataError, match=f"60000 rows x 50000 columns x 1 .*at most {MOST_SAMPLES}"):
        DicomFile(plain(Rows=60000, Columns=50000))


@pytest.mark.parametrize(
    "name", ["no_meta.dcm", "no_meta_group_length.dcm", "UN_sequence.dcm", "test-SR.dcm"]
)
def test_files_of_pydicom_without_pixels_are_refused(name):
    with pytest.raises(DataError, match="no pixel data in the file"):
        DicomFile(fixture(name).read_bytes())


@pytest.mark.parametrize("found", [PATIENT.upper(), "", None, "monochrome2", "RGB ICT"])
def test_an_unknown_photometric_interpretation_is_refused_and_not_quoted(found):
    with pytest.raises(DataError) as refusal:
        picture(plain(PhotometricInterpretation=found))
    allowed = ", ".join((*GREY, *COLOUR))
    assert str(refusal.value) == f"photometric interpretation unknown; allowed: {allowed}"


@pytest.mark.parametrize("found", RETIRED)
def test_a_retired_photometric_interpretation_is_named(found):
    with pytest.raises(DataError, match=f"photometric interpretation {found}; allowed: MONO"):
        picture(plain(PhotometricInterpretation=found))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "name",
    [
        "NumberOfFrames",
        "RescaleSlope",
        "WindowCenter",
        "PhotometricInterpretation",
        "VOILUTFunction",
        "BurnedInAnnotation",
        "PixelPaddingValue",
        "PresentationLUTShape",
    ],
)
def test_no_reason_quotes_what_stands_in_the_header(name, capfd, caplog, recwarn):
    """Bytes that have slipped into the wrong element can be a name; numbers are written as text."""
    content = encoded(image(STORED, 12, WindowWidth=100, WindowCenter=50))
    dataset = dcmread(io.BytesIO(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setattr(dataset, name, 7 if name != "PixelPaddingValue" else None)
    element = dataset[name]
    element.VR, element._value = "LO", PATIENT
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True)
    assert PATIENT.encode() in file.getvalue()
    recwarn.clear()
    caplog.clear()
    try:
        found = str(DicomFile(file.getvalue()).picture().burned_in)
    except Exception as error:
        found = failure(Request(0, "x.dcm", -1), error).reason
        assert found
    printed = "".join(capfd.readouterr())
    assert "Mustermann" not in found + printed
    assert not recwarn.list


# nothing is printed


def warned(content: bytes) -> bool:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            dataset = dcmread(io.BytesIO(content), force=True)
            _ = pixel_array(dataset, index=0)
        except Exception:
            pass
    return bool(said)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("excess", {"PixelData": STORED.tobytes() + bytes(600)}),
        ("frames", {"NumberOfFrames": 0}),
        ("charset", {"SpecificCharacterSet": "ISO 999"}),
    ],
)
def test_what_pydicom_warns_of_is_not_shown(name, tags, recwarn, capfd):
    del name
    content = plain(**tags)
    assert warned(content)
    recwarn.clear()
    capfd.readouterr()
    file = DicomFile(content)
    _ = file.frames
    file.picture()
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_counting_frames_shows_no_warning(recwarn, capfd):
    content = encoded(frames_image(noise(0, 256, (3, 8, 8), np.uint8)), RLELossless)
    dataset = dcmread(io.BytesIO(content))
    parts = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate([*parts, b"\0\0"])  # a fragment too many
    assert DicomFile(written(dataset)).frames == 3
    assert DicomFile(edited(content, NumberOfFrames=" 3 ")).frames == 3
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_damaged_stream_prints_nothing_of_the_header(name, recwarn, capfd):
    dataset = dcmread(fixture(name))
    dataset.PatientName = dataset.PatientID = PATIENT
    content = cut(written(dataset), 0.9)
    recwarn.clear()
    logging.getLogger("pydicom").setLevel(logging.NOTSET)
    with pytest.raises((RuntimeError, DataError)) as refusal:
        picture(content, 0)
    assert "Mustermann" not in failure(Request(0, "x.dcm", 0), refusal.value).reason
    assert "Mustermann" not in "".join(capfd.readouterr())
    assert not recwarn.list


def test_the_bundled_files_are_read_or_refused_without_a_word(recwarn, capfd):
    read = 0
    folder = fixture("MR_small.dcm").parent
    for path in sorted(Path(folder).glob("*.dcm")):
        try:
            file = DicomFile(path.read_bytes())
            values = file.picture(0 if file.frames > 1 else None).values
        except Exception as error:
            assert failure(Request(0, str(path), -1), error).reason
        else:
            read += 1
            top = 255 if values.dtype == np.uint8 else 1
            assert values.min() >= 0 <= top - values.max()
    assert read > 55
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert read_dicom(fixture("MR_small.dcm").read_bytes()).std() > 10
