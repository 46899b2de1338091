"""From the YAML files to one checked configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.config.analyses import RUN_KEYS, analysed_runs
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import mapping_problems
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import (
    NAME,
    NAME_RULE,
    check_subset,
    parse_fold,
    parse_init,
    published_fold,
)
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.runs import grid_runs, places, study_runs, weights_model
from medtransfer.config.search import candidate_recipes
from medtransfer.config.source import SourceSettings
from medtransfer.config.study import Config, GridSettings, StudySettings
from medtransfer.config.typed import allowed_names, parse, read_settings, suggestion
from medtransfer.errors import ConfigError

PARTS: dict[str, type] = {
    "datasets": DatasetSettings,
    "models": ModelSettings,
    "recipes": RecipeSettings,
    "sources": SourceSettings,
}


def load_config(mapping: Mapping[str, Any], folders: Sequence[Path]) -> Config:
    """Check a configuration and complete it with the named parts that it refers to.

    Args:
        mapping: the content of the study file(s).
        folders: where ``datasets/<name>.yaml``, ``models/…``, ``recipes/…`` and ``sources/…`` are
            looked for, in this order.

    Raises:
        ConfigError: naming the file and key, what was found and what is allowed.
    """
    library = _Library(parse(Config, mapping, "config"), folders)
    problems = [*_references(library), *_add_candidates(library)]
    if problems:
        raise ConfigError("\n".join(problems))
    return library.complete()


def config_file(name: str, folders: Sequence[Path]) -> Path:
    """A file of the configuration, in the first of the folders that has it; absolute paths as they are.

    Raises:
        ConfigError: there is no such file.
    """
    paths = [folder / name for folder in folders]
    for path in paths:
        if path.is_file():
            return path
    tried = ", ".join(dict.fromkeys(map(str, paths)))
    raise ConfigError(f"no file '{name}' (tried: {tried}); allowed: the path of a file there")


class _Library:
    """Named parts, from the configuration itself or from one file each, read when asked for."""

    def __init__(self, config: Config, folders: Sequence[Path]) -> None:
        self.config = config
        self.folders = folders
        self.parts: dict[str, dict[str, Any]] = {kind: dict(getattr(config, kind)) for kind in PARTS}

    def find(self, kind: str, name: str, where: str) -> Any:
        """The named part; raises ConfigError when it exists nowhere or twice."""
        if not NAME.fullmatch(name):
            raise ConfigError(f"{where}: name '{name}'; allowed: {NAME_RULE}")
        path = self._file(kind, name)
        if path is not None and name in getattr(self.config, kind):
            raise ConfigError(f"config: {kind}.{name} is also defined in {path}; keep one of the two")
        self.check_defined(kind, name, where)
        if path is not None and name not in self.parts[kind]:
            self.parts[kind][name] = read_settings(PARTS[kind], path)
        return self.parts[kind][name]

    def check_defined(self, kind: str, name: str, where: str) -> None:
        """Nothing if there is a part of this name; raises ConfigError when there is none."""
        if name in self.parts[kind] or self._file(kind, name) is not None:
            return
        known = sorted({*self.parts[kind], *self._file_names(kind)})
        raise ConfigError(
            f"{where}: unknown name '{name}' in {kind}{suggestion(name, known)} "
            f"(allowed: {allowed_names(known)}; or add config/{kind}/{name}.yaml)"
        )

    def complete(self) -> Config:
        return dataclasses.replace(self.config, **self.parts)  # type: ignore[arg-type]

    def defines(self, kind: str, name: str) -> bool:
        """Whether a user gave a part this name."""
        return name in getattr(self.config, kind) or self._file(kind, name) is not None

    def _file(self, kind: str, name: str) -> Path | None:
        paths = (folder / kind / f"{name}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def _file_names(self, kind: str) -> Iterator[str]:
        for folder in self.folders:
            yield from (path.stem for path in (folder / kind).glob("*.yaml"))


def _references(library: _Library) -> Iterator[str]:
    """Problems of the names that studies use; resolves each on the way."""
    for name, study in library.config.studies.items():
        if not NAME.fullmatch(name):
            yield f"config: study name '{name}'; allowed: {NAME_RULE}"
        for number, grid in enumerate(study.grids):
            yield from _grid_references(library, grid, f"config: studies.{name}.grids[{number}]")
        yield from _left_out_problems(study, f"config: studies.{name}")
        if study.published is not None:
            place = f"config: studies.{name}.published: "
            yield from _try(config_file, study.published, library.folders, prefix=place)
        yield from _representation_references(library, study, f"config: studies.{name}.representation")
    yield from _source_images_references(library)
    for name in library.config.hardware.large_models:
        yield from _try(library.check_defined, "models", name, "config: hardware.large_models")


def _grid_references(library: _Library, grid: GridSettings, where: str) -> Iterator[str]:
    yield from _try(library.find, "recipes", grid.recipe, f"{where}.recipe")
    for model in grid.models:
        yield from _try(_check_model, library, model, f"{where}.models")
    for dataset in grid.datasets:
        yield from _try(_check_dataset, library, dataset, grid.splits, f"{where}.datasets")
        yield from _external_references(library, dataset)
    for split in grid.splits:
        yield from _try(parse_fold, split, prefix=f"{where}.splits: ")
    for subset in grid.subsets:
        yield from _try(check_subset, subset, prefix=f"{where}.subsets: ")
    for init in grid.inits:
        yield from _try(_check_init, library, init, grid.models, f"{where}.inits")


def _external_references(library: _Library, name: str) -> Iterator[str]:
    """Problems of the other data sets that a data set is tested on."""
    dataset = library.parts["datasets"].get(name)
    if dataset is None:
        return  # which has been reported
    for other, external in dataset.external.items():
        place = f"datasets.{name}.external.{other}"
        if other == name:
            yield f"{place}: the data set itself; allowed: any other one"
            continue
        yield from _try(library.find, "datasets", other, place)
        theirs = library.parts["datasets"].get(other)
        if theirs is not None:
            names, tasks = (theirs.class_names, dataset.class_names), (theirs.task, dataset.task)
            problems = mapping_problems(external, *names, tasks)
            yield from (f"{place}.labels: {problem}" for problem in problems)


def _representation_references(library: _Library, study: StudySettings, where: str) -> Iterator[str]:
    yield from _unmatched_choices(study, where)
    if study.representation.extractor is not None:
        place = f"{where}.extractor"
        yield from _try(_check_extractor, library, study.representation.extractor, place)


def _left_out_problems(study: StudySettings, where: str) -> Iterator[str]:
    """Runs to leave out that no grid has, and nothing left."""
    if not study.left_out:
        return
    runs = grid_runs(study)
    known = {place for run in runs for place in places(run)}
    for path in study.left_out:
        if path.rstrip("/") not in known:
            yield (
                f"{where}.left_out: no run of the grids is or begins with '{path}'; allowed: paths "
                f"such as {runs[0].path if runs else 'none, there are no grids'}"
            )
    if runs and not study_runs(study):
        yield f"{where}.left_out: leaves out all {len(runs)} runs of the study; allowed: some of them"


def _unmatched_choices(study: StudySettings, where: str) -> Iterator[str]:
    """What is asked of the runs that are analysed and no run has."""
    chosen = {key: getattr(study.representation, key) for key in RUN_KEYS}
    runs = study_runs(study)
    unknown = []
    for key, values in chosen.items():
        there = list(dict.fromkeys(getattr(run, RUN_KEYS[key]) for run in runs))
        allowed = ", ".join(map(str, there))
        unknown += [
            f"{where}.{key}: no run of the study has '{value}' (allowed: {allowed})"
            for value in values
            if value not in there
        ]
    yield from unknown
    if study.grids and not unknown and not analysed_runs(study):
        asked = ", ".join(f"{key} {list(values)}" for key, values in chosen.items() if values)
        yield f"{where}: no run of the study has all of {asked}; allowed: what runs have together"


def _check_extractor(library: _Library, name: str, where: str) -> None:
    source, _, model = name.partition("/")
    _check_model(library, model, where)
    _check_init(library, source, [model], where)
    if source not in library.parts["sources"]:
        raise ConfigError(
            f"{where}: '{source}' is no source of weights; allowed: <source>/<network>, such as "
            "imagenet1k/resnet50"
        )


def _source_images_references(library: _Library) -> Iterator[str]:
    """Problems of the data sets of sources' own images."""
    for source, settings in library.parts["sources"].items():
        if settings.images is not None:
            place = f"sources.{source}.images"
            yield from _try(library.find, "datasets", settings.images, place)


