"""Configuration: the files of the project, references between parts, names, runs, documents."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from medtransfer.config.access import AccessSettings
from medtransfer.config.argument import as_argument, settings_argument
from medtransfer.config.dataset import (
    DEFAULT_METRIC,
    METRIC_TASKS,
    DatasetSettings,
    GeneratorSettings,
    SplitSettings,
)
from medtransfer.config.embedded import DEFAULT
from medtransfer.config.load import PARTS, load_config
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import NAME, check_subset, parse_fold, subset_size
from medtransfer.config.recipe import AugmentationSettings, RecipeSettings
from medtransfer.config.runs import (
    Run,
    all_runs,
    needed_weights,
    only_finished,
    pretraining_run,
    study_runs,
)
from medtransfer.config.source import PretrainingSettings, SourceSettings, WeightFileSettings
from medtransfer.config.typed import parse, read_settings, read_yaml
from medtransfer.documents import FILES, documents, main
from medtransfer.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
PART_FILES = sorted(path for kind in PARTS for path in (CONFIG / kind).glob("*.yaml"))
STUDY_FILES = [CONFIG / "config.yaml", *sorted((CONFIG / "studies").glob("*.yaml"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def grid(**keys: Any) -> dict[str, Any]:
    return {
        "recipe": "short",
        "datasets": ["spots"],
        "models": ["small"],
        "inits": ["random", "made"],
        **keys,
    }


def study(*grids: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"studies": {"mine": {"title": "t", "grids": list(grids or [grid()]), **keys}}}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with one part of each kind, and a second source that is read from a file."""
    parts = {
        "datasets/spots": {
            "manifest": "m.csv",
            "task": "binary",
            "labels": "y",
            "classes": ["a", "b"],
            "image_size": 16,
        },
        "datasets/shapes": {
            "generator": {"name": "fractal", "size": 3, "images": 4},
            "task": "multiclass",
            "labels": "formula",
            "image_size": 16,
        },
        "models/small": {"architecture": "cbr"},
        "models/large": {"architecture": "resnet18"},
        "recipes/short": {"steps": 3},
        "recipes/long": {"epochs": 2},
        "sources/made": {"pretraining": {"dataset": "shapes", "recipe": "long", "seed": 7}},
        "sources/read": {"files": {"small": {"path": "w.safetensors", "mean": [0.5], "std": [0.5]}}},
    }
    for name, content in parts.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return tmp_path


def dataset(**keys: Any) -> DatasetSettings:
    required = {"task": "binary", "labels": "y", "image_size": 16, "manifest": "m.csv"}
    return parse(DatasetSettings, {**required, "classes": ["a", "b"], **keys}, "d.yaml")


# the project's own files


def test_there_are_parts_of_every_kind():
    assert {path.parent.name for path in PART_FILES} == {
        "datasets",
        "models",
        "recipes",
        "sources",
    }


@pytest.mark.parametrize("path", PART_FILES, ids=relative)
def test_every_part_of_the_project_parses(path):
    settings = read_settings(PARTS[path.parent.name], path)
    given = read_yaml(path)
    assert all(getattr(settings, key) is not None for key in given if key != "base")


