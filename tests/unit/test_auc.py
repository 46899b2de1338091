"""Tests of areas under ROC curves against brute force, published formulas and the bootstrap."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from medtransfer.errors import DataError
from medtransfer.evaluation.metrics import auroc
from medtransfer.statistics.auc import AucComparison, auc_interval, delong, delong_unpaired
from medtransfer.statistics.bootstrap import cluster_bootstrap

pytestmark = pytest.mark.filterwarnings("error")

FIELDS = [field.name for field in dataclasses.fields(AucComparison)]


def two_models(
    positives: int = 14, negatives: int = 22, seed: int = 0, ties: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels in random order, and the scores of two models that agree in part."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat([1, 0], [positives, negatives]))
    shared = random.normal(size=len(labels)) + 0.8 * labels
    a, b = (shared + random.normal(0, 0.8, len(labels)) for _ in range(2))
    return (labels, np.round(a), np.round(b)) if ties else (labels, a, b)


def two_models_of_patients(
    patients: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patients have one to six images, often of both classes, with effects of their own."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(1, 7, patients))
    risk = random.normal(size=patients)[patient]
    labels = (risk + random.normal(0, 1, len(patient)) > 0.3).astype(int)
    shared = random.normal(size=patients)[patient] + labels
    a, b = (
        shared + random.normal(size=patients)[patient] + random.normal(0, 0.5, len(patient))
        for _ in range(2)
    )
    return labels, a, b, patient


def placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each positive's and each negative's share of won comparisons, pair by pair."""
    wins = np.array(
        [
            [1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[labels == 0]]
            for x in scores[labels == 1]
        ]
    )
    return wins.mean(axis=1), wins.mean(axis=0)


