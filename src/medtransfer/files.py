"""Files that are written whole or not at all, and files of ours that turn out to be damaged.

What a process was writing when it was killed, or when the disk was full, never has the name of a
finished file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtransfer.disk_problems import damage_named, disk_problems_named
from medtransfer.locks import NAME as LOCK
from medtransfer.locks import hidden_folder

# for which another process may write the same file
PATIENCE_SECONDS = 600.0


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write a file to, which gets its name when the block has ended well.

    The place is in a hidden folder beside it, of the same name and ``.part``. A block that fails leaves
    nothing and the old file, if there was one. A process that is killed leaves the hidden folder, which
    the next one that writes the file removes. Of two processes that write a file, one waits for the
    other. The file is on the disk before it has its name, and is readable by those that the umask lets.

    Args:
        path: of the file; its folder is made if it isn't there.

    Raises:
        FileError: the disk is full, or doesn't take the file for another reason.
    """
    hidden = path.with_name(f".{path.name}.part")
    with disk_problems_named(path):
        hidden.mkdir(parents=True, exist_ok=True)
    work = f"writing {path}"
    with hidden_folder(hidden, PATIENCE_SECONDS, work), disk_problems_named(path):
        yield hidden / path.name
        (hidden / path.name).chmod((hidden / LOCK).stat().st_mode & 0o777)
        reach_the_disk(hidden / path.name)
        (hidden / path.name).replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote.

    Raises:
        FileError: no such file, or a damaged one.
    """
    with damage_named(path, "JSON file", (ValueError,)):
        return json.loads(path.read_text(encoding="utf-8"))


def reach_the_disk(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, which a crash could otherwise lose."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
