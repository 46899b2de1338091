"""The mixed model of gains against an analysis of variance, known coefficients and its promises."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as formulas
from scipy import stats

from medtransfer.statistics.factors import (
    FACTORS,
    factor_table,
    fit_factors,
    leave_one_dataset_out,
    pooled_and_within,
)
from medtransfer.statistics.paired import paired_t

COEFFICIENTS = {"images": -0.02, "parameters": 0.005, "vit": 0.03, "distance": -0.002}


def simulated(datasets: int = 7, seed: int = 0, between: float = 0.03, noise: float = 0.01):
    """Gains of two sizes of data and four networks in each data set."""
    generator = np.random.default_rng(seed)
    rows = []
    for name in range(datasets):
        level, distance = generator.normal(0, between), generator.uniform(5, 60)
        for images, (family, parameters) in itertools.product(
            (500, 8000), (("cnn", 1e6), ("cnn", 2e7), ("vit", 2e7), ("vit", 9e7))
        ):
            gain = (
                0.1
                + COEFFICIENTS["images"] * math.log(images)
                + COEFFICIENTS["parameters"] * math.log(parameters)
                + COEFFICIENTS["vit"] * (family == "vit")
                + COEFFICIENTS["distance"] * distance
            )
            rows.append(
                {
                    "dataset": f"d{name}", "training_images": images, "parameters": parameters,
                    "family": family, "distance": distance,
                    "gain": gain + level + generator.normal(0, noise),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def fitted(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    found = fit_factors(table, confidence)
    FACTORS.check(found)
    assert (found["left_out"] == "").all()
    return found.set_index("term")


def test_known_coefficients_are_found():
    found = fitted(simulated(40, noise=0.005), 0.99)
    terms = ["log_training_images", "log_parameters", "family_vit", "distance"]
    for term, truth in zip(terms, COEFFICIENTS.values(), strict=True):
        assert found.loc[term, "low"] < truth < found.loc[term, "high"]
        assert found.loc[term, "estimate"] == pytest.approx(truth, abs=0.002)
    assert (found["datasets"] == 40).all() and (found["rows"] == 320).all()
    assert (found["remark"] == "").all()
    assert found["freedom"].tolist() == [38, 320 - 40 - 3, 320 - 40 - 3, 38, 320 - 40 - 3]


def test_estimates_and_errors_are_those_of_statsmodels_formulas():
    table = simulated()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = formulas.mixedlm(
            "gain ~ np.log(training_images) + np.log(parameters) + distance + family", table,
            groups=table["dataset"],
        ).fit(reml=True)  # fmt: skip
    found = fitted(table)
    names = {"log_training_images": "np.log(training_images)", "distance": "distance",
             "log_parameters": "np.log(parameters)", "family_vit": "family[T.vit]"}  # fmt: skip
    for term, name in names.items():
        row = found.loc[term]
        assert row["estimate"] == pytest.approx(expected.params[name], rel=1e-3)
        error = (row["high"] - row["estimate"]) / stats.t.ppf(0.975, row["freedom"])
        assert error == pytest.approx(expected.bse[name], rel=1e-3)


def balanced(seed: int = 0, between: float = 1.0) -> pd.DataFrame:
    """Two families of three gains each in five data sets, with a number at the data sets' level."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            {"dataset": f"d{d}", "family": family, "distance": d**2, "gain": level + effect + noise}
            for d, level in enumerate(generator.normal(0, between, 5))
            for family, effect in (("cnn", 0.0), ("vit", 0.5))
            for noise in generator.normal(0, 0.3, 3)
        ]
    )


def test_a_balanced_factor_within_data_sets_is_tested_as_in_an_analysis_of_variance():
    table = balanced()
    found = fitted(table[["dataset", "family", "gain"]]).loc["family_vit"]
    # data sets as blocks
    expected = formulas.ols("gain ~ family + C(dataset)", table).fit()
    low, high = expected.conf_int().loc["family[T.vit]"]
    assert found["estimate"] == pytest.approx(expected.params["family[T.vit]"], rel=1e-6)
    assert found["p"] == pytest.approx(expected.pvalues["family[T.vit]"], rel=1e-3)
    assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-3)
    assert found["freedom"] == expected.df_resid


