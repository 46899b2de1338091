"""Devices of jobs: a lock file a slot, taken by whole processes as Snakemake starts them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import medtransfer
from medtransfer.errors import DeviceError
from medtransfer.training.devices import leased_device, visible_devices

SOURCE = str(Path(medtransfer.__file__).parents[1])
PATIENCE = 20.0

HOLD = """
import os, pathlib, sys, time
from medtransfer.training.devices import leased_device
folder, report, stop = map(pathlib.Path, sys.argv[1:4])
slots = int(sys.argv[4])
report.with_suffix(".begun").touch()
with leased_device(os.environ["WANTED"], slots, folder) as device:
    partial = report.with_suffix(".part")
    partial.write_text(device + " " + os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
    partial.replace(report)
    while not stop.exists():
        time.sleep(0.02)
"""


# A job writes when it has got a device and when it gives it back, each in one appended line.
WRITE = """
import os, pathlib, sys, time
from medtransfer.training.devices import leased_device
folder, events, slots, seconds = sys.argv[1:5]
def note(what):
    line = f"{what} {os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']} {time.monotonic()}\\n"
    os.write(stream, line.encode())
stream = os.open(events, os.O_WRONLY | os.O_APPEND)
with leased_device("cuda", int(slots), pathlib.Path(folder)):
    note("begin")
    time.sleep(float(seconds))
    note("end")
"""
JOBS = 50


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


@pytest.fixture
def no_gpus(monkeypatch, tmp_path):
    """No CUDA_VISIBLE_DEVICES and no nvidia-smi on the path."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


class Job:
    """A process that holds a device until it is told to stop."""

    def __init__(self, folder: Path, name: str, slots: int, environment: dict[str, str]) -> None:
        self.report, self.stop = folder / f"{name}.report", folder / f"{name}.stop"
        self.errors = folder / f"{name}.errors"
        command = [sys.executable, "-c", HOLD, folder / "locks", self.report, self.stop, slots]
        defaults = {"PYTHONPATH": SOURCE, "WANTED": "cuda", "CUDA_VISIBLE_DEVICES": "0,1"}
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **defaults, **environment},
            stderr=self.errors.open("w"),
        )

    def device(self) -> str:
        """``cuda <its CUDA_VISIBLE_DEVICES>`` once it holds one."""
        self._wait_for(self.report)
        return self.report.read_text()

    def log(self) -> str:
        """What it has written to stderr, once it is over."""
        return self.errors.read_text()

    def waits(self) -> bool:
        """Whether the job, still running, holds nothing a while after it has asked."""
        self._wait_for(self.report.with_suffix(".begun"))
        time.sleep(0.3)
        return not self.report.exists() and self.process.poll() is None

    def _wait_for(self, file: Path) -> None:
        end = time.monotonic() + PATIENCE
        while not file.exists():
            assert self.process.poll() is None, "the job ended early"
            assert time.monotonic() < end, f"the job made no {file.name}"
            time.sleep(0.02)

    def finish(self) -> int:
        self.stop.touch()
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(tmp_path) -> Iterator[object]:
    jobs: list[Job] = []

    def make(slots: int = 1, **environment: str) -> Job:
        jobs.append(Job(tmp_path, f"job{len(jobs)}", slots, environment))
        return jobs[-1]

    yield make
    for job in jobs:
        job.process.kill()
        job.process.wait()


def test_two_jobs_get_different_devices_and_a_third_waits_for_one(start):
    first, second = start(), start()
    assert {first.device(), second.device()} == {"cuda 0", "cuda 1"}
    third = start()
    assert third.waits()
    assert second.finish() == 0
    assert third.device() == second.device()
    assert first.finish() == 0
    assert third.finish() == 0


def test_a_killed_job_frees_its_device(start):
    first, second = start(), start()
    freed = first.device()
    second.device()
    third = start()
    assert third.waits()
    killed = time.monotonic()
    first.process.kill()
    assert third.device() == freed
    assert time.monotonic() - killed < 2.0


