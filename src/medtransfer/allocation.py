"""How glibc's malloc gives memory back to the system, which costs more than it saves in a busy loop.

Pages that are given back must be cleared when they are asked for again. Elsewhere than on Linux with
glibc nothing happens here.
"""

from __future__ import annotations

import ctypes

MIB = 2**20

# of mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1


def keep_all_memory() -> None:
    """Give nothing back: a training asks for the same memory at each step."""
    _set(_MMAP_MAX, 0)
    _set(_TRIM_THRESHOLD, _NEVER)


def keep_some_memory() -> None:
    """Give only large blocks back: most images take as much as the one before."""
    _set(_MMAP_THRESHOLD, 32 * MIB)
    _set(_TRIM_THRESHOLD, 256 * MIB)


def _set(option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(option, value)
