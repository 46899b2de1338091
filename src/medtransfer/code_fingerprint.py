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
    meaning, imported = _read(script)
    seen: dict[str, str] = {}
    waiting = [*imported, *modules]
    while waiting:
        name = waiting.pop()
        path = None if name in seen else _module_file(name, source_root)
        if path is not None:
            seen[name], further = _read(path)
            waiting.extend(further)
    texts = [meaning, *(seen[name] for name in sorted(seen))]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


@cache
def _module_file(name: str, source_root: Path) -> Path | None:
    base = source_root.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """What a file does, as text, and the modules of the package that it imports anywhere.

    The syntax tree isn't kept: a workflow reads hundreds of files.
    """
    tree = ast.parse(path.read_text(), filename=str(path))
    return _dump(tree), _imported(tree)


def _imported(tree: ast.Module) -> tuple[str, ...]:
    """Modules of the package that are imported anywhere, with the packages above them."""
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:  # lint bans others
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    own = {name for name in names if name.split(".")[0] == PACKAGE}
    return tuple(sorted(own | {p for name in own for p in _parents(name)}))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that may hold a statement; expressions, most of a tree, never hold one."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from _statements(child)


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _dump(node: object) -> str:
    """A syntax tree as text, without positions, docstrings and empty fields.

    Empty fields, and empty texts within an f-string, are left out because Python versions differ in
    which of them they have.
    """
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({_dump([value for value in node.values if not _is_empty_text(value)])})"
    if isinstance(node, list):
        return "[" + ",".join(_dump(item) for item in _without_docstring(node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(f'{n}={_dump(v)}' for n, v in fields)})"


def _is_empty_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


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
