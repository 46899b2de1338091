"""A training job on a full disk, on damaged images and on a GPU that goes away."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from faulty_places import in_own_mounts, mount_small_disk, resize_disk, status_of_script, unmount
from resumable_runs import FILES, command, finished, write_store

from medtransfer.data.stored_images import check_pixels
from medtransfer.errors import DeviceError
from medtransfer.training.lost_device import MARKS, is_lost_device, lost_device_named


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder)
    images = np.load(folder / "images.npy")
    samples = pd.read_parquet(folder / "samples.parquet")
    hashes = [hash_of(image) for image in images]
    samples.assign(pixel_sha256=hashes).to_parquet(folder / "samples.parquet")
    return folder


def hash_of(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(store) -> dict[str, bytes]:
    """The files of a run that nobody disturbed."""
    assert finished(command(store, store / "whole"), store / "log") == 0
    return files_of(store / "whole")


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


# a full disk


@dataclass(frozen=True)
class Attempt:
    """What came of a training on a disk of some size, and of the same command with room."""

    kib: int
    status: int
    log: str
    left: set[str]
    again: int
    log_again: str
    files: dict[str, bytes]
    left_again: set[str]


def attempts(arguments: list[str], folder: Path, kibs: list[int]) -> list[Attempt]:
    log = folder.parent / "log"
    found = []
    for kib in kibs:
        mount_small_disk(folder, kib)
        status = status_of_script(arguments, log)
        said, left = log.read_text(), {path.name for path in folder.iterdir()}
        resize_disk(folder, 64 * 1024)
        again = status_of_script(arguments, log)
        names = {path.name for path in folder.iterdir()}
        found.append(Attempt(kib, status, said, left, again, log.read_text(), files_of(folder), names))
        unmount(folder)
    return found


@pytest.mark.faults
def test_on_a_full_disk_a_run_says_so_and_goes_on_when_there_is_room(store, whole, tmp_path):
    """States, weights and tables come to the disk; which of them doesn't fit depends on its size."""
    folder = tmp_path / "run"
    arguments = command(store, folder)
    kibs = [4, 12, 20, 28, 36, 44]
    found = in_own_mounts(attempts, arguments, folder, kibs)
    failed = [attempt for attempt in found if attempt.status != 0]
    assert len(failed) >= 4
    for attempt in failed:
        last = attempt.log.strip().splitlines()[-1]
        assert last.startswith(f"error: {folder}/"), attempt.log
        assert "the disk is full; make room and run the same command again" in last
        assert "Traceback" not in attempt.log
    for attempt in found:
        assert attempt.left <= {".state", *FILES, "run.json"}
        assert attempt.again == 0, attempt.log_again
        assert attempt.files == whole
        assert attempt.left_again == {*FILES, "run.json"}
    resumed = sum("going on from step" in attempt.log_again for attempt in failed)
    unsaved = sum("is not saved" in attempt.log for attempt in found)
    print(
        f"{len(found)} sizes of the disk, {len(failed)} too small, {unsaved} without room for states, "
        f"{resumed} went on from a state"
    )
    assert unsaved and resumed


# images that aren't what was stored


@pytest.mark.parametrize("kind", ["cut", "empty", "zeros", "one bit", "other number"])
def test_a_run_on_damaged_images_stops_and_names_the_file(kind, store, tmp_path):
    shutil.copytree(store, tmp_path / "store", ignore=shutil.ignore_patterns("whole"))
    path = tmp_path / "store/images.npy"
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if kind == "cut":
        content = content[:place]
    elif kind == "empty":
        content = bytearray()
    elif kind == "zeros":
        content[place : place + 400] = bytes(400)
    elif kind == "one bit":
        content[place] ^= 1
    path.write_bytes(content)
    if kind == "other number":
        np.save(path, np.load(path)[:-1])
    arguments = command(tmp_path / "store", tmp_path / "run")
    assert finished(arguments, tmp_path / "log") == 1
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "error" in line]
    assert line.startswith(f"error: {path}: damaged, ")
    assert line.endswith("delete it and run the same command again, which makes it anew")
    assert not any((tmp_path / "run" / name).exists() for name in FILES)