def test_a_balanced_number_of_data_sets_is_tested_on_their_means():
    table = balanced()
    found = fitted(table[["dataset", "distance", "gain"]])
    means = table.groupby("dataset")[["distance", "gain"]].mean()
    expected = stats.linregress(means["distance"], means["gain"])
    row = found.loc["distance"]
    assert row["estimate"] == pytest.approx(expected.slope, rel=1e-6)
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-3)
    assert row["freedom"] == 3


def test_the_mean_gain_of_balanced_data_sets_is_that_of_their_means():
    table = balanced()[["dataset", "gain"]]
    found = fitted(table, 0.9).loc["intercept"]
    expected = paired_t(table.groupby("dataset")["gain"].mean().to_numpy(), 0.9)
    assert (found["estimate"], found["low"], found["high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high), rel=1e-3
    )
    assert found["p"] == pytest.approx(expected.p, rel=1e-3)


def test_repeating_the_gains_of_a_data_set_makes_no_new_data_sets():
    table = balanced(between=1.0)[["dataset", "distance", "gain"]]
    once, often = fitted(table), fitted(pd.concat([table] * 10, ignore_index=True))
    assert often.loc["distance", "freedom"] == once.loc["distance", "freedom"]
    width = (once["high"] - once["low"])["distance"]
    assert (often["high"] - often["low"])["distance"] == pytest.approx(width, rel=0.05)


def test_no_variance_between_data_sets_is_said_and_printed_nowhere(capfd):
    generator = np.random.default_rng(2)
    table = simulated(6)
    noise = generator.normal(0, 1, len(table))
    table["gain"] = noise - pd.Series(noise).groupby(table["dataset"]).transform("mean")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted(table)
    assert found["remark"].unique() == ["the variance between data sets is estimated as 0"]
    assert found["p"].between(0, 1).all()
    assert capfd.readouterr() == ("", "")
    # then it is least squares
    columns = ["training_images", "parameters", "distance"]
    numbers = table[columns].assign(
        training_images=np.log(table["training_images"]), parameters=np.log(table["parameters"])
    )
    design = np.column_stack([np.ones(len(table)), numbers, table["family"] == "vit"])
    expected = np.linalg.lstsq(design.astype(float), table["gain"], rcond=None)[0][1:]
    assert found["estimate"].to_numpy()[1:] == pytest.approx(expected, rel=1e-3)


def test_units_of_gains_and_columns_carry_over():
    table = simulated()
    scaled = table.assign(gain=100 * table["gain"], distance=table["distance"] / 1000)
    found, other = fitted(table), fitted(scaled)
    assert other["p"].to_numpy() == pytest.approx(found["p"].to_numpy(), rel=1e-3)
    assert other.loc["distance", "estimate"] == pytest.approx(
        1e5 * found.loc["distance", "estimate"], rel=1e-4
    )
    tenfold = fitted(table.assign(parameters=table["parameters"] * 10))
    assert tenfold["estimate"].to_numpy() == pytest.approx(found["estimate"].to_numpy(), rel=1e-4)


def test_only_columns_that_vary_are_terms():
    table = simulated().assign(family="cnn", parameters=1e6)
    assert fitted(table).index.tolist() == ["intercept", "log_training_images", "distance"]
    empty = simulated().assign(distance=np.nan).drop(columns=["parameters", "training_images"])
    assert fitted(empty).index.tolist() == ["intercept", "family_vit"]


def test_families_are_compared_with_the_first():
    table = simulated()
    table.loc[table["parameters"] == 1e6, "family"] = "bit"
    found = fitted(table[["dataset", "family", "gain"]])
    assert found.index.tolist() == ["intercept", "family_cnn", "family_vit"]
    means = table.groupby("family")["gain"].mean()
    assert found.loc["family_vit", "estimate"] == pytest.approx(means["vit"] - means["bit"], rel=1e-6)


def test_rows_without_a_value_are_left_out_and_counted():
    table = simulated()
    table.loc[[0, 9], "gain"] = np.nan
    table.loc[20, "distance"] = np.nan
    found = fitted(table)
    assert (found["rows"] == len(table) - 3).all()
    assert found["remark"].unique() == ["3 rows without a value left out"]


@pytest.mark.parametrize("datasets", [0, 1, 2])
def test_fewer_than_three_data_sets_are_not_fitted(datasets):
    found = fitted(simulated(3)[: 8 * datasets])
    assert found[["estimate", "low", "high", "p"]].isna().all(axis=None)
    assert found["remark"].iloc[0] == f"not fitted: {datasets} data sets; needed: at least 3"
    assert (found["datasets"] == datasets).all()


def test_what_leaves_nothing_to_test_it_by_is_not_fitted():
    table = simulated(3)
    table["training_images"] = table["dataset"].map({"d0": 100, "d1": 900, "d2": 300})
    found = fitted(table)
    assert found["estimate"].isna().all()
    assert "log_training_images, distance vary between data sets only, and 3" in found["remark"].iloc[0]
    assert "at least 4" in found["remark"].iloc[0]


def test_terms_that_follow_from_others_are_not_fitted():
    table = simulated()
    table["training_images"] = table["parameters"] ** 2
    assert "some terms follow from the others" in fitted(table)["remark"].iloc[0]


def test_one_gain_a_data_set_leaves_nothing_within():
    table = simulated().groupby("dataset", as_index=False).first()[["dataset", "distance", "gain"]]
    assert "7 gains of 7 data sets" in fitted(table)["remark"].iloc[0]


def test_gains_that_are_all_the_same_are_not_fitted():
    assert "all gains are the same" in fitted(simulated().assign(gain=0.1))["remark"].iloc[0]


@pytest.mark.parametrize("value", [0, -5])
def test_a_number_without_a_logarithm_is_an_error(value):
    table = simulated()
    table["parameters"] = value
    with pytest.raises(ValueError, match="column parameters has the value"):
        fit_factors(table)


def test_each_data_set_is_left_out_once():
    table = simulated(5)
    found = leave_one_dataset_out(table)
    FACTORS.check(found)
    assert found["left_out"].unique().tolist() == ["d0", "d1", "d2", "d3", "d4"]
    assert (found["datasets"] == 4).all()
    expected = fit_factors(table[table["dataset"] != "d3"]).drop(columns="left_out")
    part = found[found["left_out"] == "d3"].drop(columns="left_out").reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected)


