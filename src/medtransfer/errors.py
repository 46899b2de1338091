"""Errors that a user can mend; scripts show their message without a traceback."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator

DISK_PROBLEMS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE)


class MedtransferError(Exception):
    """Something outside of the program is wrong; the message says what, where, what is allowed."""


class ConfigError(MedtransferError):
    """A setting is wrong; the message names the place, what was found and what is allowed."""


class DataError(MedtransferError):
    """The data are not what they should be; the message says which, where, and what is allowed."""


class FileError(DataError):
    """A file can't be written, or isn't what was written; the message says which, why, what to do."""


class TrainingError(MedtransferError):
    """Training can't go on; the message says at which step and why."""


class DeviceError(MedtransferError):
    """A GPU was asked for and none is visible, or it was lost."""


@contextlib.contextmanager
def shown_plainly() -> Iterator[None]:
    """End the program with the message of a MedtransferError, exit status 1.

    So does a disk that is full, read-only or gone where nothing of ours is being written.
    """
    try:
        yield
    except MedtransferError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK_PROBLEMS:
            raise
        sys.exit(f"error: {error.filename or 'a temporary file'}: {error.strerror}")
