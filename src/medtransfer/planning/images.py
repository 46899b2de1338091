"""How many images each part of a data set has, from the best that is known of it."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet

from medtransfer.config.dataset import DatasetSettings, GeneratorSettings
from medtransfer.config.names import is_redrawn, parse_fold, wanted_size
from medtransfer.planning.work import PartSizes
from medtransfer.tables import read_table

# the phantoms draw 1 to 4 images of a chest and 1 or 2 eyes of a patient, equally often
IMAGES_OF_A_PATIENT = {"phantom_chest": 2.5, "phantom_fundus": 1.5}
_STATED = re.compile(r"^(\d[\d,]*(?:\.\d+)?)( million)?\b")


class DatasetImages:
    """The images of one data set: counted where its tables are, else estimated, else unknown.

    Args:
        settings: of the data set.
        tables: the folder with its ``samples.parquet`` and ``splits/``, if they are made already.
        manifest: where its manifest is, if there is one already.
    """

    def __init__(self, settings: DatasetSettings, tables: Path, manifest: Path) -> None:
        self._settings = settings
        self._tables = tables
        self._manifest = manifest
        self._splits: dict[str, pd.DataFrame | None] = {}
        self._sizes: dict[tuple[str, str, int], PartSizes | None] = {}

    @cached_property
    def count(self) -> int | None:
        """All images: stored, else of the manifest, else as the settings state; None if unknown."""
        samples = self._tables / "samples.parquet"
        if samples.is_file():
            return _rows(samples)
        if self._manifest.is_file() and not self._settings.all_frames:
            return _rows(self._manifest)
        return stated_images(self._settings)

    def counted(self, split: str) -> bool:
        """Whether the parts of a split are counted, not estimated."""
        return self._split(split) is not None

    def parts(self, split: str, subset: str, seed: int = 0) -> PartSizes | None:
        """The parts of a split, with the training images of a subset; None if unknown.

        Args:
            split, subset: their names.
            seed: of the run, for subsets that are drawn anew for each.

        Raises:
            ConfigError: the subset has more images than there are to train on.
        """
        key = (split, subset, seed if is_redrawn(subset) else 0)
        if key not in self._sizes:
            self._sizes[key] = self._parts(*key)
        return self._sizes[key]

    def _parts(self, split: str, subset: str, seed: int) -> PartSizes | None:
        table = self._split(split)
        if table is not None:
            counts = table["part"].value_counts()
            others = [int(counts.get(part, 0)) for part in ("validation", "test", "external")]
            from medtransfer.data.splits import training_subset  # scipy, for where a split is drawn

            return PartSizes(len(training_subset(table, subset, seed)), *others)
        return None if self.count is None else expected_parts(self.count, self._settings, split, subset)

    def _split(self, split: str) -> pd.DataFrame | None:
        if split not in self._splits:
            path = self._tables / "splits" / f"{split}.parquet"
            self._splits[split] = read_table(path) if path.is_file() else None
        return self._splits[split]


def _rows(manifest: Path) -> int:
    """Rows of a manifest below its header."""
    if manifest.suffix == ".parquet":
        return int(pyarrow.parquet.read_metadata(manifest).num_rows)
    with manifest.open("rb") as file:
        return sum(1 for line in file if line.strip()) - 1


def expected_parts(count: int, dataset: DatasetSettings, split: str, subset: str) -> PartSizes:
    """The parts of a split that isn't drawn yet, by the shares of the settings.

    Published splits are taken as if they had these shares, and external sites as if they had no images.
    """
    shares, fold = dataset.splits, parse_fold(split)
    test = shares.test if fold is None else 1 / fold[0]
    validation = shares.validation * (1.0 if fold is None else 1 - test)
    available = max(1, round(count * (1 - test - validation)))
    wanted = wanted_size(subset, available)
    return PartSizes(min(wanted, available), round(count * validation), round(count * test))


def stated_images(dataset: DatasetSettings) -> int | None:
    """Images as a generator's settings imply or as the card states first; None without either."""
    if dataset.generator is not None:
        return _drawn_images(dataset.generator)
    stated = _STATED.match(dataset.card.size) if dataset.card is not None else None
    if stated is None:
        return None
    return round(float(stated[1].replace(",", "")) * (1e6 if stated[2] else 1))


def _drawn_images(generator: GeneratorSettings) -> int:
    if generator.name == "fractal":
        return generator.size * generator.images
    return round(generator.size * IMAGES_OF_A_PATIENT[generator.name])


def store_bytes(images: DatasetImages, settings: DatasetSettings) -> int | None:
    """Bytes of a pixel store, uint8 or uint16, N x side x side x channels; None if N is unknown."""
    if images.count is None:
        return None
    return images.count * settings.image_size**2 * settings.channels * settings.bits // 8