def test_jobs_that_share_keep_off_a_device_that_a_job_has_to_itself(start):
    alone = start(1)
    assert alone.device() == "cuda 0"
    assert [start(2).device() for _ in range(2)] == ["cuda 1", "cuda 1"]
    third = start(2)
    assert third.waits()
    third.process.kill()
    third.process.wait()
    last = start(1)
    assert last.waits()  # one of the two has room for a job that shares, none is free
    alone.finish()
    assert last.device() == "cuda 0"


@pytest.mark.parametrize("slots", [1, 2])
def test_of_fifty_jobs_that_are_killed_at_random_never_too_many_are_on_one_device(slots, tmp_path):
    generator = random.Random(slots)
    events = tmp_path / "events"
    events.touch()
    killed: dict[int, float] = {}
    waiting, running = list(range(JOBS)), {}
    end = time.monotonic() + 3 * PATIENCE
    while waiting or running:
        assert time.monotonic() < end, "jobs wait for devices that must be free"
        while waiting and len(running) < 10:
            number = waiting.pop()
            # a third holds its device until it is killed, a sixth is killed whenever it may be
            job = _writing_job(tmp_path, slots, 30.0 if number % 3 == 0 else 0.05)
            running[job] = 0.05 if number % 6 == 1 else 0.0
        holding = _holding(events, killed)
        for job, chance in running.items():
            long = job.pid in holding and job.args[-1] == "30.0"
            if job.pid not in killed and generator.random() < (0.3 if long else chance):
                killed[job.pid] = time.monotonic()
                job.kill()
        for job in [job for job in running if job.poll() is not None]:
            assert job.returncode == 0 or job.pid in killed
            del running[job]
        time.sleep(0.02)
    held = _intervals(events, killed)
    assert len(set(killed) & _begun(events)) >= JOBS // 3
    assert set(held) == {"0", "1"}
    assert {device: _most_at_once(found) for device, found in held.items()} == {"0": slots, "1": slots}


def _writing_job(folder: Path, slots: int, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, folder / "locks", folder / "events", str(slots), str(seconds)],
        env={**os.environ, "PYTHONPATH": SOURCE, "CUDA_VISIBLE_DEVICES": "0,1"},
        stderr=subprocess.DEVNULL,
    )


def _lines(events: Path) -> list[tuple[str, int, str, float]]:
    rows = (line.split() for line in events.read_text().splitlines())
    return [(what, int(pid), device, float(when)) for what, pid, device, when in rows]


def _begun(events: Path) -> set[int]:
    return {pid for what, pid, _, _ in _lines(events) if what == "begin"}


def _holding(events: Path, killed: dict[int, float]) -> set[int]:
    """Jobs that have a device by their own account."""
    ended = {pid for what, pid, _, _ in _lines(events) if what == "end"}
    return _begun(events) - ended - set(killed)


def _intervals(events: Path, killed: dict[int, float]) -> dict[str, list[tuple[float, float]]]:
    """From when to when, at least, jobs have held each device; a killed one until it was killed."""
    ends = {pid: when for what, pid, _, when in _lines(events) if what == "end"}
    held = defaultdict(list)
    for what, pid, device, begin in _lines(events):
        if what == "begin":
            held[device].append((begin, ends.get(pid, killed.get(pid, begin))))
    return held


def _most_at_once(intervals: list[tuple[float, float]]) -> int:
    changes = sorted([(end, -1) for _, end in intervals] + [(begin, 1) for begin, _ in intervals])
    count = most = 0
    for _, change in changes:
        count += change
        most = max(most, count)
    return most


def test_two_slots_a_device_let_four_jobs_share_two_and_a_fifth_waits(start):
    held = [start(2).device() for _ in range(4)]
    assert sorted(held[:2]) == ["cuda 0", "cuda 1"]  # the emptiest first
    assert sorted(held) == ["cuda 0", "cuda 0", "cuda 1", "cuda 1"]
    assert start(2).waits()


