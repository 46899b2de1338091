"""What the shipped studies would run, and how configuration errors look."""

from __future__ import annotations

import copy

import pytest
import yaml
from conftest import PROJECT, Workspace, analysed, job_counts, searched

from medtransfer.config.analyses import extra_weights
from medtransfer.config.figures import ALL_FIGURES
from medtransfer.config.load import load_config
from medtransfer.config.runs import all_runs

# jobs of analyses of representations, and which of them make the table of each figure
JOINS = {
    f"join_{kind}" for kind in ("weight_distance", "filters", "filter_weights", "reinitialisation")
}
REPRESENTATION = {
    "analysed_runs", "extract", "reinitialise", "embed", "cka", "cca", "start_end", "knn", "agreement",
    "domain_distance", "transferability", *JOINS,
}  # fmt: skip
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


def test_the_shipped_studies_together_plan_their_runs_and_their_pre_training(tmp_path):
    merged: dict[str, dict] = {}
    for study in STUDIES:
        for key, parts in yaml.safe_load(study.read_text()).items():
            merged.setdefault(key, {}).update(parts)
    config = load_config(merged, [PROJECT / "config"])
    expected = len(all_runs(config, extra_weights(config)))
    planned = Workspace(tmp_path).planned("--configfile", *map(str, STUDIES))
    assert planned["train"] + planned["train_large"] == expected
    assert planned["report_page"] == len(config.studies)


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


def test_large_networks_are_trained_by_a_rule_of_their_own_and_processors_ask_for_no_gpu(
    tmp_path, mini_settings
):
    workspace = Workspace(tmp_path)
    workspace.write_study(mini_settings | {"hardware": {"large_models": ["cbr"], "device": "cpu"}})
    listing = workspace.snakemake("train_all", "--dry-run").stdout
    jobs = job_counts(listing)
    assert (jobs["train_large"], "train" in jobs) == (3 * 2 + 1, False)
    resources = [line for line in listing.splitlines() if "resources:" in line and "running=" in line]
    assert len(resources) == 7
    for line in resources:
        assert {"gpu=0", "mem_mb=32000", "runtime=2880"} <= set(line.replace(",", "").split())


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
    result = workspace.snakemake("--dry-run", "--quiet=host", "--printshellcmds")
    assert result.stdout.count("--weights resources/weights/shapes/cbr.safetensors") == 2 * 2
    assert "resources/weights/shapes/stump" not in result.stdout
    assert "would train" not in result.stderr  # what it costs is left out where a run is quiet


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


def planned_analyses(workspace: Workspace, *arguments: str) -> dict[str, int]:
    """Jobs that a dry run lists, but those before and after analyses of representations."""
    jobs = workspace.planned(*arguments)
    return {name: count for name, count in jobs.items() if name in REPRESENTATION}


def test_a_study_without_figures_of_representations_plans_none_of_their_jobs(tmp_path, mini_settings):
    workspace = Workspace(tmp_path)
    workspace.write_study(mini_settings)
    assert planned_analyses(workspace) == {}
    settings = copy.deepcopy(mini_settings)
    settings["studies"]["mini"]["representation"] = {"probe_images": 20, "seeds": [0], "keep": True}
    workspace.write_study(settings)
    assert planned_analyses(workspace) == {}


def test_all_figures_plan_an_extraction_for_each_run_and_a_table_for_each_data_set(
    tmp_path, mini_settings
):
    settings = analysed(mini_settings)
    settings["studies"]["mini"]["grids"][0]["datasets"] = ["chest", "formulae"]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    runs, data_sets = 2 * 3 * 2, 2
    assert jobs["train"] == runs + 1 - 1  # the pre-training run is one of the study's
    assert {name: jobs[name] for name in jobs if name in REPRESENTATION} == {
        "extract": runs,
        "reinitialise": runs,
        **dict.fromkeys(
            ("analysed_runs", "cka", "cca", "start_end", "knn", "agreement", *JOINS), data_sets
        ),
        "embed": 2 + 1,  # training images of both data sets, and all images of the source's own
        "domain_distance": 1,
        "transferability": 1,
    }
    assert {f"figure_{name}" for name in ALL_FIGURES} <= set(jobs)


def test_only_the_runs_that_are_asked_for_are_analysed(tmp_path, mini_settings):
    settings = analysed(mini_settings, datasets=["chest"], inits=["random", "shapes"], seeds=[1])
    settings["studies"]["mini"]["grids"][0]["datasets"] = ["chest", "formulae"]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert jobs["train"] == 2 * 3 * 2
    assert {name: jobs[name] for name in jobs if name in REPRESENTATION} == {
        "analysed_runs": 1,
        **dict.fromkeys(("extract", "reinitialise"), 2),
        **dict.fromkeys(("cka", "cca", "start_end", "knn", "agreement", *JOINS), 1),
        "embed": 3,  # distances and what they predict are of all runs
        "domain_distance": 1,
        "transferability": 1,
    }