@pytest.mark.parametrize("path", [*PART_FILES, *STUDY_FILES], ids=relative)
def test_every_file_of_the_project_fits_its_schema(path):
    name = "study" if path in STUDY_FILES else path.parent.name.removesuffix("s")
    schema = json.loads((CONFIG / "schemas" / f"{name}.json").read_text())
    jsonschema.validate(read_yaml(path), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("path", STUDY_FILES, ids=relative)
def test_every_study_of_the_project_loads_with_its_parts(path):
    config = load_config(read_yaml(path), [CONFIG])
    for run in all_runs(config):
        assert run.recipe in config.recipes
        assert run.dataset in config.datasets
        assert run.model in config.models


def test_the_default_file_is_the_default_of_the_code():
    config = load_config(read_yaml(CONFIG / "config.yaml"), [CONFIG])
    assert config.studies == DEFAULT.studies
    assert config.hardware == DEFAULT.hardware
    assert not DEFAULT.datasets
    assert {"phantom_chest", "phantom_fundus", "fractal"} <= set(config.datasets)


def test_generated_documents_are_up_to_date():
    stale = [
        path
        for path, content in documents().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != content
    ]
    assert not stale, f"run `python -m medtransfer.documents`; out of date: {', '.join(stale)}"


def test_the_documents_cover_every_kind_of_file_and_mention_every_key():
    made = documents()
    assert {f"config/schemas/{name}.json" for name in FILES} <= set(made)
    assert {"config/config.yaml", "docs/configuration.md", "docs/tables.md"} <= set(made)
    for key in ("max_rejected", "validations", "jobs_per_gpu", "external_sites", "sha256"):
        assert f"| `{key}` |" in made["docs/configuration.md"]


def test_the_documents_are_written_below_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main()
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(documents())
    assert yaml.safe_load((tmp_path / "config/config.yaml").read_text())["studies"]["embedded"]


# references between parts


def test_a_configuration_is_completed_with_the_parts_it_names_and_no_others(library):
    config = load_config(study(), [library])
    assert set(config.datasets) == {"spots", "shapes"}
    assert set(config.models) == {"small"}
    assert set(config.recipes) == {"short", "long"}
    assert set(config.sources) == {"made"}
    assert config.recipes["long"] == RecipeSettings(epochs=2.0)


def test_parts_may_be_given_in_the_configuration_itself(library):
    mapping = study(grid(models=["own"])) | {"models": {"own": {"architecture": "cbr"}}}
    assert load_config(mapping, [library]).models == {"own": ModelSettings("cbr")}


def test_the_first_folder_that_has_a_part_gives_it(library, tmp_path):
    other = tmp_path / "other"
    (other / "recipes").mkdir(parents=True)
    (other / "recipes" / "short.yaml").write_text("steps: 99")
    assert load_config(study(), [other, library]).recipes["short"].steps == 99
    assert load_config(study(), [library, other]).recipes["short"].steps == 3


def test_a_part_defined_in_the_configuration_and_in_a_file_is_refused(library):
    mapping = study() | {"models": {"small": {"architecture": "cbr"}}}
    with pytest.raises(
        ConfigError, match=r"config: models\.small is also defined in .*small\.yaml; keep one"
    ):
        load_config(mapping, [library])


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({"recipe": "shrt"}, "recipe", ["unknown name 'shrt' in recipes", "'short'", "long"]),
        ({"datasets": ["spot"]}, "datasets", ["unknown name 'spot' in datasets", "'spots'"]),
        ({"models": ["smal"]}, "models", ["unknown name 'smal' in models", "large, small"]),
        ({"inits": ["random", "mad"]}, "inits", ["unknown name 'mad' in sources", "made, read"]),
        ({"inits": ["random", "mad-stats"]}, "inits", ["'mad' in sources", "'made'"]),
        ({"inits": ["random", "made-st"]}, "inits", ["init 'made-st'", "<source>-stats"]),
        ({"inits": ["random", "read"], "models": ["large"]}, "inits", ["'large'", "has: small"]),
        ({"subsets": ["half"]}, "subsets", ["subset 'half'", "full, n<images>, p<percent"]),
        ({"splits": ["published"]}, "datasets", ["'published'", "key 'split'", "spots"]),
        ({"splits": ["cv5-5"]}, "splits", ["split 'cv5-5'", "numbered from 0"]),
        ({"splits": ["random"]}, "splits", ["split 'random'", "holdout, published, published-<fold"]),
    ],
)
def test_a_bad_reference_names_the_key_and_what_is_allowed(library, keys, place, words):
    with pytest.raises(ConfigError) as caught:
        load_config(study(grid(), grid(**keys)), [library])
    message = str(caught.value)
    assert f"studies.mine.grids[1].{place}" in message
    for word in words:
        assert word in message


def test_bad_references_are_reported_together(library):
    bad = grid(recipe="r", models=["m"], subsets=["s"], inits=["random", "i"])
    with pytest.raises(ConfigError) as caught:
        load_config(study(bad), [library])
    assert len(str(caught.value).splitlines()) == 4


def test_a_source_that_names_unknown_data_is_refused(library):
    mapping = study(grid(inits=["random", "own"])) | {
        "sources": {"own": {"pretraining": {"dataset": "shape", "recipe": "long"}}}
    }
    with pytest.raises(ConfigError, match=r"sources\.own\.pretraining: .*'shape'.*'shapes'"):
        load_config(mapping, [library])


def test_a_large_model_that_does_not_exist_is_refused(library):
    mapping = study() | {"hardware": {"large_models": ["smal"]}}
    with pytest.raises(
        ConfigError, match=r"hardware\.large_models: unknown name 'smal' in models; did"
    ):
        load_config(mapping, [library])


