"""Snakemake is killed, started twice, and outlived by its jobs."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from conftest import Workspace, job_counts
from faulty_places import (
    copied,
    finished,
    finished_outputs,
    fresh,
    hidden_files,
    processes_in,
    started,
    values_of,
    wait_for,
)
from small_study import RUN, finished_study

pytestmark = pytest.mark.faults
TARGET = f"results/runs/{RUN}/run.json"
LOCKED = "Directory cannot be locked"


@pytest.fixture
def study() -> Workspace:
    return finished_study()


def assert_undisturbed(workspace: Workspace, study: Workspace) -> None:
    assert values_of(workspace) == values_of(study)
    assert hidden_files(workspace.folder) == []
    assert not [*workspace.folder.glob(".snakemake/locks/*")]
    status, said = finished(workspace, "--dry-run")
    assert status == 0
    assert job_counts(said) == {}


def training(workspace: Workspace, step: int = 40) -> int:
    """The process that trains, once it has done some steps."""
    log = workspace.folder / f"logs/train/{RUN}.log"
    wait_for(lambda: log.exists() and f"main {step}/400" in log.read_text())
    (process,) = wait_for(lambda: processes_in(workspace.folder, "/train.py"))[:1]
    return process


def test_snakemake_that_is_killed_goes_on_and_repeats_nothing_that_was_finished(study, tmp_path):
    workspace = fresh(study, tmp_path / "study")
    generator = random.Random(9)
    kept: dict[str, tuple[int, int]] = {}
    orphans = 0
    places = [2, 9, 17, 24, 34]
    for place in places:
        with started(workspace) as pipeline:
            wait_for(lambda n=place: len(finished_outputs(workspace)) >= n)
            time.sleep(generator.uniform(0, 1))
            pipeline.kill()
            orphans += len(processes_in(workspace.folder))
            status, said = finished(workspace)
            assert status != 0
            assert LOCKED in said
            assert "--unlock" in said
        # its jobs are killed, too
        assert finished(workspace, "--unlock")[0] == 0
        found = finished_outputs(workspace)
        assert {name: found.get(name) for name in kept} == kept
        kept = found
    status, said = finished(workspace)
    assert status == 0, said
    found = finished_outputs(workspace)
    assert {name: found.get(name) for name in kept} == kept
    assert_undisturbed(workspace, study)
    print(f"{len(places)} kills of Snakemake, with {orphans} jobs under way; {len(kept)} files kept")


def test_a_training_that_outlives_its_snakemake_keeps_its_folder(study, tmp_path):
    """The new one waits, then says who is in the way; nothing is written by two."""
    workspace = fresh(study, tmp_path / "study")
    with started(workspace, TARGET) as pipeline:
        orphan = training(workspace)
        os.kill(orphan, signal.SIGSTOP)  # it takes longer than the new one waits
        pipeline.kill()
        assert finished(workspace, "--unlock")[0] == 0
        status, said = finished(workspace, TARGET)
        assert status != 0
        assert "another process is training this run; allowed: one at a time" in said
        os.kill(orphan, signal.SIGCONT)
        wait_for(lambda: not processes_in(workspace.folder, "/train.py"))
    status, said = finished(workspace, TARGET)
    assert status == 0, said
    assert_same_run(workspace, study)


def assert_same_run(workspace: Workspace, study: Workspace) -> None:
    for name in ("model.safetensors", "predictions.parquet", "history.parquet"):
        ours, theirs = (w.folder / f"results/runs/{RUN}/{name}" for w in (workspace, study))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert hidden_files(workspace.folder) == []


def test_a_second_snakemake_in_the_folder_is_refused_and_harms_nothing(study, tmp_path):
    workspace = fresh(study, tmp_path / "study")
    with started(workspace, TARGET) as pipeline:
        training(workspace)
        status, said = finished(workspace)
        assert status != 0
        assert LOCKED in said
        assert pipeline.status() == 0, pipeline.said()
    assert_same_run(workspace, study)
    assert finished(workspace, TARGET, "--dry-run")[0] == 0


def test_two_that_were_told_not_to_lock_leave_right_results(study, tmp_path):
    """From the first job on they do the same at the same time; what one refuses is done afterwards."""
    workspace = fresh(study, tmp_path / "study")
    with (
        started(workspace, TARGET, "--nolock", name="first.txt") as first,
        started(workspace, TARGET, "--nolock", name="second.txt") as second,
    ):
        ends = [first.status(), second.status()]
    said = first.said() + second.said()
    assert "Traceback" not in said
    status, again = finished(workspace, TARGET)
    assert status == 0, again
    assert_same_run(workspace, study)
    print(f"two Snakemakes at once ended with {ends}; then all was there")


def test_a_second_study_of_the_same_runs_repeats_none_of_them(study, tmp_path):
    workspace = copied(study, tmp_path / "study")
    text = workspace.study.read_text()
    workspace.study.write_text(text.replace("mini:", "other:", 1))
    status, said = finished(workspace, "--dry-run")
    assert status == 0
    counts = job_counts(said)
    assert "train" not in counts
    assert "store" not in counts
    assert counts["figure_gains"] == 1