def test_only_the_rows_that_are_used_are_looked_at():
    images = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 1), dtype=np.uint8)
    samples = pd.DataFrame({"pixel_sha256": [hash_of(image) for image in images]})
    images[4] = 0
    check_pixels(images, samples, np.array([0, 3, 5]))
    with pytest.raises(Exception, match=r"1 of 2 images are not as stored, the first in row 4"):
        check_pixels(images, samples, np.array([4, 5]))


# a GPU that goes away

SAID = (
    "CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call, so "
    "the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)


class LoseTheDevice:
    """Replaces a step of a run by one that fails as torch does when the device is gone."""

    def __init__(self, call: int, message: str) -> None:
        self.call, self.message = call, message

    def __call__(self) -> None:
        from medtransfer.training import stages

        os.environ["CUDA_VISIBLE_DEVICES"] = "3"
        error = getattr(torch, "AcceleratorError", RuntimeError)
        original, self.calls = stages.take_step, 0

        def step(*arguments: object, **settings: object) -> object:
            self.calls += 1
            if self.calls >= self.call:
                raise error(SAID.format(self.message))
            return original(*arguments, **settings)

        stages.take_step = step


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (1, "unspecified launch failure"),
        pytest.param(5, "uncorrectable ECC error encountered", marks=pytest.mark.faults),
        pytest.param(13, "unspecified launch failure", marks=pytest.mark.faults),
        (20, "no CUDA-capable device is detected"),
    ],
)
def test_a_lost_gpu_is_named_and_the_run_goes_on_to_the_same_bits(
    call, message, store, whole, tmp_path
):
    arguments = command(store, tmp_path / "run")
    assert finished(arguments, tmp_path / "log", LoseTheDevice(call, message)) == 1
    log = (tmp_path / "log").read_text()
    last = log.strip().splitlines()[-1]
    assert last == (
        f"error: GPU 3 was lost or is of no use (CUDA error: {message}); the same command goes on from "
        f"step {call - 1}. If it happens again, see what nvidia-smi and the system's log say of the "
        "GPU, and leave it out with CUDA_VISIBLE_DEVICES"
    )
    assert "Traceback" not in log
    assert finished(arguments, tmp_path / "log") == 0
    assert f"going on from step {call - 1}" in (tmp_path / "log").read_text()
    assert files_of(tmp_path / "run") == whole
    assert not (tmp_path / "run/.state").exists()


def test_a_gpu_that_is_listed_and_of_no_use_is_named(store, tmp_path):
    """nvidia-smi still lists it; torch, here one without a GPU, says what it finds."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: a card (UUID: GPU-1)'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    arguments = command(store, tmp_path / "run", "--device", "cuda")
    status = finished(arguments, tmp_path / "log", WithTools(tmp_path))
    assert status == 1
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last.startswith("error: GPU 0 was lost or is of no use (")
    assert "; nothing is kept." in last


class WithTools:
    """Puts a folder in front of the programs that are found, and locks of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        os.environ["PATH"] = f"{self.folder}:{os.environ['PATH']}"
        os.environ["TMPDIR"] = str(self.folder)
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        os.environ.pop("SLURM_JOB_ID", None)


@pytest.mark.parametrize("mark", MARKS)
def test_every_word_of_a_lost_device_is_known(mark):
    assert is_lost_device(RuntimeError(f"CUDA error: {mark}\nmore"))


@pytest.mark.parametrize(
    "message", ["CUDA error: device-side assert triggered", "CUDA out of memory", "shape mismatch"]
)
def test_errors_of_the_program_keep_their_traceback(message):
    with pytest.raises(RuntimeError, match=message), lost_device_named("0"):
        raise RuntimeError(message)


def test_jobs_without_a_state_begin_again():
    lost = pytest.raises(DeviceError, match=r"GPU 1 was lost.*; the same command begins this job again")
    with lost, lost_device_named("1"):
        raise RuntimeError("CUDA error: unspecified launch failure")


def test_the_record_of_a_run_that_lost_its_device_says_that_it_went_on(store, tmp_path):
    arguments = command(store, tmp_path / "run")
    finished(arguments, tmp_path / "log", LoseTheDevice(9, MARKS[0]))
    finished(arguments, tmp_path / "log")
    assert json.loads((tmp_path / "run/run.json").read_text())["resumed"] == 1
