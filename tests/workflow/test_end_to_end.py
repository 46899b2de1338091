"""A user's own images through the whole pipeline: every task, damaged files, identical repeats."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROJECT, Workspace
from PIL import Image

from medtransfer.config.figures import DEFAULT_FIGURES

TASKS = ("binary", "multiclass", "multilabel", "ordinal")


def write_images(folder: Path, count: int) -> pd.DataFrame:
    """Pictures whose brightness, hue and stripes carry the labels; two of each patient."""
    (folder / "pictures").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        bright, red, stripes = generator.random(3)
        picture = np.full((40, 30, 3), 60.0)
        picture += 120 * (bright > 0.5)
        picture[..., 0] += 70 * (red > 0.5)
        picture[:: 2 + 2 * (stripes > 0.5)] -= 40
        picture = np.clip(picture + generator.normal(0, 12, picture.shape), 0, 255)
        name = f"pictures/img {number}.{'jpg' if number % 2 else 'png'}"
        Image.fromarray(picture.astype(np.uint8)).save(folder / name)
        level = int(bright > 0.5) + int(red > 0.5)
        rows.append((name, f"Doe^{number // 2}", "sick" if bright > 0.5 else "well", "abc"[level]))
        rows[-1] += (level + 1, int(bright > 0.5), int(red > 0.5) if number % 7 else None)
    columns = ["scan", "who", "state", "kind", "stage", "is_bright", "is_red"]
    return pd.DataFrame(rows, columns=columns)


def study(folder: Path) -> dict:
    shared = {
        "manifest": str(folder / "table.csv"), "image": "scan", "patient": "who",
        "image_size": 16, "max_rejected": 0.05, "splits": {"validation": 0.25, "test": 0.3},
    }  # fmt: skip
    labels = {
        "binary": {"labels": "state", "classes": ["well", "sick"]},
        "multiclass": {"labels": "kind", "classes": ["a", "b", "c"]},
        "multilabel": {"labels": ["is_bright", "is_red"]},
        "ordinal": {"labels": "stage", "classes": [1, 2, 3]},
    }
    return {
        "studies": {
            "mine": {
                "title": "My <own> images",
                "grids": [
                    {
                        "recipe": "short", "datasets": [f"my_{task}" for task in TASKS],
                        "models": ["cbr"], "inits": ["random", "bought"], "seeds": [0, 1],
                        "subsets": ["full"],
                    }
                ],
            }
        },
        "datasets": {f"my_{task}": {"task": task, **shared, **labels[task]} for task in TASKS},
        "models": {"cbr": {"architecture": "cbr", "arguments": {"channels": [8, 8], "kernel_size": 3}}},
        "recipes": {"short": {"steps": 40, "batch_size": 16, "learning_rate": 0.01, "validations": 4}},
        "sources": {
            "bought": {"files": {"cbr": {"path": "weights.pt", "mean": [0.4] * 3, "std": [0.2] * 3}}}
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Workspace:
    """A finished study of 100 images of which three are damaged."""
    import torch

    from medtransfer.models.cbr import CBR

    folder = tmp_path_factory.mktemp("own")
    data = folder / "hospital data"
    table = write_images(data, 100)
    table.to_csv(data / "table.csv", index=False)
    (data / table["scan"][10]).write_bytes(os.urandom(500))
    whole = (data / table["scan"][20]).read_bytes()
    (data / table["scan"][20]).write_bytes(whole[: len(whole) // 2])
    (data / table["scan"][30]).write_text("see the attached letter")
    workspace = Workspace(folder / "run")
    workspace.folder.mkdir()
    network = CBR(channels=(8, 8), kernel_size=3, num_classes=11)
    torch.save(network.state_dict(), workspace.folder / "weights.pt")
    workspace.write_study(study(data))
    workspace.snakemake("all")
    return workspace


@pytest.mark.parametrize("task", TASKS)
def test_three_damaged_images_cost_three_rows_and_are_named(done, task):
    folder = done.folder / f"results/data/my_{task}"
    rejected = pd.read_parquet(folder / "rejected.parquet")
    assert rejected["manifest_row"].tolist() == [10, 20, 30]
    assert all(rejected["reason"].str.len() > 5)
    assert len(np.load(folder / "images.npy")) == 97
    assert len(pd.read_parquet(folder / "samples.parquet")) == 97


def test_the_page_says_how_many_were_rejected(done):
    page = (done.folder / "results/mine/report.html").read_text()
    assert "My &lt;own&gt; images" in page
    row = re.search(r"<tr><td>my_binary</td>.*?</tr>", page[page.index("<h2 id='data'>") :])[0]
    assert re.findall(r"class='number'>(\d+)<", row) == ["97", "50", "3"]


@pytest.mark.parametrize("task", TASKS)
def test_the_easy_labels_are_learned(done, task):
    metrics = pd.read_parquet(done.folder / f"results/evaluation/mine/my_{task}.metrics.parquet")
    assert metrics.query("metric == 'auroc' and part == 'test'")["value"].mean() > 0.9


def test_every_figure_is_there_as_pdf_and_png(done):
    files = {path.name for path in (done.folder / "results/figures/mine").iterdir()}
    assert files == {f"{name}.{suffix}" for name in DEFAULT_FIGURES for suffix in ("pdf", "png", "csv")}


@pytest.mark.slow
def test_the_finished_runs_alone_give_tables_and_figures_with_gaps(done, tmp_path):
    workspace = Workspace(tmp_path / "run")
    shutil.copytree(done.folder, workspace.folder, symlinks=True)
    runs = workspace.folder / "results/runs/short"
    shutil.rmtree(runs / "my_binary/cbr/random")
    shutil.rmtree(runs / "my_ordinal/cbr/bought/full/holdout/seed1")
    for stage in ("evaluation", "statistics", "figures", "mine"):
        shutil.rmtree(workspace.folder / "results" / stage)
    targets = ("results/mine/summary.csv", "results/figures/mine/metrics.png")
    assert workspace.planned(*targets)["train"] == 3
    workspace.snakemake(*targets, "--config", "only_finished=True")
    summary = pd.read_csv(workspace.folder / targets[0]).query("part == 'test'")
    counted = summary.set_index(["dataset", "init"])["runs"].to_dict()
    whole = {(f"my_{task}", init): 2 for task in TASKS for init in ("random", "bought")}
    del whole["my_binary", "random"]
    assert counted == {**whole, ("my_ordinal", "bought"): 1}
    assert not (runs / "my_binary/cbr/random").exists()


def test_no_patient_id_reaches_the_results_or_the_logs(done):
    for root in ("results", "logs"):
        for path in (done.folder / root).rglob("*"):
            assert path.is_dir() or b"Doe^" not in path.read_bytes(), path


def test_the_report_holds_every_figure_and_every_run(done):
    report = (done.folder / "results/mine/report.html").read_text()
    assert report.count("<img src='data:image/png;base64,") == len(DEFAULT_FIGURES)
    records = pd.read_parquet(done.folder / "results/evaluation/mine/run_records.parquet")
    runs = (done.folder / "results/runs").glob("**/run.json")
    paths = {path.parent.relative_to(done.folder / "results/runs").as_posix() for path in runs}
    assert set(records["path"]) == paths
    assert all(f"<td>{path}</td>" in report for path in paths)
    assert str(done.folder) not in report


def test_the_report_of_snakemake_still_works(done):
    done.snakemake("all", "--report", "snakemake.html")
    report = (done.folder / "snakemake.html").read_text()
    assert report.count("data:image/png;") >= 4
    assert "results/mine/findings.txt" in report


def test_a_run_by_hand_gives_the_same_predictions_twice(done, tmp_path):
    data = done.folder / "results/data/my_binary"
    command = [
        sys.executable, PROJECT / "workflow/scripts/train.py", "--images", data / "images.npy",
        "--samples", data / "samples.parquet", "--split", data / "splits/holdout.parquet",
        "--task", "binary", "--outputs", "sick", "--metric", "auroc", "--device", "cpu",
        "--model", '{"architecture": "cbr", "arguments": {"channels": [8, 8]}}',
        "--recipe", '{"steps": 5, "augmentation": {"rotate": 10, "flip_horizontal": 0.5}}',
    ]  # fmt: skip
    for name in ("one", "two"):
        subprocess.run([*command, "--folder", tmp_path / name], check=True)
    for file in ("predictions.parquet", "history.parquet", "model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    record = json.loads((tmp_path / "one/run.json").read_text())
    assert record["training_images"] > 40


def test_a_wrong_column_stops_the_store_with_its_name(done, tmp_path):
    settings = study(done.folder.parent / "hospital data")
    settings["datasets"]["my_binary"]["patient"] = "whom"
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    result = workspace.snakemake("results/data/my_binary/images.npy", check=False)
    assert "no column 'whom' (key 'patient'); did you mean 'who'?" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_wrong_column_does_not_cost_the_finished_store(done):
    settings = study(done.folder.parent / "hospital data")
    settings["datasets"]["my_ordinal"]["labels"] = "stages"
    other = done.folder / "typo.yaml"
    other.write_text(yaml.safe_dump(settings))
    images = done.folder / "results/data/my_ordinal/images.npy"
    before = images.read_bytes()
    result = done.snakemake(
        "--configfile", str(other), "--", str(images.relative_to(done.folder)), check=False
    )
    assert "no column 'stages' (key 'labels'); did you mean 'stage'?" in result.stdout + result.stderr
    assert images.read_bytes() == before