def covariance_of_delong(labels: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """S10 / m + S01 / n of DeLong et al. 1988, from all pairs."""
    placed = [placements(labels, s) for s in scores]
    positives, negatives = (np.atleast_2d(np.cov([p[side] for p in placed])) for side in (0, 1))
    return positives / (labels == 1).sum() + negatives / (labels == 0).sum()


def covariance_of_obuchowski(labels, patients, *scores) -> np.ndarray:
    """The clustered covariance of Obuchowski 1997, patient by patient."""
    m, n, names = (labels == 1).sum(), (labels == 0).sum(), np.unique(patients)
    have_positives = sum((labels[patients == p] == 1).any() for p in names)
    have_negatives = sum((labels[patients == p] == 0).any() for p in names)
    placed = [placements(labels, s) for s in scores]
    areas = [positive.mean() for positive, _ in placed]
    found = np.zeros((len(scores), len(scores)))
    for r, s in itertools.product(range(len(scores)), repeat=2):
        s10 = s01 = s11 = 0.0
        for p in names:
            in_positives, in_negatives = (patients[labels == c] == p for c in (1, 0))
            m_p, n_p = in_positives.sum(), in_negatives.sum()
            x_r, x_s = (placed[k][0][in_positives].sum() - m_p * areas[k] for k in (r, s))
            y_r, y_s = (placed[k][1][in_negatives].sum() - n_p * areas[k] for k in (r, s))
            s10 += x_r * x_s * have_positives / ((have_positives - 1) * m)
            s01 += y_r * y_s * have_negatives / ((have_negatives - 1) * n)
            s11 += (x_r * y_s + y_r * x_s) * len(names) / (len(names) - 1)
        found[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", [(14, 22), (4, 4), (3, 40), (40, 3)])
def test_delong_is_the_comparison_from_all_pairs(sizes, ties):
    labels, a, b = two_models(*sizes, seed=1, ties=ties)
    found = delong(labels, a, b, confidence=0.9)
    covariance = covariance_of_delong(labels, a, b)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    areas = [roc_auc_score(labels, scores) for scores in (a, b)]
    assert (found.auc_a, found.auc_b) == (auroc(labels, a), auroc(labels, b))  # to the last digit
    assert (found.auc_a, found.auc_b) == pytest.approx(areas)
    assert found.difference == pytest.approx(areas[0] - areas[1])
    assert found.standard_error == pytest.approx(error, rel=1e-9)
    assert found.z == pytest.approx(found.difference / error)
    assert found.p == pytest.approx(2 * stats.norm.cdf(-abs(found.z)))
    ends = stats.norm.interval(0.9, loc=found.difference, scale=error)
    assert (found.low, found.high) == pytest.approx(ends)


def test_delong_of_four_images_by_hand():
    # placements of a: positives 1 and 1/2, negatives 1/2 and 1; of b: 3/4 and 1, 1 and 3/4
    found = delong([1, 1, 0, 0], [3, 1, 2, 0], [2, 3, 1, 2])
    assert (found.auc_a, found.auc_b, found.difference) == (0.75, 0.875, -0.125)
    # differences 1/4 and -1/2 twice: each of variance 9/32, over 2 images of each class
    assert found.standard_error == pytest.approx(math.sqrt(9 / 32))
    assert found.z == pytest.approx(-0.125 / math.sqrt(9 / 32))
    assert found.p == pytest.approx(0.8136637, abs=1e-6)
    single = auc_interval([1, 1, 0, 0], [3, 1, 2, 0])
    assert single.standard_error == pytest.approx(math.sqrt(1 / 8))  # variances 1/8, twice over 2
    # logit of 3/4 is log 3; its error sqrt(1/8) * 16/3
    half = 1.959964 * math.sqrt(1 / 8) * 16 / 3
    assert single.low == pytest.approx(1 / (1 + math.exp(half) / 3), rel=1e-6)
    assert single.high == pytest.approx(1 / (1 + math.exp(-half) / 3), rel=1e-6)


def test_delong_agrees_with_the_bootstrap_of_images():
    labels, a, b = two_models(150, 200, seed=2)
    table = pd.DataFrame({"label": labels, "a": a, "b": b})

    def difference(rows: pd.DataFrame) -> float:
        scored = delong(rows["label"], rows["a"], rows["b"])
        return scored.difference

    expected = cluster_bootstrap(difference, table, None, 500)
    found = delong(labels, a, b)
    assert found.difference == pytest.approx(expected.estimate)
    assert found.standard_error == pytest.approx(expected.error, rel=0.08)
    assert found.low == pytest.approx(expected.low, abs=0.2 * expected.error)
    assert found.high == pytest.approx(expected.high, abs=0.2 * expected.error)


def test_the_p_of_delong_is_uniform_when_both_models_are_as_good():
    p = np.array([delong(*two_models(40, 40, seed=seed)).p for seed in range(500)])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("seed", [3, 4])
def test_patients_with_one_image_each_give_what_images_give(seed):
    labels, a, b = two_models(seed=seed, ties=seed == 4)
    names = np.array([f"p{i}" for i in np.random.default_rng(seed).permutation(len(labels))])
    for plain, clustered in (
        (delong(labels, a, b), delong(labels, a, b, cluster=names)),
        (auc_interval(labels, a), auc_interval(labels, a, cluster=names)),
        (
            delong_unpaired(labels, a, labels[5:], b[5:]),
            delong_unpaired(labels, a, labels[5:], b[5:], cluster=(names, names[5:])),
        ),
    ):
        assert dataclasses.astuple(clustered) == pytest.approx(dataclasses.astuple(plain), rel=1e-9)


@pytest.mark.parametrize("patients", [6, 30])
def test_the_clustered_variance_is_obuchowskis_from_all_pairs(patients):
    labels, a, b, names = two_models_of_patients(patients, seed=5)
    covariance = covariance_of_obuchowski(labels, names, a, b)
    found = delong(labels, a, b, cluster=names)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-9)
    for scores, expected in ((a, covariance[0, 0]), (b, covariance[1, 1])):
        single = auc_interval(labels, scores, cluster=names)
        assert single.standard_error == pytest.approx(math.sqrt(expected), rel=1e-9)


def test_the_clustered_variance_is_about_that_of_leaving_out_patients():
    labels, a, b, names = two_models_of_patients(120, seed=6)
    found = delong(labels, a, b, cluster=names)
    without = [names != patient for patient in np.unique(names)]
    left = np.array([delong(labels[kept], a[kept], b[kept]).difference for kept in without])
    count = len(left)
    jackknife = math.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(jackknife, rel=0.03)
    # and patients matter here, or the test couldn't tell
    assert delong(labels, a, b).standard_error < 0.9 * found.standard_error


def test_the_clustered_variance_is_about_that_of_the_bootstrap_of_patients():
    labels, a, _, names = two_models_of_patients(100, seed=7)
    table = pd.DataFrame({"label": labels, "a": a, "patient": names})
    expected = cluster_bootstrap(
        lambda rows: auc_interval(rows["label"], rows["a"]).auc, table, "patient", 600
    )
    found = auc_interval(labels, a, cluster=names)
    assert found.standard_error == pytest.approx(expected.error, rel=0.08)
    assert auc_interval(labels, a).standard_error < 0.85 * found.standard_error


def test_images_that_are_repeated_within_patients_add_nothing():
    labels, a, b, names = two_models_of_patients(25, seed=8)
    once = delong(labels, a, b, cluster=names)
    again = [np.tile(values, 3) for values in (labels, a, b)]
    assert dataclasses.astuple(delong(*again, cluster=np.tile(names, 3))) == pytest.approx(
        dataclasses.astuple(once)
    )


@pytest.mark.parametrize("ties", [False, True])
def test_independent_images_add_their_variances(ties):
    first, second = two_models(seed=9, ties=ties), two_models(10, 9, seed=10, ties=ties)
    found = delong_unpaired(first[0], first[1], second[0], second[2], confidence=0.8)
    variances = [
        covariance_of_delong(labels, scores)[0, 0]
        for labels, scores in ((first[0], first[1]), (second[0], second[2]))
    ]
    assert found.auc_a == pytest.approx(roc_auc_score(first[0], first[1]))
    assert found.auc_b == pytest.approx(roc_auc_score(second[0], second[2]))
    assert found.standard_error == pytest.approx(math.sqrt(sum(variances)))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.difference) / found.standard_error))
    half = stats.norm.ppf(0.9) * found.standard_error
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half))


