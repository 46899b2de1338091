"""Subgroups: bands and intersections, thresholds, and tables against brute force."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as reference

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.config.typed import parse
from medtransfer.data.audit import audit_dataset
from medtransfer.data.subgroups import MISSING, band_names, subgroups
from medtransfer.errors import DataError
from medtransfer.evaluation.extremes import interval_of_largest, simultaneous_intervals
from medtransfer.evaluation.operating_point import rate, youden_thresholds
from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.subgroups import SUBGROUP_GAPS, SUBGROUPS, SubgroupTables, subgroup_tables
from medtransfer.statistics.bootstrap import bca_interval, percentile_interval
from medtransfer.statistics.resampling import Resampled, patient_resamples

CLASSES = {"binary": 2, "multiclass": 3, "ordinal": 3}


def settings(task: str = "binary", **keys: Any) -> DatasetSettings:
    labels: Any = ["u", "v"] if task == "multilabel" else "y"
    classes = [] if task == "multilabel" else list("abc"[: CLASSES[task]])
    usual = {"task": task, "labels": labels, "classes": classes, "image_size": 8, "manifest": "m"}
    return parse(DatasetSettings, {**usual, "groups": ["sex", "age"], **keys}, "d.yaml")


def study(**keys: Any) -> StudySettings:
    grid = {"recipe": "r", "datasets": ["d"], "models": ["m"], "inits": ["random"]}
    usual = {"title": "t", "grids": [grid], "statistics": {"resamples": 100}}
    return parse(StudySettings, {**usual, **keys}, "s.yaml")


# divisions


def divided(dataset: DatasetSettings, **columns: list[Any]) -> pd.DataFrame:
    samples = pd.DataFrame({f"group_{name}": values for name, values in columns.items()}, dtype=object)
    return subgroups(samples, dataset, "samples of d")


def test_bands_hold_their_lower_edge():
    ages = ["12", "39.9", "40", "59", "60", "93", "-1"]
    found = divided(settings(bands={"age": [40, 60]}), sex=["F"] * 7, age=ages)
    assert found["age"].tolist() == [
        *("<40", "<40", "40 to <60", "40 to <60", "≥60", "≥60", "<40"),
    ]
    assert found["age"].cat.categories.tolist() == ["<40", "40 to <60", "≥60"]


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ([40], ["<40", "≥40"]),
        ([0.5, 2, 1_000_000], ["<0.5", "0.5 to <2", "2 to <1000000", "≥1000000"]),
        ([-1.25], ["<-1.25", "≥-1.25"]),
    ],
)
def test_bands_are_named_by_their_edges(edges, names):
    assert band_names(edges) == names


def test_dicom_ages_are_years():
    ages = ["045Y", "006M", "012M", "052W", "053W", "400D", "001D", " 44 ", "44.5"]
    found = divided(settings(bands={"age": [1, 45]}), sex=["F"] * 9, age=ages)
    assert found["age"].tolist() == [
        *("≥45", "<1", "1 to <45", "<1", "1 to <45", "1 to <45", "<1", "1 to <45", "1 to <45"),
    ]


@pytest.mark.parametrize("value", ["sixty", "45Y", "0045Y", "045y", "40-60", "nan", "inf", " "])
def test_a_text_that_is_no_number_is_named_with_its_column_and_place(value):
    with pytest.raises(DataError) as caught:
        divided(settings(bands={"age": [40]}), sex=["F", "M"], age=["40", value])
    message = str(caught.value)
    assert message.startswith("samples of d: column 'age', which 'bands' cuts, has ")
    assert repr(value) in message and "allowed: numbers, DICOM ages such as 045Y" in message


def test_missing_values_are_a_group_of_their_own_and_the_last():
    columns = {"sex": ["M", None, "F", np.nan], "age": ["70", "20", None, "50"]}
    found = divided(settings(bands={"age": [40, 60]}, intersections=[["sex", "age"]]), **columns)
    assert found["sex"].tolist() == ["M", MISSING, "F", MISSING]
    assert found["sex"].cat.categories.tolist() == ["F", "M", MISSING]
    assert found["age"].tolist() == ["≥60", "<40", MISSING, "40 to <60"]
    assert found["sex & age"].tolist() == ["M & ≥60", MISSING, MISSING, MISSING]


def test_an_intersection_is_divided_by_both_in_the_order_of_each():
    columns = {"sex": list("MFMFM"), "age": ["70", "50", "20", "90", "41"]}
    found = divided(settings(bands={"age": [40, 60]}, intersections=[["sex", "age"]]), **columns)
    assert list(found) == ["sex", "age", "sex & age"]
    crossed = found["sex & age"]
    assert crossed.tolist() == ["M & ≥60", "F & 40 to <60", "M & <40", "F & ≥60", "M & 40 to <60"]
    assert crossed.cat.categories.tolist() == [
        *("F & 40 to <60", "F & ≥60", "M & <40", "M & 40 to <60", "M & ≥60"),
    ]


def test_columns_without_bands_keep_their_texts_and_are_sorted():
    found = divided(settings(), sex=list("dbeacf"), age=["40-49", "9", "8", "7", "6", "5"])
    assert found["age"].tolist() == ["40-49", "9", "8", "7", "6", "5"]
    assert found["sex"].cat.categories.tolist() == list("abcdef")


def test_an_intersection_of_a_column_that_the_store_does_not_have_is_refused():
    samples = pd.DataFrame({"group_sex": ["F"]})
    with pytest.raises(DataError, match=r"d: no column 'group_age'.*\(columns of groups: sex\)"):
        subgroups(samples, settings(intersections=[["sex", "age"]]), "d")


def test_the_audit_counts_bands_and_intersections():
    count = 30
    ages = [str(age) for age in range(count)]
    samples = pd.DataFrame({"image_id": ages, "patient": ages, "manifest_row": range(count)})
    samples = samples.assign(
        header_patient="", site=None, display="window", burned_in="", pixel_sha256=ages, label=0,
        group_sex=["F", "M", None] * 10, group_age=ages,
    )  # fmt: skip
    split = pd.DataFrame({"image_id": ages, "part": "train"})
    none = pd.DataFrame(columns=["image_a", "image_b", "kind"])
    dataset = settings(bands={"age": [10]}, intersections=[["sex", "age"]])
    rejected = pd.DataFrame(columns=["stage", "reason"])
    audit = audit_dataset(samples, rejected, none, {"holdout": split}, dataset)
    groups = audit["splits"]["holdout"]["parts"]["train"]["groups"]
    assert groups["sex"] == {"F": 10, "M": 10, MISSING: 10}
    assert groups["age"] == {"≥10": 20, "<10": 10}
    assert groups["sex & age"] == {MISSING: 10, "M & ≥10": 7, "F & ≥10": 6, "F & <10": 4, "M & <10": 3}


# thresholds


def of_output(scores: list[float], targets: list[float]) -> Predictions:
    return Predictions("multilabel", np.array(scores)[:, None], np.array(targets)[:, None])


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_has_the_largest_advantage_of_all(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 8, 30).astype(float)
    targets = (generator.random(30) < 0.4).astype(float)
    targets[:4] = [0, 1, np.nan, 1]
    (threshold,) = youden_thresholds(of_output(list(scores), list(targets)))

    def advantage(t: float) -> float:
        return float((scores[targets == 1] >= t).mean() - (scores[targets == 0] >= t).mean())

    known = scores[~np.isnan(targets)]
    best = max(map(advantage, known))
    assert advantage(threshold) == pytest.approx(best)
    lowest = min(t for t in known if advantage(t) > best - 1e-9)
    below = known[known < lowest]
    assert threshold == (lowest if not len(below) else (lowest + below.max()) / 2)


def test_of_two_best_thresholds_the_lower_is_taken():
    # yes from 4 on finds two of four and nothing else, from 2 on all four and two of four others
    scores = [4.0, 5.0, 2.0, 2.1, 2.2, 2.3, 0.0, 1.0]
    targets = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert youden_thresholds(of_output(scores, targets)).tolist() == [1.5]


def test_a_threshold_lies_between_scores_and_needs_both_answers():
    separable = of_output([1.0, 2.0, 5.0, 6.0], [0, 0, 1, 1])
    assert youden_thresholds(separable).tolist() == [3.5]
    assert np.isnan(youden_thresholds(of_output([1.0, 2.0], [1, 1]))).all()
    assert np.isnan(youden_thresholds(of_output([1.0, np.nan], [1, 0]))).all()


def test_the_threshold_of_the_binary_task_is_that_of_its_logit():
    logits, labels = np.array([[-1.0], [0.0], [3.0]]), np.array([0, 1, 1])
    assert youden_thresholds(Predictions("binary", logits, labels)).tolist() == [-0.5]


def test_rates_are_means_over_the_outputs_that_have_one():
    logits = np.array([[1.0, 9.0, 9.0], [-1.0, 9.0, -9.0], [2.0, -9.0, 9.0], [-2.0, 9.0, 9.0]])
    labels = np.array([[1, 1, 1], [1, np.nan, 1], [0, 0, 1], [0, 1, 1.0]])
    predictions = Predictions("multilabel", logits, labels)
    thresholds, once = np.array([1.0, 0.0, np.nan]), np.ones((1, 4))
    assert rate("true_positive_rate", predictions, thresholds)(once) == pytest.approx([0.75])
    assert rate("false_positive_rate", predictions, thresholds)(once) == pytest.approx([0.25])
    weights = np.array([[3.0, 1, 0, 1], [0, 0, 1, 0]])
    found = rate("true_positive_rate", predictions, thresholds)(weights)
    assert found[0] == pytest.approx((3 / 4 + 1) / 2) and math.isnan(found[1])


# intervals of the largest


def shaken(truths: np.ndarray, errors: np.ndarray, generator: np.random.Generator) -> list[Resampled]:
    """Estimates and replicates with the same normal errors around truths and estimates."""
    estimates = truths + errors * generator.normal(size=len(truths))
    replicates = estimates + errors * generator.normal(size=(300, len(truths)))
    influences = {"test": generator.normal(size=40)}
    return [Resampled(e, r, influences) for e, r in zip(estimates, replicates.T, strict=True)]


def test_one_value_has_its_own_interval_and_so_have_values_that_move_together():
    (value,) = shaken(np.zeros(1), np.ones(1), np.random.default_rng(3))
    half = np.quantile(np.abs(value.replicates - value.estimate), 0.95)
    expected = value.estimate - half, value.estimate + half
    assert interval_of_largest([value], 0.95) == pytest.approx(expected)
    together = [value, 2 * value, value - 3 * value]
    lows, highs = simultaneous_intervals(together, 0.95)
    assert [lows[0], highs[0]] == pytest.approx(expected)
    assert [lows[1], highs[1]] == pytest.approx([2 * end for end in expected])
    assert [-highs[2], -lows[2]] == pytest.approx([2 * end for end in expected])
    assert interval_of_largest(together, 0.95) == (lows.max(), highs.max())


def test_independent_values_are_held_together():
    values = shaken(np.zeros(10), np.arange(1, 11), np.random.default_rng(0))
    lows, highs = simultaneous_intervals(values, 0.95)
    # the normal quantile of .95 ** .1, of both sides
    errors = np.arange(1, 11) * stats.norm.ppf((1 + 0.95**0.1) / 2)
    np.testing.assert_allclose((highs - lows) / 2, errors, rtol=0.15)
    np.testing.assert_allclose((highs + lows) / 2, [value.estimate for value in values])


def test_values_without_spread_cost_nothing_and_undefined_replicates_are_left_out():
    (value,) = shaken(np.zeros(1), np.ones(1), np.random.default_rng(3))
    fixed = Resampled(-9.0, np.full(300, -9.0), value.influences)
    alone = interval_of_largest([value], 0.95)
    assert interval_of_largest([fixed, value], 0.95) == pytest.approx(alone)
    rest = Resampled(value.estimate, value.replicates[9:], value.influences)
    holes = np.where(np.arange(300) < 9, np.nan, value.replicates)
    with_holes = Resampled(value.estimate, holes, value.influences)
    expected = interval_of_largest([rest], 0.95)
    assert interval_of_largest([with_holes, fixed], 0.95) == pytest.approx(expected)
    nothing = Resampled(0.5, np.full(300, np.nan), value.influences)
    assert np.isnan(interval_of_largest([value, nothing], 0.95)).all()
    undefined = Resampled(math.nan, value.replicates, value.influences)
    assert np.isnan(interval_of_largest([value, undefined], 0.95)).all()


@pytest.mark.parametrize("truths", [[0, 0, 0, 0], [0, 0, 0, 3], [0, 1, 2, 3]])
def test_the_gap_is_held_where_groups_are_alike_and_where_they_are_not(truths):
    """200 studies; of a coverage of .95 fewer than 182 hits have a probability below .01."""
    generator, truth = np.random.default_rng(1), np.array(truths, dtype=float)
    hits = 0
    for _ in range(200):
        values = shaken(truth, np.array([1.0, 1.5, 0.5, 1.0]), generator)
        low, high = interval_of_largest([a - b for a, b in permutations(values, 2)], 0.95)
        hits += max(0.0, low) <= np.ptp(truth) <= high
    assert hits >= 182


# tables


def people(
    count: int = 60, seed: int = 0, parts: tuple[str, ...] = ("validation", "test")
) -> pd.DataFrame:
    """Samples with two images a patient; each patient is of one part, sex and age."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(count * len(parts)), 2)
    table = pd.DataFrame({"patient": [f"p{n:04d}" for n in patient]})
    table["image_id"] = [f"i{n:05d}" for n in generator.permutation(len(table))]
    table["part"] = np.array(parts)[patient % len(parts)]
    table["group_sex"] = np.array(["F", "M"])[generator.integers(0, 2, patient.max() + 1)[patient]]
    table["group_age"] = generator.integers(20, 90, patient.max() + 1)[patient].astype(str)
    return table


