"""What each run of a study was computed with and took, and the runs that it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.runs import Run
from medtransfer.evaluation.results import RUN_COLUMNS, RUNS
from medtransfer.tables import Column, Schema, table_of

STUDY, PRETRAINING, CANDIDATE = "study", "pre-training", "candidate"
VERSION = "version_"
RUN_RECORDS = Schema(
    name="run_records",
    row="one run of a study, or one that those runs rest on",
    columns={
        **RUN_COLUMNS,
        "path": RUNS.columns["path"],
        "role": Column(
            "text",
            "study: a run that the study asks for; pre-training: it trains weights that others start "
            "from; candidate: a learning rate that was tried",
        ),
        "pretraining": Column(
            "text", "path of the run that trained the weights at its start; empty if none was made here"
        ),
        "training_images": Column("number", "images it was trained on; empty, as below: not known"),
        "parameters": Column("number", "weights and biases of the network"),
        "steps": Column("number", "optimiser steps that were done"),
        "best_step": Column("number", "optimiser steps at the best value on validation, which is kept"),
        "seconds": Column("number", "of training and scoring; start and end of the job are not in it"),
        "device": Column("text", "GPU or CPU"),
        "threads": Column("number", "CPU threads"),
        "hardware": Column("text", "name of the GPU, else of the processor"),
        "day": Column("text", "on which the record was written, by its file, in UTC"),
        "bytes": Column("number", "of weights, predictions, curve and record"),
    },
    families={VERSION: Column("text", "version of Python or of a package")},
)


@dataclass(frozen=True)
class RecordedRun:
    """A run whose record is read.

    Attributes:
        run: which.
        role: as in RUN_RECORDS.
        pretraining: path of the run that trained its weights; empty if none did.
    """

    run: Run
    role: str
    pretraining: str = ""


@dataclass(frozen=True)
class Search:
    """How a recipe's learning rate was searched for: the candidates' recipes, and their seed."""

    recipes: tuple[str, ...]
    seed: int


def recorded_runs(
    runs: Iterable[Run], pretrainings: Mapping[str, str], searches: Mapping[str, Search]
) -> list[RecordedRun]:
    """The runs of a study, their pre-trainings, and the candidates of all these, each once.

    Args:
        runs: of the study.
        pretrainings: ``<source>/<network>`` to the path of the run that trains these weights; those
            that are read from files are not in it.
        searches: of each recipe that has one.
    """
    found = {}
    for run in runs:
        source = parse_init(run.init).source
        path = pretrainings.get(f"{source}/{run.model}", "")
        found[run.path] = RecordedRun(run, STUDY, path)
    for path in dict.fromkeys(one.pretraining for one in list(found.values()) if one.pretraining):
        found.setdefault(path, RecordedRun(run_at(path), PRETRAINING))
    for one in list(found.values()):
        for candidate in _candidates(one.run, searches):
            found.setdefault(
                candidate.path, RecordedRun(candidate, CANDIDATE, pretraining=one.pretraining)
            )
    return list(found.values())


def _candidates(run: Run, searches: Mapping[str, Search]) -> Iterator[Run]:
    if run.recipe in searches:
        search = searches[run.recipe]
        for recipe in search.recipes:
            yield replace(run, recipe=recipe, seed=search.seed)


def run_at(path: str) -> Run:
    """The run that has this path."""
    recipe, dataset, model, init, subset, split, seed = path.split("/")
    return Run(recipe, dataset, model, init, subset, split, int(seed.removeprefix("seed")))


def record_row(
    recorded: RecordedRun, record: Mapping[str, Any], day: str, size: float
) -> dict[str, object]:
    """One row of RUN_RECORDS; what an older record hasn't is empty.

    Args:
        recorded: which run.
        record: its ``run.json``.
        day: on which it was written.
        size: bytes of its files; NaN where not known.
    """
    hardware = str(record.get("hardware") or "")
    numbers = ("training_images", "parameters", "steps", "best_step", "threads")
    return {
        **asdict(recorded.run),
        "path": recorded.run.path,
        "role": recorded.role,
        "pretraining": recorded.pretraining,
        **{name: _number(record.get(name)) for name in numbers},
        "seconds": _number(record.get("training_seconds")) + _number(record.get("evaluation_seconds")),
        "device": device_of(hardware),
        "hardware": hardware,
        "day": day,
        "bytes": size,
        **{f"{VERSION}{name}": str(text) for name, text in record.get("versions", {}).items()},
    }


def device_of(hardware: str) -> str:
    """GPU or CPU; records name processors with the number of their cores."""
    if not hardware:
        return ""
    return "CPU" if re.search(r", \d+ cores$", hardware) else "GPU"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def record_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A table of schema RUN_RECORDS, of rows of :func:`record_row`."""
    rows = list(rows)
    versions = dict.fromkeys(name for row in rows for name in row if name.startswith(VERSION))
    facts = table_of(({name: row[name] for name in RUN_RECORDS.columns} for row in rows), RUN_RECORDS)
    return pd.concat([facts, pd.DataFrame(rows, columns=list(versions)).fillna("")], axis=1)


def run_hours(records: pd.DataFrame) -> pd.Series:
    """Hours of computing of each run: of a GPU, or of a CPU's cores; empty where not known.

    A run has its GPU for itself in this count, also where several shared one.

    Args:
        records: a table of schema RUN_RECORDS.
    """
    cores = records["threads"].where(records["device"] == "CPU", 1.0)
    return (records["seconds"] / 3600 * cores).where(records["device"] != "")
