"""A fingerprint of the code behind a result: what it does, not how it is written.

A script's fingerprint covers its own source and every module of this package that it imports,
directly or through others. Comments, docstrings, layout and file times don't count, so editing them
repeats no job; any other change does.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "medtransfer"


def code_fingerprint(script: Path, source_root: Path, modules: Iterable[str] = ()) -> str:
    """16 hex digits over a script, the package modules it imports, and further named ones.

    Args:
        script: the script's file.
        source_root: the folder that holds the package.
        modules: modules that the script imports by a computed name.
    """
    seen: dict[str, Path] = {}
    waiting = [*_imported(script), *modules]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, source_root)
        if name not in seen and path is not None:
            seen[name] = path
            waiting.extend(_imported(path))
    digest = hashlib.sha256()
    for path in [script, *(seen[name] for name in sorted(seen))]:
        digest.update(_meaning(path).encode())
    return digest.hexdigest()[:16]


def _module_file(name: str, source_root: Path) -> Path | None:
    base = source_root.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports anywhere, with the packages above them."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:  # lint bans others
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    own = {name for name in names if name.split(".")[0] == PACKAGE}
    return tuple(sorted(own | {p for name in own for p in _parents(name)}))


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


@cache
def _meaning(path: Path) -> str:
    return _dump(_tree(path))


def _dump(node: object) -> str:
    """A syntax tree as text, without positions, docstrings and empty fields.

    Empty fields are left out because Python versions differ in which of them they have.
    """
    if isinstance(node, list):
        return "[" + ",".join(_dump(item) for item in _without_docstring(node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(f'{n}={_dump(v)}' for n, v in fields)})"


def _without_docstring(body: list[object]) -> list[object]:
    """Drop every statement that is only a string: docstrings, and strings used as comments."""
    return [
        item
        for item in body
        if not (
            isinstance(item, ast.Expr)
            and isinstance(item.value, ast.Constant)
            and isinstance(item.value.value, str)
        )
    ]
