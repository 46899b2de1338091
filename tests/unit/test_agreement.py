"""Agreement of decisions against scikit-learn, enumeration, hand counts and a study's own numbers."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score, jaccard_score

from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import Predictions
from medtransfer.representation.agreement import (
    AGREEMENT,
    Agreement,
    agreement,
    agreement_table,
    decisions,
)

REAL = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent"))
PUBLISHED = REAL / "published/revisiting_transfer/results/similarity.csv"


def draw(seed: int, images: int = 80, classes: int = 4):
    """Labels and two networks' classes, each right on about two thirds."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    guesses = generator.integers(0, classes, (2, images))
    right = generator.random((2, images)) < 0.6
    return labels, *np.where(right, labels, guesses)


def test_all_measures_by_hand():
    #                  both right  a only  b only  same error  different errors
    labels = np.array([0, 1, 2, 2, 0, 1, 2, 0, 1, 2])
    first_ = np.array([0, 1, 2, 2, 0, 1, 0, 1, 0, 0])
    second = np.array([0, 1, 2, 2, 1, 0, 2, 1, 2, 1])
    found = agreement(labels, first_, second)
    a, b = 0.6, 0.5  # the first has 0-5 right, the second 0-3 and 6
    chance = a * b + 0.4 * 0.5
    # the first says 0, 1, 2 on 5, 3, 2 images; the second on 2, 4, 4
    by_class = (5 * 2 + 3 * 4 + 2 * 4) / 100
    assert dataclasses.asdict(found) == pytest.approx(
        {
            "images": 10,
            "accuracy_a": a,
            "accuracy_b": b,
            "similarity": 0.7,  # 4 both right, 3 both wrong
            "chance": chance,
            "corrected_similarity": (0.7 - chance) / (1 - chance),
            "label_agreement": 0.5,
            "kappa": (0.5 - by_class) / (1 - by_class),
            "error_overlap": 3 / 6,
            "expected_error_overlap": expected_by_enumeration(10, 4, 5),
            "different_errors": 0.2,
        },
        abs=1e-12,
    )


def expected_by_enumeration(images: int, errors_a: int, errors_b: int) -> float:
    first = set(range(errors_a))
    values = [
        len(first & set(second)) / len(first | set(second))
        for second in itertools.combinations(range(images), errors_b)
    ]
    return float(np.mean(values))


@pytest.mark.parametrize(("errors_a", "errors_b"), [(0, 2), (2, 0), (3, 3), (5, 7), (8, 8), (1, 8)])
def test_the_expected_overlap_of_errors_is_that_over_all_placements(errors_a, errors_b):
    labels = np.zeros(8, dtype=int)
    wrong = [(np.arange(8) < errors).astype(int) for errors in (errors_a, min(errors_b, 8))]
    found = agreement(labels, *wrong)
    expected = expected_by_enumeration(8, errors_a, min(errors_b, 8))
    assert found.expected_error_overlap == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_measures_are_those_of_scikit_learn_and_of_counting(seed):
    labels, first, second = draw(seed)
    found = agreement(labels, first, second)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert found.error_overlap == pytest.approx(
        jaccard_score(first != labels, second != labels), abs=1e-12
    )
    counts = {"similarity": 0, "same": 0, "different": 0}
    for truth, a, b in zip(labels.tolist(), first.tolist(), second.tolist(), strict=True):
        counts["similarity"] += (a == truth) == (b == truth)
        counts["same"] += a == b
        counts["different"] += a != truth and b != truth and a != b
    assert found.similarity == pytest.approx(counts["similarity"] / 80)
    assert found.label_agreement == pytest.approx(counts["same"] / 80)
    assert found.different_errors == pytest.approx(counts["different"] / 80)
    assert found.different_errors > 0
    assert found.similarity == pytest.approx(found.label_agreement + found.different_errors)


def test_chance_is_the_mean_similarity_when_errors_are_placed_at_random():
    labels, first, second = draw(0, images=40)
    generator = np.random.default_rng(1)
    wrong = [first != labels, second != labels]
    shuffled = [np.mean(wrong[0] == generator.permutation(wrong[1])) for _ in range(20_000)]
    assert agreement(labels, first, second).chance == pytest.approx(np.mean(shuffled), abs=0.003)


def test_chance_as_released_uses_the_first_accuracy_alone():
    labels, first, second = draw(1)
    a, b = np.mean(first == labels), np.mean(second == labels)
    assert a != b
    plain = agreement(labels, first, second)
    released = agreement(labels, first, second, as_released=True)
    swapped = agreement(labels, second, first, as_released=True)
    assert plain.chance == pytest.approx(a * b + (1 - a) * (1 - b), abs=1e-12)
    assert released.chance == pytest.approx(a**2 + (1 - a) ** 2, abs=1e-12)
    assert swapped.chance == pytest.approx(b**2 + (1 - b) ** 2, abs=1e-12)
    expected = (plain.similarity - released.chance) / (1 - released.chance)
    assert released.corrected_similarity == pytest.approx(expected)
    changed = {"chance", "corrected_similarity"}
    for name, value in dataclasses.asdict(released).items():
        assert (value == getattr(plain, name)) is (name not in changed)