def test_clusters_of_independent_sets_are_their_own():
    labels, a, b, names = two_models_of_patients(20, seed=11)
    images = np.arange(len(labels))
    found = delong_unpaired(labels, a, labels, b, cluster=(names, images))
    clustered, plain = auc_interval(labels, a, cluster=names), auc_interval(labels, b)
    errors = [clustered.standard_error, plain.standard_error]
    assert found.standard_error == pytest.approx(math.hypot(*errors))


def test_pairing_narrows_the_interval_of_models_that_agree():
    labels, a, b = two_models(60, 60, seed=12)
    paired, unpaired = delong(labels, a, b), delong_unpaired(labels, a, labels, b)
    assert paired.difference == unpaired.difference
    assert paired.standard_error < 0.9 * unpaired.standard_error


@pytest.mark.parametrize("clustered", [False, True])
def test_order_of_images_names_of_patients_and_monotone_transforms_change_nothing(clustered):
    labels, a, b, names = two_models_of_patients(15, seed=13)
    cluster = names if clustered else None
    expected = dataclasses.astuple(delong(labels, a, b, cluster=cluster))
    order = np.random.default_rng(14).permutation(len(labels))
    renamed = np.array([f"x{(7 * name) % 15}" for name in names])[order] if clustered else None
    for transform in (lambda s: s, np.exp, lambda s: 5 * s - 3, lambda s: s**3):
        found = delong(labels[order], transform(a[order]), b[order], cluster=renamed)
        assert dataclasses.astuple(found) == pytest.approx(expected, rel=1e-9)


def test_exchanging_models_classes_or_signs_mirrors_the_result():
    labels, a, b = two_models(seed=15)
    found = delong(labels, a, b)
    for mirrored in (delong(labels, b, a), delong(labels, -a, -b), delong(1 - labels, a, b)):
        assert mirrored.difference == pytest.approx(-found.difference)
        assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
        assert mirrored.p == pytest.approx(found.p)
    plain, turned = auc_interval(labels, a), auc_interval(labels, -a)
    assert (turned.low, turned.high) == pytest.approx((1 - plain.high, 1 - plain.low))


def test_inputs_are_left_as_they_are_and_may_be_lists_or_truths():
    labels, a, b = two_models(seed=16)
    for array in (labels, a, b):
        array.setflags(write=False)
    expected = delong(labels, a, b)
    assert delong(labels.tolist(), a.tolist(), b.tolist()) == expected
    assert delong(labels.astype(bool), a, b) == expected
    assert delong(labels.astype(float), a, b) == expected


