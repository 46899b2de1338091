"""Label efficiency: curves worked out by hand, censoring, and intervals against the paired t."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from medtransfer.config.names import subset_size
from medtransfer.evaluation.label_efficiency import (
    AT_MOST,
    EXACTLY,
    LABEL_EFFICIENCY,
    MORE_THAN,
    Mean,
    drawn_curves,
    label_efficiency,
    matching_images,
    monotone,
)
from medtransfer.statistics.paired import nadeau_bengio, paired_t

IMAGES = 1000


def runs(init: str, values: dict[str, list[float]], **columns: object) -> list[dict[str, object]]:
    """METRICS rows: of each subset one value a seed, from 0; None where a seed has no run."""
    usual = {"recipe": "r", "dataset": "d", "model": "m", "part": "test", "metric": "auroc"}
    return [
        {
            **usual,
            "split": "holdout",
            "target": True,
            "images": 500,
            "training_images": subset_size(subset, IMAGES),
            "test_train_ratio": 500 / subset_size(subset, IMAGES),
            **columns,
            "init": init,
            "subset": subset,
            "seed": seed,
            "value": value,
        }
        for subset, of_subset in values.items()
        for seed, value in enumerate(of_subset)
        if value is not None
    ]


def table(*rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.chain(*rows)))


def matched(metrics: pd.DataFrame, **options: object) -> pd.DataFrame:
    """By init; for one cell with one way of drawing subsets."""
    found = label_efficiency(metrics, "random", 0.95, **options)
    LABEL_EFFICIENCY.check(found)
    return found.set_index("init")


RANDOM = runs("random", {"n100": [0.6, 0.6], "n400": [0.7, 0.7], "full": [0.8, 0.8]})


# curves by hand


def test_the_share_is_interpolated_in_the_logarithm_of_the_images():
    better = runs("better", {"n100": [0.7, 0.7], "n400": [0.9, 0.9], "full": [0.95, 0.95]})
    row = matched(table(RANDOM, better)).loc["better"]
    # 0.8 lies half way from 0.7 to 0.9: at the geometric mean of 100 and 400
    assert row["images"] == pytest.approx(200)
    assert row["share"] == pytest.approx(0.2)
    assert (row["bound"], row["reference"], row["reference_value"]) == (EXACTLY, "random", 0.8)
    assert (row["subsets"], row["repeats"], row["training_images"]) == (3, 2, 1000)
    # runs that don't vary leave no doubt
    assert row[["low", "high"]].tolist() == pytest.approx([0.2, 0.2])
    assert row["low_bound"] == row["high_bound"] == EXACTLY


def test_the_reference_needs_exactly_all_images():
    row = matched(table(RANDOM)).loc["random"]
    assert (row["share"], row["bound"]) == (1.0, EXACTLY)
    assert (row["low"], row["high"]) == (1.0, 1.0)


def test_an_init_that_matches_at_the_smallest_subset_needs_at_most_that():
    best = runs("best", {"n100": [0.85, 0.85], "n400": [0.9, 0.9], "full": [0.95, 0.95]})
    row = matched(table(RANDOM, best)).loc["best"]
    assert (row["share"], row["bound"]) == (0.1, AT_MOST)
    assert (row["low"], row["low_bound"], row["high"], row["high_bound"]) == (
        0.1,
        AT_MOST,
        0.1,
        AT_MOST,
    )


def test_an_init_that_never_matches_needs_more_than_its_largest_subset():
    worse = runs("worse", {"n100": [0.5, 0.5], "n400": [0.6, 0.6], "full": [0.7, 0.7]})
    short = runs("short", {"n100": [0.5, 0.5], "n400": [0.79, 0.79]})
    found = matched(table(RANDOM, worse, short))
    assert (found["share"]["worse"], found["bound"]["worse"]) == (1.0, MORE_THAN)
    assert (found["share"]["short"], found["bound"]["short"]) == (0.4, MORE_THAN)
    assert found["high_bound"].loc[["worse", "short"]].tolist() == [MORE_THAN] * 2


def test_a_subset_below_a_smaller_one_is_pooled_with_it():
    bumpy = runs("bumpy", {"n100": [0.9, 0.9], "n400": [0.6, 0.6], "full": [1.0, 1.0]})
    row = matched(table(RANDOM, bumpy)).loc["bumpy"]
    # 0.75 at 100 and at 400 images, then 1.0: 0.8 is reached a fifth of the way from 400 to 1000
    assert row["images"] == pytest.approx(400 * 2.5**0.2)
    assert row["bound"] == EXACTLY


def test_a_value_that_is_met_exactly_at_a_subset_is_met_there():
    equal = runs("equal", {"n100": [0.6, 0.6], "n400": [0.8, 0.8], "full": [0.8, 0.8]})
    row = matched(table(RANDOM, equal)).loc["equal"]
    assert (row["images"], row["bound"]) == (400, EXACTLY)


def test_subsets_of_equally_many_images_are_one_point():
    named_twice = runs("a", {"n100": [0.6, 0.6], "p10": [0.8, 0.8], "full": [0.9, 0.9]})
    row = matched(table(RANDOM, named_twice)).loc["a"]
    # 0.7 at 100 and 0.9 at 1000
    assert row["images"] == pytest.approx(100 * math.sqrt(10))
    assert row["subsets"] == 2


# which rows there are


def test_fixed_and_redrawn_subsets_are_curves_of_their_own():
    both = runs(
        "a",
        {"n100": [0.7, 0.7], "full": [0.9, 0.9], "n100-redrawn": [0.6, 0.6], "p50-redrawn": [0.8, 0.8]},
    )
    found = matched(table(RANDOM, both)).reset_index().set_index(["draws", "init"])
    assert set(found.index) == {("fixed", "random"), ("fixed", "a"), ("redrawn", "a")}
    assert found["images"]["fixed", "a"] == pytest.approx(100 * math.sqrt(10))
    assert found["images"]["redrawn", "a"] == 500
    assert found["subsets"].tolist() == [3, 2, 3]


def test_cells_are_kept_apart_and_rows_that_say_nothing_are_passed_over():
    good = {"n100": [0.9], "full": [0.95]}
    other = runs("random", {"n100": [0.5], "full": [0.99]}, part="external")
    metrics = table(
        runs("random", {"n100": [0.5], "full": [0.8]}),
        runs("a", good),
        other,
        runs("a", good, part="external"),
        runs("a", good, part="validation"),
        runs("random", good, part="validation"),
        runs("a", good, metric="auprc", target=False),
        runs("random", good, metric="auprc", target=False),
        runs("a", {"full": [0.9]}, model="whole only"),
        runs("random", {"full": [0.9]}, model="whole only"),
        runs("a", good, model="no reference"),
        runs("random", {"n100": [0.7]}, model="no reference"),
        runs("random", {"n100": [0.5]}, model="unknown", training_images=0),
        runs("random", {"full": [0.8]}, model="unknown"),
    )
    found = matched(metrics).reset_index()
    assert found[["model", "part", "init"]].to_numpy().tolist() == [
        ["m", "test", "random"],
        ["m", "test", "a"],
        ["m", "external", "random"],
        ["m", "external", "a"],
    ]
    assert found["bound"].tolist() == [EXACTLY, AT_MOST, EXACTLY, MORE_THAN]


def test_nothing_in_is_an_empty_table_out():
    empty = label_efficiency(table(RANDOM).iloc[:0], "random", 0.95)
    LABEL_EFFICIENCY.check(empty)
    assert empty.empty


def test_one_seed_has_a_share_without_an_interval():
    one = [runs(n, {"n100": [v], "full": [0.9]}) for n, v in (("random", 0.6), ("a", 0.8))]
    row = matched(table(*one)).loc["a"]
    assert row["bound"] == EXACTLY and math.isfinite(row["share"])
    assert math.isnan(row["low"]) and math.isnan(row["high"])
    assert (row["low_bound"], row["high_bound"], row["repeats"]) == ("", "", 1)


# the monotone curve


def test_the_monotone_curve_is_that_of_scipy():
    curves = np.random.default_rng(0).normal(size=(300, 6)) + np.arange(6) * 0.3
    expected = [optimize.isotonic_regression(curve).x for curve in curves]
    np.testing.assert_allclose(monotone(curves), expected, atol=1e-12)
    assert (np.diff(curves) < 0).any(axis=1).mean() > 0.5


def test_a_rising_curve_stays_as_it_is():
    curve = np.array([[0.1, 0.2, 0.25, 0.9]])
    assert (monotone(curve) == curve).all()


def test_where_a_curve_reaches_its_goal_is_found_by_walking_along_it():
    generator = np.random.default_rng(1)
    images = np.array([50.0, 100.0, 300.0, 1000.0])
    curves = generator.normal(size=(200, 4)) + np.arange(4) * 0.4
    goals = generator.normal(size=200) + 0.6
    walked = np.linspace(np.log(50), np.log(1000), 20_001)
    for curve, goal, found in zip(curves, goals, matching_images(images, curves, goals), strict=True):
        rising = optimize.isotonic_regression(curve).x
        there = np.interp(walked, np.log(images), rising) >= goal
        if math.isfinite(found):
            assert np.log(found) == pytest.approx(walked[there.argmax()], abs=2e-4)
        else:
            assert (found < 0) == there[0]
            assert (found > 0) == (not there.any())


# intervals


def means(values: np.ndarray, ratio: float = 0.0) -> list[Mean]:
    """Values are repeats x means."""
    return [
        Mean(pd.Series(column, index=list("abcdefghij")[: len(column)]), ratio) for column in values.T
    ]


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_percentiles_of_a_difference_of_means_are_those_of_the_paired_t(count, ratio):
    generator = np.random.default_rng(count)
    values = generator.normal(size=(count, 1)) + 0.3 * generator.normal(size=(count, 2))
    drawn = drawn_curves(means(values, ratio), 100_000)
    differences = values[:, 0] - values[:, 1]
    expected = nadeau_bengio(differences, ratio) if ratio else paired_t(differences)
    found = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    width = expected.high - expected.low
    np.testing.assert_allclose(found, [expected.low, expected.high], atol=0.03 * width)
    alone = stats.t.interval(
        0.9, count - 1, values[:, 0].mean(), values[:, 0].std(ddof=1) * math.sqrt(1 / count + ratio)
    )
    np.testing.assert_allclose(
        np.quantile(drawn[:, 0], [0.05, 0.95]), alone, atol=0.03 * (alone[1] - alone[0])
    )


def test_means_that_share_some_repeats_are_paired_through_these():
    first = pd.Series([1.0, 2.0, 3.0, 5.0], index=list("abcd"))
    second = pd.Series([1.0, 2.0, 3.0], index=list("abc"))
    drawn = drawn_curves([Mean(first), Mean(second), Mean(second.set_axis(list("xyz")))], 50_000)
    up = drawn > [first.mean(), second.mean(), second.mean()]
    a, b = first - first.mean(), second - second.mean()
    correlation = (a[:3] * b).sum() / math.sqrt((a**2).sum() * (b**2).sum())
    # of elliptical draws
    together = 0.5 + math.asin(correlation) / math.pi
    assert (up[:, 0] == up[:, 1]).mean() == pytest.approx(together, abs=0.01)
    assert (up[:, 0] == up[:, 2]).mean() == pytest.approx(0.5, abs=0.01)


def test_the_interval_is_that_of_the_value_where_the_curve_is_straight():
    """The reference doesn't vary and two subsets lie on one line: the share follows from the t ends."""
    noise = np.array([-0.02, 0.01, 0.03, -0.02])
    steady = runs("random", {"n100": [0.5] * 4, "full": [0.75] * 4})
    varying = runs("a", {"n100": list(0.6 + noise), "full": list(0.9 + noise)})
    row = matched(table(steady, varying), n_draws=200_000).loc["a"]
    t = paired_t(noise)
    expected = [10 ** (2 + (0.75 - 0.6 - end) / 0.3) / 1000 for end in (t.high, t.low)]
    assert row[["low", "high"]].tolist() == pytest.approx(expected, rel=0.01)
    assert row["share"] == pytest.approx(10**2.5 / 1000)