@pytest.mark.parametrize("name", ["my study", "a/b", "-x", "", "é"])
def test_a_study_name_that_is_no_path_component_is_refused(library, name):
    mapping = {"studies": {name: study()["studies"]["mine"]}}
    with pytest.raises(ConfigError, match=f"study name '{name}'; allowed: letters, digits"):
        load_config(mapping, [library])


def test_a_part_name_that_is_no_path_component_is_refused(library):
    mapping = study(grid(models=["a/b"])) | {"models": {"a/b": {"architecture": "cbr"}}}
    with pytest.raises(ConfigError, match="'a/b'"):
        load_config(mapping, [library])


def test_an_error_inside_a_part_names_its_file(library):
    path = library / "recipes" / "short.yaml"
    path.write_text("stepps: 3")
    with pytest.raises(ConfigError, match=re.escape(f"{path}: unknown key 'stepps'; did you mean")):
        load_config(study(), [library])


def test_yaml_that_does_not_parse_names_its_file(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not valid YAML"):
        read_yaml(path)
    path.write_text("a: [1]")
    assert read_yaml(path) == {"a": [1]}


def test_a_reference_that_no_grid_runs_is_refused(library):
    with pytest.raises(ConfigError, match=r"studies\.mine: reference 'made-stats' is no init"):
        load_config(study(reference="made-stats"), [library])
    assert load_config(study(reference="made"), [library]).studies["mine"].reference == "made"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"models": []}, "key 'models' is an empty list"),
        ({"seeds": []}, "key 'seeds' is an empty list"),
        ({"seeds": [0, 1, 0]}, r"key 'seeds' repeats a value: \[0, 1, 0\]"),
        ({"inits": ["random", "random"]}, "key 'inits' repeats a value"),
    ],
)
def test_an_empty_or_repeating_list_of_a_grid_is_refused(library, keys, message):
    with pytest.raises(ConfigError, match=message):
        load_config(study(grid(**keys)), [library])


def test_a_negative_seed_is_refused(library):
    with pytest.raises(ConfigError, match=r"seeds\[0\]' is -1"):
        load_config(study(grid(seeds=[-1])), [library])


def test_a_study_without_grids_is_refused(library):
    with pytest.raises(ConfigError, match="keys 'grids' and 'results' are both empty"):
        load_config({"studies": {"mine": {"title": "t", "grids": []}}}, [library])


