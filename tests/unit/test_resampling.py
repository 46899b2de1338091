"""Tests of shared resampling against brute force, direct resampling of differences and invariances."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.metrics import evaluate
from medtransfer.evaluation.predictions import Predictions
from medtransfer.statistics import resampling
from medtransfer.statistics.bootstrap import METHODS, MOST_LEFT_OUT, cluster_bootstrap
from medtransfer.statistics.resampling import (
    Resampled,
    combined,
    largest,
    mean,
    patient_resamples,
    resampled,
    resampled_metric,
    smallest,
)

pytestmark = pytest.mark.filterwarnings("error")

PATIENTS = np.array([f"p{p}" for p in np.random.default_rng(0).integers(0, 25, 80)])
IMAGES = len(PATIENTS)


def mean_of(values: np.ndarray):
    """The weighted mean of values of images, as a statistic of weights."""
    return lambda weights: weights @ values / weights.sum(axis=1)


def values_of(seed: int, count: int = IMAGES) -> np.ndarray:
    return np.random.default_rng(seed).exponential(1.0, count)


def assert_same(found: Resampled, expected: Resampled) -> None:
    assert found.estimate == pytest.approx(expected.estimate, rel=1e-12)
    np.testing.assert_allclose(found.replicates, expected.replicates, rtol=1e-9, atol=1e-14)
    assert found.influences.keys() == expected.influences.keys()
    for name, influences in expected.influences.items():
        np.testing.assert_allclose(found.influences[name], influences, rtol=1e-9, atol=1e-13)


def test_each_resample_has_as_many_patients_as_there_are_and_all_images_of_each():
    samples = patient_resamples(PATIENTS, "test", 200)
    assert samples.weights.shape == (200, IMAGES)
    assert samples.weights.dtype == np.uint8
    by_patient = pd.DataFrame(samples.weights.T).groupby(PATIENTS)
    assert (by_patient.min() == by_patient.max()).all(axis=None)
    assert (by_patient.first().sum() == by_patient.ngroups).all()


def test_every_patient_is_drawn_once_on_average_with_the_variance_of_draws_with_replacement():
    samples = patient_resamples([f"p{i}" for i in range(30)], "test", 4000)
    weights = samples.weights.astype(float)
    assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.08)
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / 30, rel=0.03)
    covariance = np.cov(weights.T)[np.triu_indices(30, 1)]
    assert covariance.mean() == pytest.approx(-1 / 30, rel=0.05)


def test_the_jackknife_leaves_out_one_patient_or_one_group_of_them_at_a_time():
    samples = patient_resamples(PATIENTS, "test", 1)
    names = np.unique(PATIENTS)
    assert np.array_equal(samples.left_out, (names[:, None] != PATIENTS[None, :]).astype(int))
    many = np.repeat(np.arange(MOST_LEFT_OUT + 50), 2)
    groups = 1 - patient_resamples(many, "test", 1).left_out
    assert groups.shape == (MOST_LEFT_OUT, len(many))
    assert (groups.sum(axis=0) == 1).all()
    assert np.array_equal(groups[:, ::2], groups[:, 1::2])  # both images of a patient


def test_draws_follow_the_patient_whatever_the_order_of_images():
    order = np.random.default_rng(1).permutation(IMAGES)
    for patients in (PATIENTS, np.arange(2 * IMAGES) % (MOST_LEFT_OUT + 50)):
        order = np.random.default_rng(1).permutation(len(patients))
        samples = patient_resamples(patients, "test", 50)
        shuffled = patient_resamples(pd.Series(patients[order], index=order), "test", 50)
        assert np.array_equal(shuffled.weights, samples.weights[:, order])
        assert np.array_equal(shuffled.left_out, samples.left_out[:, order])


def test_an_image_more_of_a_patient_leaves_the_draws_as_they_are():
    more = patient_resamples([*PATIENTS, PATIENTS[3]], "test", 50)
    samples = patient_resamples(PATIENTS, "test", 50)
    assert np.array_equal(more.weights[:, :-1], samples.weights)
    assert np.array_equal(more.weights[:, -1], samples.weights[:, 3])


def test_the_name_and_the_seed_decide_the_draws():
    first = patient_resamples(PATIENTS, "test", 500)
    assert np.array_equal(first.weights, patient_resamples(PATIENTS, "test", 500).weights)
    for other in (
        patient_resamples(PATIENTS, "external", 500),
        patient_resamples(PATIENTS, "test", 500, seed=1),
    ):
        a, b = (samples.weights[:, 0].astype(float) for samples in (first, other))
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


def test_replicates_and_influences_are_the_statistic_of_repeated_images():
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, IMAGES)
    predictions = Predictions("binary", (random.normal(size=IMAGES) + labels)[:, None], labels)
    samples = patient_resamples(PATIENTS, "test", 40)
    found = resampled_metric("auroc", predictions, samples)

    def by_hand(weights: np.ndarray) -> float:
        rows = np.repeat(np.arange(IMAGES), weights)
        return evaluate(Predictions("binary", predictions.logits[rows], labels[rows]))["auroc"]

    assert found.estimate == pytest.approx(by_hand(np.ones(IMAGES, dtype=int)))
    assert found.replicates == pytest.approx([by_hand(weights) for weights in samples.weights])
    without = np.array([by_hand(weights) for weights in samples.left_out])
    assert found.influences["test"] == pytest.approx(found.estimate - without)


def test_the_interval_is_about_that_of_the_bootstrap_of_tables():
    values = values_of(3)
    samples = patient_resamples(PATIENTS, "test", 4000)
    table = pd.DataFrame({"patient": PATIENTS, "value": values})
    found = resampled(mean_of(values), samples)
    for method in METHODS:
        interval = found.interval(0.9, method)
        expected = cluster_bootstrap(
            lambda rows: rows["value"].mean(), table, "patient", 4000, confidence=0.9, method=method
        )
        assert interval.estimate == pytest.approx(expected.estimate)
        assert interval.error == pytest.approx(expected.error, rel=0.04)
        assert interval.low == pytest.approx(expected.low, abs=0.12 * expected.error)
        assert interval.high == pytest.approx(expected.high, abs=0.12 * expected.error)


def test_sums_differences_and_multiples_are_those_of_the_statistic_itself():
    samples = patient_resamples(PATIENTS, "test", 100)
    a, b = values_of(4), values_of(5)
    first, second = (resampled(mean_of(values), samples) for values in (a, b))
    assert_same(first - second, resampled(mean_of(a - b), samples))
    assert_same(first + second, resampled(mean_of(a + b), samples))
    assert_same(3 * first, resampled(mean_of(3 * a), samples))
    assert_same(-first / 4, resampled(mean_of(-a / 4), samples))
    direct = resampled(mean_of(a - b), samples).interval()
    through = (first - second).interval()
    assert (through.low, through.high) == pytest.approx((direct.low, direct.high))


def test_means_and_extremes_are_taken_anew_in_each_resample():
    samples = patient_resamples(PATIENTS, "test", 100)
    columns = np.stack([values_of(seed) for seed in (6, 7, 8)], axis=1)
    parts = [resampled(mean_of(values), samples) for values in columns.T]
    for function, name in ((mean, "mean"), (largest, "max"), (smallest, "min")):

        def direct(weights: np.ndarray, name: str = name) -> np.ndarray:
            return getattr(weights @ columns / weights.sum(axis=1)[:, None], name)(axis=1)

        assert_same(function(parts), resampled(direct, samples))
    winners = np.argmax([part.replicates for part in parts], axis=0)
    assert len(set(winners)) > 1  # or the test couldn't tell


def test_a_ratio_is_taken_resample_by_resample():
    samples = patient_resamples(PATIENTS, "test", 100)
    a, b = values_of(9), values_of(10)
    ratio = combined(
        lambda parts: parts[0] / parts[1], [resampled(mean_of(values), samples) for values in (a, b)]
    )
    assert_same(ratio, resampled(lambda weights: (weights @ a) / (weights @ b), samples))


def test_equal_names_are_paired_and_different_names_independent():
    values = values_of(11)
    same = patient_resamples(PATIENTS, "test", 1000)
    other = patient_resamples(PATIENTS, "external", 1000)
    first, again = (resampled(mean_of(values), same) for _ in range(2))
    elsewhere = resampled(mean_of(values), other)
    nothing = (first - again).interval()
    assert (nothing.estimate, nothing.low, nothing.high, nothing.error) == (0, 0, 0, 0)
    drop = first - elsewhere
    assert set(drop.influences) == {"test", "external"}
    errors = [part.interval().error for part in (first, elsewhere)]
    assert drop.interval().error == pytest.approx(math.hypot(*errors), rel=0.05)


def test_influences_of_independent_sets_are_those_of_leaving_out_in_one_set_only():
    here, there = (patient_resamples(PATIENTS, name, 50) for name in ("test", "external"))
    a, b = (resampled(mean_of(values_of(seed)), s) for seed, s in ((12, here), (13, there)))
    drop = a - b
    assert drop.influences["test"] == pytest.approx(a.influences["test"])
    assert drop.influences["external"] == pytest.approx(-b.influences["external"])
    best = largest([a, b])
    without = np.maximum(a.estimate - a.influences["test"], b.estimate)
    assert best.influences["test"] == pytest.approx(best.estimate - without)


def test_a_drop_and_the_gain_of_a_drop_can_be_nested():
    here, there = (patient_resamples(PATIENTS, name, 50) for name in ("test", "external"))
    a, b, c, d = (values_of(seed) for seed in (14, 15, 16, 17))
    runs = {name: resampled(mean_of(v), s) for name, v, s in
            (("a", a, here), ("b", b, there), ("c", c, here), ("d", d, there))}  # fmt: skip
    nested = (runs["a"] - runs["b"]) - (runs["c"] - runs["d"])
    regrouped = resampled(mean_of(a - c), here) - resampled(mean_of(b - d), there)
    assert_same(nested, regrouped)


def test_sets_that_share_patients_are_resampled_together():
    # two splits test on the same images: the error of their mean is that of one of them
    values = values_of(24)
    both = patient_resamples([*PATIENTS, *PATIENTS], "test", 1000)
    first, second = both.take(np.arange(IMAGES)), both.take(slice(IMAGES, None))
    parts = [resampled(mean_of(values), samples) for samples in (first, second)]
    assert_same(mean(parts), parts[0])
    apart = patient_resamples(PATIENTS, "other split", 1000)
    too_sure = mean([parts[0], resampled(mean_of(values), apart)])
    assert too_sure.interval().error < 0.8 * mean(parts).interval().error


@pytest.mark.parametrize("block", [1, IMAGES * 7, IMAGES * 1000])
def test_the_size_of_blocks_doesnt_matter(block, monkeypatch):
    samples = patient_resamples(PATIENTS, "test", 30)
    expected = resampled(mean_of(values_of(18)), samples)
    monkeypatch.setattr(resampling, "LARGEST_BLOCK", block)
    seen = []

    def statistic(weights: np.ndarray) -> np.ndarray:
        seen.append(weights.size)
        assert weights.dtype == np.float64
        return mean_of(values_of(18))(weights)

    assert_same(resampled(statistic, samples), expected)
    assert max(seen) <= max(block, IMAGES)


def test_memory_stays_far_below_that_of_all_weights_in_float64():
    patients = np.random.default_rng(19).integers(0, 9000, 30_000)
    values = values_of(19, 30_000)
    tracemalloc.start()
    samples = patient_resamples(patients, "test", 2000)
    resampled(mean_of(values), samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * 2**20


def test_undefined_values_pass_through():
    samples = patient_resamples(["a", "b", "b", "c"], "test", 200)
    positive = np.array([1.0, 0, 0, 0])  # only patient a has a positive image

    def share_of_the_positives(weights: np.ndarray) -> np.ndarray:
        undefined = weights @ positive == 0
        return np.where(undefined, np.nan, weights @ np.arange(4.0))

    partly = resampled(share_of_the_positives, samples)
    assert math.isnan(partly.influences["test"][0])
    whole = resampled(lambda weights: weights @ np.ones(4), samples)
    for joined in (partly - whole, mean([partly, whole]), largest([partly, whole])):
        assert np.array_equal(np.isnan(joined.replicates), np.isnan(partly.replicates))
        found = joined.interval()
        assert found.undefined == np.isnan(partly.replicates).sum() > 0
        assert np.isfinite([found.low, found.high]).all()


def test_a_difference_has_percentiles_for_its_interval():
    samples = patient_resamples(PATIENTS, "test", 300)
    found = resampled(mean_of(values_of(6)), samples)
    assert found.interval_of_difference(0.8) == found.interval(0.8, "expanded_percentile")
    assert found.interval_of_difference() == found.interval(0.95, "expanded_percentile")
    assert found.interval() == found.interval(0.95, "expanded_bca")


def test_one_patient_has_an_estimate_and_no_interval():
    samples = patient_resamples(["a", "a"], "test", 20)
    found = resampled(lambda weights: weights @ np.array([0.5, 1.0]), samples)
    for method in METHODS:
        interval = found.interval(method=method)
        assert interval.estimate == 1.5
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
    many = resampled(mean_of(values_of(20)), patient_resamples(PATIENTS, "external", 20))
    for method in (
        "bca",
        "percentile",
        "expanded_bca",
    ):  # nothing is known of the variation of one of the sets
        assert math.isnan((many - found).interval(method=method).low)


def test_no_images_have_no_interval():
    found = resampled(lambda weights: np.full(len(weights), np.nan), patient_resamples([], "test", 5))
    interval = found.interval()
    assert math.isnan(interval.estimate)
    assert math.isnan(interval.low)
    assert interval.undefined == 5


def test_intervals_over_patients_cover_the_truth_about_as_often_as_they_claim():
    random = np.random.default_rng(21)
    patients = np.repeat(np.arange(40), 3)
    hits = 0
    for study in range(300):
        effects = random.exponential(1.0, 40)  # of patients, whose three images are nearly alike
        values = effects[patients] + random.normal(0, 0.2, 120)
        samples = patient_resamples(patients, "test", 300, seed=study)
        interval = resampled(mean_of(values), samples).interval()
        hits += interval.low <= 1 <= interval.high
    assert 0.88 < hits / 300 < 0.98


def test_missing_patients_are_an_error():
    with pytest.raises(DataError, match="patients of test: 2 of 3 rows have no value"):
        patient_resamples(["a", None, math.nan], "test")


def test_statistics_that_dont_match_cant_be_combined():
    values = values_of(22)
    found = resampled(mean_of(values), patient_resamples(PATIENTS, "test", 20))
    longer = resampled(mean_of(values), patient_resamples(PATIENTS, "other", 21))
    with pytest.raises(ValueError, match=r"numbers of resamples differ: \[20, 21\]"):
        found + longer
    others = resampled(mean_of(values[:4]), patient_resamples(list("abcd"), "test", 20))
    with pytest.raises(ValueError, match="named test and differ in size: 24 and 4"):
        found - others
    with pytest.raises(ValueError, match="no statistics to combine"):
        mean([])


def test_a_statistic_of_the_wrong_shape_is_an_error():
    samples = patient_resamples(PATIENTS, "test", 20)
    with pytest.raises(ValueError, match=r"1 rows of weights has shape \(1, 80\)"):
        resampled(lambda weights: weights, samples)


def test_arguments_out_of_range_are_errors():
    with pytest.raises(ValueError, match="n_resamples is 0"):
        patient_resamples(PATIENTS, "test", 0)
    found = resampled(mean_of(values_of(23)), patient_resamples(PATIENTS, "test", 20))
    with pytest.raises(ValueError, match="confidence is 2"):
        found.interval(2)
    with pytest.raises(ValueError, match="method is 'basic'"):
        found.interval(method="basic")
