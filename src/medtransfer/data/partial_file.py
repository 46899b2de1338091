"""A file that comes in pieces: its bytes so far, the room that it needs, its checksums at the end.

The bytes are in ``.<name>.part``, which gets the file's name when it is complete and verified.
``.<name>.part.json`` remembers of which version of the file they are, so that another try, by the same
process or a later one, asks for the missing bytes only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from medtransfer.config.access import RemoteFileSettings
from medtransfer.data.archives import shown_size
from medtransfer.errors import DataError

BLOCK = 1 << 20


@dataclass(frozen=True)
class PartialFile:
    """The bytes of a file so far and, beside them, which version at which address they are of."""

    target: Path

    @property
    def path(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def notes(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part.json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str:
        """The validator of the bytes' version; empty when unknown or of another address."""
        try:
            notes = json.loads(self.notes.read_text())
            return str(notes["validator"]) if notes["address"] == _fingerprint(url) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, url: str, validator: str) -> None:
        """Empty, with a note of what is to come."""
        self.discard()
        self.path.touch()
        self.notes.write_text(json.dumps({"address": _fingerprint(url), "validator": validator}))

    @contextlib.contextmanager
    def appending(self) -> Iterator[Callable[[bytes], int]]:
        """Gives a function that puts bytes to those that are there and returns how many there are.

        Raises:
            DataError: the disk is full, or doesn't take the bytes for another reason.
        """
        with disk_problems_named(self.target):
            # unbuffered: what a killed process has received is on the disk
            stream = self.path.open("ab", buffering=0)

        def append(block: bytes) -> int:
            with disk_problems_named(self.target):
                _write(stream, block)
                return stream.tell()

        with stream:
            yield append
            with disk_problems_named(self.target):
                os.fsync(stream.fileno())

    def discard(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """The file gets its name."""
        os.replace(self.path, self.target)
        self.notes.unlink(missing_ok=True)


def _fingerprint(url: str) -> str:
    """What an address is known by; its text may hold secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _write(stream: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[stream.write(rest) :]


def verified(file: RemoteFileSettings, path: Path) -> tuple[str, str]:
    """Compare a file with what is known of it.

    Args:
        file: the settings with the size and the checksums, where they are known.
        path: where the file is, whatever its name.

    Returns:
        Its sha256, and what is wrong with it: the first of size, sha256 and md5 that differs; empty
        when nothing does.

    Raises:
        OSError: the file can't be read.
    """
    found = {"sha256": hashlib.sha256()}
    if file.md5:
        found["md5"] = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            for digest in found.values():
                digest.update(block)
    sha256, size = found["sha256"].hexdigest(), path.stat().st_size
    if file.size and size != file.size:
        return sha256, f"{size} bytes found, expected {file.size}"
    for kind, digest in found.items():
        expected = getattr(file, kind)
        if expected is not None and digest.hexdigest() != expected:
            return sha256, f"{kind} {digest.hexdigest()} found, expected {expected}"
    return sha256, ""


def check_space(path: Path, needed: int) -> None:
    """Refuse what doesn't fit on the disk.

    Args:
        path: a folder, or a file in a folder that is there.
        needed: bytes to come.

    Raises:
        DataError: fewer bytes are free.
    """
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    if needed > free:
        raise DataError(
            f"{path}: {shown_size(needed)} needed, {shown_size(free)} free; make room and run this "
            "again, what is fetched is kept"
        )


@contextlib.contextmanager
def disk_problems_named(path: Path) -> Iterator[None]:
    """An OSError of the file system becomes a DataError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{path}: the disk is full; make room and run this again, what is fetched is kept"
            ) from error
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error
