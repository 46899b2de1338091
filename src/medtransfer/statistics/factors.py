"""What gains depend on, where many of them come from one data set."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from medtransfer.statistics.paired import sign_flip
from medtransfer.tables import Column, Schema, table_of

FEWEST_DATASETS = 3
INTERCEPT = "intercept"
# numbers that may explain a gain: the column, and whether it enters as its natural logarithm
NUMBERS = {"training_images": True, "parameters": True, "distance": False}
FAMILY = "family"
# groups whose 5,040 orders are all gone through
LARGEST_ENUMERATION = 7
SAMPLED_PERMUTATIONS = 9_999
# The one parameter is a variance. Those that follow gradients get lost where it is near 0, which is
# often: in 30 of 150 simulated fits of 6 data sets.
OPTIMISERS = ["nm", "powell"]
HARMLESS_WARNINGS = (
    # of an optimiser whose successor got there
    "optimization failed to converge", "Retrying MixedLM",
    # of a variance at or near 0, which has a remark of its own
    "boundary of the parameter space", "covariance is singular", "Hessian matrix",
)  # fmt: skip

FACTORS = Schema(
    name="factors",
    row="one term of a mixed model of gains",
    columns={
        "term": Column(
            "text",
            "log_training_images, log_parameters (natural logarithms), distance, family_<name> "
            "(against the first family), or intercept: the gain of the first family at the mean of the "
            "numbers",
        ),
        "estimate": Column("number", "change of the gain per unit of the term; empty where not fitted"),
        "low": Column("number", "lower end of its interval"),
        "high": Column("number", "upper end"),
        "p": Column("number", "two-sided p of a t test"),
        "freedom": Column("integer", "degrees of freedom of that t"),
        "datasets": Column("integer", "data sets in the model"),
        "rows": Column("integer", "gains in the model"),
        "left_out": Column("text", "the data set that was left out; '' for the model of all"),
        "remark": Column(
            "text", "what the reader has to know, or why nothing was fitted; '' for nothing"
        ),
    },
    families={},
)


@dataclass(frozen=True)
class Design:
    """Gains (n), terms (n x k, the intercept first), data sets (n), and what to say about them.

    Attributes:
        centres: what was taken off the terms of numbers: their means.
    """

    gains: np.ndarray
    terms: pd.DataFrame
    datasets: np.ndarray
    remarks: tuple[str, ...]
    centres: dict[str, float]

    @property
    def count(self) -> int:
        return len(np.unique(self.datasets))

    @property
    def of_datasets(self) -> list[str]:
        """The terms that don't vary within any data set, the intercept among them."""
        grouped = self.terms.groupby(self.datasets)
        spread = (grouped.max() - grouped.min()).max()
        within = spread > 1e-9 * self.terms.abs().max()
        return [str(term) for term in self.terms if not within[str(term)]]

    @property
    def names(self) -> list[str]:
        """Of the terms."""
        return [str(term) for term in self.terms]


@dataclass(frozen=True)
class Fit:
    """A fitted model of k terms.

    Attributes:
        estimates: of the terms, k.
        covariance: of the estimates, k x k.
        variance: of a gain of a new data set about its terms: between data sets and within one.
        remarks: what the reader has to know.
    """

    estimates: np.ndarray
    covariance: np.ndarray
    variance: float
    remarks: tuple[str, ...]


