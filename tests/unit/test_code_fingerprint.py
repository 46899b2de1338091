"""Fingerprints of code: blind to how it is written, sensitive to what it does."""

from __future__ import annotations

import ast
import itertools
import os
import re
from pathlib import Path

import pytest

from medtransfer.code_fingerprint import code_fingerprint

SCRIPT = """
\"\"\"A script.\"\"\"
import json
from medtransfer.training.run import train

def main() -> None:
    train(json.loads("{}"))
"""
FILES = {
    "medtransfer/__init__.py": "",
    "medtransfer/training/__init__.py": "",
    "medtransfer/training/run.py": '''
"""Training."""
from medtransfer.training import step


class Trainer:
    """A trainer."""

    rate = 0.1


def train(settings):
    """Train."""
    return step.update(settings, Trainer.rate)
''',
    "medtransfer/training/step.py": """
import medtransfer.constants


def update(settings, rate):
    return medtransfer.constants.SCALE * rate
""",
    "medtransfer/constants.py": "SCALE = 2.0\n",
    "medtransfer/unrelated.py": "COLOUR = 'blue'\n",
    "medtransfer/figures/__init__.py": "",
    "medtransfer/figures/gains.py": "from medtransfer.figures.style import WIDTH\n",
    "medtransfer/figures/style.py": "WIDTH = 3\n",
}
RUN, STEP = "medtransfer/training/run.py", "medtransfer/training/step.py"


@pytest.fixture
def fingerprint(tmp_path):
    """A function of changed files; each call writes a package of its own."""
    count = itertools.count()

    def compute(
        changes: dict[str, str | None] | None = None,
        script: str = SCRIPT,
        modules: tuple[str, ...] = (),
        age: int = 0,
    ) -> str:
        root = tmp_path / str(next(count))
        for name, text in (FILES | (changes or {})).items():
            if text is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
        (root / "script.py").write_text(script)
        for path in root.rglob("*.py"):
            os.utime(path, (1_000_000_000 - age,) * 2)
        return code_fingerprint(root / "script.py", root, modules)

    return compute


def edited(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new)}


def test_a_fingerprint_is_16_hexadecimal_digits(fingerprint):
    assert re.fullmatch("[0-9a-f]{16}", fingerprint())


def test_the_same_code_elsewhere_and_at_another_time_has_the_same_fingerprint(fingerprint):
    assert fingerprint() == fingerprint(age=1000)
    assert fingerprint() != fingerprint(script="print()\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Training."""', '"""Training, of networks."""'),
        ('"""Training."""\n', ""),
        ('    """A trainer."""\n\n', ""),
        ('    """Train."""\n', '    """Train.\n\n    Longer.\n    """\n'),
        ("rate = 0.1", "rate = 0.1  # of learning"),
        ("rate = 0.1", "# the rate\n    rate = (0.1)"),
        ("\n\n\ndef train", "\n\n\n\n\ndef train"),
        ("update(settings, Trainer.rate)", "update(\n        settings,\n        Trainer.rate,\n    )"),
        ("rate = 0.1", "rate = 0.10"),
    ],
    ids=["docstring", "no docstring", "class docstring", "function docstring", "comment",
         "comment line", "blank lines", "layout", "spelling of a number"],
)  # fmt: skip
def test_how_code_is_written_does_not_count(fingerprint, old, new):
    assert fingerprint(edited(RUN, old, new)) == fingerprint()


def test_empty_texts_that_some_versions_of_python_see_in_f_strings_do_not_count(tmp_path, monkeypatch):
    parse = ast.parse

    def parsed_with_empty_texts(*arguments, **named):
        tree = parse(*arguments, **named)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                node.values.append(ast.Constant(""))
        return tree

    for name in ("script.py", "twin.py"):
        (tmp_path / name).write_text('print(f"{1:{2}}", "")')
    (tmp_path / "other.py").write_text('print(f"{1:{2}}")')
    expected = code_fingerprint(tmp_path / "script.py", tmp_path)
    assert code_fingerprint(tmp_path / "other.py", tmp_path) != expected
    monkeypatch.setattr(ast, "parse", parsed_with_empty_texts)
    assert code_fingerprint(tmp_path / "twin.py", tmp_path) == expected


