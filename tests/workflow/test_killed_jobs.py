"""A training job that was killed goes on when Snakemake runs again."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import Workspace

RUN = "tiny/chest/cbr/random/full/holdout/seed0"
FILES = {"model.safetensors", "predictions.parquet", "history.parquet", "run.json"}


@pytest.fixture(scope="module")
def settings(mini_settings) -> dict:
    """One run of the mini study that takes long enough to be killed, saved at every step."""
    settings = copy.deepcopy(mini_settings)
    settings["recipes"]["tiny"] |= {"steps": 400, "validations": 40, "dropout": 0.3, "mixup": 0.2}
    settings["studies"]["mini"]["grids"][0] |= {"inits": ["random"], "seeds": [0]}
    return settings | {"hardware": {"save_seconds": 0}}


@pytest.fixture
def workspace(tmp_path, settings) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    return workspace


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, settings) -> Workspace:
    """The same run, which nobody disturbed and which was not saved."""
    workspace = Workspace(tmp_path_factory.mktemp("finished_run"))
    workspace.write_study({key: value for key, value in settings.items() if key != "hardware"})
    workspace.snakemake(f"results/runs/{RUN}/run.json")
    return workspace


def training_process(folder: Path) -> int:
    """The process that trains in this folder, once it has done some steps."""
    log = folder / f"logs/train/{RUN}.log"
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if log.exists() and "main 20/400" in log.read_text():
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    here = (path / "cwd").resolve() == folder.resolve()
                    words = (path / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if here and len(words) > 1 and words[1].endswith(b"/train.py"):
                    return int(path.name)
        time.sleep(0.02)
    pytest.fail("no training was seen")


def interrupted(workspace: Workspace, number: int) -> str:
    """Have Snakemake train, send the job a signal, and return what Snakemake said."""
    target = f"results/runs/{RUN}/run.json"
    workspace.snakemake("--until", "split", target)
    said: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: said.append(workspace.snakemake(target, check=False)))
    thread.start()
    os.kill(training_process(workspace.folder), number)
    thread.join(60)
    (result,) = said
    assert result.returncode != 0
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.faults)]
)
def test_a_killed_training_goes_on_under_the_same_command(number, workspace, finished_run):
    folder = workspace.folder / "results/runs" / RUN
    interrupted(workspace, number)
    assert [path.name for path in folder.iterdir()] == [".state"]
    workspace.snakemake(f"results/runs/{RUN}/run.json")
    log = (workspace.folder / f"logs/train/{RUN}.log").read_text()
    step = int(re.search(r"going on from step (\d+)", log)[1])
    assert step >= 19  # the line is written before the state
    assert f"main {step + 10 - step % 10}/400" in log
    assert f"main {step - step % 10}/400" not in log
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "run.json").read_text())["resumed"] == 1
    other = finished_run.folder / "results/runs" / RUN
    for name in ("model.safetensors", "history.parquet"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    # names of images and patients are hashed with a key of each folder
    tables = [pd.read_parquet(f / "predictions.parquet") for f in (folder, other)]
    first, second = (table.drop(columns=["image_id", "patient"]) for table in tables)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize(
    "hardware",
    [{"save_seconds": None}, {"save_seconds": 5.0}, {"deterministic": True}, {"tensorboard": True}],
    ids=lambda setting: "-".join(f"{k}-{v}" for k, v in setting.items()),
)
def test_how_a_run_is_saved_and_seen_repeats_nothing(hardware, finished_run, settings):
    finished_run.write_study(settings | {"hardware": hardware})
    assert finished_run.planned(f"results/runs/{RUN}/run.json") == {}


def test_event_files_that_are_asked_for_come_or_their_package_is_named(workspace, settings):
    workspace.write_study(settings | {"hardware": {"tensorboard": True}})
    result = workspace.snakemake(f"results/runs/{RUN}/run.json", check=False)
    folder = workspace.folder / "results/tensorboard" / RUN
    if result.returncode == 0:
        assert [path.name.startswith("events.") for path in folder.iterdir()] == [True]
    else:
        log = (workspace.folder / f"logs/train/{RUN}.log").read_text()
        assert "the package 'tensorboard' is not installed" in log
