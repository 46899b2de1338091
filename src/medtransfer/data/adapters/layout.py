"""What the adapters share: finding and reading an owner's files, and laying out the manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from medtransfer.config.access import AdapterSettings
from medtransfer.config.typed import suggestion
from medtransfer.errors import DataError

Adapter = Callable[[Path, AdapterSettings], pd.DataFrame]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm")
PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SHOWN = 8


def manifest(columns: Mapping[str, Iterable[object]]) -> pd.DataFrame:
    """Rows in the order of ``image`` and ``frame``, every value text, empty where unknown."""
    table = pd.DataFrame({name: list(values) for name, values in columns.items()})
    keys = [key for key in ("image", "frame") if key in table]
    return table.sort_values(keys, kind="stable").reset_index(drop=True).astype(str)


def find(folder: Path, *candidates: str) -> Path:
    """The first of the candidates, paths below the folder, that exists."""
    for name in candidates:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder}: found {shown(folder)}; expected {' or '.join(candidates)}")


def folder_with(folder: Path, name: str, *subfolders: str) -> Path:
    """The folder itself or the first of its subfolders that has ``name``.

    Archives differ in whether they hold the outer folder.
    """
    inner = [f"{subfolder}/{name}" for subfolder in subfolders]
    found = find(folder, name, *inner)
    return found.parents[len(Path(name).parts) - 1]


def shown(folder: Path) -> str:
    """What a folder holds, in short, for an error."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing"


def read_table(path: Path, columns: Iterable[str], *, header: bool = True) -> pd.DataFrame:
    """The named columns of a CSV file and whatever others it has, as text without outer blanks.

    Args:
        path: the file.
        columns: those that must be there; without a header, the names of all columns in order.
        header: whether the first line holds the names.

    Raises:
        DataError: no such file, no table, no rows, or a missing column.
    """
    wanted = list(columns)
    if not path.is_file():
        raise DataError(f"{path}: no such file; {path.parent} holds {shown(path.parent)}")
    try:
        table = pd.read_csv(
            path,
            header=0 if header else None,
            names=None if header else wanted,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
            encoding="utf-8-sig",
        )
    except (ValueError, OSError) as error:  # parser and decoder errors are among these
        raise DataError(f"{path}: not a table that can be read: {error}") from error
    # a short last line leaves NaN even where empty cells stay text
    table = table.rename(columns=lambda name: str(name).strip()).fillna("").map(str.strip)
    found = list(table.columns)
    for column in wanted:
        if column not in found:
            raise DataError(
                f"{path}: no column '{column}'{suggestion(column, found)} (columns: {', '.join(found)})"
            )
    if table.empty:
        raise DataError(f"{path}: no rows")
    return table


def optional_column(table: pd.DataFrame, *names: str) -> pd.Series:
    """The first of the named columns that the table has; empty text where it has none."""
    for name in names:
        if name in table:
            return table[name]
    return pd.Series([""] * len(table), index=table.index, dtype=str)


def one_row_each(table: pd.DataFrame, key: str, path: Path) -> pd.DataFrame:
    """The table without exact repetitions; two different rows of one key are an error."""
    unique = table.drop_duplicates()
    again = unique[key][unique[key].duplicated()]
    if len(again):
        raise DataError(
            f"{path}: column '{key}' has {again.iloc[0]!r} in rows that differ ({len(again)} such "
            "rows); expected one row each"
        )
    return unique.reset_index(drop=True)


def check_values(values: pd.Series, allowed: Iterable[str], path: Path, column: str) -> None:
    """Raise DataError for the first value that is not allowed, naming file, column and line."""
    known = list(allowed)
    wrong = values[~values.isin(known)]
    if len(wrong):
        raise DataError(
            f"{path}: column '{column}' has {wrong.iloc[0]!r} in data row {wrong.index[0]} "
            f"({len(wrong)} such rows); expected {', '.join(repr(value) for value in known)}"
        )


def one_hot_class(table: pd.DataFrame, classes: Iterable[str], path: Path) -> pd.Series:
    """The name of the one column with a 1 in each row."""
    names = list(classes)
    marks = table[names].apply(pd.to_numeric, errors="coerce")
    wrong = table.index[(~marks.isin([0, 1])).any(axis=1) | (marks.sum(axis=1) != 1)]
    if len(wrong):
        raise DataError(
            f"{path}: data row {wrong[0]} has {table.loc[wrong[0], names].tolist()} "
            f"({len(wrong)} such rows); expected a single 1 among {', '.join(names)}, else 0"
        )
    return marks.idxmax(axis=1)


def image_files(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """All image files at any depth below a folder, sorted; hidden files and folders are skipped."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    visible = (path for path in found if not _is_hidden(path.relative_to(folder)))
    return sorted((path for path in visible if path.is_file()), key=lambda path: path.as_posix())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def paths_by_name(folder: Path, pattern: str) -> dict[str, str]:
    """Paths, relative to the folder, of the images in its subfolders that match, by file name.

    Where two folders hold a file of one name, the first in the order of paths counts.
    """
    places: dict[str, str] = {}
    for subfolder in sorted(path for path in folder.glob(pattern) if path.is_dir()):
        for path in image_files(subfolder):
            places.setdefault(path.name, path.relative_to(folder).as_posix())
    return places


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder, sorted by name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    inner = (path for path in folder.iterdir() if path.is_dir() and not _is_hidden(Path(path.name)))
    return sorted(inner, key=lambda path: path.name)


def matched(pattern: str, names: Iterable[str], folder: Path, expected: str) -> list[str]:
    """The first group of the pattern in each name; DataError for a name that doesn't match."""
    groups = []
    for name in names:
        match = re.match(pattern, name)
        if match is None:
            raise DataError(f"{folder}: '{name}' is no name of this data set; expected {expected}")
        groups.append(match[1])
    return groups
