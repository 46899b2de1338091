"""Does a representation that stayed alike go with a gain? Pooled over data sets, and within them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medtransfer.config.names import parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import RUN_COLUMNS
from medtransfer.representation.cca_table import CCA
from medtransfer.statistics.factors import FEWEST_DATASETS, Correlation, pooled_and_within
from medtransfer.tables import Column, Schema, table_of

# of the measures of a table of schema CCA: study 4's, and one that any number of channels has
MEASURES = ("sampled_channels", "svcca")
# two runs of a data set are always on a line
FEWEST_RUNS = 3
GAIN_KINDS = {"relative": "relative_gain", "difference": "difference"}
# one plot of dots
PANEL = ["pool", "init", "measure", "point", "order"]
_PANEL_COLUMNS = {
    "pool": Column(
        "text",
        "runs that are correlated together: the network, with the recipe and the training data where "
        "a data set has several",
    ),
    "init": Column("text", "the source, of which all units took the weights"),
    "measure": Column("text", "sampled_channels or svcca, as in cca"),
    "point": CCA.columns["point"],
    "order": CCA.columns["order"],
}
SIMILARITY_GAIN_POINTS = Schema(
    name="similarity_gain_points",
    row="one run at one measured point: how alike it is before and after, and what the source gained",
    columns={
        **RUN_COLUMNS,
        **{name: c for name, c in _PANEL_COLUMNS.items() if name not in RUN_COLUMNS},
        "similarity": Column("number", "mean canonical correlation of the start with the end"),
        "reliable": CCA.columns["reliable"],
        "metric": Column("text", "the data set's target metric"),
        "value": Column("number", "of the run, on the test part"),
        "reference": Column("text", "the start that the gain is over"),
        "reference_value": Column("number", "of its run of the same split and seed"),
        "difference": Column("number", "value - reference_value"),
        "relative_gain": Column(
            "number", "difference / reference_value; empty for a reference at or below 0"
        ),
        "dataset_similarity": Column(
            "number", "mean over the data set's runs with a relative gain, of the same point"
        ),
        "dataset_gain": Column("number", "mean relative gain over these runs"),
    },
    families={},
)
SIMILARITY_GAINS = Schema(
    name="similarity_gains",
    row="the correlation of similarity and gain at one measured point",
    columns={
        **_PANEL_COLUMNS,
        "gain": Column("text", "relative or difference"),
        "metrics": Column("text", "target metrics of the data sets, joined by a comma"),
        "pooled": Column(
            "number",
            "Pearson's correlation of all runs; empty where a side is constant, or below three",
        ),
        "pooled_low": Column(
            "number",
            "lower end of its interval, by leaving out one data set at a time; empty below three",
        ),
        "pooled_high": Column("number", "upper end of that interval"),
        "pooled_p": Column("number", "two-sided p with data sets as units; empty for one data set"),
        "pooled_spearman": Column("number", "Spearman's correlation of all runs"),
        "pooled_spearman_p": Column("number", "likewise with data sets as units"),
        "within": Column(
            "number",
            "Pearson's correlation after centring within data sets; empty likewise, and below two more "
            "runs than data sets",
        ),
        "within_low": Column("number", "lower end of its interval, by Fisher's z"),
        "within_high": Column("number", "upper end of that interval"),
        "within_p": Column("number", "two-sided p of exchanges within data sets"),
        "within_spearman": Column("number", "of ranks within data sets"),
        "within_spearman_p": Column("number", "two-sided p of exchanges within data sets"),
        "within_slope": Column("number", "gain per unit of similarity within data sets, least squares"),
        "points": Column("integer", "runs"),
        "datasets": Column("integer", "data sets"),
        "reliable": Column("truth", "whether every similarity is"),
        "remark": Column("text", "what the reader has to know; '' for nothing"),
    },
    families={},
)


@dataclass(frozen=True)
class _Interval:
    low: float = math.nan
    high: float = math.nan


def similarity_gain_points(
    cca: pd.DataFrame, metrics: pd.DataFrame, study: StudySettings
) -> pd.DataFrame:
    """Each analysed run of a whole source that has a run of the reference beside it.

    The reference's run has the same recipe, data, split and seed; it need not be analysed.

    Args:
        cca: a table of schema CCA, of all data sets.
        metrics: a table of schema METRICS.
        study: the reference.

    Returns:
        A table of schema SIMILARITY_GAIN_POINTS.
    """
    points = _similarities(cca).merge(_run_gains(metrics, study.reference), on=list(RUN_COLUMNS))
    points["pool"] = _pools(points)
    known = points.where(points["relative_gain"].notna())
    places = [points[name] for name in [*PANEL, "dataset"]]
    for mean, column in (("dataset_similarity", "similarity"), ("dataset_gain", "relative_gain")):
        points[mean] = known[column].astype(float).groupby(places).transform("mean")
    return table_of(points.to_dict("records"), SIMILARITY_GAIN_POINTS)  # type: ignore[arg-type]


def _similarities(cca: pd.DataFrame) -> pd.DataFrame:
    """Starts with their ends, of whole sources, with the columns of one run."""
    rows = cca[(cca["pair"] == "fine_tuning") & cca["measure"].isin(MEASURES) & cca["value"].notna()]
    whole = [name for name in rows["init_a"].unique() if _is_whole_source(str(name))]
    rows = rows[rows["init_a"].isin(whole)]
    names = {f"{name}_a": name for name in RUN_COLUMNS if name not in ("dataset", "split")}
    rows = rows.rename(columns={**names, "value": "similarity"})
    return rows[[*RUN_COLUMNS, "measure", "point", "order", "similarity", "reliable"]]


def _is_whole_source(name: str) -> bool:
    init = parse_init(name)
    return init.source is not None and init.upto is None


def _run_gains(metrics: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The target metric of each run on the test part, and of the reference's run beside it."""
    kept = [*RUN_COLUMNS, "metric", "value"]
    runs = metrics[metrics["target"] & (metrics["part"] == "test") & metrics["value"].notna()][kept]
    beside = runs[runs["init"] == reference].drop(columns="init")
    shared = [name for name in kept if name not in ("init", "value")]
    gains = runs.merge(beside.rename(columns={"value": "reference_value"}), on=shared)
    gains = gains[gains["init"] != reference].assign(reference=reference)
    gains["difference"] = gains["value"] - gains["reference_value"]
    base = gains["reference_value"].where(gains["reference_value"] > 0)
    return gains.assign(relative_gain=gains["difference"] / base)


