"""Five thousand damaged files: each costs itself, and the job neither crashes, hangs nor swells."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import damage
import numpy as np
import pandas as pd
import pydicom
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data.decoding import Outcome, Request, StoreWriter, Target
from medtransfer.data.store import build_store
from medtransfer.data.workers import Limits, supervised_map

FILES = 5000
SIDE = 32
KEY = bytes(32)


class Measured:
    """A decoding process that reports the most memory it has held, in MiB."""

    def __init__(self, writer: StoreWriter) -> None:
        self.writer = writer

    def __call__(self, request: Request) -> tuple[Outcome, float]:
        import resource

        outcome = self.writer(request)
        return outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table_of(files: list[Path]) -> pd.DataFrame:
    rows = np.arange(len(files))
    nothing = {"patient": None, "site": None, "published_part": None}
    names = [str(path) for path in files]
    table = {"manifest_row": rows, "file": names, "frame": -1, **nothing, "label": rows % 2}
    return pd.DataFrame(table)


def settings(**keys: object) -> DatasetSettings:
    default = {"task": "binary", "labels": "y", "classes": ["a", "b"], "manifest": "m"}
    geometry = {"image_size": SIDE, "channels": 1, "max_rejected": 1.0}
    return parse(DatasetSettings, {**default, **geometry, **keys}, "d.yaml")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("spoilt")
    generator = np.random.default_rng(20260801)
    originals = [path.read_bytes() for path in damage.fixtures()]
    assert len(originals) > 60
    paths = []
    for number in range(FILES):
        content = originals[generator.integers(len(originals))]
        paths.append(folder / f"{number:04d}.dcm")
        paths[-1].write_bytes(damage.damaged(content, generator))
    return paths


def test_damaged_files_cost_themselves_only(spoilt, tmp_path):
    began = time.monotonic()
    build_store(table_of(spoilt), settings(all_frames=True), KEY, tmp_path, 2)
    assert time.monotonic() - began < 300
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    rejected = pd.read_parquet(tmp_path / "rejected.parquet")
    assert len(images) == len(samples) > 1000
    assert rejected["manifest_row"].nunique() > 2000
    assert set(samples["manifest_row"]) | set(rejected["manifest_row"]) == set(range(FILES))
    assert (rejected["reason"].str.len() > 0).all()
    crashed = rejected["reason"].str.contains("crashed")
    assert crashed.mean() < 0.01, rejected["reason"][crashed].tolist()
    assert not rejected["reason"].str.contains("took longer").any()


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_damaged_files_take_no_more_memory_than_whole_ones(spoilt, tmp_path):
    pixels = tmp_path / "pixels.npy"
    np.lib.format.open_memmap(pixels, mode="w+", dtype=np.uint8, shape=(FILES, SIDE, SIDE, 1)).flush()
    writer = StoreWriter(Target(str(pixels), SIDE, 1, "pad", 8, KEY))
    requests = [Request(row, str(path), -1) for row, path in enumerate(spoilt[:1500])]
    answers = [r for _, r in supervised_map(Measured(writer), requests, 2) if isinstance(r, tuple)]
    assert len(answers) > 1450
    assert max(memory for _, memory in answers) < 700


def test_a_header_of_60000_by_60000_over_a_kilobyte_is_refused_at_once(tmp_path):
    template = pydicom.dcmread(next(p for p in damage.fixtures() if p.name == "MR_small.dcm"))
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"):
        template.Rows = template.Columns = 60000
        template.PixelData = bytes(1024)
        template.file_meta.TransferSyntaxUID = syntax
        template["PixelData"].is_undefined_length = syntax != "1.2.840.10008.1.2.1"
        if template["PixelData"].is_undefined_length:
            template.PixelData = pydicom.encaps.encapsulate([bytes(1024)])
        file = io.BytesIO()
        template.save_as(file)
        (tmp_path / f"{syntax}.dcm").write_bytes(file.getvalue())
    paths = sorted(tmp_path.glob("*.dcm"))
    writer = StoreWriter(Target("", SIDE, 1, "pad", 8, KEY))
    requests = [Request(row, str(path), -1) for row, path in enumerate(paths)]
    began = time.monotonic()
    answers = list(supervised_map(Measured(writer), requests, 1, Limits(memory_bytes=2**29)))
    assert time.monotonic() - began < 10
    assert len(answers) == 3
    for _, (outcome, memory) in answers:
        assert outcome.reason.startswith("60000 rows x 60000 columns x 1 samples; allowed: at most")
        assert memory < 300


def test_the_damage_is_damage():
    """Few of the damaged files are what they were, and they differ from each other."""
    original = next(p for p in damage.fixtures() if p.name == "CT_small.dcm").read_bytes()
    generator = np.random.default_rng(0)
    copies = [damage.damaged(original, generator) for _ in range(200)]
    assert len(set(copies)) > 180
    assert sum(copy == original for copy in copies) < 5
