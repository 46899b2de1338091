"""Memory that a block of code needs, of this process and of those that it starts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """Collects, in MiB, the peak above what was in use before: on a GPU its own, else the processes'.

    Linux only; elsewhere nothing is collected.
    """
    peaks: list[float] = []
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peaks
        peaks.append((torch.cuda.max_memory_allocated(device) - before) / 2**20)
        return
    with contextlib.suppress(OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed counts as free
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, others = _from_table("status", "VmRSS"), _children()
    yield peaks
    if before:
        started = sum(map(_own_memory, _children() - others))
        peaks.append(_from_table("status", "VmHWM") - before + started)


def _children() -> set[str]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(listed.read_text().split()) if listed.is_file() else set()


def _own_memory(process: str) -> float:
    """What would be free again without the process: its share of what it has in common with others."""
    return _from_table("smaps_rollup", "Pss", process)


def _from_table(name: str, key: str, process: str = "self") -> float:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{process}/{name}").read_text(), re.M)
        return int(found[1]) / 1024 if found else 0.0
    return 0.0
