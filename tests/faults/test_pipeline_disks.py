"""Whole studies on disks that are too small or read-only."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Workspace
from faulty_places import (
    copied,
    finished,
    finished_outputs,
    hidden_files,
    in_own_mounts,
    make_read_only,
    mount_small_disk,
    resize_disk,
    unmount,
    values_of,
)
from small_study import finished_study

pytestmark = pytest.mark.faults
ENOUGH_KIB = 256 * 1024


@dataclass
class Story:
    """What Snakemake said on each size of the disk, what it repeated, and what was there in the end."""

    said: list[tuple[int, int, str]] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def on_a_growing_disk(study: Path, folder: Path, kibs: list[int]) -> Story:
    """The study is tried on a disk that is a bit larger each time."""
    mount_small_disk(folder, kibs[0])
    workspace = Workspace(folder)
    (folder / "resources").mkdir()
    shutil.copy(study / "resources/patient.key", folder / "resources")
    shutil.copy(study / "study.yaml", folder)
    story, kept = Story(), {}
    for kib in kibs:
        resize_disk(folder, kib)
        status, said = finished(workspace)
        if status != 0:  # a full disk also stops Snakemake from taking its lock away
            finished(workspace, "--unlock")
        story.said.append((kib, status, said))
        found = finished_outputs(workspace)
        story.repeated += [name for name, was in kept.items() if found.get(name) != was]
        kept = found
    story.hidden, story.values = hidden_files(folder), values_of(workspace)
    unmount(folder)
    return story


def test_a_study_on_a_disk_that_is_too_small_goes_on_each_time_there_is_more_room(tmp_path):
    study = finished_study()
    kibs = [1200, 2300, 2700, 3000, 3300, ENOUGH_KIB]
    folder = tmp_path / "study"
    story = in_own_mounts(on_a_growing_disk, study.folder, folder, kibs, seconds=1500)
    for kib, status, said in story.said[:-1]:
        if status != 0:
            assert "the disk is full" in said or "No space left on device" in said, kib
    failed = [status for _, status, _ in story.said if status != 0]
    assert len(failed) >= 3
    assert story.said[-1][1] == 0, story.said[-1][2]
    assert story.repeated == []
    assert story.hidden == []
    assert story.values == values_of(study)
    print(f"too small: {[kib for kib, status, _ in story.said if status]} KiB")


def on_read_only_results(folder: Path) -> tuple[int, str, set[str]]:
    before = {str(path) for path in (folder / "results").rglob("*")}
    make_read_only(folder / "results")
    status, said = finished(Workspace(folder))
    after = {str(path) for path in (folder / "results").rglob("*")}
    return status, said, before ^ after


def test_read_only_results_are_named_and_stay_as_they_are(tmp_path):
    study = finished_study()
    workspace = copied(study, tmp_path / "study")
    results = workspace.folder / "results"
    for path in (results / "figures/mini").iterdir():
        path.unlink()
    # Snakemake looks at the outputs that are there before it begins, at the others before the job does
    status, said, changed = in_own_mounts(on_read_only_results, workspace.folder)
    assert status != 0
    assert changed == set()
    assert "Write-protected output files" in said
    assert "results/mini/report.html" in said
    (results / "mini/report.html").unlink()
    status, said, changed = in_own_mounts(on_read_only_results, workspace.folder)
    assert status != 0
    assert changed == set()
    assert "Read-only file system: 'results/figures/mini/gains.p" in said
    assert finished(workspace)[0] == 0
    assert values_of(workspace) == values_of(study)
    assert hidden_files(workspace.folder) == []
