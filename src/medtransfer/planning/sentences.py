"""Counts in plain words; no other import, so that the workflow can say what it counts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def several(count: int, noun: str) -> str:
    """``1 run``, ``1,200 runs``; the noun is ``run{s}``."""
    return f"{count:,} {noun.format(s='' if count == 1 else 's')}"


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def jobs_in_words(counts: Mapping[str, int], nouns: Mapping[str, str]) -> str:
    """Jobs by what they are, those of kinds without a noun together.

    Args:
        counts: jobs by kind.
        nouns: by kind, in the order in which they are named.
    """
    named = [several(counts[kind], noun) for kind, noun in nouns.items() if counts.get(kind)]
    others = sum(count for kind, count in counts.items() if kind not in nouns)
    if others:
        named.append(several(others, "other job{s}" if named else "job{s}"))
    return joined(named)