def test_what_seeds_have_in_common_does_not_widen_the_interval():
    noise = np.array([-0.05, 0.02, 0.06, -0.03])
    random = runs("random", {"n100": list(0.5 + noise), "full": list(0.75 + noise)})
    paired = runs("a", {"n100": list(0.6 + noise), "full": list(0.9 + noise)})
    unpaired = runs("a", {"n100": list(0.6 - noise), "full": list(0.9 - noise)})
    narrow, wide = (matched(table(random, other)).loc["a"] for other in (paired, unpaired))
    assert narrow["low"] == pytest.approx(narrow["high"])
    assert wide["high"] > 1.5 * wide["low"]
    assert narrow["share"] == pytest.approx(wide["share"])


def test_ends_beyond_the_subsets_are_bounds_and_the_share_between_them_is_none():
    noise = np.array([-0.1, 0.1, 0.02])
    random = runs("random", {"n100": [0.5] * 3, "full": [0.75] * 3})
    varying = runs("a", {"n100": list(0.6 + noise), "full": list(0.9 + noise)})
    row = matched(table(random, varying)).loc["a"]
    assert (row["low"], row["low_bound"]) == (0.1, AT_MOST)
    assert (row["high"], row["high_bound"]) == (1.0, MORE_THAN)
    assert row["bound"] == EXACTLY