def test_the_order_of_networks_and_images_does_not_matter():
    labels, first, second = draw(2)
    found = dataclasses.asdict(agreement(labels, first, second))
    swapped = dataclasses.asdict(agreement(labels, second, first))
    swapped["accuracy_a"], swapped["accuracy_b"] = swapped["accuracy_b"], swapped["accuracy_a"]
    assert swapped == pytest.approx(found, abs=1e-14)
    order = np.random.default_rng(0).permutation(80)
    shuffled = agreement(labels[order], first[order], second[order])
    assert dataclasses.asdict(shuffled) == pytest.approx(found, abs=1e-14)


def test_a_network_agrees_with_itself():
    labels, first, _ = draw(3)
    found = agreement(labels, first, first)
    assert (found.similarity, found.label_agreement, found.different_errors) == (1, 1, 0)
    assert found.kappa == pytest.approx(1)
    assert found.corrected_similarity == pytest.approx(1)
    assert found.error_overlap == 1


def test_what_is_undefined_is_nan():
    labels = np.array([0, 1, 1])
    perfect = agreement(labels, labels, labels)
    assert (perfect.similarity, perfect.chance, perfect.kappa) == (1, 1, 1)
    assert math.isnan(perfect.corrected_similarity)
    assert math.isnan(perfect.error_overlap) and math.isnan(perfect.expected_error_overlap)
    constant = agreement(labels, np.zeros(3, int), np.zeros(3, int))
    assert math.isnan(constant.kappa)
    assert constant.error_overlap == 1


def test_several_labels_are_averaged_over_the_outputs_without_unknown_ones():
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, (60, 4)).astype(float)
    labels[generator.random((60, 4)) < 0.3] = np.nan
    labels[:, 3] = np.nan  # an output of which nothing is known
    first, second = generator.random((2, 60, 4))
    first[5, 0], labels[5, 0] = 0.5, 1.0  # is a no
    found = agreement(labels, first, second)
    each = []
    for k in range(3):
        known = ~np.isnan(labels[:, k])
        truth = labels[known, k].astype(int)
        yes = [(p[known, k] > 0.5).astype(int) for p in (first, second)]
        each.append(dataclasses.asdict(agreement(truth, *yes)))
    for field in dataclasses.fields(Agreement)[1:]:
        mean = np.mean([values[field.name] for values in each])
        assert getattr(found, field.name) == pytest.approx(mean, abs=1e-12), field.name
    assert found.images == 60
    assert found.different_errors == 0


def test_an_output_without_a_measure_is_left_out_of_that_measures_mean():
    labels = np.array([[0.0, 0], [0, 1], [0, 1], [0, 0]])
    first = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.2], [0.1, 0.2]])
    second = np.array([[0.1, 0.9], [0.1, 0.2], [0.1, 0.2], [0.1, 0.2]])
    found = agreement(labels, first, second)
    assert found.error_overlap == pytest.approx(2 / 3)  # of the second output: {0, 2} and {0, 1, 2}
    assert found.kappa == pytest.approx(cohen_kappa_score(first[:, 1] > 0.5, second[:, 1] > 0.5))
    assert found.similarity == pytest.approx((1 + 0.75) / 2)


@pytest.mark.parametrize(
    ("labels", "first", "second", "message"),
    [
        ([0, 1], [0, 1], [0, 1, 1], r"\(2,\), predictions of \(2,\) and \(3,\)"),
        ([], [], [], r"shape \(0,\)"),
        ([0, 1], [0, 0.5], [0, 1], "not whole numbers"),
        ([0, np.nan], [0, 1], [0, 1], "not whole numbers"),
        ([[0.0], [1]], [[0.1], [1.2]], [[0.1], [0.2]], "below 0 or above 1; allowed: probabilities"),
        ([[0.0], [1]], [[0.1], [-0.2]], [[0.1], [0.2]], "below 0 or above 1"),
        ([[0.0], [1]], [[0.1], [np.nan]], [[0.1], [0.2]], "NaN or infinite"),
        ([[0.0], [2]], [[0.1], [0.2]], [[0.1], [0.2]], "beside 0, 1 and NaN"),
        ([[np.nan]], [[0.1]], [[0.2]], "no label is known"),
        ([[[0.0]]], [[[0.1]]], [[[0.2]]], r"\(1, 1, 1\)"),
    ],
)
def test_what_is_not_allowed_is_named(labels, first, second, message):
    with pytest.raises(DataError, match=message):
        agreement(*(np.array(v) for v in (labels, first, second)))