@pytest.mark.parametrize(
    ("figure", "jobs"),
    [
        ("cka", {"analysed_runs": 1, "extract": 6, "cka": 1}),
        ("cca", {"analysed_runs": 1, "extract": 6, "cca": 1}),
        ("top_layers", {"analysed_runs": 1, "extract": 6, "cca": 1}),
        ("start_end", {"analysed_runs": 1, "extract": 6, "cca": 1, "start_end": 1}),
        ("knn", {"analysed_runs": 1, "extract": 6, "knn": 1}),
        ("weight_distance", {"analysed_runs": 1, "extract": 6, "join_weight_distance": 1}),
        ("reinitialisation", {"analysed_runs": 1, "reinitialise": 6, "join_reinitialisation": 1}),
        ("agreement", {"analysed_runs": 1, "agreement": 1}),
        ("domain_distance", {"embed": 2, "domain_distance": 1}),
        ("transferability", {"embed": 1, "transferability": 1}),
        ("gains", {}),
    ],
)
def test_a_figure_plans_the_analysis_that_it_shows_and_no_other(figure, jobs, tmp_path, mini_settings):
    workspace = Workspace(tmp_path)
    workspace.write_study(analysed(mini_settings))
    assert planned_analyses(workspace, f"results/figures/mini/{figure}.pdf") == jobs


@pytest.mark.parametrize(
    ("changes", "extractions", "embeddings"),
    [
        ({}, 6, 2),
        ({"neighbours": 3, "seeds": [0]}, 6, 2),
        ({"probe_images": 16}, 12, 4),
        ({"gram_block": 8}, 12, 4),
        ({"bank_images": 16}, 12, 4),
    ],
)
def test_studies_share_what_one_probe_gives_and_keep_that_of_another_beside_it(
    changes, extractions, embeddings, tmp_path, mini_settings
):
    settings = analysed(mini_settings)
    settings["studies"]["other"] = analysed(mini_settings, **changes)["studies"]["mini"]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["extract"], jobs["embed"]) == (extractions, embeddings)
    assert (jobs["train"], jobs["reinitialise"]) == (6 + 1, 6)
    assert (jobs["cka"], jobs["domain_distance"], jobs["analysed_runs"]) == (2, 2, 2)


def test_each_study_reads_the_activations_of_its_own_probe(tmp_path, mini_settings):
    settings = analysed(mini_settings, probe_images=20, gram_block=10, bank_images=30)
    settings["studies"]["other"] = analysed(mini_settings, probe_images=16)["studies"]["mini"]
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    for study, own, others in (
        ("mini", "n20-b10-t30", "n16-b250-t5000"),
        ("other", "n16-b250-t5000", "n20-b10-t30"),
    ):
        target = f"results/representation/{study}/chest.cka.parquet"
        output = workspace.snakemake("--dry-run", "--quiet=host", "--printshellcmds", target).stdout
        assert f"results/activations/{own}/tiny/chest/cbr/random/full/holdout/seed1/end" in output
        assert f"--probe {own}" in output and others not in output


def test_an_extractor_that_no_run_starts_from_is_trained_for_distances(tmp_path, mini_settings):
    settings = analysed(mini_settings, extractor="shapes/wide")
    settings["models"]["wide"] = {"architecture": "cbr", "arguments": {"channels": [8, 8]}}
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["train"], jobs["export_weights"], jobs["embed"]) == (6 + 2, 2, 2 + 1)
    assert workspace.planned("train_all")["train"] == 6 + 2
    distance = "results/representation/mini/domain_distance.parquet"
    output = workspace.snakemake("--dry-run", "--quiet=host", "--printshellcmds", distance).stdout
    assert output.count("--weights resources/weights/shapes/wide.safetensors") == 2
    assert "--names shapes cbr" not in output


def test_a_sources_own_images_need_neither_a_split_nor_a_run(tmp_path, mini_settings):
    settings = analysed(mini_settings)
    file = {"path": "w.safetensors", "mean": [0.5], "std": [0.5]}
    settings["sources"] = {"bought": {"files": {"cbr": file}, "images": "formulae"}}
    settings["studies"]["mini"]["grids"][0] |= {
        "inits": ["random", "bought"], "splits": ["cv2-0", "cv2-1"],
    }  # fmt: skip
    workspace = Workspace(tmp_path)
    workspace.write_study(settings)
    jobs = workspace.planned()
    assert (jobs["train"], jobs["extract"], jobs["embed"]) == (2 * 2 * 2, 2 * 2 * 2, 2 + 1)
    assert (jobs["store"], jobs["split"]) == (2, 2)


@pytest.mark.parametrize(
    "target",
    [
        "plan",
        "data",
        "weights",
        "searches",
        "train_all",
        "representations",
        "evaluation",
        "statistics",
        "figures",
    ],
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
        (("sources", "shapes", "images"), "formula", "sources.shapes.images: unknown name 'formula'"),
        (
            ("studies", "mini", "representation"),
            {"extractor": "shapes"},
            "key 'extractor' is 'shapes'; allowed: <source>/<network>",
        ),
        (
            ("studies", "mini", "representation"),
            {"seeds": [7]},
            "representation.seeds: no run of the study has '7' (allowed: 0, 1)",
        ),
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
