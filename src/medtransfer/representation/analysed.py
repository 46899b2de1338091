"""From the stored activations, predictions and embeddings of a study to its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.names import parse_init
from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.results import RUN_COLUMNS, join_runs
from medtransfer.representation.activations import Activations, read_activations
from medtransfer.representation.agreement import AGREEMENT, agreement_table
from medtransfer.representation.domain_distance import (
    DOMAIN_DISTANCE,
    DistanceProtocol,
    SourceFeatures,
    domain_distances,
)
from medtransfer.representation.embedding import EmbeddedImages, source_probabilities
from medtransfer.representation.filters import FILTER_WEIGHTS, FILTERS
from medtransfer.representation.knn import KNN, KnnProtocol, PointFeatures, knn_table
from medtransfer.representation.pairs import PAIR_COLUMNS, Moment, Network, network_pairs
from medtransfer.representation.reinitialisation import REINITIALISATION
from medtransfer.representation.transferability import (
    TRANSFERABILITY,
    Embedding,
    transferability_table,
)
from medtransfer.representation.weight_distance import WEIGHT_DISTANCE
from medtransfer.tables import Column, Schema
from medtransfer.training.job import label_array

_MOMENTS: tuple[Moment, ...] = ("start", "end")
_PARTS = ("train", "test")

KNN_BY_DEPTH = Schema(
    name="knn",
    row=f"{KNN.row}, at the start or the end of a run",
    columns={
        **RUN_COLUMNS,
        "moment": Column("text", "start or end of the run"),
        **KNN.columns,
    },
    families={},
)
AGREEMENTS = Schema(
    name="agreement",
    row=AGREEMENT.row,
    columns={
        **PAIR_COLUMNS,
        **{name: c for name, c in AGREEMENT.columns.items() if name not in ("run_a", "run_b")},
    },
    families={},
)
SCORES_AND_GAINS = Schema(
    name="transferability",
    row=f"{TRANSFERABILITY.row}, and what fine-tuning on it gained",
    columns={
        **TRANSFERABILITY.columns,
        "recipe": Column("text", "name of the recipe of the fine-tuning"),
        "subset": Column("text", "its training data"),
        "reference": Column("text", "the init that the gain is measured against"),
        "gain": Column("number", "mean paired difference of the target metric on the test part"),
        "gain_low": Column("number", "lower end of its interval"),
        "gain_high": Column("number", "upper end of its interval"),
    },
    families={},
)
# what is stored for each run, as one table of all analysed runs
JOINED = {
    schema.name: Schema(schema.name, schema.row, {**RUN_COLUMNS, **schema.columns}, {})
    for schema in (WEIGHT_DISTANCE, FILTERS, FILTER_WEIGHTS, REINITIALISATION)
}


def by_split(runs: pd.DataFrame, files: Sequence[Path]) -> Iterator[dict[Network, Activations]]:
    """The networks of a data set's runs with their activations, one group a split.

    Args:
        runs: of schema RUNS, of one data set.
        files: of activations, the start and the end of each run, in the order of the runs.
    """
    found: dict[str, dict[Network, Activations]] = {}
    for run, moment, file in _moments(runs, files):
        network = Network(**run, moment=moment)
        found.setdefault(network.split, {})[network] = read_activations(file)
    yield from found.values()


def knn_by_depth(
    runs: pd.DataFrame,
    files: Sequence[Path],
    samples: pd.DataFrame,
    dataset: DatasetSettings,
    neighbours: int,
) -> pd.DataFrame:
    """How well nearest neighbours tell the labels at every point of every analysed network.

    Args:
        runs: of schema RUNS, of one data set.
        files: as in :func:`by_split`.
        samples: of schema SAMPLES.
        dataset: task, classes and target metric.
        neighbours: that vote.

    Returns:
        A table of schema KNN_BY_DEPTH.
    """
    classes = 2 if dataset.task == "binary" else len(dataset.outputs)
    protocol = KnnProtocol(dataset.task, dataset.target_metric, classes, neighbours)
    labels = pd.Series(
        list(label_array(samples, dataset.outputs, dataset.task)), index=samples["image_id"]
    )
    tables, moments = [], []
    for _, moment, file in _moments(runs, files):
        found = read_activations(file)
        bank, queries = (np.array(labels[list(found.facts.images[p])].tolist()) for p in _PARTS)
        tables.append(knn_table(_point_features(found), bank, queries, protocol))
        moments.append(moment)
    runs = runs.loc[runs.index.repeat(2)]
    marked = [table.assign(moment=moment) for table, moment in zip(tables, moments, strict=True)]
    return join_runs(runs, marked)[list(KNN_BY_DEPTH.columns)]


def _point_features(found: Activations) -> Iterator[PointFeatures]:
    """Pooled features of each point but the logits, in the order of depth, in each pooling."""
    for point in found.facts.points:
        if point.kind == "head":
            continue
        pooled = {
            kind: [found.pooled(part, point.name, kind) for part in _PARTS] for kind in point.pooled
        }
        if len(pooled) > 1:
            pooled["both"] = [np.hstack(both) for both in zip(*pooled.values(), strict=True)]
        for kind, (bank, queries) in pooled.items():
            yield PointFeatures(point.name, kind, bank, queries)  # type: ignore[arg-type]


def agreement_of_runs(
    runs: pd.DataFrame, predictions: Sequence[pd.DataFrame], dataset: DatasetSettings
) -> pd.DataFrame:
    """The agreement on the test part of runs that differ in their init or their seed only.

    Args:
        runs: of schema RUNS, of one data set.
        predictions: of schema PREDICTIONS, one a run.
        dataset: task and classes.

    Returns:
        A table of schema AGREEMENTS.
    """
    networks = [Network(**run, moment="end") for run in _identities(runs)]
    pairs = [pair for pair in network_pairs(networks) if pair.kind != "within"]
    tested = {
        str(network): _test_predictions(table, dataset)
        for network, table in zip(networks, predictions, strict=True)
    }
    found = agreement_table(tested, [(str(pair.a), str(pair.b)) for pair in pairs])
    columns = pd.DataFrame([pair.columns for pair in pairs], columns=list(PAIR_COLUMNS))
    return _typed(columns.join(found.drop(columns=["run_a", "run_b"])), AGREEMENTS)


def study_distances(
    embeddings: Sequence[tuple[EmbeddedImages, tuple[str, str, str]]],
    sources: Mapping[str, str],
    confidence: float,
) -> pd.DataFrame:
    """Distances of all data sets of a study from the own images of its sources.

    The number of images is that of the smallest data set, for all.

    Args:
        embeddings: data sets in the features of one source's network, with the names of source,
            network and data set.
        sources: source -> data set with its own images.
        confidence: of the intervals.

    Returns:
        A table of schema DOMAIN_DISTANCE; empty where no source has images of its own.
    """
    features = {dataset: found.features for found, (_, _, dataset) in embeddings}
    extractors = {f"{source}/{model}" for _, (source, model, _) in embeddings}
    images = min((len(rows) for rows in features.values()), default=0)
    tables = [pd.DataFrame(columns=list(DOMAIN_DISTANCE.columns)).astype({"images": "int64"})]
    for source, own in sources.items():
        targets = {name: rows for name, rows in features.items() if name != own}
        origin = SourceFeatures(source, min(extractors), features[own])
        protocol = DistanceProtocol(images=images, confidence=confidence)
        tables.append(domain_distances(origin, targets, protocol))
    return pd.concat(tables, ignore_index=True).astype(
        dict.fromkeys(("value", "low", "high"), float) | {"images": "int64"}
    )


def scores_and_gains(
    embeddings: Sequence[tuple[EmbeddedImages, tuple[str, str, str]]],
    gains: pd.DataFrame,
    reference: str,
    tasks: Mapping[str, tuple[str, str]],
    models: Mapping[str, str],
) -> pd.DataFrame:
    """Transferability scores of sources' networks on data sets, beside the gains of fine-tuning them.

    The gain is that of a whole source, on the test part, with the full training data where the study
    has them, else with the first of its subsets. A score without a gain has an empty one.

    Args:
        embeddings: as in :func:`study_distances`, of all that runs start from.
        gains: of schema GAINS.
        reference: the init that gains are measured against.
        tasks: data set -> its task and target metric.
        models: network -> whose weights it takes.

    Returns:
        A table of schema SCORES_AND_GAINS, one row a score and network that was fine-tuned.
    """
    made = (
        Embedding(*names, *tasks[names[2]], e.features, e.labels, source_probabilities(e.logits))
        for e, names in embeddings
    )
    scores = transferability_table(made).rename(columns={"model": "weights"})
    realised = _realised(gains, reference)
    realised["weights"] = realised["model"].map(models).astype(object)
    table = scores.merge(realised, how="left", on=["source", "weights", "dataset"])
    table["model"] = table["model"].fillna(table["weights"])
    return _typed(table[list(SCORES_AND_GAINS.columns)], SCORES_AND_GAINS)


def _realised(gains: pd.DataFrame, reference: str) -> pd.DataFrame:
    """One gain of each whole source, network, recipe and data set."""
    sources = {init: parse_init(init).source for init in gains["init"].unique()}
    whole = [init for init, source in sources.items() if init == source]
    chosen = gains[
        gains["target"]
        & (gains["part"] == "test")
        & (gains["reference"] == reference)
        & gains["init"].isin(whole)
    ]
    preferred = chosen.sort_values("subset", key=lambda names: names != "full", kind="stable")
    found = preferred.drop_duplicates(["recipe", "dataset", "model", "init"])
    names = {"init": "source", "mean": "gain", "low": "gain_low", "high": "gain_high"}
    kept = ["recipe", "dataset", "model", "subset", "reference", *names.values()]
    return found.rename(columns=names)[kept]


def _typed(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table with numbers as such, which one without any row doesn't know of itself."""
    kinds = {"integer": "int64", "number": "float64"}
    columns = schema.columns.items()
    return table.astype({name: kinds[c.kind] for name, c in columns if c.kind in kinds})


def _moments(
    runs: pd.DataFrame, files: Sequence[Path]
) -> Iterator[tuple[dict[str, Any], Moment, Path]]:
    """Each run's identity, twice: with its start and with its end."""
    identities = [run for run in _identities(runs) for _ in _MOMENTS]
    moments = _MOMENTS * len(runs)
    yield from zip(identities, moments, files, strict=True)


def _identities(runs: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in run.items()} for run in runs[list(RUN_COLUMNS)].to_dict("records")]


def _test_predictions(table: pd.DataFrame, dataset: DatasetSettings) -> Predictions:
    """Logits and labels of the test part, in the order of the images' ids."""
    test = table[table["part"] == "test"].sort_values("image_id")
    logits = test[[f"logit_{name}" for name in dataset.outputs]].to_numpy()
    return Predictions(dataset.task, logits, label_array(test, dataset.outputs, dataset.task))
