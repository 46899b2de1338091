"""Typed settings: plain frozen dataclasses read from YAML, with errors that name the key.

The settings of the project are ordinary dataclasses whose fields are made by :func:`option`.
From them come the parser (:func:`parse`), the JSON schema (:func:`json_schema`) and the commented
YAML (:mod:`medtransfer.documents`). Only the standard library and PyYAML are used, so a compute node
needs nothing but the training packages to read a recipe.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from medtransfer.errors import ConfigError

T = TypeVar("T")
# both are safe; libyaml, where PyYAML was built with it, reads a configuration in a tenth of the time
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def option(
    description: str,
    *,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A dataclass field with a description and, for numbers, inclusive bounds.

    A default of ``{}`` gives each instance its own empty mapping.
    """
    metadata = {"description": description, "minimum": minimum, "maximum": maximum}
    if default == {}:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a field, or ``dataclasses.MISSING`` when the key is required."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; a syntax error becomes a ConfigError that names the file."""
    try:
        return yaml.load(path.read_text(), Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


def read_settings(settings: type[T], path: Path) -> T:
    """Read ``settings`` from a YAML file, whose key ``base`` may name another file beside it.

    What the file gives wins over its base, in nested blocks too; a base may have a base.

    Raises:
        ConfigError: with one line for each problem found.
    """
    content = read_yaml(path)
    if "base" in (field.name for field in dataclasses.fields(settings)):  # type: ignore[arg-type]
        content = _on_base(content, path, ())
    return parse(settings, content, str(path))


def _on_base(content: Any, path: Path, seen: tuple[Path, ...]) -> Any:
    """The content of a file over that of its base; without the key ``base``."""
    if not isinstance(content, Mapping) or not isinstance(content.get("base"), str):
        return content
    base = path.with_name(f"{content['base']}.yaml")
    if not base.is_file() or base in (*seen, path):
        raise ConfigError(
            f"{path}: key 'base' is '{content['base']}'; "
            "allowed: the name of another file beside it, that isn't based on this one"
        )
    below = _on_base(read_yaml(base), base, (*seen, path))
    own = {key: value for key, value in content.items() if key != "base"}
    return _merged(below, own) if isinstance(below, Mapping) else own


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        merged[key] = _merged(below[key], value) if nested else value
    return merged


def parse(settings: type[T], value: Any, where: str) -> T:
    """Build ``settings`` from a mapping, checking every key, type and bound.

    Args:
        settings: a dataclass whose fields are made by :func:`option`.
        value: what the YAML file holds.
        where: how errors name the place, e.g. ``config/datasets/busi.yaml``.

    Raises:
        ConfigError: with one line for each problem found.
    """
    problems: list[str] = []
    result = _read_settings(settings, value, where, "", problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return result


def suggestion(found: str, allowed: Sequence[str]) -> str:
    """``; did you mean 'labels'?`` when a name is close to an allowed one, else nothing."""
    close = difflib.get_close_matches(found, allowed, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def allowed_names(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)) if names else "(none)"


def _read_settings(cls: Any, value: Any, where: str, prefix: str, problems: list[str]) -> Any:
    place = f"{where}: {prefix.rstrip('.')}" if prefix else where
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected keys and values, found {_shown(value)}")
        return None
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    for key in value:
        if key not in fields:
            problems.append(
                f"{where}: unknown key '{prefix}{key}'{suggestion(str(key), list(fields))}"
                f" (allowed: {', '.join(fields)})"
            )
    before = len(problems)
    found = {
        name: _read_value(hints[name], value[name], where, prefix + name, field.metadata, problems)
        for name, field in fields.items()
        if name in value
    }
    for name, field in fields.items():
        if name not in value and default_of(field) is dataclasses.MISSING:
            problems.append(
                f"{where}: key '{prefix}{name}' is missing ({field.metadata['description']})"
            )
    if len(problems) > before:
        return None
    try:
        return cls(**found)
    except ConfigError as error:
        problems.extend(f"{place}: {line}" for line in str(error).splitlines())
        return None


def _read_value(
    hint: Any,
    value: Any,
    where: str,
    key: str,
    metadata: Mapping[str, Any],
    problems: list[str],
) -> Any:
    """One value of the given type hint; a problem is noted and None returned when it doesn't fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, where, key, metadata, problems)
    if dataclasses.is_dataclass(hint):
        return _read_settings(hint, value, where, f"{key}.", problems)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(
            _read_value(arguments[0], item, where, f"{key}[{i}]", metadata, problems)
            for i, item in enumerate(value)
        )
    if origin is dict and isinstance(value, Mapping):
        return {
            str(name): _read_value(arguments[1], item, where, f"{key}.{name}", metadata, problems)
            for name, item in value.items()
        }
    if _fits(hint, value):
        _check_bounds(value, where, key, metadata, problems)
        return float(value) if hint is float else value
    problems.append(f"{where}: key '{key}' is {_shown(value)}; allowed: {describe(hint)}")
    return None


def _read_union(
    choices: tuple[Any, ...],
    value: Any,
    where: str,
    key: str,
    metadata: Mapping[str, Any],
    problems: list[str],
) -> Any:
    if value is None and type(None) in choices:
        return None
    remaining = [choice for choice in choices if choice is not type(None)]
    if len(remaining) == 1:
        return _read_value(remaining[0], value, where, key, metadata, problems)
    for choice in remaining:
        attempt: list[str] = []
        result = _read_value(choice, value, where, key, metadata, attempt)
        if not attempt:
            return result
    allowed = " or ".join(describe(choice) for choice in remaining)
    problems.append(f"{where}: key '{key}' is {_shown(value)}; allowed: {allowed}")
    return None


def _fits(hint: Any, value: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(value == a and type(value) is type(a) for a in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or (isinstance(hint, type) and isinstance(value, hint))


def _check_bounds(
    value: Any, where: str, key: str, metadata: Mapping[str, Any], problems: list[str]
) -> None:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    # a NaN is within no bounds
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
        problems.append(f"{where}: key '{key}' is {value}; allowed: {' and '.join(bounds)}")


def describe(hint: Any) -> str:
    """A type hint in words, for errors and documentation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments if a is not type(None))
    if origin is tuple:
        return f"a list of {describe(arguments[0])}"
    if origin is dict:
        return f"names with {describe(arguments[1])}"
    if dataclasses.is_dataclass(hint):
        return "keys and values"
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(hint, "any value")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).lower()} (true/false; quote it if a name is meant)"
    return "empty" if value is None else f"{value!r} ({type(value).__name__})"


def json_schema(hint: Any) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a settings class or of any type its fields may have."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _object_schema(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [json_schema(a) for a in arguments]}
    if origin is tuple:
        return {"type": "array", "items": json_schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": json_schema(arguments[1])}
    names: dict[Any, str] = {
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        type(None): "null",
    }
    return {"type": names[hint]} if hint in names else {}


def _object_schema(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        entry = json_schema(hints[field.name])
        entry["description"] = field.metadata["description"]
        for bound in ("minimum", "maximum"):
            if field.metadata[bound] is not None:
                # bounds of a list are those of its items
                entry.get("items", entry)[bound] = field.metadata[bound]
        if default_of(field) is not dataclasses.MISSING:
            entry["default"] = plain(default_of(field))
        properties[field.name] = entry
    required = [f.name for f in dataclasses.fields(cls) if default_of(f) is dataclasses.MISSING]
    return {
        "type": "object",
        "description": (cls.__doc__ or "").split("\n")[0],
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def plain(value: Any) -> Any:
    """Settings as the lists, mappings and scalars that YAML and JSON know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
