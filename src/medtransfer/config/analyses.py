"""What the analyses of hidden representations need: which runs, and which networks of sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medtransfer.config.names import parse_init
from medtransfer.config.runs import Run, needed_weights, study_runs, weights_model
from medtransfer.config.study import Config, StudySettings

# keys of the representation settings that choose runs, and what of a run each is about
RUN_KEYS = {
    "recipes": "recipe",
    "datasets": "dataset",
    "models": "model",
    "inits": "init",
    "subsets": "subset",
    "splits": "split",
    "seeds": "seed",
}


# in place of a split: of images on which nothing is trained or tested
ALL_IMAGES = "all"


@dataclass(frozen=True, order=True)
class Embedding:
    """Training images of a split, or all images of a data set, as a source's network sees them."""

    probe: str
    source: str
    model: str
    dataset: str
    split: str

    @property
    def path(self) -> str:
        """Its folder below results/activations."""
        return "/".join((self.probe, "sources", self.source, self.model, self.dataset, self.split))


def analysed_runs(study: StudySettings) -> list[Run]:
    """The runs of a study whose representations are analysed."""
    wanted = {about: getattr(study.representation, key) for key, about in RUN_KEYS.items()}
    return [
        run
        for run in study_runs(study)
        if all(not values or getattr(run, about) in values for about, values in wanted.items())
    ]


def extractor(study: StudySettings, config: Config) -> tuple[str, str] | None:
    """``(source, network)`` in whose features domain distances are measured; None without sources."""
    if study.representation.extractor is not None:
        source, _, model = study.representation.extractor.partition("/")
        return source, weights_model(model, config.models)
    return next(iter(needed_weights(study_runs(study), config.models)), None)


def extra_weights(
    config: Config, studies: Iterable[StudySettings] | None = None
) -> list[tuple[str, str]]:
    """``(source, network)`` of extractors of domain distances, of these studies, by default of all."""
    chosen = config.studies.values() if studies is None else studies
    asking = (study for study in chosen if "domain_distance" in study.drawn)
    found = (extractor(study, config) for study in asking)
    return [pair for pair in dict.fromkeys(found) if pair is not None]


def source_images(name: str, config: Config) -> str | None:
    """The data set with a source's own images; None where the configuration names none."""
    source = config.sources[name]
    return source.images or (source.pretraining.dataset if source.pretraining else None)


def distance_embeddings(study: StudySettings, config: Config) -> list[Embedding]:
    """What domain distances are measured between: a study's data sets and its sources' own images."""
    found = extractor(study, config)
    if found is None:
        return []
    probe = study.representation.probe
    runs = study_runs(study)
    places = {(run.dataset, run.split): None for run in runs}
    for source in _sources(runs):
        images = source_images(source, config)
        if images is not None:
            places[images, ALL_IMAGES] = None
    return [Embedding(probe, *found, dataset, split) for dataset, split in places]


def transfer_embeddings(study: StudySettings, config: Config) -> list[Embedding]:
    """What transferability is predicted from: each data set in the features of what runs start from."""
    probe = study.representation.probe
    found: dict[Embedding, None] = {}
    for run in study_runs(study):
        init = parse_init(run.init)
        if init.source is not None and init.upto is None:
            model = weights_model(run.model, config.models)
            found[Embedding(probe, init.source, model, run.dataset, run.split)] = None
    return list(found)


def _sources(runs: Iterable[Run]) -> list[str]:
    found = (parse_init(run.init).source for run in runs)
    return [source for source in dict.fromkeys(found) if source is not None]
