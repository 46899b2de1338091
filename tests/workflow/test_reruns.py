"""Reruns follow content, not clocks."""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace, commit, copy_project, git

from medtransfer.config.figures import DEFAULT_FIGURES

LATER = (
    "evaluate",
    "patients",
    "shift",
    "compare",
    "judge",
    "label_efficiency",
    "factors",
    "report_tables",
    "run_records",
    "report_page",
)
FIGURES = {f"figure_{name}": 1 for name in DEFAULT_FIGURES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mini_settings) -> Workspace:
    """A copy of the project with a finished run of the mini study."""
    folder = tmp_path_factory.mktemp("finished")
    workspace = Workspace(folder / "run", copy_project(folder / "project"))
    workspace.folder.mkdir()
    workspace.write_study(mini_settings)
    workspace.snakemake()
    return workspace


@pytest.fixture
def edit(finished) -> Callable[[str, str, str], None]:
    """Replace text in a file of the copied project until the test ends."""
    originals: dict[Path, str] = {}

    def replace(name: str, old: str, new: str) -> None:
        path = finished.project / name
        text = path.read_text()
        assert old in text
        originals.setdefault(path, text)
        path.write_text(text.replace(old, new, 1))

    yield replace
    for path, text in originals.items():
        path.write_text(text)


def test_a_finished_study_has_nothing_to_do(finished):
    assert finished.planned() == {}


def test_a_copy_of_finished_runs_needs_neither_training_nor_pixels_nor_weights(
    finished, mini_settings, tmp_path
):
    """As docs/operations.md says that colleagues share them."""
    copied = Workspace(tmp_path / "copy", finished.project)
    for name in ("results/data", "results/runs", "resources"):
        ignored = shutil.ignore_patterns("images.npy", "model.safetensors")
        shutil.copytree(finished.folder / name, copied.folder / name, ignore=ignored)
    copied.write_study(mini_settings)
    jobs = copied.planned()
    assert jobs["compare"] == 1
    assert not {"generate", "store", "split", "train", "export_weights"} & set(jobs)


def test_touching_any_file_repeats_nothing(finished):
    later = time.time() + 5
    for root in (finished.folder / "results", finished.folder / "resources", finished.project):
        for path in root.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                os.utime(path, (later, later))
                later += 0.01
    assert finished.planned() == {}


def test_a_branch_and_back_repeats_nothing(finished):
    project = finished.project
    git(project, "checkout", "--quiet", "-b", "other")
    path = project / "src/medtransfer/training/prediction.py"
    path.write_text(path.read_text().replace("EVALUATION_BATCH = 256", "EVALUATION_BATCH = 128"))
    commit(project, "another batch size")
    on_the_branch = finished.planned()
    git(project, "checkout", "--quiet", "main")
    assert on_the_branch["train"] == 7
    assert finished.planned() == {}


def test_a_comment_or_docstring_in_the_library_repeats_nothing(finished, edit):
    edit("src/medtransfer/training/run.py", "def train(", "# a remark\n\n\ndef train(")
    edit("src/medtransfer/training/batches.py", "Endless epochs", "Unending epochs")
    edit("workflow/scripts/train.py", "# imported only now", "# loaded only now")
    assert finished.planned() == {}


def test_a_change_of_the_training_code_repeats_training_and_what_follows(finished, edit):
    edit("src/medtransfer/training/augmentation.py", "1.0 + _uniform", "1.25 + _uniform")
    jobs = finished.planned()
    assert jobs == {"train": 7, "export_weights": 1, **dict.fromkeys(LATER, 1), **FIGURES, "all": 1}


def test_a_change_of_a_figure_s_code_repeats_that_figure_and_the_report(finished, edit):
    edit("src/medtransfer/figures/gains.py", "linewidth=0.5", "linewidth=0.6")
    assert finished.planned() == {"figure_gains": 1, "report_page": 1, "all": 1}


def test_a_change_of_a_caption_repeats_the_report_alone(finished, edit):
    edit("workflow/report/gains.rst", "Paired", "Matched")
    assert finished.planned() == {"report_page": 1, "all": 1}


def test_a_change_of_a_metric_repeats_training_since_it_selects_the_weights(finished, edit):
    edit("src/medtransfer/evaluation/metrics.py", "below + no / 2", "below + no")
    assert finished.planned()["train"] == 7


def test_a_change_of_a_test_repeats_the_statistics_only(finished, edit):
    edit("src/medtransfer/statistics/paired.py", "1e-12", "1e-11")
    jobs = finished.planned()
    assert "train" not in jobs and "evaluate" not in jobs
    assert jobs["compare"] == 1


def test_a_deleted_figure_is_one_job_beside_the_report(finished):
    (finished.folder / "results/figures/mini/metrics.pdf").unlink()
    assert finished.planned() == {"figure_metrics": 1, "report_page": 1, "all": 1}
    finished.snakemake("results/figures/mini/metrics.pdf")
    finished.snakemake()
    assert finished.planned() == {}


@pytest.mark.parametrize(
    "hardware",
    [
        {"device": "cpu"},
        {"train_threads": 2},
        {"store_threads": 1},
        {"jobs_per_gpu": 4},
        {"large_models": ["cbr"]},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_hardware_settings_repeat_nothing(hardware, finished, mini_settings):
    finished.write_study(mini_settings | {"hardware": hardware})
    assert finished.planned() == {}
    finished.write_study(mini_settings)


@pytest.mark.parametrize(
    ("place", "value", "first"),
    [
        ("recipes.tiny.learning_rate", 0.01, "train"),
        ("datasets.chest.origin", "somewhere", "report_page"),
        ("datasets.chest.metric", "auprc", "train"),
        ("datasets.chest.splits", {"validation": 0.3, "test": 0.25}, "split"),
        ("datasets.chest.geometry", "crop", "store"),
        ("studies.mini.confidence", 0.9, "compare"),
        ("studies.mini.statistics", {"margins": {"auroc": 0.05}}, "compare"),
    ],
)
def test_a_setting_repeats_the_first_stage_that_reads_it(place, value, first, finished, mini_settings):
    order = ["generate", "store", "split", "train", "evaluate", "compare", "report_page"]
    settings = copy.deepcopy(mini_settings)
    kind, name, key = place.split(".")
    settings[kind][name][key] = value
    finished.write_study(settings)
    jobs = finished.planned()
    finished.write_study(mini_settings)
    assert next(rule for rule in order if rule in jobs) == first


def test_new_pixels_under_the_same_files_repeat_the_training_and_old_ones_repeat_nothing(
    finished, mini_settings
):
    settings = copy.deepcopy(mini_settings)
    settings["datasets"]["chest"]["image_size"] = 20
    split = "results/data/chest/splits/holdout.parquet"
    finished.write_study(settings)
    finished.snakemake(split)
    assert finished.planned()["train"] == 6
    finished.write_study(mini_settings)
    finished.snakemake(split)
    assert finished.planned() == {}
