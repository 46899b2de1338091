"""No kind of file is ever there in part: on a full or read-only disk, after a kill, for two at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_places import (
    hidden_files,
    in_own_mounts,
    make_read_only,
    mount_small_disk,
    resize_disk,
    unmount,
)
from resumable_runs import SERVER
from safetensors.numpy import load_file
from whole_files import WRITERS

from medtransfer.errors import FileError, shown_plainly
from medtransfer.files import read_json, write_text, written_whole
from medtransfer.models.weights import read_state
from medtransfer.representation.activations import read_activations
from medtransfer.representation.embedding import read_embedding
from medtransfer.tables import read_table

KINDS = pytest.mark.parametrize("name", WRITERS)
BLOCK_KIB = 4
MOST_SIZES = 8


@dataclass(frozen=True)
class Attempt:
    """What came of writing a file on a disk of some size, and of writing it again with room."""

    kib: int
    message: str
    left: dict[str, str]
    after: dict[str, str]


def contents(folder: Path) -> dict[str, str]:
    """A hash of what is in each file; of one with a header in random order, of its arrays."""
    return {
        str(path.relative_to(folder)): content(path) for path in folder.rglob("*") if path.is_file()
    }


def content(path: Path) -> str:
    if path.stem not in ("activations", "embedding") or path.stat().st_size < 100:
        return hashed(path.read_bytes())
    return hashed(pickle.dumps(sorted((k, v.tobytes()) for k, v in load_file(path).items())))


def hashed(text: bytes) -> str:
    """Of large contents that differ pytest would look for the differences for ever."""
    return hashlib.sha256(text).hexdigest()


def whole_file(folder: str, name: str) -> None:
    WRITERS[name](Path(folder) / name)


def written_elsewhere(folder: Path, name: str) -> dict[str, str]:
    """The contents of a file that a new process wrote: other tests may have set how figures look."""
    process = SERVER.Process(target=whole_file, args=(str(folder), name))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return contents(folder)


def attempts(folder: Path, name: str, kibs: list[int]) -> list[Attempt]:
    found = []
    for kib in kibs:
        mount_small_disk(folder, kib)
        (folder / name).write_bytes(b"old")
        message = ""
        try:
            WRITERS[name](folder / name)
        except FileError as error:
            message = str(error)
        left = contents(folder)
        resize_disk(folder, 64 * 1024)
        WRITERS[name](folder / name)
        found.append(Attempt(kib, message, left, contents(folder)))
        unmount(folder)
    return found


OLD = hashed(b"old")


@KINDS
def test_a_full_disk_is_named_leaves_the_old_file_and_is_no_harm_once_there_is_room(name, tmp_path):
    whole, small = tmp_path / "whole", tmp_path / "small"
    expected = written_elsewhere(whole, name)
    blocks = -(-(whole / name).stat().st_size // (1024 * BLOCK_KIB))
    step = max(1, blocks // MOST_SIZES)
    # one block holds the old file
    kibs = [BLOCK_KIB * count for count in range(1, blocks + 1, step)]
    assert len(kibs) >= 3
    for attempt in in_own_mounts(attempts, small, name, kibs):
        assert attempt.message == (
            f"{small / name}: the disk is full; make room and run the same command again"
        ), attempt.kib
        assert attempt.left == {name: OLD}
        assert attempt.after == expected


def read_only_attempt(folder: Path, name: str) -> tuple[str, dict[str, str]]:
    make_read_only(folder)
    try:
        WRITERS[name](folder / name)
    except FileError as error:
        return str(error), contents(folder)
    return "", {}


@KINDS
def test_a_read_only_folder_is_named_and_stays_as_it_is(name, tmp_path):
    (tmp_path / name).write_bytes(b"old")
    message, left = in_own_mounts(read_only_attempt, tmp_path, name)
    assert message.startswith(f"{tmp_path / name}: can't be written (Read-only file system")
    assert message.endswith("allowed: a folder that this user may write to")
    assert left == {name: OLD}


def attempt_as_nobody(folder: Path, name: str) -> tuple[str, dict[str, str]]:
    os.chdir(folder)
    with contextlib.suppress(PermissionError):  # who isn't root is refused as it is
        os.setgroups([])
        os.setuid(65534)
    try:
        WRITERS[name](Path(name))
    except FileError as error:
        return str(error), contents(Path())
    return "", {}


@KINDS
def test_a_folder_of_somebody_else_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        message, left = in_own_mounts(attempt_as_nobody, tmp_path, name)
    finally:
        tmp_path.chmod(0o755)
    assert message.startswith(f"{name}: can't be written (Permission denied")
    assert left == {name: OLD}


@KINDS
def test_others_may_read_what_the_umask_lets_them(name, tmp_path):
    before = os.umask(0o027)
    try:
        WRITERS[name](tmp_path / name)
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o640"}


# kills


def write_for_ever(name: str, folder: str) -> None:
    while True:
        WRITERS[name](Path(folder) / name)


@KINDS
def test_a_kill_at_any_moment_leaves_a_whole_file_or_none(name, tmp_path):
    """The next one that writes the file removes what was left of it."""
    expected, folder = written_elsewhere(tmp_path / "whole", name), tmp_path / "run"
    generator = random.Random(name)
    left = 0
    for _ in range(6):
        process = SERVER.Process(target=write_for_ever, args=(name, str(folder)))
        process.start()
        deadline = time.monotonic() + 60
        while not (folder / name).exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.02))
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        left += bool(hidden_files(folder))
        assert content(folder / name) == expected[name]
    assert written_elsewhere(folder, name) == expected
    assert hidden_files(folder) == []
    print(f"6 kills while writing {name}; {left} left something hidden, all of it removed")


def test_two_processes_that_write_a_file_wait_for_each_other(tmp_path):
    """Without waiting, the one would rename what the other has half written."""
    path = tmp_path / "file"
    seen: list[str] = []
    processes = [SERVER.Process(target=write_slowly, args=(str(path), letter)) for letter in "ab"]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        with contextlib.suppress(FileNotFoundError):
            seen.append(path.read_text())
        time.sleep(0.002)
    assert [process.exitcode for process in processes] == [0, 0]
    assert set(seen) <= {"a" * 1000, "b" * 1000}
    assert hidden_files(tmp_path) == []


def write_slowly(path: str, letter: str) -> None:
    for _ in range(5):
        with written_whole(Path(path)) as partial, partial.open("w") as file:
            for _ in range(10):
                file.write(letter * 100)
                file.flush()
                time.sleep(0.002)


def test_a_block_that_fails_for_another_reason_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "file") as partial:
        partial.write_text("new")
        _ = 1 / 0
    assert contents(tmp_path) == {"file": OLD}
    assert hidden_files(tmp_path) == []


# damage

READERS = {
    "table.parquet": read_table,
    "model.safetensors": read_state,
    "activations.safetensors": read_activations,
    "embedding.safetensors": read_embedding,
    "audit.json": read_json,
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_anywhere_is_named_as_damaged_with_what_to_do(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    # a text without its last line break is whole
    places = [0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 2, *range(100, len(whole), len(whole) // 20)]
    for place in places:
        path.write_bytes(whole[:place])
        with pytest.raises(FileError, match="damaged") as caught:
            READERS[name](path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(
            "delete it and run the same command again, which makes it anew"
        )
    path.unlink()
    with pytest.raises(FileError, match="no such"):
        READERS[name](path)


def test_a_table_damaged_within_is_never_read(tmp_path):
    """A block of zeros as a bad disk leaves it, and single bits; its length stays."""
    path = tmp_path / "table.parquet"
    WRITERS["table.parquet"](path)
    whole, expected = path.read_bytes(), read_table(path)
    generator = random.Random(0)
    noticed = 0
    for trial in range(200):
        damaged = bytearray(whole)
        place = generator.randrange(len(whole))
        if trial % 2:
            damaged[place] ^= 1 << generator.randrange(8)
        else:
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        path.write_bytes(damaged)
        try:
            found = read_table(path)
        except FileError:
            noticed += 1
        else:
            assert found.equals(expected)  # what was hit isn't read: names of the writer, statistics
    assert noticed > 150


def test_a_disk_problem_where_nothing_of_ours_is_written_is_a_line_too():
    with pytest.raises(SystemExit) as caught, shown_plainly():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/scratch")
    assert caught.value.code == "error: /tmp/scratch: No space left on device"
    with pytest.raises(OSError, match="Is a directory"), shown_plainly():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
