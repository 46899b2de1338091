"""Devices of training jobs that Snakemake starts: two devices that are not there, and ten jobs."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import MINI, PROJECT, SNAKEMAKE

JOBS = 10
RUN = "tiny/chest/cbr/random/full/holdout"
# takes a device as a training does, and holds it for a while; torch would look for a real one
TRAINING = """
import argparse, json, os, sys, time
from pathlib import Path
from medtransfer.training.devices import leased_device
parser = argparse.ArgumentParser()
parser.add_argument("--device")
parser.add_argument("--jobs-per-gpu", type=int)
parser.add_argument("--folder", type=Path)
arguments, _ = parser.parse_known_args()
with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
    begin = time.monotonic()
    time.sleep(0.5)
    facts = {"device": os.environ["CUDA_VISIBLE_DEVICES"], "begin": begin, "end": time.monotonic()}
for name in ("model.safetensors", "predictions.parquet", "history.parquet"):
    (arguments.folder / name).touch()
(arguments.folder / "run.json").write_text(json.dumps(facts))
"""
DRIVER = """#!/bin/sh
echo 'GPU 0: Imagined (UUID: GPU-aaaa)'
echo 'GPU 1: Imagined (UUID: GPU-bbbb)'
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder with a finished pixel store, and a driver that lists two devices."""
    settings = copy.deepcopy(MINI)
    settings["studies"]["mini"]["grids"][0] |= {"inits": ["random"], "seeds": list(range(JOBS))}
    work = tmp_path / "work"
    (work / "results/data/chest/splits").mkdir(parents=True)
    for name in ("images.npy", "samples.parquet", "splits/holdout.parquet"):
        (work / "results/data/chest" / name).touch()
    (work / "study.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvidia-smi").write_text(DRIVER)
    (tmp_path / "bin/nvidia-smi").chmod(0o755)
    return work


@pytest.fixture
def project(tmp_path) -> Path:
    """The project with the training replaced."""
    target = tmp_path / "project"
    for name in ("rules", "config", "src", "workflow", "envs", "profiles"):
        shutil.copytree(PROJECT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "Snakefile", target)
    (target / "workflow/scripts/train.py").write_text(TRAINING)
    return target


def train_all(project: Path, folder: Path, *arguments: str) -> None:
    hidden = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    driver = folder.parent / "bin"
    environment |= {"PATH": f"{driver}:/usr/bin:/bin", "TMPDIR": str(folder.parent)}
    command = [
        SNAKEMAKE, "train_all", "--snakefile", project / "Snakefile", "--configfile", "study.yaml",
        "--cores", "6", *arguments, "--allowed-rules", "train", "train_all",
    ]  # fmt: skip
    result = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="jobs compare their clocks")
def test_ten_jobs_on_two_devices_run_two_at_once_and_never_two_on_one(project, folder):
    train_all(project, folder, "--resources", "gpu=2")
    records = [
        json.loads((folder / f"results/runs/{RUN}/seed{seed}/run.json").read_text())
        for seed in range(JOBS)
    ]
    held = {
        device: sorted((r["begin"], r["end"]) for r in records if r["device"] == device)
        for device in ("0", "1")
    }
    assert sum(map(len, held.values())) == JOBS
    for spans in held.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    overlaps = [a for a in held["0"] for b in held["1"] if a[0] < b[1] and b[0] < a[1]]
    assert overlaps, "the devices took turns"
    for seed, record in enumerate(records):
        log = (folder / f"logs/train/{RUN}/seed{seed}.log").read_text()
        assert f"device {record['device']}, slot 0\n" in log
