"""Results from elsewhere: a table of other people's numbers as metrics of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.results import KEYS, REQUIRED, ResultsSettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.results import METRICS

_DEFAULTS = {"recipe": "published", "subset": "full", "part": "test", "seed": "0"}
_COUNTS = ("training_images", "images", "patients")


def imported_metrics(table: pd.DataFrame, settings: ResultsSettings) -> pd.DataFrame:
    """Results as runs have them, so that the same statistics and figures take them.

    Folds become the splits ``cv<folds>-<fold>`` of their data set, in the order of their names as
    numbers where they end in one; the value that has no fold is of the split ``holdout``.

    Args:
        table: every cell as text, as :func:`medtransfer.data.text_table` reads it; one row a run and
            metric.
        settings: the meaning of its columns.

    Returns:
        A table of schema METRICS.

    Raises:
        ConfigError: a column that isn't there, or a start whose name isn't one.
        DataError: a value that isn't a number, an empty cell, or two rows for one run and metric.
    """
    named = _named(table, settings)
    _check_filled(named, settings)
    result = pd.DataFrame({name: named[name] for name in (*REQUIRED[:-1], "recipe", "subset", "part")})
    result["init"] = _inits(named["init"], settings.inits)
    result["split"] = _splits(named, settings)
    result["seed"] = _whole_numbers(named, "seed", settings)
    result["value"] = _numbers(named, "value", settings).astype(float) * settings.scale
    for name in _COUNTS:
        result[name] = _whole_numbers(named, name, settings) if name in named else 0
    result["test_train_ratio"] = _ratio(result, settings)
    result["parameters"] = float("nan")
    result["target"] = result["metric"] == settings.target
    _check_metrics(result, settings)
    return result[list(METRICS.columns)].reset_index(drop=True)


def _named(table: pd.DataFrame, settings: ResultsSettings) -> pd.DataFrame:
    """The table with our names: columns, constants and what is usual."""
    named = pd.DataFrame(index=table.index)
    for key in KEYS:
        columns = settings.columns.get(key, key)
        wanted = [columns] if isinstance(columns, str) else list(columns)
        missing = [column for column in wanted if column not in table]
        if not missing:
            named[key] = _joined(table[wanted])
        elif key in settings.constants:
            named[key] = settings.constants[key]
        elif key in settings.columns or key in REQUIRED:
            raise ConfigError(
                f"{settings.table}: no column '{missing[0]}' for '{key}'; found: "
                f"{', '.join(map(str, table.columns))} (name it in 'columns', or set it in 'constants')"
            )
        elif key in _DEFAULTS:
            named[key] = _DEFAULTS[key]
    return named


def _joined(columns: pd.DataFrame) -> pd.Series:
    """The columns' texts with '_' between them; NaN where one is empty."""
    first, others = columns.iloc[:, 0], columns.iloc[:, 1:]
    return first.str.cat(others, sep="_") if others.shape[1] else first


def _check_filled(named: pd.DataFrame, settings: ResultsSettings) -> None:
    for key in named:
        empty = named[key].isna() | (named[key].astype(str).str.strip() == "")
        if empty.any():
            row = int(empty.to_numpy().argmax()) + 2
            raise DataError(f"{settings.table}, line {row}: '{key}' is empty; allowed: a value")


def _inits(found: pd.Series, names: Mapping[str, str]) -> pd.Series:
    unknown = [name for name in names if name not in set(found)]
    if unknown:
        raise ConfigError(
            f"key 'inits' has '{unknown[0]}'; the table has: {', '.join(sorted(set(found)))}"
        )
    inits = found.map(lambda name: names.get(name, name))
    for name in inits.unique():
        try:
            parse_init(name)
        except ConfigError as error:
            raise ConfigError(f"{error} (give it another name in 'results.inits')") from error
    return inits


def _splits(named: pd.DataFrame, settings: ResultsSettings) -> pd.Series:
    if "fold" not in named:
        return pd.Series("holdout", index=named.index)
    splits = pd.Series("", index=named.index)
    for (dataset, _), rows in named.groupby(["dataset", "recipe"], sort=False):
        folds = sorted(rows["fold"].unique(), key=lambda fold: (len(fold), fold))
        if len(folds) < 2:
            raise DataError(
                f"{settings.table}: 'fold' of data set {dataset} is always '{folds[0]}'; allowed: two "
                "or more folds, or no column of folds"
            )
        numbers = {fold: f"cv{len(folds)}-{i}" for i, fold in enumerate(folds)}
        splits[rows.index] = rows["fold"].map(numbers)
    return splits


def _numbers(named: pd.DataFrame, key: str, settings: ResultsSettings) -> pd.Series:
    numbers = pd.to_numeric(named[key], errors="coerce").astype(float)
    _check_all(numbers.abs() < math.inf, named[key], "a number", settings)
    return numbers


def _whole_numbers(named: pd.DataFrame, key: str, settings: ResultsSettings) -> pd.Series:
    numbers = _numbers(named, key, settings)
    whole = (numbers >= 0) & (numbers == numbers.round())
    _check_all(whole, named[key], "a whole number from 0 on", settings)
    return numbers.astype("int64")


def _check_all(good: pd.Series, found: pd.Series, allowed: str, settings: ResultsSettings) -> None:
    if not good.all():
        row = int((~good).to_numpy().argmax())
        place = f"{settings.table}, line {row + 2}"
        raise DataError(f"{place}: '{found.name}' is '{found.iloc[row]}'; allowed: {allowed}")


def _ratio(result: pd.DataFrame, settings: ResultsSettings) -> pd.Series:
    """Test over training images: counted where the table tells both, else as the settings say."""
    told = (result["images"] > 0) & (result["training_images"] > 0)
    counted = result["images"] / result["training_images"].where(told)
    ratio = counted if settings.test_train_ratio is None else counted.fillna(settings.test_train_ratio)
    if (ratio.isna() & (result["split"] != "holdout")).any():
        raise ConfigError(
            "key 'results.test_train_ratio' is missing: folds share training data, and how much "
            "decides their test; allowed: test over training images, or columns images and "
            "training_images"
        )
    return ratio


def _check_metrics(result: pd.DataFrame, settings: ResultsSettings) -> None:
    if not result["target"].any():
        raise ConfigError(
            f"key 'results.target' is '{settings.target}'; {settings.table} has: "
            f"{', '.join(sorted(result['metric'].unique()))}"
        )
    run = ["recipe", "dataset", "model", "init", "subset", "split", "seed", "part", "metric"]
    twice = result.duplicated(run)
    if twice.any():
        row = int(twice.to_numpy().argmax())
        name = ", ".join(f"{key} {result[key].iloc[row]}" for key in run)
        raise DataError(f"{settings.table}, line {row + 2}: a second value of {name}; allowed: one")
