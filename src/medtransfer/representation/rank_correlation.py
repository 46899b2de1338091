"""Do transferability scores order sources and networks as their realised gains do?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata, weightedtau

from medtransfer.errors import ConfigError, DataError
from medtransfer.tables import Column, Schema

TRANSFERABILITY_CORRELATION = Schema(
    name="transferability_correlation",
    row="one score's rank correlation with the realised gain",
    columns={
        "score": Column("text", "as in transferability"),
        "scope": Column(
            "text",
            "dataset (one data set), within (mean over the data sets) or across (all pairs together)",
        ),
        "dataset": Column("text", "name of the data set; empty for the other scopes"),
        "measure": Column("text", "kendall (tau-b), weighted_kendall or spearman"),
        "value": Column("number", "the correlation; empty where the score or the gain is constant"),
        "p": Column(
            "number",
            "two-sided p of the permutation test, within data sets for `within`; empty for `across`, "
            "where pairs of one data set depend on each other",
        ),
        "pairs": Column("integer", "pairs of a score and a gain"),
    },
    families={},
)


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation with its two-sided permutation p; both NaN where a side is constant."""

    value: float
    p: float
    pairs: int


LARGEST_GROUP = 7  # all 5,040 permutations of a group are gone through, and
LARGEST_ENUMERATION = 1_000_000  # all choices of one for each group
SAMPLED_PERMUTATIONS = 9_999


def rank_correlation(
    scores: np.ndarray,
    gains: np.ndarray,
    measure: str = "kendall",
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> RankCorrelation:
    """How well scores order gains.

    With groups (data sets) the value is the mean over the groups of the correlation within each, and
    gains are exchanged within groups only. Groups where either side is constant are left out.

    The p is the share of permutations whose correlation is at least as far from 0: over all of them
    where no group has more than seven pairs and all groups together at most a million permutations,
    else over 9,999 random ones and the observed one.

    Args:
        scores: n numbers.
        gains: n numbers, of the same sources and networks.
        measure: kendall (tau-b), weighted_kendall (additive hyperbolic weights, as the LogME paper has
            it: exchanges among the best count more; Vigna, 2015) or spearman.
        groups: n names, or None for all pairs together.
        seed: of the sampled permutations.

    Raises:
        ConfigError: an unknown measure.
        DataError: lengths that differ, or values that are not finite.
    """
    if measure not in MEASURES:
        raise ConfigError(f"measure {measure}; allowed: {', '.join(MEASURES)}")
    scores, gains = np.asarray(scores, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    members = np.zeros(len(scores)) if groups is None else np.asarray(groups)
    if not scores.shape == gains.shape == members.shape or scores.ndim != 1:
        raise DataError(f"{scores.shape} scores, {gains.shape} gains and {members.shape} groups; "
                        "needed: as many of each")  # fmt: skip
    if not np.isfinite(scores).all() or not np.isfinite(gains).all():
        raise DataError("scores or gains that are NaN or infinite; allowed: finite numbers")
    parts = [(scores[members == g], gains[members == g]) for g in pd.unique(members)]
    parts = [(s, g) for s, g in parts if np.ptp(s) > 0 and np.ptp(g) > 0]
    if not parts:
        return RankCorrelation(math.nan, math.nan, len(scores))
    return _tested(parts, MEASURES[measure], seed)


Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _tested(parts: list[tuple[np.ndarray, np.ndarray]], measure: Measure, seed: int) -> RankCorrelation:
    """The mean correlation of the groups, and its place among those of exchanged gains."""
    observed = float(np.mean([measure(s, g[None])[0] for s, g in parts]))
    sizes = [len(s) for s, _ in parts]
    count = math.prod(math.factorial(size) for size in sizes)
    if max(sizes) <= LARGEST_GROUP and count <= LARGEST_ENUMERATION:
        each = [measure(s, g[list(itertools.permutations(range(len(g))))]) for s, g in parts]
        exchanged = _all_means(each)
    else:
        generator = np.random.default_rng(seed)
        each = [
            measure(s, generator.permuted(np.tile(g, (SAMPLED_PERMUTATIONS, 1)), axis=1))
            for s, g in parts
        ]
        exchanged = np.append(np.mean(each, axis=0), observed)
    # equal correlations may differ by rounding
    p = float(np.mean(np.abs(exchanged) >= abs(observed) - 1e-12))
    return RankCorrelation(observed, p, sum(len(s) for s, _ in parts))


def _all_means(values: list[np.ndarray]) -> np.ndarray:
    """The mean over groups for every choice of one value from each."""
    sums = np.zeros(1)
    for group in values:
        sums = np.add.outer(sums, group).ravel()
    return sums / len(values)


def _kendall(scores: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Tau-b of the scores (n) with each row of gains (p x n)."""
    n = len(scores)
    i, j = np.triu_indices(n, 1)
    of_scores = np.sign(scores[i] - scores[j])
    concordant = np.array([np.sign(row[i] - row[j]) @ of_scores for row in gains])
    of_gains = np.sign(gains[0, i] - gains[0, j])  # ties are the same in every order
    return concordant / np.sqrt(np.sum(of_scores**2) * np.sum(of_gains**2))


def _weighted_kendall(scores: np.ndarray, gains: np.ndarray) -> np.ndarray:
    return np.array([weightedtau(scores, row).statistic for row in gains])


def _spearman(scores: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Pearson's correlation of mid-ranks, of the scores (n) with each row of gains (p x n)."""
    x, y = rankdata(scores), rankdata(gains, axis=1)
    x, y = x - x.mean(), y - y.mean(axis=1, keepdims=True)
    return y @ x / np.sqrt(np.sum(x**2) * np.sum(y**2, axis=1))


MEASURES: dict[str, Measure] = {
    "kendall": _kendall,
    "weighted_kendall": _weighted_kendall,
    "spearman": _spearman,
}


def transferability_correlations(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Rank correlations of scores with gains: in each data set, on average within them, and across.

    Args:
        table: one row a score and gain, with the columns ``dataset``, ``score``, ``value``, ``gain``;
            rows without a value or a gain are left out.
        seed: of sampled permutations.

    Returns:
        A table of schema TRANSFERABILITY_CORRELATION.
    """
    rows = []
    for score, pairs in table.dropna(subset=["value", "gain"]).groupby("score", sort=False):
        for scope, dataset, part, groups in _scopes(pairs):
            values, gains = part["value"].to_numpy(), part["gain"].to_numpy()
            for measure in MEASURES:
                found = rank_correlation(values, gains, measure, groups=groups, seed=seed)
                p = math.nan if scope == "across" else found.p
                rows.append((score, scope, dataset, measure, found.value, p, found.pairs))
    table = pd.DataFrame(rows, columns=list(TRANSFERABILITY_CORRELATION.columns))
    return table.astype({"value": float, "p": float, "pairs": "int64"})


def _scopes(pairs: pd.DataFrame) -> Iterator[tuple[str, str | None, pd.DataFrame, np.ndarray | None]]:
    for dataset, part in pairs.groupby("dataset", sort=False):
        yield "dataset", str(dataset), part, None
    yield "within", None, pairs, pairs["dataset"].to_numpy()
    yield "across", None, pairs, None
