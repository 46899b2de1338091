"""What a network answered about one part of the images, and what was right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import DataError


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of one part of one run.

    Attributes:
        task: binary, multiclass, multilabel or ordinal.
        logits: float, N x K; K is 1 for binary.
        labels: N class indices, or for multilabel N x K of 0, 1 and NaN (unknown).
    """

    task: str
    logits: np.ndarray
    labels: np.ndarray

    @property
    def separate(self) -> bool:
        """Whether each output is a yes-or-no question of its own: binary and multilabel."""
        return self.task in ("binary", "multilabel")

    @property
    def probabilities(self) -> np.ndarray:
        """N x K; the sigmoid of each logit for binary and multilabel, else the softmax."""
        logits = self.logits.astype(np.float64)
        return expit(logits) if self.separate else softmax(logits, axis=1)

    @property
    def targets(self) -> np.ndarray:
        """N x K of 0, 1 and NaN: each output's own yes-or-no question."""
        if self.task == "multilabel":
            return self.labels
        if self.task == "binary":
            return self.labels[:, None].astype(np.float64)
        return np.eye(self.logits.shape[1])[self.labels]

    @property
    def decisions(self) -> np.ndarray:
        """N class indices, or for multilabel N x K of 0 and 1.

        A yes needs a probability above 0.5; several classes are decided for the most likely one, the
        first of equals.
        """
        if self.task == "multilabel":
            return (self.logits > 0).astype(np.int64)
        if self.task == "binary":
            return (self.logits[:, 0] > 0).astype(np.int64)
        return self.logits.argmax(axis=1)

    def take(self, rows: np.ndarray) -> Predictions:
        """Some of the images: by indices (in their order, repeated if repeated) or by N truths."""
        return Predictions(self.task, self.logits[rows], self.labels[rows])


def predictions_of(table: pd.DataFrame, dataset: DatasetSettings) -> Predictions:
    """Logits and labels from a table of predictions, in the order of its rows.

    Args:
        table: of schema PREDICTIONS, usually the rows of one part.
        dataset: task and outputs.

    Raises:
        DataError: a column of logits or labels is missing.
    """
    logits = [f"logit_{name}" for name in dataset.outputs]
    multilabel = dataset.task == "multilabel"
    labels = [f"label_{name}" for name in dataset.outputs] if multilabel else ["label"]
    missing = [name for name in (*logits, *labels) if name not in table]
    if missing:
        raise DataError(
            f"table of predictions: missing column {', '.join(missing)}; needed for task "
            f"{dataset.task}: a logit of each output and its label"
        )
    found = table[labels].to_numpy()
    return Predictions(dataset.task, table[logits].to_numpy(), found if multilabel else found[:, 0])
