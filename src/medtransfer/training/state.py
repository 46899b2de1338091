"""The state of a running training in a file, from which a killed run goes on.

The file is what ``torch.save`` makes of tensors, numbers and texts, and the SHA-256 of it in its last
32 bytes. It is read without running any code that it may hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from medtransfer.files import reach_the_disk

Snapshot = dict[str, Any]
NAME = "state"
DIGEST_BYTES = 32


class UnusableState(Exception):
    """A file of state that can't be gone on from; the message says why."""


def write_snapshot(folder: Path, identity: Mapping[str, str], snapshot: Snapshot) -> None:
    """Write the state of a run, whole or not at all: a kill or a crash leaves the one before.

    Args:
        folder: where the file goes.
        identity: what decides the run's result, by names that a user understands.
        snapshot: tensors, numbers, texts, and lists, tuples and mappings of them.

    Raises:
        OSError: the disk is full, or doesn't take the file for another reason.
    """
    partial = folder / f".{NAME}.part"
    try:
        with partial.open("wb") as file:
            target = _Digesting(file)
            torch.save({"identity": dict(identity), "snapshot": snapshot}, cast(IO[bytes], target))
            file.write(target.digest())
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's, about a file that it can't write
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise error if isinstance(error, OSError) else OSError(str(error)) from error
    partial.replace(folder / NAME)
    reach_the_disk(folder)


def read_snapshot(folder: Path, identity: Mapping[str, str]) -> Snapshot | None:
    """The state that was written for this very run; None where there is no file.

    Raises:
        UnusableState: the file is damaged, or the state of another run.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableState(f"{path}: {error.strerror}") from error
    payload, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise UnusableState(f"{path}: damaged, its checksum is not that of its {len(content)} bytes")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        found, snapshot = state["identity"], state["snapshot"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError) as error:
        raise UnusableState(f"{path}: not a state of a run") from error
    other = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
    if other:
        raise UnusableState(f"{path}: the state of another run, with another {', '.join(other)}")
    return snapshot


class _Digesting:
    """A file to write to that keeps the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> bytes:
        return self._hash.digest()
