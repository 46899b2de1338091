"""Real images and real ImageNet weights in small. Skipped where they are absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROJECT, Workspace

from medtransfer.data.duplicates import find_duplicates

DATA = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent")).resolve()
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="MEDTRANSFER_REAL_DATA is no folder"),
]


def place(workspace: Path) -> None:
    """Links to the images and weights where the shipped configuration looks for them."""
    for name in ("busi256", "chest_kermany224"):
        link = workspace / "resources/datasets" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(DATA / "targets" / name)
    files = workspace / "resources/weights/files"
    files.parent.mkdir(parents=True, exist_ok=True)
    files.symlink_to(DATA / "weights/mobilenetv2_100")


def test_imagenet_beats_a_random_start_on_breast_ultrasound(tmp_path):
    place(tmp_path)
    settings = yaml.safe_load((PROJECT / "config/studies/real_small.yaml").read_text())
    study = settings["studies"]["real_small"]
    study["grids"] = [
        {
            "recipe": "brief",
            "datasets": ["busi256"],
            "models": ["mobilenetv2"],
            "inits": ["random", "imagenet1k"],
            "subsets": ["n150"],
            "seeds": [0],
        }
    ]
    settings["recipes"] = {"brief": {"steps": 40, "learning_rate": 5e-4, "validations": 4}}
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    workspace.snakemake()
    metrics = pd.read_parquet(tmp_path / "results/evaluation/real_small/busi256.metrics.parquet")
    auroc = metrics[metrics["target"] & (metrics["part"] == "test")].set_index("init")["value"]
    assert auroc["imagenet1k"] > auroc["random"] + 0.05


def test_chest_radiographs_are_split_by_patient(tmp_path):
    place(tmp_path)
    workspace = Workspace(tmp_path)
    split = "results/data/chest_kermany224/splits/holdout.parquet"
    workspace.snakemake("--configfile", str(PROJECT / "config/studies/real_small.yaml"), "--", split)
    samples = pd.read_parquet(tmp_path / "results/data/chest_kermany224/samples.parquet")
    parts = pd.read_parquet(tmp_path / split)["part"]
    assert len(samples) == 5856
    assert parts.groupby(samples["patient"]).nunique().max() == 1
    assert set(parts) == {"train", "validation", "test"}


def test_mednist_is_a_source_and_its_weights_are_a_start(tmp_path):
    place(tmp_path)
    (tmp_path / "resources/datasets/mednist").mkdir()
    (tmp_path / "resources/datasets/mednist/MedNIST").symlink_to(DATA / "sources/mednist64/images")
    settings = {
        "studies": {
            "radiology": {
                "title": "From six kinds of radiology image to breast ultrasound",
                "grids": [
                    {
                        "recipe": "brief", "datasets": ["busi256"], "models": ["cbr"],
                        "inits": ["random", "mednist"], "subsets": ["n150"], "seeds": [0],
                    }
                ],
            }
        },
        "models": {"cbr": {"architecture": "cbr", "arguments": {"channels": [8, 16]}}},
        "recipes": {"brief": {"steps": 60, "learning_rate": 5e-3, "validations": 3}},
        "sources": {"mednist": {"pretraining": {"dataset": "mednist", "recipe": "brief"}}},
    }  # fmt: skip
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    workspace.snakemake()
    history = next((tmp_path / "results/runs/brief/mednist").rglob("history.parquet"))
    assert pd.read_parquet(history)["validation_metric"].max() > 0.8  # nearly separable
    assert len(pd.read_parquet(tmp_path / "results/data/mednist/samples.parquet")) == 9000
    gains = pd.read_parquet(tmp_path / "results/statistics/radiology/gains.parquet")
    assert set(gains["init"]) == {"mednist"}


def test_a_thousand_imagenet_pictures_of_a_thousand_classes_are_stored(tmp_path):
    settings = {
        "manifest": str(DATA / "sources/imagenet_sample1000/labels.csv"), "image": "file",
        "task": "multiclass", "labels": "class_index", "classes": 1000, "image_size": 96,
        "geometry": "crop",
    }  # fmt: skip
    script = PROJECT / "workflow/scripts/store.py"
    command = [
        sys.executable, script, "--dataset", json.dumps(settings), "--manifest", settings["manifest"],
        "--key", tmp_path / "key", "--workers", "2", "--folder", tmp_path / "store",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    samples = pd.read_parquet(tmp_path / "store/samples.parquet")
    assert samples["label"].tolist() == list(range(1000))
    images = np.load(tmp_path / "store/images.npy", mmap_mode="r")
    assert images.shape == (1000, 96, 96, 3)
    pairs = find_duplicates(samples, images)
    assert len(pairs) < 5
