"""The labels of another data set in the words of the one that a network was trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings, class_map
from medtransfer.errors import DataError


def mapped_labels(
    samples: pd.DataFrame,
    theirs: DatasetSettings,
    ours: DatasetSettings,
    external: ExternalSettings,
) -> pd.DataFrame:
    """Labels of another data set's images, as the trained network's outputs have them.

    An image gets one of several classes of ours if it belongs to exactly one of them for sure: an
    image that two of its columns give to two classes, or of which one of them says nothing, is left
    out. Where only one class of a binary task is met by columns, the others are its absence. In a
    multilabel task an output that nothing is mapped to is unknown.

    Args:
        samples: the other data set's, of schema SAMPLES, indexed from 0.
        theirs: task and classes of the other data set.
        ours: of the data set that the network was trained on.
        external: how classes are called here.

    Returns:
        The images with a label only: their rows of ``samples`` as the index, and ``label`` or
        ``label_<output>`` as of schema PREDICTIONS.

    Raises:
        DataError: no image has a label.
    """
    names = class_map(external, theirs.class_names, ours.class_names)
    truth = _truth(samples, theirs)
    found = {
        own: _any_of(truth[[name for name, mapped in names.items() if mapped == own]])
        for own in ours.class_names
        if own in names.values()
    }
    evidence = pd.DataFrame(found, index=truth.index)
    if ours.task == "multilabel":
        inside = truth[list(names)].notna() if theirs.task == "multilabel" else truth[list(names)] == 1
        labels = evidence[inside.any(axis=1)].reindex(columns=list(ours.outputs)).add_prefix("label_")
    else:
        labels = _single_labels(evidence, ours)
    if labels.empty:
        raise DataError(
            f"none of {len(samples)} images has one of the classes {list(names)} that are mapped to "
            f"ours ({', '.join(map(str, names.values()))})"
        )
    return labels


def _truth(samples: pd.DataFrame, dataset: DatasetSettings) -> pd.DataFrame:
    """0, 1 and NaN: N x classes, each a yes-or-no question."""
    names = list(dataset.class_names)
    if dataset.task == "multilabel":
        values = samples[[f"label_{name}" for name in names]].to_numpy(dtype=np.float64)
    else:
        values = np.eye(len(names))[samples["label"].to_numpy()]
    return pd.DataFrame(values, columns=names)


def _any_of(columns: pd.DataFrame) -> np.ndarray:
    """1 if any is 1, 0 if all are 0, else NaN."""
    unknown = np.where(columns.isna().any(axis=1), np.nan, 0.0)
    return np.where((columns == 1).any(axis=1), 1.0, unknown)


def _single_labels(evidence: pd.DataFrame, ours: DatasetSettings) -> pd.DataFrame:
    """The index of the only class of each image that has one for sure."""
    if evidence.shape[1] == 1:
        (own,) = evidence
        (absent,) = set(ours.class_names) - {own}
        evidence = evidence.assign(**{absent: 1 - evidence[own]})
    sure = evidence[evidence.notna().all(axis=1) & (evidence.sum(axis=1) == 1)]
    ordered = sure.reindex(columns=list(ours.class_names), fill_value=0.0)
    return pd.DataFrame({"label": ordered.to_numpy().argmax(axis=1)}, index=sure.index)
