"""The whole embedded study, as `make demo` runs it."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import Workspace


@pytest.mark.slow
def test_no_cell_of_the_embedded_study_is_at_the_ceiling_and_all_data_sets_are_learned(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.snakemake()
    summary = pd.read_parquet(tmp_path / "results/statistics/embedded/summary.parquet")
    cells = summary[summary["target"] & (summary["part"] == "test")]
    assert len(cells) == 30
    assert cells["mean"].max() < 0.97
    chance = {"phantom_chest": 0.5, "phantom_fundus": 0.0}
    for dataset, best in cells.groupby("dataset")["mean"].max().items():
        assert best > chance[dataset] + 0.2
    assert workspace.planned() == {}
