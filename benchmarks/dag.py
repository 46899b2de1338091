"""What planning thousands of jobs takes, and drawing figures beside thousands of finished runs.

    python benchmarks/dag.py --rounds 1 --output dag.json    nine minutes on an idle core
    python benchmarks/dag.py --seeds 0 --skip-finished       a look

The jobs are those of the four full studies together; `--seeds` adds so many further seeds to each of
their grids. Everything is beside a plain workflow of as many jobs, whose rules name files without any
function, and beside an empty one. Seconds are of the clock and, less dependent on what else a machine
does, of the processor, with all child processes.

Finished runs are empty files with Snakemake's records of them. Beside them a study of a table of
results is drawn in earnest, by Snakemake and by the same commands in a shell.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medtransfer.provenance import processor, software_versions

PROJECT = Path(__file__).resolve().parents[1]
STUDIES = ("feature_reuse", "transfusion", "bit_scale", "revisiting")
DEFAULT_SEEDS = [0, 1, 2]
MOST_SECONDS = 3600

EMPTY = 'rule all:\n    output: "x"\n    shell: "touch {output}"\n'
# three files in and four out of each run, three of which are read by one of the tables
PLAIN = """
rule all:
    input: expand("tables/{{part}}", part=range(4))
rule data:
    output: "images", "samples", "split"
    shell: "touch {{output}}"
rule run:
    input: "images", "samples", "split"
    output: expand("runs/{{{{part}}}}-{{{{number}}}}/{{file}}", file=["weights", "a", "b", "c"])
    shell: "touch {{output}}"
rule table:
    input: expand("runs/{{{{part}}}}-{{number}}/{{file}}", number=range({runs}), file=["a", "b", "c"])
    output: "tables/{{part}}"
    shell: "touch {{output}}"
"""
PLAIN_OTHERS, PLAIN_PARTS = 6, 4

# a study of results from elsewhere, whose figures need no run
ELSEWHERE = {
    "title": "Results from a table",
    "results": {"table": "elsewhere.csv"},
    "figures": ["main_table", "metrics", "gains", "verdict", "wtst_gains"],
}


@dataclass(frozen=True)
class Timing:
    """What a command took, and what it printed."""

    seconds: float
    processor_seconds: float
    output: str

    @property
    def numbers(self) -> dict[str, float]:
        return {"seconds": self.seconds, "processor_seconds": self.processor_seconds}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 4, 8], help="further seeds of each grid")
    add("--rounds", type=int, default=3, help="the quickest of so many counts")
    add("--skip-finished", action="store_true", help="leave out what needs thousands of finished runs")
    add("--output", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    facts: dict[str, Any] = {"processor": processor(), "versions": software_versions()}
    with tempfile.TemporaryDirectory() as folder:
        facts["parse"] = parsing(Path(folder), arguments.seeds, arguments.rounds)
        facts["dry_run"] = dry_runs(Path(folder), arguments.seeds, arguments.rounds)
        show(facts, "parse", "dry_run")
        if not arguments.skip_finished:
            facts["finished"] = beside_finished_runs(Path(folder) / "finished", arguments.rounds)
            show(facts, "finished")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(facts, indent=1) + "\n")


def union_of_studies(more_seeds: int) -> dict[str, Any]:
    """The configuration of the full studies together, each grid with so many further seeds."""
    merged: dict[str, Any] = {}
    for name in STUDIES:
        study = yaml.safe_load((PROJECT / f"config/studies/{name}.yaml").read_text())
        for key, parts in study.items():
            merged.setdefault(key, {}).update(parts)
    grids = [grid for study in merged["studies"].values() for grid in study.get("grids", ())]
    for grid in grids:
        seeds = list(grid.get("seeds", DEFAULT_SEEDS))
        grid["seeds"] = [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + more_seeds)]
    return merged


def ours(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Snakemake's arguments for this project in a folder, with a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return ["--snakefile", str(PROJECT / "Snakefile"), "--configfile", str(file)]


def plain(folder: Path, text: str) -> list[str]:
    """Snakemake's arguments for another workflow in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(text)
    return []


def snakemake(folder: Path, *arguments: str, rounds: int = 1) -> Timing:
    """The quickest of some runs of Snakemake."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return min((timed(command, folder) for _ in range(rounds)), key=lambda t: t.processor_seconds)


def timed(command: Sequence[str], folder: Path) -> Timing:
    """Run a command, with all its children; CalledProcessError if it fails."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
    )
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
        done.check_returncode()
    used = after.children_user + after.children_system
    return Timing(
        seconds, used - before.children_user - before.children_system, done.stdout + done.stderr
    )


def job_count(output: str) -> int:
    """The number of jobs that a dry run lists."""
    found = re.search(r"^total +(\d+)$", output, re.MULTILINE)
    return int(found[1]) if found else 0


