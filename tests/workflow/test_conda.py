"""`--software-deployment-method conda` with a stand-in for conda: no channel is needed.

The stand-in makes an environment by linking to this interpreter, with its libraries and without this
package, and notes what the environment's `python` is called with. How Snakemake calls conda is real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT, SNAKEMAKE, job_counts

CHECKED = "results/data/chest/manifest.json"
WITH_CONDA = ("--software-deployment-method", "conda")
CONDA = f"""#!{sys.executable}
import json, pathlib, sys, venv

root = pathlib.Path(__file__).parents[1]
with (root / "calls.txt").open("a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
match sys.argv[1:]:
    case ["--version"]:
        print("conda 24.11.3")
    case ["info", "--json"]:
        print(json.dumps({{"conda_prefix": str(root), "platform": "linux-64"}}))
    case ["config", "--get", "channel_priority", "--json"]:
        print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
    case ["env", "create", "--quiet", "--no-default-packages", "--file", _, "--prefix", prefix]:
        venv.create(prefix, symlinks=True)
        [packages] = pathlib.Path(prefix).glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text("{sysconfig.get_path("purelib")}")
        note = f"import sys; print(sys.orig_argv[1], file=open({{str(root / 'started.txt')!r}}, 'a'))"
        (packages / "sitecustomize.py").write_text(note)
    case ["clean", "-y", "--tarballs"]:
        pass
    case _:
        sys.exit(f"unknown: {{sys.argv}}")
"""
# As conda does it: first on PATH, unless an environment is active; then in the place of that one.
ACTIVATE = """
if [ "${CONDA_SHLVL:-0}" = 0 ]; then
    PATH="$1/bin:$PATH"
else
    PATH="${PATH/"$CONDA_PREFIX/bin"/"$1/bin"}"
fi
"""


@dataclass(frozen=True)
class Cluster:
    """A working folder on a machine where conda's base environment is active."""

    folder: Path
    conda: Path

    def snakemake(self, *arguments: str) -> str:
        hidden = ("VIRTUAL_ENV", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {
            "PATH": f"{self.conda}/bin:/usr/local/bin:/usr/bin:/bin",
            "CONDA_PREFIX": str(self.conda),
            "CONDA_SHLVL": "1",
        }
        command = [SNAKEMAKE, *arguments, "--snakefile", PROJECT / "Snakefile", "--cores", "2"]
        result = subprocess.run(
            [*command, "--configfile", "study.yaml"], cwd=self.folder, env=environment,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.conda / "calls.txt").read_text().splitlines()]

    def started(self) -> list[str]:
        """The scripts that ran in an environment, without their child processes."""
        lines = (self.conda / "started.txt").read_text().splitlines()
        return [Path(line).name for line in lines if line.endswith(".py")]


def make_cluster(folder: Path, settings: dict) -> Cluster:
    (folder / "conda/bin").mkdir(parents=True)
    (folder / "conda/bin/conda").write_text(CONDA)
    (folder / "conda/bin/conda").chmod(0o755)
    (folder / "conda/bin/activate").write_text(ACTIVATE)
    (folder / "work").mkdir()
    (folder / "work/study.yaml").write_text(yaml.safe_dump(settings))
    return Cluster(folder / "work", folder / "conda")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, mini_settings) -> Cluster:
    """One on which images were drawn without conda and their table was checked with it."""
    cluster = make_cluster(tmp_path_factory.mktemp("conda"), mini_settings)
    cluster.snakemake("resources/datasets/chest/manifest.csv")
    assert not (cluster.conda / "calls.txt").exists()
    cluster.snakemake(CHECKED, *WITH_CONDA)
    return cluster


def test_the_environment_is_made_from_the_file_of_the_project(cluster):
    [create] = [call for call in cluster.calls() if call[:2] == ["env", "create"]]
    given = Path(create[create.index("--file") + 1])
    assert given.read_bytes() == (PROJECT / "envs/medtransfer.yaml").read_bytes()


def test_jobs_run_in_the_environment_and_those_done_without_are_not_repeated(cluster):
    assert cluster.started() == ["check_manifest.py"]


def test_back_from_conda_nothing_is_repeated(cluster):
    assert job_counts(cluster.snakemake(CHECKED, "--dry-run", "--quiet=rules")) == {}


@pytest.mark.slow
def test_a_whole_study_runs_in_the_environment(tmp_path, mini_settings):
    cluster = make_cluster(tmp_path, mini_settings)
    counts = job_counts(cluster.snakemake("--dry-run", "--quiet=rules"))
    cluster.snakemake(*WITH_CONDA)
    assert len(cluster.started()) == sum(counts.values()) - counts["all"]
    assert cluster.started().count("train.py") == counts["train"] == 7
    assert (cluster.folder / "results/mini/report.html").exists()
    every_trigger = ("--rerun-triggers", "code", "input", "mtime", "params", "software-env")
    assert job_counts(cluster.snakemake("--dry-run", "--quiet=rules")) == {}
    assert job_counts(cluster.snakemake("--dry-run", "--quiet=rules", *every_trigger))["train"] == 7
