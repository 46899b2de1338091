"""A candidate of a search may diverge: that is an answer, and must not stop the study."""

from __future__ import annotations

from dataclasses import asdict

from medtransfer.config.typed import plain
from medtransfer.errors import TrainingError
from medtransfer.models.weights import StateDict
from medtransfer.tables import table_of
from medtransfer.training.job import HISTORY, PREDICTIONS, RunResult, Store, train_run
from medtransfer.training.oversight import Oversight
from medtransfer.training.specification import Specification


def train_candidate(
    specification: Specification,
    store: Store,
    subset: str,
    source: StateDict,
    device: str,
    oversight: Oversight | None = None,
) -> RunResult:
    """As :func:`train_run`; a run whose loss is no longer finite leaves a record that says so."""
    try:
        return train_run(specification, store, subset, source, device, oversight)
    except TrainingError as error:
        facts = {**plain(asdict(specification)), "diverged": str(error)}
        return RunResult({}, table_of([], PREDICTIONS), table_of([], HISTORY), facts)
