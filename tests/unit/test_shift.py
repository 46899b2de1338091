"""Results on other images: values by hand, a bootstrap written out, and what must cancel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.statistics import StatisticsSettings
from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.errors import DataError
from medtransfer.evaluation.shift import (
    CORRUPTION,
    SHIFT,
    corruption_table,
    scored_classes,
    shift_table,
)
from medtransfer.statistics.bootstrap import Interval
from medtransfer.statistics.part_samples import part_samples
from medtransfer.statistics.resampling import Resampled

BINARY = DatasetSettings(
    task="binary", labels="y", image_size=8, manifest="m.csv", classes=("no", "yes")
)
KINDS = DatasetSettings(
    task="multiclass", labels="y", image_size=8, manifest="m.csv", classes=("a", "b", "c"),
    metric="accuracy",
)  # fmt: skip
FINDINGS = DatasetSettings(
    task="multilabel", labels=("edema", "mass", "rib"), image_size=8, manifest="m.csv"
)
GRID = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=("random", "s", "s-stats"))
STUDY = StudySettings(title="t", grids=(GRID,), statistics=StatisticsSettings(resamples=400))
PATIENTS = 40


def part(name: str, seed: int, quality: float = 1.0, who: str | None = None) -> pd.DataFrame:
    """Two images a patient; the better a run, the farther its logits of the classes are apart."""
    images = np.arange(2 * PATIENTS)
    label = images // 2 % 2
    # what is hard is so for every run
    hard = np.random.default_rng(77).normal(size=PATIENTS).repeat(2)
    own = np.random.default_rng(seed).normal(size=len(images))
    who = who or name
    return pd.DataFrame(
        {
            "image_id": [f"{who}{n}" for n in images],
            "patient": [f"{who}p{n // 2}" for n in images],
            "part": name,
            "label": label,
            "logit_yes": quality * (2 * label - 1) + hard + 0.3 * own,
        }
    )


def runs(inits: list[str], seeds: int = 2, splits: tuple[str, ...] = ("holdout",)) -> pd.DataFrame:
    rows = [
        {"recipe": "r", "dataset": "d", "model": "m", "init": init, "subset": "full", "split": split,
         "seed": seed, "path": f"{init}/{split}/{seed}"}
        for init in inits for split in splits for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows, index=np.arange(len(rows)) * 3 + 1)


def auc(table: pd.DataFrame) -> float:
    return float(roc_auc_score(table["label"], table["logit_yes"]))


def pick(table: pd.DataFrame, **wanted: object) -> pd.Series:
    wanted = {"reference": "", **wanted}
    found = table[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    assert len(found) == 1, (wanted, len(found))
    return found.iloc[0]


@pytest.fixture(scope="module")
def shifted() -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Two inits with two seeds on a test part, another site and another data set."""
    tables = []
    for k, quality in enumerate((1.0, 1.0, 1.6, 1.6)):
        parts = [part("validation", 50 + k), part("test", k, quality), part("external", 10 + k, 0.6)]
        parts.append(part("external-x", 20 + k, 0.3 * quality).iloc[: 60 - 2 * (k % 2)])
        tables.append(pd.concat(parts, ignore_index=True))
    return shift_table(runs(["random", "s"]), tables, BINARY, STUDY), tables


# ---- other sites and data sets ----


def test_values_and_drops_are_means_over_the_runs_with_their_spread(shifted):
    table, predictions = shifted
    SHIFT.check(table)
    for init, own in (("random", predictions[:2]), ("s", predictions[2:])):
        for name in ("external", "external-x"):
            test = np.array([auc(t[t["part"] == "test"]) for t in own])
            there = np.array([auc(t[t["part"] == name]) for t in own])
            for quantity, values in (("test", test), ("there", there), ("drop", test - there)):
                row = pick(table, init=init, part=name, quantity=quantity)
                assert row["mean"] == pytest.approx(values.mean(), abs=1e-12)
                assert row["sd"] == pytest.approx(values.std(ddof=1), abs=1e-12)
                assert row["low"] < row["mean"] < row["high"]
                assert (row["runs"], row["metric"], row["classes"]) == (2, "auroc", 2)
    sizes = table.groupby("part")[["images", "patients"]].agg(["min", "max"])
    assert sizes.loc["external"].tolist() == [80, 80, 40, 40]
    assert sizes.loc["external-x"].tolist() == [60, 60, 30, 30]


