"""What a start costs and what it brings: hours of computing beside the paired gain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.results import METRICS, PLACE
from medtransfer.evaluation.run_records import STUDY, run_hours
from medtransfer.statistics.comparison import GAINS
from medtransfer.tables import Column, Schema, table_of

FINE_TUNING, WITH_PRETRAINING = "fine-tuning", "with pre-training"
UNITS = {"GPU": "GPU-hours", "CPU": "core-hours"}
COSTS = Schema(
    name="costs",
    row="one init of one cell, counted without or with its share of the pre-training",
    columns={
        **{name: METRICS.columns[name] for name in PLACE},
        "metric": Column("text", "the data set's target metric"),
        "init": METRICS.columns["init"],
        "reference": Column("text", "the init that is subtracted"),
        "counted": Column(
            "text",
            "fine-tuning: a run alone; with pre-training: and the pre-training of its weights, divided "
            "by the runs of the study that start from them, where it was done here",
        ),
        "unit": Column("text", "GPU-hours or core-hours (CPU threads); empty where runs had both"),
        "hours": Column("number", "of a run, on average; empty where not known"),
        "reference_hours": Column("number", "of a run from the reference, on average"),
        "pretraining_hours": Column("number", "of the whole pre-training; 0 for fine-tuning alone"),
        "sharing": Column("integer", "runs of the study that start from those weights"),
        "gain": Column("number", "mean paired difference on the test part"),
        "low": GAINS.columns["low"],
        "high": GAINS.columns["high"],
        "pairs": GAINS.columns["pairs"],
        "paired_by": GAINS.columns["paired_by"],
    },
    families={},
)


@dataclass(frozen=True)
class _Cost:
    """Mean hours of some runs, and the kinds of devices that they had."""

    hours: float
    devices: frozenset[str]


def cost_table(records: pd.DataFrame, gains: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """Hours beside gains over the study's reference, in the target metric of the test part.

    The share of a pre-training is its hours divided by the study's runs that start from its weights:
    in a larger study, or when the weights are used again, it is smaller.

    Args:
        records: a table of schema RUN_RECORDS.
        gains: a table of schema GAINS.
        study: the reference.

    Returns:
        A table of schema COSTS.
    """
    records = records.assign(hours=run_hours(records))
    studied = records[records["role"] == STUDY]
    cells = dict(iter(studied.groupby([*PLACE, "init"], sort=False)))
    chosen = gains[gains["target"] & (gains["part"] == "test")]
    chosen = chosen[chosen["reference"] == study.reference]
    rows = []
    for _, gain in chosen.iterrows():
        place = tuple(gain[name] for name in PLACE)
        own, reference = (cells.get((*place, gain[name])) for name in ("init", "reference"))
        if own is not None and reference is not None:
            about = {**{name: gain[name] for name in _OF_GAIN}, "gain": gain["mean"]}
            rows += [{**about, **row} for row in _counted(own, reference, records)]
    return table_of(rows, COSTS)


_OF_GAIN = [*PLACE, "metric", "init", "reference", "low", "high", "pairs", "paired_by"]


def _counted(
    own: pd.DataFrame, reference: pd.DataFrame, records: pd.DataFrame
) -> Iterator[dict[str, object]]:
    """The rows of one init in one cell: alone, and with the pre-training where there is one here."""
    run, beside = _cost(own), _cost(reference)
    path = own["pretraining"].iloc[0]
    sharing = int(((records["pretraining"] == path) & (records["role"] == STUDY)).sum()) if path else 0
    yield _row(FINE_TUNING, run, beside, _Cost(0.0, frozenset())) | {"sharing": sharing}
    if path:
        pretraining = _cost(records[records["path"] == path])
        whole = _Cost(run.hours + pretraining.hours / sharing, run.devices | pretraining.devices)
        yield _row(WITH_PRETRAINING, whole, beside, pretraining) | {"sharing": sharing}


def _cost(runs: pd.DataFrame) -> _Cost:
    """Of runs whose hours are all known."""
    return _Cost(runs["hours"].mean(skipna=False), frozenset(runs["device"]))


def _row(counted: str, cost: _Cost, reference: _Cost, pretraining: _Cost) -> dict[str, object]:
    devices = cost.devices | reference.devices
    # hours of different devices can't be added or set beside each other
    comparable = len(devices) == 1 and devices <= set(UNITS)
    known = {
        "hours": cost.hours,
        "reference_hours": reference.hours,
        "pretraining_hours": pretraining.hours,
    }
    return {
        "counted": counted,
        "unit": UNITS[next(iter(devices))] if comparable else "",
        **{name: hours if comparable else np.nan for name, hours in known.items()},
    }
