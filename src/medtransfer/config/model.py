"""The settings of one network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from medtransfer.config.typed import option


@dataclass(frozen=True)
class ModelSettings:
    """One network: the CBR family of Transfusion or any timm classifier, with its arguments."""

    architecture: str = option("'cbr', 'resnet50_keras', or a timm model name such as resnet50")
    arguments: dict[str, Any] = option("keyword arguments of the architecture", default={})
    first_units: int | None = option(
        "keep only so many units, counted from the stem, under a new head", default=None, minimum=1
    )
    weights_of: str | None = option(
        "name of the network whose pre-trained weights this one takes, when not its own", default=None
    )
    grey_input: Literal["sum", "first", "repeat"] = option(
        "how a colour network takes grey images: its stem's weights summed over the colours; the first "
        "colour's weights only (as Matsoukas et al. released it); or the image repeated three times",
        default="sum",
    )

    @property
    def family(self) -> str:
        """What networks of one kind share: the letters that their architecture's name begins with."""
        match = re.match(r"[a-z]+?(?=v?\d|_|$)", self.architecture.lower())
        return match[0] if match else self.architecture
