"""Which subgroup each image is in: values of the manifest's columns, bands of numbers, intersections.

The store keeps the manifest's values as they are; bands and intersections are made of them wherever
they are needed, so changing those decodes and trains nothing again.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import DataError
from medtransfer.tables import family

# The group of images whose value isn't known.
MISSING = "(missing)"
# DICOM PS3.5 §6.2, value representation AS: days, weeks, months or years, here in years.
_AGE = re.compile(r"(\d{3})([DWMY])")
_UNITS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def subgroups(samples: pd.DataFrame, dataset: DatasetSettings, where: str) -> pd.DataFrame:
    """The name of each image's group in every division of the images.

    Args:
        samples: N rows, of schema SAMPLES; its columns ``group_<column>`` are divisions.
        dataset: bands and intersections.
        where: what errors call the samples, such as their file.

    Returns:
        N rows with the index of ``samples``. One column a division, named by the manifest's column or,
        for an intersection, like ``sex & age``; ordered categories, bands rising and MISSING last. An
        image whose value of one column is missing is in no group of the intersection.

    Raises:
        DataError: a banded column holds a text that is no number; an intersection needs a column that
            the samples don't have.
    """
    columns = [name.removeprefix("group_") for name in family(samples, "group_")]
    single = {
        column: _groups(samples[f"group_{column}"], column, dataset.bands.get(column, ()), where)
        for column in columns
    }
    crossed = {
        " & ".join(names): _intersection([_known(single, name, where) for name in names])
        for names in dataset.intersections
    }
    return pd.DataFrame({**single, **crossed}, index=samples.index)


def band_names(edges: Sequence[float]) -> list[str]:
    """The groups between rising edges: ``<40``, ``40 to <60``, ``≥60`` for 40 and 60."""
    shown = [str(int(edge)) if float(edge).is_integer() else repr(float(edge)) for edge in edges]
    between = [f"{low} to <{high}" for low, high in itertools.pairwise(shown)]
    return [f"<{shown[0]}", *between, f"≥{shown[-1]}"]


def _known(single: dict[str, pd.Series], column: str, where: str) -> pd.Series:
    if column not in single:
        raise DataError(
            f"{where}: no column 'group_{column}', which 'intersections' names "
            f"(columns of groups: {', '.join(single) or '(none)'})"
        )
    return single[column]


def _groups(values: pd.Series, column: str, edges: Sequence[float], where: str) -> pd.Series:
    """Groups of one column."""
    values = values.astype(object).where(values.notna() & (values != MISSING), None)
    if not edges:
        return _ordered(values, sorted(set(values.dropna())))
    numbers = np.array([_number(value, column, where) for value in values], dtype=np.float64)
    names = band_names(edges)
    bands = np.array(names, dtype=object)[np.searchsorted(edges, numbers, side="right")]
    return _ordered(pd.Series(bands, index=values.index).where(~np.isnan(numbers), None), names)


def _number(value: Any, column: str, where: str) -> float:
    """The number of a text, of an age in years; NaN of nothing."""
    if pd.isna(value):
        return math.nan
    text = str(value).strip()
    age = _AGE.fullmatch(text)
    number = int(age[1]) * _UNITS[age[2]] if age is not None else _plain_number(text)
    if not math.isfinite(number):
        raise DataError(
            f"{where}: column '{column}', which 'bands' cuts, has {value!r}; allowed: numbers, DICOM "
            "ages such as 045Y, or nothing"
        )
    return number


def _plain_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _intersection(columns: Sequence[pd.Series]) -> pd.Series:
    """Images by their groups of several columns at once."""
    known = [[name for name in column.cat.categories if name != MISSING] for column in columns]
    texts = pd.concat([column.astype(object) for column in columns], axis=1)
    joined = texts.agg(" & ".join, axis=1).where((texts != MISSING).all(axis=1), None)
    return _ordered(joined, [" & ".join(names) for names in itertools.product(*known)])


def _ordered(values: pd.Series, names: Sequence[str]) -> pd.Series:
    """Texts and None as ordered categories: the names that occur in this order, then MISSING."""
    there = set(values.dropna())
    kept = [name for name in names if name in there]
    if values.isna().any():
        kept.append(MISSING)
    filled = values.where(values.notna(), MISSING)
    return pd.Series(pd.Categorical(filled, kept, ordered=True), index=values.index)
