"""How much of a gain is feature reuse, and through which depth: shares and curves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer.config.names import Init, parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.comparison import independent_repeats
from medtransfer.statistics.multiplicity import max_t
from medtransfer.statistics.ratios import fieller
from medtransfer.tables import Column, Schema, table_of

PLACE = ["recipe", "dataset", "model", "subset", "metric"]
_PLACE_COLUMNS = {name: METRICS.columns[name] for name in PLACE}
_DEPTH_COLUMNS = {
    "source": Column("text", "whose weights"),
    "init": METRICS.columns["init"],
    "units": Column("number", "units with the source's weights, from the stem; empty: all"),
}
REUSE = Schema(
    name="reuse",
    row="the share of a source's gain that is feature reuse, all of it or up to a depth",
    columns={
        **_PLACE_COLUMNS,
        **_DEPTH_COLUMNS,
        "share": Column("number", "(init - statistics) / (source - reference), of the means"),
        "low": Column("number", "lower end of Fieller's interval; -inf where nothing bounds it"),
        "high": Column("number", "upper end of that interval"),
        "bounded": Column(
            "truth", "whether there is a gain of which anything could be a share, at the confidence"
        ),
        "pairs": Column("integer", "seeds or folds that have all four starts"),
        "paired_by": Column("text", "seed or fold"),
    },
    families={},
)
DEPTH_CURVES = Schema(
    name="depth_curves",
    row="one point of the curve of the gain over the transferred depth",
    columns={
        **_PLACE_COLUMNS,
        **_DEPTH_COLUMNS,
        "reference": Column("text", "the same start without transferred units"),
        "mean": Column("number", "mean paired difference"),
        "low": Column("number", "lower end of a band that holds the whole curve at once"),
        "high": Column("number", "upper end of that band"),
        "p": Column("number", "two-sided p of the largest |t| over depths under flips of whole pairs"),
        "pairs": Column("integer", "seeds"),
    },
    families={},
)


def reuse_shares(metrics: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """The reuse share of every source, whole and up to each depth that was run.

    The numerator is the gain over the source's statistics, the denominator that of the whole source
    over the reference. Only repeats that have all of these starts count.

    Args:
        metrics: a table of schema METRICS.
        study: reference init and confidence.

    Returns:
        A table of schema REUSE, for target metrics on the test part.
    """
    rows = []
    for place, wide in _cells(metrics):
        for source, init in _sourced(wide):
            statistics = str(parse_init(source).baseline)
            starts = [init, statistics, source, study.reference]
            if init == statistics or not set(starts) <= set(wide):
                continue
            values, ratio = _repeats(wide, starts)
            of, st, whole, reference = (values[name].to_numpy() for name in starts)
            found = fieller(of - st, whole - reference, study.confidence, ratio)
            rows.append(
                {
                    **place, "source": source, "init": init, "units": _units(init),
                    "share": found.estimate, "low": found.low, "high": found.high,
                    "bounded": found.bounded, "pairs": found.pairs,
                    "paired_by": "fold" if ratio else "seed",
                }
            )  # fmt: skip
    return table_of(rows, REUSE)


def depth_curves(metrics: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """The gain over the transferred depth, with a band and p that hold for the curve as a whole.

    Of runs over seeds only: folds share training data, and flips of their signs prove nothing.

    Args:
        metrics: a table of schema METRICS.
        study: reference init and confidence.

    Returns:
        A table of schema DEPTH_CURVES, for target metrics on the test part.
    """
    rows: list[dict[str, object]] = []
    for place, wide in _cells(metrics):
        for (source, reference), inits in _curves(wide, study).items():
            values, ratio = _repeats(wide, [reference, *inits])
            if ratio is not None or values.empty:
                continue
            differences = values[inits].to_numpy() - values[[reference]].to_numpy()
            found = max_t(differences, study.confidence)
            rows += [
                {
                    **place, "source": source, "init": init, "units": _units(init),
                    "reference": reference, "mean": found.mean[i], "low": found.low[i],
                    "high": found.high[i], "p": found.p[i], "pairs": int(found.pairs[i]),
                }
                for i, init in enumerate(inits)
            ]  # fmt: skip
    return table_of(rows, DEPTH_CURVES)


def _cells(metrics: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Each cell's target metric on the test part: one row a split and seed, one column an init."""
    chosen = metrics[metrics["target"] & (metrics["part"] == "test")]
    for key, cell in chosen.groupby(PLACE, sort=False):
        index = ["split", "seed"]
        wide = cell.pivot(index=index, columns="init", values="value")
        ratio = cell.groupby(index)["test_train_ratio"].first()
        yield dict(zip(PLACE, key, strict=True)), wide.assign(test_train_ratio=ratio)


def _repeats(wide: pd.DataFrame, inits: list[str]) -> tuple[pd.DataFrame, float | None]:
    """The repeats that have all of these inits, and the ratio of folds (None for seeds)."""
    chosen = wide[[*dict.fromkeys(inits), "test_train_ratio"]]
    values, ratio = independent_repeats(chosen.dropna(subset=inits))
    return values, ratio or None


def _sourced(wide: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """``(source, init)`` of the source itself and of its partial transfers onto its statistics."""
    known = {name: parse_init(str(name)) for name in wide.columns if name != "test_train_ratio"}
    for name, init in known.items():
        if init.source is None:
            continue
        whole = init.upto is None
        if whole or (init.partial and init.rest == "stats" and init.sampler == "normal"):
            yield init.source, str(name)


def _curves(wide: pd.DataFrame, study: StudySettings) -> dict[tuple[str, str], list[str]]:
    """``(source, reference)``: the partial transfers over the same rest, shallowest first."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in wide.columns.drop("test_train_ratio"):
        init = parse_init(str(name))
        if not init.partial or init.source is None:
            continue
        reference = init.baseline if init.baseline in wide else study.reference
        if reference in wide:
            found.setdefault((init.source, str(reference)), []).append((_depth(init), str(name)))
    return {key: [name for _, name in sorted(curve)] for key, curve in found.items()}


def _depth(init: Init) -> int:
    return init.upto or 0


def _units(init: str) -> float:
    upto = parse_init(init).upto
    return np.nan if upto is None else float(upto)
