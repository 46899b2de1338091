"""The small grammars of names: inits, subsets and splits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from medtransfer.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
NAME_RULE = "letters, digits and . _ -, the first a letter or digit"
# the parts of a published cross-validation, as its lists are called
LIST_NAMES = ("train", "val", "test")
_INIT = re.compile(r"(?P<source>[A-Za-z0-9][A-Za-z0-9_.]*?)(?P<stats>-stats)?")
_SUBSET = re.compile(r"full|n[1-9]\d*|p([1-9]\d?|100)")
_SPLIT = re.compile(r"holdout|published(-[1-9]\d*)?|cv(?P<folds>[1-9]\d*)-(?P<fold>0|[1-9]\d*)")


@dataclass(frozen=True)
class Init:
    """How a network starts: at random, with a source's weights, or with their statistics only."""

    kind: Literal["random", "transfer", "stats"]
    source: str | None = None


def parse_init(name: str) -> Init:
    """``random``, ``<source>`` or ``<source>-stats``; raises ConfigError for anything else."""
    if name == "random":
        return Init("random")
    match = _INIT.fullmatch(name)
    if match is None or match["source"] == "random":
        raise ConfigError(f"init '{name}'; allowed: random, <source>, <source>-stats")
    return Init("stats" if match["stats"] else "transfer", match["source"])


def subset_size(name: str, available: int) -> int:
    """Images in subset ``full``, ``n500`` or ``p10`` of ``available`` training images.

    Raises:
        ConfigError: for another name, or when the subset wants more images than there are.
    """
    check_subset(name)
    if name == "full":
        return available
    if name.startswith("p"):
        return max(1, round(available * int(name[1:]) / 100))
    if int(name[1:]) > available:
        raise ConfigError(
            f"subset '{name}' of {available} training images; allowed: at most n{available}"
        )
    return int(name[1:])


def check_subset(name: str) -> None:
    if not _SUBSET.fullmatch(name):
        raise ConfigError(f"subset '{name}'; allowed: full, n<images>, p<percent 1-100>")


def published_fold(split: str) -> int | None:
    """The fold of a split ``published-<fold>``, None for any other."""
    name, _, fold = split.partition("-")
    return int(fold) if name == "published" and fold else None


def published_column(split: str) -> str:
    """The column of samples with the parts of a published split."""
    fold = published_fold(split)
    return "published_part" if fold is None else f"published_part_{fold}"


def fold_list_path(pattern: str, part: str, fold: int) -> str:
    """Where the list of a part (of LIST_NAMES) and fold of a published cross-validation is."""
    return pattern.replace("{part}", part).replace("{fold}", str(fold))


def parse_fold(split: str) -> tuple[int, int] | None:
    """``(folds, fold)`` of a split ``cv<folds>-<fold>``, None for holdout and published splits."""
    match = _SPLIT.fullmatch(split)
    if match is None:
        raise ConfigError(
            f"split '{split}'; allowed: holdout, published, published-<fold from 1>, cv<folds>-<fold>"
        )
    if match["folds"] is None:
        return None
    folds, fold = int(match["folds"]), int(match["fold"])
    if folds < 2 or fold >= folds:
        raise ConfigError(f"split '{split}'; allowed: at least 2 folds, numbered from 0")
    return folds, fold
