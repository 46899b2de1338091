"""Could a gain have been known beforehand? Each one predicted from the other data sets alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from medtransfer.statistics.factors import (
    FAMILY,
    INTERCEPT,
    Design,
    Fit,
    design_of,
    fit_reml,
    reason_against,
    terms_like,
)
from medtransfer.statistics.gain_factors import GAIN_POINTS
from medtransfer.statistics.paired import paired_t
from medtransfer.tables import Column, Schema, table_of

NAIVE, FACTOR_MODEL = "mean", "factors"
SCORE = "score"
# for the spread of their means
FEWEST_OTHERS = 2
TOO_FEW = f"other data sets with this source and metric; needed: at least {FEWEST_OTHERS}"
# what a transferability score belongs to
_SCORED = ["recipe", "dataset", "model", "subset", "source"]
_POINT = ["recipe", "dataset", "model", "subset", "metric", "init", "source", "reference", "gain",
          "gain_low", "gain_high"]  # fmt: skip

PREDICTED_GAINS = Schema(
    name="predicted_gains",
    row="one gain, as one predictor that never saw its data set has it",
    columns={
        **{name: GAIN_POINTS.columns[name] for name in _POINT},
        "predictor": Column(
            "text",
            "mean (of the other data sets: the naive one), factors (the mixed model of gain_factors) "
            "or a transferability score (a straight line through the other data sets)",
        ),
        "predicted": Column("number", "the gain; empty where nothing is predicted"),
        "predicted_low": Column("number", "lower end of its prediction interval"),
        "predicted_high": Column("number", "upper end of that interval"),
        "others": Column("integer", "other data sets that it was predicted from"),
        "remark": Column("text", "what the reader has to know, or why nothing is predicted"),
    },
    families={},
)
PREDICTION_ERRORS = Schema(
    name="prediction_errors",
    row="one predictor's errors in one metric",
    columns={
        "metric": GAIN_POINTS.columns["metric"],
        "predictor": PREDICTED_GAINS.columns["predictor"],
        "error": Column("number", "mean over data sets of their mean absolute error"),
        "naive_error": Column("number", "that of the naive predictor on the same gains"),
        "difference": Column("number", "error - naive_error: below 0, the predictor is the better one"),
        "low": Column(
            "number", "lower end of its t interval over data sets, as if their errors were independent"
        ),
        "high": Column("number", "upper end of that interval"),
        "inside": Column("integer", "gains within their prediction interval"),
        "predicted": Column("integer", "gains that are predicted"),
        "gains": Column("integer", "gains of the study"),
        "datasets": Column("integer", "data sets whose gains are predicted"),
        "remark": Column("text", "why some or all gains are not predicted; '' for nothing"),
    },
    families={},
)


@dataclass(frozen=True)
class Prediction:
    """Of m gains of a data set: values and prediction intervals, NaN where there is none; a remark."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    remark: str


# from the gains of other data sets to those of one
Predictor = Callable[[pd.DataFrame, pd.DataFrame, float], Prediction]


def predicted_gains(
    points: pd.DataFrame, scores: pd.DataFrame | None, confidence: float
) -> pd.DataFrame:
    """Each gain as predictors have it that are fitted without any gain of its data set.

    A source and metric at a time, as in the mixed models of gains.

    Args:
        points: a table of schema GAIN_POINTS.
        scores: a table of schema SCORES_AND_GAINS, or none.
        confidence: coverage of the prediction intervals.

    Returns:
        A table of schema PREDICTED_GAINS.
    """
    columns = score_columns(scores)
    points = points.dropna(subset=["gain"])
    points = points if scores is None else _with_scores(points, scores)
    predictors: dict[str, Predictor] = {NAIVE: predict_by_mean, FACTOR_MODEL: predict_by_factors}
    predictors |= {name: partial(predict_by_score, column=column) for name, column in columns.items()}
    tables = [
        _left_out(group, dataset, predictors, confidence)
        for _, group in points.groupby(["init", "metric"], sort=False)
        for dataset in pd.unique(group["dataset"])
    ]
    rows = pd.concat(tables).to_dict("records") if tables else []
    return table_of(rows, PREDICTED_GAINS)  # type: ignore[arg-type]


def score_columns(scores: pd.DataFrame | None) -> dict[str, str]:
    """The scores of a table, and what a column of each is called."""
    names = [] if scores is None else dict.fromkeys(scores["score"])
    return {str(name): f"{SCORE}_{name}" for name in names}


