"""Labels from which nothing can be learned stop a run; what is missing is recorded."""

from __future__ import annotations

import numpy as np
import pytest

from medtransfer.errors import DataError
from medtransfer.training.labels import outputs_without_contrast


@pytest.mark.parametrize("task", ["binary", "multiclass", "ordinal"])
@pytest.mark.parametrize("label", [0, 1])
def test_one_label_only_is_an_error_that_counts_the_images(task, label):
    outputs = ("ill",) if task == "binary" else ("a", "b", "c")
    with pytest.raises(DataError, match="the 5 training images have one label only"):
        outputs_without_contrast(np.full(5, label), outputs, task)


def test_two_labels_are_enough_for_a_binary_task():
    assert outputs_without_contrast(np.array([0, 1, 1]), ("ill",), "binary") == ()


def test_classes_without_images_are_named():
    labels = np.array([0, 2, 2, 0])
    assert outputs_without_contrast(labels, ("a", "b", "c", "d"), "multiclass") == ("b", "d")


def test_outputs_of_a_multilabel_task_with_one_known_value_are_named():
    labels = np.array([[0, 1, np.nan], [1, np.nan, np.nan], [0, 1, np.nan]])
    assert outputs_without_contrast(labels, ("a", "b", "c"), "multilabel") == ("b", "c")


def test_a_multilabel_task_without_any_contrast_is_an_error():
    labels = np.array([[0, 1], [np.nan, 1]])
    with pytest.raises(DataError, match=r"nothing to learn \(outputs: a, b\)"):
        outputs_without_contrast(labels, ("a", "b"), "multilabel")
