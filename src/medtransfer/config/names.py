"""The small grammars of names: inits, subsets and splits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from medtransfer.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
NAME_RULE = "letters, digits and . _ -, the first a letter or digit"
# the parts of a published cross-validation, as its lists are called
LIST_NAMES = ("train", "val", "test")
_STATS = r"stats(?:_permutation|_bootstrap|_as_released)?"
_INIT = re.compile(
    r"(?P<source>[A-Za-z0-9][A-Za-z0-9_.]*)"
    rf"(?:-(?:(?P<whole>{_STATS})|upto(?P<upto>0|[1-9]\d*)-(?P<rest>{_STATS}|random|slim)))?"
)
_SUBSET = re.compile(r"full|(n[1-9]\d*|p([1-9]\d?|100))(?P<redrawn>-redrawn)?")
_SPLIT = re.compile(r"holdout|published(-[1-9]\d*)?|cv(?P<folds>[1-9]\d*)-(?P<fold>0|[1-9]\d*)")


Sampler = Literal["normal", "permutation", "bootstrap", "as_released"]


@dataclass(frozen=True)
class Init:
    """How a network starts: which units take a source's weights, and what the others are.

    Attributes:
        source: whose weights; None for ``random`` and ``gabor``.
        upto: number of units, counted from the stem, that take the source's weights; None for all.
        rest: the other units: at random; drawn by the source's statistics; at random and half as wide.
        sampler: how tensors are drawn where ``rest`` is ``stats``: i.i.d. normal, permuted, or drawn
            with replacement from the source's tensor; ``as_released`` is normal with the levels and the
            omissions of the code that Matsoukas et al. released, and ``upto`` counts those levels.
        gabor: the stem's filters are Gabor functions.
    """

    source: str | None = None
    upto: int | None = 0
    rest: Literal["random", "stats", "slim"] = "random"
    sampler: Sampler = "normal"
    gabor: bool = False

    @property
    def partial(self) -> bool:
        """Whether only the first units take the source's weights."""
        return self.source is not None and bool(self.upto)

    @property
    def baseline(self) -> str | None:
        """The name of the start that differs in the transferred units only; None for a random one.

        It is ``<source>-stats`` for a whole source too: is it the features or their scale?
        """
        if self.source is None or (self.rest == "stats" and self.upto == 0):
            return None
        if self.rest != "stats" and self.upto is not None:
            return "random"
        return f"{self.source}-stats" + ("" if self.sampler == "normal" else f"_{self.sampler}")


INIT_RULE = (
    "random, gabor, <source>, <source>-stats, <source>-upto<k>-stats, <source>-upto<k>-random, "
    "<source>-upto<k>-slim; 'stats' also as stats_permutation, stats_bootstrap, stats_as_released"
)


@cache
def parse_init(name: str) -> Init:
    """The init of a name (see INIT_RULE); raises ConfigError for anything else."""
    if name == "random":
        return Init()
    if name == "gabor":
        return Init(gabor=True)
    match = _INIT.fullmatch(name)
    if match is None or match["source"] in ("random", "gabor"):
        raise ConfigError(f"init '{name}'; allowed: {INIT_RULE}")
    source, upto, rest = match["source"], match["upto"], match["rest"] or match["whole"]
    if rest is None:
        return Init(source, upto=None)
    kind, _, sampler = rest.partition("_")
    return Init(source, int(upto or 0), kind, sampler or "normal")  # type: ignore[arg-type]


def subset_size(name: str, available: int) -> int:
    """Images in subset ``full``, ``n500`` or ``p10`` of ``available`` training images.

    A subset that is drawn anew for each seed, such as ``p10-redrawn``, has the same size.

    Raises:
        ConfigError: for another name, or when the subset wants more images than there are.
    """
    size = wanted_size(name, available)
    if size > available:
        raise ConfigError(
            f"subset '{name}' of {available} training images; allowed: at most n{available}"
        )
    return size


def wanted_size(name: str, available: int) -> int:
    """As :func:`subset_size`, also where a subset wants more images than there are."""
    check_subset(name)
    if name == "full":
        return available
    number = int(name.removesuffix("-redrawn")[1:])
    return number if name.startswith("n") else max(1, round(available * number / 100))


def is_redrawn(subset: str) -> bool:
    """Whether a subset is drawn anew for each seed."""
    match = _SUBSET.fullmatch(subset)
    return match is not None and match["redrawn"] is not None


def check_subset(name: str) -> None:
    if not _SUBSET.fullmatch(name):
        raise ConfigError(
            f"subset '{name}'; allowed: full, n<images>, p<percent 1-100>; the latter two also with "
            "-redrawn, drawn anew for each seed"
        )


def published_fold(split: str) -> int | None:
    """The fold of a split ``published-<fold>``, None for any other."""
    name, _, fold = split.partition("-")
    return int(fold) if name == "published" and fold else None


def is_fold(split: str) -> bool:
    """Whether a split is one fold of a cross-validation, drawn or published."""
    return parse_fold(split) is not None or published_fold(split) is not None


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
