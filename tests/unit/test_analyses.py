"""What analyses of representations need: runs, extractor, embeddings, and how mistakes are named."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer.config.analyses import (
    ALL_IMAGES,
    Embedding,
    analysed_runs,
    distance_embeddings,
    extra_weights,
    extractor,
    source_images,
    transfer_embeddings,
)
from medtransfer.config.embedded import DEFAULT
from medtransfer.config.figures import ALL_FIGURES, DEFAULT_FIGURES
from medtransfer.config.load import load_config
from medtransfer.config.names import parse_fold
from medtransfer.config.representation import RepresentationSettings
from medtransfer.config.runs import Run, all_runs, study_runs
from medtransfer.config.study import Config
from medtransfer.config.typed import plain
from medtransfer.errors import ConfigError

PROBE = "n1000-b250-t5000"
FILE = {"path": "w.safetensors", "mean": [0.5], "std": [0.5]}
PARTS = {
    "datasets/spots": {"manifest": "m.csv", "task": "binary", "labels": "y", "classes": ["a", "b"],
                       "image_size": 16},
    "datasets/dots": {"manifest": "n.csv", "task": "binary", "labels": "y", "classes": ["a", "b"],
                      "image_size": 16},
    "datasets/shapes": {"generator": {"name": "fractal", "size": 3, "images": 4},
                        "task": "multiclass", "labels": "formula", "image_size": 16},
    "datasets/photographs": {"manifest": "p.csv", "task": "multiclass", "labels": "thing",
                             "classes": ["a", "b", "c"], "image_size": 16},
    "models/small": {"architecture": "cbr"},
    "models/large": {"architecture": "resnet18"},
    "models/stump": {"architecture": "resnet18", "first_units": 2, "weights_of": "large"},
    "recipes/short": {"steps": 3},
    "recipes/long": {"epochs": 2},
    "sources/made": {"pretraining": {"dataset": "shapes", "recipe": "long", "seed": 7}},
    "sources/read": {"files": {"small": FILE}},
    "sources/bought": {"files": {"large": FILE}, "images": "photographs"},
}  # fmt: skip


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, content in PARTS.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return tmp_path


def grid(**keys: Any) -> dict[str, Any]:
    usual = {"recipe": "short", "datasets": ["spots"], "models": ["small"], "inits": ["random", "made"]}
    return {**usual, **keys}


def study(*grids: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"studies": {"mine": {"title": "t", "grids": list(grids or [grid()]), **keys}}}


def asked(*grids: dict[str, Any], **representation: Any) -> dict[str, Any]:
    return study(*grids, figures=list(ALL_FIGURES), representation=representation)


def loaded(mapping: dict[str, Any], library: Path) -> Config:
    return load_config(mapping, [library])


def problems(mapping: dict[str, Any], library: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(mapping, [library])
    return str(caught.value).splitlines()


# settings


def test_what_is_stored_for_a_probe_has_a_path_that_tells_settings_apart():
    paths = {
        RepresentationSettings(probe_images=n, gram_block=b, bank_images=t).probe
        for n, b, t in itertools.product((4, 44), (4, 44), (4, 44))
    }
    assert len(paths) == 8
    assert RepresentationSettings().probe == PROBE
    assert all(re.fullmatch(r"n\d+-b\d+-t\d+", path) for path in paths)


def test_what_changes_no_stored_file_is_no_part_of_the_path():
    changes = RepresentationSettings(neighbours=3, keep=True, extractor="a/b", seeds=(1,))
    assert changes.probe == PROBE


@pytest.mark.parametrize(
    ("keys", "key", "found", "allowed"),
    [
        ({"probe_images": 3}, "representation.probe_images'", "is 3", "at least 4"),
        ({"gram_block": 3}, "representation.gram_block'", "is 3", "at least 4"),
        ({"bank_images": 0}, "representation.bank_images'", "is 0", "at least 1"),
        ({"neighbours": 0}, "representation.neighbours'", "is 0", "at least 1"),
        ({"seeds": [-1]}, "representation.seeds[0]'", "is -1", "at least 0"),
        ({"seeds": ["one"]}, "representation.seeds[0]'", "'one' (str)", "a whole number"),
        ({"keep": "yes"}, "representation.keep'", "'yes' (str)", "true or false"),
        ({"probes": 9}, "representation.probes'", "unknown key", "probe_images"),
    ],
)
def test_a_bad_value_names_the_key_and_what_is_allowed(keys, key, found, allowed, library):
    (problem,) = problems(asked(**keys), library)
    assert key in problem and found in problem and allowed in problem


@pytest.mark.parametrize("name", ["resnet50", "a/b/c", "", "made-small"])
def test_an_extractor_is_a_source_and_a_network(name, library):
    (problem,) = problems(asked(extractor=name), library)
    assert "studies.mine.representation: key 'extractor'" in problem
    assert f"is '{name}'; allowed: <source>/<network>" in problem


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("made/smal", ["unknown name 'smal' in models", "'small'", "large, small, stump"]),
        ("mad/small", ["unknown name 'mad' in sources", "'made'", "bought, made, read"]),
        ("read/large", ["source 'read' has no weights of 'large'", "it has: small"]),
        ("random/small", ["'random' is no source", "<source>/<network>"]),
        ("gabor/small", ["'gabor' is no source", "<source>/<network>"]),
        ("made-stats/small", ["'made-stats' is no source", "<source>/<network>"]),
        ("made-upto2-random/small", ["'made-upto2-random' is no source", "<source>/<network>"]),
        ("/small", ["init ''", "<source>"]),
        ("made/", ["name ''", "letters, digits"]),
    ],
)
def test_an_unknown_extractor_is_named_with_what_there_is(name, words, library):
    (problem,) = problems(asked(extractor=name), library)
    assert problem.startswith("config: studies.mine.representation.extractor: ")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("keys", "found", "allowed"),
    [
        ({"recipes": ["long"]}, "recipes: no run of the study has 'long'", "short"),
        ({"datasets": ["spots", "dot"]}, "datasets: no run of the study has 'dot'", "spots, dots"),
        ({"models": ["large"]}, "models: no run of the study has 'large'", "small"),
        ({"inits": ["made-stats"]}, "inits: no run of the study has 'made-stats'", "random, made"),
        ({"subsets": ["n5"]}, "subsets: no run of the study has 'n5'", "full"),
        ({"splits": ["cv5-0"]}, "splits: no run of the study has 'cv5-0'", "holdout"),
        ({"seeds": [0, 9]}, "seeds: no run of the study has '9'", "0, 1, 2"),
    ],
)
def test_what_no_run_of_the_study_has_is_named_even_if_other_runs_are_found(
    keys, found, allowed, library
):
    (problem,) = problems(asked(grid(datasets=["spots", "dots"]), **keys), library)
    assert problem == f"config: studies.mine.representation.{found} (allowed: {allowed})"


def test_runs_that_no_grid_has_together_are_named(library):
    grids = (grid(datasets=["spots"], seeds=[0]), grid(datasets=["dots"], seeds=[1]))
    (problem,) = problems(asked(*grids, datasets=["spots"], seeds=[1]), library)
    assert problem.startswith("config: studies.mine.representation: no run of the study has all of")
    assert "datasets ['spots'], seeds [1]" in problem and "allowed" in problem


@pytest.mark.parametrize("analysed", [["random"], ["random", "bought"]])
def test_images_of_a_source_that_no_data_set_has_are_named(analysed, library):
    """Also where no run that starts from the source is analysed: distances are of all runs."""
    (library / "sources/bought.yaml").write_text(
        yaml.safe_dump({"files": {"large": FILE}, "images": "photograph"})
    )
    mapping = asked(grid(models=["large"], inits=["random", "bought"]), inits=analysed)
    (problem,) = problems(mapping, library)
    assert "sources.bought.images: unknown name 'photograph' in datasets" in problem
    assert "'photographs'" in problem and "shapes" in problem


def test_images_of_the_extractors_source_are_checked(library):
    (library / "sources/bought.yaml").write_text(
        yaml.safe_dump({"files": {"large": FILE}, "images": "photograph"})
    )
    (problem,) = problems(asked(extractor="bought/large"), library)
    assert "sources.bought.images: unknown name 'photograph' in datasets" in problem


def test_mistakes_of_the_grids_are_reported_beside_those_of_the_analyses(library):
    mapping = asked(grid(inits=["random", "made-st"]), seeds=[9], extractor="mad/small")
    found = problems(mapping, library)
    assert len(found) == 3
    for place in ("grids[0].inits", "representation.seeds", "representation.extractor"):
        assert any(place in problem for problem in found)


# runs


def test_all_runs_are_analysed_unless_some_are_asked_for(library):
    config = loaded(asked(grid(models=["small", "large"])), library)
    mine = config.studies["mine"]
    assert analysed_runs(mine) == study_runs(mine)
    assert len(analysed_runs(mine)) == 2 * 2 * 3


WHOLE = (
    grid(
        datasets=["spots", "dots"], models=["small", "large"], inits=["random", "made", "made-stats"],
        subsets=["full", "n5"], splits=["cv2-0", "cv2-1"], seeds=[0, 1, 2],
    ),
    grid(recipe="long", seeds=[0, 5]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "attribute", "values"),
    [
        ("recipes", "recipe", ["long"]),
        ("datasets", "dataset", ["dots"]),
        ("models", "model", ["large"]),
        ("inits", "init", ["made-stats", "random"]),
        ("subsets", "subset", ["n5"]),
        ("splits", "split", ["cv2-1", "holdout"]),
        ("seeds", "seed", [5, 1]),
    ],
)
def test_each_key_chooses_runs_by_its_own_values(key, attribute, values, library):
    mine = loaded(asked(*WHOLE, **{key: values}), library).studies["mine"]
    expected = [run for run in study_runs(mine) if getattr(run, attribute) in values]
    assert analysed_runs(mine) == expected
    assert 0 < len(expected) < len(study_runs(mine))


def test_runs_that_have_all_that_is_asked_for_are_analysed_in_the_order_of_the_study(library):
    choice = {"datasets": ["spots"], "models": ["small"], "inits": ["made", "random"],
              "seeds": [2, 0], "splits": ["cv2-0"], "subsets": ["full"]}  # fmt: skip
    mine = loaded(asked(*WHOLE, **choice), library).studies["mine"]
    assert analysed_runs(mine) == [
        Run("short", "spots", "small", init, "full", "cv2-0", seed)
        for init in ("random", "made")
        for seed in (0, 2)
    ]


def test_the_embedded_study_analyses_starts_and_seeds_of_both_networks():
    config = load_config(plain(DEFAULT), [Path(__file__).resolve().parents[2] / "config"])
    runs = analysed_runs(config.studies["embedded"])
    sides = [{r.model for r in runs}, {r.init for r in runs}, {r.seed for r in runs}]
    assert [len(values) >= 2 for values in sides] == [True] * 3
    found = {(run.model, run.init, run.seed) for run in runs}
    assert found == set(itertools.product(*sides))
    assert {"random", "fractal"} <= sides[1]


# extractor


def test_the_extractor_is_what_the_first_run_with_a_source_starts_from(library):
    first = grid(models=["large"], inits=["random", "bought"])
    config = loaded(asked(first, grid()), library)
    assert extractor(config.studies["mine"], config) == ("bought", "large")
    config = loaded(asked(grid(), first), library)
    assert extractor(config.studies["mine"], config) == ("made", "small")


def test_the_extractor_may_be_named(library):
    config = loaded(asked(extractor="read/small"), library)
    assert extractor(config.studies["mine"], config) == ("read", "small")
    assert {"read"} <= set(config.sources)


def test_a_study_without_sources_has_no_extractor_unless_it_names_one(library):
    nothing = loaded(asked(grid(inits=["random", "gabor"])), library)
    assert extractor(nothing.studies["mine"], nothing) is None
    assert extra_weights(nothing) == []
    assert distance_embeddings(nothing.studies["mine"], nothing) == []
    assert transfer_embeddings(nothing.studies["mine"], nothing) == []
    named = loaded(asked(grid(inits=["random"]), extractor="made/small"), library)
    assert extractor(named.studies["mine"], named) == ("made", "small")


@pytest.mark.parametrize("named", [True, False])
def test_a_twin_extracts_with_the_weights_of_the_network_that_it_names(named, library):
    mapping = asked(
        grid(models=["stump"], inits=["random", "bought"]),
        **({"extractor": "bought/stump"} if named else {}),
    )
    config = loaded(mapping, library)
    assert extractor(config.studies["mine"], config) == ("bought", "large")
    assert {"stump", "large"} <= set(config.models)


# weights and runs that only analyses need


def test_the_run_behind_an_extractor_that_no_run_starts_from_is_added(library):
    config = loaded(asked(grid(), extractor="made/large"), library)
    assert extra_weights(config) == [("made", "large")]
    added = Run("long", "shapes", "large", "random", "full", "holdout", 7)
    assert added not in all_runs(config)
    runs = all_runs(config, extra_weights(config))
    assert runs.count(added) == 1
    assert set(runs) - set(all_runs(config)) == {added}


def test_an_extractor_that_runs_start_from_adds_no_run(library):
    config = loaded(asked(grid(), extractor="made/small"), library)
    assert extra_weights(config) == [("made", "small")]
    assert all_runs(config, extra_weights(config)) == all_runs(config)


def test_the_run_behind_an_extractor_with_a_search_brings_its_candidates(library):
    search = {"learning_rates": [0.1, 0.01], "steps": 1, "seed": 3}
    (library / "recipes/long.yaml").write_text(yaml.safe_dump({"epochs": 2, "search": search}))
    config = loaded(asked(grid(inits=["random"]), extractor="made/large"), library)
    added = set(all_runs(config, extra_weights(config))) - set(all_runs(config))
    assert len(added) == 1 + 2
    assert {run.dataset for run in added} == {"shapes"}


def test_an_extractor_from_a_file_needs_no_run(library):
    config = loaded(asked(grid(), extractor="read/small"), library)
    assert extra_weights(config) == [("read", "small")]
    assert all_runs(config, extra_weights(config)) == all_runs(config)


def test_an_extractor_is_needed_only_where_distances_are_drawn(library):
    mapping = asked(grid(), extractor="made/large")
    mapping["studies"]["mine"]["figures"] = ["cka"]
    assert extra_weights(loaded(mapping, library)) == []
    assert "domain_distance" not in DEFAULT_FIGURES


def test_extractors_of_several_studies_are_each_needed_once(library):
    mapping = asked(grid(), extractor="made/large")
    for name in ("again", "other"):
        mapping["studies"][name] = asked(grid(), extractor="made/large")["studies"]["mine"]
    mapping["studies"]["other"]["representation"]["extractor"] = "read/small"
    assert extra_weights(loaded(mapping, library)) == [("made", "large"), ("read", "small")]


# embeddings


def test_a_sources_own_images_are_those_it_names_or_was_trained_on(library):
    mapping = asked(grid(models=["small"], inits=["random", "made", "read"]), extractor="bought/large")
    config = loaded(mapping, library)
    found = {name: source_images(name, config) for name in config.sources}
    assert found == {"made": "shapes", "read": None, "bought": "photographs"}
    own = {"sources": {"near": {**PARTS["sources/made"], "images": "photographs"}}}
    config = loaded(asked(grid(inits=["random", "near"])) | own, library)
    assert source_images("near", config) == "photographs"


def test_distances_are_between_the_studys_data_sets_and_its_sources_images(library):
    grids = (
        grid(datasets=["spots", "dots"], models=["large"], inits=["random", "made", "bought-stats"]),
        grid(splits=["cv2-0", "cv2-1"], inits=["random", "read"]),
    )
    config = loaded(asked(*grids, extractor="bought/large", datasets=["spots"]), library)
    found = distance_embeddings(config.studies["mine"], config)
    places = [("spots", "holdout"), ("dots", "holdout"), ("spots", "cv2-0"), ("spots", "cv2-1"),
              ("shapes", ALL_IMAGES), ("photographs", ALL_IMAGES)]  # fmt: skip
    assert len(found) == len(set(found))
    assert set(found) == {Embedding(PROBE, "bought", "large", *place) for place in places}


def test_a_data_set_of_the_study_with_a_sources_images_is_embedded_as_both(library):
    config = loaded(asked(grid(datasets=["shapes", "spots"], inits=["random", "made"])), library)
    found = [(e.dataset, e.split) for e in distance_embeddings(config.studies["mine"], config)]
    assert found == [("shapes", "holdout"), ("spots", "holdout"), ("shapes", ALL_IMAGES)]


def test_all_images_are_no_split():
    with pytest.raises(ConfigError):
        parse_fold(ALL_IMAGES)


def test_transferability_is_predicted_in_the_features_of_whole_sources(library):
    grids = (
        grid(models=["stump", "large"], inits=["random", "gabor", "bought", "bought-stats"]),
        grid(datasets=["dots"], inits=["random", "made", "made-upto2-random"], splits=["cv2-0"]),
        grid(datasets=["spots"], inits=["random", "made-stats", "made-upto1-slim"]),
    )
    config = loaded(asked(*grids, probe_images=40, gram_block=20, bank_images=30), library)
    found = transfer_embeddings(config.studies["mine"], config)
    probe = "n40-b20-t30"
    assert found == [
        Embedding(probe, "bought", "large", "spots", "holdout"),
        Embedding(probe, "made", "small", "dots", "cv2-0"),
    ]
    assert found[1].path == f"{probe}/sources/made/small/dots/cv2-0"


def test_both_analyses_share_what_they_embed_alike(library):
    config = loaded(asked(grid()), library)
    mine = config.studies["mine"]
    shared = Embedding(PROBE, "made", "small", "spots", "holdout")
    assert transfer_embeddings(mine, config) == [shared]
    assert shared in distance_embeddings(mine, config)