# settings of the parts


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"manifest": None}, "give one of 'manifest', 'generator' and 'adapter'"),
        ({"generator": {"name": "phantom_chest", "size": 3}}, "no more and no less"),
        ({"labels": ["y"]}, "key 'labels' is .* for task binary; allowed: a list of columns for"),
        ({"task": "multilabel", "classes": []}, "key 'labels' is 'y' for task multilabel"),
        ({"task": "multilabel", "labels": ["u", "v"]}, "'classes' has no meaning for multilabel"),
        ({"classes": ["a"]}, "key 'classes' has 1 values; binary needs"),
        ({"classes": ["a", "b", "c"]}, "key 'classes' has 3 values; binary needs"),
        ({"task": "ordinal"}, "key 'classes' has 2 values; ordinal needs at least 3"),
        ({"task": "multiclass"}, "key 'classes' has 2 values; multiclass needs at least 3"),
        ({"classes": ["1", 1]}, "key 'classes' names a class twice"),
        ({"metric": "quadratic_kappa"}, "metric quadratic_kappa for task binary; allowed: auroc"),
        ({"external_sites": ["B"]}, "'external_sites' needs the key 'site'"),
        ({"splits": {"validation": 0.5, "test": 0.5}}, "leave nothing to train on"),
        ({"splits": {"test": 0.95}}, "'splits.test' is 0.95; allowed: at least 0.01 and at most"),
        ({"image_size": 4}, "'image_size' is 4; allowed: at least 8"),
        ({"channels": 2}, "'channels' is 2"),
        ({"max_rejected": 1.5}, "'max_rejected' is 1.5"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(keys, message):
    assert dataset().task == "binary"
    with pytest.raises(ConfigError, match=message):
        dataset(**keys)


def test_a_fractal_data_set_needs_images():
    with pytest.raises(ConfigError, match="images"):
        parse(GeneratorSettings, {"name": "fractal", "size": 3}, "d.yaml")


def test_outputs_are_the_positive_class_or_one_for_each_class():
    several = dataset(task="multiclass", classes=[0, 1, 2])
    many = dataset(task="multilabel", labels=["u", "v"], classes=[])
    assert dataset().outputs == ("b",)
    assert dataset().class_names == ("a", "b")
    assert several.outputs == several.class_names == ("0", "1", "2")
    assert many.outputs == many.class_names == ("u", "v")


def test_fractal_classes_are_the_formulae():
    generator = {"name": "fractal", "size": 4, "images": 2}
    settings = dataset(task="multiclass", classes=[], manifest=None, generator=generator)
    assert settings.class_names == ("0", "1", "2", "3")


def test_every_task_has_a_default_metric_that_fits_it():
    for task, metric in DEFAULT_METRIC.items():
        assert task in METRIC_TASKS[metric]
    assert dataset().target_metric == "auroc"
    assert dataset(task="ordinal", classes=[0, 1, 2]).target_metric == "quadratic_kappa"
    assert dataset(metric="accuracy").target_metric == "accuracy"


@pytest.mark.parametrize("budget", [{}, {"epochs": 3, "steps": 100}])
def test_a_recipe_needs_exactly_one_budget(budget):
    with pytest.raises(ConfigError, match="either 'epochs' or 'steps'"):
        parse(RecipeSettings, budget, "r.yaml")


def test_steps_follow_from_epochs_images_and_batch():
    assert RecipeSettings(epochs=3.0, batch_size=32).total_steps(320) == 30
    assert RecipeSettings(epochs=0.5, batch_size=32).total_steps(320) == 5
    assert RecipeSettings(epochs=0.001, batch_size=32).total_steps(320) == 1
    assert RecipeSettings(steps=17).total_steps(320) == 17


def test_a_source_is_trained_or_read_but_not_both():
    training, files = (
        PretrainingSettings("d", "r"),
        {"m": WeightFileSettings("w", mean=(0.5,), std=(0.5,))},
    )
    assert SourceSettings(pretraining=training).files == {}
    assert SourceSettings(files=files).pretraining is None
    for wrong in ({}, {"pretraining": training, "files": files}):
        with pytest.raises(ConfigError, match="either 'pretraining' or 'files'"):
            SourceSettings(**wrong)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bands": {"agee": [40]}}, r"key 'bands' names 'agee'; did you mean 'age'\?; .* age, sex"),
        ({"bands": {"age": []}}, r"key 'bands.age' is \[\]; allowed: at least one number"),
        ({"bands": {"age": [60, 40]}}, r"key 'bands.age' is \[60.0, 40.0\]; .* each above the one"),
        ({"bands": {"age": [40, 40]}}, r"key 'bands.age' is \[40.0, 40.0\]; .* each above the one"),
        (
            {"bands": {"age": [float("inf")]}},
            r"key 'bands.age' is \[inf\]; allowed: at least one number",
        ),
        (
            {"bands": {"age": [float("nan")]}},
            r"key 'bands.age' is \[nan\]; allowed: at least one number",
        ),
        ({"bands": {"age": 40}}, "key 'bands.age' is 40 .int.; allowed: a list of a number"),
        (
            {"intersections": [["sex"]]},
            r"key 'intersections\[0\]' is \['sex'\]; .* at least two columns",
        ),
        (
            {"intersections": [["sex", "sex"]]},
            r"is \['sex', 'sex'\]; .* at least two columns, each once",
        ),
        (
            {"intersections": [["sex", "age"], ["sex", "site"]]},
            r"'intersections\[1\]' names 'site'; .*sex",
        ),
    ],
)
def test_bands_and_intersections_are_of_named_columns(keys, message):
    with pytest.raises(ConfigError, match=message):
        dataset(groups=["sex", "age"], **keys)


def test_bands_without_groups_say_that_there_are_none():
    with pytest.raises(ConfigError, match=r"allowed: columns of the key 'groups': \(none\)"):
        dataset(bands={"age": [40]})


def test_bands_and_intersections_survive_the_command_line():
    keys = {"bands": {"age": [40, 60.5]}, "intersections": [["sex", "age"]]}
    found = dataset(groups=["sex", "age"], **keys)
    assert found.bands == {"age": (40.0, 60.5)}
    assert found.intersections == (("sex", "age"),)
    only = {"task", "labels", "classes", "image_size", "manifest", "groups", *keys}
    again = settings_argument(DatasetSettings)(as_argument(found, only))
    assert (again.groups, again.bands) == (found.groups, found.bands)
    assert again.intersections == found.intersections
    without = as_argument(found, {"groups"})
    assert "bands" not in without and "intersections" not in without


