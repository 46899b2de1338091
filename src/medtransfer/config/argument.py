"""Settings on the command line of a script: a YAML file, or the same as JSON text."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from medtransfer.config.typed import default_of, parse, plain, read_settings
from medtransfer.errors import ConfigError

T = TypeVar("T")


def settings_argument(settings: type[T]) -> Callable[[str], T]:
    """An argparse ``type`` that reads ``settings`` from a YAML file or from JSON text."""

    def read(text: str) -> T:
        if text.lstrip().startswith("{"):
            try:
                return parse(settings, json.loads(text), "command line")
            except json.JSONDecodeError as error:
                raise ConfigError(f"command line: not valid JSON: {error}") from error
        try:
            return read_settings(settings, Path(text))
        except OSError as error:
            raise ConfigError(f"{text}: can't be read: {error.strerror}") from error

    return read


def add_settings(parser: argparse.ArgumentParser, flag: str, settings: type) -> None:
    """Add a required argument that :func:`settings_argument` reads."""
    parser.add_argument(
        flag,
        type=settings_argument(settings),
        required=True,
        help="YAML file, or the same as JSON text",
    )


def as_argument(settings: Any, only: Collection[str] | None = None) -> str:
    """JSON text of the settings that differ from their defaults, optionally of some keys only.

    Defaults are left out so that a new option, unused, changes no finished job's parameters.
    """
    chosen = {k: v for k, v in _changed(settings).items() if only is None or k in only}
    return json.dumps(chosen, sort_keys=True)


def _changed(settings: Any) -> dict[str, Any]:
    """The settings that differ from their defaults, in nested blocks too, as plain values."""
    changed = {}
    for field in dataclasses.fields(settings):
        value, default = getattr(settings, field.name), default_of(field)
        if value == default:
            continue
        nested = dataclasses.is_dataclass(value) and dataclasses.is_dataclass(default)
        changed[field.name] = _changed(value) if nested else plain(value)
    return changed