def _add_candidates(library: _Library) -> Iterator[str]:
    """Make the candidates of searches recipes of the library; problems of their names."""
    for name, recipe in list(library.parts["recipes"].items()):
        for candidate, settings in candidate_recipes(name, recipe).items():
            if library.defines("recipes", candidate):
                yield (
                    f"config: recipe '{candidate}' has the name of a candidate in the search of "
                    f"recipe '{name}'; allowed: any other name"
                )
            library.parts["recipes"][candidate] = settings


def _try(check: Any, *arguments: Any, prefix: str = "") -> Iterator[str]:
    try:
        check(*arguments)
    except ConfigError as error:
        yield f"{prefix}{error}"


def _check_model(library: _Library, name: str, where: str) -> None:
    other = library.find("models", name, where).weights_of
    if other is None:
        return
    place = f"models.{name}.weights_of"
    if library.find("models", other, place).weights_of is not None:
        raise ConfigError(
            f"{place}: '{other}' takes the weights of another network itself; "
            "allowed: a network with weights of its own"
        )


def _check_dataset(library: _Library, name: str, splits: Sequence[str], where: str) -> None:
    dataset = library.find("datasets", name, where)
    if "published" in splits and dataset.split is None:
        raise ConfigError(f"{where}: split 'published' needs the key 'split' in data set {name}")
    if any(published_fold(split) for split in splits) and dataset.fold_lists is None:
        raise ConfigError(f"{where}: splits 'published-<fold>' need 'fold_lists' in data set {name}")


def _check_init(library: _Library, name: str, models: Sequence[str], where: str) -> None:
    try:
        init = parse_init(name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if init.source is None:
        return
    source = library.find("sources", init.source, where)
    if source.pretraining is not None:
        library.find("datasets", source.pretraining.dataset, f"sources.{init.source}.pretraining")
        library.find("recipes", source.pretraining.recipe, f"sources.{init.source}.pretraining")
        return
    known = library.parts["models"]  # an unknown network has been reported by now
    for model in (weights_model(name, known) for name in models if name in known):
        if model not in source.files:
            raise ConfigError(
                f"{where}: source '{init.source}' has no weights of '{model}' "
                f"(it has: {allowed_names(list(source.files))})"
            )
