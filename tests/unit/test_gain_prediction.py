"""Predictions of gains against textbook formulas, statsmodels, simulated coverage and promises."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as formulas
from scipy import stats

from medtransfer.statistics.gain_prediction import (
    PREDICTED_GAINS,
    PREDICTION_ERRORS,
    predict_by_factors,
    predict_by_mean,
    predict_by_score,
    predicted_gains,
    prediction_errors,
)
from medtransfer.statistics.paired import paired_t

ONE = ("cnn",)
NETWORKS = {"cnn": ("cnn", 1e6), "large": ("cnn", 2e7), "vit": ("vit", 2e7)}


def points(
    datasets: int = 6, networks: tuple[str, ...] = tuple(NETWORKS), seed: int = 0, **changes: object
) -> pd.DataFrame:
    """Gains that fall with data and grow with size, of one source."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(datasets):
        images, level = 300.0 * 2**number, generator.normal(0, 0.02)
        for name in networks:
            family, parameters = NETWORKS[name]
            gain = 0.3 - 0.02 * math.log(images) + 0.005 * math.log(parameters) + level
            rows.append({
                "recipe": "r", "dataset": f"d{number}", "model": name, "subset": "full",
                "metric": "auroc", "init": "s", "source": "s", "reference": "random",
                "gain": gain + generator.normal(0, 0.01), "gain_low": gain - 0.03,
                "gain_high": gain + 0.03, "pairs": 3, "paired_by": "seed", "training_images": images,
                "parameters": parameters, "family": family, "distance": math.nan,
            })  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def scores(of: pd.DataFrame, noise: float = 0.0, name: str = "logme") -> pd.DataFrame:
    """Half the gain, so that a straight line predicts it."""
    made = of[["recipe", "dataset", "model", "subset", "source"]].copy()
    error = np.random.default_rng(1).normal(0, noise, len(of)) if noise else 0
    return made.assign(score=name, value=of["gain"] / 2 - 3 + error)


def predicted(of: pd.DataFrame, scored: pd.DataFrame | None = None) -> pd.DataFrame:
    found = predicted_gains(of, scored, 0.95)
    PREDICTED_GAINS.check(found)
    assert list(found) == list(PREDICTED_GAINS.columns)
    return found


def errors(found: pd.DataFrame, predictor: str, confidence: float = 0.95) -> pd.Series:
    table = prediction_errors(found, confidence)
    PREDICTION_ERRORS.check(table)
    (row,) = [row for _, row in table.iterrows() if row["predictor"] == predictor]
    return row


def split(of: pd.DataFrame, dataset: str = "d2") -> tuple[pd.DataFrame, pd.DataFrame]:
    return of[of["dataset"] != dataset], of[of["dataset"] == dataset]


def mixed(formula: str, known: pd.DataFrame):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return formulas.mixedlm(formula, known, groups=known["dataset"]).fit(reml=True)


def test_the_mean_of_single_gains_has_the_interval_of_a_new_observation():
    known, new = split(points(networks=("cnn",)))
    found = predict_by_mean(known, new, 0.9)
    fitted = sm.OLS(known["gain"], np.ones(len(known))).fit()
    expected = fitted.get_prediction([[1.0]]).summary_frame(alpha=0.1)
    assert found.values[0] == pytest.approx(expected["mean"][0])
    assert found.low[0] == pytest.approx(expected["obs_ci_lower"][0])
    assert found.high[0] == pytest.approx(expected["obs_ci_upper"][0])


def test_a_data_set_of_many_gains_counts_once_in_the_mean():
    known, new = split(points())
    often = pd.concat([known, *[known[known["dataset"] == "d0"]] * 20], ignore_index=True)
    found = predict_by_mean(often, new)
    assert found.values == pytest.approx([known.groupby("dataset")["gain"].mean().mean()] * 3)


@pytest.mark.parametrize(("between", "most"), [(0.0, 1.0), (0.05, 0.975)])
def test_intervals_of_the_mean_hold_what_they_promise(between, most):
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(300):
        names = np.repeat([f"d{i}" for i in range(6)], [1, 2, 3, 4, 5, 2])
        levels = {name: generator.normal(0, between) for name in names}
        gains = np.array([levels[name] for name in names]) + generator.normal(0, 0.02, len(names))
        known, new = split(pd.DataFrame({"dataset": names, "gain": gains}), "d5")
        found = predict_by_mean(known, new)
        inside += found.low[0] <= new["gain"].iloc[0] <= found.high[0]
    assert 0.92 < inside / 300 <= most


