"""What the shipped studies would run, and how configuration errors look."""

from __future__ import annotations

import copy

import pytest
import yaml
from conftest import PROJECT, Workspace

STUDIES = sorted((PROJECT / "config" / "studies").glob("*.yaml"))


def test_the_default_study_is_the_embedded_one_with_these_jobs(tmp_path):
    jobs = Workspace(tmp_path).planned()
    figures = {name: count for name, count in jobs.items() if name.startswith("figure_")}
    assert jobs["train"] == 2 * 2 * 3 * 2 * 3 + 2
    assert (jobs["generate"], jobs["store"], jobs["split"]) == (3, 3, 3)
    assert (jobs["export_weights"], jobs["evaluate"], jobs["compare"]) == (2, 2, 1)
    assert figures == dict.fromkeys(figures, 1) and len(figures) == 4


def test_all_is_a_target_in_front_of_the_resources(tmp_path):
    assert Workspace(tmp_path).planned("all", "--resources", "gpu=2")["train"] == 74


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_plans_the_runs_of_its_grids(study, tmp_path):
    workspace = Workspace(tmp_path)
    settings = yaml.safe_load(study.read_text())
    expected = 0
    for block in settings["studies"].values():
        for grid in block["grids"]:
            size = 1
            for name in ("datasets", "models", "inits", "subsets", "splits", "seeds"):
                size *= len(
                    grid.get(name, {"subsets": [1], "splits": [1], "seeds": [1, 2, 3]}.get(name))
                )
            expected += size
    assert workspace.planned("--configfile", str(study))["train"] == expected


def test_data_that_are_not_there_are_named_when_they_are_needed(tmp_path):
    workspace = Workspace(tmp_path)
    study = str(PROJECT / "config/studies/real_small.yaml")
    result = workspace.snakemake("--configfile", study, "--", "data", "weights", check=False)
    output = result.stdout + result.stderr
    assert "resources/datasets/busi256/labels.csv: no such manifest; place the data set there" in output
    assert "imagenet1k_qat.fp16.safetensors: no such file of weights; put it there" in output
    assert "Traceback" not in output


def test_one_figure_needs_its_own_data_only(tmp_path, mini_settings):
    settings = copy.deepcopy(mini_settings)
    settings["studies"]["other"] = copy.deepcopy(settings["studies"]["mini"])
    settings["studies"]["other"]["grids"][0]["seeds"] = [7, 8, 9]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned("results/figures/mini/gains.pdf")
    assert jobs["train"] == 3 * 2 + 1
    assert [name for name in jobs if name.startswith("figure_")] == ["figure_gains"]


def test_studies_share_runs(tmp_path, mini_settings):
    settings = copy.deepcopy(mini_settings)
    settings["studies"]["other"] = copy.deepcopy(settings["studies"]["mini"])
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert jobs["train"] == 3 * 2 + 1
    assert jobs["compare"] == 2


@pytest.mark.parametrize(
    "target", ["data", "weights", "train_all", "evaluation", "statistics", "figures"]
)
def test_every_stage_is_a_target(target, tmp_path, mini_settings):
    workspace = Workspace(tmp_path)
    workspace.write_study(mini_settings)
    assert workspace.planned(target)[target] == 1


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (
            ("studies", "mini", "tittle"),
            "x",
            "unknown key 'studies.mini.tittle'; did you mean 'title'?",
        ),
        (
            ("datasets", "chest", "lables"),
            "x",
            "unknown key 'datasets.chest.lables'; did you mean 'labels'?",
        ),
        (
            ("datasets", "chest", "image_size"),
            "big",
            "key 'datasets.chest.image_size' is 'big' (str)",
        ),
        (("recipes", "tiny", "learning_rate"), -1, "allowed: at least 0.0"),
        (("recipes", "tiny", "optimizer"), "adm", "allowed: adamw | adam | sgd"),
        (("studies", "mini", "reference"), "rnd", "reference 'rnd' is no init of the grids"),
        (("sources", "shapes", "pretraining", "dataset"), "formula", "did you mean 'formulae'?"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_without_a_traceback(
    place, value, message, tmp_path, mini_settings
):
    settings = copy.deepcopy(mini_settings)
    node = settings
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    result = workspace.snakemake("--dry-run", check=False)
    assert result.returncode
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