# names


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("full", 200),
        ("n1", 1),
        ("n200", 200),
        ("p100", 200),
        ("p10", 20),
        ("p1", 2),
        ("p99", 198),
    ],
)
def test_a_subset_of_200_images_has_the_size_its_name_says(name, size):
    assert subset_size(name, 200) == size


def test_a_share_of_few_images_is_at_least_one():
    assert subset_size("p1", 3) == 1


@pytest.mark.parametrize(
    "name", ["", "n0", "n", "n05", "n-1", "n1.5", "p0", "p101", "p05", "p", "10", "Full", "full "]
)
def test_other_subsets_are_refused(name):
    with pytest.raises(ConfigError, match="allowed: full, n<images>, p<percent 1-100>"):
        check_subset(name)
    with pytest.raises(ConfigError, match="allowed: full"):
        subset_size(name, 200)


def test_a_subset_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"subset 'n201' of 200 training images; .* at most n200"):
        subset_size("n201", 200)


@pytest.mark.parametrize(
    ("split", "fold"),
    [("holdout", None), ("published", None), ("cv5-0", (5, 0)), ("cv10-9", (10, 9))],
)
def test_a_split_says_its_folds_and_its_fold(split, fold):
    assert parse_fold(split) == fold


@pytest.mark.parametrize(
    "split", ["", "cv5", "cv5-5", "cv1-0", "cv0-0", "cv5-", "cv-1", "cv5--1", "test", "holdout2"]
)
def test_other_splits_are_refused(split):
    with pytest.raises(ConfigError, match=f"split '{split}'; allowed: "):
        parse_fold(split)


@pytest.mark.parametrize("split", ["cv05-0", "cv5-00"])
def test_a_split_has_one_name_only(split):
    with pytest.raises(ConfigError, match="allowed"):
        parse_fold(split)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("a", True), ("A1_b.c-d", True), ("", False), ("_a", False), ("a b", False), ("a/b", False)],
)
def test_names_are_letters_digits_and_few_signs(name, allowed):
    assert bool(NAME.fullmatch(name)) == allowed


# runs


def test_a_study_runs_every_combination_once_in_order(library):
    first = grid(seeds=[0, 1], subsets=["full", "n5"])
    config = load_config(study(first, grid(seeds=[1, 2])), [library])
    runs = study_runs(config.studies["mine"])
    assert len(runs) == len(set(runs)) == 2 * 2 * 2 + 2 * 1
    assert runs[0] == Run("short", "spots", "small", "random", "full", "holdout", 0)
    assert {run.seed for run in runs if run.subset == "full"} == {0, 1, 2}
    assert {run.seed for run in runs if run.subset == "n5"} == {0, 1}


RANDOM = "short/spots/small/random/full/holdout"


@pytest.mark.parametrize(
    ("path", "missing"),
    [(f"{RANDOM}/seed1", 1), (RANDOM, 3), (f"{RANDOM}/", 3), ("short/spots/small/made", 3)],
)
def test_runs_that_are_left_out_are_no_runs_of_the_study(library, path, missing):
    config = load_config(study(left_out=[path]), [library])
    left = study_runs(config.studies["mine"])
    every = study_runs(load_config(study(), [library]).studies["mine"])
    assert [run for run in every if not f"{run.path}/".startswith(path.rstrip("/") + "/")] == left
    assert len(every) - len(left) == missing


@pytest.mark.parametrize("path", [f"{RANDOM}/seed9", "short/spo", f"{RANDOM}/seed1/model", ""])
def test_leaving_out_what_no_grid_has_is_refused(library, path):
    with pytest.raises(
        ConfigError, match=rf"studies\.mine\.left_out: no run .*'{path}'.*{RANDOM}/seed0"
    ):
        load_config(study(left_out=[path]), [library])


def test_leaving_out_every_run_is_refused(library):
    with pytest.raises(ConfigError, match="leaves out all 6 runs"):
        load_config(study(left_out=["short"]), [library])


