"""The settings of a source: what weights were pre-trained on and where they are."""

from __future__ import annotations

from dataclasses import dataclass

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError


@dataclass(frozen=True)
class PretrainingSettings:
    """A source that is trained here, from a random start, on any data set of the config."""

    dataset: str = option("name of a data set")
    recipe: str = option("name of a recipe")
    seed: int = option("seed of the pre-training run", default=0, minimum=0)


@dataclass(frozen=True)
class WeightFileSettings:
    """A file of weights for one network, with the input normalisation it was trained with."""

    path: str = option("safetensors file, or a PyTorch file that holds only tensors")
    sha256: str | None = option("expected checksum of the file", default=None)
    mean: tuple[float, ...] = option(
        "per-channel mean subtracted from images in [0, 1]", default=(0.485, 0.456, 0.406)
    )
    std: tuple[float, ...] = option("per-channel divisor after the mean", default=(0.229, 0.224, 0.225))
    origin: str = option("where the file comes from, its licence", default="")


@dataclass(frozen=True)
class SourceSettings:
    """One source of pre-trained weights: trained here, or read from files (one a network)."""

    pretraining: PretrainingSettings | None = option("train the source here", default=None)
    files: dict[str, WeightFileSettings] = option("network name and its file of weights", default={})

    def __post_init__(self) -> None:
        if (self.pretraining is None) == (not self.files):
            raise ConfigError("give either 'pretraining' or 'files', not both and not neither")
