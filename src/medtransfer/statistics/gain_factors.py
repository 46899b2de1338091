"""What the gains of a study depend on: its gains as the rows of a mixed model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS, PLACE
from medtransfer.statistics.factors import FACTORS, factor_table
from medtransfer.tables import Column, Schema, table_of

# the distance that enters the model, of those of a table of schema DOMAIN_DISTANCE
MEASURE = "frechet"
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


def gain_factors(
    gains: pd.DataFrame,
    metrics: pd.DataFrame,
    families: Mapping[str, str],
    distances: pd.DataFrame | None,
    study: StudySettings,
) -> pd.DataFrame:
    """One model for each whole source and target metric; gains of other metrics have other units.

    Args:
        gains: a table of schema GAINS.
        metrics: a table of schema METRICS, for numbers of training images and parameters.
        families: network to its family.
        distances: a table of schema DOMAIN_DISTANCE, or none.
        study: reference and confidence.

    Returns:
        A table of schema GAIN_FACTORS.
    """
    chosen = gains[gains["target"] & (gains["part"] == "test")]
    chosen = chosen[chosen["reference"] == study.reference]
    sizes = metrics.groupby(PLACE)[["training_images", "parameters"]].mean().reset_index()
    # 0 is not known; numbers of parameters are empty then
    sizes["training_images"] = sizes["training_images"].where(sizes["training_images"] > 0)
    rows = chosen.rename(columns={"mean": "gain"}).merge(sizes, on=PLACE, how="left")
    rows["family"] = rows["model"].map(dict(families))
    tables = []
    for (init, metric), found in rows.groupby(["init", "metric"], sort=False):
        source = parse_init(str(init))
        if source.source is None or source.upto is not None:
            continue
        found = found.assign(distance=_distances(found, source.source, distances))
        table = factor_table(found, study.confidence)
        tables.append(table.assign(init=str(init), metric=str(metric))[list(GAIN_FACTORS.columns)])
    return pd.concat(tables, ignore_index=True) if tables else table_of([], GAIN_FACTORS)


def _distances(rows: pd.DataFrame, source: str, distances: pd.DataFrame | None) -> pd.Series:
    if distances is None:
        return pd.Series(float("nan"), index=rows.index)
    own = distances[(distances["source"] == source) & (distances["measure"] == MEASURE)]
    return rows["dataset"].map(own.set_index("dataset")["value"]).astype(float)