def test_inits_are_compared_by_the_differences_of_their_pairs(shifted):
    table, _ = shifted
    assert set(table["reference"]) == {"", "random"}
    for name in ("external", "external-x"):
        for quantity in ("test", "there", "drop"):
            gain = pick(table, init="s", reference="random", part=name, quantity=quantity)
            own = [pick(table, init=i, part=name, quantity=quantity)["mean"] for i in ("s", "random")]
            assert gain["mean"] == pytest.approx(own[0] - own[1], abs=1e-12)
            assert gain["runs"] == 2


def test_differences_of_inits_are_paired_through_the_patients(shifted):
    # what is hard for one is hard for the other, so a gain is surer than two values
    table, _ = shifted
    gain = pick(table, init="s", reference="random", part="external", quantity="test")
    errors = [pick(table, init=i, part="external", quantity="test")["error"] for i in ("s", "random")]
    assert gain["error"] < 0.8 * np.hypot(*errors)


def test_differences_of_inits_have_the_interval_of_differences(monkeypatch):
    ends = Interval(0.0, 7.0, 8.0, 0.0, 0)
    monkeypatch.setattr(Resampled, "interval_of_difference", lambda *_: ends)
    tables = [pd.concat([part("test", k), part("external", 10 + k)]) for k in range(4)]
    table = shift_table(runs(["random", "s"]), tables, BINARY, STUDY)
    of_differences = table["reference"] != ""
    assert of_differences.any()
    assert ((table["low"] == 7.0) == of_differences).all()


def bootstrap_error(tables: list[pd.DataFrame], draws: int) -> float:
    """Standard deviation of the mean AUROC of runs over draws of whole patients."""
    generator = np.random.default_rng(5)
    first = tables[0].reset_index(drop=True)
    rows = [own.index.to_numpy() for _, own in first.groupby("patient")]
    labels = first["label"].to_numpy()
    found = []
    for _ in range(draws):
        chosen = np.concatenate([rows[i] for i in generator.integers(0, len(rows), len(rows))])
        values = []
        for table in tables:
            scores = table["logit_yes"].to_numpy()[chosen]
            sick, well = scores[labels[chosen] == 1], scores[labels[chosen] == 0]
            values.append((sick[:, None] > well[None, :]).mean())
        found.append(np.mean(values))
    return float(np.std(found))


def test_the_error_is_that_of_a_bootstrap_of_patients_and_of_independent_parts(shifted):
    table, predictions = shifted
    errors = {}
    for name in ("test", "external"):
        errors[name] = bootstrap_error([t[t["part"] == name] for t in predictions[:2]], draws=1000)
    for quantity, expected in (
        ("test", errors["test"]),
        ("there", errors["external"]),
        ("drop", np.hypot(*errors.values())),
    ):
        row = pick(table, init="random", part="external", quantity=quantity)
        assert row["error"] == pytest.approx(expected, rel=0.12)


def test_a_run_without_its_pair_is_left_out_of_the_difference():
    tables = [pd.concat([part("test", k), part("external", 9 + k)]) for k in range(4)]
    table = shift_table(runs(["random", "s"]).iloc[:3], tables[:3], BINARY, STUDY)
    gain = pick(table, init="s", reference="random", quantity="test")
    assert gain["runs"] == 1 and np.isnan(gain["sd"])
    assert gain["mean"] == pytest.approx(auc(part("test", 2)) - auc(part("test", 0)))


def test_the_order_of_rows_does_not_matter(shifted):
    table, predictions = shifted
    turned = [t.sample(frac=1, random_state=k) for k, t in enumerate(predictions)]
    again = shift_table(runs(["random", "s"]), turned, BINARY, STUDY)
    keys = ["part", "init", "reference", "quantity"]
    tables = [t.sort_values(keys).reset_index(drop=True) for t in (table, again)]
    pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=1e-9)