def test_the_factors_are_those_of_statsmodels_mixed_model():
    known, new = split(points(8))
    fitted = mixed("gain ~ np.log(training_images) + np.log(parameters) + family", known)
    found = predict_by_factors(known, new)
    assert found.values == pytest.approx(fitted.predict(new).to_numpy(), rel=1e-3)
    design = np.column_stack([
        np.ones(3), new["family"] == "vit", np.log(new["training_images"]), np.log(new["parameters"]),
    ]).astype(float)  # fmt: skip
    names = ["Intercept", "family[T.vit]", "np.log(training_images)", "np.log(parameters)"]
    covariance = fitted.cov_params().loc[names, names].to_numpy()
    variance = np.einsum("mi,ij,mj->m", design, covariance, design)
    variance += fitted.scale + float(fitted.cov_re.iloc[0, 0])
    # seven data sets, an intercept and the training images at their level
    half = stats.t.ppf(0.975, 7 - 2) * np.sqrt(variance)
    assert found.high - found.low == pytest.approx(2 * half, rel=1e-2)


def test_intervals_of_the_factors_hold_what_they_promise():
    held = total = 0
    for seed in range(12):
        known, new = split(points(5, seed=seed), f"d{seed % 5}")
        found = predict_by_factors(known, new)
        held += ((found.low <= new["gain"]) & (new["gain"] <= found.high)).sum()
        total += len(new)
    assert 0.88 < held / total <= 1


def test_a_score_of_single_gains_is_a_textbook_line():
    of = points(networks=("cnn",))
    of["score"] = scores(of, 0.01)["value"].to_numpy()
    known, new = split(of)
    found = predict_by_score(known, new, 0.95, column="score")
    fitted = formulas.ols("gain ~ score", known).fit()
    expected = fitted.get_prediction(new).summary_frame(alpha=0.05)
    assert found.values == pytest.approx(expected["mean"].to_numpy())
    assert found.low == pytest.approx(expected["obs_ci_lower"].to_numpy())
    assert found.high == pytest.approx(expected["obs_ci_upper"].to_numpy())


def test_a_score_of_several_gains_a_data_set_is_a_mixed_line():
    of = points(8)
    of["score"] = scores(of, 0.02)["value"].to_numpy()
    known, new = split(of)
    fitted = mixed("gain ~ score", known)
    found = predict_by_score(known, new, 0.95, column="score")
    assert found.values == pytest.approx(fitted.predict(new).to_numpy(), rel=1e-3)
    independent = formulas.ols("gain ~ score", known).fit().get_prediction(new).summary_frame()
    width = (independent["obs_ci_upper"] - independent["obs_ci_lower"]).to_numpy()
    assert ((found.high - found.low) > width).all()


def test_no_prediction_sees_a_gain_of_its_data_set():
    of = points(5)
    first = predicted(of, scores(of, 0.01))
    own = of["dataset"] == "d3"
    changed = of.assign(gain=of["gain"].where(~own, 9.0))
    second = predicted(changed, scores(of, 0.01))
    rows = first["dataset"] == "d3"
    for column in ("predicted", "predicted_low", "predicted_high"):
        assert first.loc[rows, column].notna().all()
        np.testing.assert_allclose(first.loc[rows, column], second.loc[rows, column])
        assert (first.loc[~rows, column] != second.loc[~rows, column]).all()


def test_what_the_factors_know_beats_the_mean_and_what_they_do_not_know_does_not():
    found = predicted(points(8, ONE))
    model, naive = errors(found, "factors"), errors(found, "mean")
    assert model["error"] < 0.6 * naive["error"]
    assert model["difference"] == pytest.approx(model["error"] - naive["error"])
    assert naive["difference"] == 0
    assert model["naive_error"] == pytest.approx(naive["error"])


def test_a_good_score_predicts_and_every_table_of_it_does():
    of = points(8, networks=("cnn",))
    found = predicted(of, pd.concat([scores(of), scores(of, 5.0, "leep")]))
    assert errors(found, "logme")["error"] == pytest.approx(0, abs=1e-9)
    assert errors(found, "leep")["error"] > 0.3 * errors(found, "mean")["error"]


def test_a_score_of_several_splits_is_their_mean():
    of = points(6, networks=("cnn",))
    apart = np.linspace(0.4, -0.1, 6) ** 2
    above, below = (scores(of).assign(value=lambda t, d=d: t["value"] + d) for d in (apart, -apart))
    both = predicted(of, pd.concat([above, below]))
    pd.testing.assert_frame_equal(both, predicted(of, scores(of)), rtol=1e-9)


