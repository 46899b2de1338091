"""The settings of one network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medtransfer.config.typed import option


@dataclass(frozen=True)
class ModelSettings:
    """One network: the CBR family of Transfusion or any timm classifier, with its arguments."""

    architecture: str = option("'cbr', or a timm model name such as resnet50")
    arguments: dict[str, Any] = option("keyword arguments of the architecture", default={})
