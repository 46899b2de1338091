"""Tests of bootstrap intervals against SciPy, aggregated tables and invariances."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medtransfer.errors import DataError
from medtransfer.statistics import bootstrap
from medtransfer.statistics.bootstrap import (
    METHODS,
    MOST_LEFT_OUT,
    Interval,
    bca_interval,
    cluster_bootstrap,
    left_out,
    percentile_interval,
)

pytestmark = pytest.mark.filterwarnings("error")


def clustered_table(patients: int = 20, seed: int = 0) -> pd.DataFrame:
    """Images of patients, who have one to five of them and an effect of their own."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(1, 6, patients))
    value = random.exponential(1.0, patients)[patient] + random.normal(0, 0.1, len(patient))
    return pd.DataFrame({"patient": [f"p{p:03d}" for p in patient], "value": value})


def mean_value(table: pd.DataFrame) -> float:
    return float(table["value"].mean())


def influences_of(sample: np.ndarray, statistic) -> np.ndarray:
    without = [statistic(np.delete(sample, place)) for place in range(len(sample))]
    return statistic(sample) - np.array(without)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    ("statistic", "ties"), [(np.mean, False), (np.median, False), (np.std, False), (np.mean, True)]
)
def test_the_bca_interval_is_that_of_scipy_for_the_same_replicates(statistic, ties, confidence):
    sample = np.random.default_rng(1).exponential(2.0, 25)
    sample = np.round(sample) if ties else sample
    expected = stats.bootstrap(
        (sample,), statistic, n_resamples=999, confidence_level=confidence, method="BCa", rng=2
    )
    found = bca_interval(
        float(statistic(sample)),
        expected.bootstrap_distribution,
        [influences_of(sample, statistic)],
        confidence,
    )
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), rel=1e-9)
    assert found.error == pytest.approx(expected.standard_error, rel=1e-9)
    assert found.undefined == 0


def test_the_bca_interval_of_two_independent_samples_is_that_of_scipy():
    random = np.random.default_rng(3)
    few, many = random.exponential(3.0, 9), random.exponential(1.0, 40)

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(a, axis=axis) / np.mean(b, axis=axis)

    expected = stats.bootstrap((few, many), ratio, n_resamples=999, method="BCa", rng=4)
    influences = [
        influences_of(few, lambda sample: ratio(sample, many)),
        influences_of(many, lambda sample: ratio(few, sample)),
    ]
    found = bca_interval(
        float(ratio(few, many)), expected.bootstrap_distribution, influences, confidence=0.95
    )
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), rel=1e-9)


@pytest.mark.parametrize("count", [5, 12, 400])
def test_the_expanded_interval_is_the_bca_interval_of_the_confidence_that_few_clusters_ask_for(count):
    sample = np.random.default_rng(count).exponential(2.0, count)
    replicates = np.random.default_rng(0).choice(sample, (5000, count)).mean(axis=1)
    influences = influences_of(sample, np.mean)
    reach = stats.t.ppf(0.95, count - 1) * math.sqrt(count / (count - 1))
    found = bca_interval(sample.mean(), replicates, [influences], 0.9, expanded=True)
    expected = bca_interval(sample.mean(), replicates, [influences], 1 - 2 * stats.norm.sf(reach))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    plain = percentile_interval(sample.mean(), replicates, 1 - 2 * stats.norm.sf(reach))
    percentiles = percentile_interval(sample.mean(), replicates, 0.9, [influences])
    assert (percentiles.low, percentiles.high) == pytest.approx((plain.low, plain.high), rel=1e-9)
    # a second sample without any influence changes nothing
    both = bca_interval(sample.mean(), replicates, [influences, np.zeros(3)], 0.9, expanded=True)
    assert (both.low, both.high) == pytest.approx((found.low, found.high), rel=1e-9)


