"""Files of weights that come from the network: what is published of them, and how they get here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtransfer.config.access import AccessSettings
from medtransfer.config.source import WeightFileSettings
from medtransfer.config.typed import suggestion
from medtransfer.data.download import PATIENT, Patience
from medtransfer.data.fetch import fetch
from medtransfer.errors import ConfigError

Report = Callable[[str], None]

HUB = "https://huggingface.co"
# the file that timm itself looks for first
HUB_FILE = "model.safetensors"


def completed(file: WeightFileSettings) -> WeightFileSettings:
    """The settings, for a tag of the hub with what timm publishes of it where nothing else is given.

    That is mean, standard deviation, image size, licence and address.

    Raises:
        ConfigError: timm knows no such tag, or no file of it on the hub.
    """
    if file.hub is None:
        return dataclasses.replace(file, origin=file.origin or file.url or file.name)
    published = _published(file.hub)
    return dataclasses.replace(
        file,
        mean=file.mean or tuple(published.mean),
        std=file.std or tuple(published.std),
        image_size=file.image_size or published.input_size[-1],
        origin=file.origin or address(file.hub),
        licence=file.licence or published.license or "",
    )


def address(tag: str) -> str:
    """Where the file of a tag is; the environment variable HF_ENDPOINT may name a mirror of the hub.

    Raises:
        ConfigError: timm knows no such tag, or no file of it on the hub.
    """
    published = _published(tag)
    repository, _, revision = published.hf_hub_id.partition("@")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    name = published.hf_hub_filename or HUB_FILE
    return f"{endpoint}/{repository}/resolve/{revision or 'main'}/{name}"


def _published(tag: str) -> Any:
    """timm's pretrained configuration of a tag."""
    import timm  # here, since local files need none of its import time

    known = timm.list_pretrained()
    if tag not in known:
        raise ConfigError(
            f"key 'hub' is '{tag}'{suggestion(tag, known)} (allowed: what timm.list_pretrained() gives)"
        )
    published: Any = timm.get_pretrained_cfg(tag)
    if not published.hf_hub_id:
        raise ConfigError(
            f"key 'hub' is '{tag}', whose file isn't on the hub; give 'url: {published.url}' and its "
            "'sha256' instead"
        )
    return published


def fetched(
    file: WeightFileSettings, report: Report = lambda _: None, patience: Patience = PATIENT
) -> Path:
    """The file of a URL or of a tag of the hub, brought here unless it is here; always verified.

    Args:
        file: its settings.
        report: is given lines about the progress.
        patience: timeouts, numbers of tries and waits.

    Raises:
        DataError: it can't be had, with where to get it and where to put it; or the file that is here
            has another checksum.
        ConfigError: timm knows no such tag.
    """
    url = str(file.url) if file.hub is None else address(file.hub)
    path = Path(file.location)
    by_hand = f"without a network: get {url} on another machine and put it here as {path}"
    access = AccessSettings(files=(file.remote_file(url),), instructions=by_hand)
    fetch(access, path.parent, connections=1, report=report, patience=patience)
    return path