def test_external_patients_that_all_folds_share_are_drawn_once():
    # two folds with their own test patients, each with the same run of the same external images
    splits = ("cv2-0", "cv2-1")
    folds = [pd.concat([part("test", 1, who=f"fold{k}"), part("external", 2)]) for k in range(2)]
    both = shift_table(runs(["random"], 1, splits), folds, BINARY, STUDY)
    one = shift_table(runs(["random"], 1), folds[:1], BINARY, STUDY)
    errors = [pick(t, init="random", quantity="there")["error"] for t in (one, both)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-9)
    errors = [pick(t, init="random", quantity="test")["error"] for t in (one, both)]
    assert errors[1] == pytest.approx(errors[0] / np.sqrt(2), rel=0.2)


def test_without_other_parts_there_are_no_rows():
    table = shift_table(runs(["random"], 1), [part("test", 0)], BINARY, STUDY)
    assert table.empty
    SHIFT.check(table)


def of_kinds(name: str, labels: list[int], decided: list[int]) -> pd.DataFrame:
    logits = np.eye(3)[decided]
    table = pd.DataFrame({f"logit_{kind}": logits[:, k] for k, kind in enumerate("abc")})
    ids = [f"{name}{n}" for n in range(len(labels))]
    return table.assign(image_id=ids, patient=ids, part=name, label=labels)


def test_the_test_part_is_scored_on_the_classes_that_occur_there():
    test = of_kinds("test", [0, 0, 1, 1, 2, 2, 2, 0], [0, 1, 1, 1, 0, 0, 0, 0])
    there = of_kinds("external", [1, 0, 1, 0], [1, 1, 2, 0])
    table = shift_table(runs(["random"], 1), [pd.concat([test, there])], KINDS, STUDY)
    kept = test[test["label"] < 2]
    expected = accuracy_score(kept["label"], [0, 1, 1, 1, 0])
    assert pick(table, quantity="test")["mean"] == pytest.approx(expected) == pytest.approx(0.8)
    assert pick(table, quantity="drop")["mean"] == pytest.approx(0.8 - 0.5)
    assert set(table["classes"]) == {2}


