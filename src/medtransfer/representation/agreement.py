"""Do two networks decide alike on the same images, and more often than their accuracies make them?

Study 4 (Juodelyte et al., 2023) counts the images on which both are right or both wrong. For several
classes that holds two different wrong labels to be alike; the label agreement here doesn't.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import Predictions
from medtransfer.representation.matrices import as_features
from medtransfer.tables import Column, Schema


@dataclass(frozen=True)
class Agreement:
    """How alike two networks decide; shares of images, for multilabel averaged over the outputs.

    What is undefined (such as the overlap of errors where nobody errs) is NaN.

    Attributes:
        images: images that both networks saw.
        accuracy_a: share that the first has right.
        accuracy_b: share that the second has right.
        similarity: share on which both are right or both wrong.
        chance: the similarity to expect of independent networks with these accuracies.
        corrected_similarity: (similarity - chance) / (1 - chance).
        label_agreement: share on which both say the same class.
        kappa: Cohen's kappa of the two networks' classes.
        error_overlap: images that both have wrong, of those that either has wrong (Jaccard).
        expected_error_overlap: its mean when as many errors fall on images at random.
        different_errors: share on which both are wrong with different classes.
    """

    images: int
    accuracy_a: float
    accuracy_b: float
    similarity: float
    chance: float
    corrected_similarity: float
    label_agreement: float
    kappa: float
    error_overlap: float
    expected_error_overlap: float
    different_errors: float


AGREEMENT = Schema(
    name="agreement",
    row="a pair of runs that saw the same images",
    columns={
        "run_a": Column("text", "folder of the first run below results/runs"),
        "run_b": Column("text", "folder of the second run"),
        "images": Column("integer", "images that both saw"),
        "accuracy_a": Column("number", "share of images that the first has right"),
        "accuracy_b": Column("number", "share of images that the second has right"),
        "similarity": Column("number", "share on which both are right or both wrong"),
        "chance": Column("number", "similarity to expect of independent runs with these accuracies"),
        "corrected_similarity": Column("number", "(similarity - chance) / (1 - chance)"),
        "label_agreement": Column("number", "share on which both say the same class"),
        "kappa": Column("number", "Cohen's kappa of the two runs' classes"),
        "error_overlap": Column(
            "number", "images that both have wrong, of those that either has wrong"
        ),
        "expected_error_overlap": Column("number", "its mean when as many errors fall at random"),
        "different_errors": Column("number", "share on which both are wrong with different classes"),
    },
    families={},
)


def agreement(
    labels: np.ndarray,
    predictions_a: np.ndarray,
    predictions_b: np.ndarray,
    *,
    as_released: bool = False,
) -> Agreement:
    """Compare the decisions of two networks on the same images.

    Several labels an image: each output is a question of its own, answered yes above a probability of
    0.5, on the images whose label is known; every measure is averaged over the outputs that have it.

    Args:
        labels: n class indices; or n x K of 0, 1 and NaN (unknown).
        predictions_a: n class indices of the first network; or n x K probabilities.
        predictions_b: those of the second, of the same images in the same order.
        as_released: chance as study 4's code computes it, a^2 + (1 - a)^2 from the first network's
            accuracy alone, instead of a b + (1 - a)(1 - b).

    Raises:
        DataError: shapes that differ, no images, no known label, or predictions that are no classes
            (one label) or no probabilities (several).
    """
    labels, first, second = (np.asarray(v) for v in (labels, predictions_a, predictions_b))
    if not labels.shape == first.shape == second.shape or labels.ndim not in (1, 2) or labels.size == 0:
        raise DataError(
            f"labels of shape {labels.shape}, predictions of {first.shape} and {second.shape}; "
            "allowed: the same, images or images x labels"
        )
    if labels.ndim == 1:
        questions = [_whole(labels, first, second)]
    else:
        questions = list(_outputs(labels, first, second))
    if not questions:
        raise DataError("no label is known; needed: one or more")
    answers = [_compare(*question, as_released=as_released) for question in questions]
    fields = [field.name for field in dataclasses.fields(Agreement)[1:]]
    means = {name: _mean_of_defined([answer[name] for answer in answers]) for name in fields}
    return Agreement(images=len(labels), **means)


Question = tuple[np.ndarray, np.ndarray, np.ndarray]


def _whole(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Question:
    """Class indices as they are, checked to be whole numbers."""
    for values in (labels, first, second):
        if not np.all(values == np.floor(values)):  # false for NaN, too
            raise DataError("one label an image, and classes that are not whole numbers")
    return labels, first, second


def _outputs(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Iterator[Question]:
    """Each output's known labels and both decisions, for the outputs with any known label."""
    first, second = as_features("predictions", first), as_features("predictions", second)
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        raise DataError("predictions of several labels below 0 or above 1; allowed: probabilities")
    known = ~np.isnan(labels)
    if not np.isin(labels[known], (0, 1)).all():
        raise DataError("several labels an image with values beside 0, 1 and NaN")
    for column in np.flatnonzero(known.any(axis=0)):
        rows = known[:, column]
        yield labels[rows, column], first[rows, column] > 0.5, second[rows, column] > 0.5


