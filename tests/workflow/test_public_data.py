"""A public data set: fetched, unpacked, adapted, stored, split, audited; and told when it can't be."""

from __future__ import annotations

import copy
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Workspace
from PIL import Image


def archive() -> bytes:
    """Two classes of pictures, in the layout of class folders with parts."""
    generator = np.random.default_rng(0)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as pictures:
        for number in range(60):
            kind = number % 2
            pixels = generator.integers(0, 128, (24, 24)) + 100 * kind
            picture = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(picture, "PNG")
            part = ("train", "val", "test")[number // 2 % 3]
            pictures.writestr(f"pictures/{part}/{'ab'[kind]}/{number}.png", picture.getvalue())
    return content.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "pictures.zip").write_bytes(archive())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/pictures.zip"
    server.shutdown()


def settings_of(mini_settings: dict, address: str) -> dict:
    settings = copy.deepcopy(mini_settings)
    settings["datasets"]["chest"] = {
        "task": "binary", "labels": "label", "classes": ["a", "b"], "image_size": 24, "channels": 1,
        "split": "split", "adapter": {"name": "class_folders", "subset": "pictures"},
        "access": {
            "files": [{"name": "pictures.zip", "urls": [address], "unpack": True}],
            "expected": ["pictures/train"], "instructions": "Ask the owners for pictures.zip.",
        },
    }  # fmt: skip
    settings["studies"]["mini"]["grids"][0] |= {"inits": ["random"], "splits": ["published"]}
    return settings


@pytest.fixture(scope="module")
def fetched(tmp_path_factory, mini_settings, address) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("public"))
    workspace.write_study(settings_of(mini_settings, address))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        workspace.snakemake("data")
    return workspace


def test_it_is_fetched_adapted_stored_and_split_as_published(fetched):
    record = json.loads((fetched.folder / "resources/datasets/chest/fetched.json").read_text())
    assert record["files"][0]["source"].endswith("/pictures.zip")
    samples = pd.read_parquet(fetched.folder / "results/data/chest/samples.parquet")
    split = pd.read_parquet(fetched.folder / "results/data/chest/splits/published.parquet")
    assert split["part"].value_counts().to_dict() == {"train": 20, "validation": 20, "test": 20}
    assert samples["label"].tolist().count(1) == 30
    audit = json.loads((fetched.folder / "results/data/chest/audit.json").read_text())
    assert audit["splits"]["published"]["parts"]["test"]["classes"] == {"a": 10, "b": 10}
    assert "Data set chest" in (fetched.folder / "results/data/chest/audit.html").read_text()


def test_nothing_is_fetched_or_decoded_again(fetched, mini_settings):
    assert fetched.planned("data") == {}
    before = fetched.study.read_text()
    fetched.write_study(settings_of(mini_settings, "https://mirror.example.org/pictures.zip"))
    assert fetched.planned("data") == {}
    fetched.study.write_text(before)


def test_what_was_decoded_is_decoded_again_when_the_geometry_changes(fetched, mini_settings, address):
    before = fetched.study.read_text()
    settings = settings_of(mini_settings, address)
    settings["datasets"]["chest"]["geometry"] = "crop"
    fetched.write_study(settings)
    jobs = fetched.planned("data")
    assert "fetch" not in jobs and "adapt" not in jobs and "check_manifest" not in jobs
    assert jobs["store"] == 1
    fetched.study.write_text(before)


def test_what_cannot_be_fetched_is_told_with_how_to_get_it_by_hand(tmp_path, mini_settings, address):
    workspace = Workspace(tmp_path)
    workspace.write_study(settings_of(mini_settings, address.replace("pictures.zip", "none.zip")))
    assert workspace.planned("data")["fetch"] == 1
    result = workspace.snakemake("data", check=False)
    told = result.stdout + result.stderr
    assert "pictures.zip: not fetched" in told
    assert "404" in told
    assert "Ask the owners for pictures.zip." in told
    assert "put what is missing into resources/datasets/chest" in told
    assert "Traceback" not in told


def test_files_that_are_there_need_no_network(tmp_path, mini_settings, monkeypatch):
    workspace = Workspace(tmp_path)
    workspace.write_study(settings_of(mini_settings, "https://host.invalid/pictures.zip"))
    place = Path(tmp_path / "resources/datasets/chest")
    place.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(archive())) as pictures:
        pictures.extractall(place)
    monkeypatch.setenv("no_proxy", "*")
    workspace.snakemake("data")
    assert len(pd.read_parquet(tmp_path / "results/data/chest/samples.parquet")) == 60