def test_errors_are_means_over_data_sets_with_a_paired_interval_over_them():
    of = points(6, ONE)
    more = of[of["dataset"] == "d1"].assign(subset="n100", gain=0.1)
    found = predicted(pd.concat([of, more]))
    off = found.assign(off=(found["predicted"] - found["gain"]).abs())
    means = off.pivot_table(index="dataset", columns="predictor", values="off")
    row = errors(found, "factors", 0.9)
    assert row["error"] == pytest.approx(means["factors"].mean())
    expected = paired_t(means["factors"] - means["mean"], 0.9)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    own = found[found["predictor"] == "factors"]
    inside = own["gain"].between(own["predicted_low"], own["predicted_high"]).sum()
    assert (row["inside"], row["predicted"], row["gains"]) == (inside, 7, 7)
    assert row["datasets"] == 6 and row["remark"] == ""


@pytest.mark.parametrize("datasets", [1, 2])
def test_too_few_data_sets_predict_nothing_and_say_so(datasets):
    of = points(datasets)
    found = predicted(of, scores(of))
    assert found[["predicted", "predicted_low", "predicted_high"]].isna().all(axis=None)
    assert found["remark"].str.contains(f"{datasets - 1} other data sets").all()
    for name in ("mean", "factors", "logme"):
        row = errors(found, name)
        assert (
            math.isnan(row["error"]) and row["predicted"] == 0 and "needed: at least 2" in row["remark"]
        )


def test_three_data_sets_have_a_mean_and_say_what_the_others_need():
    of = points(3)
    found = predicted(of, scores(of))
    assert found.loc[found["predictor"] == "mean", "predicted_low"].notna().all()
    rest = found[found["predictor"] != "mean"]
    assert rest["predicted"].isna().all()
    assert rest["remark"].str.contains("2 data sets; needed: at least 3").all()


def test_sources_and_metrics_are_predicted_apart():
    of = points(5, ONE)
    other = points(5, ONE, seed=9, init="t", source="t")
    kappa = points(5, ONE, seed=5, metric="quadratic_kappa")
    key = ["init", "metric", "dataset", "model", "predictor"]
    both = predicted(pd.concat([of, other, kappa])).set_index(key)
    for part in (of, other, kappa):
        alone = predicted(part).set_index(key)
        pd.testing.assert_series_equal(both.loc[alone.index, "predicted"], alone["predicted"])


def test_no_factor_that_differs_is_nothing_beyond_the_mean():
    of = points(6, ("cnn",), training_images=math.nan)
    found = predicted(of)
    model = found[found["predictor"] == "factors"]
    assert model["predicted"].isna().all()
    assert model["remark"].str.startswith("not predicted: no factor").all()


def test_a_family_of_no_other_data_set_is_not_predicted():
    of = points(5)
    of.loc[(of["dataset"] == "d2") & (of["model"] == "vit"), "family"] = "mixer"
    model = predicted(of)
    model = model[(model["predictor"] == "factors") & (model["dataset"] == "d2")]
    assert model["predicted"].isna().tolist() == [False, False, True]
    assert model["remark"].str.contains("in no other data set").all()


def test_gains_without_a_score_are_not_predicted_by_it():
    of = points(8, ONE)
    some = scores(of, 0.01)[of["dataset"] > "d2"]
    found = predicted(of, some)
    own = found[found["predictor"] == "logme"]
    assert (own["predicted"].isna() == (own["dataset"] <= "d2")).all()
    row = errors(found, "logme")
    assert (row["predicted"], row["gains"], row["remark"]) == (5, 8, "not predicted: no score")
    naive = found[(found["predictor"] == "mean") & (found["dataset"] > "d2")]
    off = (naive["predicted"] - naive["gain"]).abs().groupby(naive["dataset"]).mean()
    assert row["naive_error"] == pytest.approx(off.mean())


def test_values_that_are_not_finite_are_no_score():
    of = points(8, ONE)
    scored = scores(of)
    scored.loc[scored["dataset"] == "d1", "value"] = -math.inf
    own = predicted(of, scored)
    own = own[own["predictor"] == "logme"]
    assert (own["predicted"].isna() == (own["dataset"] == "d1")).all()


def test_the_same_score_everywhere_predicts_nothing():
    of = points(6, ONE)
    own = predicted(of, scores(of).assign(value=1.0))
    assert "the same for all" in errors(own, "logme")["remark"]


def test_every_gain_has_every_predictor_once():
    of = points(3)
    found = predicted(of, scores(of))
    assert len(found) == 9 * 3
    assert set(found["others"]) == {2}
    key = ["dataset", "model", "predictor"]
    assert set(found[key].itertuples(index=False, name=None)) == set(
        itertools.product(of["dataset"].unique(), NETWORKS, ("mean", "factors", "logme"))
    )


def test_no_gain_gives_empty_tables():
    of = points()
    empty = predicted(of[:0], scores(of)[:0])
    assert empty.empty and prediction_errors(empty, 0.95).empty
    assert predicted(of[:0]).empty
