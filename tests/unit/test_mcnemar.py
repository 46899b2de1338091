"""Tests of paired decisions against statsmodels, enumeration and published numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from medtransfer.errors import DataError
from medtransfer.statistics.mcnemar import mcnemar
from medtransfer.statistics.paired import sign_flip

pytestmark = pytest.mark.filterwarnings("error")


def decisions(
    both: int, only_a: int, only_b: int, neither: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of class 1 of which runs a and b decide so many rightly."""
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return np.ones_like(a), a, b


def decisions_on_patients(
    patients: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three classes; patients have one to four images, on which a run is good or bad."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(1, 5, patients))
    labels = random.integers(0, 3, len(patient))
    a, b = (
        (labels + (random.random(len(labels)) < random.random(patients)[patient])) % 3 for _ in range(2)
    )
    return labels, a, b, patient


TABLES = [(5, 7, 1, 2), (0, 3, 3, 0), (10, 0, 6, 1), (1, 40, 22, 5), (50, 1, 0, 50), (3, 600, 650, 9)]


@pytest.mark.parametrize("counts", TABLES)
def test_the_tests_of_images_are_those_of_statsmodels(counts):
    found = mcnemar(*decisions(*counts))
    both, only_a, only_b, neither = counts
    table = [[both, only_a], [only_b, neither]]
    assert (found.only_a, found.only_b, found.images) == (only_a, only_b, sum(counts))
    assert found.difference == pytest.approx((only_a - only_b) / sum(counts))
    assert found.p == pytest.approx(reference_mcnemar(table, exact=True).pvalue, rel=1e-9)
    plain = reference_mcnemar(table, exact=False, correction=False)
    assert found.p_chi_square == pytest.approx(plain.pvalue, rel=1e-9)
    at = stats.binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)
    expected = 1 - at / 2 if only_a == only_b else plain_tail(only_a, only_b) - at
    assert found.p_mid == pytest.approx(expected, rel=1e-9)


def plain_tail(only_a: int, only_b: int) -> float:
    return float(2 * stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5))


def test_the_published_example_of_airway_hyperresponsiveness():
    # Fagerland, Lydersen & Laake 2013, table 1: 1 and 7 discordant of 21 children
    found = mcnemar(*decisions(1, 1, 7, 12))
    assert found.p == pytest.approx(0.0703, abs=5e-5)
    assert found.p_mid == pytest.approx(0.0391, abs=5e-5)
    assert found.p_chi_square == pytest.approx(0.0339, abs=5e-5)


@pytest.mark.parametrize("counts", TABLES)
def test_the_interval_is_that_of_bonett_and_price(counts):
    _, only_a, only_b, _ = counts
    found = mcnemar(*decisions(*counts), confidence=0.9)
    share_a, share_b = ((count + 1) / (sum(counts) + 2) for count in (only_a, only_b))
    error = math.sqrt((share_a + share_b - (share_a - share_b) ** 2) / (sum(counts) + 2))
    half = stats.norm.ppf(0.95) * error
    assert found.low == pytest.approx(share_a - share_b - half)
    assert found.high == pytest.approx(share_a - share_b + half)


def test_the_interval_stays_within_minus_1_and_1():
    found = mcnemar(*decisions(0, 3, 0, 0), confidence=0.999)
    assert (found.difference, found.high) == (1, 1)
    assert -1 <= found.low < 1


@pytest.mark.parametrize("counts", TABLES)
def test_patients_with_one_image_each_give_what_images_give(counts):
    arguments = decisions(*counts)
    names = [f"p{i}" for i in np.random.default_rng(1).permutation(sum(counts))]
    found, plain = mcnemar(*arguments, cluster=names), mcnemar(*arguments)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(plain), rel=1e-12)