def of_findings(name: str, count: int, missing: tuple[str, ...], seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    ids = [f"{name}{n}" for n in range(count)]
    table = pd.DataFrame({"image_id": ids, "patient": ids, "part": name})
    for finding in FINDINGS.outputs:
        labels = generator.integers(0, 2, count).astype(float)
        table[f"logit_{finding}"] = labels + generator.normal(size=count)
        table[f"label_{finding}"] = np.nan if finding in missing else labels
    return table


def test_findings_are_scored_on_the_outputs_that_are_known_there():
    test, there = of_findings("test", 60, (), 0), of_findings("external-x", 50, ("mass",), 1)
    there["label_rib"] = 0.0  # known, but of no use
    assert scored_classes(there, FINDINGS) == ["edema"]
    table = shift_table(runs(["random"], 1), [pd.concat([test, there])], FINDINGS, STUDY)
    expected = [roc_auc_score(t["label_edema"], t["logit_edema"]) for t in (test, there)]
    assert pick(table, quantity="test")["mean"] == pytest.approx(expected[0])
    assert pick(table, quantity="there")["mean"] == pytest.approx(expected[1])
    assert set(table["classes"]) == {1}


def test_one_class_alone_has_no_value_and_no_interval():
    there = part("external", 3)
    tables = [pd.concat([part("test", 1), there[there["label"] == 1]])]
    table = shift_table(runs(["random"], 1), tables, BINARY, STUDY)
    SHIFT.check(table)
    assert table[["mean", "low", "high"]].isna().all(axis=None)
    assert set(table["undefined"]) == {400}


def test_samples_of_a_part_do_not_depend_on_who_else_is_asked_for():
    tables = [part("external", 1), part("external", 2).iloc[::-1]]
    samples = part_samples("external", tables, 50)
    chosen = tables[1].iloc[5:9]
    weights = samples.of(chosen).weights
    assert weights.shape == (50, 4)
    # both images of a patient are drawn together
    assert np.array_equal(weights[:, 1], weights[:, 2])
    assert np.array_equal(weights, samples.of(tables[0]).weights[:, [74, 73, 72, 71]])


# ---- corrupted images ----


def corrupted(clean: pd.DataFrame, kinds: tuple[str, ...] = ("noise", "blur")) -> pd.DataFrame:
    tables = []
    for k, kind in enumerate(kinds):
        for severity in range(1, 6):
            noise = np.random.default_rng([k, severity]).normal(size=len(clean))
            logits = clean["logit_yes"] + (0.3 + k) * severity * noise
            tables.append(clean.assign(corruption=kind, severity=severity, logit_yes=logits))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def spoilt() -> tuple[pd.DataFrame, list[pd.DataFrame], list[pd.DataFrame]]:
    clean = [part("test", k, 1.0 + 0.5 * (k > 1)) for k in range(4)]
    changed = [corrupted(table) for table in clean]
    with_others = [pd.concat([part("validation", 9), table]) for table in clean]
    table = corruption_table(runs(["random", "s"]), with_others, changed, BINARY, STUDY)
    return table, clean, changed


def test_every_severity_has_its_value_and_its_drop_from_the_clean_images(spoilt):
    table, clean, changed = spoilt
    CORRUPTION.check(table)
    before = np.array([auc(t) for t in clean[2:]])
    for kind in ("noise", "blur"):
        for severity in range(1, 6):
            chosen = [t[(t["corruption"] == kind) & (t["severity"] == severity)] for t in changed[2:]]
            after = np.array([auc(t) for t in chosen])
            place = {"init": "s", "corruption": kind, "severity": severity}
            assert pick(table, **place, quantity="test")["mean"] == pytest.approx(before.mean())
            assert pick(table, **place, quantity="corrupted")["mean"] == pytest.approx(after.mean())
            row = pick(table, **place, quantity="drop")
            assert row["mean"] == pytest.approx((before - after).mean(), abs=1e-12)
            assert row["sd"] == pytest.approx((before - after).std(ddof=1), abs=1e-12)
    assert set(table["images"]) == {80} and set(table["patients"]) == {40}


def test_means_over_severities_and_corruptions_are_of_their_values(spoilt):
    table, _, _ = spoilt
    own = table[
        (table["init"] == "random") & (table["reference"] == "") & (table["quantity"] == "drop")
    ]
    for kind in ("noise", "blur"):
        rows = own[(own["corruption"] == kind) & (own["severity"] > 0)]
        assert len(rows) == 5
        overall = pick(table, init="random", corruption=kind, severity=0, quantity="drop")
        assert overall["mean"] == pytest.approx(rows["mean"].mean())
    everything = pick(table, init="random", corruption="all", severity=0, quantity="drop")
    assert everything["mean"] == pytest.approx(own[own["severity"] > 0]["mean"].mean())
    assert everything["low"] < everything["mean"] < everything["high"]


def test_corruption_drops_of_two_inits_are_compared(spoilt):
    table, _, _ = spoilt
    place = {"corruption": "blur", "severity": 4, "quantity": "drop"}
    gain = pick(table, init="s", reference="random", **place)
    own = [pick(table, init=init, **place)["mean"] for init in ("s", "random")]
    assert gain["mean"] == pytest.approx(own[0] - own[1], abs=1e-12)


def test_images_that_are_not_changed_lose_nothing_for_sure():
    clean = part("test", 1)
    changed = pd.concat([clean.assign(corruption="jpeg", severity=s) for s in range(1, 6)])
    table = corruption_table(runs(["random"], 1), [clean], [changed], BINARY, STUDY)
    drops = table[table["quantity"] == "drop"]
    assert len(drops) == 7
    for column in ("mean", "error", "low", "high"):
        assert drops[column].to_numpy() == pytest.approx(0, abs=1e-12)
    assert (table[table["quantity"] == "corrupted"]["error"] > 0.01).all()


def test_drops_are_paired_through_the_patients():
    clean = part("test", 1)
    changed = clean.assign(corruption="jpeg", severity=1)
    changed["logit_yes"] += 0.2 * np.random.default_rng(0).normal(size=len(clean))
    table = corruption_table(runs(["random"], 1), [clean], [changed], BINARY, STUDY)
    errors = table[table["severity"] == 1].set_index("quantity")["error"]
    assert errors["drop"] < 0.5 * errors["test"]


def test_other_images_than_the_clean_ones_are_an_error():
    clean = part("test", 1)
    changed = clean.iloc[:-1].assign(corruption="jpeg", severity=2)
    with pytest.raises(DataError, match="jpeg, severity 2: 79 images; needed: the 80"):
        corruption_table(runs(["random"], 1), [clean], [changed], BINARY, STUDY)
