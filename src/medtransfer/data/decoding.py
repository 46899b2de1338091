"""From one row of a manifest to its square of pixels in the store: what a decoding process does."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtransfer.data.images import Source, open_source, to_square
from medtransfer.data.privacy import keyed_hash
from medtransfer.errors import DataError

PYDICOM_PREFIX = "Unable to decode as exceptions were raised by all available plugins:"
QUOTED = re.compile(r"""(b?'[^']*'|b?"[^"]*")""")


@dataclass(frozen=True)
class Request:
    """One image to decode into a row of the memory map; frame -1 for files with a single one."""

    row: int
    file: str
    frame: int


@dataclass(frozen=True)
class Outcome:
    """What became of a row: hashes and header facts of a stored image, or why there is none."""

    row: int
    file: str = ""
    file_bytes: int = 0
    file_time: int = 0
    sha256: str = ""
    pixel_sha256: str = ""
    display: str = ""
    burned_in: str = ""
    header_patient: str = ""
    header_study: str = ""
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Target:
    """The memory map, the geometry of its images, and the key of identities."""

    path: str
    size: int
    channels: int
    geometry: str
    bits: int
    key: bytes


class StoreWriter:
    """Decodes requests into the memory map. Keeps the last file open: frames follow one another."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._images: np.ndarray | None = None
        self._opened: tuple[str, Source] | None = None

    def __call__(self, request: Request) -> Outcome:
        """Decode one image into its row; whatever goes wrong is the outcome."""
        try:
            status = os.stat(request.file)
            source = self._source(request.file)
        except BaseException as error:
            return failure(request, error)
        frame = None if request.frame < 0 else request.frame
        try:
            picture = source.picture(frame)
            target = self.target
            square = to_square(
                picture.values, target.size, target.channels, target.geometry, target.bits
            )
        except BaseException as error:  # decoders raise anything on damaged bytes, even panics
            return failure(request, error)
        self._map()[request.row] = square
        return Outcome(
            row=request.row,
            file=request.file,
            file_bytes=status.st_size,
            file_time=status.st_mtime_ns,
            sha256=source.sha256(frame),
            pixel_sha256=hashlib.sha256(square.tobytes()).hexdigest(),
            display=picture.display,
            burned_in=picture.burned_in,
            header_patient=self._hashed(picture.patient_id),
            header_study=self._hashed(picture.study),
        )

    def _source(self, file: str) -> Source:
        if self._opened is None or self._opened[0] != file:
            self._opened = None
            self._opened = file, open_source(Path(file))
        return self._opened[1]

    def _map(self) -> np.ndarray:
        if self._images is None:
            self._images = np.lib.format.open_memmap(self.target.path, mode="r+")
        return self._images

    def _hashed(self, identity: str | None) -> str:
        return "" if identity is None else keyed_hash(self.target.key, identity)


def count_frames(file: str) -> int:
    """Images in a file; 1 for one that can't be opened, whose own decoding then says why."""
    try:
        return open_source(Path(file)).frames
    except BaseException:  # parsers raise anything on damaged bytes
        return 1


def failure(request: Request, error: BaseException) -> Outcome:
    """The outcome of an image that raised."""
    if isinstance(error, OSError) and error.errno is not None:
        reason = error.strerror or type(error).__name__
        return Outcome(request.row, request.file, stage="read", reason=reason)
    reason = str(error) if isinstance(error, DataError) else _decoder_reason(error)
    return Outcome(request.row, request.file, stage="decode", reason=reason)


def _decoder_reason(error: BaseException) -> str:
    """A decoder's message in one line, without what it quotes: that can be any part of a header."""
    if isinstance(error, MemoryError):
        return "needs more memory than one image may take"
    told = str(error).removeprefix(PYDICOM_PREFIX)
    message = " ".join(QUOTED.sub("…", told).split())[:240]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