def test_the_expanded_interval_of_two_samples_has_welchs_degrees_of_freedom():
    random = np.random.default_rng(1)
    few, many = random.normal(0, 3, 6), random.normal(0, 1, 30)
    replicates = random.choice(few, (5000, 6)).mean(axis=1) - random.choice(many, (5000, 30)).mean(
        axis=1
    )
    influences = [influences_of(few, np.mean), -influences_of(many, np.mean)]
    # influences are deviations over n - 1
    parts = [few.var() * 6 / 5**2, many.var() * 30 / 29**2]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 29)
    factor = (parts[0] * 6 / 5 + parts[1] * 30 / 29) / sum(parts)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(factor)
    estimate = few.mean() - many.mean()
    found = bca_interval(estimate, replicates, influences, 0.95, expanded=True)
    expected = bca_interval(estimate, replicates, influences, 1 - 2 * stats.norm.sf(reach))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_independent_rows_have_about_scipys_interval(method):
    sample = np.random.default_rng(5).exponential(1.0, 30)
    expected = stats.bootstrap((sample,), np.mean, n_resamples=50_000, method=method, rng=6)
    table = pd.DataFrame({"value": sample})
    found = cluster_bootstrap(mean_value, table, None, n_resamples=4000, method=method)
    spread = expected.standard_error
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.1 * spread)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.1 * spread)
    assert found.error == pytest.approx(spread, rel=0.05)


def test_the_bca_interval_of_a_skewed_sample_lies_to_the_right_of_the_percentile_interval():
    table = pd.DataFrame({"value": np.random.default_rng(7).lognormal(0, 1, 25)})
    plain = cluster_bootstrap(mean_value, table, None, 1000, method="percentile")
    found = cluster_bootstrap(mean_value, table, None, 1000)
    assert found.low > plain.low
    assert found.high > plain.high


@pytest.mark.parametrize("method", METHODS)
def test_images_of_patients_give_the_interval_of_the_table_of_sums_over_patients(method):
    table = clustered_table()
    sums = table.groupby("patient")["value"].agg(["sum", "size"]).reset_index()

    def mean_of_sums(rows: pd.DataFrame) -> float:
        return float(rows["sum"].sum() / rows["size"].sum())

    images = cluster_bootstrap(mean_value, table, "patient", 300, method=method, seed=8)
    patients = cluster_bootstrap(mean_of_sums, sums, "patient", 300, method=method, seed=8)
    for name in ("estimate", "low", "high", "error"):
        assert getattr(images, name) == pytest.approx(getattr(patients, name), rel=1e-9)


def test_the_standard_error_is_that_of_patients_and_not_of_images():
    table = pd.concat([clustered_table(60, seed=9)] * 4, ignore_index=True)  # each image four times
    found = cluster_bootstrap(mean_value, table, "patient", 500)
    once = cluster_bootstrap(mean_value, clustered_table(60, seed=9), "patient", 500)
    as_if_independent = cluster_bootstrap(mean_value, table, None, 500)
    assert found.error == pytest.approx(once.error, rel=1e-9)
    assert found.error > 2 * as_if_independent.error


def test_whole_clusters_are_drawn_as_many_as_there_are_with_some_twice():
    table = clustered_table(12)
    sizes = table["patient"].value_counts()
    seen = []

    def remember(rows: pd.DataFrame) -> float:
        times = rows["patient"].value_counts() / sizes
        assert (times.dropna() % 1 == 0).all()
        assert list(rows.index) == list(range(len(rows)))
        seen.append((times.sum(), times.max()))
        return float(rows["value"].mean())

    cluster_bootstrap(remember, table, "patient", 50)
    drawn = seen[1:51]
    assert all(total == 12 for total, _ in drawn)
    assert max(most for _, most in drawn) >= 3
    assert [total for total, _ in seen[51:]] == [11] * 12  # the jackknife


@pytest.mark.parametrize("cluster", ["patient", None])
def test_nothing_depends_on_the_order_of_rows_their_index_or_the_names_of_clusters(cluster):
    table = clustered_table()
    shuffled = table.sample(frac=1, random_state=10)

    def first_weighs_more(rows: pd.DataFrame) -> float:  # depends on the order that it is shown
        return float(np.average(rows["value"], weights=1 / np.arange(1, len(rows) + 1)))

    for statistic in (mean_value, first_weighs_more):
        expected = cluster_bootstrap(statistic, table, cluster, 200)
        assert cluster_bootstrap(statistic, shuffled, cluster, 200) == expected
    if cluster:
        renamed = shuffled.assign(patient=shuffled["patient"].str[1:].astype(int) * 7 - 3)
        expected = cluster_bootstrap(mean_value, table, cluster, 200)
        found = cluster_bootstrap(mean_value, renamed, cluster, 200)
        for name in ("estimate", "low", "high", "error"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)


