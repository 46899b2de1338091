"""Devices of jobs: a lock file a slot, taken by whole processes as Snakemake starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
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
        command = [sys.executable, "-c", HOLD, folder / "locks", self.report, self.stop, slots]
        defaults = {"PYTHONPATH": SOURCE, "WANTED": "cuda", "CUDA_VISIBLE_DEVICES": "0,1"}
        self.process = subprocess.Popen(
            [str(word) for word in command], env={**os.environ, **defaults, **environment}
        )

    def device(self) -> str:
        """``cuda <its CUDA_VISIBLE_DEVICES>`` once it holds one."""
        self._wait_for(self.report)
        return self.report.read_text()

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
    first.process.kill()
    first.process.wait()
    assert start().device() == freed


def test_two_slots_a_device_let_four_jobs_share_two_and_a_fifth_waits(start):
    held = [start(2).device() for _ in range(4)]
    assert sorted(held[:2]) == ["cuda 0", "cuda 1"]  # the emptiest first
    assert sorted(held) == ["cuda 0", "cuda 0", "cuda 1", "cuda 1"]
    assert start(2).waits()


def test_a_job_takes_only_devices_that_it_may_see(start):
    only = start(CUDA_VISIBLE_DEVICES="GPU-3f/a")
    assert only.device() == "cuda GPU-3f/a"
    assert start(CUDA_VISIBLE_DEVICES="GPU-3f/a").waits()
    assert start(CUDA_VISIBLE_DEVICES="5,6").device() == "cuda 5"


def test_under_slurm_the_devices_stay_as_they_are_and_nothing_is_locked(start, tmp_path):
    jobs = [start(SLURM_JOB_ID="17") for _ in range(2)]
    assert [job.device() for job in jobs] == ["cuda 0,1", "cuda 0,1"]
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
def test_auto_is_the_cpu_where_there_is_no_device(tmp_path):
    with leased_device("auto", folder=tmp_path / "locks") as device:
        assert device == "cpu"
    assert not (tmp_path / "locks").exists()


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
            echo 'GPU 1: NVIDIA H200 (UUID: GPU-cccc)'
        """)
    )
    listing.chmod(0o755)
    assert visible_devices() == ["0", "1"]


@pytest.mark.usefixtures("no_gpus")
def test_a_broken_driver_means_no_devices(tmp_path):
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    listing.chmod(0o755)
    assert visible_devices() == []


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