def test_seeds_may_differ_between_subsets_and_the_fewest_are_stated():
    random = runs("random", {"n100": [0.5, 0.52, 0.51], "full": [0.75, 0.76, 0.74]})
    more = runs("a", {"n100": [0.6, 0.62, 0.61, 0.65, 0.58], "full": [0.9, None, 0.91, 0.88]})
    row = matched(table(random, more)).loc["a"]
    assert row["repeats"] == 3
    assert row["low"] < row["share"] < row["high"]
    low, high = np.mean([0.6, 0.62, 0.61, 0.65, 0.58]), np.mean([0.9, 0.91, 0.88])
    assert row["share"] == pytest.approx(10 ** (2 + (0.75 - low) / (high - low)) / 1000)


def test_folds_are_the_repeats_of_a_cross_validation():
    def fold(number: int, shift: float) -> list[dict[str, object]]:
        two = {"n100": [0.6 + shift, 0.62 + shift], "full": [0.9 + shift, 0.92 + shift]}
        of_random = {"n100": [0.5, 0.5], "full": [0.75, 0.75]}
        split = {"split": f"cv3-{number}"}
        return [*runs("random", of_random, **split), *runs("a", two, **split)]

    row = matched(table(fold(0, 0.0), fold(1, 0.02), fold(2, -0.02))).loc["a"]
    assert row["repeats"] == 3
    as_seeds = matched(
        table(
            runs("random", {"n100": [0.5] * 3, "full": [0.75] * 3}),
            runs("a", {"n100": [0.61, 0.63, 0.59], "full": [0.91, 0.93, 0.89]}),
        )
    ).loc["a"]
    assert row["share"] == pytest.approx(as_seeds["share"])
    # the correction for overlapping training parts
    assert math.log(row["high"] / row["low"]) > 1.3 * math.log(as_seeds["high"] / as_seeds["low"])


def test_the_order_of_the_rows_does_not_matter():
    generator = np.random.default_rng(0)
    metrics = table(
        *(runs(n, {s: list(generator.normal(m, 0.02, 4)) for s, m in (("n100", low), ("full", high))})
          for n, low, high in (("random", 0.6, 0.8), ("a", 0.7, 0.85)))
    )  # fmt: skip
    one = matched(metrics)
    other = matched(metrics.sample(frac=1, random_state=3)).loc[one.index]
    pd.testing.assert_frame_equal(one, other)