@pytest.mark.parametrize(
    ("listed", "devices"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0 ", ["2", "0"]),
        ("0,0,1", ["0", "1"]),
        ("GPU-3f,GPU-4a", ["GPU-3f", "GPU-4a"]),
        ("MIG-GPU-3f/1/0,MIG-9c", ["MIG-GPU-3f/1/0", "MIG-9c"]),
        # CUDA looks no further than the first name that is none
        ("0,-1,1", ["0"]),
        ("0,,1", ["0"]),
        ("NoDevFiles", []),
    ],
)
def test_the_visible_devices_are_those_that_cuda_takes_from_the_variable(listed, devices, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_devices() == devices


@pytest.mark.parametrize("name", ["GPU-3f9a", "MIG-GPU-3f/1/0", "MIG-9c"])
def test_a_job_takes_only_devices_that_it_may_see(name, start):
    only = start(CUDA_VISIBLE_DEVICES=name)
    assert only.device() == f"cuda {name}"
    assert start(CUDA_VISIBLE_DEVICES=name).waits()
    assert start(CUDA_VISIBLE_DEVICES="5,6").device() == "cuda 5"


def test_a_job_s_log_says_what_it_runs_on_and_whether_it_waits(start):
    first = start(CUDA_VISIBLE_DEVICES="3,4")
    assert first.device() == "cuda 3"
    second, third = start(2, CUDA_VISIBLE_DEVICES="4"), start(2, CUDA_VISIBLE_DEVICES="4")
    assert second.device() == third.device() == "cuda 4"
    fourth = start(CUDA_VISIBLE_DEVICES="3")
    assert fourth.waits()
    jobs = (first, second, third, fourth)
    assert [job.finish() for job in jobs] == [0, 0, 0, 0]
    logs = [job.log() for job in jobs]
    assert logs[0] == "device 3, slot 0\n"
    assert sorted(logs[1:3]) == ["device 4, slot 0\n", "device 4, slot 1\n"]
    assert logs[3] == "all slots of 3 are taken; waiting for one\ndevice 3, slot 0\n"


def test_under_slurm_the_devices_stay_as_they_are_and_nothing_is_locked(start, tmp_path):
    jobs = [start(SLURM_JOB_ID="17") for _ in range(2)]
    assert [job.device() for job in jobs] == ["cuda 0,1", "cuda 0,1"]
    assert [job.finish() for job in jobs] == [0, 0]
    assert jobs[0].log() == "device 0,1, bound by Slurm\n"
    assert not (tmp_path / "locks").exists()


@pytest.mark.usefixtures("gpus")
def test_the_lease_ends_with_its_block(tmp_path, start):
    with leased_device("cuda", 1, tmp_path / "locks") as device:
        assert device == "cuda"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        waiting = start(CUDA_VISIBLE_DEVICES="0")
        assert waiting.waits()
    assert waiting.device() == "cuda 0"


def test_the_lease_ends_when_its_block_fails(monkeypatch, tmp_path, start):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(KeyError, match="oops"), leased_device("cuda", 1, tmp_path / "locks"):
        waiting = start(CUDA_VISIBLE_DEVICES="0")
        assert waiting.waits()
        raise KeyError("oops")
    assert waiting.device() == "cuda 0"


@pytest.mark.usefixtures("no_gpus")
def test_cuda_without_a_device_is_an_error_that_says_what_to_do():
    message = r"no GPU is visible.*'cpu' or 'auto' .*hardware\.device.*CUDA_VISIBLE_DEVICES"
    with pytest.raises(DeviceError, match=message), leased_device("cuda"):
        pass


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_devices_are_not_there(monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert visible_devices() == []
    with pytest.raises(DeviceError, match="no GPU"), leased_device("cuda"):
        pass


@pytest.mark.usefixtures("no_gpus")
def test_auto_is_the_cpu_where_there_is_no_device(tmp_path, capsys):
    with leased_device("auto", folder=tmp_path / "locks") as device:
        assert device == "cpu"
    assert not (tmp_path / "locks").exists()
    assert capsys.readouterr().err == "device cpu\n"


@pytest.mark.usefixtures("gpus")
def test_auto_takes_a_device_where_there_is_one(tmp_path):
    with leased_device("auto", folder=tmp_path / "locks") as device:
        assert device == "cuda"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.usefixtures("gpus")
def test_the_cpu_takes_no_device_although_there_are_some(tmp_path):
    with leased_device("cpu", folder=tmp_path / "locks") as device:
        assert device == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert not (tmp_path / "locks").exists()


@pytest.mark.usefixtures("no_gpus")
def test_the_devices_of_the_machine_are_those_that_nvidia_smi_lists(tmp_path):
    listing = tmp_path / "nvidia-smi"
    listing.write_text(
        textwrap.dedent("""\
            #!/bin/sh
            [ "$1" = -L ] || exit 2
            echo 'GPU 0: NVIDIA H200 (UUID: GPU-aaaa)'
            echo '  MIG 1g.18gb Device 0: (UUID: MIG-bbbb)'
            echo '  MIG 2g.35gb Device 1: (UUID: MIG-dddd)'
            echo 'GPU 1: NVIDIA H200 (UUID: GPU-cccc)'
        """)
    )
    listing.chmod(0o755)
    # torch sees one instance a process at most, and no more of a GPU that is divided
    assert visible_devices() == ["MIG-bbbb", "MIG-dddd", "1"]


@pytest.mark.usefixtures("no_gpus")
def test_a_broken_driver_means_no_devices(tmp_path):
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    listing.chmod(0o755)
    assert visible_devices() == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


LEASE = """
import os, pathlib, sys
os.umask(0o077)
from medtransfer.errors import DeviceError
from medtransfer.training.devices import leased_device
os.setuid(int(sys.argv[2]))
try:
    with leased_device("cuda", 1, pathlib.Path(sys.argv[1])):
        if sys.argv[3:]:
            pathlib.Path(sys.argv[3]).touch()
            input()
except DeviceError as error:
    print(error)
"""
NEEDS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="becomes other users")


def lease_as(user: int, locks: Path, *words: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LEASE, locks, str(user), *words],
        env={**os.environ, "PYTHONPATH": SOURCE, "CUDA_VISIBLE_DEVICES": "0"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@NEEDS_ROOT
def test_two_users_keep_off_each_other_s_devices(shared):
    held = shared / "held"
    first = lease_as(65534, shared / "locks", held)
    end = time.monotonic() + PATIENCE
    while not held.exists() and time.monotonic() < end:
        time.sleep(0.02)
    second = lease_as(65533, shared / "locks")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1.0)
    first.communicate("\n", timeout=PATIENCE)
    assert second.communicate(timeout=PATIENCE) == (
        "", "all slots of 0 are taken; waiting for one\ndevice 0, slot 0\n"
    )  # fmt: skip
    assert lease_as(0, shared / "locks").communicate(timeout=PATIENCE) == ("", "device 0, slot 0\n")


@NEEDS_ROOT
@pytest.mark.parametrize("locks", ["closed", "closed/locks"])
def test_locks_in_a_folder_that_another_user_has_closed_are_an_error_that_says_so(locks, shared):
    (shared / "closed").mkdir(mode=0o755)
    output, errors = lease_as(65534, shared / locks).communicate(timeout=PATIENCE)
    assert f"{shared / locks}" in output
    assert "no lock of a GPU can be taken here (Permission denied); allowed: a folder" in output
    assert errors == ""


@pytest.mark.usefixtures("gpus")
def test_a_file_in_place_of_the_folder_of_locks_is_an_error(tmp_path):
    (tmp_path / "locks").write_text("no folder")
    lease = leased_device("cuda", 1, tmp_path / "locks")
    with pytest.raises(DeviceError, match=r"locks/0: no lock .*Not a directory"), lease:
        pass


def test_choosing_a_device_imports_no_torch(tmp_path):
    code = """
        import sys, pathlib
        from medtransfer.training.devices import leased_device
        with leased_device("auto", 1, pathlib.Path(sys.argv[1])) as device:
            print(device, "torch" in sys.modules, "numpy" in sys.modules)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        env={**os.environ, "PYTHONPATH": SOURCE, "CUDA_VISIBLE_DEVICES": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["cuda", "False", "False"]
