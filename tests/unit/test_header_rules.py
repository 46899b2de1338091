"""What the header says about display: padding, windows, tables, functional groups, depth, identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dicom_files import (
    big_endian,
    encoded,
    frames_image,
    image,
    lut,
    noise,
    picture,
    read_dicom,
    shown,
    stretched,
)
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medtransfer.data.dicom import DicomFile

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


def padded(stored: np.ndarray, value: int, limit: int | None = None, kind: str = "US", **tags: Any):
    dataset = image(stored, 16 if stored.dtype == np.int16 else 12, **tags)
    dataset.add_new(0x00280120, kind, value)
    if limit is not None:
        dataset.add_new(0x00280121, kind, limit)
    return dataset


def items(**tags: Any) -> list[Dataset]:
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return [item]


def windowed(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


# padding


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0, 2000, 4095])
def test_padding_is_black_however_bright_its_value_would_be(photometric, value):
    stored = noise(0, 4096, (9, 9))
    stored[2:4] = value
    tags = {"PhotometricInterpretation": photometric, **FULL}
    plain = windowed(stored, 2048, 4096)
    expected = np.where(stored == value, 0, plain if photometric == "MONOCHROME2" else 255 - plain)
    np.testing.assert_allclose(read_dicom(encoded(padded(stored, value, **tags))), expected, atol=1e-3)


def test_padding_of_an_image_that_is_ready_is_black():
    stored = noise(0, 256, (6, 6), np.uint8)
    dataset = image(stored, PhotometricInterpretation="MONOCHROME1")
    dataset.add_new(0x00280120, "US", 0)
    np.testing.assert_allclose(
        read_dicom(encoded(dataset)), np.where(stored == 0, 0, 255 - stored.astype(int)), atol=1e-4
    )


@pytest.mark.parametrize(("value", "limit"), [(10, 20), (20, 10), (10, 10)])
def test_a_range_of_padding_is_black_with_both_ends_in_either_order(value, limit):
    stored = np.array([[9, 10, 11, 19, 20, 21]], dtype=np.uint16)
    found = read_dicom(encoded(padded(stored, value, limit, WindowCenter=15, WindowWidth=40)))
    low, high = sorted((value, limit))
    np.testing.assert_array_equal(found == 0, (stored >= low) & (stored <= high))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
@pytest.mark.parametrize(("kind", "value", "limit"), [("SS", -2000, -1500), ("US", 63536, 64036)])
def test_signed_padding_is_known_when_it_is_written_unsigned(kind, value, limit, syntax):
    stored = noise(-2000, 2000, (12, 12), np.int16)
    dataset = padded(stored, value, limit, kind, WindowCenter=-1800, WindowWidth=100)
    content = big_endian(dataset) if syntax == ExplicitVRBigEndian else encoded(dataset, syntax)
    expected = np.where(stored <= -1500, 0, windowed(stored, -1800, 100))
    np.testing.assert_allclose(read_dicom(content), expected, atol=1e-3)
    assert (expected == 255).any()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 300])
def test_no_padding_enters_the_percentiles(photometric, limit):
    stored = noise(400, 1400, (20, 20))
    stored[:, :7] = np.arange(140).reshape(20, 7) + 100 if limit else 100
    inside = stored >= 400
    found = read_dicom(encoded(padded(stored, 100, limit, PhotometricInterpretation=photometric)))
    expected = stretched(stored, stored[inside])
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_allclose(found, np.where(inside, expected, 0), atol=1e-3)


# windows and full range


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("width", ["0", "-400", "nan", "inf", "", "0.5"])
def test_a_width_that_is_no_width_leaves_the_percentiles(width):
    stored = noise(100, 3000, (10, 10))
    found = picture(image(stored, 12, WindowCenter=900, WindowWidth=width))
    assert found.display == "percentiles"
    np.testing.assert_allclose(found.values * 255, stretched(stored, stored), atol=1e-3)


def test_the_first_window_of_a_list_is_named_a_window():
    found = picture(image(noise(0, 4096, (4, 4)), 12, WindowCenter=[40, 1], WindowWidth=[400, 2]))
    assert found.display == "window"


def test_the_window_of_a_file_that_is_ready_is_followed():
    stored = noise(0, 256, (6, 6), np.uint8)
    found = picture(image(stored, 8, WindowCenter=100, WindowWidth=50))
    assert found.display == "window"
    np.testing.assert_allclose(found.values * 255, windowed(stored, 100, 50), atol=1e-3)


@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("u1", 6), ("u2", 8), ("u1", 1)])
def test_unsigned_values_of_up_to_8_bits_are_shown_as_they_are(kind, bits):
    stored = noise(0, 2**bits, (5, 5), kind) // (1 if bits == 1 else 2)
    found = picture(image(stored.astype(kind), bits, RescaleSlope=1, RescaleIntercept=0))
    assert found.display == "full range"
    np.testing.assert_allclose(found.values, stored / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "bits", "tags"),
    [
        (np.int8, 8, {}),
        (np.uint16, 9, {}),
        (np.uint16, 16, {}),
        (np.int16, 16, {}),
        (np.uint8, 8, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        (np.uint8, 8, {"RescaleSlope": 1, "RescaleIntercept": -30}),
    ],
)
def test_other_values_without_a_window_are_stretched_between_percentiles(kind, bits, tags):
    signed = np.dtype(kind).kind == "i"
    stored = noise(-50 if signed else 20, 100, (9, 9), kind)
    found = picture(image(stored, bits, **tags))
    assert found.display == "percentiles"
    np.testing.assert_allclose(found.values * 255, stretched(stored, stored), atol=1e-3)


# tables


def hounsfield(lowest: int, syntax, kind: str = "US") -> tuple[np.ndarray, np.ndarray]:
    """Display of CT values from ``lowest`` through a table from -1000 on, and what is expected."""
    stored = noise(lowest + 1024, 3000, (8, 8))
    table = np.round(np.linspace(0, 4095, 3000))
    item = lut(table, -1000, 12)
    if kind == "US":
        item[0x00283002].VR = "US"
        item[0x00283002].value = [3000, 65536 - 1000, 12]
    dataset = image(stored, 12, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=[item])
    places = np.clip(stored.astype(int) - 1024 + 1000, 0, 2999)
    return read_dicom(encoded(dataset, syntax)), table[places] / 4095 * 255


@pytest.mark.parametrize("syntax", NATIVE[:2], ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", ["US", "SS"])
def test_the_first_value_of_a_table_may_be_negative_and_written_unsigned(syntax, kind):
    found, expected = hounsfield(-900, syntax, kind)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_sign_of_a_first_value_does_not_depend_on_the_pixels_of_the_frame():
    found, expected = hounsfield(5, ImplicitVRLittleEndian)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_first_value_above_32767_stays_so_for_unsigned_values():
    stored = noise(39000, 42000, (8, 8))
    table = np.round(np.linspace(0, 4095, 1000))
    expected = apply_voi_lut(stored, image(stored, VOILUTSequence=[lut(table, 40000, 12)]))
    found = shown(stored, VOILUTSequence=[lut(table, 40000, 12)])
    np.testing.assert_allclose(found, expected / 4095 * 255, atol=1e-3)


@pytest.mark.parametrize("first", [0, -32768])
@pytest.mark.parametrize("place", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_of_0_entries_has_65536(place, first):
    kind = np.uint16 if first == 0 else np.int16
    stored = np.linspace(first, first + 65535, 64).round().astype(kind).reshape(8, 8)
    table = 65535 - np.arange(65536)
    item = lut(table, first, 16, "OW")
    assert item.LUTDescriptor[0] == 0
    window = {"WindowCenter": 32768, "WindowWidth": 65536} if place == "ModalityLUTSequence" else {}
    found = shown(stored, **{place: [item]}, **window)
    np.testing.assert_allclose(found, (65535 - (stored.astype(int) - first)) / 257, atol=1e-3)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
@pytest.mark.parametrize("words", ["US", "OW"])
@pytest.mark.parametrize("place", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_are_the_same_in_every_native_syntax(place, words, syntax):
    stored = noise(-300, 300, (7, 7), np.int16)
    table = np.round(np.linspace(0, 60, 400) ** 2)
    item = lut(table, -200, 12, words)
    window = FULL if place == "ModalityLUTSequence" else {}
    dataset = image(stored, 16, **{place: [item]}, **window)
    if syntax == ExplicitVRBigEndian:
        if words == "OW":
            item.LUTData = table.astype(">u2").tobytes()
        content = big_endian(dataset)
    else:
        content = encoded(dataset, syntax)
    expected = table[np.clip(stored.astype(int) + 200, 0, 399)] / 4095 * 255
    np.testing.assert_allclose(read_dicom(content), expected, atol=1e-3)


@pytest.mark.parametrize("place", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_of_bytes_is_read_as_bytes(place):
    """PS3.3 C.11.1.1: 8 bits allocated; C.11.2.1.1: the length tells them from 16 bits allocated."""
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    entries = np.random.default_rng(0).permutation(256).astype(np.uint8)
    item = lut(entries, 0, 8, "OW")
    item.LUTData = entries.tobytes()
    window = {"WindowCenter": 128, "WindowWidth": 256} if place == "ModalityLUTSequence" else {}
    found = shown(stored, 8, **{place: [item]}, **window)
    np.testing.assert_allclose(found, entries[stored], atol=1e-3)


# functional groups


def enhanced(stored: np.ndarray, per_frame: list[dict[str, Any]], shared: dict[str, Any], **tags: Any):
    dataset = frames_image(stored, 12, **tags)
    groups = [items(**group)[0] for group in per_frame]
    dataset.PerFrameFunctionalGroupsSequence = groups
    if shared:
        dataset.SharedFunctionalGroupsSequence = items(**shared)
    return encoded(dataset)


def frame_window(center: float, width: float) -> dict[str, Any]:
    return {"FrameVOILUTSequence": items(WindowCenter=center, WindowWidth=width)}


def frame_rescale(slope: float, intercept: float) -> dict[str, Any]:
    item = items(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
    return {"PixelValueTransformationSequence": item}


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (frame_window(500, 600), [(1000, 900), (500, 600), (3000, 100)]),
        ({}, [(1000, 900), (40, 400), (3000, 100)]),
    ],
)
def test_the_window_of_the_frame_wins_over_the_shared_one_and_that_over_the_headers(shared, expected):
    stored = noise(0, 4096, (3, 6, 5))
    per_frame = [frame_window(1000, 900), {}, frame_window(3000, 100)]
    content = enhanced(stored, per_frame, shared, WindowCenter=40, WindowWidth=400)
    for frame, (center, width) in enumerate(expected):
        found = DicomFile(content).picture(frame)
        assert found.display == "window"
        values = windowed(stored[frame], center, width)
        np.testing.assert_allclose(found.values * 255, values, atol=1e-3)


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (frame_rescale(-1, 2000), [(2, -1024), (-1, 2000), (0.5, 10)]),
        ({}, [(2, -1024), (3, -5), (0.5, 10)]),
    ],
)
def test_the_rescale_of_the_frame_wins_over_the_shared_one_and_that_over_the_headers(shared, expected):
    stored = noise(0, 4096, (3, 6, 5))
    per_frame = [frame_rescale(2, -1024), {}, frame_rescale(0.5, 10)]
    tags = {"WindowCenter": 900, "WindowWidth": 1500, "RescaleSlope": 3, "RescaleIntercept": -5}
    content = enhanced(stored, per_frame, shared, **tags)
    for frame, (slope, intercept) in enumerate(expected):
        values = stored[frame] * float(slope) + intercept
        np.testing.assert_allclose(read_dicom(content, frame), windowed(values, 900, 1500), atol=1e-3)


def test_a_group_without_a_window_leaves_the_percentiles_of_its_own_frame():
    stored = np.stack([noise(0, 900, (8, 8)), noise(100, 4000, (8, 8))])
    content = enhanced(stored, [{}, {}], {})
    for frame in range(2):
        expected = stretched(stored[frame], stored[frame])
        np.testing.assert_allclose(read_dicom(content, frame), expected, atol=1e-3)