def test_only_finished_runs_are_taken_if_that_is_asked_for(library):
    config = load_config(study(left_out=[f"{RANDOM}/seed0"]), [library])
    finished = only_finished(config, lambda run: run.seed < 2)
    assert {run.seed for run in study_runs(finished.studies["mine"])} == {0, 1}
    made = only_finished(config, lambda run: run.init == "made").studies["mine"]
    assert made.left_out == (f"{RANDOM}/seed0", "short/spots/small/random")
    assert len(study_runs(finished.studies["mine"])) == 3
    assert all_runs(finished)[-1].dataset == "shapes"
    assert only_finished(config, lambda run: run.seed >= 0) == config


def test_a_study_without_any_finished_run_says_which_would_be_the_first(library):
    config = load_config(study(), [library])
    with pytest.raises(ConfigError, match=rf"'mine'.* none of its 6 .*{RANDOM}/seed0"):
        only_finished(config, lambda run: run.seed < 0)


def test_pre_training_runs_are_added_once_for_each_network(library):
    two = study(grid(models=["small", "large"], inits=["random", "made", "made-stats"]))
    two["studies"]["again"] = two["studies"]["mine"]
    config = load_config(two, [library])
    runs = all_runs(config)
    assert len(runs) == len(set(runs)) == 2 * 3 * 3 + 2
    assert [run for run in runs if run.dataset == "shapes"] == [
        Run("long", "shapes", name, "random", "full", "holdout", 7) for name in ("small", "large")
    ]


def test_a_pre_training_run_that_a_study_also_asks_for_is_one_run(library):
    own = grid(recipe="long", datasets=["shapes"], inits=["random"], seeds=[7])
    config = load_config(study(grid(), own), [library])
    assert len(all_runs(config)) == len(study_runs(config.studies["mine"])) == 7


def test_weights_from_files_need_no_run(library):
    config = load_config(study(grid(inits=["random", "read"], seeds=[0])), [library])
    assert len(all_runs(config)) == 2
    assert needed_weights(all_runs(config), config.models) == [("read", "small")]
    assert pretraining_run(config.sources["read"], "small") is None


def test_weights_are_needed_once_for_each_source_and_network():
    runs = [
        Run("r", "d", model, init, "full", "holdout", seed)
        for model in ("m", "n")
        for init in ("random", "s", "s-stats")
        for seed in (0, 1)
    ]
    models = {name: ModelSettings("cbr") for name in ("m", "n")}
    assert needed_weights(runs, models) == [("s", "m"), ("s", "n")]


def test_a_path_tells_runs_apart():
    run = Run("recipe", "data", "model", "init", "n5", "cv5-0", 3)
    assert run.path == "recipe/data/model/init/n5/cv5-0/seed3"
    assert replace(run, seed=4).path != run.path


# settings on a command line


def test_an_argument_leaves_defaults_out_and_reads_back_the_same():
    settings = RecipeSettings(steps=5, optimizer="sgd", batch_size=32)
    text = as_argument(settings)
    assert json.loads(text) == {"steps": 5, "optimizer": "sgd"}
    assert settings_argument(RecipeSettings)(text) == settings


@pytest.mark.parametrize("path", PART_FILES, ids=relative)
def test_every_part_reads_back_from_its_argument(path):
    kind = PARTS[path.parent.name]
    settings = read_settings(kind, path)
    assert settings_argument(kind)(as_argument(settings)) == settings


def test_an_argument_of_some_keys_holds_no_other():
    settings = dataset(site="s", external_sites=["B"], max_rejected=0.5)
    text = as_argument(settings, {"task", "labels", "max_rejected", "geometry"})
    assert json.loads(text) == {"task": "binary", "labels": "y", "max_rejected": 0.5}


def test_an_argument_leaves_defaults_of_nested_blocks_out_too():
    settings = dataset(splits={"test": 0.3})
    assert json.loads(as_argument(settings, {"splits"})) == {"splits": {"test": 0.3}}
    recipe = RecipeSettings(steps=5, augmentation=AugmentationSettings(rotate=5.0))
    assert json.loads(as_argument(recipe)) == {"steps": 5, "augmentation": {"rotate": 5.0}}


def test_equal_settings_give_the_same_text_whatever_the_order_of_their_keys():
    one = parse(ModelSettings, {"architecture": "x", "arguments": {"a": 1, "b": 2}}, "m")
    two = parse(ModelSettings, {"arguments": {"b": 2, "a": 1}, "architecture": "x"}, "m")
    assert as_argument(one) == as_argument(two) != as_argument(ModelSettings("x"))


