"""The settings of a source: what weights were pre-trained on and where they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from medtransfer.config.access import RemoteFileSettings
from medtransfer.config.names import NAME, NAME_RULE
from medtransfer.config.typed import option
from medtransfer.errors import ConfigError

# where files from the network go, and where they are looked for first
WEIGHT_FILES = "resources/weights/files"


@dataclass(frozen=True)
class PretrainingSettings:
    """A source that is trained here, from a random start, on any data set of the config."""

    dataset: str = option("name of a data set")
    recipe: str = option("name of a recipe")
    seed: int = option("seed of the pre-training run", default=0, minimum=0)


@dataclass(frozen=True)
class RenameSettings:
    """A change of the names of tensors."""

    pattern: str = option("regular expression, looked for anywhere in a name")
    replacement: str = option("what takes the place of each find; \\1 is the first group", default="")

    def __post_init__(self) -> None:
        _check_pattern("pattern", self.pattern)
        try:
            re.sub(self.pattern, self.replacement, "")
        except (re.error, IndexError) as error:
            raise ConfigError(
                f"key 'replacement' is '{self.replacement}', which doesn't fit the pattern "
                f"'{self.pattern}': {error}"
            ) from error


@dataclass(frozen=True)
class WeightFileSettings:
    """Weights for one network: where the file is, and the inputs that they were trained with."""

    path: str | None = option("local file: safetensors, PyTorch, npz, or Keras h5", default=None)
    url: str | None = option(
        f"web address of such a file; it is kept below {WEIGHT_FILES}/ by its last part", default=None
    )
    hub: str | None = option(
        f"timm's tag of weights on the Hugging Face hub, e.g. resnet50.tv_in1k; the file is kept as "
        f"{WEIGHT_FILES}/<tag>.safetensors",
        default=None,
    )
    sha256: str | None = option("checksum of the file; 'url' needs this or 'md5'", default=None)
    md5: str | None = option("checksum, for files whose owner publishes no sha256", default=None)
    mean: tuple[float, ...] | None = option(
        "per-channel mean subtracted from images in [0, 1] (default for 'hub': timm's of that tag)",
        default=None,
    )
    std: tuple[float, ...] | None = option(
        "per-channel divisor after the mean (default for 'hub': timm's of that tag)", default=None
    )
    image_size: int | None = option(
        "side of the images that the weights were trained on (default for 'hub': timm's of that tag)",
        default=None,
        minimum=1,
    )
    outputs: int | None = option(
        "outputs of the file's head, for converter timm where the head has another name in the file",
        default=None,
        minimum=0,
    )
    origin: str = option("where the weights come from (default for 'hub': the address)", default="")
    licence: str = option("licence of the weights (default for 'hub': timm's note)", default="")
    prefix: str | None = option(
        "take only the tensors whose names start so, and cut it off; prefixes such as 'module.' and "
        "'backbone.' are found without",
        default=None,
    )
    drop: tuple[str, ...] = option(
        "regular expressions; tensors in whose names one is found are left out on purpose", default=()
    )
    rename: tuple[RenameSettings, ...] = option("changes of names, made in this order", default=())
    converter: Literal["none", "timm", "bit", "keras_resnet50", "keras_resnet50_bgr"] | None = option(
        "how names and shapes become the network's: none; timm's own for that architecture; the npz of "
        "the BiT release; Keras's ResNet-50, whose weights take red or (bgr) blue first (default: timm "
        "for 'hub', none else)",
        default=None,
    )

    def __post_init__(self) -> None:
        given = [key for key in ("path", "url", "hub") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ConfigError(
                f"found {' and '.join(given) or 'none'} of 'path', 'url' and 'hub'; allowed: one"
            )
        if self.hub is not None and not (NAME.fullmatch(self.hub) and "." in self.hub):
            raise ConfigError(
                f"key 'hub' is '{self.hub}'; allowed: a tag such as resnet50.tv_in1k ({NAME_RULE})"
            )
        for pattern in self.drop:
            _check_pattern("drop", pattern)
        self._check_normalisation()
        self._check_remote_file()

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        if self.hub is not None:
            return f"{self.hub}.safetensors"
        if self.url is not None:
            return PurePosixPath(unquote(urlsplit(self.url).path)).name
        return PurePosixPath(str(self.path)).name

    @property
    def location(self) -> str:
        """Where the file is, or will be once it is fetched."""
        return f"{WEIGHT_FILES}/{self.name}" if self.path is None else self.path

    @property
    def chosen_converter(self) -> str:
        return self.converter or ("timm" if self.hub is not None else "none")

    def remote_file(self, url: str) -> RemoteFileSettings:
        """How the file is fetched from an address.

        Raises:
            ConfigError: the address or a checksum is none.
        """
        sha256 = self.sha256 and self.sha256.lower()
        return RemoteFileSettings(self.name, (url,), sha256=sha256, md5=self.md5)

    def _check_normalisation(self) -> None:
        """Weights without their normalisation compute something else than they were trained to."""
        for key in ("mean", "std"):
            values = getattr(self, key)
            if values is None and self.hub is None:
                raise ConfigError(
                    f"key '{key}' is missing; it belongs to the weights (only 'hub' has a default)"
                )
            if values is not None and len(values) not in (1, 3):
                raise ConfigError(f"key '{key}' has {len(values)} values; allowed: 1 or 3")
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ConfigError(f"key 'std' is {list(self.std)}; allowed: numbers above 0")

    def _check_remote_file(self) -> None:
        if self.url is None:
            return
        if self.sha256 is None and self.md5 is None:
            raise ConfigError("key 'url' needs 'sha256' (or 'md5'): a download must be checked")
        self.remote_file(self.url)


# what of a file's settings its import depends on: another address for the same file is no change
IMPORT_KEYS = frozenset(field.name for field in fields(WeightFileSettings)) - {"url"}


@dataclass(frozen=True)
class SourceSettings:
    """One source of pre-trained weights: trained here, or read from files (one a network)."""

    pretraining: PretrainingSettings | None = option("train the source here", default=None)
    files: dict[str, WeightFileSettings] = option("network name and its file of weights", default={})
    images: str | None = option(
        "name of a data set of images like those that the weights were trained on, from which domain "
        "distances are measured; default: that of 'pretraining'",
        default=None,
    )

    def __post_init__(self) -> None:
        if (self.pretraining is None) == (not self.files):
            raise ConfigError("give either 'pretraining' or 'files', not both and not neither")


def _check_pattern(key: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"key '{key}' has '{pattern}', no regular expression: {error}") from error
