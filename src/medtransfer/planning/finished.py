"""What finished runs took and weigh, read from the files that they left."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("model.safetensors", "predictions.parquet", "history.parquet", "run.json")


@dataclass(frozen=True)
class Finished:
    """One finished run.

    Attributes:
        record: its ``run.json``.
        job_seconds: of the whole job, as Snakemake measured it; None where it didn't.
        sizes: bytes of its files by name.
    """

    record: Mapping[str, Any]
    job_seconds: float | None
    sizes: Mapping[str, int]

    @property
    def computing_seconds(self) -> float | None:
        """Seconds of training and evaluation; None for a candidate that diverged."""
        parts = [self.record.get(f"{name}_seconds") for name in ("training", "evaluation")]
        return None if None in parts else float(sum(parts))  # type: ignore[arg-type]

    @property
    def start_seconds(self) -> float | None:
        """Seconds of the job beside training and evaluation; None if unknown."""
        whole, computing = self.whole_job_seconds, self.computing_seconds
        return None if whole is None or computing is None else whole - computing

    @property
    def whole_job_seconds(self) -> float | None:
        """Seconds of the job if it was measured from the first step on; else None.

        Of a job that went on from a saved state Snakemake saw the last part alone.
        """
        measured = self.job_seconds
        partly = measured is None or measured < (self.computing_seconds or 0.0)
        return None if partly or self.record.get("resumed") else measured

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())


def read_finished(root: Path, benchmarks: Path) -> dict[str, Finished]:
    """All finished runs by their path.

    Args:
        root: the folder of all runs, ``<root>/<recipe>/.../seed<k>/run.json``.
        benchmarks: the folder of Snakemake's measurements, ``<benchmarks>/<recipe>/.../seed<k>.tsv``.
    """
    found = {}
    for record in root.glob("*/*/*/*/*/*/seed*/run.json"):
        path = record.parent.relative_to(root).as_posix()
        run = _finished(record.parent, benchmarks / f"{path}.tsv")
        if run is not None:
            found[path] = run
    return found


def _finished(folder: Path, benchmark: Path) -> Finished | None:
    """A run whose files are all there and whose record can be read."""
    try:
        sizes = {name: (folder / name).stat().st_size for name in FILES}
        record = json.loads((folder / "run.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Finished(record, _job_seconds(benchmark), sizes)


def _job_seconds(benchmark: Path) -> float | None:
    """The mean over the repeats in a file of Snakemake's, if there is one."""
    try:
        with benchmark.open(newline="") as file:
            seconds = list(_numbers(csv.DictReader(file, delimiter="\t")))
    except FileNotFoundError:
        return None
    return sum(seconds) / len(seconds) if seconds else None


def _numbers(rows: csv.DictReader[str]) -> Iterator[float]:
    for row in rows:
        try:
            yield float(row["s"])
        except (KeyError, TypeError, ValueError):  # not measured: "-", "NA", or an empty file
            continue
