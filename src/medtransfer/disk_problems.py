"""What the disk refuses and what it has spoilt, as errors that name the file and say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from medtransfer.errors import FileError

FULL = (errno.ENOSPC, errno.EDQUOT)
# how libraries that write by themselves tell the system's error
_CODE = re.compile(r"(?:errno|os error|code:) (\d+)")


@contextlib.contextmanager
def disk_problems_named(path: Path) -> Iterator[None]:
    """An error of the file system in a block that writes becomes one that names the path.

    Args:
        path: what is being written.

    Raises:
        FileError: the disk is full, or doesn't take the file for another reason.
    """
    try:
        yield
    except (FileError, FileNotFoundError):
        raise
    except Exception as error:
        code = _system_code(error)
        if code is None:
            raise
        raise FileError(f"{path}: {_said(code, error)}") from error


@contextlib.contextmanager
def damage_named(path: Path, kind: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """An error in a block that reads a file of ours becomes one that says which file is damaged.

    Args:
        path: what is being read.
        kind: what it should be.
        errors: that its reader raises for content that is none.

    Raises:
        FileError: no such file, one that can't be read, or a damaged one.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such {kind}") from error
    except errors as error:
        raise damaged(path, f"no whole {kind}", str(error)) from error
    except OSError as error:
        if error.errno is None:  # of a library, about what is in the file
            raise damaged(path, f"no whole {kind}", str(error)) from error
        raise FileError(f"{path}: the {kind} can't be read ({error.strerror})") from error


def damaged(path: Path, found: str, details: str = "") -> FileError:
    """The error for a file of ours whose content isn't what was written."""
    words = " ".join(details.split())
    return FileError(
        f"{path}: damaged, {found}{f' ({words})' if words else ''}; delete it and run the same command "
        "again, which makes it anew"
    )


def _system_code(error: Exception) -> int | None:
    """The number of the system's error; None for an error of another kind.

    A library that closes its file after the error may raise another one from there.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        if found := _CODE.search(str(cause)):
            return int(found[1])
        cause = cause.__cause__ or cause.__context__
    return None


def _said(code: int, error: Exception) -> str:
    if code in FULL:
        return "the disk is full; make room and run the same command again"
    named = getattr(error, "filename", None)
    reason = f"{os.strerror(code)}{f': {named}' if named else ''}"
    return f"can't be written ({reason}); allowed: a folder that this user may write to"
