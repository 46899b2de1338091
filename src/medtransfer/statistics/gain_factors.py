"""What the gains of a study depend on: its gains as points, and the mixed models of them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS, PLACE
from medtransfer.statistics.comparison import GAINS
from medtransfer.statistics.factors import FACTORS, factor_table
from medtransfer.tables import Column, Schema, table_of

# the distance that enters the model, of those of a table of schema DOMAIN_DISTANCE
MEASURE = "frechet"
GAIN_POINTS = Schema(
    name="gain_points",
    row="the gain of one whole source in one cell, and what it may depend on",
    columns={
        **{name: GAINS.columns[name] for name in ("recipe", "dataset", "model", "subset", "metric")},
        "init": GAINS.columns["init"],
        "source": Column("text", "whose weights"),
        "reference": GAINS.columns["reference"],
        "gain": GAINS.columns["mean"],
        "gain_low": GAINS.columns["low"],
        "gain_high": GAINS.columns["high"],
        "pairs": GAINS.columns["pairs"],
        "paired_by": GAINS.columns["paired_by"],
        "training_images": Column("number", "averaged over the runs; empty where not known"),
        "parameters": Column("number", "weights and biases of the network; empty where not known"),
        "family": Column("text", "of the network: its inductive bias; empty where not known"),
        "distance": Column(
            "number",
            "Fréchet distance of the data set's images from the source's; empty where none is computed",
        ),
    },
    families={},
)
GAIN_FACTORS = Schema(
    name="gain_factors",
    row="one term of a mixed model of the gains of one source",
    columns={
        "init": METRICS.columns["init"],
        "metric": Column("text", "target metric of the data sets in the model"),
        **FACTORS.columns,
    },
    families={},
)


def gain_points(
    gains: pd.DataFrame,
    metrics: pd.DataFrame,
    families: Mapping[str, str],
    distances: pd.DataFrame | None,
    study: StudySettings,
) -> pd.DataFrame:
    """The gain of each whole source over the reference, in the target metric on the test part.

    Args:
        gains: a table of schema GAINS.
        metrics: a table of schema METRICS, for numbers of training images and parameters.
        families: network to its family.
        distances: a table of schema DOMAIN_DISTANCE, or none.
        study: its reference.

    Returns:
        A table of schema GAIN_POINTS.
    """
    chosen = gains[gains["target"] & (gains["part"] == "test")]
    chosen = chosen[chosen["reference"] == study.reference]
    inits = {name: parse_init(name) for name in chosen["init"].unique()}
    whole = [name for name, init in inits.items() if init.source is not None and init.upto is None]
    chosen = chosen[chosen["init"].isin(whole)]
    sizes = metrics.groupby(PLACE)[["training_images", "parameters"]].mean().reset_index()
    # 0 is not known; numbers of parameters are empty then
    sizes["training_images"] = sizes["training_images"].where(sizes["training_images"] > 0)
    names = {"mean": "gain", "low": "gain_low", "high": "gain_high"}
    points = chosen.rename(columns=names).merge(sizes, on=PLACE, how="left")
    points["source"] = [inits[name].source for name in points["init"]]
    points["family"] = points["model"].map(dict(families))
    points["distance"] = _distances(points, distances)
    return points[list(GAIN_POINTS.columns)].astype({"source": object, "family": object})


def gain_factors(points: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """One model for each whole source and target metric; gains of other metrics have other units.

    Args:
        points: a table of schema GAIN_POINTS.
        study: its confidence.

    Returns:
        A table of schema GAIN_FACTORS.
    """
    tables = []
    for (init, metric), found in points.groupby(["init", "metric"], sort=False):
        table = factor_table(found, study.confidence)
        tables.append(table.assign(init=str(init), metric=str(metric))[list(GAIN_FACTORS.columns)])
    return pd.concat(tables, ignore_index=True) if tables else table_of([], GAIN_FACTORS)


def _distances(points: pd.DataFrame, distances: pd.DataFrame | None) -> pd.Series:
    """The distance of each point's data set from its source; NaN where there is none."""
    if distances is None:
        return pd.Series(float("nan"), index=points.index)
    known = distances[distances["measure"] == MEASURE].set_index(["source", "dataset"])["value"]
    places = pd.MultiIndex.from_frame(points[["source", "dataset"]])
    return pd.Series(known.reindex(places).to_numpy(dtype=float), index=points.index)