def _compare(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, as_released: bool
) -> dict[str, float]:
    """All measures of one question, by their names in Agreement."""
    wrong_a, wrong_b = first != labels, second != labels
    a, b = 1 - float(wrong_a.mean()), 1 - float(wrong_b.mean())
    other = a if as_released else b
    chance = a * other + (1 - a) * (1 - other)
    similarity = float(np.mean(wrong_a == wrong_b))
    either = int(np.sum(wrong_a | wrong_b))
    return {
        "accuracy_a": a,
        "accuracy_b": b,
        "similarity": similarity,
        "chance": chance,
        "corrected_similarity": _beyond_chance(similarity, chance),
        "label_agreement": float(np.mean(first == second)),
        "kappa": _kappa(first, second),
        "error_overlap": float(np.sum(wrong_a & wrong_b)) / either if either else float("nan"),
        "expected_error_overlap": _expected_overlap(len(labels), wrong_a.sum(), wrong_b.sum()),
        "different_errors": float(np.mean(wrong_a & wrong_b & (first != second))),
    }


def _beyond_chance(observed: float, chance: float) -> float:
    """Share of what chance leaves open; NaN where it leaves nothing."""
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def _kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa (1960); NaN where both always say the same one class."""
    classes = np.unique(np.concatenate([first, second]))
    shares = [np.mean(answers[:, None] == classes, axis=0) for answers in (first, second)]
    return _beyond_chance(float(np.mean(first == second)), float(shares[0] @ shares[1]))


def _expected_overlap(images: int, errors_a: int, errors_b: int) -> float:
    """Mean Jaccard index of two random sets of images of these sizes; NaN for two empty ones.

    The number of common images is hypergeometric.
    """
    if errors_a + errors_b == 0:
        return float("nan")
    common = np.arange(min(errors_a, errors_b) + 1)
    chances = stats.hypergeom.pmf(common, images, errors_a, errors_b)
    return float(np.sum(chances * common / (errors_a + errors_b - common)))


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def decisions(predictions: Predictions) -> np.ndarray:
    """What :func:`agreement` takes: class indices, or for multilabel N x K probabilities.

    A binary network says yes above a probability of 0.5, others the most likely class.
    """
    if predictions.task == "multilabel":
        return predictions.probabilities
    if predictions.task == "binary":
        return (predictions.logits[:, 0] > 0).astype(np.int64)
    return predictions.logits.argmax(axis=1)


def agreement_table(
    runs: Mapping[str, Predictions],
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    as_released: bool = False,
) -> pd.DataFrame:
    """The agreement of pairs of runs.

    Args:
        runs: predictions on the same images in the same order, by the run's folder.
        pairs: which pairs; by default each one once.
        as_released: as in :func:`agreement`.

    Returns:
        A table of schema AGREEMENT.

    Raises:
        DataError: a pair whose labels differ, so that it can't be of the same images.
    """
    decided = {name: decisions(predictions) for name, predictions in runs.items()}
    rows = []
    for a, b in itertools.combinations(runs, 2) if pairs is None else pairs:
        labels = runs[a].labels
        if not np.array_equal(labels, runs[b].labels, equal_nan=True):
            raise DataError(
                f"runs {a} and {b} have different labels; needed: the same images, in order"
            )
        found = agreement(labels, decided[a], decided[b], as_released=as_released)
        rows.append({"run_a": a, "run_b": b, **dataclasses.asdict(found)})
    return pd.DataFrame(rows, columns=list(AGREEMENT.columns))
