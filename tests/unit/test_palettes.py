"""PALETTE COLOR: indices to colours through tables of every kind, against a table written by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from dicom_files import (
    big_endian,
    edited,
    encoded,
    even,
    fixture,
    image,
    noise,
    picture,
    read_dicom,
    read_fixture,
    swapped,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from medtransfer.errors import DataError

NAMES = ("Red", "Green", "Blue")


def colours(entries: int, bits: int) -> np.ndarray:
    """A palette, entries x 3, in which no two neighbours are alike."""
    return np.random.default_rng(entries).permuted(
        np.linspace(0, 2**bits - 1, entries).round().astype(int)[:, None].repeat(3, axis=1), axis=0
    )


def palette_image(
    stored: np.ndarray, tables: list[bytes], descriptor: list[int], segmented: bool = False
) -> Dataset:
    dataset = image(stored, PhotometricInterpretation="PALETTE COLOR")
    for name, number, table in zip(NAMES, (1, 2, 3), tables, strict=True):
        representation = "SS" if descriptor[1] < 0 else "US"
        dataset.add_new(0x00281100 + number, representation, descriptor)
        prefix = "Segmented" if segmented else ""
        setattr(dataset, f"{prefix}{name}PaletteColorLookupTableData", even(table))
    return dataset


def with_palette(stored: np.ndarray, palette: np.ndarray, first: int, bits: int) -> Dataset:
    kind = "<u2" if bits == 16 else "u1"
    tables = [palette[:, channel].astype(kind).tobytes() for channel in range(3)]
    return palette_image(stored, tables, [len(palette) % 65536, first, bits])


def slowly(stored: np.ndarray, palette: np.ndarray, first: int, bits: int) -> np.ndarray:
    """Colours of 0 to 255, one pixel after the other."""
    found = [palette[min(max(int(v) - first, 0), len(palette) - 1)] for v in stored.ravel()]
    return np.reshape(found, (*stored.shape, 3)) / (2**bits - 1) * 255


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("kind", "entries", "first"),
    [
        (np.uint8, 256, 0),
        (np.uint8, 200, 0),
        (np.uint8, 201, 0),  # an odd number of bytes, padded
        (np.uint8, 3, 0),
        (np.uint8, 101, 50),
        (np.int8, 100, -50),
        (np.int8, 256, -128),
        (np.uint16, 256, 0),  # indices beyond the table
        (np.uint16, 300, 20000),
        (np.int16, 999, -700),
        (np.uint16, 65536, 0),  # written as 0 entries
    ],
)
def test_indices_become_the_colours_of_the_table_and_its_ends(kind, entries, first, bits):
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    stored = noise(low, high + 1, (13, 11), kind)
    stored[0, :4] = np.clip([first - 1, first, first + entries - 1, first + entries], low, high)
    palette = colours(entries, bits)
    found = picture(with_palette(stored, palette, first, bits))
    assert found.display == "full range"
    assert found.values.dtype == (np.uint8 if bits == 8 else np.float32)
    values = found.values * (1.0 if bits == 8 else 255.0)
    np.testing.assert_allclose(values, slowly(stored, palette, first, bits), atol=1e-3)
    assert len(np.unique(found.values)) > 2


def test_a_palette_of_one_byte_is_read():
    palette = np.array([[200, 0, 90]])
    found = picture(with_palette(np.zeros((2, 2), np.uint8), palette, 0, 8)).values
    np.testing.assert_array_equal(found, np.broadcast_to(palette, (2, 2, 3)))


def test_8_bit_entries_that_take_words_are_words():
    """Ends of 8 bits in the descriptor, data of twice the entries: the length decides."""
    palette = colours(50, 16)
    stored = noise(0, 50, (6, 6), np.uint8)
    dataset = with_palette(stored, palette, 0, 16)
    for name in NAMES:
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [50, 0, 8])
    np.testing.assert_allclose(read_dicom(encoded(dataset)), slowly(stored, palette, 0, 16), atol=1e-3)


@pytest.mark.parametrize("kind", ["US", "SS"])
def test_a_negative_first_index_may_be_written_unsigned(kind):
    stored = noise(-60, 60, (7, 7), np.int16)
    palette = colours(100, 8)
    dataset = with_palette(stored, palette, -40, 8)
    if kind == "US":
        for number in (1, 2, 3):
            dataset[0x00281100 + number].VR = "US"
            dataset[0x00281100 + number].value = [100, 65536 - 40, 8]
    expected = slowly(stored, palette, -40, 8)
    np.testing.assert_array_equal(read_dicom(encoded(dataset)), expected)
    np.testing.assert_array_equal(read_dicom(encoded(dataset, ImplicitVRLittleEndian)), expected)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_indices_are_kept_by_lossless_compression(syntax):
    stored = noise(0, 256, (33, 35), np.uint8)
    palette = colours(256, 16)
    found = read_dicom(encoded(with_palette(stored, palette, 0, 16), syntax))
    np.testing.assert_allclose(found, slowly(stored, palette, 0, 16), atol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("bits", [8, 16])
def test_big_endian_palettes_give_the_same_colours(bits, kind):
    stored = noise(0, 90, (8, 8), kind)
    palette = colours(80, bits)
    dataset = with_palette(stored, palette, 0, bits)
    for name in NAMES:
        element = dataset[f"{name}PaletteColorLookupTableData"]
        element.value = swapped(element.value)
    expected = slowly(stored, palette, 0, bits)
    np.testing.assert_allclose(read_dicom(big_endian(dataset)), expected, atol=1e-3)


# segmented tables (PS3.3 C.7.9.2)


def segments(kind: str) -> tuple[bytes, list[int]]:
    """A discrete segment, a ramp, and both once more by reference, and the table that they mean."""
    discrete = [0, 3, 10, 250, 20]
    ramp = [1, 4, 100]  # four steps from 20 to 100
    again = [2, 2]  # two segments, from the offset that follows
    words = [*discrete, *ramp, *again]
    offset = [0, 0, 0, 0] if kind == "B" else [0, 0]  # the least significant part first
    table = [10, 250, 20, 40, 60, 80, 100] * 2
    return struct.pack(f"<{len(words) + len(offset)}{kind}", *words, *offset), table


@pytest.mark.parametrize(("bits", "kind"), [(8, "B"), (16, "H")])
@pytest.mark.parametrize("first", [0, 7])
def test_segmented_tables_are_spread_out(bits, kind, first):
    data, table = segments(kind)
    stored = noise(0, 30, (6, 6), np.uint8)
    dataset = palette_image(stored, [data] * 3, [len(table), first, bits], segmented=True)
    palette = np.repeat(np.array(table)[:, None], 3, axis=1)
    expected = slowly(stored, palette, first, bits)
    np.testing.assert_allclose(read_dicom(encoded(dataset)), expected, atol=1e-3)


@pytest.mark.parametrize(
    "kind",
    [
        "US",
        "SS",
    ],
)
def test_segmented_tables_may_begin_below_zero(kind):
    data, table = segments("H")
    stored = noise(-20, 20, (6, 6), np.int16)
    dataset = palette_image(stored, [data] * 3, [len(table), -5, 16], segmented=True)
    if kind == "US":
        for number in (1, 2, 3):
            dataset[0x00281100 + number].VR = "US"
            dataset[0x00281100 + number].value = [len(table), 65536 - 5, 16]
    palette = np.repeat(np.array(table)[:, None], 3, axis=1)
    expected = slowly(stored, palette, -5, 16)
    np.testing.assert_allclose(read_dicom(encoded(dataset)), expected, atol=1e-3)


def test_a_segmented_table_of_bytes_may_have_more_than_256_entries():
    data = bytes([0, 2, 5, 9]) + bytes([1, 255, 250]) + bytes([1, 100, 0])
    ramp = [9 + (250 - 9) * step / 255 for step in range(1, 256)]
    back = [250 - 250 * step / 100 for step in range(1, 101)]
    table = np.rint([5, 9, *ramp, *back])
    stored = np.linspace(0, len(table) - 1, 64).round().astype(np.uint16).reshape(8, 8)
    dataset = palette_image(stored, [data] * 3, [len(table), 0, 8], segmented=True)
    expected = np.repeat(table[stored][..., None], 3, axis=2)
    np.testing.assert_allclose(read_dicom(encoded(dataset)), expected, atol=1.01)


# real files


@pytest.mark.parametrize("name", ["examples_palette.dcm", "OBXXXX1A.dcm", "gdcm-US-ALOKA-16.dcm"])
def test_real_palettes_are_pydicoms(name):
    dataset = dcmread(fixture(name))
    expected = apply_color_lut(pixel_array(dataset), dataset)[..., :3] / 65535 * 255
    found = read_fixture(name)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.std() > 10


# damage


def test_tables_of_different_lengths_are_refused():
    dataset = with_palette(noise(0, 9, (4, 4), np.uint8), colours(9, 16), 0, 16)
    dataset.BluePaletteColorLookupTableData = b"\0\1\2\3"
    with pytest.raises(DataError, match=r"palette tables of \[9, 9, 4\] entries"):
        picture(dataset)


def test_an_empty_table_is_refused():
    dataset = with_palette(noise(0, 9, (4, 4), np.uint8), colours(9, 16), 0, 16)
    for name in NAMES:
        setattr(dataset, f"{name}PaletteColorLookupTableData", b"")
    with pytest.raises((DataError, TypeError)):
        picture(dataset)


@pytest.mark.parametrize("missing", ["Descriptor", "Data"])
def test_a_palette_with_a_part_missing_raises(missing):
    dataset = with_palette(noise(0, 9, (4, 4), np.uint8), colours(9, 16), 0, 16)
    content = edited(encoded(dataset), **{f"RedPaletteColorLookupTable{missing}": None})
    with pytest.raises((DataError, AttributeError, ValueError)):
        read_dicom(content)