def test_a_coefficient_that_rests_on_one_data_set_is_seen_to():
    table = simulated(6, between=0.002, noise=0.002)
    table.loc[table["dataset"] == "d0", "distance"] = 500.0
    table.loc[table["dataset"] == "d0", "gain"] += 1.0
    found = factor_table(table)
    FACTORS.check(found)
    slopes = found[found["term"] == "distance"].set_index("left_out")["estimate"]
    assert slopes[""] > 0.001
    assert slopes["d0"] == pytest.approx(-0.002, abs=5e-4)
    assert found["left_out"].tolist()[:5] == [""] * 5


def test_nothing_at_all_has_the_columns():
    empty = simulated().iloc[:0]
    FACTORS.check(factor_table(empty))
    assert leave_one_dataset_out(empty).empty


def test_a_distance_without_effect_is_found_in_no_more_than_5_of_100_studies():
    claims, naive = [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        own = np.repeat(np.arange(6), 5)
        gain = generator.normal(0, 1, 6)[own] + generator.normal(0, 0.5, 30)
        table = pd.DataFrame({"dataset": own, "gain": gain, "distance": generator.normal(size=6)[own]})
        claims.append(fit_factors(table)["p"].iloc[1] < 0.05)
        naive.append(stats.linregress(table["distance"], table["gain"]).pvalue < 0.05)
    assert np.mean(claims) < 0.1
    assert np.mean(naive) > 0.3


GROUPS = np.repeat(np.arange(7), 5)


def clustered(seed: int, within: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Seven groups of five points whose levels have nothing to do with each other."""
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(2, 7))[:, GROUPS] + 0.3 * generator.normal(size=(2, 35))
    return x, y + within * x


def test_pooled_correlations_are_those_of_scipy():
    x, y = clustered(0)
    found = pooled_and_within(x, y, GROUPS)
    pearson, spearman = stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert found.pooled.pearson == pytest.approx(pearson.statistic)
    assert found.naive.pearson == pytest.approx(pearson.statistic)
    assert found.naive.p_pearson == pytest.approx(pearson.pvalue)
    assert found.pooled.spearman == pytest.approx(spearman.statistic)
    assert found.naive.p_spearman == pytest.approx(spearman.pvalue)
    assert (found.points, found.groups) == (35, 7)


def test_the_pooled_p_exchanges_groups_of_one_size_as_wholes():
    x, y = clustered(1, within=0.4)
    chosen = GROUPS < 5
    x, y = x[chosen], y[chosen]
    blocks = y.reshape(5, 5)
    found = pooled_and_within(x, y, GROUPS[chosen])
    for exchanged, value, p in (
        (stats.pearsonr, found.pooled.pearson, found.pooled.p_pearson),
        (stats.spearmanr, found.pooled.spearman, found.pooled.p_spearman),
    ):
        values = [
            abs(exchanged(x, blocks[list(order)].ravel()).statistic)
            for order in itertools.permutations(range(5))
        ]
        assert p == pytest.approx(np.mean(np.array(values) >= abs(value) - 1e-9))


def test_many_groups_are_exchanged_at_random():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 30))
    found = pooled_and_within(x, y + 0.3 * x, np.arange(30)).pooled
    assert found.p_pearson == pytest.approx(stats.pearsonr(x, y + 0.3 * x).pvalue, abs=0.02)
    assert pooled_and_within(x, x, np.arange(30)).pooled.p_pearson == pytest.approx(1e-4)


def test_the_pooled_p_flips_the_parts_of_groups_of_several_sizes_in_the_covariance():
    x, y = (values[:-2] for values in clustered(1))
    groups = GROUPS[:-2]
    parts = np.array([
        ((x - x.mean()) * (y - y.mean()))[group == groups].sum() for group in range(7)
    ])  # fmt: skip
    sums = [abs(np.dot(signs, parts)) for signs in itertools.product((-1, 1), repeat=7)]
    found = pooled_and_within(x, y, groups)
    assert found.pooled.p_pearson == np.mean(np.array(sums) >= abs(parts.sum()) - 1e-9)
    assert found.pooled.p_pearson >= 2 / 2**7


def test_the_correlation_within_is_that_of_centred_values():
    x, y = clustered(2, within=0.5)
    frame = pd.DataFrame({"x": x, "y": y})
    centred = frame - frame.groupby(GROUPS).transform("mean")
    ranks = frame.groupby(GROUPS).rank()
    found = pooled_and_within(x, y, GROUPS).within
    assert found.pearson == pytest.approx(stats.pearsonr(centred["x"], centred["y"]).statistic)
    ranks -= ranks.groupby(GROUPS).transform("mean")
    assert found.spearman == pytest.approx(stats.pearsonr(ranks["x"], ranks["y"]).statistic)


def test_the_p_within_is_the_share_of_exchanges_within_groups():
    x, y = np.array([1.0, 2, 4, 0, 1, 5]), np.array([0.0, 3, 4, 7, 8, 9])
    groups = np.array([0, 0, 0, 1, 1, 1])
    observed = pooled_and_within(x, y, groups).within
    values = []
    for first, second in itertools.product(
        itertools.permutations(y[:3]), itertools.permutations(y[3:])
    ):
        exchanged = np.array([*first, *second])
        values.append(abs(pooled_and_within_pearson(x, exchanged, groups)))
    expected = np.mean(np.array(values) >= abs(observed.pearson) - 1e-9)
    assert observed.p_pearson == pytest.approx(expected, abs=0.01)


def pooled_and_within_pearson(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    centred = [v - np.array([v[groups == g].mean() for g in groups]) for v in (x, y)]
    return float(np.corrcoef(*centred)[0, 1])


def test_a_correlation_of_levels_alone_does_not_survive_centring():
    generator = np.random.default_rng(0)
    level = generator.normal(size=7)[GROUPS]
    x, y = level + 0.2 * generator.normal(size=(2, 35))
    found = pooled_and_within(x, y, GROUPS)
    assert found.pooled.pearson > 0.8
    assert found.pooled.p_pearson < 0.05
    assert abs(found.within.pearson) < 0.4
    assert found.within.p_pearson > 0.05


def test_a_correlation_within_is_found_where_levels_hide_it():
    generator = np.random.default_rng(1)
    own = generator.normal(size=35)
    x, y = 5 * generator.normal(size=(2, 7))[:, GROUPS] + own + 0.3 * generator.normal(size=(2, 35))
    found = pooled_and_within(x, y, GROUPS)
    assert found.within.pearson > 0.8
    assert found.within.p_pearson == found.within.p_spearman == pytest.approx(1e-4)
    assert found.pooled.pearson < 0.5


def test_under_the_null_the_pooled_p_holds_its_level_and_the_naive_one_does_not():
    found = [pooled_and_within(*clustered(seed), GROUPS) for seed in range(120)]
    assert np.mean([f.pooled.p_pearson <= 0.05 for f in found]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([f.within.p_pearson <= 0.05 for f in found]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([f.naive.p_pearson <= 0.05 for f in found]) > 0.25


def test_order_of_groups_names_and_scale_change_nothing():
    x, y = clustered(3, within=0.3)
    # fold by fold; the points of a group stay in their order
    order = np.lexsort((np.random.default_rng(0).permutation(7)[GROUPS], np.tile(np.arange(5), 7)))
    found = pooled_and_within(x, y, GROUPS)
    other = pooled_and_within(5 * x[order] + 3, -y[order], np.array(list("gfedcba"))[GROUPS][order])
    assert other.pooled.pearson == pytest.approx(-found.pooled.pearson)
    assert other.pooled.p_pearson == pytest.approx(found.pooled.p_pearson)
    assert other.within.spearman == pytest.approx(-found.within.spearman)
    assert other.within.p_pearson == pytest.approx(found.within.p_pearson, abs=0.02)


def test_a_side_that_is_constant_has_no_correlation():
    x, _ = clustered(4)
    flat = pooled_and_within(x, np.full(35, 0.1), GROUPS)
    assert all(math.isnan(v) for c in (flat.pooled, flat.naive, flat.within) for v in vars(c).values())
    levels = pooled_and_within(x, 0.1 * GROUPS, GROUPS)
    assert math.isnan(levels.within.pearson) and math.isnan(levels.within.p_spearman)
    assert not math.isnan(levels.pooled.pearson)
    nothing = pooled_and_within([], [], [])
    assert (nothing.points, nothing.groups) == (0, 0)
    assert math.isnan(nothing.pooled.pearson)


def test_what_does_not_fit_together_is_an_error():
    with pytest.raises(ValueError, match="as many of each"):
        pooled_and_within([1.0, 2.0], [1.0], ["a", "b"])
    with pytest.raises(ValueError, match="finite"):
        pooled_and_within([1.0, math.nan], [1.0, 2.0], ["a", "b"])
