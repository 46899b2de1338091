"""The shipped studies: each loads, asks for what exists, and is the grid that its page describes."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from medtransfer.config.analyses import analysed_runs
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.figures import ALL_FIGURES
from medtransfer.config.load import load_config
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.runs import Run, all_runs, study_runs
from medtransfer.config.study import Config, StudySettings
from medtransfer.config.typed import read_settings, read_yaml
from medtransfer.models.build import build_network
from medtransfer.models.released import ALWAYS_PRETRAINED, released_levels
from medtransfer.models.units import network_units, unit_of_tensors, within
from medtransfer.statistics.comparison import compared

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
FILES = sorted((CONFIG / "studies").glob("*.yaml"))
PAPERS = ("transfusion", "bit_scale", "feature_reuse", "revisiting")
# runs of each study's grids, then those with pre-training
RUNS = {
    "transfusion": (168, 172),
    "bit_scale": (396, 396),
    "feature_reuse": (1450, 1450),
    "revisiting": (175, 175),
    "transfusion_mini": (60, 62),
    "bit_scale_mini": (56, 60),
    "feature_reuse_mini": (65, 67),
    "revisiting_mini": (50, 52),
    "medmnist": (120, 120),
    "published_revisiting": (0, 0),
    "real_representations": (12, 12),
    "real_small": (18, 18),
}


def loaded(*names: str) -> Config:
    """The configuration of some study files, given at once as on Snakemake's command line."""
    merged: dict[str, dict[str, Any]] = {}
    for name in names:
        for key, parts in read_yaml(CONFIG / "studies" / f"{name}.yaml").items():
            merged.setdefault(key, {}).update(parts)
    return load_config(merged, [CONFIG])


def study_of(name: str) -> StudySettings:
    (study,) = loaded(name).studies.values()
    return study


def kinds(study: StudySettings) -> set[tuple[object, ...]]:
    """The ways in which a study's runs start, whatever the source and the depth."""
    inits = (parse_init(run.init) for run in study_runs(study))
    return {
        (init.source is not None, init.upto is None, init.partial, init.rest, init.sampler, init.gabor)
        for init in inits
    }


def shipped(kind: type, folder: str, name: str) -> Any:
    return read_settings(kind, CONFIG / folder / f"{name}.yaml")


def stems(pattern: str) -> list[str]:
    return [path.stem for path in (CONFIG / "studies").glob(pattern)]


# every file


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_study_file_loads_and_holds_the_study_of_its_name(path):
    config = loaded(path.stem)
    assert list(config.studies) == [path.stem.replace("-", "_")]
    study = config.studies[path.stem.replace("-", "_")]
    assert set(study.drawn) <= set(ALL_FIGURES)
    assert len(set(study.figures)) == len(study.figures)
    assert study.question


