"""Other data sets and corrupted images as tests of finished runs."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
from conftest import MINI, Workspace

RUN = "results/shift/tiny/chest/cbr/random/full/holdout/seed0"
TABLES = {
    kind: f"results/evaluation/mini/chest.{kind}.parquet" for kind in ("shift", "corruption", "metrics")
}


def settings(**study: object) -> dict:
    """The mini study with two inits, and grades of colour phantoms as its other data set."""
    changed = copy.deepcopy(MINI)
    changed["studies"]["mini"] |= {"corruptions": ["noise", "jpeg"], **study}
    changed["studies"]["mini"]["grids"][0] |= {"inits": ["random", "gabor"], "seeds": [0]}
    labels = {0: "absent", 3: "present", 4: "present"}
    changed["datasets"]["chest"]["external"] = {"fundus": {"labels": labels}}
    changed["datasets"]["fundus"] = {
        "generator": {"name": "phantom_fundus", "size": 30},
        "image": "file",
        "task": "ordinal",
        "labels": "grade",
        "classes": 5,
        "patient": "patient",
        "image_size": 20,
        "channels": 3,
    }
    return changed


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    found = Workspace(tmp_path)
    found.write_study(settings())
    return found


def test_runs_are_tested_on_another_data_set_on_which_nothing_is_trained(workspace):
    jobs = workspace.planned(TABLES["shift"])
    assert {name: jobs[name] for name in ("train", "predict_external", "shift")} == {
        "train": 2, "predict_external": 2, "shift": 1,
    }  # fmt: skip
    assert (jobs["store"], jobs["split"]) == (2, 1)
    assert "predict_corrupted" not in jobs


def test_corruptions_are_those_of_the_study_for_the_runs_that_it_analyses(workspace):
    jobs = workspace.planned(TABLES["corruption"])
    assert (jobs["train"], jobs["predict_corrupted"], jobs["corruption"]) == (2, 4, 1)
    assert "predict_external" not in jobs
    workspace.write_study(settings(corruptions=["blur"], representation={"inits": ["gabor"]}))
    jobs = workspace.planned(TABLES["corruption"])
    assert (jobs["train"], jobs["predict_corrupted"], jobs["corruption"]) == (1, 1, 1)


def test_a_wrong_mapping_stops_before_anything_runs(workspace):
    changed = settings()
    changed["datasets"]["chest"]["external"]["fundus"]["labels"][9] = "present"
    workspace.write_study(changed)
    result = workspace.snakemake("--dry-run", TABLES["shift"], check=False)
    assert result.returncode
    assert "datasets.chest.external.fundus.labels: its class '9'" in result.stdout + result.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("shift"))
    workspace.write_study(settings())
    workspace.snakemake(*TABLES.values())
    return workspace


def table(workspace: Workspace, kind: str) -> pd.DataFrame:
    return pd.read_parquet(workspace.folder / TABLES[kind])


@pytest.mark.slow
def test_every_run_is_tested_on_all_mapped_images(done):
    counts = json.loads((done.folder / f"{RUN}/external-fundus.json").read_text())
    predictions = pd.read_parquet(done.folder / f"{RUN}/external-fundus.predictions.parquet")
    samples = pd.read_parquet(done.folder / "results/data/fundus/samples.parquet")
    mapped = samples[samples["label"].isin([0, 3, 4])]
    assert predictions["image_id"].tolist() == mapped["image_id"].tolist()
    assert predictions["label"].tolist() == (mapped["label"] > 0).astype(int).tolist()
    assert counts["tested"] == len(mapped) and counts["images"] == len(samples)
    assert predictions["logit_present"].nunique() > 1


@pytest.mark.slow
def test_the_tables_hold_what_the_metrics_hold(done):
    metrics = table(done, "metrics")
    metrics = metrics[metrics["target"]].set_index(["init", "part"])["value"]
    shift = table(done, "shift")
    assert set(shift["part"]) == {"external", "external-fundus"}
    own = shift[shift["reference"] == ""].set_index(["init", "part", "quantity"])["mean"]
    for init in ("random", "gabor"):
        for part in ("external", "external-fundus"):
            assert own[init, part, "there"] == pytest.approx(metrics[init, part])
            assert own[init, part, "test"] == pytest.approx(metrics[init, "test"])
    corruption = table(done, "corruption")
    assert set(corruption["corruption"]) == {"noise", "jpeg", "all"}
    clean = corruption[(corruption["reference"] == "") & (corruption["quantity"] == "test")]
    for init, rows in clean.groupby("init"):
        assert rows["mean"].to_numpy() == pytest.approx(metrics[init, "test"])


@pytest.mark.slow
def test_afterwards_there_is_nothing_to_do(done):
    assert done.planned(*TABLES.values()) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hardware": {"device": "cpu", "jobs_per_gpu": 2, "train_threads": 2}}, {}),
        ({"labels": {0: "absent", 4: "present"}}, {"predict_external": 2, "evaluate": 1, "shift": 1}),
        ({"corruptions": ["noise", "jpeg", "contrast"]}, {"predict_corrupted": 2, "corruption": 1}),
        ({"confidence": 0.9}, {"shift": 1, "corruption": 1}),
    ],
    ids=["hardware", "mapping", "corruptions", "confidence"],
)
def test_a_setting_repeats_what_reads_it(done, change, expected):
    changed = settings()
    for key, value in change.items():
        if key == "hardware":
            changed[key] = value
        elif key == "labels":
            changed["datasets"]["chest"]["external"]["fundus"][key] = value
        else:
            changed["studies"]["mini"][key] = value
    done.write_study(changed)
    jobs = done.planned(*TABLES.values())
    done.write_study(settings())
    jobs.pop("run_table", None)
    assert jobs == expected
