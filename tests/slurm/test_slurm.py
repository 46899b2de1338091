"""A small study on a real Slurm, with the profile: jobs are killed, requeued, and lose their node."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pytest
from conftest import MINI, PROJECT, SNAKEMAKE, Workspace
from slurm_cluster import (
    DYING_WITH_PARENT,
    Cluster,
    all_processes,
    command_words,
    environment,
    missing,
    parent,
    run,
    running_cluster,
    wait_until,
)

STEPS = 500
SEEDS = range(4)
RUN = "tiny/chest/cbr/random/full/holdout"
PROFILE = PROJECT / "profiles/slurm"
ASKED = ("Partition", "TimeLimit", "MinMemoryNode")
# what a test needs and a site doesn't: quick answers, no accounting, GPUs for jobs that use the CPU
TEST_OPTIONS = [
    "--slurm-status-command=squeue", "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=2", "--latency-wait=20", "--slurm-no-account",
    f"--slurm-partition-config={PROFILE / 'partitions.example.yaml'}", "--set-resources=train:gpu=1",
]  # fmt: skip
SECONDS_FOR_ALL = 400

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(missing() is not None, reason=f"no Slurm can be started: {missing()}"),
]


@dataclass
class Training:
    """A process that trains, as it was seen while it ran."""

    pid: int
    seed: int
    job: str
    node: str
    device: str | None
    first: float
    last: float


@dataclass
class Study:
    """What happened while the study ran on Slurm."""

    workspace: Workspace
    cluster: Cluster
    trainings: list[Training] = field(default_factory=list)
    jobs: list[dict[str, str]] = field(default_factory=list)
    killed: Training | None = None
    requeued: Training | None = None
    crashed: Training | None = None

    def seen(self, seed: int) -> list[Training]:
        return [training for training in self.trainings if training.seed == seed]

    def job(self, number: str) -> dict[str, str]:
        (found,) = (job for job in self.jobs if job["JobId"] == number)
        return found

    def log(self, seed: int) -> str:
        path = self.workspace.folder / f"logs/train/{RUN}/seed{seed}.log"
        return path.read_text() if path.exists() else ""

    def record(self, seed: int) -> dict:
        folder = self.workspace.folder / f"results/runs/{RUN}/seed{seed}"
        return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def settings() -> dict:
    """Trainings that last long enough to be disturbed, and keep their state at every step."""
    settings = copy.deepcopy(MINI)
    settings["recipes"]["tiny"] |= {"steps": STEPS, "validations": 50, "dropout": 0.3, "mixup": 0.2}
    settings["studies"]["mini"]["grids"][0] |= {"inits": ["random"], "seeds": list(SEEDS)}
    # no GPU computes here; the jobs ask for one all the same, by an option
    return settings | {"hardware": {"device": "cpu", "save_seconds": 0, "store_threads": 1}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, settings) -> Workspace:
    """The study up to its trainings; names of images and patients are hashed with a key of its own."""
    workspace = Workspace(tmp_path_factory.mktemp("prepared"))
    workspace.write_study(settings)
    workspace.snakemake("evaluation", "--until", "split")
    return workspace


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, prepared) -> Workspace:
    """The study without Slurm."""
    workspace = Workspace(tmp_path_factory.mktemp("undisturbed"))
    shutil.copytree(prepared.folder, workspace.folder, dirs_exist_ok=True)
    workspace.snakemake("evaluation")
    return workspace


@pytest.fixture(scope="module")
def study(tmp_path_factory, prepared) -> Iterator[Study]:
    """The study, finished on Slurm in spite of all."""
    workspace = Workspace(tmp_path_factory.mktemp("slurm"))
    shutil.copytree(prepared.folder, workspace.folder, dirs_exist_ok=True)
    # paths of sockets are short
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        with running_cluster(Path(folder)) as cluster:
            study = Study(workspace, cluster)
            with running_snakemake(workspace) as snakemake, observed_trainings(study):
                disturb(study, snakemake)
                wait_until(lambda: snakemake.poll() is not None, "Snakemake ends", SECONDS_FOR_ALL)
            study.jobs = cluster.jobs()
        assert snakemake.returncode == 0, said(workspace)
        yield study


@contextlib.contextmanager
def running_snakemake(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake with the profile; it ends with the block."""
    command = [
        *DYING_WITH_PARENT, SNAKEMAKE, "evaluation", "--snakefile", PROJECT / "Snakefile",
        "--profile", PROFILE, "--configfile", workspace.study, *TEST_OPTIONS,
    ]  # fmt: skip
    with (workspace.folder / "snakemake.output").open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=workspace.folder, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def observed_trainings(study: Study) -> Iterator[None]:
    """Note which processes train, on which device and for how long."""
    ended = threading.Event()

    def observe() -> None:
        seen: dict[int, Training] = {}
        while not ended.wait(0.1):
            for pid, seed in training_processes(study.workspace.folder):
                now = time.monotonic()
                if pid not in seen and (variables := environment(pid)):
                    place = (variables.get(name) for name in ("SLURM_JOB_ID", "SLURMD_NODENAME"))
                    device = variables.get("CUDA_VISIBLE_DEVICES")
                    seen[pid] = Training(pid, seed, *place, device, first=now, last=now)
                    study.trainings.append(seen[pid])
                elif pid in seen:
                    seen[pid].last = now

    thread = threading.Thread(target=observe)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def training_processes(folder: Path) -> list[tuple[int, int]]:
    """The processes that train in this folder, each with the seed of its run."""
    found = []
    for pid in all_processes():
        words = command_words(pid)
        trains = len(words) > 1 and words[1].endswith("/train.py")
        # a child of it looks like it until it becomes another program
        if trains and command_words(parent(pid))[:2] != words[:2]:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cwd").resolve() == folder.resolve():
                    found.append((pid, int(words[words.index("--seed") + 1])))
    return found