def test_the_table_is_left_as_it_is_and_the_seed_decides():
    table = clustered_table()
    before = table.copy()
    first = cluster_bootstrap(mean_value, table, "patient", 100, seed=1)
    pd.testing.assert_frame_equal(table, before)
    assert first == cluster_bootstrap(mean_value, table, "patient", 100, seed=1)
    assert first.low != cluster_bootstrap(mean_value, table, "patient", 100, seed=2).low


def test_a_higher_confidence_gives_a_wider_interval():
    table = clustered_table()
    narrow = cluster_bootstrap(mean_value, table, "patient", 500, confidence=0.8)
    wide = cluster_bootstrap(mean_value, table, "patient", 500, confidence=0.99)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_many_clusters_are_left_out_in_groups_of_nearly_one_size():
    count = 2 * MOST_LEFT_OUT + 7
    without = 1 - np.array(list(left_out(count, seed=0)))
    assert without.shape == (MOST_LEFT_OUT, count)
    assert (without.sum(axis=0) == 1).all()
    assert set(without.sum(axis=1)) == {2, 3}
    assert not np.array_equal(without, 1 - np.array(list(left_out(count, seed=1))))
    one_by_one = 1 - np.array(list(left_out(MOST_LEFT_OUT, seed=0)))
    assert np.array_equal(one_by_one, np.eye(MOST_LEFT_OUT))


def test_the_acceleration_from_groups_is_about_that_of_single_clusters(monkeypatch):
    table = pd.DataFrame({"value": np.random.default_rng(11).lognormal(0, 1, 600)})
    grouped = cluster_bootstrap(mean_value, table, None, 1000)
    monkeypatch.setattr(bootstrap, "MOST_LEFT_OUT", 600)
    single = cluster_bootstrap(mean_value, table, None, 1000)
    plain = cluster_bootstrap(mean_value, table, None, 1000, method="percentile")
    tolerance = 0.1 * single.error
    assert grouped.low == pytest.approx(single.low, abs=tolerance)
    assert grouped.high == pytest.approx(single.high, abs=tolerance)
    assert single.high - plain.high > tolerance  # the correction is larger than what is tolerated


def test_undefined_replicates_are_left_out_and_counted():
    table = pd.DataFrame({"value": np.arange(6.0)})

    def undefined_without_the_largest(rows: pd.DataFrame) -> float:
        return float(rows["value"].mean()) if (rows["value"] == 5).any() else math.nan

    found = cluster_bootstrap(undefined_without_the_largest, table, None, 2000)
    assert found.undefined / 2000 == pytest.approx((5 / 6) ** 6, abs=0.04)
    assert found.low < found.estimate == 2.5 < found.high
    replicates = np.array([1.0, math.nan, 2.0, 3.0, math.inf])
    plain = percentile_interval(2.0, replicates, 0.5)
    assert plain == Interval(2.0, 1.5, 2.5, 1.0, 2)


def is_undefined(found: Interval) -> bool:
    return math.isnan(found.low) and math.isnan(found.high)


def test_fewer_than_two_clusters_have_no_interval():
    one = pd.DataFrame({"patient": ["a", "a"], "value": [1.0, 3.0]})
    for method in METHODS:
        found = cluster_bootstrap(mean_value, one, "patient", 20, method=method)
        assert found.estimate == 2.0
        assert is_undefined(found)
        empty = cluster_bootstrap(mean_value, one.iloc[:0], "patient", 20, method=method)
        assert is_undefined(empty)
        assert math.isnan(empty.estimate)


