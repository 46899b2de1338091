"""The labels of a run's training images: whether anything can be learned from them."""

from __future__ import annotations

import numpy as np

from medtransfer.config.dataset import Task
from medtransfer.errors import DataError


def outputs_without_contrast(
    labels: np.ndarray, outputs: tuple[str, ...], task: Task
) -> tuple[str, ...]:
    """The outputs that the training images say nothing about.

    That is a class without any image, or for binary and multilabel tasks an output whose known labels
    are all equal.

    Args:
        labels: of the training images, N class indices, or N x K for multilabel with NaN for unknown.
        outputs: names of the network's outputs.
        task: of the data set.

    Raises:
        DataError: no output has contrast: there is nothing to learn.
    """
    if task in ("binary", "multilabel"):
        columns = labels.reshape(len(labels), len(outputs))
        flat = [len(np.unique(column[~np.isnan(column)])) < 2 for column in columns.T.astype(float)]
        learned = not all(flat)
    else:
        counts = np.bincount(labels, minlength=len(outputs))
        flat = [count == 0 for count in counts]
        learned = sum(counts > 0) > 1
    if not learned:
        raise DataError(
            f"the {len(labels)} training images have one label only, so there is nothing to learn "
            f"(outputs: {', '.join(outputs)}); take a larger subset or another split"
        )
    return tuple(name for name, missing in zip(outputs, flat, strict=True) if missing)
