"""Manifests: the user's table of images, read into the project's own columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import suggestion
from medtransfer.data.fold_lists import PARTS, read_fold_lists
from medtransfer.data.text_table import read_text_table
from medtransfer.errors import DataError


def read_manifest(path: Path, dataset: DatasetSettings) -> pd.DataFrame:
    """Read a manifest and give its columns the project's names.

    Args:
        path: a CSV or parquet file with one row an image.
        dataset: says which column is what.

    Returns:
        One row an image: ``manifest_row``, ``file`` (full path), ``frame``, ``patient`` (as the
        manifest has it; NaN when unknown), ``site``, ``published_part``, ``published_part_<fold>``,
        ``group_<column>`` and ``label`` (class index, -1 when empty) or, for multilabel,
        ``label_<column>`` (0, 1, NaN).

    Raises:
        DataError: naming the manifest, the column or the value, and what is allowed.
    """
    raw = read_text_table(path)
    _check_columns(raw, path, dataset)
    root = Path(dataset.root) if dataset.root else path.parent
    table = pd.DataFrame({"manifest_row": np.arange(len(raw))})
    table["file"] = [str(root / name) for name in raw[dataset.image].fillna("")]
    table["frame"] = _frames(raw, path, dataset)
    _check_one_row_each(table, path, dataset)
    for name, column in (("patient", dataset.patient), ("site", dataset.site)):
        table[name] = raw[column] if column else None
    table["published_part"] = _published_parts(raw, path, dataset)
    if dataset.fold_lists is not None:
        lists = read_fold_lists(table["file"], dataset.fold_lists, dataset.fold_column)
        for fold, parts in lists.items():
            table[f"published_part_{fold}"] = parts
    for column in dataset.groups:
        table[f"group_{column}"] = raw[column]
    for name, values in _labels(raw, path, dataset).items():
        table[name] = values
    return table


def _check_columns(raw: pd.DataFrame, path: Path, dataset: DatasetSettings) -> None:
    wanted = {"image": dataset.image, "patient": dataset.patient, "site": dataset.site}
    wanted |= {"split": dataset.split, "frame": dataset.frame}
    if isinstance(dataset.labels, str):
        wanted["labels"] = dataset.labels
    else:
        wanted |= {f"labels[{i}]": name for i, name in enumerate(dataset.labels)}
    wanted |= {f"groups[{i}]": name for i, name in enumerate(dataset.groups)}
    known = [str(name) for name in raw.columns]
    for key, column in wanted.items():
        if column is not None and column not in known:
            raise DataError(
                f"{path}: no column '{column}' (key '{key}'){suggestion(column, known)} "
                f"(columns: {', '.join(known)})"
            )
    if raw.empty:
        raise DataError(f"{path}: no rows")


def _check_one_row_each(table: pd.DataFrame, path: Path, dataset: DatasetSettings) -> None:
    again = table.duplicated(["file", "frame"])
    if again.any():
        row = int(again.to_numpy().argmax())
        same = (table["file"] == table["file"][row]) & (table["frame"] == table["frame"][row])
        rows = ", ".join(map(str, table["manifest_row"][same][:5]))
        raise DataError(
            f"{path}: image {table['file'][row]!r} (column '{dataset.image}') is in rows {rows}; "
            f"allowed: one row an image ({int(again.sum())} rows too many)"
        )


def _frames(raw: pd.DataFrame, path: Path, dataset: DatasetSettings) -> np.ndarray:
    """Frame numbers; -1 stands for a file with a single frame."""
    if dataset.frame is None:
        return np.full(len(raw), -1)
    frames = pd.to_numeric(raw[dataset.frame], errors="coerce")
    bad = raw.index[frames.isna() | (frames < 0) | (frames % 1 != 0)]
    if len(bad):
        value = raw[dataset.frame][bad[0]]
        raise DataError(
            f"{path}: column '{dataset.frame}' has {value!r} in row {bad[0]}; "
            "allowed: frame numbers from 0"
        )
    return frames.to_numpy(dtype=np.int64)


def _published_parts(raw: pd.DataFrame, path: Path, dataset: DatasetSettings) -> pd.Series | None:
    if dataset.split is None:
        return None
    parts = raw[dataset.split].str.lower().replace({"val": "validation", "valid": "validation"})
    _check_values(parts, PARTS, path, dataset.split)
    return parts


def _labels(raw: pd.DataFrame, path: Path, dataset: DatasetSettings) -> dict[str, np.ndarray]:
    if isinstance(dataset.labels, tuple):
        columns = {}
        for name in dataset.labels:
            numbers = pd.to_numeric(raw[name], errors="coerce").where(raw[name].notna())
            wrong = raw[name].notna() & ~numbers.isin([0.0, 1.0])
            _check_values(raw[name].where(wrong), ("0", "1", "(empty)"), path, name)
            columns[f"label_{name}"] = numbers.to_numpy(dtype=np.float64)
        return columns
    values = raw[dataset.labels]
    _check_values(values, dataset.class_names, path, dataset.labels)
    index = {name: i for i, name in enumerate(dataset.class_names)}
    return {"label": values.map(index).fillna(-1).to_numpy(dtype=np.int64)}


def _check_values(values: pd.Series, allowed: tuple[str, ...], path: Path, column: str) -> None:
    wrong = values[values.notna() & ~values.isin(allowed)]
    if len(wrong):
        raise DataError(
            f"{path}: column '{column}' has {wrong.iloc[0]!r} in row {wrong.index[0]}"
            f"{suggestion(str(wrong.iloc[0]), allowed)} (allowed: {', '.join(allowed)}; "
            f"{len(wrong)} such rows)"
        )
