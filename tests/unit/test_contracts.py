"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((PROJECT / "src").rglob("*.py"))
SCRIPTS = sorted((PROJECT / "workflow" / "scripts").glob("*.py"))
RULES = sorted((PROJECT / "rules").glob("*.smk"))
REPRESENTATION = {
    f"medtransfer.representation.{path.stem}"
    for path in LIBRARY
    if path.parent.name == "representation" and path.stem != "__init__"
}
# what looks into a network or at its weights; the rest is for arrays, and for quick jobs
WITH_TORCH = {
    f"medtransfer.representation.{name}"
    for name in (
        "analysed", "batch_norm", "embedding", "extraction", "points", "probing", "reinitialisation",
        "weight_distance",
    )
}  # fmt: skip


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", [*LIBRARY, *SCRIPTS], ids=lambda path: path.name)
def test_neither_library_nor_scripts_import_snakemake(path):
    assert "snakemake" not in imported_packages(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_prints_its_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(path), run_name="__main__")
    assert ending.value.code == 0
    assert ast.get_docstring(ast.parse(path.read_text())) in " ".join(capsys.readouterr().out.split())


def test_a_script_runs_by_hand():
    command = [sys.executable, PROJECT / "workflow/scripts/compare.py", "--help"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_belongs_to_a_rule_or_is_run_by_hand(path):
    if path.stem in ("calibrate", "count_networks"):
        return
    assert any(f"/{path.name} " in rules.read_text() for rules in RULES)


def test_figures_read_no_files_and_save_none():
    for path in (PROJECT / "src/medtransfer/figures").glob("*.py"):
        if path.name != "style.py":
            assert "read_" not in path.read_text() and "savefig" not in path.read_text()


def test_rules_have_no_run_block_and_open_with_their_contract():
    for path in RULES:
        text = path.read_text()
        assert "    run:" not in text and "checkpoint " not in text
        assert text.startswith('"""') and "REQUIRED" in text and "PROVIDES" in text


def test_importing_what_the_rules_need_does_not_import_torch_or_pydicom():
    code = (
        "import sys; import medtransfer.config.load, medtransfer.config.runs, "
        "medtransfer.config.argument, medtransfer.code_fingerprint; "
        "print([n for n in ('torch', 'timm', 'pydicom', 'pandas', 'matplotlib') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_training_needs_no_pydicom_and_no_snakemake():
    code = (
        "import sys; sys.modules['pydicom'] = None; sys.modules['snakemake'] = None; "
        "import medtransfer.training.job, medtransfer.training.devices, medtransfer.models.weights"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_representations_need_no_pydantic_no_pydicom_and_no_snakemake():
    absent = "sys.modules |= dict.fromkeys(('pydantic', 'pydicom', 'snakemake'))"
    code = f"import sys; {absent}; import {', '.join(sorted(REPRESENTATION))}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pure_mathematics_of_representations_does_not_import_torch():
    names = sorted(REPRESENTATION - WITH_TORCH)
    assert REPRESENTATION > WITH_TORCH and "medtransfer.representation.cka" in names
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lock_names_exact_versions_and_no_index():
    lines = (PROJECT / "envs/lock.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert len(packages) > 50
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in packages)