def answered(
    samples: pd.DataFrame, task: str = "binary", seed: int = 0, skill: float = 1.0, labels_of: int = 0
) -> pd.DataFrame:
    """PREDICTIONS of one run; labels are the same for all runs, some of a multilabel task unknown."""
    generator, labels = np.random.default_rng([seed, 5]), np.random.default_rng(labels_of)
    table = samples[["image_id", "patient", "part"]].copy()
    count = len(table)
    if task == "multilabel":
        known = np.where(labels.random((count, 2)) < 0.1, np.nan, labels.integers(0, 2, (count, 2)))
        table[["label_u", "label_v"]] = known
        targets, names = np.nan_to_num(known), ["u", "v"]
    else:
        table["label"] = labels.integers(0, CLASSES[task], count)
        targets = np.eye(CLASSES[task])[table["label"]]
        names = list("abc"[: CLASSES[task]])
        if task == "binary":
            targets, names = targets[:, 1:], ["b"]
    easy = (samples["group_sex"] == "F").to_numpy()[:, None]
    logits = skill * (1 + easy) * (targets - 0.5) + generator.normal(size=targets.shape)
    table[[f"logit_{name}" for name in names]] = logits
    return table


def run_table(*cells: tuple[str, int], **columns: Any) -> pd.DataFrame:
    """RUNS of these inits and seeds."""
    rows = [{"init": init, "seed": seed} for init, seed in cells]
    usual = {"recipe": "r", "dataset": "d", "model": "m", "subset": "full", "split": "holdout"}
    return pd.DataFrame(rows).assign(**usual, path="r/d").assign(**columns)


