"""The Slurm profile without a Slurm: what jobs ask for, and which partitions they go to."""

from __future__ import annotations

import copy
import logging
import re
from types import SimpleNamespace

import pytest
import yaml
from conftest import MINI, PROJECT, Workspace

partitions = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")

SLURM = PROJECT / "profiles/slurm"


def profile(name: str) -> dict:
    return yaml.safe_load((SLURM.parent / name / "profile.yaml").read_text())


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> dict[str, dict[str, int]]:
    """What jobs of each rule ask for at their first try, as a dry run with the profile says it."""
    workspace = Workspace(tmp_path_factory.mktemp("profile"))
    settings = copy.deepcopy(MINI)
    settings["models"]["large"] = {"architecture": "cbr", "arguments": {"channels": [4, 8]}}
    settings["studies"]["mini"]["grids"][0] |= {"models": ["cbr", "large"], "inits": ["random"]}
    settings["studies"]["mini"] |= {"figures": ["cka"]}
    settings["hardware"] = {"large_models": ["large"], "train_threads": 4}
    workspace.write_study(settings)
    # without cores a dry run shows all jobs with one thread; submitted they ask for theirs
    said = workspace.snakemake("--dry-run", "--cores", "64", "--profile", str(SLURM)).stdout
    jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)+)", said, re.MULTILINE)
    return {
        rule: {
            name: int(value)
            for name, value in re.findall(r"\b(mem_mb|runtime|gpu|threads)[=:] ?(\d+)", text)
        }
        for rule, text in jobs
    }


def tried(asked: dict[str, int], attempt: int) -> SimpleNamespace:
    """A job as the plugin sees it when it is submitted for the nth time."""
    grown = {name: asked[name] * attempt for name in ("mem_mb", "runtime")}
    resources = {**asked, **grown}
    return SimpleNamespace(name="job", threads=resources.pop("threads", 1), resources=resources)


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [
        ("store", ["cpu", "cpu", "cpu"]),
        ("cka", ["cpu", "cpu", "cpu"]),
        ("evaluate", ["cpu", "cpu", "cpu"]),
        ("extract", ["gpu", "gpu", "gpu"]),
        ("train", ["gpu", "gpu", "gpu-long"]),
        ("train_large", ["gpu-long", "gpu-long", "gpu-long"]),
    ],
)
def test_jobs_go_to_the_partitions_that_the_example_says(rule, chosen, asked):
    known = partitions.read_partition_file(SLURM / "partitions.example.yaml")
    jobs = [tried(asked[rule], attempt) for attempt in (1, 2, 3)]
    found = [partitions.get_best_partition(known, job, logging.getLogger()) for job in jobs]
    assert found == chosen


def test_only_jobs_on_networks_ask_for_a_gpu(asked):
    with_gpu = {rule for rule, wanted in asked.items() if wanted.get("gpu")}
    assert with_gpu == {"train", "train_large", "extract"}
    assert asked["train"]["threads"] == asked["train_large"]["threads"] == 4
    assert asked["train_large"]["mem_mb"] == 4 * asked["train"]["mem_mb"]


def test_the_profile_and_the_habits_have_no_key_in_common():
    assert profile("slurm").keys().isdisjoint(profile("default"))


def test_trainings_are_no_array():
    """Tasks of an array lose finished results, as the profile says of the plugin's version."""
    assert "slurm-array-jobs" not in profile("slurm")
