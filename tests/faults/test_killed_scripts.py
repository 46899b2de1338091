"""Jobs that are killed at chosen and at random moments, and the same job again."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
from pathlib import Path

import pytest
from conftest import PROJECT
from faulty_places import hidden_files
from resumable_runs import DieAtCall, command, finished, started, write_store
from safetensors.numpy import load_file

from medtransfer.data.embedded.fractal import write_fractals

pytestmark = pytest.mark.faults
SCRIPTS = PROJECT / "workflow" / "scripts"
KILLED = -signal.SIGKILL


# the pixel store


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """100 pictures, of which some are damaged, so that rows are taken out in the end."""
    folder = tmp_path_factory.mktemp("pictures")
    write_fractals(folder, 4, 25, seed=0).to_csv(folder / "manifest.csv", index=False)
    for name in ("images/1/3.png", "images/3/24.png"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:200])
    (folder / "key").write_text("ab" * 32)
    return folder


def store_command(pictures: Path, folder: Path) -> list[str]:
    dataset = {
        "image": "file", "task": "multiclass", "labels": "formula", "classes": list("0123"),
        "image_size": 32, "manifest": str(pictures / "manifest.csv"), "max_rejected": 0.1,
    }  # fmt: skip
    return [
        str(SCRIPTS / "store.py"), "--dataset", json.dumps(dataset), "--manifest", dataset["manifest"],
        "--key", str(pictures / "key"), "--workers", "2", "--folder", str(folder),
    ]  # fmt: skip


def store_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole_store(pictures) -> dict[str, bytes]:
    assert finished(store_command(pictures, pictures / "whole"), pictures / "log") == 0
    return store_files(pictures / "whole")


PIXEL_MAP = "medtransfer.data.pixel_map"
STORE_POINTS = {
    "before the map is there": DieAtCall(PIXEL_MAP, "_reserve", 1),
    "before the journal": DieAtCall(PIXEL_MAP, "write_text", 1),
    "after the first picture": DieAtCall(f"{PIXEL_MAP}:PixelMap", "record", 1, after=True),
    "in the middle": DieAtCall(f"{PIXEL_MAP}:PixelMap", "record", 50),
    "after the last picture": DieAtCall(f"{PIXEL_MAP}:PixelMap", "record", 100, after=True),
    "before the table of rejected files": DieAtCall("medtransfer.data.store", "write_table", 1),
    "between the tables": DieAtCall("medtransfer.data.store", "write_table", 2),
    "before the pixels": DieAtCall(f"{PIXEL_MAP}:PixelMap", "finish", 1),
    "before the rows are moved": DieAtCall(PIXEL_MAP, "_move_up", 1),
    "after the rows were moved": DieAtCall(PIXEL_MAP, "_move_up", 1, after=True),
    "before the header of fewer rows": DieAtCall(PIXEL_MAP, "_write_header", 2),
    "after the header of fewer rows": DieAtCall(PIXEL_MAP, "_write_header", 2, after=True),
    "in the end": DieAtCall(f"{PIXEL_MAP}:PixelMap", "finish", 1, after=True),
}


@pytest.mark.parametrize("point", STORE_POINTS)
def test_a_store_that_is_killed_at_a_chosen_point_is_the_same_in_the_end(
    point, pictures, whole_store, tmp_path
):
    arguments = store_command(pictures, tmp_path / "store")
    assert finished(arguments, tmp_path / "log", STORE_POINTS[point]) == KILLED
    assert finished(arguments, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert store_files(tmp_path / "store") == whole_store
    assert hidden_files(tmp_path / "store") == []


def killed_at_random(arguments: list[str], log: Path, seed: int, times: int) -> int:
    """Start a job so many times and kill it at some moment; returns how often it still ran."""
    generator = random.Random(seed)
    kills = 0
    for _ in range(times):
        process = started(arguments, log)
        process.join(generator.uniform(0.05, 1.5))
        process.kill()
        process.join()
        kills += process.exitcode == KILLED
    return kills


def test_a_store_that_is_killed_at_random_moments_is_the_same_in_the_end(
    pictures, whole_store, tmp_path
):
    arguments = store_command(pictures, tmp_path / "store")
    kills = killed_at_random(arguments, tmp_path / "log", seed=3, times=10)
    assert finished(arguments, tmp_path / "log") == 0
    assert store_files(tmp_path / "store") == whole_store
    assert hidden_files(tmp_path / "store") == []
    print(f"{kills} kills of a store at random moments")


class KillAWorker:
    """Ends one of the decoding processes at each of some answers."""

    def __init__(self, calls: tuple[int, ...]) -> None:
        self.calls = calls

    def __call__(self) -> None:
        from medtransfer.data.pixel_map import PixelMap

        original, seen = PixelMap.record, []

        def record(pixels: PixelMap, outcome: object) -> None:
            seen.append(outcome)
            if len(seen) in self.calls:
                multiprocessing.active_children()[0].kill()
            original(pixels, outcome)

        PixelMap.record = record


def test_killed_decoding_processes_cost_no_picture(pictures, whole_store, tmp_path):
    arguments = store_command(pictures, tmp_path / "store")
    assert finished(arguments, tmp_path / "log", KillAWorker((5, 30, 31, 80))) == 0
    assert store_files(tmp_path / "store") == whole_store
    assert hidden_files(tmp_path / "store") == []


def test_two_stores_at_once_are_one_too_many(pictures, whole_store, tmp_path):
    """A job that outlived its Snakemake writes into the same map as the new one would."""
    from medtransfer.locks import locked_folder

    arguments = store_command(pictures, tmp_path / "store")
    with locked_folder(tmp_path / "store/.decoding"):
        assert finished(arguments, tmp_path / "log") == 1
    log = (tmp_path / "log").read_text()
    assert "another process is decoding these images; allowed: one at a time" in log
    processes = [started(arguments, tmp_path / f"log{i}") for i in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert store_files(tmp_path / "store") == whole_store
    assert hidden_files(tmp_path / "store") == []


# extraction


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A store, a run on it, and what an undisturbed extraction takes out of it."""
    folder = tmp_path_factory.mktemp("run")
    write_store(folder)
    assert finished(command(folder, folder / "run"), folder / "log") == 0
    assert finished(extraction(folder, folder / "whole"), folder / "log") == 0
    return folder


