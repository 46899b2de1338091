"""Knee MRI: MRNet (Bien et al. 2018), sagittal slices."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.data.adapters.arrays import array_shape
from medtransfer.data.adapters.layout import (
    check_values,
    folder_with,
    manifest,
    one_row_each,
    read_table,
)
from medtransfer.errors import DataError

# the owners' test set is hidden: papers report on their validation set
OFFICIAL_PARTS = {"train": "train", "valid": "test"}
FINDINGS = ("acl", "meniscus", "abnormal")


def adapt_mrnet(folder: Path, _settings: AdapterSettings) -> pd.DataFrame:
    """``MRNet-v1.0/<train|valid>/sagittal/<exam>.npy`` and ``<train|valid>-<finding>.csv``.

    An exam's array is slices x height x width; its rows are the slices of the middle half, where
    the ligaments and menisci are. The tables have no header: exam, 0 or 1. ``label`` is ``acl``
    (also with a meniscal tear), else ``meniscus``, else ``normal`` (no tear, though perhaps
    ``abnormal``). The owners' validation exams are the test part. Exams are taken for patients: the
    owners give no other number.
    """
    root = folder_with(folder, "train-acl.csv", "MRNet-v1.0")
    rows = [row for part in ("train", "valid") for row in _part_rows(root, part, folder)]
    names = ("image", "frame", "label", "patient", "split", *FINDINGS)
    return manifest({name: [row[i] for row in rows] for i, name in enumerate(names)})


def _part_rows(root: Path, part: str, folder: Path) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for exam, *findings in _exam_findings(root, part).itertuples(index=False):
        path = root / part / "sagittal" / f"{exam}.npy"
        label = "acl" if findings[0] == "1" else "meniscus" if findings[1] == "1" else "normal"
        image = path.relative_to(folder).as_posix()
        rows += [
            (image, number, label, exam, OFFICIAL_PARTS[part], *findings)
            for number in _middle_slices(path)
        ]
    return rows


def _exam_findings(root: Path, part: str) -> pd.DataFrame:
    """``exam`` and one column a finding, 0 or 1."""
    table = None
    for finding in FINDINGS:
        path = root / f"{part}-{finding}.csv"
        column = one_row_each(read_table(path, ["exam", finding], header=False), "exam", path)
        check_values(column[finding], ("0", "1"), path, finding)
        if table is not None and set(column["exam"]) != set(table["exam"]):
            raise DataError(f"{path}: other exams than in {part}-{FINDINGS[0]}.csv; expected the same")
        table = column if table is None else table.merge(column, on="exam", validate="1:1")
    assert table is not None
    return table


def _middle_slices(path: Path) -> range:
    """Slice numbers; a missing file keeps one, which the store will reject by name."""
    if not path.is_file():
        return range(1)
    shape = array_shape(path)
    if len(shape) != 3:
        raise DataError(f"{path}: an array of shape {shape}; expected slices x height x width")
    count = shape[0]
    return range(count // 4, count - count // 4)
