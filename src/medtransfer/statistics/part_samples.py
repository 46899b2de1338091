"""Resamples of the patients of one part of the data, shared by all runs that were scored on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medtransfer.statistics.resampling import Resamples, patient_resamples


@dataclass(frozen=True)
class PartSamples:
    """The resamples of the patients of one part of the data, of all runs and splits together.

    Test parts of several splits, or external parts that are the same in all of them, share patients;
    drawn together, they are neither taken for independent nor drawn twice.

    Attributes:
        images: ids of N images.
        resamples: weights of these images.
    """

    images: pd.Index
    resamples: Resamples

    def of(self, table: pd.DataFrame) -> Resamples:
        """The weights of the images of a table of predictions, in the order of its rows."""
        columns = self.images.get_indexer(pd.Index(table["image_id"]))
        return self.resamples.take(columns)


def part_samples(name: str, tables: Sequence[pd.DataFrame], n_resamples: int) -> PartSamples:
    """Draw the patients of all images of some tables of predictions.

    Args:
        name: of the part; parts of different names are drawn independently.
        tables: of schema PREDICTIONS.
        n_resamples: draws.
    """
    everything = pd.concat([table[["image_id", "patient"]] for table in tables])
    images = everything.drop_duplicates("image_id").sort_values("image_id")
    samples = patient_resamples(images["patient"], name, n_resamples=n_resamples)
    return PartSamples(pd.Index(images["image_id"]), samples)
