"""The same bits twice on a GPU. On the CPU, runs with as many threads are so anyway."""

from __future__ import annotations

import os


def prepare_deterministic() -> None:
    """Choose the workspace with which cuBLAS is deterministic; comes before torch is imported."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def make_deterministic() -> None:
    """Have torch take deterministic kernels only.

    An operation of a network that has none raises torch's RuntimeError, which names it.
    """
    import torch  # here, since prepare_deterministic comes before

    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
