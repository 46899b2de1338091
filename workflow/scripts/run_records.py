"""Collect what each run of a study, and each that they rest on, was computed with and took."""

import argparse
import json
import math
from datetime import UTC, datetime
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.runs import study_runs
from medtransfer.config.study import StudySettings
from medtransfer.errors import DataError, shown_plainly
from medtransfer.evaluation.run_records import (
    RUN_RECORDS,
    RecordedRun,
    Search,
    record_row,
    record_table,
    recorded_runs,
)
from medtransfer.files import read_json
from medtransfer.planning.finished import FILES
from medtransfer.tables import write_table


def searches_argument(text: str) -> dict[str, Search]:
    return {n: Search(tuple(s["recipes"]), s["seed"]) for n, s in json.loads(text).items()}


def read_row(recorded: RecordedRun, root: Path) -> dict[str, object]:
    path = root / recorded.run.path / "run.json"
    try:
        record = read_json(path)
        day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path}: can't be read: {error}; allowed: the record of a run") from error
    return record_row(recorded, record, day, size_of(path.parent))


def size_of(folder: Path) -> float:
    try:
        return float(sum((folder / name).stat().st_size for name in FILES))
    except FileNotFoundError:
        return math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_settings(parser, "--study", StudySettings)
    add("--root", type=Path, required=True, help="folder of all runs")
    add("--pretrainings", type=json.loads, default={}, help="JSON: <source>/<network> to its run")
    add(
        "--searches", type=searches_argument, default={},
        help="JSON: recipe to recipes of its candidates and their seed",
    )  # fmt: skip
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    recorded = recorded_runs(study_runs(arguments.study), arguments.pretrainings, arguments.searches)
    rows = [read_row(one, arguments.root) for one in recorded]
    write_table(record_table(rows), RUN_RECORDS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
