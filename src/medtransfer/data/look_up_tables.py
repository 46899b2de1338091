"""The tables that DICOM headers carry: modality and VOI LUTs, palettes, segmented palettes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from medtransfer.errors import DataError

COLOURS = ("Red", "Green", "Blue")
MOST_ENTRIES = 65536


def lut(item: Dataset) -> tuple[np.ndarray, int, int]:
    """Entries as float64, first value mapped and bits of an item of a LUT sequence (PS3.3 C.11.1.1).

    Raises:
        DataError: no entries, or bits that no table has.
    """
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    table = _entries(item.LUTData, entries or MOST_ENTRIES, bits, _is_big_endian(item))
    if len(table) == 0 or not 1 <= bits <= 16:
        raise DataError(f"a look-up table of {len(table)} entries, {bits} bits; allowed: 1 to 16 bits")
    return table.astype(np.float64), first, bits


def signed(value: int) -> int:
    """A 16-bit value as two's complement: writers disagree on the sign of a table's first value."""
    return value - 65536 if value >= 32768 else value


def palette(dataset: Dataset) -> tuple[np.ndarray, int]:
    """The colours of a palette (PS3.3 C.7.6.3.1.5-6, C.7.9.2) and the stored value of the first.

    Returns:
        uint8 or uint16, entries x 3, by the width of the table's data.

    Raises:
        DataError: tables that are missing, empty, or of different lengths.
    """
    entries, first, bits = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
    entries = entries or MOST_ENTRIES
    big_endian = _is_big_endian(dataset)
    plain = [dataset.get(f"{colour}PaletteColorLookupTableData") for colour in COLOURS]
    segmented = [dataset.get(f"Segmented{colour}PaletteColorLookupTableData") for colour in COLOURS]
    if all(plain):
        tables = [_entries(data, entries, bits, big_endian) for data in plain]
    elif all(segmented):
        tables = [_expanded(data, entries, bits, big_endian) for data in segmented]
    else:
        raise DataError("a palette without its three tables")
    if len({len(table) for table in tables}) > 1 or len(tables[0]) == 0:
        raise DataError(f"palette tables of {[len(table) for table in tables]} entries")
    return np.stack(tables, axis=1), signed(first) if dataset.get("PixelRepresentation") else first


def _is_big_endian(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is False


def _entries(data: Any, entries: int, bits: int, big_endian: bool) -> np.ndarray:
    """Entries of a table, uint8 or uint16: the length of its data tells bytes from words."""
    if not isinstance(data, bytes):  # words that pydicom has read already
        data, big_endian = np.atleast_1d(np.asarray(data)).astype("<u2").tobytes(), False
    words = np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2").astype("<u2")
    if len(data) <= entries + entries % 2 and not (bits > 8 and len(data) == 2 * entries):
        single = words.tobytes() + (data[-1:] if len(data) % 2 else b"")
        return np.frombuffer(single, np.uint8)[:entries]
    return words[:entries].astype(np.uint16)


def _expanded(data: bytes, entries: int, bits: int, big_endian: bool) -> np.ndarray:
    """A segmented table (PS3.3 C.7.9.2) in full."""
    order = ">" if big_endian else "<"
    kind = np.dtype("u1") if bits == 8 else np.dtype(f"{order}u2")
    values = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.int64)
    table: list[int] = []
    place = 0
    while place < len(values) and len(table) < entries:
        place = _expand_segment(values, place, table, entries, kind.itemsize)
    return np.array(table[:entries], dtype=np.uint8 if bits == 8 else np.uint16)


def _expand_segment(
    values: np.ndarray, place: int, table: list[int], entries: int, width: int, inner: bool = False
) -> int:
    """Append the segment at ``place``; returns where the next begins."""
    if place + 1 >= len(values):
        return len(values)
    kind, length = int(values[place]), int(values[place + 1])
    if kind == 0:  # discrete: the values themselves
        table.extend(values[place + 2 : place + 2 + length].tolist())
        return place + 2 + length
    if kind == 1 and table and place + 2 < len(values):  # linear, from the last value to this one
        steps = np.linspace(table[-1], int(values[place + 2]), length + 1)[1:]
        table.extend(np.rint(steps).astype(np.int64).tolist())
        return place + 3
    if kind == 2 and not inner:  # indirect: so many segments from a byte offset
        parts = 4 // width
        offset = sum(
            int(v) << (8 * width * i) for i, v in enumerate(values[place + 2 : place + 2 + parts])
        )
        source = offset // width
        for _ in range(length):
            if len(table) < entries:
                source = _expand_segment(values, source, table, entries, width, inner=True)
        return place + 2 + parts
    raise DataError(f"a segmented palette with a segment of kind {kind}; allowed: 0, 1 or 2, in order")
