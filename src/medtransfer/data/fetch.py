"""The files of a public data set come into their folder: verified, unpacked, never overwritten.

Beside a file that was downloaded or unpacked, ``.<name>.fetched.json`` remembers where it is from and
what was unpacked of it, so that a later run neither forgets the one nor repeats the other.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medtransfer.config.access import AccessSettings, RemoteFileSettings
from medtransfer.data.archives import contents, is_archive, shown_size, unpack
from medtransfer.data.download import PATIENT, Downloads, Patience, Report, download
from medtransfer.data.http_client import Credentials, read_credentials
from medtransfer.data.owner_client import run_client
from medtransfer.data.partial_file import PartialFile, check_space, disk_problems_named, verified
from medtransfer.errors import ConfigError, DataError

ALREADY_THERE = "already there"

Record = dict[str, Any]


@dataclass(frozen=True)
class _DataSet:
    """What is wanted, where it goes, and how it is had."""

    access: AccessSettings
    folder: Path
    downloads: Downloads
    # archives of one data set often hold parts of the same folders
    unpacking: threading.Lock = field(default_factory=threading.Lock)

    def report(self, line: str) -> None:
        self.downloads.report(line)

    def missing(self) -> list[str]:
        return [name for name in self.access.expected if not (self.folder / name).exists()]


@dataclass(frozen=True)
class _Notes:
    """What is remembered of a file, beside it."""

    sha256: str
    source: str
    unpacked: Sequence[str] | None = None

    def write(self, target: Path) -> None:
        _notes_path(target).write_text(json.dumps(asdict(self)))


def fetch(
    access: AccessSettings,
    folder: Path,
    connections: int = 2,
    report: Report = lambda _: None,
    patience: Patience = PATIENT,
) -> Record:
    """Bring the files of a data set into a folder, and check that all that is expected is there.

    Files that are there with the right checksum are kept; a file that is there with a wrong one is an
    error, for a person may have placed it. The owner's client is run only when something expected is
    missing. Archives that hold something expected and missing are unpacked.

    Args:
        access: what to fetch, from where, and what must be there in the end.
        folder: made when it isn't there.
        connections: files fetched at once, at most.
        report: is given lines about the progress; called by one thread at a time.
        patience: timeouts, numbers of tries and waits.

    Returns:
        ``{"files": [...], "expected": [...]}``; of each file its name, size in bytes, sha256 and
        source: the address without its query, or ``"already there"`` of one placed by a person.

    Raises:
        DataError: with one line for each file that can't be had, with what is missing in the end and
            how to get it, or with the missing environment variable.
        ConfigError: ``connections`` is less than 1.
    """
    if connections < 1:
        raise ConfigError(f"connections is {connections}; allowed: at least 1")
    with disk_problems_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        wanted = _wanted(access, folder)
        to_come = [file for file in wanted if not (folder / file.name).exists()]
        credentials = read_credentials(access) if to_come else Credentials(access)
        data = _DataSet(access, folder, Downloads(credentials, patience, _one_at_a_time(report)))
        _announce(data, to_come)
        files = _bring_all(data, wanted, connections)
        _complete(data)
    return {"files": files, "expected": list(access.expected)}


def _wanted(access: AccessSettings, folder: Path) -> list[RemoteFileSettings]:
    """The files to bring. An archive needn't come where a person has put all that is expected of it."""
    placed = bool(access.expected) and all((folder / name).exists() for name in access.expected)
    return [f for f in access.files if not (placed and f.unpack) or (folder / f.name).exists()]


def _one_at_a_time(report: Report) -> Report:
    lock = threading.Lock()

    def locked(line: str) -> None:
        with lock:
            report(line)

    return locked


def _announce(data: _DataSet, to_come: Sequence[RemoteFileSettings]) -> None:
    """Say how much is to come, and refuse what doesn't fit on the disk."""
    if not to_come:
        return
    needed = sum(max(0, f.size - PartialFile(data.folder / f.name).length()) for f in to_come)
    size = shown_size(needed)
    if not all(file.size for file in to_come):
        size = f"at least {size}" if needed else "of unknown size"
    data.report(f"{len(to_come)} file{'s' * (len(to_come) > 1)}, {size}")
    check_space(data.folder, needed)