OUTPUTS = ("start", "end", "weight-distance", "filters", "filter-weights")


def extraction(run: Path, folder: Path) -> list[str]:
    outputs = [word for name in OUTPUTS for word in (f"--{name}", str(folder / name))]
    return [
        str(SCRIPTS / "extract.py"), "--images", f"{run}/images.npy", "--samples",
        f"{run}/samples.parquet", "--split", f"{run}/split.parquet", "--subset", "full", "--record",
        f"{run}/run/run.json", "--probe", "n8-b4-t8", "--device", "cpu", *outputs,
    ]  # fmt: skip


def extracted(folder: Path) -> dict[str, object]:
    assert {path.name for path in folder.iterdir()} == set(OUTPUTS)
    tables = {name: (folder / name).read_bytes() for name in OUTPUTS[2:]}
    arrays = {
        f"{name}/{key}": array.tobytes()
        for name in OUTPUTS[:2]
        for key, array in load_file(folder / name).items()
    }
    return tables | arrays


EXTRACTION_POINTS = {
    "before the first network": DieAtCall("medtransfer.representation.probing", "extract", 1),
    "between the networks": DieAtCall("medtransfer.representation.probing", "extract", 2),
    "before the first file's name": DieAtCall("pathlib:Path", "replace", 1),
    "after the first file": DieAtCall("pathlib:Path", "replace", 1, after=True),
    "before the second file is on the disk": DieAtCall("os", "fsync", 2),
    "between the tables": DieAtCall("medtransfer.tables", "write_table", 2),
    "after the last table": DieAtCall("medtransfer.tables", "write_table", 3, after=True),
}


@pytest.mark.parametrize("point", EXTRACTION_POINTS)
def test_an_extraction_that_is_killed_is_the_same_in_the_end(point, run, tmp_path):
    arguments = extraction(run, tmp_path / "out")
    assert finished(arguments, tmp_path / "log", EXTRACTION_POINTS[point]) == KILLED
    if (tmp_path / "out").is_dir():
        for path in (tmp_path / "out").iterdir():
            if not path.name.startswith("."):  # finished files are whole
                assert path.stat().st_size == (run / "whole" / path.name).stat().st_size
    assert finished(arguments, tmp_path / "log") == 0
    assert extracted(tmp_path / "out") == extracted(run / "whole")


def test_extractions_that_are_killed_at_random_moments_are_the_same_in_the_end(run, tmp_path):
    arguments = extraction(run, tmp_path / "out")
    kills = killed_at_random(arguments, tmp_path / "log", seed=5, times=8)
    assert finished(arguments, tmp_path / "log") == 0
    assert extracted(tmp_path / "out") == extracted(run / "whole")
    print(f"{kills} kills of an extraction at random moments")


@pytest.mark.parametrize("name", ["run/model.safetensors", "run/run.json", "split.parquet"])
@pytest.mark.parametrize("kind", ["cut", "empty"])
def test_an_extraction_from_damaged_files_names_them(name, kind, run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if kind == "cut" else b"")
    assert finished(extraction(tmp_path / "copy", tmp_path / "out"), tmp_path / "log") == 1
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last.startswith(f"error: {path}: damaged, no whole ")
    assert not (tmp_path / "out").exists()