def leads_and_sizes(labels, a, b, patient) -> tuple[np.ndarray, np.ndarray]:
    """For each patient, right decisions of a less those of b; and images."""
    names = np.unique(patient)
    right = (a == labels).astype(int) - (b == labels)
    return (
        np.array([right[patient == name].sum() for name in names]),
        np.array([(patient == name).sum() for name in names]),
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_p_of_patients_is_that_of_all_their_signs(seed):
    labels, a, b, patient = decisions_on_patients(11, seed)
    leads, _ = leads_and_sizes(labels, a, b, patient)
    found = mcnemar(labels, a, b, cluster=patient)
    signs = np.array(list(itertools.product((-1, 1), repeat=len(leads))))
    sums, observed = np.abs(signs @ leads), abs(leads.sum())
    assert found.p == pytest.approx((sums >= observed).mean())
    assert found.p == pytest.approx(sign_flip(leads))
    assert found.p_mid == pytest.approx((sums > observed).mean() + (sums == observed).mean() / 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_asymptotic_p_of_patients_is_durkalskis(seed):
    labels, a, b, patient = decisions_on_patients(40, seed)
    leads, sizes = leads_and_sizes(labels, a, b, patient)
    statistic = sum(leads / sizes) ** 2 / sum((leads / sizes) ** 2)
    found = mcnemar(labels, a, b, cluster=patient)
    assert found.p_chi_square == pytest.approx(2 * stats.norm.sf(math.sqrt(statistic)))


def test_the_exact_p_of_many_patients_approaches_the_normal_limit():
    labels, a, b, patient = decisions_on_patients(3000, seed=7)
    leads, _ = leads_and_sizes(labels, a, b, patient)
    z = (abs(leads.sum()) - 0.5) / math.sqrt((leads**2).sum())
    found = mcnemar(labels, a, b, cluster=patient)
    assert found.p == pytest.approx(2 * stats.norm.sf(z), abs=0.01)
    assert found.p_mid < found.p


def test_images_that_are_repeated_within_patients_are_no_more_evidence():
    labels, a, b, patient = decisions_on_patients(20, seed=8)
    again = [np.tile(values, 3) for values in (labels, a, b)]
    once = mcnemar(labels, a, b, cluster=patient)
    found = mcnemar(*again, cluster=np.tile(patient, 3))
    for name in ("difference", "p", "p_mid", "p_chi_square"):
        assert getattr(found, name) == pytest.approx(getattr(once, name))
    assert (found.only_a, found.images) == (3 * once.only_a, 3 * once.images)
    assert mcnemar(*again).p < found.p


def test_the_interval_of_patients_has_the_variance_of_a_ratio_of_their_sums():
    labels, a, b, patient = decisions_on_patients(30, seed=12)
    found = mcnemar(labels, a, b, cluster=patient)
    leads, sizes = leads_and_sizes(labels, a, b, patient)
    leads, sizes = [*leads, 1, -1], [*sizes, 1, 1]
    centre = sum(leads) / sum(sizes)
    squares = sum((lead - size * centre) ** 2 for lead, size in zip(leads, sizes, strict=True))
    half = stats.t.ppf(0.975, 29) * math.sqrt(squares) / sum(sizes)
    assert abs(centre) > 0.01  # or the sizes of patients wouldn't matter
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_the_interval_of_patients_holds_their_variation():
    # simulated: the sd of the difference over sets of patients, against the width of one interval
    differences, widths = [], []
    for seed in range(200):
        labels, a, b, patient = decisions_on_patients(60, seed + 100)
        found = mcnemar(labels, a, b, cluster=patient)
        differences.append(found.difference)
        widths.append(found.high - found.low)
    expected = 2 * stats.norm.ppf(0.975) * np.std(differences)
    assert np.mean(widths) == pytest.approx(expected, rel=0.15)
    images = mcnemar(*decisions_on_patients(60, 100)[:3])
    assert images.high - images.low < 0.9 * expected


@pytest.mark.parametrize("clustered", [False, True])
def test_the_exact_p_rarely_falls_below_its_level_when_both_runs_are_as_good(clustered):
    p = []
    for seed in range(300):
        labels, a, b, patient = decisions_on_patients(30 if clustered else 60, seed)
        if clustered:
            p.append(mcnemar(labels, a, b, cluster=patient).p)
        else:
            first = np.unique(patient, return_index=True)[1]
            p.append(mcnemar(labels[first], a[first], b[first]).p)
    assert 0.005 < np.mean(np.array(p) <= 0.05) < 0.075


@pytest.mark.parametrize("clustered", [False, True])
def test_order_of_images_and_names_of_patients_and_classes_change_nothing(clustered):
    labels, a, b, patient = decisions_on_patients(15, seed=9)
    expected = mcnemar(labels, a, b, cluster=patient if clustered else None)
    order = np.random.default_rng(10).permutation(len(labels))
    words = np.array(["none", "mild", "severe"])
    renamed = np.array([f"x{(4 * name) % 15}" for name in patient[order]]) if clustered else None
    found = mcnemar(words[labels[order]], words[a[order]], words[b[order]], cluster=renamed)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected))


