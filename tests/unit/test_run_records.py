"""The table of run records: which runs are in it, and what older records lack."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from medtransfer.config.runs import Run
from medtransfer.errors import DataError
from medtransfer.evaluation.run_records import (
    RUN_RECORDS,
    RecordedRun,
    Search,
    device_of,
    record_row,
    record_table,
    recorded_runs,
    run_at,
    run_hours,
)
from medtransfer.planning.finished import FILES

SCRIPT = Path(__file__).resolve().parents[2] / "workflow/scripts/run_records.py"
RECORD = {
    "training_images": 484, "parameters": 271125, "steps": 250, "best_step": 200,
    "training_seconds": 3.5, "evaluation_seconds": 0.25, "hardware": "AMD EPYC, 2 cores",
    "threads": 1, "versions": {"python": "3.11.7", "torch": "2.15.0"},
}  # fmt: skip


def run(init: str = "random", seed: int = 0, **changes: object) -> Run:
    names = {"recipe": "r", "dataset": "d", "model": "m", "subset": "full", "split": "holdout"}
    return Run(**(names | {"init": init, "seed": seed} | changes))


PRETRAINING = run(recipe="p", dataset="fractal")


def row(**changes: object) -> dict[str, object]:
    record = {name: value for name, value in (RECORD | changes).items() if value != "absent"}
    return record_row(RecordedRun(run(), "study"), record, "2026-01-02", 10.0)


def test_a_path_leads_back_to_its_run():
    one = run("imagenet1k-upto3-stats", 12, split="cv5-3")
    assert run_at(one.path) == one


def test_pre_trainings_follow_the_runs_that_start_from_their_weights_and_stand_once():
    runs = [run(), run("src"), run("src-stats"), run("src", 1), run("src-upto2-random"), run("file")]
    found = recorded_runs(runs, {"src/m": PRETRAINING.path, "src/other": "p/f/x/y/z/w/seed3"}, {})
    roles = {one.run.path: (one.role, one.pretraining) for one in found}
    path = PRETRAINING.path
    assert [roles[one.path] for one in runs] == [
        ("study", start) for start in ("", path, path, path, path, "")
    ]
    assert roles[path] == ("pre-training", "")
    assert len(found) == len(runs) + 1


def test_a_pre_training_that_the_study_asks_for_is_one_of_its_runs():
    found = recorded_runs([PRETRAINING, run("src")], {"src/m": PRETRAINING.path}, {})
    assert [(one.run, one.role) for one in found] == [(PRETRAINING, "study"), (run("src"), "study")]


def test_candidates_of_a_cell_stand_once_also_those_of_a_pre_training():
    searches = {name: Search((f"{name}.lr1", f"{name}.lr2"), seed=7) for name in ("r", "p")}
    runs = [run("src", seed) for seed in (0, 1, 2)]
    found = recorded_runs(runs, {"src/m": PRETRAINING.path}, searches)
    assert [one.run.path for one in found if one.role == "candidate"] == [
        "r.lr1/d/m/src/full/holdout/seed7", "r.lr2/d/m/src/full/holdout/seed7",
        "p.lr1/fractal/m/random/full/holdout/seed7", "p.lr2/fractal/m/random/full/holdout/seed7",
    ]  # fmt: skip


def test_a_row_says_what_the_record_says():
    table = record_table([row()])
    RUN_RECORDS.check(table)
    (found,) = table.to_dict("records")
    expected = {
        **{name: RECORD[name] for name in ("training_images", "parameters", "steps", "best_step")},
        "seconds": 3.75, "device": "CPU", "threads": 1, "hardware": "AMD EPYC, 2 cores",
        "day": "2026-01-02", "bytes": 10, "version_python": "3.11.7", "version_torch": "2.15.0",
        "role": "study", "pretraining": "", "path": run().path, "seed": 0, "init": "random",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("name", [*RECORD])
def test_what_an_older_record_lacks_is_empty(name):
    table = record_table([row(**{name: "absent"}), row()])
    RUN_RECORDS.check(table)
    lacking = table.iloc[0]
    columns = {
        "training_seconds": ["seconds"], "evaluation_seconds": ["seconds"],
        "hardware": ["hardware", "device"], "versions": ["version_python", "version_torch"],
    }.get(name, [name])  # fmt: skip
    for column in columns:
        assert lacking[column] == "" or math.isnan(lacking[column])
    assert table.iloc[1].notna().all()


def test_a_diverged_candidate_has_no_best_step():
    assert math.isnan(row(best_step=None)["best_step"])


@pytest.mark.parametrize(
    ("hardware", "device"),
    [("AMD EPYC, 2 cores", "CPU"), ("NVIDIA H200", "GPU"), ("Tesla V100-SXM2-32GB", "GPU"), ("", "")],
)
def test_processors_are_told_from_gpus(hardware, device):
    assert device_of(hardware) == device


def test_hours_are_those_of_a_gpu_or_of_all_threads():
    seconds = {"training_seconds": 7199.75}
    table = record_table([
        row(threads=3, **seconds), row(threads=3, hardware="A GPU", **seconds),
        row(hardware="absent", **seconds), row(threads="absent", **seconds),
        row(threads="absent", hardware="A GPU", **seconds),
    ])  # fmt: skip
    assert run_hours(table).fillna(-1).to_list() == [6.0, 2.0, -1, -1, 2.0]


def test_a_study_without_runs_has_an_empty_table():
    RUN_RECORDS.check(record_table([]))


def script():
    specification = importlib.util.spec_from_file_location("run_records_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_script_reads_the_records_and_sums_the_files(tmp_path, monkeypatch):
    grid = {"recipe": "r", "datasets": ["d"], "models": ["m"], "inits": ["random", "src"], "seeds": [4]}
    for one in (run("random", 4), run("src", 4), PRETRAINING):
        folder = tmp_path / one.path
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).write_text(json.dumps(RECORD))
        os.utime(folder / "run.json", (1_700_000_000,) * 2)
    (tmp_path / run("src", 4).path / "model.safetensors").unlink()
    output = tmp_path / "records.parquet"
    arguments = [
        "--study", json.dumps({"title": "T", "grids": [grid]}), "--root", str(tmp_path),
        "--pretrainings", json.dumps({"src/m": PRETRAINING.path}), "--output", str(output),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["run_records.py", *arguments])
    script().main()
    table = pd.read_parquet(output)
    assert table["role"].to_list() == ["study", "study", "pre-training"]
    size = 4 * len(json.dumps(RECORD))
    assert table["bytes"].fillna(-1).to_list() == [size, -1, size]
    assert set(table["day"]) == {"2023-11-14"}
    (tmp_path / PRETRAINING.path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"fractal/m/random.*run\.json: damaged, no whole JSON file"):
        script().main()
