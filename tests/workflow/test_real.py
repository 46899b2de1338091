"""Real images and real ImageNet weights in small. Skipped where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import PROJECT, Workspace

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