def test_exchanging_the_runs_mirrors_the_result():
    labels, a, b, patient = decisions_on_patients(15, seed=11)
    found, mirrored = (mcnemar(labels, *pair, cluster=patient) for pair in ((a, b), (b, a)))
    assert (mirrored.only_a, mirrored.only_b) == (found.only_b, found.only_a)
    assert mirrored.difference == -found.difference
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert mirrored.p == pytest.approx(found.p)


@pytest.mark.parametrize("cluster", [None, [0, 0, 1, 1, 1]])
def test_identical_runs_have_a_p_of_1(cluster):
    found = mcnemar([0, 1, 2, 0, 1], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], cluster=cluster)
    assert (found.only_a, found.only_b, found.difference) == (0, 0, 0)
    assert (found.p, found.p_mid, found.p_chi_square) == (1, 1, 1)
    assert found.low < 0 < found.high


def test_wrong_decisions_that_differ_are_not_discordant():
    found = mcnemar([0, 0], [1, 2], [2, 1])
    assert (found.only_a, found.only_b, found.p) == (0, 0, 1)


def test_discordant_images_that_cancel_in_every_patient_are_no_evidence():
    found = mcnemar([1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], cluster=["a", "a", "b", "b"])
    assert (found.only_a, found.only_b) == (2, 2)
    assert (found.p, found.p_mid, found.p_chi_square) == (1, 1, 1)


def test_no_p_exceeds_1_by_rounding():
    for discordant in range(1, 60):
        found = mcnemar(*decisions(0, discordant, discordant, 0))
        assert found.p == pytest.approx(1)
        assert found.p_mid < found.p <= 1


def test_one_image_is_no_evidence_and_no_image_nothing():
    one = mcnemar([1], [1], [0])
    assert (one.difference, one.p, one.p_mid) == (1, 1, 0.5)
    nothing = mcnemar([], [], [])
    assert nothing.images == 0
    assert math.isnan(nothing.difference)
    assert math.isnan(nothing.p)


def test_lengths_that_differ_or_missing_patients_are_errors():
    with pytest.raises(ValueError, match=r"labels \(2,\), decisions_a \(2,\), decisions_b \(1,\)"):
        mcnemar([0, 1], [0, 1], [0])
    with pytest.raises(ValueError, match=r"cluster \(1,\); allowed: one value an image"):
        mcnemar([0, 1], [0, 1], [0, 1], cluster=["a"])
    with pytest.raises(ValueError, match=r"labels \(1, 2\)"):
        mcnemar([[0, 1]], [[0, 1]], [[0, 1]])
    with pytest.raises(DataError, match="cluster: 1 of 2 rows have no value"):
        mcnemar([0, 1], [0, 1], [0, 1], cluster=["a", None])
    with pytest.raises(ValueError, match="confidence is 0"):
        mcnemar([0, 1], [0, 1], [0, 1], confidence=0)
