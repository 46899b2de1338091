"""How a public data set is had, what its layout is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError

AdapterName = Literal[
    "aptos2019",
    "busi",
    "cbis_ddsm",
    "chexpert",
    "class_folders",
    "ddti",
    "eyepacs2015",
    "ham10000",
    "isic2019",
    "kermany_chest",
    "medmnist",
    "mrnet",
    "nih_chestxray14",
    "patchcamelyon",
    "radimagenet",
    "rsna_pneumonia",
]
HASH_DIGITS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class RemoteFileSettings:
    """One file that may be downloaded."""

    name: str = option("where it goes, below the data set's folder")
    urls: tuple[str, ...] = option("addresses, tried in order: the origin, then mirrors")
    size: int = option("bytes, where known", default=0, minimum=0)
    sha256: str | None = option("checksum of the file", default=None)
    md5: str | None = option("checksum, for files whose owner publishes no sha256", default=None)
    unpack: bool = option(
        "unpack the archive (zip, npz, tar, gz) into its folder; the archive is kept", default=False
    )

    def __post_init__(self) -> None:
        if not is_inner_path(self.name):
            raise ConfigError(f"key 'name' is '{self.name}'; allowed: a path below the folder")
        if not self.urls:
            raise ConfigError(f"file '{self.name}' has no address in 'urls'")
        for url in self.urls:
            if not url.startswith(("https://", "http://")):
                raise ConfigError(f"file '{self.name}': url '{url}'; allowed: https:// or http://")
        for kind, digits in HASH_DIGITS.items():
            value = getattr(self, kind)
            if value is not None and (len(value) != digits or set(value) - set("0123456789abcdef")):
                raise ConfigError(
                    f"file '{self.name}': {kind} is '{value}'; allowed: {digits} hexadecimal digits in "
                    "lower case"
                )


@dataclass(frozen=True)
class AccessSettings:
    """How the files of a public data set come into resources/datasets/<dataset>/."""

    files: tuple[RemoteFileSettings, ...] = option("what may be downloaded freely", default=())
    client: tuple[str, ...] = option(
        "command of the owner's own client, run in the data set's folder, where an account is needed",
        default=(),
    )
    token: str | None = option(
        "environment variable with an access token, sent to the hosts of 'files'", default=None
    )
    expected: tuple[str, ...] = option("files and folders that must be there in the end", default=())
    instructions: str = option(
        "for people: which files to get, where from, and where to put them", default=""
    )

    def __post_init__(self) -> None:
        if not self.expected and not self.files:
            raise ConfigError("give 'files' to download, or 'expected': what must be there in the end")
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ConfigError("key 'files' names a file twice")
        for name in self.expected:
            if not is_inner_path(name):
                raise ConfigError(f"key 'expected' has '{name}'; allowed: paths below the folder")


@dataclass(frozen=True)
class AdapterSettings:
    """Which layout a public data set has, and how its labels are read."""

    name: AdapterName = option("the layout, as its owners publish it")
    uncertain: Literal["zeros", "ones", "ignore"] | None = option(
        "chexpert: what an uncertain label becomes (default: zeros)", default=None
    )
    views: Literal["all", "frontal"] | None = option(
        "chexpert: which views to keep (default: all)", default=None
    )
    subset: str | None = option(
        "medmnist: name of the set, e.g. breastmnist_224; radimagenet, class_folders: folder of images",
        default=None,
    )
    sample: int | None = option(
        "patchcamelyon: draw so many images from all parts", default=None, minimum=1
    )
    sample_seed: int = option("seed of that draw", default=22, minimum=0)

    def __post_init__(self) -> None:
        meant_for = {
            "uncertain": ("chexpert",),
            "views": ("chexpert",),
            "subset": ("medmnist", "radimagenet", "class_folders"),
            "sample": ("patchcamelyon",),
        }
        for key, adapters in meant_for.items():
            if getattr(self, key) is not None and self.name not in adapters:
                raise ConfigError(
                    f"key '{key}' has no meaning for adapter {self.name}; "
                    f"it is for {', '.join(adapters)}"
                )
        if self.name == "medmnist" and self.subset is None:
            raise ConfigError("adapter medmnist needs the key 'subset', e.g. breastmnist_224")


@dataclass(frozen=True)
class CardSettings:
    """What a reader must know of a data set, shown in docs/datasets.md and in the report."""

    version: str = option("version or date of the data")
    licence: str = option("licence, or the terms of access")
    size: str = option("images, patients and bytes, as published")
    grouping: str = option("what splits keep whole, and what they can't")
    paper_split: str = option("the split that the studies used", default="")
    defects: tuple[str, ...] = option("what is known to be wrong, and what is done", default=())
    checked: Literal["real data", "layout"] = option(
        "whether the adapter was run on the full real data, or on a generated copy of the layout only",
        default="layout",
    )


def is_inner_path(name: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
