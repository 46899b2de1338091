"""Tables that users bring, read without guessing types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medtransfer.errors import DataError

MANIFEST_MISSING = (
    "no such manifest; place the data set there (its file in config/datasets/ says where it comes "
    "from) or correct the key 'manifest'"
)


def read_text_table(path: Path, missing: str = MANIFEST_MISSING) -> pd.DataFrame:
    """A CSV or parquet table with all columns as text and empty cells as NaN.

    Args:
        path: of the table.
        missing: what to say where there is none.

    Raises:
        DataError: there is no such file, or it is no table.
    """
    if not path.is_file():
        raise DataError(f"{path}: {missing}")
    try:
        if path.suffix == ".parquet":
            # the stored index is dropped: columns must stay in step by position
            table = pd.read_parquet(path).reset_index(drop=True).astype(object)
        else:
            table = pd.read_csv(
                path, dtype=str, skipinitialspace=True, keep_default_na=False, index_col=False
            )
    except (ValueError, OSError) as error:  # parser, decoder and parquet errors are among these
        raise DataError(f"{path}: not a table that can be read: {error}") from error
    return table.map(_as_text)


def _as_text(value: object) -> object:
    """Text; NaN for nothing; whole numbers without a decimal point, as tools write them either way."""
    if value is None or value is pd.NA or value is pd.NaT or value == "" or value != value:
        return np.nan
    text = str(value)
    whole = text.removesuffix(".0")
    return whole if whole.lstrip("-").isdigit() else text
