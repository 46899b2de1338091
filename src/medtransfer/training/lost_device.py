"""When a GPU goes away while it computes. No torch here: its errors are known by their words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from medtransfer.errors import DeviceError

# in the words of the CUDA runtime, of torch and of cuDNN and cuBLAS; after any of them a process can't
# use the device again, whereas a new one often can
MARKS = (
    "unspecified launch failure",
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "no CUDA-capable device",
    "No CUDA GPUs are available",
    "busy or unavailable",
    "the launch timed out",
    "hardware stack error",
    "CUDA error: unknown error",
    "CUDA unknown error",
    "CUDA driver initialization failed",
    "driver shutting down",
    "STATUS_EXECUTION_FAILED",
    "Found no NVIDIA driver",
    "Torch not compiled with CUDA enabled",
)


def is_lost_device(error: BaseException) -> bool:
    """Whether an error says that the device, and not the program, failed."""
    return isinstance(error, RuntimeError | AssertionError) and any(
        mark in str(error) for mark in MARKS
    )


@contextlib.contextmanager
def lost_device_named(
    device: str, kept: Callable[[], str] = lambda: "the same command begins this job again"
) -> Iterator[None]:
    """The loss of a device in a block becomes an error that names it and says what to do.

    Args:
        device: its name, as in ``CUDA_VISIBLE_DEVICES``.
        kept: says what of the work is kept.

    Raises:
        DeviceError: the device was lost.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        if not is_lost_device(error):
            raise
        said = str(error).strip().splitlines()[0]
        raise DeviceError(
            f"GPU {device} was lost or is of no use ({said}); {kept()}. If it happens again, see what "
            "nvidia-smi and the system's log say of the GPU, and leave it out with CUDA_VISIBLE_DEVICES"
        ) from error
