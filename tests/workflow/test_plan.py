"""The bill of a study: before anything runs, after half of it, after all of it."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MINI, PROJECT, Workspace, job_counts, searched

# two starts, two seeds
RUNS = 4


def study(seeds: tuple[int, ...] = (0, 1)) -> dict:
    settings = copy.deepcopy(MINI)
    grid = settings["studies"]["mini"]["grids"][0]
    grid |= {"inits": ["random", "gabor"], "seeds": list(seeds)}
    settings["hardware"] = {"device": "cpu"}
    return settings


def planned(workspace: Workspace) -> dict:
    """The plan by hand, without Snakemake."""
    command = [sys.executable, str(PROJECT / "workflow/scripts/plan.py"), "--json"]
    result = subprocess.run(
        [*command, "--config", str(workspace.study)],
        cwd=workspace.folder, env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(result.stdout)["total"]


def files(workspace: Workspace) -> set[str]:
    """All files but Snakemake's own and logs."""
    found = (path.relative_to(workspace.folder) for path in workspace.folder.rglob("*"))
    return {path.as_posix() for path in found if path.parts[0] not in (".snakemake", "logs")}


def job_seconds(workspace: Workspace, record: Path) -> float:
    """What Snakemake measured of the job of a run, by its record."""
    run = record.parent.relative_to(workspace.folder / "results/runs")
    file = workspace.folder / "logs/benchmarks/train" / f"{run}.tsv"
    names, values = (line.split("\t") for line in file.read_text().splitlines())
    return float(dict(zip(names, values, strict=True))["s"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    """A finished study, which was planned before."""
    workspace = Workspace(tmp_path_factory.mktemp("plan"))
    workspace.write_study(study())
    before = workspace.snakemake("plan").stdout
    assert files(workspace) == {"study.yaml"}
    assert f"total  {RUNS:>4}  {0:>4}  {RUNS:>4}" in before
    assert "modelled" in before
    trained = workspace.snakemake("train_all")
    assert "would train" not in trained.stderr and "Nothing to train" not in trained.stderr
    return workspace


def test_a_finished_study_has_nothing_left_and_the_plan_repeats_nothing(finished):
    there = files(finished)
    after = finished.snakemake("plan").stdout
    assert f"total  {RUNS:>4}  {RUNS:>4}  {0:>4}" in after
    assert "Nothing remains to be trained." in after
    assert files(finished) == there
    again = finished.snakemake("--dry-run", "train_all")
    assert job_counts(again.stdout) == {}
    assert again.stderr.endswith("\nNothing to train.\n")


def test_the_hours_and_bytes_of_a_finished_study_are_those_of_its_jobs_and_files(finished):
    total = planned(finished)
    records = list((finished.folder / "results/runs").rglob("run.json"))
    took = sum(job_seconds(finished, record) for record in records)
    assert len(records) == RUNS
    assert 3600 * total["bill"]["done_hours"] == pytest.approx(took)
    weigh = sum(file.stat().st_size for record in records for file in record.parent.iterdir())
    assert total["bill"]["disk"] == {"done": weigh, "left": 0, "unknown": 0}
    stores = (finished.folder / "results/data").glob("*/images.npy")
    assert total["stores"] == {
        "done": sum(store.stat().st_size for store in stores), "left": 0, "unknown": 0
    }  # fmt: skip


def test_more_of_the_same_costs_what_it_did(finished):
    finished.write_study(study(seeds=(2, 3)))
    bill = planned(finished)["bill"]
    finished.write_study(study())
    records = (finished.folder / "results/runs/tiny/chest").rglob("run.json")
    took = sum(job_seconds(finished, record) for record in records)
    assert bill["bases"] == {"measured": RUNS}
    assert took / 1.5 < 3600 * bill["left_hours"] < 1.5 * took


def test_what_is_left_of_half_a_study_is_planned_within_a_factor_1_5(finished, tmp_path):
    half = Workspace(tmp_path / "half")
    shutil.copytree(finished.folder, half.folder, ignore=shutil.ignore_patterns(".snakemake"))
    records = sorted(half.folder.rglob("run.json"), key=lambda record: record.stat().st_mtime)
    # two run at once; one of the first two and one of the last two are lost
    gone = [records[0], records[3]]
    took = sum(job_seconds(half, record) for record in gone)
    weigh = sum(file.stat().st_size for record in gone for file in record.parent.iterdir())
    for record in gone:
        shutil.rmtree(record.parent)
    bill = planned(half)["bill"]
    assert (bill["done"], bill["bases"]) == (RUNS - 2, {"measured": 2})
    assert took / 1.5 < 3600 * bill["left_hours"] < 1.5 * took
    assert bill["disk"]["left"] == pytest.approx(weigh, rel=0.1)


def test_a_dry_run_says_below_its_jobs_what_they_cost_and_the_sum_is_that_of_the_plan(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.write_study(searched(MINI) | {"hardware": {"device": "cpu"}})
    result = workspace.snakemake("--dry-run", "all")
    *_, trained, written, others, end = result.stderr.splitlines()
    jobs, total = job_counts(result.stdout), planned(workspace)
    assert jobs["train"] == total["bill"]["runs"] == 3 * (2 + 2) + 1
    hours = re.fullmatch(
        r"This would train 6 runs, 1 pre-training and 6 candidates of a search: about ([\d.]+) "
        r"CPU-hours \(modelled; .* cores; 1 of them a job\)\.",
        trained,
    )
    assert float(hours[1]) == pytest.approx(total["bill"]["left_hours"], rel=0.01)
    size = re.fullmatch(r"It would decode about 160 images and write about ([\d.]+) MB\.", written)
    disks = (total["bill"]["disk"], total["stores"], total["sources"])
    assert 1e6 * float(size[1]) == pytest.approx(sum(disk["left"] for disk in disks), rel=0.01)
    figures = sum(count for name, count in jobs.items() if name.startswith("figure_"))
    rest = sum(jobs.values()) - jobs["train"] - jobs["store"] - figures - jobs["all"]
    assert others == f"Other jobs: 2 data sets to store, {figures} figures and {rest} other jobs."
    assert end.startswith("Nothing of it is done yet.")
    assert files(workspace) == {"study.yaml"}


def test_a_cost_that_cannot_be_said_is_a_line_and_the_dry_run_goes_well(tmp_path):
    workspace = Workspace(tmp_path)
    settings = study()
    settings["models"]["cbr"] = {"architecture": "resnet17"}
    workspace.write_study(settings)
    target = "results/runs/tiny/chest/cbr/random/full/holdout/seed0/run.json"
    result = workspace.snakemake("--dry-run", target)
    assert job_counts(result.stdout)["train"] == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("What this would cost can't be said: error: ") and "'resnet17'" in last
    assert "Traceback" not in result.stdout + result.stderr


def test_a_mistake_in_the_configuration_is_named_by_hand_too(finished):
    result = subprocess.run(
        [sys.executable, str(PROJECT / "workflow/scripts/plan.py"), "--config", '{"studys": {}}'],
        cwd=finished.folder, env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode and "did you mean 'studies'?" in result.stderr
    assert "Traceback" not in result.stderr
