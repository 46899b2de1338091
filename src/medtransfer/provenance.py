"""What a result was made with: versions and hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform

PACKAGES = ("medtransfer", "torch", "timm", "numpy", "pandas")


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a run; 'not installed' where absent."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def processor() -> str:
    """The processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"