def tables(
    runs: pd.DataFrame, predictions: list[pd.DataFrame], samples: pd.DataFrame, **keys: Any
) -> SubgroupTables:
    dataset = settings(**keys)
    found = subgroup_tables(runs, predictions, samples, dataset, study())
    SUBGROUPS.check(found.groups)
    SUBGROUP_GAPS.check(found.gaps)
    return found


def one(table: pd.DataFrame, **wanted: object) -> pd.Series:
    """The only row with these values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1, (wanted, len(table))
    return table.iloc[0]


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return people()


TWO_SEEDS = [("random", 0), ("random", 1), ("better", 0), ("better", 1)]


@pytest.fixture(scope="module")
def found(samples) -> SubgroupTables:
    predictions = [
        answered(samples, seed=place, skill=1.0 if init == "random" else 1.6)
        for place, (init, _) in enumerate(TWO_SEEDS)
    ]
    return tables(run_table(*TWO_SEEDS), predictions, samples, bands={"age": [50]})


def rows_of_group(samples: pd.DataFrame, column: str, group: str) -> np.ndarray:
    groups = subgroups(samples, settings(bands={"age": [50]}), "d")[column]
    return ((groups == group) & (samples["part"] == "test")).to_numpy()


@pytest.mark.parametrize(
    ("division", "group"), [("sex", "F"), ("sex", "M"), ("age", "<50"), ("age", "≥50")]
)
def test_a_groups_value_is_the_mean_over_runs_of_the_metric_of_its_images(
    samples, found, division, group
):
    rows = rows_of_group(samples, division, group)
    predictions = [answered(samples, seed=place)[rows] for place in (0, 1)]
    values = [reference.roc_auc_score(table["label"], table["logit_b"]) for table in predictions]
    row = one(found.groups, init="random", division=division, group=group, metric="auroc")
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    labels = predictions[0]["label"]
    assert (row["images"], row["positives"]) == (rows.sum(), labels.sum())
    assert row["patients"] == samples["patient"][rows].nunique()
    answers = [samples["patient"][rows][labels == answer].nunique() for answer in (0, 1)]
    assert row["rarest"] == min(answers)
    assert (row["runs"], row["small"], row["compared"]) == (2, False, True)
    assert row["low"] < row["mean"] < row["high"]


def repeated(table: pd.DataFrame, weights: np.ndarray) -> pd.DataFrame:
    return table.iloc[np.repeat(np.arange(len(table)), weights)]


def auroc_of(table: pd.DataFrame) -> float:
    """The share of pairs in the right order."""
    scores, positive = table["logit_b"].to_numpy(), table["label"].to_numpy() == 1
    return float((scores[positive][:, None] > scores[~positive]).mean())


@pytest.fixture(scope="module")
def brute(samples) -> Any:
    """Of a group's mean AUROC: from rows repeated as often as their patients were drawn."""
    test = samples[samples["part"] == "test"].sort_values("image_id").reset_index(drop=True)
    drawn = patient_resamples(test["patient"], "test", 100)
    runs: dict[str, list[pd.DataFrame]] = {"random": [], "better": []}
    for place, (init, _) in enumerate(TWO_SEEDS):
        table = answered(samples, seed=place, skill=1.0 if init == "random" else 1.6)
        runs[init].append(table.set_index("image_id").loc[test["image_id"]])
    sex = test["group_sex"].to_numpy()

    def value(init: str, group: str, weights: np.ndarray) -> float:
        inside = np.where(sex == group, weights, 0)
        return float(np.mean([auroc_of(repeated(table, inside)) for table in runs[init]]))

    def everything(combined: Any) -> tuple[float, np.ndarray, np.ndarray]:
        """Estimate, replicates and influences of a function of (init, group) -> value."""
        rows = [np.ones(len(test), dtype=int), *drawn.weights, *drawn.left_out]
        values = np.array([combined(lambda i, g, w=w: value(i, g, w)) for w in rows])
        count = len(drawn.weights)
        return values[0], values[1 : count + 1], values[0] - values[count + 1 :]

    return everything


