"""Running the pipeline as users do: Snakemake in a process of its own, in a folder of its own."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from medtransfer.config.figures import ALL_FIGURES

PROJECT = Path(__file__).resolve().parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")

MINI = {
    "studies": {
        "mini": {
            "title": "A study of seconds",
            "grids": [
                {
                    "recipe": "tiny",
                    "datasets": ["chest"],
                    "models": ["cbr"],
                    "inits": ["random", "shapes-stats", "shapes"],
                    "seeds": [0, 1],
                }
            ],
        }
    },
    "datasets": {
        "chest": {
            "generator": {"name": "phantom_chest", "size": 40},
            "image": "file",
            "task": "binary",
            "labels": "finding",
            "classes": ["absent", "present"],
            "patient": "patient",
            "site": "site",
            "external_sites": ["B"],
            "image_size": 24,
            "channels": 1,
            "splits": {"validation": 0.25, "test": 0.25},
        },
        "formulae": {
            "generator": {"name": "fractal", "size": 3, "images": 20},
            "image": "file",
            "task": "multiclass",
            "labels": "formula",
            "metric": "accuracy",
            "image_size": 24,
        },
    },
    "models": {"cbr": {"architecture": "cbr", "arguments": {"channels": [4, 8], "kernel_size": 3}}},
    "recipes": {"tiny": {"steps": 4, "batch_size": 8, "validations": 2}},
    "sources": {"shapes": {"pretraining": {"dataset": "formulae", "recipe": "tiny"}}},
}
# a search of the learning rate of the mini study's runs; pre-training has a recipe without one
SEARCH = {"learning_rates": [0.001, 0.01], "steps": 2, "seed": 5}


def searched(settings: dict, **changes: object) -> dict:
    """The mini study with a search, of which some keys are changed."""
    settings = copy.deepcopy(settings)
    settings["recipes"]["tuned"] = {**settings["recipes"]["tiny"], "search": {**SEARCH, **changes}}
    settings["studies"]["mini"]["grids"][0]["recipe"] = "tuned"
    return settings


def analysed(settings: dict, **representation: object) -> dict:
    """The mini study with all figures, so that representations of its runs are analysed."""
    settings = copy.deepcopy(settings)
    settings["studies"]["mini"] |= {"figures": list(ALL_FIGURES), "representation": representation}
    return settings


@dataclass(frozen=True)
class Workspace:
    """A folder to run in, with a study file, and the project whose Snakefile is used."""

    folder: Path
    project: Path = PROJECT

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    def write_study(self, settings: dict) -> None:
        self.study.write_text(yaml.safe_dump(settings, sort_keys=False))

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake from a shell in which nothing is activated."""
        command = [str(SNAKEMAKE), "--snakefile", str(self.project / "Snakefile")]
        if self.study.exists() and "--configfile" not in arguments:
            command += ["--configfile", str(self.study)]
        # last, since options that take lists swallow what follows them
        command += ["--directory", str(self.folder), "--cores", "2", *arguments]
        environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        if check and result.returncode:
            pytest.fail(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")
        return result

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule that a dry run lists; quiet about each of them, and about their cost."""
        return job_counts(self.snakemake("--dry-run", "--quiet=rules", *arguments).stdout)


def job_counts(output: str) -> dict[str, int]:
    """The table of jobs in what Snakemake printed; empty when there is nothing to do."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    return {line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()}


def copy_project(target: Path) -> Path:
    """The project's tracked and new files, as a git repository of their own."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listing.splitlines():
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target / name)
    git(target, "init", "--quiet", "--initial-branch", "main")
    commit(target, "start")
    return target


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def mini_settings() -> dict:
    return yaml.safe_load(yaml.safe_dump(MINI))
