"""One process at a time in a folder. No torch here: the lock is taken before torch is imported.

The kernel releases the lock when the process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medtransfer.disk_problems import disk_problems_named
from medtransfer.errors import FileError

NAME = "lock"
POLL_SECONDS = 0.1
# a process that was told to stop may still be saving
PATIENCE_SECONDS = 10.0


@contextlib.contextmanager
def locked_folder(
    folder: Path, patience: float = PATIENCE_SECONDS, work: str = "training this run"
) -> Iterator[None]:
    """Hold a folder, made if it isn't there, for the duration of a block.

    Within the block, :func:`remove_locked` takes the folder away. Where the file system has no locks, a
    line on stderr says so and the block goes on without.

    Args:
        folder: what to hold.
        patience: seconds to wait for another process.
        work: what another process that holds the folder is doing, for the error.

    Raises:
        FileError: another process holds the folder, or it can't be written.
    """
    ends = time.monotonic() + patience
    while (file := _locked_file(folder)) is None:
        if time.monotonic() >= ends:
            raise FileError(
                f"{folder}: another process is {work}; allowed: one at a time. End it, or wait for it"
            )
        time.sleep(POLL_SECONDS)
    with file:
        yield


@contextlib.contextmanager
def hidden_folder(folder: Path, patience: float, work: str) -> Iterator[None]:
    """Hold a folder as :func:`locked_folder` does, and remove it and what is in it at the end."""
    with locked_folder(folder, patience, work):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # of a disk that went away
                remove_locked(folder)


def remove_locked(folder: Path) -> None:
    """Remove a held folder and what is in it."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != NAME:
            path.unlink()
    (folder / NAME).unlink()
    with contextlib.suppress(OSError):  # another process is waiting in it
        folder.rmdir()


def _locked_file(folder: Path) -> IO[str] | None:
    """The lock's open file; None while another process holds it."""
    try:
        with disk_problems_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / NAME).open("w")
    except FileNotFoundError:  # removed by its holder just now
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        print(f"{folder}: no lock ({error.strerror}); start no job twice at once", file=sys.stderr)
        return file
    if _is_there(file, folder / NAME):
        return file
    file.close()
    return None


def _is_there(file: IO[str], path: Path) -> bool:
    """Whether the open file still is the one of this path: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