def bca(everything: tuple[float, np.ndarray, np.ndarray]) -> list[float]:
    estimate, replicates, influences = everything
    found = bca_interval(estimate, replicates, [influences], 0.95, expanded=True)
    return [found.estimate, found.low, found.high]


def test_a_groups_interval_is_that_of_repeated_patients(found, brute):
    row = one(found.groups, init="better", division="sex", group="M", metric="auroc")
    expected = bca(brute(lambda value: value("better", "M")))
    assert row[["mean", "low", "high"]].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("worst", lambda value: value("better", "M") - value("random", "M")),
        (
            "gap",
            lambda value: (
                (value("better", "F") - value("better", "M"))
                - (value("random", "F") - value("random", "M"))
            ),
        ),
    ],
)
def test_what_two_inits_differ_by_in_the_same_groups_is_that_of_repeated_patients(
    found, brute, name, change
):
    wanted = {"init": "better", "reference": "random", "division": "sex", "metric": "auroc"}
    row = one(found.gaps, property=name, **wanted)
    assert (row["best_group"], row["worst_group"], row["groups"], row["runs"]) == ("F", "M", 2, 2)
    estimate, replicates, influences = brute(change)
    expected = percentile_interval(estimate, replicates, 0.95, [influences])
    assert row["value"] == pytest.approx(estimate)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_the_gap_of_two_groups_is_their_difference_and_never_below_0(found, brute):
    row = one(found.gaps, init="random", reference="", division="sex", metric="auroc", property="gap")
    estimate, replicates, _ = brute(lambda value: value("random", "F") - value("random", "M"))
    assert estimate > 0
    half = np.quantile(np.abs(replicates - estimate), 0.95)
    expected = [estimate, max(0.0, estimate - half), estimate + half]
    assert row[["value", "low", "high"]].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["auroc", "true_positive_rate", "false_positive_rate"])