def factor_table(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The model of all data sets (:func:`fit_factors`), then those that leave one out.

    Returns:
        A table of schema FACTORS.
    """
    whole = fit_factors(table, confidence)
    return pd.concat([whole, leave_one_dataset_out(table, confidence)], ignore_index=True)


def leave_one_dataset_out(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The model without each of the data sets: does a coefficient rest on one of them?

    Args:
        table: as in :func:`fit_factors`.
        confidence: coverage of the intervals.

    Returns:
        A table of schema FACTORS.
    """
    tables = [
        fit_factors(table[table["dataset"] != dataset], confidence).assign(left_out=str(dataset))
        for dataset in pd.unique(table["dataset"])
    ]
    return pd.concat(tables, ignore_index=True) if tables else _as_declared([])


def fit_factors(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """gain ~ log training images + log parameters + family + distance, random intercept per data set.

    A linear mixed model, fitted by REML (statsmodels). Gains of one data set share its intercept, so
    that they are never taken for independent. The t of a term has the degrees of freedom of its level
    (between-within): a term that doesn't vary within data sets, such as a domain distance, is tested
    over data sets, not over gains. This needs at least three data sets, and more of them than terms
    at their level. A term that varies within data sets is taken to act alike in all of them; where it
    doesn't, its interval is too narrow, and :func:`leave_one_dataset_out` shows it.

    Args:
        table: one row a gain, with the columns ``dataset`` and ``gain``, and any of
            ``training_images`` and ``parameters`` (above 0), ``family`` and ``distance``. Columns
            that are absent, empty or constant aren't terms; rows without one of the terms are left out.
        confidence: coverage of the intervals.

    Returns:
        A table of schema FACTORS; without estimates, and with the reason as a remark, where the model
        can't be fitted.

    Raises:
        ValueError: numbers of training images or parameters that aren't above 0.
    """
    design = design_of(table)
    reason = reason_against(design)
    if reason:
        return _not_fitted(design, reason)
    try:
        fit = fit_reml(design)
    except (np.linalg.LinAlgError, ValueError) as error:
        return _not_fitted(design, f"not fitted: {error}")
    return _tested(design, fit, confidence)


def design_of(table: pd.DataFrame) -> Design:
    """The terms that rows of gains (see :func:`fit_factors`) have; numbers less their mean."""
    used = [c for c in [*NUMBERS, FAMILY] if c in table and table[c].notna().any()]
    known = table.dropna(subset=["gain", *used])
    dropped = len(table) - len(known)
    terms = pd.DataFrame({INTERCEPT: np.ones(len(known))})
    centres = {}
    for column in [c for c in used if c in NUMBERS]:
        values = _number(known, column)
        if len(values) and np.ptp(values) > 0:
            centres[column] = float(values.mean())
            terms[_term(column)] = values - values.mean()
    if FAMILY in used:
        for name in sorted(known[FAMILY].unique())[1:]:
            terms[f"{FAMILY}_{name}"] = (known[FAMILY] == name).to_numpy(dtype=np.float64)
    remarks = (f"{dropped} rows without a value left out",) if dropped else ()
    return Design(
        known["gain"].to_numpy(dtype=np.float64), terms, known["dataset"].to_numpy(), remarks, centres
    )


def terms_like(design: Design, table: pd.DataFrame) -> pd.DataFrame:
    """The terms of other rows, as a design of some has them.

    Args:
        design: of the rows that a model is fitted to.
        table: other rows, with the columns that the design's terms are made of.
    """
    terms = pd.DataFrame({INTERCEPT: np.ones(len(table))})
    for column, centre in design.centres.items():
        terms[_term(column)] = _number(table, column) - centre
    for name in [name for name in design.names if name.startswith(f"{FAMILY}_")]:
        member = table[FAMILY] == name.removeprefix(f"{FAMILY}_")
        terms[name] = member.to_numpy(dtype=np.float64)
    return terms


def _term(column: str) -> str:
    return f"log_{column}" if NUMBERS[column] else column


def _number(table: pd.DataFrame, column: str) -> np.ndarray:
    values = table[column].to_numpy(dtype=np.float64)
    return _logarithm(values, column) if NUMBERS[column] else values


def _logarithm(values: np.ndarray, column: str) -> np.ndarray:
    if (values <= 0).any():
        raise ValueError(f"column {column} has the value {values.min()}; allowed: above 0")
    return np.log(values)


def reason_against(design: Design, intercepts: bool = True) -> str:
    """Why the model can't be fitted; '' where it can.

    Args:
        design: of the gains.
        intercepts: the data sets have random ones, which takes several gains of a data set.
    """
    if design.count < FEWEST_DATASETS:
        return f"not fitted: {design.count} data sets; needed: at least {FEWEST_DATASETS}"
    between = design.of_datasets
    if len(between) >= design.count:
        names = ", ".join(between[1:])
        return (f"not fitted: {names} vary between data sets only, and {design.count} data sets "
                f"leave nothing to test them by; needed: at least {len(between) + 1}")  # fmt: skip
    within = design.terms.shape[1] - len(between)
    if intercepts and len(design.gains) - design.count - within < 1:
        return (f"not fitted: {len(design.gains)} gains of {design.count} data sets leave nothing to "
                f"tell their spread by; needed: at least {design.count + within + 1}")  # fmt: skip
    if np.linalg.matrix_rank(design.terms / design.terms.abs().max()) < design.terms.shape[1]:
        return "not fitted: some terms follow from the others: " + ", ".join(design.names[1:])
    if np.ptp(design.gains) == 0:
        return "not fitted: all gains are the same"
    return ""


def fit_reml(design: Design) -> Fit:
    """A random intercept per data set, by restricted maximum likelihood.

    Raises:
        ValueError: it didn't converge.
    """
    with warnings.catch_warnings(record=True) as caught:
        # each one that is raised is looked at, instead of the first of its kind
        warnings.simplefilter("always")
        fit = _reml(design)
    return replace(fit, remarks=(*design.remarks, *fit.remarks, *_of_warnings(caught)))


def _reml(design: Design) -> Fit:
    # in units of their spread, where the optimiser is at home
    unit = float(design.gains.std())
    scales = np.array([1.0 if t == INTERCEPT else design.terms[t].std(ddof=0) for t in design.names])
    terms = design.terms.to_numpy() / scales
    fitted = MixedLM(design.gains / unit, terms, design.datasets).fit(reml=True, method=OPTIMISERS)
    if not fitted.converged:
        raise ValueError("REML didn't converge")
    ratio = max(float(fitted.cov_re_unscaled[0, 0]), 0.0)
    scale = float(fitted.scale)
    covariance = scale * np.linalg.inv(_information(terms, design.datasets, ratio))
    remarks = () if ratio > 1e-6 else ("the variance between data sets is estimated as 0",)
    back = unit / scales
    return Fit(
        np.asarray(fitted.fe_params) * back, covariance * np.outer(back, back),
        scale * (1 + ratio) * unit**2, remarks,
    )  # fmt: skip


def _information(terms: np.ndarray, datasets: np.ndarray, ratio: float) -> np.ndarray:
    """X' V^-1 X (k x k) where V is 1 + ratio in blocks: of gains that share an intercept."""
    total = terms.T @ terms
    for dataset in np.unique(datasets):
        own = terms[datasets == dataset]
        sums = own.sum(axis=0)
        total -= ratio / (1 + ratio * len(own)) * np.outer(sums, sums)
    return total


def _tested(design: Design, fit: Fit, confidence: float) -> pd.DataFrame:
    between = design.of_datasets
    within = design.terms.shape[1] - len(between)
    errors = np.sqrt(np.diag(fit.covariance))
    remark = "; ".join(fit.remarks)
    rows: list[tuple[object, ...]] = []
    for term, estimate, error in zip(design.names, fit.estimates, errors, strict=True):
        freedom = design.count - len(between)
        if term not in between:
            freedom = len(design.gains) - design.count - within
        half = error * stats.t.ppf(0.5 + confidence / 2, freedom)
        p = 2 * stats.t.sf(abs(estimate) / error, freedom)
        rows.append((term, estimate, estimate - half, estimate + half, p, freedom, design.count,
                     len(design.gains), "", remark))  # fmt: skip
    return _as_declared(rows)


def _not_fitted(design: Design, reason: str) -> pd.DataFrame:
    nothing = (math.nan,) * 4
    remark = "; ".join([reason, *design.remarks])
    return _as_declared(
        [(term, *nothing, 0, design.count, len(design.gains), "", remark) for term in design.names]
    )


def _of_warnings(caught: list[warnings.WarningMessage]) -> list[str]:
    """What statsmodels warned of, once each, but for what doesn't touch a fit that converged."""
    texts = {str(warning.message).splitlines()[0] for warning in caught}
    return sorted(t for t in texts if not any(phrase in t for phrase in HARMLESS_WARNINGS))


def _as_declared(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return table_of((dict(zip(FACTORS.columns, row, strict=True)) for row in rows), FACTORS)


@dataclass(frozen=True)
class Correlation:
    """Pearson's and Spearman's correlation with their two-sided p; NaN where a side is constant."""

    pearson: float
    p_pearson: float
    spearman: float
    p_spearman: float


@dataclass(frozen=True)
class PooledAndWithin:
    """Correlations of n points of G groups.

    Attributes:
        pooled: of all points; its p takes groups, not points, for independent.
        naive: of all points; its p takes points for independent: what not to report.
        within: after centring within groups.
        points: how many points.
        groups: how many groups.
    """

    pooled: Correlation
    naive: Correlation
    within: Correlation
    points: int
    groups: int


def pooled_and_within(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    seed: int = 0,
) -> PooledAndWithin:
    """Does a pooled correlation survive the fact that its points are of a few groups (data sets)?

    Groups of one size are exchanged as wholes for the pooled p: it is the share of assignments of the
    groups' y to the groups' x, in the order of their points, whose covariance is at least as far from
    0; of all for up to seven groups, else of 9,999 random ones and the observed one. That needs groups
    that are exchangeable, and nothing of their points.

    Groups of several sizes can't be exchanged. Then it is a sign-flip test of the groups' parts in the
    covariance, sum over a group of (x - mean x) (y - mean y): the score test of the wild cluster
    bootstrap under no correlation (Kline & Santos, Journal of Econometric Methods 1, 2012). G groups
    can't give a p below 2 / 2^G.

    The correlation within is of values less their group's mean; Spearman's of ranks within groups less
    their mean. Its p is the share of 9,999 exchanges of y within groups, and the observed one, whose
    correlation is at least as far from 0.

    Args:
        x: n numbers.
        y: n numbers.
        groups: n names.
        seed: of the exchanges.

    Raises:
        ValueError: lengths that differ, or values that aren't finite.
    """
    x, y, names = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(groups)
    if not x.shape == y.shape == names.shape or x.ndim != 1:
        raise ValueError(f"{x.shape} x, {y.shape} y and {names.shape} groups; needed: as many of each")
    if not np.isfinite([x, y]).all():
        raise ValueError("x or y that are NaN or infinite; allowed: finite numbers")
    _, members = np.unique(names, return_inverse=True)
    ranks = stats.rankdata(x), stats.rankdata(y)
    return PooledAndWithin(
        pooled=Correlation(*_pooled(x, y, members, seed), *_pooled(*ranks, members, seed)),
        naive=Correlation(*_naive(x, y), *_naive(*ranks)),
        within=Correlation(
            *_within(x, y, members, seed),
            *_within(_ranks_within(x, members), _ranks_within(y, members), members, seed),
        ),
        points=len(x),
        groups=len(np.unique(members)),
    )


def _pooled(x: np.ndarray, y: np.ndarray, members: np.ndarray, seed: int) -> tuple[float, float]:
    """The correlation, and its p with groups as the independent units."""
    if not (_varies(x) and _varies(y)):
        return math.nan, math.nan
    x, y = x - x.mean(), y - y.mean()
    if np.ptp(np.bincount(members)) == 0:
        return _correlation(x, y), _group_permutation(x, y, members, seed)
    return _correlation(x, y), sign_flip(np.bincount(members, weights=x * y))


def _group_permutation(x: np.ndarray, y: np.ndarray, members: np.ndarray, seed: int) -> float:
    """The p of centred values whose groups, of one size, are exchanged as wholes."""
    groups = int(members.max()) + 1
    order = np.argsort(members, kind="stable")
    covariances = x[order].reshape(groups, -1) @ y[order].reshape(groups, -1).T
    if groups <= LARGEST_ENUMERATION:
        assigned = np.array(list(itertools.permutations(range(groups))))
    else:
        own = np.tile(np.arange(groups), (SAMPLED_PERMUTATIONS + 1, 1))
        assigned = np.random.default_rng(seed).permuted(own, axis=1)
        assigned[0] = own[0]
    sums = np.abs(covariances[np.arange(groups), assigned].sum(axis=1))
    # equal sums may differ by rounding
    return float((sums >= sums[0] - 1e-12 * float(np.abs(x) @ np.abs(y))).mean())


def _naive(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 3 or not (_varies(x) and _varies(y)):
        return math.nan, math.nan
    result = stats.pearsonr(x, y)
    return float(result.statistic), float(result.pvalue)


def _within(x: np.ndarray, y: np.ndarray, members: np.ndarray, seed: int) -> tuple[float, float]:
    """The correlation after centring, and its p by exchanges within groups."""
    x, y = _centred(x, members), _centred(y, members)
    if not (_varies(x) and _varies(y)):
        return math.nan, math.nan
    exchanged = np.zeros(SAMPLED_PERMUTATIONS)
    generator = np.random.default_rng(seed)
    for group in np.unique(members):
        own = np.tile(y[members == group], (SAMPLED_PERMUTATIONS, 1))
        exchanged += generator.permuted(own, axis=1) @ x[members == group]
    observed = abs(float(x @ y))
    # equal sums may differ by rounding
    hits = int((np.abs(exchanged) >= observed - 1e-12 * float(np.abs(x) @ np.abs(y))).sum())
    return _correlation(x, y), (hits + 1) / (SAMPLED_PERMUTATIONS + 1)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Of centred values."""
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def _varies(values: np.ndarray) -> bool:
    return bool(len(values)) and bool(np.ptp(values) > 1e-12 * np.abs(values).max())


def _centred(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    means = np.bincount(members, weights=values) / np.bincount(members)
    centred = values - means[members]
    # a group whose values are the same has rounding errors only
    return np.where(np.abs(centred) > 1e-12 * np.abs(values), centred, 0.0)


def _ranks_within(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(values))
    for group in np.unique(members):
        ranks[members == group] = stats.rankdata(values[members == group])
    return ranks
