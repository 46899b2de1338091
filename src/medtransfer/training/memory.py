"""How much memory is there for the images of a run."""

from __future__ import annotations

import re
from pathlib import Path

import torch

# of what is free; the rest is for the network, its activations and jobs beside
SHARE_FOR_IMAGES = 0.5


def room_for_images(device: torch.device) -> int:
    """Bytes up to which a run's images are kept in memory as a whole, on the CPU and on its device."""
    free = free_bytes()
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return int(SHARE_FOR_IMAGES * free)


def free_bytes(root: Path = Path("/")) -> int:
    """Memory of the CPU that this process may still take: what is available, or a limit of its group.

    Args:
        root: the file system that holds ``proc`` and ``sys``.
    """
    bounds = [*_available(root / "proc" / "meminfo"), *_group_limits(root)]
    return min(bounds, default=4 * 2**30)


def _available(table: Path) -> list[int]:
    if not table.is_file():
        return []
    found = re.search(r"^MemAvailable:\s+(\d+) kB", table.read_text(), re.MULTILINE)
    return [1024 * int(found[1])] if found else []


def _group_limits(root: Path) -> list[int]:
    """Limits of the control group (version 2) of this process and of those above it.

    What a group has in use is mostly files that the kernel keeps in memory and gives back; it isn't
    subtracted.
    """
    membership = root / "proc" / "self" / "cgroup"
    if not membership.is_file():
        return []
    found = re.search(r"^0::/(.*)$", membership.read_text(), re.MULTILINE)
    top = root / "sys" / "fs" / "cgroup"
    group = top / found[1] if found else top
    limits = []
    for folder in (group, *group.parents):
        limit = folder / "memory.max"
        if folder.is_relative_to(top) and limit.is_file():
            limits.append(limit.read_text().strip())
    return [int(limit) for limit in limits if limit.isdecimal()]
