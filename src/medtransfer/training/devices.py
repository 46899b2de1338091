"""Which device a job computes on. No torch here: the choice is made before torch is imported.

Snakemake only counts GPUs. Here a job takes one: it locks a file per device and slot, which the
kernel releases when the process ends in whatever way, and hides all other devices from torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from medtransfer.errors import DeviceError

POLL_SECONDS = 0.5


@contextlib.contextmanager
def leased_device(wanted: str, jobs_per_gpu: int = 1, folder: Path | None = None) -> Iterator[str]:
    """Hold a device for the duration of a block; sets ``CUDA_VISIBLE_DEVICES``.

    Waits while all slots are taken. Under Slurm, which binds devices itself, nothing is locked.

    Args:
        wanted: ``cpu``; ``cuda`` (an error without one); ``auto`` (a GPU where there is one).
        jobs_per_gpu: slots of each device.
        folder: where the lock files are; by default a folder of this user on this machine.

    Yields:
        ``cuda`` or ``cpu``.

    Raises:
        DeviceError: ``cuda`` is wanted and no device is visible.
    """
    devices = [] if wanted == "cpu" else visible_devices()
    if wanted == "cuda" and not devices:
        raise DeviceError(
            "device 'cuda' is asked for and no GPU is visible; allowed here: 'cpu' or 'auto' "
            "(key hardware.device), or set CUDA_VISIBLE_DEVICES to the devices to use"
        )
    if not devices:
        yield "cpu"
    elif "SLURM_JOB_ID" in os.environ:
        yield "cuda"
    else:
        locks = folder or Path(tempfile.gettempdir()) / f"medtransfer-devices-{os.getuid()}"
        with _locked_slot(devices, jobs_per_gpu, locks) as device:
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            yield "cuda"


def visible_devices() -> list[str]:
    """Ids of the GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, else all."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    found = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(found))]


@contextlib.contextmanager
def _locked_slot(devices: Sequence[str], slots: int, folder: Path) -> Iterator[str]:
    """Wait for a free slot, emptiest devices first, and hold its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for slot in range(slots):
            for device in devices:
                file = (folder / f"{device.replace('/', '_')}.{slot}").open("w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    continue
                with file:
                    yield device
                return
        time.sleep(POLL_SECONDS)