def parsing(folder: Path, seeds: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Reading all rules, which every job on a cluster does once more."""
    plain(folder / "empty", EMPTY)
    start = snakemake(folder / "empty", "--list-rules", rounds=rounds)
    rows: list[dict[str, Any]] = [{"workflow": "empty", **start.numbers}]
    for more in seeds:
        place = folder / f"studies-{more}"
        settings = ours(place, union_of_studies(more))
        timing = snakemake(place, "--list-rules", *settings, rounds=rounds)
        beside = timing.processor_seconds - start.processor_seconds
        rows.append({"workflow": f"studies +{more} seeds", **timing.numbers, "over_empty": beside})
    return rows


def dry_runs(folder: Path, seeds: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Planning all jobs of a new folder, said in full with what they cost."""
    rows: list[dict[str, Any]] = []
    for more in seeds:
        place = folder / f"studies-{more}"
        settings = ours(place, union_of_studies(more))
        timing = snakemake(place, "all", "--dry-run", *settings, rounds=rounds)
        jobs = job_count(timing.output)
        other = folder / f"plain-{more}"
        runs = (jobs - PLAIN_OTHERS) // PLAIN_PARTS
        plain(other, PLAIN.format(runs=runs))
        reference = snakemake(other, "all", "--dry-run", rounds=rounds)
        rows.append(
            {
                "jobs": jobs,
                **timing.numbers,
                "ms_a_job": 1000 * timing.processor_seconds / jobs,
                "plain_jobs": job_count(reference.output),
                "plain_seconds": reference.seconds,
                "plain_processor_seconds": reference.processor_seconds,
                "ratio": timing.processor_seconds / reference.processor_seconds,
            }
        )
    return rows


def beside_finished_runs(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A dry run of finished studies, and figures drawn beside them."""
    config = union_of_studies(0)
    settings = ours(folder, config)
    finish(folder, settings)
    nothing = snakemake(folder, "all", "--dry-run", *settings, rounds=rounds)
    rows = [{"what": "dry run of finished studies", **nothing.numbers}]
    config["studies"]["elsewhere"] = ELSEWHERE
    (folder / "elsewhere.csv").write_text(results_elsewhere())
    settings = ours(folder, config)
    snakemake(folder, "figures", "--cores", "1", *settings)
    commands = drawing_commands(folder, settings)
    by_hand = timed(["bash", "-ec", "\n".join(commands)], folder)
    remove_figures(folder)
    drawn = snakemake(folder, "figures", "--cores", "1", *settings)
    rows.append({"what": f"{len(commands)} figures in a shell", **by_hand.numbers})
    rows.append({"what": f"{len(commands)} figures by Snakemake", **drawn.numbers})
    return rows


def finish(folder: Path, settings: Sequence[str]) -> None:
    """Empty files in place of all that the jobs make, with Snakemake's records of them."""
    listing = snakemake(folder, "all", "--summary", *settings).output
    for path in output_files(listing):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    # many at once: Snakemake waits a moment after each batch of jobs
    many = ("--cores", "1000", "--resources", "gpu=1000", "mem_mb=100000000")
    snakemake(folder, "all", "--touch", "--forceall", "--quiet", "all", *settings, *many)
    for path in filter(Path.exists, (folder / path for path in output_files(listing))):
        os.utime(path, (0, 0))  # temporary files are gone


def output_files(listing: str) -> list[str]:
    """The files of a table that `--summary` prints."""
    _, _, table = listing.partition("output_file\t")
    rows = (line.split("\t") for line in table.splitlines()[1:])
    return [row[0] for row in rows if len(row) > 1]


def results_elsewhere() -> str:
    """A table of results: four data sets, three networks, two starts, five seeds."""
    lines = ["dataset,model,init,metric,seed,value"]
    for dataset in range(4):
        for model in range(3):
            for init, gain in (("random", 0.0), ("imagenet", 0.03)):
                for seed in range(5):
                    value = 0.7 + 0.03 * dataset + 0.02 * model + gain + 0.004 * (seed * 7 % 5)
                    lines.append(f"data{dataset},network{model},{init},auroc,{seed},{value:.4f}")
    return "\n".join(lines) + "\n"


def drawing_commands(folder: Path, settings: Sequence[str]) -> list[str]:
    """The commands of the figures, as a dry run without them prints them."""
    remove_figures(folder)
    plan = snakemake(folder, "figures", "--dry-run", "--printshellcmds", *settings).output
    found = re.findall(r"python (\S+/figure\.py .*)$", plan, re.MULTILINE)
    (folder / "logs/figures/elsewhere").mkdir(parents=True, exist_ok=True)
    python = f"PYTHONPATH={shlex.quote(str(PROJECT / 'src'))} {shlex.quote(sys.executable)} "
    return [python + command for command in dict.fromkeys(found)]


def remove_figures(folder: Path) -> None:
    for path in (folder / "results/figures/elsewhere").iterdir():
        path.unlink()


def show(facts: Mapping[str, Any], *names: str) -> None:
    for name in names:
        print(f"\n{name}", as_table(facts[name]), sep="\n", flush=True)


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[shown(row.get(name, "")) for name in names] for row in rows]
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
