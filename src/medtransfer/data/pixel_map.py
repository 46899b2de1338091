"""The memory map of a store while it is being filled, and the journal that lets a killed job go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from medtransfer.data.decoding import Outcome
from medtransfer.disk_problems import disk_problems_named
from medtransfer.errors import DataError, FileError
from medtransfer.files import write_text

# Images moved at once when rows are dropped.
BLOCK = 1024


class PixelMap:
    """N x H x W x C pixels in a file of NumPy's format, and what has been written to it.

    The file and its journal lie beside the finished store under hidden names, so that they outlive a
    killed job. They are taken up again only by a job of the same ``identity``.

    Args:
        folder: of the store.
        shape: of all images, N x H x W x C.
        dtype: uint8 or uint16.
        identity: text that says what is written here; another text starts anew.

    Raises:
        DataError: the disk has no room.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], identity: str
    ) -> None:
        self.path = folder / ".images.npy.part"
        self.journal_path = folder / ".images.journal"
        self.shape, self.dtype = shape, dtype
        self.identity = hashlib.sha256(identity.encode()).hexdigest()
        self.done: dict[int, Outcome] = self._read_journal()
        if not self.done:
            self._allocate()
        lines = [self._first_line(), *map(_line, self.done.values())]
        write_text(self.journal_path, "".join(f"{line}\n" for line in lines))
        self._journal: IO[str] = self.journal_path.open("a")

    def record(self, outcome: Outcome) -> None:
        """Note a row as done; its pixels, if it has any, are in the map already."""
        self.done[outcome.row] = outcome
        with disk_problems_named(self.journal_path):
            self._journal.write(_line(outcome) + "\n")
            self._journal.flush()

    def finish(self, rows: np.ndarray, path: Path) -> None:
        """Keep these rows only (ascending), in place, and give the file its final name."""
        images = np.lib.format.open_memmap(self.path, mode="r+")
        if len(rows) < len(images):
            _move_up(images, rows)
        images.flush()
        offset = images.offset
        row_bytes = images[:1].nbytes
        del images
        if len(rows) < self.shape[0]:
            with self.path.open("r+b") as file:
                _write_header(file, (len(rows), *self.shape[1:]), self.dtype)
                if file.tell() != offset:
                    raise AssertionError("NumPy's header of a shorter array has another length")
                file.truncate(offset + len(rows) * row_bytes)
        self._journal.close()
        self.path.replace(path)
        self.journal_path.unlink()

    def _first_line(self) -> str:
        return json.dumps({"identity": self.identity})

    def _allocate(self) -> None:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        self.journal_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        free = shutil.disk_usage(self.path.parent).free
        if size > free:
            raise DataError(
                f"{self.path.parent}: the store needs {size / 2**30:.2f} GiB; the disk has "
                f"{free / 2**30:.2f} GiB free"
            )
        try:
            with disk_problems_named(self.path), self.path.open("wb") as file:
                _write_header(file, self.shape, self.dtype)
                _reserve(file, file.tell() + size)
        except FileError:
            self.path.unlink(missing_ok=True)
            raise

    def _read_journal(self) -> dict[int, Outcome]:
        """Rows of an earlier, killed job whose pixels are what its journal says."""
        if not (self.path.is_file() and self.journal_path.is_file()):
            return {}
        lines = self.journal_path.read_text().splitlines()
        if lines[:1] != [self._first_line()]:
            return {}
        try:
            images = np.lib.format.open_memmap(self.path, mode="r")
        except ValueError:  # cut
            return {}
        if images.shape != self.shape:  # the job was killed while it took out rejected rows
            return {}
        outcomes = {outcome.row: outcome for outcome in _outcomes(lines[1:])}
        return {row: outcome for row, outcome in outcomes.items() if _is_kept(outcome, images)}


def _line(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome))


def _outcomes(lines: Iterable[str]) -> Iterable[Outcome]:
    for line in lines:
        try:
            yield Outcome(**json.loads(line))
        except (json.JSONDecodeError, TypeError):  # the last line of a killed job may be cut
            continue


def _is_kept(outcome: Outcome, images: np.ndarray) -> bool:
    """Whether a row needs no second look: accepted, its file unchanged, its pixels in the map."""
    if outcome.reason:
        return False
    try:
        status = os.stat(outcome.file)
    except OSError:
        return False
    if (status.st_size, status.st_mtime_ns) != (outcome.file_bytes, outcome.file_time):
        return False
    return hashlib.sha256(images[outcome.row].tobytes()).hexdigest() == outcome.pixel_sha256


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the disk space now: a full disk under a memory map kills the process that writes."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _move_up(images: np.ndarray, rows: np.ndarray) -> None:
    """Move the kept rows to the front, in order; sources never lie before their targets."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        images[start : start + len(block)] = images[block]