def test_worst_group_and_gap_are_of_the_groups_means(found, metric):
    for division in ("sex", "age"):
        groups = found.groups.query("init == 'better' and division == @division and metric == @metric")
        ordered = groups.sort_values("mean", ascending=metric == "false_positive_rate")
        best, worst = ordered.iloc[0], ordered.iloc[-1]
        wanted = {"init": "better", "reference": "", "division": division, "metric": metric}
        gap = one(found.gaps, property="gap", **wanted)
        assert gap["value"] == pytest.approx(abs(best["mean"] - worst["mean"]))
        assert (gap["best_group"], gap["worst_group"]) == (best["group"], worst["group"])
        assert (gap["groups"], gap["runs"]) == (2, 2)
        row = one(found.gaps, property="worst", **wanted)
        assert row["value"] == pytest.approx(worst["mean"])
        assert row["sd"] == pytest.approx(worst["sd"])
        assert row["low"] < row["value"] < row["high"]
        assert gap["low"] >= 0 and gap["high"] > gap["value"]


@pytest.mark.parametrize("metric", ["true_positive_rate", "false_positive_rate"])
def test_rates_are_at_each_runs_own_threshold_of_validation(samples, found, metric):
    values = []
    for place in (0, 1):
        table = answered(samples, seed=place)
        validation = table[table["part"] == "validation"]
        false, true, thresholds = reference.roc_curve(
            validation["label"], validation["logit_b"], drop_intermediate=False
        )
        best = np.flatnonzero(np.isclose(true - false, (true - false).max()))[-1]
        below = validation["logit_b"][validation["logit_b"] < thresholds[best]].max()
        group = table[rows_of_group(samples, "sex", "M")]
        answer = 1 if metric == "true_positive_rate" else 0
        scores = group["logit_b"][group["label"] == answer]
        values.append((scores >= (thresholds[best] + below) / 2).mean())
    row = one(found.groups, init="random", division="sex", group="M", metric=metric)
    assert row["mean"] == pytest.approx(np.mean(values))