def test_an_argument_may_be_a_file_and_errors_name_it(tmp_path):
    path = tmp_path / "splits.yaml"
    path.write_text("validation: 0.2")
    assert settings_argument(SplitSettings)(str(path)) == SplitSettings(validation=0.2)
    path.write_text("validaton: 0.2")
    with pytest.raises(ConfigError, match=r"splits\.yaml: unknown key 'validaton'"):
        settings_argument(SplitSettings)(str(path))
    with pytest.raises(ConfigError, match="command line: unknown key 'validaton'"):
        settings_argument(SplitSettings)('{"validaton": 0.2}')


@pytest.mark.parametrize("content", [None, "a: [1"])
def test_a_settings_file_that_can_not_be_read_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "splits.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"splits\.yaml"):
        settings_argument(SplitSettings)(str(path))


# access


def access_block(file: dict[str, Any] | None = None, **keys: Any) -> AccessSettings:
    block = {"name": "a.zip", "urls": ["https://host.org/a.zip"], **(file or {})}
    return parse(AccessSettings, {"files": [block], **keys}, "mine.yaml")


def test_usual_ways_of_access_are_allowed():
    for url in ("https://host.org:8443/a?x=1#y", "http://host.org/a%20b", "https://host.org/@me/a"):
        access_block({"urls": [url]})
    for url in ("https://host.org/a", "http://localhost:80/a", "http://127.0.0.1/a", "http://[::1]/a"):
        access_block({"urls": [url]}, token="MY_TOKEN")
    for name in ("a.zip", "sub/A.TAR.GZ", "a.csv.gz", "a.npz", ".sub/a.tgz"):
        access_block({"name": name, "unpack": True})
    parse(AccessSettings, {"client": ["get", "x"], "expected": ["train", "sub/a b.csv"]}, "mine.yaml")


def test_a_client_needs_something_expected():
    with pytest.raises(ConfigError, match=r"mine\.yaml: key 'client' is given without 'expected'"):
        access_block(client=["get", "x"])


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.npy", "zip", "a.zip/a"])
def test_only_archives_can_be_unpacked(name):
    access_block({"name": name})
    match = f"file '{re.escape(name)}': key 'unpack' is true.*allowed: names that end in .*\\.zip"
    with pytest.raises(ConfigError, match=match):
        access_block({"name": name, "unpack": True})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host.org/a", "no web address; allowed: https:// or http://"),
        ("https://me:22hidden@host.org/a", "with a user or password .*allowed: 'token'"),
        ("https://22hidden@host.org/a", "with a user or password .*allowed: 'token'"),
        ("https:///a", "without a host; allowed"),
        ("https://:443/a", "without a host; allowed"),
        ("http://?key=22hidden", "without a host; allowed"),
        ("https://host.org/a b", "with spaces or special characters; allowed: .*%20"),
        ("https://host.org/a\n", "with spaces or special characters; allowed: .*%20"),
        ("https://host.org/ä", "with spaces or special characters; allowed: .*%20"),
        ("https://host.org:port/a?key=22hidden", "no usable address; allowed: https://host"),
        ("https://[host.org/a?key=22hidden", "no usable address; allowed: https://host"),
    ],
)
def test_addresses_are_checked_and_their_secrets_not_shown(url, problem):
    with pytest.raises(
        ConfigError, match=rf"mine\.yaml: .*'a\.zip': key 'urls' has '[^']*', {problem}"
    ) as caught:
        access_block({"urls": ["https://host.org/a", url]})
    assert "22hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://host.org/a?key=22hidden", "http://localhost.host.org/a"])
def test_a_token_is_not_for_open_addresses(url):
    access_block({"urls": [url]})
    match = r"key 'urls' has 'http://[a-z.]*host\.org/a'; allowed with 'token': https://"
    with pytest.raises(ConfigError, match=match):
        access_block({"urls": ["https://host.org/a", url]}, token="MY_TOKEN")


@pytest.mark.parametrize(
    "name", ["", ".", "/a", "..", "../a", "a/../../b", "a\\b", "..\\a", ".a.zip.part", "sub/.a"]
)
def test_names_are_those_of_visible_files_below_the_folder(name):
    with pytest.raises(
        ConfigError, match=r"key 'name' is .*allowed: a path below the folder, with '/'"
    ):
        access_block({"name": name})
    with pytest.raises(ConfigError, match=r"key 'expected' has .*allowed: a path below the folder"):
        access_block(expected=["train", name])
