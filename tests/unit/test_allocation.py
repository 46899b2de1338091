"""Memory that a training frees stays with it."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from medtransfer import allocation
{tune}

def step():
    return sum(len(bytes(40 * 2**20) + b"1") for _ in range(3))

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(tune: str) -> int:
    """Pages that the second of two equal steps had to ask the system for."""
    program = PROGRAM.format(tune=tune)
    return int(subprocess.check_output([sys.executable, "-c", program], text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_second_step_asks_for_no_memory():
    pages = 3 * 40 * 2**20 // resource.getpagesize()
    assert faults("") > pages
    assert faults("allocation.keep_all_memory()") < pages / 10