def test_inits_that_answer_alike_differ_by_nothing(samples):
    runs = run_table(("random", 0), ("same", 0), ("worse", 0))
    alike = answered(samples, seed=1)
    found = tables(runs, [alike, alike, answered(samples, seed=2, skill=0.2)], samples)
    same = found.gaps.query("init == 'same' and reference == 'random'")
    assert len(same) > 0 and (same[["value", "low", "high"]] == 0).all(axis=None)
    worse = found.gaps.query("init == 'worse' and reference == 'random' and metric == 'auroc'")
    assert (worse["value"] != 0).all()


def test_changes_are_in_the_groups_that_are_best_and_worst_by_the_mean_of_both(samples):
    letters = samples.assign(group_sex=samples["patient"].str[-1].map(lambda d: "ABC"[int(d) % 3]))
    runs = run_table(("random", 0), ("other", 0))
    # seeds for which the mean of both finds others than each alone
    found = tables(runs, [answered(samples, seed=s) for s in (37, 137)], letters, groups=["sex"])
    for metric, sign in (("auroc", 1), ("true_positive_rate", 1), ("false_positive_rate", -1)):
        groups = found.groups.query("metric == @metric and division == 'sex'")
        means = groups.pivot(index="group", columns="init", values="mean")
        order = (sign * means.sum(axis=1)).sort_values().index
        for init in means:
            alone = (sign * means[init]).sort_values().index
            assert (alone[0], alone[-1]) != (order[0], order[-1])
        change = means["other"] - means["random"]
        wanted = {"init": "other", "reference": "random", "division": "sex", "metric": metric}
        gap, worst = (one(found.gaps, property=name, **wanted) for name in ("gap", "worst"))
        assert (gap["best_group"], gap["worst_group"]) == (order[-1], order[0])
        assert (gap["groups"], worst["worst_group"]) == (3, order[0])
        assert worst["value"] == pytest.approx(change[order[0]])
        assert gap["value"] == pytest.approx(sign * (change[order[-1]] - change[order[0]]))
        assert worst["low"] < worst["value"] < worst["high"]
        assert gap["low"] < gap["value"] < gap["high"]


def test_inits_are_compared_through_the_runs_that_pair(samples):
    runs = run_table(("random", 0), ("better", 0), ("better", 7))
    predictions = [answered(samples, seed=s, skill=k) for s, k in ((0, 1.0), (1, 2.0), (2, 0.1))]
    with_extra = tables(runs, predictions, samples, groups=["sex"]).gaps
    without = tables(runs[:2], predictions[:2], samples, groups=["sex"]).gaps
    extra, plain = (table.query("reference == 'random'") for table in (with_extra, without))
    assert len(plain) and (plain["runs"] == 1).all()
    pd.testing.assert_frame_equal(extra.reset_index(drop=True), plain.reset_index(drop=True))
    assert (
        one(with_extra, init="better", reference="", metric="auroc", property="gap", division="sex")[
            "runs"
        ]
        == 2
    )


def test_groups_that_are_too_small_are_shown_and_left_out(samples):
    patients = samples["patient"][samples["part"] == "test"].unique()
    few = samples.assign(
        group_sex=samples["group_sex"].where(~samples["patient"].isin(patients[:9]), "X")
    )
    runs, predictions = run_table(("random", 0)), [answered(samples)]
    found = tables(runs, predictions, few)
    row = one(found.groups, division="sex", group="X", metric="auroc")
    assert (row["patients"], row["images"], row["small"], row["compared"]) == (9, 18, True, False)
    table = answered(samples)[(few["group_sex"] == "X").to_numpy()]
    assert row["mean"] == pytest.approx(auroc_of(table))
    assert math.isnan(row["low"]) and math.isnan(row["high"])
    gap = one(found.gaps, division="sex", metric="auroc", property="gap")
    assert gap["groups"] == 2 and "X" not in (gap["best_group"], gap["worst_group"])
    ten = samples.assign(
        group_sex=samples["group_sex"].where(~samples["patient"].isin(patients[:10]), "X")
    )
    row = one(tables(runs, predictions, ten).groups, division="sex", group="X", metric="auroc")
    assert (row["patients"], row["small"]) == (10, False) and math.isfinite(row["low"])


def test_a_group_with_few_patients_of_a_class_is_small_and_one_without_has_no_value(samples):
    table = answered(samples)
    in_group = rows_of_group(samples, "sex", "M")
    patients = samples["patient"][in_group].unique()

    def with_positives(count: int) -> pd.Series:
        label = np.where(in_group, samples["patient"].isin(patients[:count]), table["label"] == 1)
        found = tables(run_table(("random", 0)), [table.assign(label=label.astype(int))], samples)
        return one(found.groups, division="sex", group="M", metric="auroc")

    five, four, none = with_positives(5), with_positives(4), with_positives(0)
    assert (five["small"], five["rarest"], five["positives"]) == (False, 5, 10)
    assert (four["small"], four["rarest"], four["positives"]) == (True, 4, 8)
    assert math.isfinite(four["mean"]) and math.isnan(four["low"])
    assert (none["small"], none["rarest"], none["runs"]) == (True, 0, 0) and math.isnan(none["mean"])


