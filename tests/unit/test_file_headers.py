"""Files whose header says where the values sit, whose they are, or lacks a part."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from dicom_files import (
    cut,
    edited,
    encoded,
    frames_image,
    image,
    noise,
    picture,
    read_dicom,
    shown,
)
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from medtransfer.data.dicom import DicomFile
from medtransfer.data.images import EncodedFile

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


# depth


@pytest.mark.parametrize("high_bit", [11, 13, 15])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda uid: uid.name)
def test_the_highest_bit_says_where_the_values_sit(syntax, kind, high_bit):
    low = -2048 if kind is np.int16 else 0
    stored = noise(low, low + 4096, (7, 9), kind)
    words = ((stored.astype(int) & 0xFFF) << (high_bit - 11)).astype(np.uint16)
    dirt = ~np.uint16(0xFFF << (high_bit - 11)) & np.random.default_rng(0).integers(0, 65536, (7, 9))
    dataset = image((words | dirt).astype(np.uint16).view(kind), 12, HighBit=high_bit)
    dataset.WindowCenter, dataset.WindowWidth = low + 2048, 4096
    found = read_dicom(encoded(dataset, syntax))
    np.testing.assert_allclose(found, (stored.astype(int) - low) / 4095 * 255, atol=1e-3)


def test_a_frame_that_raises_changes_nothing_for_the_next_one():
    stored = noise(0, 4096, (3, 8, 8))
    content = encoded(frames_image(stored << 4, 12, HighBit=15, **FULL), RLELossless)
    file = DicomFile(cut(content, 0.5, frame=1))
    with pytest.raises(RuntimeError, match="Unable to decode"):
        file.picture(1)
    np.testing.assert_allclose(file.picture(2).values * 255, stored[2] / 4095 * 255, atol=1e-3)


# identity, and headers with a part missing


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("YES", "yes"), ("NO", "no"), ("NO ", "no"), (None, ""), ("", ""), ("MAYBE", "")],
)
def test_burned_in_annotations_are_yes_no_or_unknown(stated, expected):
    tags = {} if stated is None else {"BurnedInAnnotation": stated}
    assert picture(image(noise(0, 9, (3, 3)), 12, **tags)).burned_in == expected


@pytest.mark.parametrize(("tag", "field"), [("PatientID", "patient_id"), ("StudyInstanceUID", "study")])
@pytest.mark.parametrize(("stated", "expected"), [("1.2.3", "1.2.3"), ("", None), (None, None)])
def test_identities_are_those_of_the_header_or_none(tag, field, stated, expected):
    tags = {} if stated is None else {tag: stated}
    assert getattr(picture(image(noise(0, 9, (3, 3)), 12, **tags)), field) == expected


def test_an_identity_has_no_padding():
    assert picture(image(noise(0, 9, (3, 3)), 12, PatientID=" site-7 ")).patient_id == "site-7"


@pytest.mark.parametrize("name", ["image.dcm", "image", "IMAGE.IMA"])
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_a_file_without_meta_header_is_read_in_each_native_syntax(syntax, name):
    stored = noise(0, 4096, (6, 6))
    expected = shown(stored, 12, **FULL)
    dataset = image(stored, 12, **FULL)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = stored.astype(">u2").tobytes()
    del dataset.file_meta
    file = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    dataset.save_as(file, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    found = EncodedFile(file.getvalue(), name).picture().values * 255
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_meta_header_without_a_syntax_is_read(syntax, recwarn):
    dataset = image(noise(0, 4096, (6, 6)), 12, **FULL)
    content = encoded(dataset, syntax)
    expected = read_dicom(content)
    uid = str(syntax).encode() + b"\0" * (len(str(syntax)) % 2)
    element = b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid
    assert content.count(element) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without = content.replace(element, b"")
    found = EncodedFile(without, "image.dcm").picture().values * 255
    np.testing.assert_array_equal(found, expected)
    assert not recwarn.list


@pytest.mark.parametrize("length", [0, 20, 60000])
def test_a_wrong_length_of_the_meta_header_does_not_matter(length):
    content = encoded(image(noise(0, 4096, (6, 6)), 12, **FULL))
    assert content[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    wrong = content[:140] + length.to_bytes(4, "little") + content[144:]
    np.testing.assert_array_equal(read_dicom(wrong), read_dicom(content))


def test_a_syntax_that_is_no_syntax_is_refused():
    content = edited(encoded(image(noise(0, 4096, (6, 6)), 12)))
    wrong = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    assert wrong != content
    with pytest.raises(ValueError, match="transfer syntax"):
        picture(wrong)


def test_a_file_of_16_bits_with_j2k_of_fewer_is_read():
    stored = noise(0, 1024, (64, 64))
    content = encoded(image(stored, 10, WindowCenter=512, WindowWidth=1024), JPEG2000Lossless)
    found = read_dicom(edited(content, BitsStored=16, HighBit=15))
    np.testing.assert_allclose(found, stored / 1023 * 255, atol=1e-3)
