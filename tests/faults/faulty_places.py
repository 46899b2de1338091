"""Places where things go wrong: disks that are full or read-only, processes that are killed."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from conftest import SNAKEMAKE, Workspace
from resumable_runs import SERVER

NOT_PRIVATE = "no mounts of its own for a process here (unshare)"
NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)


# disks


def in_own_mounts(function: Callable[..., Any], *arguments: object, seconds: float = 240) -> Any:
    """What a function returns in a process with mounts of its own; skips where there are none."""
    ours, theirs = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_in_own_mounts, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            pytest.fail(f"{function.__name__} took longer than {seconds} s")
        result = ours.recv()
    finally:
        process.kill()
        process.join()
    if result == NOT_PRIVATE:
        pytest.skip(NOT_PRIVATE)
    if isinstance(result, BaseException):
        raise result
    return result


def _in_own_mounts(
    answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    try:
        answer.send(function(*arguments) if _unshared() else NOT_PRIVATE)
    except BaseException as error:
        answer.send(error)


def _unshared() -> bool:
    user, group = os.getuid(), os.getgid()
    if LIBC.unshare(NEW_MOUNTS) != 0:
        if LIBC.unshare(NEW_MOUNTS | NEW_USER) != 0:
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return LIBC.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None) == 0


def mount_small_disk(folder: Path, kib: int) -> None:
    """An empty disk of this size in the place of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount(b"tmpfs", folder, b"tmpfs", 0, f"size={kib}k")


def resize_disk(folder: Path, kib: int) -> None:
    _mount(b"tmpfs", folder, b"tmpfs", REMOUNT, f"size={kib}k")


def make_read_only(folder: Path) -> None:
    _mount(bytes(folder), folder, None, BIND, None)
    _mount(bytes(folder), folder, None, BIND | REMOUNT | READ_ONLY, None)


def unmount(folder: Path) -> None:
    if LIBC.umount2(bytes(folder), 2) != 0:
        raise OSError(ctypes.get_errno(), f"umount {folder}")


def _mount(source: bytes, folder: Path, kind: bytes | None, flags: int, options: str | None) -> None:
    text = None if options is None else options.encode()
    if LIBC.mount(source, bytes(folder), kind, flags, text) != 0:
        raise OSError(ctypes.get_errno(), f"mount {folder}")


def hidden_files(folder: Path) -> list[str]:
    """What is below a folder under hidden names, beside Snakemake's own."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    mine = [path for path in found if not any(part.startswith(".snakemake") for part in path.parts)]
    return sorted(str(path) for path in mine if any(part.startswith(".") for part in path.parts))


# scripts


def status_of_script(arguments: list[str], log: Path) -> int:
    """The exit status of a script in a fork of this process, with its stderr in a file."""
    child = os.fork()
    if child == 0:
        _become_script(arguments, log)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become_script(arguments: list[str], log: Path) -> None:
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        sys.stderr = os.fdopen(2, "w")
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


# pipelines


@dataclass
class Pipeline:
    """Snakemake in a process group of its own, which ends with the block."""

    process: subprocess.Popen[str]
    log: Path

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill Snakemake alone; its jobs live on, as after a logout."""
        self.process.kill()
        self.process.wait(30)

    def status(self, seconds: float = 600) -> int:
        return self.process.wait(seconds)


def started(workspace: Workspace, *arguments: str, name: str = "said.txt") -> Pipeline:
    """Snakemake in a workspace, under the conditions of ``Workspace.snakemake``."""
    command = [str(SNAKEMAKE), "--snakefile", str(workspace.project / "Snakefile")]
    command += ["--configfile", str(workspace.study), "--directory", str(workspace.folder)]
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    log = workspace.folder / name
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--cores", "2", *arguments],
            stdout=file, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
    return Pipeline(process, log)


def finished(workspace: Workspace, *arguments: str, seconds: float = 600) -> tuple[int, str]:
    """The exit status of Snakemake, and what it said."""
    with started(workspace, *arguments, name="finished.txt") as pipeline:
        return pipeline.status(seconds), pipeline.said()


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    """What becomes true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if found := what():
            return found
        time.sleep(0.01)
    pytest.fail(f"not within {seconds} s")


def processes_in(folder: Path, script: str = "") -> list[int]:
    """Python processes of a script that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            here = Path(os.readlink(path / "cwd")) == folder.resolve()
        except OSError:
            continue
        name = words[1].decode() if len(words) > 1 else ""
        if here and "/workflow/scripts/" in name and name.endswith(script):
            found.append(int(path.name))
    return found


def unfinished_outputs(workspace: Workspace) -> set[str]:
    """Outputs of jobs that Snakemake saw begin and not end."""
    folder = workspace.folder / ".snakemake" / "incomplete"
    markers = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {base64.b64decode(name).decode() for name in markers}


def finished_outputs(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Number and time of every finished file below results/."""
    unfinished = unfinished_outputs(workspace)
    found = {}
    for path in (workspace.folder / "results").rglob("*"):
        name = str(path.relative_to(workspace.folder))
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not hidden and name not in unfinished:
            status = path.stat()
            found[name] = (status.st_ino, status.st_mtime_ns)
    return found


# what holds times of day or durations
TIMED = ("run.json", "runs.parquet", "records.parquet", "costs.parquet", "report.html", "costs.")


def values_of(workspace: Workspace) -> dict[str, str]:
    """The hash of every result that no clock decides, by its name."""
    folder = workspace.folder / "results"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(mark in path.name for mark in TIMED)
    }


def copied(finished_study: Workspace, folder: Path) -> Workspace:
    """A finished study in another folder, with the times of its files."""
    shutil.copytree(finished_study.folder, folder, symlinks=True, dirs_exist_ok=True)
    return Workspace(folder, finished_study.project)


def fresh(finished_study: Workspace, folder: Path) -> Workspace:
    """An empty folder for the same study under the same key: its results have the same bytes."""
    (folder / "resources").mkdir(parents=True)
    shutil.copy(finished_study.folder / "resources/patient.key", folder / "resources")
    shutil.copy(finished_study.study, folder)
    return Workspace(folder, finished_study.project)
