"""Settings on the command line of a script: a YAML file, or the same as JSON text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml

from medtransfer.config.typed import default_of, parse, plain

T = TypeVar("T")


def settings_argument(settings: type[T]) -> Callable[[str], T]:
    """An argparse ``type`` that reads ``settings`` from a YAML file or from JSON text."""

    def read(text: str) -> T:
        if text.lstrip().startswith("{"):
            return parse(settings, json.loads(text), "command line")
        return parse(settings, yaml.safe_load(Path(text).read_text()), text)

    return read


def as_argument(settings: Any, only: Collection[str] | None = None) -> str:
    """JSON text of the settings that differ from their defaults, optionally of some keys only.

    Defaults are left out so that a new option, unused, changes no finished job's parameters.
    """
    chosen = {
        field.name: plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
        if (only is None or field.name in only) and getattr(settings, field.name) != default_of(field)
    }
    return json.dumps(chosen, sort_keys=True)
