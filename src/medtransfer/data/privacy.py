"""Patient identifiers become keyed hashes before anything is stored."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from medtransfer.errors import DataError

SHORTEST_KEY = 16


def load_key(path: Path) -> bytes:
    """The secret key at ``path``; made with owner-only access when there is none.

    Two jobs may ask at once: the first to link its file wins and both read the same key.

    Raises:
        DataError: the file holds no usable key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
        own.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) < SHORTEST_KEY:
        raise DataError(
            f"{path}: no key of at least {SHORTEST_KEY} bytes in hexadecimal digits; restore it from "
            "a copy, or delete it and the stores made with it"
        )
    return key


def keyed_hash(key: bytes, value: str) -> str:
    """The first 16 hex digits of HMAC-SHA256: stable under one key, not to be reversed without it."""
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]