def _with_scores(points: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A column a score; the mean over the splits on whose training images it was computed."""
    known = scores[np.isfinite(scores["value"])].dropna(subset=_SCORED)
    wide = known.pivot_table(index=_SCORED, columns="score", values="value", aggfunc="mean")
    wide = wide.reindex(columns=list(score_columns(scores))).rename(columns=score_columns(scores))
    return points.merge(wide.reset_index(), on=_SCORED, how="left")


def _left_out(
    group: pd.DataFrame, dataset: str, predictors: Mapping[str, Predictor], confidence: float
) -> pd.DataFrame:
    """The gains of one data set as each predictor has them."""
    own = group["dataset"] == dataset
    others = group.loc[~own, "dataset"].nunique()
    tables = []
    for name, predict in predictors.items():
        if others < FEWEST_OTHERS:
            found = _nothing(int(own.sum()), f"not predicted: {others} {TOO_FEW}")
        else:
            found = predict(group[~own], group[own], confidence)
        tables.append(
            group.loc[own, _POINT].assign(
                predictor=name, predicted=found.values, predicted_low=found.low,
                predicted_high=found.high, others=others,
                remark=found.remark,
            )
        )  # fmt: skip
    return pd.concat(tables)


def predict_by_mean(known: pd.DataFrame, new: pd.DataFrame, confidence: float = 0.95) -> Prediction:
    """The mean over the other data sets of their mean gains, for every gain of a new one.

    Its interval is t, with one degree of freedom less than there are other data sets. The variance is
    s_b^2 (1 + 1/G) + s_w^2 (1 - mean of 1/n), where s_b is the standard deviation of the G means, s_w
    that within data sets and n a data set's number of gains: the usual one of a new observation where
    each has one gain, and unbiased in a model of random effects of data sets. Where these hardly
    differ the interval holds more than it promises.

    Args:
        known: gains of two other data sets or more, with the columns ``dataset`` and ``gain``.
        new: those of one.
        confidence: coverage of the intervals.
    """
    groups = known.groupby("dataset")["gain"]
    means, counts = groups.mean().to_numpy(), groups.size().to_numpy()
    others = len(means)
    spread = float(groups.var(ddof=0).to_numpy() @ counts)
    freedom = int((counts - 1).sum())
    within = spread / freedom * (1 - float((1 / counts).mean())) if freedom else 0.0
    variance = float(means.var(ddof=1)) * (1 + 1 / others) + within
    half = float(stats.t.ppf(0.5 + confidence / 2, others - 1)) * math.sqrt(variance)
    value = np.full(len(new), float(means.mean()))
    return Prediction(value, value - half, value + half, "")


def predict_by_factors(known: pd.DataFrame, new: pd.DataFrame, confidence: float = 0.95) -> Prediction:
    """By the mixed model of :func:`~medtransfer.statistics.factors.fit_factors`.

    Args:
        known: gains of other data sets, with columns as there.
        new: those of one.
        confidence: coverage of the intervals.
    """
    design = design_of(known)
    if design.names == [INTERCEPT]:
        return _nothing(len(new), "not predicted: no factor is known and differs between the gains")
    used = [*design.centres, *([FAMILY] if FAMILY in known and known[FAMILY].notna().any() else [])]
    complete = new[used].notna().all(axis=1)
    if FAMILY in used:
        complete &= new[FAMILY].isin(known[FAMILY].unique())
    terms = terms_like(design, new[complete])
    remark = (
        "" if complete.all() else "not predicted: a factor that isn't known, or in no other data set"
    )
    return _spread_out(_by_terms(design, terms, confidence), complete.to_numpy(), remark)


def predict_by_score(
    known: pd.DataFrame, new: pd.DataFrame, confidence: float = 0.95, *, column: str
) -> Prediction:
    """By a straight line in one number; data sets of several gains have random intercepts.

    Args:
        known: gains of other data sets, with the columns ``dataset``, ``gain`` and the number's.
        new: those of one.
        confidence: coverage of the intervals.
        column: with the number.
    """
    scored = known.dropna(subset=[column])
    complete = new[column].notna().to_numpy()
    if scored.empty or not complete.any():
        return _nothing(len(new), "not predicted: no score")
    values = scored[column].to_numpy(dtype=np.float64)
    if np.ptp(values) == 0:
        return _nothing(len(new), "not predicted: the score is the same for all others")
    centre = float(values.mean())
    design = Design(
        scored["gain"].to_numpy(dtype=np.float64),
        pd.DataFrame({INTERCEPT: 1.0, SCORE: values - centre}),
        scored["dataset"].to_numpy(), (), {},
    )  # fmt: skip
    scores = new.loc[complete, column].to_numpy(dtype=np.float64)
    terms = pd.DataFrame({INTERCEPT: np.ones(len(scores)), SCORE: scores - centre})
    remark = "" if complete.all() else "not predicted: no score"
    return _spread_out(_by_terms(design, terms, confidence), complete, remark)


def _by_terms(design: Design, terms: pd.DataFrame, confidence: float) -> Prediction:
    """The gains of a new data set with these terms (m x k).

    The interval is t: its variance that of the prediction and that of a gain of a new data set about
    it, its degrees of freedom data sets less terms at their level.
    """
    alone = design.count == len(design.gains)
    reason = reason_against(design, intercepts=not alone)
    if reason:
        return _nothing(len(terms), reason)
    try:
        fit = least_squares(design) if alone else fit_reml(design)
    except (np.linalg.LinAlgError, ValueError) as error:
        return _nothing(len(terms), f"not fitted: {error}")
    x = terms[design.names].to_numpy(dtype=np.float64)
    variance = np.einsum("mi,ij,mj->m", x, fit.covariance, x) + fit.variance
    freedom = design.count - len(design.of_datasets)
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * np.sqrt(variance)
    values = x @ fit.estimates
    return Prediction(values, values - half, values + half, "; ".join(fit.remarks))


def least_squares(design: Design) -> Fit:
    """Of data sets with one gain each, whose two variances can't be told apart and needn't be."""
    x = design.terms.to_numpy()
    estimates = np.linalg.lstsq(x, design.gains)[0]
    residuals = design.gains - x @ estimates
    variance = float(residuals @ residuals) / (len(x) - x.shape[1])
    return Fit(estimates, variance * np.linalg.inv(x.T @ x), variance, design.remarks)


def _spread_out(found: Prediction, known: np.ndarray, remark: str) -> Prediction:
    """Predictions of those that are known, among all."""
    wide = np.full((3, len(known)), math.nan)
    wide[:, known] = found.values, found.low, found.high
    return Prediction(wide[0], wide[1], wide[2], "; ".join(filter(None, [found.remark, remark])))


def _nothing(count: int, reason: str) -> Prediction:
    nothing = np.full(count, math.nan)
    return Prediction(nothing, nothing, nothing, reason)


def prediction_errors(predicted: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """How far each predictor is off, beside the naive one on the same gains; a data set counts once.

    Args:
        predicted: a table of schema PREDICTED_GAINS.
        confidence: coverage of the intervals.

    Returns:
        A table of schema PREDICTION_ERRORS.
    """
    cell = ["recipe", "dataset", "model", "subset", "init"]
    rows = []
    for metric, gains in predicted.groupby("metric", sort=False):
        naive = gains[gains["predictor"] == NAIVE].set_index(cell)["predicted"]
        for predictor, own in gains.groupby("predictor", sort=False):
            beside = own.set_index(cell).assign(naive=naive).reset_index()
            errors = _errors(beside, confidence)
            rows.append({"metric": metric, "predictor": predictor} | errors)
    return table_of(rows, PREDICTION_ERRORS)


def _errors(gains: pd.DataFrame, confidence: float) -> dict[str, object]:
    known = gains.dropna(subset=["predicted", "naive"])
    off = pd.DataFrame({name: (known[name] - known["gain"]).abs() for name in ("predicted", "naive")})
    means = off.groupby(known["dataset"]).mean()
    difference = paired_t((means["predicted"] - means["naive"]).to_numpy(), confidence)
    inside = known["gain"].between(known["predicted_low"], known["predicted_high"])
    return {
        "error": means["predicted"].mean(), "naive_error": means["naive"].mean(),
        "difference": difference.mean, "low": difference.low, "high": difference.high,
        "inside": int(inside.sum()), "predicted": len(known), "gains": len(gains),
        "datasets": len(means), "remark": "; ".join(dict.fromkeys(_reasons(gains))),
    }  # fmt: skip


def _reasons(gains: pd.DataFrame) -> Iterator[str]:
    """Why some gains aren't predicted."""
    return (str(text) for text in gains.loc[gains["predicted"].isna(), "remark"] if text)
