"""The names of corruptions of images, which :mod:`medtransfer.evaluation.corruptions` defines."""

from __future__ import annotations

from typing import Literal, get_args

CorruptionName = Literal["noise", "blur", "contrast", "jpeg", "resolution"]
ALL_CORRUPTIONS: tuple[CorruptionName, ...] = get_args(CorruptionName)