def test_comments_and_docstrings_of_the_script_do_not_count(fingerprint):
    changed = SCRIPT.replace("A script.", "Another text.") + "\n# the end\n"
    assert fingerprint(script=changed) == fingerprint()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (RUN, "rate = 0.1", "rate = 0.2"),
        (RUN, "rate = 0.1", "rate = 0.1\n    extra = None"),
        (STEP, "* rate", "+ rate"),
        ("medtransfer/constants.py", "2.0", "3.0"),
        ("medtransfer/constants.py", "2.0", "2"),
        ("medtransfer/constants.py", "2.0", "-2.0"),
        ("medtransfer/constants.py", "2.0", "'2.0'"),
        ("medtransfer/constants.py", "2.0", "None"),
        ("medtransfer/constants.py", "2.0", "True"),
    ],
)
def test_what_imported_code_does_counts_directly_and_through_other_modules(fingerprint, name, old, new):
    assert fingerprint(edited(name, old, new)) != fingerprint()


def test_values_that_differ_only_in_their_type_differ(fingerprint):
    values = ("None", "True", "1", "1.0", "'1'", "b'1'", "[]", "()", "{}", "0", "False", "''", "...")
    prints = {v: fingerprint({"medtransfer/constants.py": f"SCALE = {v}\n"}) for v in values}
    assert len(set(prints.values())) == len(values)


def test_what_the_script_does_counts(fingerprint):
    assert fingerprint(script=SCRIPT.replace('"{}"', '"[]"')) != fingerprint()


def test_a_text_that_is_used_counts(fingerprint):
    texts = [f"SCALE = 2.0\nTEXT = '{text}'\n" for text in ("a", "b")]
    first, second = (fingerprint({"medtransfer/constants.py": text}) for text in texts)
    assert first != second


def test_modules_that_are_not_imported_do_not_count(fingerprint):
    assert fingerprint({"medtransfer/unrelated.py": "COLOUR = 'red'\n"}) == fingerprint()
    assert fingerprint({"medtransfer/figures/style.py": "WIDTH = 4\n"}) == fingerprint()
    assert fingerprint({"medtransfer/unrelated.py": None}) == fingerprint()


@pytest.mark.parametrize("package", ["medtransfer", "medtransfer/training"])
def test_the_packages_above_an_imported_module_count(fingerprint, package):
    assert fingerprint({f"{package}/__init__.py": "import sys\n"}) != fingerprint()


def test_a_module_imported_only_by_a_package_above_counts(fingerprint):
    above = {"medtransfer/training/__init__.py": "import medtransfer.unrelated\n"}
    changed = above | {"medtransfer/unrelated.py": "COLOUR = 'red'\n"}
    assert fingerprint(changed) != fingerprint(above)


def test_an_import_inside_of_a_function_counts(fingerprint):
    late = SCRIPT + "    from medtransfer.unrelated import COLOUR\n"
    changed = fingerprint({"medtransfer/unrelated.py": "COLOUR = 'red'\n"}, script=late)
    assert changed != fingerprint(script=late)


def test_modules_that_import_each_other_end(fingerprint):
    circle = {"medtransfer/constants.py": "from medtransfer.training import run\nSCALE = 2.0\n"}
    changed = {"medtransfer/constants.py": "from medtransfer.training import run\nSCALE = 4.0\n"}
    assert fingerprint(circle) != fingerprint(changed)


def test_a_module_named_by_hand_counts_with_what_it_imports(fingerprint):
    named = ("medtransfer.figures.gains",)
    base = fingerprint(modules=named)
    assert base != fingerprint()
    assert fingerprint({"medtransfer/figures/style.py": "WIDTH = 4\n"}, modules=named) != base
    assert fingerprint({"medtransfer/unrelated.py": "COLOUR = 'red'\n"}, modules=named) == base


def test_a_module_that_is_both_named_and_imported_counts_once(fingerprint):
    assert fingerprint(modules=("medtransfer.constants", "medtransfer")) == fingerprint()


def test_packages_of_others_do_not_count(fingerprint):
    base = fingerprint({"json.py": "A = 1\n", "medtransferable.py": "B = 1\n"})
    assert fingerprint({"json.py": "A = 2\n", "medtransferable.py": "B = 2\n"}) == base


def test_the_real_scripts_follow_their_real_imports():
    root = Path(__file__).parents[2]
    scripts = root / "workflow" / "scripts"
    prints = [code_fingerprint(path, root / "src") for path in sorted(scripts.glob("*.py"))]
    assert len(prints) > 5
    assert len(set(prints)) == len(prints)
