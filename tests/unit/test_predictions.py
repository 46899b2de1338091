"""Predictions: probabilities, decisions, rows, and how they are read from a table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import Predictions, predictions_of

BINARY = DatasetSettings(
    task="binary", image_size=32, manifest="m.csv", labels="label", classes=("no", "yes")
)
GRADES = DatasetSettings(task="ordinal", image_size=32, manifest="m.csv", labels="label", classes=3)
FINDINGS = DatasetSettings(task="multilabel", image_size=32, manifest="m.csv", labels=("edema", "mass"))


def table(**columns: list[float]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    names = [str(i) for i in range(count)]
    return pd.DataFrame({"image_id": names, "patient": names, "part": "test"} | columns)


def test_a_binary_table_has_one_logit_of_the_positive_class():
    found = predictions_of(table(logit_yes=[0.5, -2.0], label=[1, 0]), BINARY)
    assert found.task == "binary"
    assert found.logits.tolist() == [[0.5], [-2.0]]
    assert found.labels.tolist() == [1, 0]
    assert found.labels.dtype.kind == "i"


def test_logits_are_in_the_order_of_the_outputs_whatever_that_of_the_columns():
    shuffled = table(logit_2=[3.0], label=[2], logit_0=[1.0], logit_1=[2.0])
    assert predictions_of(shuffled, GRADES).logits.tolist() == [[1.0, 2.0, 3.0]]


def test_unknown_labels_of_a_multilabel_table_stay_unknown():
    found = predictions_of(
        table(logit_mass=[1.0, 2.0], logit_edema=[3.0, 4.0], label_mass=[0.0, 1.0],
              label_edema=[math.nan, 1.0]), FINDINGS,
    )  # fmt: skip
    assert found.logits.tolist() == [[3.0, 1.0], [4.0, 2.0]]
    np.testing.assert_array_equal(found.labels, [[math.nan, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(found.targets, found.labels)


@pytest.mark.parametrize(
    ("dataset", "columns", "missing"),
    [
        (BINARY, {"logit_yes": [0.0]}, "label"),
        (BINARY, {"logit_no": [0.0], "label": [0]}, "logit_yes"),
        (FINDINGS, {"logit_mass": [0.0], "logit_edema": [0.0], "label": [0]},
         "label_edema, label_mass"),
    ],
)  # fmt: skip
def test_a_table_without_a_needed_column_is_refused_with_its_name(dataset, columns, missing):
    with pytest.raises(DataError, match=f"missing column {missing}; "):
        predictions_of(table(**columns), dataset)


def test_probabilities_are_sigmoids_or_a_softmax_of_float32_logits_in_float64():
    logits = np.array([[0.0, math.log(3)]], dtype=np.float32)
    softmax = Predictions("multiclass", logits, np.array([0])).probabilities
    sigmoid = Predictions("multilabel", logits, np.array([[0.0, 1.0]])).probabilities
    assert softmax.dtype == sigmoid.dtype == np.float64
    assert softmax[0] == pytest.approx([0.25, 0.75], rel=1e-6)
    assert sigmoid[0] == pytest.approx([0.5, 0.75], rel=1e-6)


def test_decisions_are_above_one_half_or_the_first_of_the_likeliest():
    binary = Predictions("binary", np.array([[0.0], [1e-9], [-1.0]]), np.zeros(3, int))
    assert binary.decisions.tolist() == [0, 1, 0]
    several = np.array([[1.0, 2.0, 2.0], [0.0, -1.0, 0.0]])
    assert Predictions("ordinal", several, np.zeros(2, int)).decisions.tolist() == [1, 0]
    assert Predictions("multilabel", several, np.zeros((2, 3))).decisions.tolist() == [
        [1, 1, 1],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_rows_are_taken_by_index_with_repetition_or_by_truth(task):
    logits = np.arange(8.0).reshape(4, 2)[:, : 1 if task == "binary" else 2]
    labels = np.eye(2)[[0, 1, 1, 0]] if task == "multilabel" else np.array([0, 1, 1, 0])
    whole = Predictions(task, logits, labels)
    repeated = whole.take(np.array([3, 1, 1]))
    np.testing.assert_array_equal(repeated.logits, logits[[3, 1, 1]])
    np.testing.assert_array_equal(repeated.labels, labels[[3, 1, 1]])
    kept = whole.take(np.array([True, False, False, True]))
    np.testing.assert_array_equal(kept.logits, logits[[0, 3]])
    assert repeated.task == kept.task == task


def test_targets_ask_each_class_a_question_of_its_own():
    several = Predictions("multiclass", np.zeros((2, 3)), np.array([2, 0]))
    assert several.targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert Predictions("binary", np.zeros((2, 1)), np.array([1, 0])).targets.tolist() == [[1], [0]]
