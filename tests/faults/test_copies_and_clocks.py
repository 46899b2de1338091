"""Finished files that a bad copy or disk has cut, and files with the times of other clocks."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from pathlib import Path

import pytest
from conftest import Workspace, job_counts
from faulty_places import (
    copied,
    finished,
    finished_outputs,
    fresh,
    hidden_files,
    started,
    unfinished_outputs,
    values_of,
    wait_for,
)
from small_study import RUN, finished_study

pytestmark = pytest.mark.faults
HOUR = 3600.0
CURVES = "results/evaluation/mini/chest.curves.parquet"
METRICS = "results/evaluation/mini/chest.metrics.parquet"
SOURCE = "source/formulae/cbr/random/full/holdout/seed0"

# the file, what reads it, and that job's rule
READ = {
    "results/figures/mini/gains.png": ("results/mini/report.html", "report_page"),
    "results/statistics/mini/gains.parquet": ("results/figures/mini/gains.pdf", "figure_gains"),
    "results/statistics/mini/summary.parquet": ("results/mini/findings.txt", "report_tables"),
    f"results/runs/{RUN}/run.json": ("results/evaluation/mini/run_records.parquet", "run_records"),
    f"results/runs/{RUN}/history.parquet": (CURVES, "evaluate"),
    f"results/runs/{RUN}/predictions.parquet": (METRICS, "evaluate"),
    f"results/runs/{SOURCE}/model.safetensors": ("resources/weights/shapes/cbr.json", "export_weights"),
    "results/data/chest/images.npy": (f"results/runs/{RUN}/run.json", "train"),
    "results/data/chest/splits/holdout.parquet": ("results/data/chest/audit.json", "audit"),
    "results/data/chest/samples.parquet": ("results/data/chest/splits/holdout.parquet", "split"),
}


def cut(path: Path, length: int) -> None:
    """What is left of a file, with its time."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:length])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kind", ["cut", "empty"])
def test_a_cut_file_is_named_by_the_job_that_reads_it_and_made_anew(kind, tmp_path):
    study = finished_study()
    workspace = copied(study, tmp_path / "study")
    for name, (target, rule) in READ.items():
        path = workspace.folder / name
        length = path.stat().st_size // 2 if kind == "cut" else 0
        cut(path, length)
        status, said = finished(workspace, target, "--forcerun", rule)
        assert status != 0, name
        assert re.search(rf"error: {re.escape(name)}: .", said), (name, said)
        assert "Traceback" not in said
        assert path.stat().st_size == length  # nothing of ours deletes it
        shutil.copy2(study.folder / name, path)
    # what the message says to do
    deleted = ["results/data/chest/images.npy", f"results/runs/{RUN}/predictions.parquet"]
    for name in deleted:
        (workspace.folder / name).unlink(missing_ok=True)
    status, said = finished(workspace, *deleted)
    assert status == 0, said
    status, said = finished(workspace)
    assert status == 0, said
    assert values_of(workspace) == values_of(study)
    assert hidden_files(workspace.folder) == []
    print(f"{len(READ)} kinds of files {kind}, all of them noticed")


# clocks


def shift(folder: Path, generator: random.Random, hours: float) -> int:
    """Give each file a time some hours off."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        moment = path.stat().st_mtime + HOUR * generator.uniform(-hours, hours)
        os.utime(path, (moment, moment))
    return len(files)


def planned(workspace: Workspace) -> dict[str, int]:
    status, said = finished(workspace, "--dry-run", "--quiet=rules")
    assert status == 0, said
    return job_counts(said)


def test_a_finished_study_with_times_of_other_clocks_has_nothing_to_do(tmp_path):
    workspace = copied(finished_study(), tmp_path / "study")
    for seed in range(3):
        for part in ("results", "resources"):
            assert shift(workspace.folder / part, random.Random(seed), hours=6) > 10
        assert planned(workspace) == {}


def half_of_it_with_times(hours: float, folder: Path) -> Workspace:
    """A study whose trainings are done, on a node whose clock is so much ahead."""
    workspace = copied(finished_study(), folder)
    for name in ("results/evaluation", "results/statistics", "results/figures", "results/mini"):
        shutil.rmtree(workspace.folder / name)
    give_times(workspace, time.time() + hours * HOUR)
    return workspace


def give_times(workspace: Workspace, moment: float) -> None:
    for path in (workspace.folder / "results").rglob("*"):
        if path.is_file():
            os.utime(path, (moment, moment))


def assert_the_rest_is_done(workspace: Workspace) -> None:
    kept = finished_outputs(workspace)
    status, said = finished(workspace)
    assert status == 0, said
    assert not set(job_counts(said)) & {"generate", "store", "split", "train", "export_weights"}
    found = finished_outputs(workspace)
    assert {name: found[name] for name in kept} == kept
    assert planned(workspace) == {}
    assert values_of(workspace) == values_of(finished_study())


def test_a_study_whose_first_half_ran_by_a_slow_clock_repeats_nothing(tmp_path):
    assert_the_rest_is_done(half_of_it_with_times(-5, tmp_path / "study"))


def test_files_of_the_future_stop_their_readers_until_they_are_touched(tmp_path):
    """Snakemake refuses them; it takes nothing away but what the refused jobs wrote."""
    workspace = half_of_it_with_times(5, tmp_path / "study")
    kept = finished_outputs(workspace)
    status, said = finished(workspace)
    assert status != 0
    assert "This could indicate a clock skew problem" in said
    found = finished_outputs(workspace)
    assert {name: found[name] for name in kept} == kept
    give_times(workspace, time.time())
    assert_the_rest_is_done(workspace)


@pytest.mark.parametrize("hours", [5.0, -5.0])
def test_a_state_with_another_clock_s_time_is_gone_on_from(hours, tmp_path):
    study = finished_study()
    workspace = fresh(study, tmp_path / "study")
    target = f"results/runs/{RUN}/run.json"
    log = workspace.folder / f"logs/train/{RUN}.log"
    with started(workspace, target) as pipeline:
        wait_for(lambda: log.exists() and "main 40/400" in log.read_text())
        pipeline.kill()
    finished(workspace, "--unlock")
    assert f"results/runs/{RUN}/run.json" in unfinished_outputs(workspace)
    for path in (workspace.folder / f"results/runs/{RUN}/.state").iterdir():
        moment = time.time() + hours * HOUR
        os.utime(path, (moment, moment))
    status, said = finished(workspace, target)
    assert status == 0, said
    assert int(re.search(r"going on from step (\d+)", log.read_text())[1]) >= 40
    for name in ("model.safetensors", "predictions.parquet", "history.parquet"):
        ours, theirs = (w.folder / f"results/runs/{RUN}" / name for w in (workspace, study))
        assert ours.read_bytes() == theirs.read_bytes()
