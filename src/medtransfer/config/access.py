"""How a public data set is had, what its layout is, and what is known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

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
# ending of a name, the longest first, and the kind of archive that it means
ARCHIVES = {
    ".tar.gz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
    ".tgz": "tar",
    ".tar": "tar",
    ".zip": "zip",
    ".npz": "zip",
    ".gz": "gzip",
}
INNER_PATH = "a path below the folder, with '/', its last part not hidden by a dot"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


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
            raise ConfigError(f"key 'name' is '{self.name}'; allowed: {INNER_PATH}")
        if not self.urls:
            raise ConfigError(f"file '{self.name}' has no address in 'urls'")
        for url in self.urls:
            problem = _problem_of_address(url)
            if problem:
                raise ConfigError(
                    f"file '{self.name}': key 'urls' has '{shown_address(url)}', {problem}"
                )
        if self.unpack and not self.name.lower().endswith(tuple(ARCHIVES)):
            raise ConfigError(
                f"file '{self.name}': key 'unpack' is true, but the name is not that of an archive; "
                f"allowed: names that end in {', '.join(ARCHIVES)}"
            )
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
                raise ConfigError(f"key 'expected' has '{name}'; allowed: {INNER_PATH}")
        if self.client and not self.expected:
            raise ConfigError(
                "key 'client' is given without 'expected'; allowed: both, as the client is run only "
                "when something expected is missing"
            )
        if self.token is not None:
            self._check_token_addresses()

    def _check_token_addresses(self) -> None:
        for file in self.files:
            for url in file.urls:
                if not may_have_token(url):
                    raise ConfigError(
                        f"file '{file.name}': key 'urls' has '{shown_address(url)}'; allowed with "
                        "'token': https://, or http:// to this machine"
                    )


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
    checked: str = option(
        "what of the real data the adapter was run on; layout: a generated copy of the layout only",
        default="layout",
    )


def is_inner_path(name: str) -> bool:
    """Whether a path stays below the folder that it is relative to, and isn't hidden.

    Hidden names are those of files that the program keeps beside others, such as ``.name.part``.
    """
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and "\\" not in name and not path.name.startswith(".")


def may_have_token(url: str) -> bool:
    """Whether nobody can read a token on its way: by https, or to this machine."""
    return url.startswith("https://") or urlsplit(url).hostname in LOCAL_HOSTS


def shown_address(url: str) -> str:
    """An address without its query and user, which may hold secrets."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


def _problem_of_address(url: str) -> str:
    """What is wrong with a web address, and what is allowed; nothing when it is right."""
    if not url.startswith(("https://", "http://")):
        return "no web address; allowed: https:// or http://"
    if not (url.isascii() and url.isprintable()) or " " in url:
        return "with spaces or special characters; allowed: such characters as %20"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "no usable address; allowed: https://host/path or https://host:port/path"
    if "@" in parts.netloc:
        return "with a user or password before the host; allowed: 'token', or 'client' to log in"
    return "" if host else "without a host; allowed: https://host/path"