def _bring_all(data: _DataSet, wanted: Sequence[RemoteFileSettings], connections: int) -> list[Record]:
    """All files, some at once; those that fail don't keep the others from completing."""
    with ThreadPoolExecutor(connections) as pool:
        futures = [pool.submit(_bring, data, file) for file in wanted]
        try:
            wait(futures)
        except BaseException:
            data.downloads.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    failures = [str(error) for error in map(_failure, futures) if error]
    if failures:
        raise DataError("\n".join([*failures, *_by_hand(data)]))
    return [future.result() for future in futures]


def _by_hand(data: _DataSet) -> list[str]:
    """How a person gets the files and where they go, in lines."""
    told = data.access.instructions.strip()
    return [told, f"put what is missing into {data.folder} and run this again"] if told else []


def _failure(future: Future[Record]) -> DataError | None:
    error = future.exception()
    if error is None or isinstance(error, DataError):
        return error
    raise error


def _bring(data: _DataSet, file: RemoteFileSettings) -> Record:
    """One file, there and verified, unpacked when it is to be; returns its record."""
    target = data.folder / file.name
    with disk_problems_named(target):
        if target.exists():
            notes = _notes_of(target, _verified_in_place(file, target))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            source, sha256 = download(file, target, data.downloads)
            notes = _Notes(sha256, source)
            notes.write(target)
        if file.unpack:
            _unpack_once(data, target, notes)
        size = target.stat().st_size
    return {"name": file.name, "size": size, "sha256": notes.sha256, "source": notes.source}


def _verified_in_place(file: RemoteFileSettings, target: Path) -> str:
    """The sha256 of a file that is there."""
    sha256, problem = verified(file, target)
    if problem:
        raise DataError(
            f"{target}: {problem}; it was there before and isn't overwritten: delete it to fetch it "
            "again"
        )
    return sha256


def _notes_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.fetched.json")


def _notes_of(target: Path, sha256: str) -> _Notes:
    """What an earlier run noted of a file with this very content, if there was one."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        notes = _Notes(**json.loads(_notes_path(target).read_text()))
        if notes.sha256 == sha256:
            return notes
    return _Notes(sha256, ALREADY_THERE)


def _unpack_once(data: _DataSet, archive: Path, notes: _Notes) -> None:
    """Unpack beside the archive, unless all that is in it is there from the last time."""
    folder = archive.parent
    if notes.unpacked is None or not all((folder / name).exists() for name in notes.unpacked):
        data.report(f"{archive.name}: unpacking")
        with data.unpacking:
            unpacked = unpack(archive, folder)
        replace(notes, unpacked=unpacked).write(archive)


def _complete(data: _DataSet) -> None:
    """All that is expected is there: from archives, from the owner's client, or placed by hand."""
    problems = _unpack_holders(data)
    if data.missing() and data.access.client:
        run_client(data.access, data.folder, data.report, data.downloads.patience.report_every)
        problems = _unpack_holders(data)
    missing = data.missing()
    if missing:
        lines = [
            f"{data.folder}: missing: {', '.join(missing)}",
            *problems,
            *(_by_hand(data) or [f"put what is missing into {data.folder} and run this again"]),
        ]
        raise DataError("\n".join(lines))


def _unpack_holders(data: _DataSet) -> list[str]:
    """Unpack the archives in the folder that hold something missing; returns what went wrong."""
    problems = []
    for archive in sorted(data.folder.iterdir()) if data.missing() else []:
        if not is_archive(archive) or not archive.is_file() or archive.name.startswith("."):
            continue
        try:
            if _holds(archive, data.missing()):
                data.report(f"{archive.name}: unpacking")
                unpack(archive, data.folder)
        except DataError as error:
            problems.append(str(error))
    return problems


def _holds(archive: Path, missing: Sequence[str]) -> bool:
    wanted = [PurePosixPath(name) for name in missing]
    found = map(PurePosixPath, contents(archive) if wanted else [])
    return any(name.is_relative_to(path) for name in found for path in wanted)