def documented_figures() -> dict[str, set[str]]:
    """The figures of docs/figures.md by the words for their study; ours under an empty one."""
    found: dict[str, set[str]] = {}
    paper = ""
    for line in (ROOT / "docs/figures.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("#"):
            paper = ""
        if line.startswith("|") and "`" in cells[-1]:
            paper = cells[0] or paper if len(cells) == 3 else ""
            found.setdefault(paper.partition(" (")[0], set()).update(re.findall("`(.+?)`", cells[-1]))
    return found


def test_every_figure_is_in_the_list_of_figures_and_every_study_draws_those_of_its_paper():
    listed = documented_figures()
    assert set().union(*listed.values()) == set(ALL_FIGURES)
    words = {"bit_scale": "scale", "feature_reuse": "feature reuse", "transfusion": "Transfusion"}
    for name, suffix in itertools.product(PAPERS, ("", "-mini")):
        missing = listed[words.get(name, name)] - set(study_of(f"{name}{suffix}").drawn)
        assert not missing, (name, suffix)


def test_our_figures_are_drawn_by_the_studies_of_papers():
    drawn = {name: set(study_of(name).drawn) for name in PAPERS}
    for name in ("verdict", "main_table", "cost_benefit"):
        assert all(name in figures for figures in drawn.values()), name
    for name in ("reuse_share", "predicted_gains", "zoo_map"):
        assert any(name in figures for figures in drawn.values()), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_study_has_its_number_of_runs(path):
    config = loaded(path.stem)
    (name,) = config.studies
    study = config.studies[name]
    assert (len(study_runs(study)), len(all_runs(config))) == RUNS[name]
    sizes = (
        [grid.datasets, grid.models, grid.inits, grid.subsets, grid.splits, grid.seeds]
        for grid in study.grids
    )
    combinations = sum(len(list(itertools.product(*size))) for size in sizes)
    assert combinations == len(study_runs(study)), "a run is in two grids"


def test_every_study_is_counted():
    assert {path.stem.replace("-", "_") for path in FILES} == set(RUNS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_declared_comparison_is_made_in_some_cell(path):
    study = study_of(path.stem)
    if study.results is not None:
        return
    made = {pair for inits in cells(study).values() for pair in compared(inits, study)}
    declared = [pair for family in study.statistics.families for pair in family.comparisons]
    assert set(map(tuple, declared)) <= made
    assert len(set(declared)) == len(declared), "a comparison is in two families"


def cells(study: StudySettings) -> dict[tuple[str, ...], list[str]]:
    """The inits of each recipe, data set, network and subset."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in study_runs(study):
        found.setdefault((run.recipe, run.dataset, run.model, run.subset), []).append(run.init)
    return {cell: list(dict.fromkeys(inits)) for cell, inits in found.items()}


@pytest.mark.parametrize("name", [*PAPERS, *(f"{paper}-mini" for paper in PAPERS)])
def test_every_comparison_of_the_four_studies_has_a_family_and_every_metric_a_margin(name):
    config = loaded(name)
    (study,) = config.studies.values()
    families = study.statistics.families
    for inits in cells(study).values():
        for pair in compared(inits, study):
            # partial transfers, and whole starts against another reference, may be only looked at
            declared = [family.name for family in families if family.holds(*pair)]
            partial = parse_init(pair[0]).partial
            assert declared or partial or pair[1] != study.reference or "as_released" in pair[0]
    metrics = {config.datasets[run.dataset].target_metric for run in study_runs(study)}
    assert metrics <= set(study.statistics.margins)


# the four papers


@pytest.mark.parametrize("paper", PAPERS)
def test_a_mini_study_exercises_what_its_study_does(paper):
    full, mini = study_of(paper), study_of(f"{paper}-mini")
    assert mini.figures == full.figures
    assert kinds(mini) == kinds(full)
    assert [f.name for f in mini.statistics.families] == [f.name for f in full.statistics.families]
    assert [f.separate for f in mini.statistics.families] == [
        f.separate for f in full.statistics.families
    ]
    for about in ("subset", "split"):
        wanted, given = ({kind(run, about) for run in study_runs(study)} for study in (full, mini))
        assert given == wanted - {"published"}
    assert analysed_runs(mini)


def kind(run: Run, about: str) -> str:
    """``full``, ``drawn`` or ``redrawn``; ``holdout``, ``published`` or ``fold``."""
    value = getattr(run, about)
    if about == "split":
        return "fold" if value.startswith("cv") else value
    return value if value == "full" else "redrawn" if value.endswith("-redrawn") else "drawn"


@pytest.mark.parametrize("paper", PAPERS)
def test_a_mini_study_needs_nothing_from_outside_and_few_runs(paper):
    config = loaded(f"{paper}-mini")
    runs = all_runs(config)
    assert len(runs) <= 70
    assert all(config.datasets[run.dataset].generator is not None for run in runs)
    used = {parse_init(run.init).source for run in runs} - {None}
    assert all(config.sources[source].pretraining is not None for source in used)
    assert {run.model.split("_")[1] for run in runs} == {"micro"}


@pytest.mark.parametrize("suffix", ["", "-mini"])
def test_the_four_studies_can_be_given_at_once(suffix):
    config = loaded(*(f"{paper}{suffix}" for paper in PAPERS))
    assert len(config.studies) == len(PAPERS)
    apart = sum(RUNS[f"{paper}{suffix}".replace("-", "_")][1] for paper in PAPERS)
    together = len(all_runs(config))
    assert together == (apart if not suffix else 200)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_says_how_many_runs_its_study_has_and_how_to_start_it(paper):
    page = (ROOT / "docs" / "studies" / f"{paper}.md").read_text()
    assert f"| `{paper}` | {RUNS[paper][0]:,}" in page
    assert f"| `{paper}_mini` | {RUNS[f'{paper}_mini'][0]}" in page
    for name in (paper, f"{paper}-mini"):
        assert f"snakemake all --configfile config/studies/{name}.yaml" in page


# depths and copies


def network(name: str, config: Config, channels: int = 3) -> torch.nn.Module:
    """A network without memory for its weights."""
    model = config.models[config.models[name].weights_of or name]
    with torch.device("meta"):
        return build_network(model, channels, 5, 224, 0)


@pytest.mark.parametrize("name", PAPERS)
def test_partial_transfers_keep_at_least_one_unit_and_not_all(name):
    config = loaded(name)
    (study,) = config.studies.values()
    deepest: dict[str, int] = {}
    for run in study_runs(study):
        init = parse_init(run.init)
        if init.partial:
            deepest[run.model] = max(deepest.get(run.model, 0), init.upto or 0)
    for model, units in deepest.items():
        # all units but the head, whose classifier is fresh and whose norm is drawn
        assert units <= len(network_units(network(model, config))) - 1, model


def test_depths_of_feature_reuse_end_where_the_released_levels_do():
    """From level 2 (n = 0) of CNNs on, and at every level of transformers but the last, a norm."""
    config = loaded("feature_reuse")
    (study,) = config.studies.values()
    for model in ("resnet50_red", "inception_v3_red", "deit_s_red", "swin_t_red"):
        built = network(model, config)
        body, levels = len(network_units(built)) - 1, released_levels(built)
        upto = {
            parse_init(run.init).upto
            for run in study_runs(study)
            if run.model == model and parse_init(run.init).partial
        }
        ends = {whole_units(built, levels[:level]) for level in range(1, len(levels) + 1)}
        if model in ("deit_s_red", "swin_t_red"):
            assert upto == ends
        else:  # the last is the whole network
            assert upto == ends - {0, body}


def whole_units(built: torch.nn.Module, levels: tuple[tuple[str, ...], ...]) -> int:
    """How many units, from the stem on, have all of their tensors in these levels."""
    modules = tuple(itertools.chain(*levels))
    kept_back = {
        unit
        for name, unit in unit_of_tensors(built).items()
        if not any(within(name, module) for module in modules) and name not in ALWAYS_PRETRAINED
    }
    return min(kept_back)


def test_networks_of_feature_reuse_are_the_shipped_ones_with_the_red_stem():
    config = loaded("feature_reuse")
    names = [name for name in config.models if name.endswith("_red")]
    assert len(names) == 7
    for name in names:
        plain = shipped(ModelSettings, "models", name.removesuffix("_red"))
        own = asdict(config.models[name])
        source = plain.weights_of or name.removesuffix("_red")
        assert own == {**asdict(plain), "grey_input": "first", "weights_of": source}


COPIES = {
    ("transfusion", "eyepacs2015_587"): ("eyepacs2015", {"image_size"}),
    ("bit_scale", "chexpert5_nih"): ("chexpert5", {"split", "groups", "bands", "splits", "external"}),
    ("bit_scale", "ham10000_sites"): (
        "ham10000",
        {"site", "external_sites", "groups", "bands", "metric", "splits", "fold_lists"},
    ),
    ("bit_scale-mini", "phantom_chest_shift"): ("phantom_chest", {"external"}),
    ("bit_scale-mini", "fractal_small"): ("fractal", {"generator"}),
    ("revisiting-mini", "fractal_other"): ("fractal", {"generator"}),
}


@pytest.mark.parametrize(("place", "original"), COPIES.items(), ids=[name for _, name in COPIES])
def test_a_data_set_of_a_study_differs_from_the_shipped_one_as_meant(place, original):
    file, name = place
    other, meant = original
    own = asdict(loaded(file).datasets[name])
    plain = asdict(shipped(DatasetSettings, "datasets", other))
    described = {"access", "card", "origin"}
    assert {key for key in plain if own[key] != plain[key]} - described == meant


def test_the_quick_start_has_the_sets_of_medmnist_at_128_pixels_and_weights_of_the_hub():
    config = loaded("medmnist")
    datasets = {run.dataset for run in all_runs(config)}
    assert datasets == {"breastmnist128", "pneumoniamnist128", "retinamnist128"}
    for name in datasets:
        original = name.removesuffix("128")
        own, plain = config.datasets[name], shipped(DatasetSettings, "datasets", original)
        differing = {key for key in asdict(plain) if asdict(own)[key] != asdict(plain)[key]}
        assert differing == {"image_size", "adapter", "access", "card"}
        assert (own.image_size, own.adapter.subset) == (128, f"{original}_128")
        (file,), (other,) = own.access.files, plain.access.files
        assert file.name == other.name.replace("224", "128") and file.md5 != other.md5
        assert file.urls == tuple(url.replace("224", "128") for url in other.urls)
        assert f"resources/datasets/{name}/{file.name}" in own.access.instructions
    files = config.sources["imagenet1k"].files
    assert all(files[run.model].hub for run in all_runs(config))


def test_the_recipe_of_bit_scale_is_the_hyperrule_at_another_size_and_batch():
    rule = shipped(RecipeSettings, "recipes", "bit_hyperrule")
    own = loaded("bit_scale").recipes["bit_scale"]
    changed = {key for key, value in asdict(rule).items() if asdict(own)[key] != value}
    assert changed == {
        "batch_size", "micro_batch_size", "learning_rate", "resize", "crop", "cases"
    }  # fmt: skip
    for images in (500, 19_999, 20_000, 499_999, 500_000):
        ours, theirs = own.for_data(images, 224), rule.for_data(images, 224)
        for key in ("steps", "warmup_steps", "mixup"):
            assert getattr(ours, key) == getattr(theirs, key)


def test_external_findings_of_chexpert_are_all_five():
    mapping = loaded("bit_scale").datasets["chexpert5_nih"].external["nih_chestxray14"].labels
    assert set(mapping.values()) == set(shipped(DatasetSettings, "datasets", "chexpert5").labels)


def test_revisiting_has_seven_targets_in_five_folds_and_mirrors_no_chest():
    runs = study_runs(study_of("revisiting"))
    assert len({run.dataset for run in runs}) == 7
    assert {run.split for run in runs} == {f"cv5-{fold}" for fold in range(5)}
    assert all(run.recipe.endswith("_chest") == (run.dataset == "kermany_chest") for run in runs)
    recipes = loaded("revisiting").recipes
    for name in {run.recipe for run in runs}:
        flip = recipes[name].augmentation.flip_horizontal
        assert flip == (0.0 if name.endswith("_chest") else 0.5)
        assert (recipes[name].head_first is not None) == ("freeze" in name)