def test_decisions_are_the_most_likely_class_and_yes_above_one_half():
    logits = np.array([[0.0], [1e-3], [-2]])
    assert decisions(Predictions("binary", logits, np.zeros(3, int))).tolist() == [0, 1, 0]
    several = np.array([[1.0, 3, 2], [5, 0, 0]])
    for task in ("multiclass", "ordinal"):
        assert decisions(Predictions(task, several, np.zeros(2, int))).tolist() == [1, 0]
    found = decisions(Predictions("multilabel", several, np.zeros((2, 3))))
    np.testing.assert_allclose(found, expit(several))


def test_the_table_has_a_row_for_each_pair_of_runs():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 3, 30)
    logits = generator.normal(size=(3, 30, 3))
    runs = {name: Predictions("multiclass", v, labels) for name, v in zip("abc", logits, strict=True)}
    table = agreement_table(runs)
    AGREEMENT.check(table)
    assert table[["run_a", "run_b"]].values.tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    expected = agreement(labels, logits[1].argmax(1), logits[2].argmax(1))
    assert table.iloc[2, 2:].to_dict() == pytest.approx(dataclasses.asdict(expected))
    chosen = agreement_table(runs, [("c", "a")], as_released=True)
    AGREEMENT.check(chosen)
    released = agreement(labels, logits[2].argmax(1), logits[0].argmax(1), as_released=True)
    assert chosen.iloc[0, 2:].to_dict() == pytest.approx(dataclasses.asdict(released))


def test_a_table_of_several_labels_with_unknown_ones_and_of_an_undefined_kappa():
    generator = np.random.default_rng(6)
    labels = np.where(generator.random((30, 2)) < 0.2, np.nan, generator.integers(0, 2, (30, 2)))
    runs = {n: Predictions("multilabel", generator.normal(size=(30, 2)), labels) for n in "ab"}
    table = agreement_table(runs)
    AGREEMENT.check(table)
    assert 0 < table["similarity"][0] < 1
    constant = Predictions("binary", np.full((3, 1), -1.0), np.array([0, 1, 1]))
    AGREEMENT.check(agreement_table({"a": constant, "b": constant}))


def test_runs_on_other_images_are_refused():
    labels = np.array([0, 1, 1])
    runs = {
        "first": Predictions("binary", np.zeros((3, 1)), labels),
        "second": Predictions("binary", np.zeros((3, 1)), labels[::-1]),
    }
    with pytest.raises(DataError, match="runs first and second have different labels"):
        agreement_table(runs)


def published() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """By target and freezing the observed and the independent value of each fold."""
    with PUBLISHED.open() as file:
        rows = list(csv.DictReader(file))
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        folds = found.setdefault((row["target"], row["freeze"]), {})
        folds.setdefault(row["fold"], {})[row["prob"]] = float(row["value"])
    return {key: [(v["real"], v["rand"]) for v in folds.values()] for key, folds in found.items()}


# Of isic and pcam-small, what the released code took for the accuracy is no count of these images.
IMAGES = {
    "breast": (156, 157),
    "chest": (1171, 1173),
    "knee": (1044, 1046),
    "mammograms": (713, 715),
    "thyroid": (96, 97),
}


@pytest.mark.real
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="MEDTRANSFER_REAL_DATA has no published results")
@pytest.mark.parametrize("target", IMAGES)
def test_study_4s_published_similarities_come_from_counts_of_images(target):
    pairs = [pair for (name, _), folds in published().items() if name == target for pair in folds]
    assert len(pairs) == 10
    for observed, independent in pairs:
        labels, first, second = rebuilt(observed, independent, range(*IMAGES[target]))
        found = agreement(labels, first, second, as_released=True)
        assert found.similarity == pytest.approx(observed, abs=1e-12)
        assert found.chance == pytest.approx(independent, abs=2e-7)  # from a float32 accuracy


def rebuilt(observed: float, independent: float, sizes: range):
    """Binary decisions with these two values, for the first size where both are counts of images."""
    accuracy = (1 + math.sqrt(2 * independent - 1)) / 2  # the root of a^2 + (1 - a)^2
    for images in sizes:
        right, alike = accuracy * images, observed * images
        if abs(right - round(right)) < 1e-4 and abs(alike - round(alike)) < 1e-9:
            labels = np.zeros(images, dtype=int)
            first = (np.arange(images) >= round(right)).astype(int)
            second = np.where(np.arange(images) < round(alike), first, 1 - first)
            return labels, first, second
    raise AssertionError(f"no number of images in {sizes} gives {observed} and {independent}")


@pytest.mark.real
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="MEDTRANSFER_REAL_DATA has no published results")
@pytest.mark.parametrize(
    ("target", "observed", "independent"),
    [
        ("thyroid", 0.633, 0.528),
        ("breast", 0.823, 0.740),
        ("chest", 0.954, 0.920),
        ("mammograms", 0.626, 0.526),
        ("knee", 0.906, 0.796),
        ("isic", 0.844, 0.659),
        ("pcam-small", 0.834, 0.688),
    ],
)
def test_study_4s_mean_similarities(target, observed, independent):
    means = np.mean(published()[target, "freezeFalse"], axis=0)
    np.testing.assert_allclose(means, [observed, independent], atol=6e-4)
