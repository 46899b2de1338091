"""Pairs of runs against DeLong's and McNemar's tests on the same arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from toy_metrics import family, study
from toy_predictions import BINARY, FINDINGS, GRADES, predictions, runs_of

from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import DataError
from medtransfer.statistics.auc import delong
from medtransfer.statistics.mcnemar import mcnemar
from medtransfer.statistics.run_pairs import RUN_PAIRS, run_pairs

TWO = runs_of(("random", "holdout", 3), ("src", "holdout", 3))


def pairs(
    runs: pd.DataFrame, given: list[pd.DataFrame], dataset: DatasetSettings = BINARY, settings=None
) -> pd.DataFrame:
    found = run_pairs(runs, given, dataset, settings or study())
    RUN_PAIRS.check(found)
    return found


def tables(dataset: DatasetSettings, **keys: object) -> list[pd.DataFrame]:
    return [predictions(dataset, seed, skill=0.5 + seed, **keys) for seed in range(2)]


NUMBERS = ["value", "reference_value", "difference", "low", "high", "p"]


def test_of_a_binary_task_areas_and_decisions_are_tested():
    random, source = tables(BINARY)
    found = pairs(TWO, [random, source])
    assert found[["test", "output"]].values.tolist() == [["delong", "yes"], ["mcnemar", ""]]
    area = delong(random["label"], source["logit_yes"], random["logit_yes"], cluster=random["patient"])
    assert found.loc[0, NUMBERS].tolist() == [
        area.auc_a, area.auc_b, area.difference, area.low, area.high, area.p
    ]  # fmt: skip
    assert found.loc[0, "value"] == pytest.approx(roc_auc_score(source["label"], source["logit_yes"]))
    decisions = [(table["logit_yes"] > 0).astype(int) for table in (source, random)]
    decided = mcnemar(random["label"], *decisions, cluster=random["patient"])
    right = [(values == random["label"]).mean() for values in decisions]
    assert found.loc[1, NUMBERS].tolist() == [
        *right, decided.difference, decided.low, decided.high, decided.p
    ]  # fmt: skip
    assert found.loc[1, "difference"] == pytest.approx(right[0] - right[1])
    assert (found["images"] == len(random)).all()
    assert (found["patients"] == 12).all()
    assert found[["init", "reference", "seed", "part"]].drop_duplicates().values.tolist() == [
        ["src", "random", 3, "test"]
    ]


def test_patients_are_the_units_of_both_tests():
    given = tables(BINARY)
    clustered = pairs(TWO, given)
    apart = pairs(TWO, [table.assign(patient=table["image_id"]) for table in given])
    assert clustered["p"][0] != apart["p"][0]
    assert clustered["difference"].tolist() == apart["difference"].tolist()


def test_each_class_of_several_is_tested_against_the_rest_by_its_probability():
    random, source = tables(GRADES)
    found = pairs(TWO, [random, source], GRADES)
    assert found["test"].tolist() == ["delong"] * 3 + ["mcnemar"]
    logits = [table[["logit_0", "logit_1", "logit_2"]].to_numpy() for table in (source, random)]
    for k in range(3):
        scores = [softmax(values, axis=1)[:, k] for values in logits]
        area = delong((random["label"] == k).astype(int), *scores, cluster=random["patient"])
        assert found.loc[k, "output"] == str(k)
        assert found.loc[k, NUMBERS].tolist() == pytest.approx(
            [area.auc_a, area.auc_b, area.difference, area.low, area.high, area.p]
        )
    decisions = [values.argmax(axis=1) for values in logits]
    decided = mcnemar(random["label"], *decisions, cluster=random["patient"])
    assert found.loc[3, ["difference", "p"]].tolist() == [decided.difference, decided.p]


def test_of_several_labels_only_known_ones_count_and_there_is_no_single_decision():
    random, source = tables(FINDINGS)
    random.loc[random["patient"] == "test-p0", "label_edema"] = np.nan
    source["label_edema"] = random["label_edema"]
    found = pairs(TWO, [random, source], FINDINGS)
    assert found[["test", "output"]].values.tolist() == [["delong", "edema"], ["delong", "effusion"]]
    for k, name in enumerate(("edema", "effusion")):
        known = random[f"label_{name}"].notna()
        area = delong(
            random[f"label_{name}"][known],
            source[f"logit_{name}"][known],
            random[f"logit_{name}"][known],
            cluster=random["patient"][known],
        )
        assert found.loc[k, NUMBERS].tolist() == [
            area.auc_a, area.auc_b, area.difference, area.low, area.high, area.p
        ]  # fmt: skip
        assert found.loc[k, ["images", "patients"]].tolist() == [
            known.sum(), random["patient"][known].nunique()
        ]  # fmt: skip
    assert found.loc[0, "patients"] < 12


def test_the_order_of_rows_changes_nothing():
    given = tables(FINDINGS)
    shuffled = [table.sample(frac=1, random_state=i) for i, table in enumerate(given)]
    pd.testing.assert_frame_equal(pairs(TWO, shuffled, FINDINGS), pairs(TWO, given, FINDINGS))


def test_runs_that_saw_other_images_are_an_error():
    random, source = tables(BINARY)
    renamed = source.assign(image_id=[f"x{i:03d}" for i in range(len(source))])
    for other in (renamed, source.iloc[1:]):
        with pytest.raises(
            DataError,
            match=r"seed 3, part test: src and random were scored on different images; allowed",
        ):
            pairs(TWO, [random, other])


def test_identical_runs_have_a_p_of_1():
    found = pairs(TWO, [predictions(BINARY, 0)] * 2)
    assert found["difference"].tolist() == [0.0, 0.0]
    assert found["p"].tolist() == [1.0, 1.0]


def test_a_class_that_is_missing_leaves_its_area_undefined():
    given = [table.assign(label=1) for table in tables(BINARY)]
    found = pairs(TWO, given)
    assert found.loc[0, NUMBERS].isna().all()
    assert np.isfinite(found.loc[1, "p"])


def test_pairs_are_of_one_split_and_seed_and_of_each_part_but_validation():
    runs = runs_of(("random", "holdout", 0), ("random", "cv2-0", 1), ("src", "holdout", 0),
                   ("src", "cv2-0", 0), ("src", "holdout", 1))  # fmt: skip
    parts = ("validation", "test", "external")
    found = pairs(runs, [predictions(BINARY, i, parts=parts) for i in range(5)])
    assert found[["split", "seed", "part"]].drop_duplicates().values.tolist() == [
        ["holdout", 0, "test"], ["holdout", 0, "external"]
    ]  # fmt: skip
    alone = pairs(runs.iloc[[0, 2]], [predictions(BINARY, i) for i in (0, 2)])
    of_test = found[found["part"] == "test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_test, alone)


def test_declared_comparisons_and_the_confidence_are_the_studys():
    given = tables(BINARY)
    families = (family("f", ("random", "src")),)
    found = pairs(TWO, given, settings=study(confidence=0.8, statistics={"families": families}))
    there, back = (found[found["init"] == init].reset_index(drop=True) for init in ("src", "random"))
    assert there["difference"].tolist() == pytest.approx((-back["difference"]).tolist())
    assert there["p"].tolist() == pytest.approx(back["p"].tolist())
    usual = pairs(TWO, given)
    assert (usual["low"] < there["low"]).all() and (usual["high"] > there["high"]).all()


def test_a_single_init_has_an_empty_table():
    assert pairs(TWO.iloc[:1], [predictions(BINARY, 0)]).empty