def test_two_clusters_have_an_interval_between_them():
    table = pd.DataFrame({"patient": ["a", "a", "b"], "value": [0.0, 1.0, 2.0]})
    found = cluster_bootstrap(mean_value, table, "patient", 500)
    assert (found.estimate, found.low, found.high) == (1.0, 0.5, 2.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_statistic_that_never_varies_has_an_interval_of_no_width(method):
    table = clustered_table()
    found = cluster_bootstrap(lambda _: 0.7, table, "patient", 50, method=method)
    assert (found.estimate, found.low, found.high, found.undefined) == (0.7, 0.7, 0.7, 0)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_values_that_are_equal_but_for_rounding_do_not_vary():
    replicates = np.array([0.1 + 0.2, 0.3] * 10)
    found = bca_interval(0.3, replicates, [np.zeros(5)], 0.95)
    assert found.low == found.high == pytest.approx(0.3)


def test_equal_replicates_beside_undefined_ones_say_nothing():
    # of two patients, one a class: defined only when both are drawn
    table = pd.DataFrame({"label": [0, 1]})

    def both(rows: pd.DataFrame) -> float:
        return 1.0 if rows["label"].nunique() == 2 else math.nan

    for method in METHODS:
        found = cluster_bootstrap(both, table, None, 100, method=method)
        assert found.estimate == 1
        assert 20 < found.undefined < 80
        assert is_undefined(found)


@pytest.mark.parametrize("replicates", [np.arange(1.0, 5), -np.arange(1.0, 5)])
def test_replicates_on_one_side_of_the_estimate_have_no_bca_interval(replicates):
    assert is_undefined(bca_interval(0.0, replicates, [np.arange(4.0)], 0.95))
    assert not is_undefined(percentile_interval(0.0, replicates, 0.95))


def test_replicates_that_touch_the_estimate_from_one_side_count_half():
    # half of 10 of 20: a share of .25 below, and no acceleration
    replicates = np.array([0.0] * 10 + list(range(1, 11)))
    shift = stats.norm.ppf(0.25)
    levels = stats.norm.cdf(2 * shift + stats.norm.ppf([0.25, 0.75]))
    found = bca_interval(0.0, replicates, [np.array([-1.0, 1.0])], 0.5)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(replicates, levels)))


@pytest.mark.parametrize("estimate", [math.nan, math.inf])
def test_an_undefined_estimate_has_no_interval(estimate):
    for found in (
        bca_interval(estimate, np.arange(5.0), [np.arange(5.0)], 0.95),
        percentile_interval(estimate, np.arange(5.0), 0.95),
    ):
        assert math.isnan(found.estimate)
        assert is_undefined(found)
    undefined = bca_interval(0.5, np.full(5, math.nan), [np.arange(5.0)], 0.95)
    assert undefined.undefined == 5
    assert is_undefined(undefined)


def test_no_share_of_the_replicates_leaves_0_to_1_beyond_the_pole_of_the_acceleration():
    # a share of .999 below the estimate, and one cluster that rules: an acceleration of nearly 1/6
    replicates = np.append(np.random.default_rng(12).normal(-1, 0.1, 999), 1.0)
    one_rules = np.append(np.zeros(200), 1.0)
    found = bca_interval(0.0, replicates, [one_rules], 0.9999)
    assert found.low <= found.high == 1.0
    mirrored = bca_interval(0.0, -replicates, [-one_rules], 0.9999)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_undefined_influences_are_left_out():
    replicates = np.random.default_rng(13).normal(size=500)
    skewed = np.array([3.0, -1.0, -1.0, -1.0])
    with_gap = bca_interval(0.0, replicates, [np.append(skewed, math.nan)], 0.95)
    assert with_gap == bca_interval(0.0, replicates, [skewed], 0.95)
    without_any = bca_interval(0.0, replicates, [np.full(4, math.nan)], 0.95)
    assert without_any == bca_interval(0.0, replicates, [np.ones(4)], 0.95)


def test_a_missing_column_names_those_there_are():
    with pytest.raises(DataError, match="no column person; it has patient, value"):
        cluster_bootstrap(mean_value, clustered_table(), "person", 10)


@pytest.mark.parametrize("gap", [None, math.nan])
def test_rows_without_a_cluster_are_an_error(gap):
    table = clustered_table()
    table.loc[[1, 4], "patient"] = gap
    with pytest.raises(DataError, match=r"column patient .* 2 of \d+ rows have no value"):
        cluster_bootstrap(mean_value, table, "patient", 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_resamples": 0}, "n_resamples is 0; allowed: 1 or more"),
        ({"confidence": 95}, "confidence is 95; allowed: between 0 and 1"),
        ({"confidence": 1.0}, "allowed: between 0 and 1"),
        (
            {"method": "basic"},
            "method is 'basic'; allowed: bca, percentile, expanded_bca, expanded_percentile",
        ),
    ],
)
def test_arguments_out_of_range_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        cluster_bootstrap(mean_value, clustered_table(), "patient", **settings)
