"""Do networks that were alike at their start end up alike? (Raghu et al., figure 4)"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from medtransfer.representation.cca_protocols import pair_kind
from medtransfer.representation.cca_table import TRAINED_KINDS
from medtransfer.tables import Column, Schema, table_of

_NETWORKS = {
    "dataset": Column("text", "name of the data set whose images were shown"),
    "recipe": Column("text", "name of the recipe of both networks"),
    "model": Column("text", "name of the architecture of both networks"),
    "subset": Column("text", "how much training data, of both networks"),
}
START_END = Schema(
    name="start_end",
    row="one measure of two networks at one point, at their starts and at their ends",
    columns={
        **_NETWORKS,
        "split": Column("text", "which split the images are of"),
        "init_a": Column("text", "how network a started"),
        "init_b": Column("text", "how network b started"),
        "seed_a": Column("integer", "seed of the run of network a"),
        "seed_b": Column("integer", "seed of the run of network b"),
        "starts": Column(
            "text", "how both started: random-random, random-transfer or transfer-transfer"
        ),
        "point": Column("text", "where in both networks"),
        "order": Column("integer", "place of the point in the order of depth, from 0"),
        "depth": Column("number", "the same from 0, the first measured point, to 1, the last"),
        "measure": Column("text", "as in cca"),
        "start": Column("number", "mean correlation of the two networks at step 0"),
        "end": Column("number", "the same of the selected weights"),
        "reliable": Column("truth", "whether both values are, as in cca"),
    },
    families={},
)
START_END_CORRELATION = Schema(
    name="start_end_correlation",
    row="the rank correlation of start with end for one measure of the networks of one architecture",
    columns={
        **_NETWORKS,
        "measure": Column("text", "as in cca"),
        "scope": Column(
            "text",
            "all (all points and pairs together), lower or upper (those of one half of the depth) or "
            "within (mean over the points of the correlation over the pairs)",
        ),
        "value": Column(
            "number", "Spearman's; empty for fewer than 3 values, or of which one side is constant"
        ),
        "values": Column("integer", "pairs of networks times points that went in"),
        "points": Column("integer", "points that went in"),
        "pairs": Column(
            "integer",
            "pairs of networks that went in: none that began with the same weights; they share "
            "networks, so aren't independent",
        ),
    },
    families={},
)
# values of a rank correlation
FEWEST = 3
_PAIR = ["split", "init_a", "init_b", "seed_a", "seed_b"]
_KEYS = ["dataset", *(f"{n}_a" for n in ("recipe", "model", "subset")), *_PAIR, "point", "measure"]


def start_end(table: pd.DataFrame) -> pd.DataFrame:
    """The similarities of two networks at their starts beside those of the same two at their ends.

    Networks that differ in the seed or the init alone, both started at random or from a whole source.

    Args:
        table: of schema CCA.

    Returns:
        A table of schema START_END; what is known at one moment only is left out.
    """
    rows = table[table["pair"].isin(TRAINED_KINDS)]
    kinds = [pair_kind(a, b) for a, b in zip(rows["init_a"], rows["init_b"], strict=True)]
    rows = rows.assign(starts=pd.Series(kinds, rows.index, dtype=object))
    rows = rows.dropna(subset=["starts", "value"])
    start, end = (rows[rows["moment_a"] == moment] for moment in ("start", "end"))
    both = start.merge(end[[*_KEYS, "value", "reliable"]], on=_KEYS, suffixes=("", "_end"))
    both = both.rename(
        columns={"value": "start", "value_end": "end"}
        | {f"{name}_a": name for name in ("recipe", "model", "subset")}
    )
    found = both.assign(
        reliable=both["reliable"].astype(bool) & both["reliable_end"].astype(bool),
        depth=both.groupby(list(_NETWORKS))["order"].transform(_relative_depth),
    )
    return found[list(START_END.columns)].astype({"depth": float, "start": float, "end": float})


def start_end_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of start with end, over points and pairs, in halves, within points.

    Two networks of one source begin as one, so they are left out, as are values of too few rows. All
    points together also tell units that are alike in any two networks from units that are not, by their
    number of channels for one; within points only the pairs differ. There is no interval: the points of
    a network depend on each other, and pairs share networks.

    Args:
        table: of schema START_END.

    Returns:
        A table of schema START_END_CORRELATION.
    """
    rows = []
    same = (table["starts"] == "transfer-transfer") & (table["init_a"] == table["init_b"])
    used = table[~same & table["reliable"].astype(bool)]
    for names, own in used.groupby([*_NETWORKS, "measure"], sort=False):
        for scope, part, value in _scopes(own):
            rows.append(
                dict(zip([*_NETWORKS, "measure"], names, strict=True))
                | {
                    "scope": scope, "value": value, "values": len(part),
                    "points": part["point"].nunique(),
                    "pairs": len(part[_PAIR].drop_duplicates()),
                }
            )  # fmt: skip
    return table_of(rows, START_END_CORRELATION)


def _scopes(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, float]]:
    """Each scope with its rows and its correlation."""
    lower = table["depth"] < 1 / 2
    for scope, part in {"all": table, "lower": table[lower], "upper": table[~lower]}.items():
        yield scope, part, _spearman(part)
    each = [_spearman(rows) for _, rows in table.groupby("point", sort=False)]
    known = [value for value in each if not math.isnan(value)]
    yield "within", table, float(np.mean(known)) if known else math.nan


def _spearman(table: pd.DataFrame) -> float:
    """NaN of so few values that it is hardly anything but 1 or -1, and where a side is constant."""
    if len(table) < FEWEST or table["start"].nunique() < 2 or table["end"].nunique() < 2:
        return math.nan
    return float(spearmanr(table["start"], table["end"]).statistic)


def _relative_depth(order: pd.Series) -> pd.Series:
    """From 0, the lowest order, to 1, the highest; 0 where there is only one."""
    first, last = order.min(), order.max()
    return (order - first) / max(last - first, 1)