def test_missing_values_are_shown_and_not_compared(samples):
    patients = samples["patient"].unique()
    gaps = samples.assign(
        group_sex=samples["group_sex"].where(~samples["patient"].isin(patients[:50]), None)
    )
    runs = run_table(("random", 0), ("other", 0))
    found = tables(runs, [answered(samples, seed=seed) for seed in (0, 1)], gaps)
    row = one(found.groups, init="random", division="sex", group=MISSING, metric="auroc")
    assert (row["small"], row["compared"]) == (False, False)
    assert math.isfinite(row["low"])
    for init, compared_with in (("random", ""), ("other", ""), ("other", "random")):
        wanted = {"init": init, "reference": compared_with, "division": "sex", "metric": "auroc"}
        gap = one(found.gaps, property="gap", **wanted)
        assert gap["groups"] == 2 and MISSING not in (gap["best_group"], gap["worst_group"])


def test_groups_of_other_parts_are_not_shown(samples):
    elsewhere = samples.assign(
        group_sex=samples["group_sex"].where(samples["part"] == "test", "in validation only")
    )
    found = tables(run_table(("random", 0)), [answered(samples)], elsewhere)
    assert set(found.groups.query("division == 'sex'")["group"]) == {"F", "M"}


def test_answers_that_are_no_numbers_leave_everything_undefined(samples):
    table = answered(samples)
    table["logit_b"] = table["logit_b"].where(~rows_of_group(samples, "sex", "M"))
    found = tables(run_table(("random", 0)), [table], samples, groups=["sex"])
    row = one(found.groups, division="sex", group="M", metric="auroc")
    assert row["runs"] == 0 and row[["mean", "low", "high"]].isna().all()
    gap = one(found.gaps, division="sex", metric="auroc", property="gap")
    assert gap[["value", "low", "high"]].isna().all()


def test_one_group_has_no_gap(samples):
    runs, predictions = run_table(("random", 0), ("other", 0)), [answered(samples)] * 2
    found = tables(runs, predictions, samples.assign(group_sex="F"))
    assert set(found.groups["division"]) == {"sex", "age"}
    assert "sex" not in set(found.gaps["division"])


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel"])
def test_every_task_has_its_metrics(samples, task):
    runs = run_table(("random", 0))
    table = answered(samples, task)
    found = tables(runs, [table], samples, task=task, bands={"age": [50]})
    rows = rows_of_group(samples, "sex", "F")
    group = table[rows]
    of_group = found.groups.query("division == 'sex' and group == 'F'").set_index("metric")["mean"]
    if task == "multilabel":
        assert list(of_group.index) == ["auroc", "true_positive_rate", "false_positive_rate"]
        expected = []
        for name in "uv":
            known = group[group[f"label_{name}"].notna()]
            expected.append(reference.roc_auc_score(known[f"label_{name}"], known[f"logit_{name}"]))
        assert of_group["auroc"] == pytest.approx(np.mean(expected))
        return
    decided = group[["logit_a", "logit_b", "logit_c"]].to_numpy().argmax(axis=1)
    balanced = reference.balanced_accuracy_score(group["label"], decided)
    assert of_group["balanced_accuracy"] == pytest.approx(balanced)
    if task == "multiclass":
        assert list(of_group.index) == ["balanced_accuracy"]
    else:
        kappa = reference.cohen_kappa_score(group["label"], decided, weights="quadratic")
        assert list(of_group.index) == ["quadratic_kappa", "balanced_accuracy"]
        assert of_group["quadratic_kappa"] == pytest.approx(kappa)
    smallest = min((group["label"] == c).sum() for c in range(3))
    assert (found.groups.query("division == 'sex' and group == 'F'")["positives"] == smallest).all()


def test_a_rare_class_makes_a_group_small_for_metrics_of_classes_only(samples):
    table = answered(samples, "ordinal")
    one_group = rows_of_group(samples, "sex", "M")
    table["label"] = table["label"].where(~one_group | (table["label"] < 2), 1)
    found = tables(run_table(("random", 0)), [table], samples, task="ordinal")
    groups = found.groups.query("division == 'sex' and group == 'M'").set_index("metric")
    assert groups["small"].to_dict() == {"quadratic_kappa": False, "balanced_accuracy": True}
    assert (groups["rarest"] == 0).all()


