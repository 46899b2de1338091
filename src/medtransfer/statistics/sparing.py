"""What would do as well as the best: the smallest network, and the shallowest transfer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.comparison import paired_repeats
from medtransfer.statistics.equivalence import tost
from medtransfer.statistics.multiplicity import holm
from medtransfer.tables import Column, Schema, table_of

PLACE = ["recipe", "dataset", "subset", "metric"]
SPARING = Schema(
    name="sparing",
    row="a smaller network, or a shallower transfer, against the best one",
    columns={
        **{name: METRICS.columns[name] for name in PLACE},
        "question": Column(
            "text", "network: the smallest that will do; depth: the shallowest transfer"
        ),
        "model": Column("text", "the candidate"),
        "init": Column("text", "its start"),
        "size": Column("number", "its parameters, or units with the source's weights"),
        "best_model": Column("text", "the one with the highest mean of the target metric"),
        "best_init": Column("text", "its start"),
        "mean": Column("number", "mean paired difference, candidate minus best"),
        "low": Column("number", "lower end of the interval that decides (coverage 1 - 2 alpha)"),
        "high": Column("number", "upper end of that interval"),
        "margin": Column("number", "differences within plus and minus this are equivalent"),
        "p_equivalent": Column("number", "p of the two one-sided tests"),
        "p_adjusted": Column("number", "the same after Holm over the candidates of one question"),
        "equivalent": Column("truth", "whether the candidate does as well within the margin"),
        "chosen": Column("truth", "whether it is the smallest or shallowest of those that do"),
        "pairs": Column("integer", "seeds or folds that both have"),
    },
    families={},
)


@dataclass(frozen=True)
class _Cell:
    """The runs of one network and start: target metric and ratio, indexed by split and seed."""

    model: str
    init: str
    size: float
    runs: pd.DataFrame

    @property
    def mean(self) -> float:
        return float(self.runs["value"].mean())


def sparing(metrics: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """Every smaller network and every shallower transfer against the best one.

    The best is chosen by the same runs that it is compared on, so it is better by luck, too, and a
    candidate has to come up to that: the table errs on the side of the larger. A network is represented
    by its best whole start.

    Args:
        metrics: a table of schema METRICS.
        study: margins and confidence.

    Returns:
        A table of schema SPARING, for target metrics on the test part; no row where nothing is smaller.
    """
    chosen = metrics[metrics["target"] & (metrics["part"] == "test")]
    rows: list[dict[str, object]] = []
    for key, cell in chosen.groupby(PLACE, sort=False):
        place = dict(zip(PLACE, key, strict=True))
        rows += _compared(place | {"question": "network"}, _networks(cell), study)
        for _, network in cell.groupby("model", sort=False):
            for depths in _depths(network):
                rows += _compared(place | {"question": "depth"}, depths, study)
    return table_of(rows, SPARING)


def _networks(cell: pd.DataFrame) -> list[_Cell]:
    """Each network whose size is known, with the whole start of its highest mean."""
    whole = cell[~cell["init"].map(lambda init: parse_init(init).partial).astype(bool)]
    found = []
    for model, rows in whole[whole["parameters"].notna()].groupby("model", sort=False):
        starts = [
            _Cell(str(model), str(init), float(runs["parameters"].iloc[0]), _indexed(runs))
            for init, runs in rows.groupby("init", sort=False)
        ]
        found.append(_best(starts))
    return found


def _depths(network: pd.DataFrame) -> Iterator[list[_Cell]]:
    """For each source and rest: its partial transfers and the whole one."""
    groups: dict[tuple[str, str], list[_Cell]] = {}
    whole: dict[str, _Cell] = {}
    for name, runs in network.groupby("init", sort=False):
        init = parse_init(str(name))
        size = math.inf if init.upto is None else float(init.upto)
        cell = _Cell(str(runs["model"].iloc[0]), str(name), size, _indexed(runs))
        if init.source is not None and init.upto is None:
            whole[init.source] = cell
        elif init.source is not None and init.partial:
            groups.setdefault((init.source, init.rest + init.sampler), []).append(cell)
    for (source, _), cells in groups.items():
        yield [*cells, *([whole[source]] if source in whole else [])]


def _indexed(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.set_index(["split", "seed"])[["value", "test_train_ratio"]]


def _best(cells: Sequence[_Cell]) -> _Cell:
    """The highest mean; of equal ones the smallest."""
    return max(cells, key=lambda cell: (np.nan_to_num(cell.mean, nan=-np.inf), -cell.size))


def _compared(
    names: dict[str, object], cells: Sequence[_Cell], study: StudySettings
) -> list[dict[str, object]]:
    """The candidates smaller than the best, largest first."""
    if len(cells) < 2:
        return []
    best = _best(cells)
    margin = study.statistics.margin(str(names["metric"]))
    candidates = sorted((c for c in cells if c.size < best.size), key=lambda c: -c.size)
    rows = [
        {
            **names, "model": cell.model, "init": cell.init, "size": cell.size,
            "best_model": best.model, "best_init": best.init, "margin": margin,
            **_equivalence(cell, best, margin, study.confidence),
        }
        for cell in candidates
    ]  # fmt: skip
    return list(_chosen(rows, 1 - study.confidence))


def _equivalence(cell: _Cell, best: _Cell, margin: float, confidence: float) -> dict[str, object]:
    units, ratio = paired_repeats(cell.runs, best.runs)
    found = tost(units["value"].to_numpy(), margin, ratio or None, confidence=confidence)
    return {
        "mean": found.mean, "low": found.low, "high": found.high,
        "p_equivalent": found.p, "pairs": found.pairs,
    }  # fmt: skip


def _chosen(rows: list[dict[str, object]], level: float) -> Iterable[dict[str, object]]:
    adjusted = holm([float(row["p_equivalent"]) for row in rows])  # type: ignore[arg-type]
    equivalent = [bool(p < level) for p in adjusted]
    last = max((i for i, does in enumerate(equivalent) if does), default=None)
    for i, row in enumerate(rows):
        yield {
            **row, "p_adjusted": float(adjusted[i]), "equivalent": equivalent[i], "chosen": i == last
        }  # fmt: skip
