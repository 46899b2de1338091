"""The environments of jobs: what they import is in them, in the versions of the lock."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
# modules that aren't named after what is installed
PACKAGES = {"PIL": "pillow", "yaml": "pyyaml"}


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def lock() -> set[str]:
    lines = (PROJECT / "envs/lock.txt").read_text().splitlines()
    return {line for line in lines if not line.startswith("#")}


def conda_pins() -> list[str]:
    *_, pip = yaml.safe_load((PROJECT / "envs/medtransfer.yaml").read_text())["dependencies"]
    return pip["pip"]


def imported_by_jobs() -> set[str]:
    """Modules, neither ours nor Python's, that scripts and the library import anywhere."""
    names: set[str] = set()
    for path in [*(PROJECT / "workflow/scripts").glob("*.py"), *(PROJECT / "src").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"medtransfer"}


def test_conda_s_versions_are_those_of_the_lock():
    pins = conda_pins()
    assert len(pins) == len(set(pins)) > 20
    assert set(pins) <= lock()


def test_all_pins_of_a_package_are_taken_over_not_those_for_some_machines_only():
    names = {name_of(pin) for pin in conda_pins()}
    assert {pin for pin in lock() if name_of(pin) in names} == set(conda_pins())


def test_conda_s_environment_has_every_import_of_every_job():
    needed = imported_by_jobs()
    assert {"torch", "PIL", "pydicom", "statsmodels", "matplotlib"} <= needed
    missing = {PACKAGES.get(module, module) for module in needed} - set(map(name_of, conda_pins()))
    assert not missing


def test_conda_s_environment_has_what_pydicom_finds_by_itself_and_no_tools():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = set(map(name_of, conda_pins()))
    assert set(map(name_of, extras["dicom"])) <= names
    assert not {"snakemake", "pytest", "mypy", "ruff"} & names


def test_every_rule_with_a_command_has_an_environment():
    for path in (PROJECT / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            if "\n    shell:" in rule:
                assert '\n    conda:\n        "../envs/medtransfer.yaml"' in rule, rule.partition("\n")[
                    0
                ]


def test_the_image_is_made_of_the_lock_on_a_python_that_it_is_for():
    recipe = (PROJECT / "Containerfile").read_text()
    [(minor,)] = [
        m.groups() for m in re.finditer(r"^ARG BASE=\S+/python:3\.(\d+)-slim-\w+$", recipe, re.M)
    ]
    assert 11 <= int(minor) <= 13
    [(source, target)] = re.findall(r"^COPY (\S+) (\S+)$", recipe, re.M)
    assert source == "envs/lock.txt" and f"--requirement {target}" in recipe
    # nothing else is sent to the builder: neither results nor the key of the patients
    assert (PROJECT / ".containerignore").read_text().split() == ["*", f"!{source}"]
