"""Which device a job computes on. No torch here: the choice is made before torch is imported.

Snakemake only counts GPUs. Here a job takes one: it locks files of its device and slot, which the
kernel releases when the process ends in whatever way, and hides all other devices from torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import IO

from medtransfer.errors import DeviceError
from medtransfer.training.lost_device import lost_device_named

POLL_SECONDS = 0.2
# as CUDA_VISIBLE_DEVICES may name a device
_NAME = re.compile(r"\d+|(GPU|MIG)-.+")
_LISTED_GPU = re.compile(r"GPU (\d+):")
_LISTED_MIG = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")


@contextlib.contextmanager
def leased_device(wanted: str, jobs_per_gpu: int = 1, folder: Path | None = None) -> Iterator[str]:
    """Hold a device for the duration of a block; sets ``CUDA_VISIBLE_DEVICES``.

    Waits while all slots are taken. Under Slurm, which binds devices itself, nothing is locked. A line
    on stderr, which is the job's log, says what the job runs on.

    Args:
        wanted: ``cpu``; ``cuda`` (an error without one); ``auto`` (a GPU where there is one).
        jobs_per_gpu: slots of each device; with one, the job has its device to itself, also against
            jobs that would share.
        folder: where the lock files are; by default a folder of all users of this machine.

    Yields:
        ``cuda`` or ``cpu``.

    Raises:
        DeviceError: ``cuda`` is wanted and no device is visible, the lock files can't be used, or the
            device is lost during the block.
    """
    devices = [] if wanted == "cpu" else visible_devices()
    if wanted == "cuda" and not devices:
        raise DeviceError(
            "device 'cuda' is asked for and no GPU is visible; allowed here: 'cpu' or 'auto' "
            "(key hardware.device), or set CUDA_VISIBLE_DEVICES to the devices to use"
        )
    if not devices:
        _log("device cpu")
        yield "cpu"
    elif "SLURM_JOB_ID" in os.environ:
        _log(f"device {','.join(devices)}, bound by Slurm")
        with lost_device_named(",".join(devices)):
            yield "cuda"
    else:
        locks = folder or Path(tempfile.gettempdir()) / "medtransfer-devices"
        with _locked_slot(devices, jobs_per_gpu, locks) as (device, slot):
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            _log(f"device {device}, slot {slot}")
            with lost_device_named(device):
                yield "cuda"


def visible_devices() -> list[str]:
    """Names of the GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, else all.

    As CUDA does it, what follows a name that is none isn't visible, and a GPU that is divided (MIG) is
    used by its instances.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return _listed_devices()
    names = (name.strip() for name in listed.split(","))
    return list(dict.fromkeys(takewhile(_NAME.fullmatch, names)))


def _listed_devices() -> list[str]:
    """The devices of this machine: numbers of whole GPUs, UUIDs of instances."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    instances: dict[str, list[str]] = {}
    for line in listing.stdout.splitlines():
        if gpu := _LISTED_GPU.match(line):
            instances[gpu[1]] = []
        elif instances and (instance := _LISTED_MIG.match(line)):
            instances[next(reversed(instances))].append(instance[1])
    return [name for gpu, found in instances.items() for name in (found or [gpu])]


@contextlib.contextmanager
def _locked_slot(devices: Sequence[str], slots: int, folder: Path) -> Iterator[tuple[str, int]]:
    """Wait for a free slot, emptiest devices first, and hold its locks."""
    _make_folder(folder)
    waiting = False
    while True:
        for slot in range(slots):
            for device in devices:
                with contextlib.ExitStack() as locks:
                    if _take(locks, folder, device.replace("/", "_"), slots, slot):
                        yield device, slot
                        return
        if not waiting:
            _log(f"all slots of {', '.join(devices)} are taken; waiting for one")
            waiting = True
        time.sleep(POLL_SECONDS)


def _take(locks: contextlib.ExitStack, folder: Path, name: str, slots: int, slot: int) -> bool:
    """Lock a slot; a job that wants its device alone excludes all others, whatever their slots."""
    device = _lock(folder / name, fcntl.LOCK_EX if slots == 1 else fcntl.LOCK_SH)
    if device is None:
        return False
    locks.enter_context(device)
    place = _lock(folder / f"{name}.{slot}", fcntl.LOCK_EX)
    if place is not None:
        locks.enter_context(place)
    return place is not None


def _lock(path: Path, kind: int) -> IO[bytes] | None:
    """The open file, locked; None while another process holds it."""
    try:
        file = _opened(path)
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    return file


def _opened(path: Path) -> IO[bytes]:
    """A lock file, made if it isn't there; any user may lock it, since reading is enough for that."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(descriptor, 0o644)  # whatever the umask
            os.close(descriptor)
        return path.open("rb")


def _make_folder(folder: Path) -> None:
    """The folder of the lock files, in which every user may make files and none removes another's."""
    try:
        folder.mkdir(parents=True)
        folder.chmod(0o1777)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(path: Path, error: OSError) -> DeviceError:
    return DeviceError(
        f"{path}: no lock of a GPU can be taken here ({error.strerror}); allowed: a folder on a local "
        "disk in which all users may make files; mend or remove it, or set TMPDIR"
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
