"""What the shipped studies would run, and how configuration errors look."""

from __future__ import annotations

import copy

import pytest
import yaml
from conftest import PROJECT, Workspace, searched

from medtransfer.config.study import ALL_FIGURES

STUDIES = sorted((PROJECT / "config" / "studies").glob("*.yaml"))


def test_the_default_study_is_the_embedded_one_with_these_jobs(tmp_path):
    jobs = Workspace(tmp_path).planned()
    figures = {name: count for name, count in jobs.items() if name.startswith("figure_")}
    assert jobs["train"] == 2 * 2 * 3 * 2 * 3 + 2 * 3 * 3 + 2  # whole starts, depths, pre-training
    assert (jobs["generate"], jobs["store"], jobs["split"]) == (3, 3, 3)
    assert (jobs["export_weights"], jobs["evaluate"], jobs["compare"]) == (2, 2, 1)
    assert figures == {f"figure_{name}": 1 for name in ALL_FIGURES}


def test_all_is_a_target_in_front_of_the_resources(tmp_path):
    assert Workspace(tmp_path).planned("all", "--resources", "gpu=2")["train"] == 92


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


def test_a_search_plans_a_run_of_each_candidate_and_a_choice_for_each_cell(tmp_path, mini_settings):
    workspace = Workspace(tmp_path)
    workspace.write_study(searched(mini_settings, learning_rates=[0.1, 0.01, 0.001]))
    cells, rates, seeds = 3, 3, 2
    jobs = workspace.planned()
    assert jobs["train"] == cells * (rates + seeds) + 1
    assert (jobs["choose_rate"], jobs["evaluate"], jobs["compare"]) == (cells, 1, 1)
    assert workspace.planned("searches")["train"] == cells * rates + 1
    cell = "tuned/chest/cbr/random/full/holdout"
    one = workspace.planned(f"results/runs/{cell}/seed1/run.json")
    assert (one["train"], one["choose_rate"]) == (rates + 1, 1)


def test_studies_share_the_candidates_of_a_search(tmp_path, mini_settings):
    settings = searched(mini_settings)
    settings["studies"]["other"] = copy.deepcopy(settings["studies"]["mini"])
    settings["studies"]["other"]["grids"][0]["seeds"] = [7]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["train"], jobs["choose_rate"]) == (3 * (2 + 2 + 1) + 1, 3)


def test_pre_training_with_a_search_has_candidates_of_its_own(tmp_path, mini_settings):
    settings = searched(mini_settings)
    settings["sources"]["shapes"]["pretraining"]["recipe"] = "tuned"
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["train"], jobs["choose_rate"]) == (3 * (2 + 2) + 2 + 1, 3 + 1)


def test_a_twin_takes_the_weights_of_the_network_that_it_names(tmp_path, mini_settings):
    settings = copy.deepcopy(mini_settings)
    settings["models"]["stump"] = {**settings["models"]["cbr"], "first_units": 1, "weights_of": "cbr"}
    settings["studies"]["mini"]["grids"][0]["models"] = ["stump"]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned("--printshellcmds")
    assert (jobs["train"], jobs["export_weights"]) == (3 * 2 + 1, 1)
    output = workspace.snakemake("--dry-run", "--printshellcmds").stdout
    assert output.count("--weights resources/weights/shapes/cbr.safetensors") == 2 * 2
    assert "resources/weights/shapes/stump" not in output


def test_a_twin_may_take_weights_from_a_file_of_a_network_without_runs(tmp_path, mini_settings):
    settings = copy.deepcopy(mini_settings)
    settings["models"]["stump"] = {**settings["models"]["cbr"], "first_units": 1, "weights_of": "cbr"}
    file = {"path": "w.safetensors", "mean": [0.5], "std": [0.5]}
    settings["sources"]["bought"] = {"files": {"cbr": file}}
    settings["studies"]["mini"]["grids"][0] |= {"models": ["stump"], "inits": ["random", "bought"]}
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["train"], jobs["import_weights"]) == (2 * 2, 1)


@pytest.mark.parametrize(
    "target",
    ["plan", "data", "weights", "searches", "train_all", "evaluation", "statistics", "figures"],
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