@pytest.mark.parametrize("positives", [1, 14])
@pytest.mark.parametrize("ties", [False, True])
def test_identical_models_have_no_difference_and_a_p_of_1(positives, ties):
    labels, a, _ = two_models(positives, seed=17, ties=ties)
    for cluster in (None, np.arange(len(labels)) // 2):
        found = delong(labels, a, a, cluster=cluster)
        assert (found.difference, found.low, found.high, found.z, found.p) == (0, 0, 0, 0, 1)
    assert delong(labels, a, np.exp(a)).p == 1.0


def test_two_models_of_constant_scores_are_identical():
    found = delong([0, 1, 0, 1], [0.3] * 4, [0.9] * 4)
    assert (found.auc_a, found.auc_b, found.difference, found.p) == (0.5, 0.5, 0.0, 1.0)


def test_a_difference_without_spread_has_no_p():
    found = delong([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
    assert (found.auc_a, found.auc_b, found.difference, found.standard_error) == (1, 0, 1, 0)
    assert (found.low, found.high) == (1, 1)
    assert math.isnan(found.p)
    assert math.isnan(found.z)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_has_no_area(labels):
    scores = list(range(len(labels)))
    for found in (delong(labels, scores, scores), delong_unpaired(labels, scores, [0, 1], [0, 1])):
        assert math.isnan(found.auc_a)
        assert all(math.isnan(getattr(found, name)) for name in FIELDS if name != "auc_b")
    assert all(math.isnan(value) for value in dataclasses.astuple(auc_interval(labels, scores)))


def test_a_score_that_is_nan_has_no_area():
    found = delong([0, 1, 0, 1], [0.1, math.nan, 0.2, 0.3], [1, 2, 3, 4])
    assert math.isnan(found.auc_a)
    assert found.auc_b == 0.75
    assert math.isnan(found.p)


def test_infinite_scores_are_only_very_large():
    assert delong([0, 1, 0, 1], [-math.inf, math.inf, 1, 2], [1, 2, 3, 4]) == delong(
        [0, 1, 0, 1], [0, 3, 1, 2], [1, 2, 3, 4]
    )


def test_one_image_or_one_patient_of_a_class_has_an_area_and_no_interval():
    for labels, cluster in (([1, 0, 0, 0], None), ([1, 1, 0, 0], ["a", "a", "b", "c"])):
        found = delong(labels, [3, 2, 1, 4], [1, 2, 3, 4], cluster=cluster)
        single = auc_interval(labels, [3, 2, 1, 4], cluster=cluster)
        assert found.auc_a == single.auc == auroc(np.array(labels), np.array([3, 2, 1, 4]))
        for value in (found.standard_error, found.low, found.high, found.z, found.p, single.low):
            assert math.isnan(value)


def test_two_patients_with_both_classes_have_an_interval():
    labels, cluster = [1, 0, 1, 0, 0], ["a", "a", "b", "b", "b"]
    found = auc_interval(labels, [4, 1, 3, 2, 5], cluster=cluster)
    expected = covariance_of_obuchowski(
        np.array(labels), np.array(cluster), np.array([4.0, 1, 3, 2, 5])
    )
    assert found.standard_error == pytest.approx(math.sqrt(expected[0, 0]))
    assert 0 < found.low < found.auc < found.high < 1


def test_the_interval_stays_within_0_and_1_and_is_symmetric_in_log_odds():
    labels, a, _ = two_models(8, 9, seed=18)
    found = auc_interval(labels, a + 2 * labels, confidence=0.99)
    assert 0 < found.low < found.auc < found.high < 1
    low, centre, high = (math.log(v / (1 - v)) for v in (found.low, found.auc, found.high))
    assert high - centre == pytest.approx(centre - low)
    error = found.standard_error / (found.auc * (1 - found.auc))
    assert high - centre == pytest.approx(stats.norm.ppf(0.995) * error)


@pytest.mark.parametrize(("positives", "negatives"), [(10, 10), (5, 60), (200, 100)])
def test_an_area_of_1_ends_where_newcombes_error_reaches_it(positives, negatives):
    labels = np.repeat([1, 0], [positives, negatives])
    found = auc_interval(labels, labels)
    assert (found.auc, found.high, found.standard_error) == (1, 1, 0)
    area, others = found.low, (positives + negatives) / 2 - 1
    variance = area * (1 - area) / (positives * negatives)
    variance *= 1 + others * (1 - area) / (2 - area) + others * area / (1 + area)
    assert 1 - area == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(variance))
    mirrored = auc_interval(labels, -labels)
    assert (mirrored.auc, mirrored.low) == (0, 0)
    assert mirrored.high == pytest.approx(1 - found.low)


def test_the_interval_of_few_patients_has_welchs_degrees_of_freedom():
    labels, patients = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([0, 0, 1, 2, 2, 3, 4])
    scores = np.array([5.0, 2.0, 4.0, 3.0, 1.0, 0.0, 4.5])
    found = auc_interval(labels, scores, cluster=patients)
    below, above = np.array([1, 0.5, 0.75]), np.array([1, 0, 0, 2]) / 3
    area = below.mean()
    positives = np.array([below[:2].sum() - 2 * area, below[2] - area]) / 3
    negatives = np.array([above[:2].sum() - 2 * above.mean(), *(above[2:] - above.mean())]) / 4
    parts = [2 * (positives**2).sum(), 1.5 * (negatives**2).sum()]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 1 + parts[1] ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts)) / (area * (1 - area))
    assert found.auc == pytest.approx(area)
    assert found.standard_error == pytest.approx(math.sqrt(sum(parts)))
    assert math.log(found.high / (1 - found.high)) == pytest.approx(math.log(area / (1 - area)) + half)