def disturb(study: Study, snakemake: subprocess.Popen[bytes]) -> None:
    """Once three trainings are on their way, end one, requeue one and crash the node of one."""

    def under_way() -> list[Training]:
        assert snakemake.poll() is None, said(study.workspace)
        return [t for t in study.trainings if re.search(r"main [1-9]\d+/", study.log(t.seed))]

    wait_until(lambda: len(under_way()) == 3, "three trainings are under way", SECONDS_FOR_ALL)
    study.killed, study.requeued = (t for t in under_way() if t.node == "node1")
    (study.crashed,) = (t for t in under_way() if t.node == "node2")
    os.kill(study.killed.pid, signal.SIGKILL)
    run("scontrol", "requeue", study.requeued.job)
    study.cluster.crash_node("node2")
    wait_until(lambda: any("down" in s for s in study.cluster.states()), "the node is missed", 120)
    study.cluster.start_node("node2")
    study.cluster.wait_for_nodes()


def said(workspace: Workspace) -> str:
    """The end of what Snakemake said."""
    return (workspace.folder / "snakemake.output").read_text()[-8000:]


def test_jobs_that_run_at_the_same_time_have_different_devices(study):
    at_once = [
        (a, b) for a, b in combinations(study.trainings, 2) if a.first < b.last and b.first < a.last
    ]
    assert all((a.node, a.device) != (b.node, b.device) for a, b in at_once)
    assert any(a.node == b.node and {a.device, b.device} == {"0", "1"} for a, b in at_once)


def test_jobs_ask_for_what_their_rules_say(study):
    asked = {rule(job): tuple(job[n] for n in ASKED) for job in study.jobs if rule(job) != "train"}
    assert asked == {
        "evaluate": ("cpu", "01:00:00", "4000M"),
        "shift": ("cpu", "02:00:00", "8000M"),
    }
    for seed in SEEDS:
        job = study.job(study.seen(seed)[0].job)
        assert tuple(job[n] for n in (*ASKED, "TresPerJob")) == (
            "gpu",
            "12:00:00",
            "8000M",
            "gres:gpu:1",
        )


def rule(job: dict[str, str]) -> str:
    """The rule of a job, from the comment that the plugin gives it."""
    return job["Comment"].removeprefix("rule_").split("_wildcards")[0]


def test_short_rules_stay_where_snakemake_runs(study):
    assert {rule(job) for job in study.jobs} == {"train", "evaluate", "shift"}
    assert list((study.workspace.folder / "logs/run_table").rglob("*.log"))


def test_a_killed_training_is_tried_again_with_more_and_goes_on(study):
    seed = study.killed.seed
    first, second = (study.job(training.job) for training in study.seen(seed))
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    assert (second["TimeLimit"], second["MinMemoryNode"]) == ("1-00:00:00", "16000M")
    went_on(study, seed)


def test_a_requeued_training_goes_on_under_its_number(study):
    seed = study.requeued.seed
    numbers = {training.job for training in study.seen(seed)}
    assert len(study.seen(seed)) == 2 and numbers == {study.requeued.job}
    job = study.job(study.requeued.job)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    went_on(study, seed)


def test_a_training_whose_node_died_is_requeued_and_goes_on(study):
    seed = study.crashed.seed
    assert len(study.seen(seed)) == 2
    job = study.job(study.crashed.job)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    went_on(study, seed)


def went_on(study: Study, seed: int) -> None:
    """The training began where its state was kept."""
    assert int(re.search(r"going on from step (\d+)", study.log(seed))[1]) > 0
    assert study.record(seed)["resumed"] == 1


def test_nothing_finished_is_repeated(study):
    disturbed = {training.seed for training in (study.killed, study.requeued, study.crashed)}
    (spared,) = set(SEEDS) - disturbed
    assert len(study.seen(spared)) == 1
    assert study.record(spared)["resumed"] == 0
    assert len([job for job in study.jobs if rule(job) != "train"]) == 2
    assert study.workspace.planned("evaluation") == {}


def test_results_are_those_without_slurm(study, undisturbed):
    files = ("predictions.parquet", "history.parquet", "model.safetensors")
    names = [f"runs/{RUN}/seed{seed}/{file}" for seed in SEEDS for file in files]
    for name in [*names, "evaluation/mini/chest.metrics.parquet"]:
        found, wanted = (w.folder / "results" / name for w in (study.workspace, undisturbed))
        assert found.read_bytes() == wanted.read_bytes(), name
