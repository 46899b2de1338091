"""Child processes that crash, hang or take too much memory cost one request and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medtransfer.data.workers import Limits, Loss, supervised_map


class Task:
    """Does to its process what the request says; doubles numbers."""

    def __call__(self, request: str | int) -> int:
        if request == "abort":
            os.abort()
        if request == "exit":
            os._exit(7)
        if request == "hang":
            time.sleep(3600)
        if request == "memory":
            return len(bytearray(2**40))
        if request == "much":
            return len(bytearray(600 * 2**20))
        if request == "raise":
            raise ValueError("a fault of the program")
        return 2 * int(request)


class CrashesOnce:
    """Kills its process at the first sight of each request: not the request's fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, request: int) -> int:
        mark = self.folder / str(request)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return request


class Memory:
    """Takes as many bytes as the request says, and gives them back."""

    def __init__(self, held: bool = False) -> None:
        self.held: object = held

    def __call__(self, request: int) -> int:
        return len(bytearray(request))


class LargeMemory(Memory):
    """The same, in a child that holds much from its beginning on."""

    def __setstate__(self, state: dict) -> None:
        self.held = bytearray(700 * 2**20)


def answers(requests: list[str | int], processes: int = 2, seconds: float = 60.0) -> dict:
    return dict(supervised_map(Task(), requests, processes, Limits(seconds, 2**29)))


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_every_request_is_answered_once(processes):
    pairs = list(supervised_map(Task(), range(200), processes))
    assert sorted(pairs) == [(number, 2 * number) for number in range(200)]


def test_no_request_gives_no_answer():
    assert answers([]) == {}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("abort", "the decoder crashed (SIGABRT)"),
        ("exit", "the decoder crashed (exit status 7)"),
    ],
)
def test_a_crash_costs_the_request_that_caused_it(request_, reason):
    numbers = list(range(40))
    found = answers([*numbers[:9], request_, *numbers[9:]])
    assert found.pop(request_) == Loss(reason)
    assert found == {number: 2 * number for number in numbers}


def test_many_crashes_cost_many_requests_and_no_other():
    requests = [number if number % 3 else "abort" for number in range(30)]
    found = list(supervised_map(Task(), requests, 2))
    assert sum(isinstance(result, Loss) for _, result in found) == 10
    assert sorted(result for _, result in found if not isinstance(result, Loss)) == [
        2 * number for number in range(30) if number % 3
    ]


def test_a_crash_that_does_not_repeat_costs_nothing(tmp_path):
    found = dict(supervised_map(CrashesOnce(tmp_path), range(6), 2))
    assert found == {number: number for number in range(6)}


def test_a_request_that_hangs_is_given_up_after_its_time():
    began = time.monotonic()
    found = answers([1, "hang", 2, 3], seconds=1.0)
    assert time.monotonic() - began < 15
    assert found == {1: 2, 2: 4, 3: 6, "hang": Loss("took longer than 1 s")}


def test_waiting_behind_others_is_not_counted_as_time():
    found = list(supervised_map(Sleeps(), [0.4] * 6, 1, Limits(seconds=1.0)))
    assert found == [(0.4, 0.4)] * 6


class Sleeps:
    def __call__(self, request: float) -> float:
        time.sleep(request)
        return request


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts on Linux only")
def test_memory_is_limited():
    with pytest.raises(MemoryError):
        answers(["much"])
    for task in (Memory(), LargeMemory(held=True)):
        found = list(supervised_map(task, [2**28] * 8, 1, Limits(memory_bytes=2**29)))
        assert found == [(2**28, 2**28)] * 8


def test_an_exception_of_the_program_ends_the_whole_map():
    with pytest.raises(ValueError, match="a fault of the program"):
        answers([1, "raise", 2])


def test_what_a_child_prints_is_not_seen(capfd):
    list(supervised_map(Prints(), ["Quixano"], 1))
    assert capfd.readouterr() == ("", "")


class Prints:
    def __call__(self, request: str) -> None:
        os.write(1, request.encode())
        os.write(2, request.encode())


ORPHANED = """
import os, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[0]))
from medtransfer.data import workers

class Forever:
    def __call__(self, request):
        open(sys.argv[1], "w").write(str(os.getpid()))
        while True:
            pass

if __name__ == "__main__":
    workers.GRACE_S = 1.0
    for _ in workers.supervised_map(Forever(), [1], 1, workers.Limits(seconds=2.0)):
        pass
"""


def test_a_hanging_child_ends_itself_when_its_parent_was_killed(tmp_path):
    (tmp_path / "job.py").write_text(ORPHANED)
    note = tmp_path / "pid"
    command = [sys.executable, str(tmp_path / "job.py"), str(note)]
    with subprocess.Popen(command) as job:
        assert _within(20, lambda: note.exists() and note.read_text() != "")
        job.kill()
    child = int(note.read_text())
    assert _within(30, lambda: not _is_running(child))


def _is_running(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def _within(seconds: float, condition) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