def _pools(points: pd.DataFrame) -> pd.Series:
    """What is correlated together: recipes that differ between data sets only are."""
    named = points["model"].astype(object)
    for column in ("recipe", "subset"):
        several = points.groupby(["dataset", "model", "init"])[column].nunique().gt(1).any()
        named = named + ", " + points[column] if several else named
    return named


def similarity_gains(points: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Correlations of similarity and gain, a row a panel of dots and kind of gain.

    Runs of one data set aren't independent: values and p are those of
    :func:`~medtransfer.statistics.factors.pooled_and_within`. The interval of the pooled correlation
    is a jackknife's over data sets, t with one degree of freedom less than there are data sets, on
    Fisher's scale; in simulations of 3 to 20 data sets of five runs 95 % intervals held 94 to 99 %.
    Within data sets it is Fisher's for a partial correlation given the data set, of variance
    1 / (runs - data sets - 2).

    Args:
        points: a table of schema SIMILARITY_GAIN_POINTS.
        confidence: coverage of the intervals.

    Returns:
        A table of schema SIMILARITY_GAINS.
    """
    rows = [
        dict(zip(PANEL, names, strict=True)) | {"gain": kind} | _correlations(panel, column, confidence)
        for names, panel in points.groupby(PANEL, sort=False)
        for kind, column in GAIN_KINDS.items()
    ]
    return table_of(rows, SIMILARITY_GAINS)


def _correlations(panel: pd.DataFrame, gain: str, confidence: float) -> dict[str, object]:
    known = panel.dropna(subset=[gain])
    x, y = (known[name].to_numpy(dtype=np.float64) for name in ("similarity", gain))
    datasets = known["dataset"].to_numpy(dtype=str)
    found = pooled_and_within(x, y, datasets)
    pooled = _jackknife(x, y, datasets, confidence)
    within = _fisher(found.within.pearson, found.points - found.groups - 2, confidence)
    told = {
        **_named("pooled", found.pooled, found.points >= FEWEST_RUNS, found.groups > 1),
        **_named("within", found.within, found.points - found.groups >= FEWEST_RUNS - 1),
    }
    return {
        "metrics": ", ".join(dict.fromkeys(known["metric"])),
        **told, "pooled_low": pooled.low, "pooled_high": pooled.high,
        "within_low": within.low, "within_high": within.high,
        "within_slope": _slope_within(x, y, datasets), "points": found.points,
        "datasets": found.groups, "reliable": bool(known["reliable"].all()),
        "remark": "; ".join(_remarks(panel, known)),
    }  # fmt: skip


def _named(scope: str, found: Correlation, enough: bool, tested: bool = True) -> dict[str, float]:
    """The correlations of a scope by their columns; those of too few runs are left empty."""
    return {
        scope: found.pearson if enough else math.nan,
        f"{scope}_p": found.p_pearson if enough and tested else math.nan,
        f"{scope}_spearman": found.spearman if enough else math.nan,
        f"{scope}_spearman_p": found.p_spearman if enough and tested else math.nan,
    }


def _jackknife(x: np.ndarray, y: np.ndarray, datasets: np.ndarray, confidence: float) -> _Interval:
    """Of the pooled correlation, on Fisher's scale, leaving out one data set at a time."""
    names = np.unique(datasets)
    if len(names) < FEWEST_DATASETS:
        return _Interval()
    whole = _fisher_z(x, y)
    without = np.array([_fisher_z(x[datasets != name], y[datasets != name]) for name in names])
    count = len(names)
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return _back(whole, error * float(stats.t.ppf(0.5 + confidence / 2, count - 1)))


def _fisher_z(x: np.ndarray, y: np.ndarray) -> float:
    """Of Pearson's correlation; NaN where it is 1, -1 or undefined."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    correlation = float(np.corrcoef(x, y)[0, 1])
    return math.atanh(correlation) if abs(correlation) < 1 else math.nan


def _fisher(correlation: float, freedom: int, confidence: float) -> _Interval:
    """Of a correlation whose Fisher's z has a variance of 1 / freedom."""
    if freedom < 1 or not abs(correlation) < 1:
        return _Interval()
    half = float(stats.norm.ppf(0.5 + confidence / 2)) / math.sqrt(freedom)
    return _back(math.atanh(correlation), half)


def _back(centre: float, half: float) -> _Interval:
    """From Fisher's scale."""
    return _Interval(math.tanh(centre - half), math.tanh(centre + half))


def _slope_within(x: np.ndarray, y: np.ndarray, datasets: np.ndarray) -> float:
    """The slope that all data sets share, each with an intercept of its own."""
    values = pd.DataFrame({"x": x, "y": y})
    centred = values - values.groupby(datasets).transform("mean")
    spread = float((centred["x"] ** 2).sum())
    moves = spread > 1e-24 * float((x**2).sum())
    return float((centred["x"] * centred["y"]).sum()) / spread if moves else math.nan


def _remarks(panel: pd.DataFrame, known: pd.DataFrame) -> Iterator[str]:
    if len(known) < len(panel):
        yield f"runs over a reference at or below 0, left out: {len(panel) - len(known)}"
    if known["dataset"].nunique() < 2:
        yield "one data set: pooled is within"
    if known["metric"].nunique() > 1:
        yield "gains in several metrics are pooled"
    if not known["reliable"].all():
        yield "some similarities are of too few rows or channels"