def test_an_area_of_1_counts_patients_not_images():
    labels, patients = np.repeat([1, 0], 10), np.arange(20)
    once = auc_interval(labels, labels, cluster=patients)
    thrice = auc_interval(np.tile(labels, 3), np.tile(labels, 3), cluster=np.tile(patients, 3))
    assert thrice == once


@pytest.mark.parametrize("area", [0.7, 0.95])
def test_intervals_cover_the_truth_about_as_often_as_they_claim(area):
    random = np.random.default_rng(19)
    labels, shift = np.repeat([1, 0], [30, 30]), stats.norm.ppf(area) * math.sqrt(2)
    intervals = [auc_interval(labels, random.normal(size=60) + shift * labels) for _ in range(600)]
    covered = np.mean([found.low <= area <= found.high for found in intervals])
    assert covered == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("labels", "found"),
    [([0, 1, 2], "2"), ([0, 1, -1], "-1"), (["a", 0, 1], "a"), ([0, 1, math.nan], "nan")],
)
def test_labels_other_than_0_and_1_are_an_error(labels, found):
    with pytest.raises(ValueError, match=f"labels hold {found}; allowed: 0 and 1"):
        delong(np.array(labels, dtype=object), [1, 2, 3], [1, 2, 3])


def test_lengths_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"scores_b has shape \(3,\); .* \(2,\)"):
        delong([0, 1], [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"scores_a has shape \(3,\); .* \(2,\)"):
        delong([0, 1], [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"scores_b has shape \(1,\); .* \(2,\)"):
        delong_unpaired([0, 1], [1, 2], [0, 1], [1])
    with pytest.raises(ValueError, match=r"scores has shape \(2, 1\)"):
        auc_interval([0, 1], [[1], [2]])
    with pytest.raises(ValueError, match=r"cluster has shape \(1,\)"):
        auc_interval([0, 1], [1, 2], cluster=["a"])
    with pytest.raises(ValueError, match=r"labels have shape \(1, 2\)"):
        delong([[0, 1]], [1, 2], [1, 2])


def test_a_missing_patient_or_a_confidence_out_of_range_is_an_error():
    with pytest.raises(DataError, match="cluster: 1 of 2 rows have no value"):
        delong([0, 1], [1, 2], [1, 2], cluster=["a", None])
    for function in (delong, lambda *a, **k: auc_interval(*a[:2], **k)):
        with pytest.raises(ValueError, match="confidence is 95"):
            function([0, 1], [1, 2], [1, 2], confidence=95)