def test_folds_are_scored_on_their_own_patients_and_drawn_together():
    samples = people(parts=("validation", "a", "b"))
    folds = [
        samples.assign(
            part=samples["part"].map({"validation": "validation", own: "test", other: "train"})
        )
        for own, other in ("ab", "ba")
    ]
    predictions = [answered(fold, seed=n).query("part != 'train'") for n, fold in enumerate(folds)]
    runs = run_table(("random", 0), ("random", 0)).assign(split=["cv2-0", "cv2-1"])
    found = tables(runs, predictions, samples)
    row = one(found.groups, division="sex", group="F", metric="auroc")
    women = [table[(fold["group_sex"] == "F") & (fold["part"] == "test")] for table, fold in zip(
        [answered(fold, seed=n) for n, fold in enumerate(folds)], folds, strict=True
    )]  # fmt: skip
    assert row["mean"] == pytest.approx(np.mean([auroc_of(table) for table in women]))
    assert row["patients"] == sum(table["patient"].nunique() for table in women)
    assert (row["images"], row["runs"]) == (2 * row["patients"], 2)
    assert row["low"] < row["mean"] < row["high"]


def test_a_group_that_is_small_in_one_fold_is_small():
    samples = people(parts=("validation", "a", "b"))
    in_b = samples["patient"][samples["part"] == "b"].unique()
    samples["group_sex"] = samples["group_sex"].where(~samples["patient"].isin(in_b[9:]), "F")
    samples.loc[samples["patient"].isin(in_b[:9]), "group_sex"] = "M"
    runs = run_table(("random", 0), ("random", 0)).assign(split=["cv2-0", "cv2-1"])
    predictions = [
        answered(samples.assign(part=samples["part"].replace(own, "test")), seed=1).query(
            "part in ('validation', 'test')"
        )
        for own in "ab"
    ]
    row = one(tables(runs, predictions, samples).groups, division="sex", group="M", metric="auroc")
    assert row["small"] and row["patients"] > 30


def test_an_external_part_is_scored_apart_and_validation_not_at_all():
    samples = people(parts=("validation", "test", "external"))
    found = tables(run_table(("random", 0)), [answered(samples)], samples)
    assert set(found.groups["part"]) == set(found.gaps["part"]) == {"test", "external"}
    counts = found.groups.query("metric == 'auroc' and division == 'sex'").groupby("part")["patients"]
    assert counts.sum().to_dict() == {"test": 60, "external": 60}


def test_the_order_of_rows_and_runs_does_not_matter(samples, found):
    order = [3, 0, 2, 1]
    predictions = [
        answered(samples, seed=n, skill=1.0 if TWO_SEEDS[n][0] == "random" else 1.6).sample(
            frac=1, random_state=n
        )
        for n in order
    ]
    shuffled = samples.sample(frac=1, random_state=9)
    runs = run_table(*(TWO_SEEDS[n] for n in order))
    other = tables(runs, predictions, shuffled, bands={"age": [50]})
    for mine, theirs in ((found.groups, other.groups), (found.gaps, other.gaps)):
        keys = [name for name in mine if mine[name].dtype == object and "group" not in name]
        keys += ["group"] if "group" in mine else []
        a, b = (t.sort_values(keys, ignore_index=True) for t in (mine, theirs))
        pd.testing.assert_frame_equal(a, b)


def test_cells_are_kept_apart(samples):
    runs = run_table(("random", 0), ("better", 0)).assign(model=["m", "other"])
    found = tables(runs, [answered(samples), answered(samples, seed=1)], samples)
    assert (found.gaps["reference"] == "").all()
    assert found.groups.groupby("model")["init"].unique().map(list).to_dict() == {
        "m": ["random"],
        "other": ["better"],
    }


def test_images_that_are_not_among_the_samples_are_an_error_unless_a_part_is_of_another_set(samples):
    table = answered(samples)
    elsewhere = table.query("part == 'test'").assign(
        part="external", image_id=lambda t: "x" + t["image_id"]
    )
    found = tables(run_table(("random", 0)), [pd.concat([table, elsewhere])], samples)
    assert set(found.groups["part"]) == {"test"}
    message = r"part test: 1 of 120 images aren't among the samples \(first: i\d+\)"
    short = samples.drop(index=samples.index[samples["part"] == "test"][0])
    with pytest.raises(DataError, match=message):
        tables(run_table(("random", 0)), [table], short)


def test_a_run_without_validation_part_is_named(samples):
    table = answered(samples).query("part == 'test'")
    with pytest.raises(DataError, match="predictions of run r/d: no validation part"):
        tables(run_table(("random", 0)), [table], samples)


def test_a_data_set_without_groups_has_empty_tables(samples):
    plain = samples.drop(columns=["group_sex", "group_age"])
    found = tables(run_table(("random", 0)), [answered(samples)], plain, groups=[])
    assert found.groups.empty and found.gaps.empty
