"""From stored activations, predictions and embeddings to the tables of a study."""

from __future__ import annotations

import itertools
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import VIT, brief, carried_out, store_of
from scipy.special import softmax
from sklearn.metrics import accuracy_score, cohen_kappa_score, jaccard_score, roc_auc_score

from medtransfer.config.argument import as_argument
from medtransfer.config.dataset import DatasetSettings
from medtransfer.errors import DataError
from medtransfer.evaluation.results import RUN_COLUMNS, RUNS
from medtransfer.representation.activations import read_activations, write_activations
from medtransfer.representation.analysed import (
    AGREEMENTS,
    JOINED,
    KNN_BY_DEPTH,
    SCORES_AND_GAINS,
    agreement_of_runs,
    by_split,
    knn_by_depth,
    scores_and_gains,
    study_distances,
)
from medtransfer.representation.cca_protocols import TOP_LAYERS
from medtransfer.representation.cca_table import CCA, cca_table
from medtransfer.representation.cka_table import CKA, cka_table
from medtransfer.representation.domain_distance import (
    DOMAIN_DISTANCE,
    frechet_distance,
    kernel_distance,
)
from medtransfer.representation.embedding import EmbeddedImages, write_embedding
from medtransfer.representation.extraction import Request
from medtransfer.representation.knn import knn_scores
from medtransfer.representation.pairs import Network
from medtransfer.representation.probing import probed, reinitialised
from medtransfer.representation.rank_correlation import (
    TRANSFERABILITY_CORRELATION,
    transferability_correlations,
)
from medtransfer.representation.transferability import (
    h_score,
    leave_one_out_knn,
    leep,
    logme,
)
from medtransfer.representation.zoo_map import ZOO_MAP
from medtransfer.statistics.comparison import GAINS

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
REQUEST = Request(probe=24, gram_block=12, row_count=200)
BINARY = DatasetSettings("binary", "label", 12, manifest="m.csv", classes=("negative", "positive"))
MULTILABEL = DatasetSettings("multilabel", ("a", "b", "c"), 12, manifest="m.csv")
# init, seed, split of the runs of the fixture, in an order in which splits alternate
RUNNING = [
    ("random", 0, 0), ("random", 0, 1), ("s", 0, 0), ("random", 1, 0), ("s", 1, 0), ("s", 1, 1),
]  # fmt: skip


def undecided(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Predictions with noise around 0, so that no two runs decide alike."""
    generator = np.random.default_rng(seed)
    names = [name for name in predictions if name.startswith("logit_")]
    logits = predictions[names] - predictions[names].mean()
    noise = generator.normal(size=logits.shape) * logits.std().to_numpy()
    return predictions.assign(**(logits + noise))


class Stored:
    """Runs on disk, as the jobs that the tables are made from leave them."""

    def __init__(self, folder: Path, task: str, plans: list, network: str) -> None:
        rows, self.activations, self.predictions, self.tables = [], [], [], []
        for number, (plan, split) in enumerate(plans):
            place = folder / str(number)
            place.mkdir()
            store = store_of(task, split_seed=split)
            run, result = carried_out(place, plan, store)
            taken = probed(run, REQUEST, 30)
            for moment in ("start", "end"):
                path = place / f"{moment}.safetensors"
                write_activations(getattr(taken, moment), path)
                self.activations.append(path)
            self.predictions.append(place / "predictions.parquet")
            undecided(result.predictions, number).to_parquet(self.predictions[-1])
            self.tables.append({
                "weight_distance": taken.distances, "filters": taken.filters,
                "filter_weights": taken.filter_weights, "reinitialisation": reinitialised(run),
            })  # fmt: skip
            rows.append(
                ("r", "d", network, plan.init, "full", f"cv2-{split}", plan.seed, f"runs/{number}")
            )
        # the analysed runs of one data set are some rows of a longer table
        self.runs = pd.DataFrame(rows, columns=list(RUNS.columns), index=range(7, 7 + len(rows)))
        self.samples = store_of(task).samples

    def identity(self, number: int) -> tuple:
        return tuple(self.runs.iloc[number][list(RUN_COLUMNS)])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    plans = [(brief(init=init, seed=seed), split) for init, seed, split in RUNNING]
    return Stored(tmp_path_factory.mktemp("runs"), "binary", plans, "cbr")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    plans = [(brief("multilabel", model=VIT, seed=seed), 0) for seed in (0, 1)]
    return Stored(tmp_path_factory.mktemp("tokens"), "multilabel", plans, "vit")


# networks by split


def test_networks_are_grouped_by_split_in_the_order_of_the_runs(stored):
    groups = list(by_split(stored.runs, stored.activations))
    assert [{n.split for n in group} for group in groups] == [{"cv2-0"}, {"cv2-1"}]
    assert [len(group) for group in groups] == [8, 4]
    files = {}
    for number, moment in itertools.product(range(len(RUNNING)), (0, 1)):
        name = Network(*stored.identity(number), ("start", "end")[moment])
        files[name] = stored.activations[2 * number + moment]
    for group in groups:
        assert list(group) == [name for name in files if name in group]
        for name, found in group.items():
            expected = read_activations(files[name])
            np.testing.assert_array_equal(found.gram("head", 1), expected.gram("head", 1))
    assert sum(len(group) for group in groups) == len(files)


def test_a_number_of_files_that_does_not_match_is_an_error(stored):
    with pytest.raises(ValueError, match="zip"):
        list(by_split(stored.runs, stored.activations[:-1]))


# nearest neighbours


def labels_by_id(samples: pd.DataFrame, ids: tuple[str, ...]) -> np.ndarray:
    columns = [c for c in samples if c.startswith("label")]
    rows = {row["image_id"]: [row[c] for c in columns] for _, row in samples.iterrows()}
    found = np.array([rows[name] for name in ids])
    return found[:, 0].astype(int) if columns == ["label"] else found


def expected_auroc(path: Path, samples: pd.DataFrame, point: str, pooling: str, k: int) -> float:
    found = read_activations(path)
    kinds = ("cls", "patches") if pooling == "both" else (pooling,)
    bank, queries = (
        np.hstack([found.pooled(part, point, kind) for kind in kinds]) for part in ("train", "test")
    )
    known, asked = (labels_by_id(samples, found.facts.images[part]) for part in ("train", "test"))
    scores = knn_scores(bank, known, queries, k, 0.1)
    if asked.ndim == 1:
        return roc_auc_score(asked, scores[:, 1])
    columns = [~np.isnan(asked[:, c]) for c in range(3)]
    return np.mean([roc_auc_score(asked[c, i], scores[c, i]) for i, c in enumerate(columns)])


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_votes_are_those_of_stored_features_with_labels_found_by_id(stored, tokens, task):
    study, dataset = (stored, BINARY) if task == "binary" else (tokens, MULTILABEL)
    table = knn_by_depth(study.runs, study.activations, study.samples, dataset, 9)
    KNN_BY_DEPTH.check(table)
    assert list(table) == list(KNN_BY_DEPTH.columns)
    places = {study.identity(number): number for number in range(len(study.runs))}
    for row in table.to_dict("records"):
        number = places[tuple(row[name] for name in RUN_COLUMNS)]
        path = study.activations[2 * number + (row["moment"] == "end")]
        expected = expected_auroc(path, study.samples, row["point"], row["pooling"], 9)
        assert row["value"] == pytest.approx(expected, abs=1e-12)
        assert (row["k"], row["metric"], row["bank_images"], row["images"]) == (9, "auroc", 30, 32)
    poolings = {"pooled"} if task == "binary" else {"cls", "patches", "both"}
    assert set(table.query("order > 0")["pooling"]) == poolings
    assert table["value"].nunique() > 12


def test_there_is_a_row_for_each_point_but_the_logits_in_the_order_of_depth(stored, tokens):
    table = knn_by_depth(stored.runs, stored.activations, stored.samples, BINARY, 9)
    assert len(table) == 2 * len(RUNNING) * 2
    for _, rows in table.groupby([*RUN_COLUMNS, "moment"]):
        assert list(zip(rows["point"], rows["order"], strict=True)) == [
            ("layers.0", 0),
            ("layers.1", 1),
        ]
    table = knn_by_depth(tokens.runs, tokens.activations, tokens.samples, MULTILABEL, 9)
    first = table.query("seed == 0 and moment == 'start'").drop_duplicates("point")
    points = [p.name for p in read_activations(tokens.activations[0]).facts.points]
    assert list(first["point"]) == points[:-1]
    assert list(first["order"]) == list(range(len(points) - 1))


def test_the_order_of_the_samples_does_not_matter(stored, tokens):
    for study, dataset in ((stored, BINARY), (tokens, MULTILABEL)):
        table = knn_by_depth(study.runs, study.activations, study.samples, dataset, 9)
        shuffled = study.samples.sample(frac=1, random_state=3)
        again = knn_by_depth(study.runs, study.activations, shuffled, dataset, 9)
        pd.testing.assert_frame_equal(table, again)


def test_neighbours_are_at_most_the_bank(stored):
    some = stored.runs.iloc[:1], stored.activations[:2]
    table = knn_by_depth(*some, stored.samples, BINARY, 200)
    assert (table["k"] == 30).all()
    other = knn_by_depth(*some, stored.samples, BINARY, 1)
    assert (other["k"] == 1).all() and not other["value"].equals(table["value"])


# agreement


def predictions_of(study: Stored) -> list[pd.DataFrame]:
    return [pd.read_parquet(path) for path in study.predictions]


def test_agreement_is_that_of_scikit_learn_on_the_test_part(stored):
    tables = predictions_of(stored)
    found = agreement_of_runs(stored.runs, tables, BINARY)
    AGREEMENTS.check(found)
    assert list(found) == list(AGREEMENTS.columns)
    by_run = {stored.identity(n): t[t["part"] == "test"] for n, t in enumerate(tables)}
    for row in found.to_dict("records"):
        a, b = (
            by_run[
                row[f"recipe_{s}"], row["dataset"], row[f"model_{s}"], row[f"init_{s}"],
                row[f"subset_{s}"], row["split"], row[f"seed_{s}"],
            ]
            for s in "ab"
        )  # fmt: skip
        labels = a["label"].to_numpy()
        says_a, says_b = (t["logit_positive"].to_numpy() > 0 for t in (a, b))
        wrong_a, wrong_b = says_a != labels, says_b != labels
        assert row["images"] == 32
        assert row["accuracy_a"] == pytest.approx(accuracy_score(labels, says_a))
        assert row["accuracy_b"] == pytest.approx(accuracy_score(labels, says_b))
        assert row["label_agreement"] == pytest.approx(accuracy_score(says_a, says_b))
        kappa = cohen_kappa_score(says_a, says_b)
        assert row["kappa"] == pytest.approx(kappa, nan_ok=True)
        if wrong_a.any() or wrong_b.any():
            assert row["error_overlap"] == pytest.approx(jaccard_score(wrong_a, wrong_b))
        assert row["similarity"] == pytest.approx(np.mean(wrong_a == wrong_b))
        assert row["different_errors"] == 0
    assert found["kappa"].nunique() > 2


def test_pairs_differ_in_init_or_seed_alone_and_are_of_one_split(stored):
    found = agreement_of_runs(stored.runs, predictions_of(stored), BINARY)
    pairs = {
        (r.pair, r.split, r.init_a, r.seed_a, r.init_b, r.seed_b) for r in found.itertuples()
    }  # fmt: skip
    assert pairs == {
        ("inits", "cv2-0", "random", 0, "s", 0), ("inits", "cv2-0", "random", 1, "s", 1),
        ("seeds", "cv2-0", "random", 0, "random", 1), ("seeds", "cv2-0", "s", 0, "s", 1),
    }  # fmt: skip
    assert len(found) == 4
    assert set(found["moment_a"]) == set(found["moment_b"]) == {"end"}


def test_the_order_of_predictions_does_not_matter(stored):
    tables = predictions_of(stored)
    found = agreement_of_runs(stored.runs, tables, BINARY)
    shuffled = [t.sample(frac=1, random_state=n) for n, t in enumerate(tables)]
    pd.testing.assert_frame_equal(agreement_of_runs(stored.runs, shuffled, BINARY), found)


def test_predictions_of_other_images_are_refused(stored):
    tables = predictions_of(stored)
    tables[0]["label"] = 1 - tables[0]["label"]
    with pytest.raises(DataError, match="different labels"):
        agreement_of_runs(stored.runs, tables, BINARY)


def test_several_labels_are_compared_output_by_output(tokens):
    tables = predictions_of(tokens)
    found = agreement_of_runs(tokens.runs, tables, MULTILABEL)
    AGREEMENTS.check(found)
    a, b = (t[t["part"] == "test"] for t in tables)
    shares = []
    for name in ("a", "b", "c"):
        known = a[f"label_{name}"].notna().to_numpy()
        shares.append(np.mean(((a[f"logit_{name}"] > 0) == (b[f"logit_{name}"] > 0).to_numpy())[known]))
    assert found["label_agreement"].item() == pytest.approx(np.mean(shares))


def test_one_run_has_no_pairs_and_a_valid_table(stored):
    found = agreement_of_runs(stored.runs.iloc[:1], predictions_of(stored)[:1], BINARY)
    AGREEMENTS.check(found)
    assert list(found) == list(AGREEMENTS.columns)
    assert found.empty


# domain distances


def embedded(count: int, seed: int, shift: float = 0.0, width: int = 5) -> EmbeddedImages:
    generator = np.random.default_rng(seed)
    features = (generator.normal(size=(count, width)) + shift).astype(np.float32)
    return EmbeddedImages(features, None, generator.integers(0, 2, count))


def named(found: EmbeddedImages, dataset: str, source: str = "s", model: str = "m"):
    return found, (source, model, dataset)


def test_each_source_has_a_row_for_each_other_data_set_at_one_number_of_images():
    embeddings = [
        named(embedded(60, 0), "own"), named(embedded(45, 1, 0.5), "near"),
        named(embedded(80, 2, 2.0), "far"), named(embedded(50, 3, 1.0), "other own"),
    ]  # fmt: skip
    found = study_distances(embeddings, {"s": "own", "t": "other own"}, 0.9)
    DOMAIN_DISTANCE.check(found)
    keys = set(zip(found["source"], found["dataset"], strict=True))
    assert keys == {
        ("s", "near"), ("s", "far"), ("s", "other own"), ("t", "own"), ("t", "near"), ("t", "far"),
    }  # fmt: skip
    assert len(found) == 3 * len(keys)
    assert set(found["images"]) == {45}
    assert set(found["extractor"]) == {"s/m"}
    frechet = found.query("measure == 'frechet' and source == 's'").set_index("dataset")["value"]
    assert frechet["near"] < frechet["other own"] < frechet["far"]
    wider = study_distances(embeddings, {"s": "own"}, 0.99)
    narrow = found[found["source"] == "s"].reset_index(drop=True)
    pd.testing.assert_series_equal(wider["value"], narrow["value"])
    assert ((wider["high"] - wider["low"]) > (narrow["high"] - narrow["low"])).all()


def test_with_as_many_images_of_each_the_values_are_those_of_all_images():
    embeddings = [named(embedded(40, 0), "own"), named(embedded(40, 1, 0.7), "target")]
    found = study_distances(embeddings, {"s": "own"}, 0.95).set_index("measure")["value"]
    x, y = (e.features for e, _ in embeddings)
    assert found["frechet"] == pytest.approx(frechet_distance(x, y))
    assert found["kernel"] == pytest.approx(kernel_distance(x, y))


@pytest.mark.parametrize("embeddings", [[], [named(embedded(40, 0), "target")]])
def test_without_own_images_of_a_source_the_table_is_empty_and_valid(embeddings):
    found = study_distances(embeddings, {}, 0.95)
    DOMAIN_DISTANCE.check(found)
    assert list(found) == list(DOMAIN_DISTANCE.columns)
    assert found.empty


# transferability


def gains_of(*rows: tuple) -> pd.DataFrame:
    """Of (recipe, dataset, model, init, reference, subset, part, target, mean)."""
    names = ["recipe", "dataset", "model", "init", "reference", "subset", "part", "target", "mean"]
    table = pd.DataFrame(rows, columns=names)
    table = table.assign(metric="auroc", low=table["mean"] - 0.5, high=table["mean"] + 0.5, p=0.1,
                         p_sign_flip=0.1, p_adjusted=0.1, family="starts", sd=0.05, pairs=3,
                         paired_by="seed")  # fmt: skip
    table = table[list(GAINS.columns)]
    kinds = {"integer": "int64", "number": float, "truth": bool}
    table = table.astype({n: kinds[c.kind] for n, c in GAINS.columns.items() if c.kind in kinds})
    GAINS.check(table)
    return table


def gain(mean: float, **changes: object) -> tuple:
    row = {"recipe": "r", "dataset": "d", "model": "m", "init": "s", "reference": "random",
           "subset": "full", "part": "test", "target": True} | changes  # fmt: skip
    return (*row.values(), mean)


TASKS = {"d": ("binary", "auroc"), "e": ("multiclass", "accuracy")}
MODELS = {"m": "m", "m_cut": "m", "n": "n"}


def seen(seed: int, classes: int = 2, head: bool = True) -> EmbeddedImages:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 50)
    features = generator.normal(size=(50, 6)) + labels[:, None]
    logits = generator.normal(size=(50, 4)) + labels[:, None] * np.arange(4)
    return EmbeddedImages(
        features.astype(np.float32), logits.astype(np.float32) if head else None, labels
    )


def joined(*rows: tuple, embeddings=None, reference: str = "random") -> pd.DataFrame:
    embeddings = [named(seen(0), "d")] if embeddings is None else embeddings
    table = scores_and_gains(embeddings, gains_of(*rows), reference, TASKS, MODELS)
    SCORES_AND_GAINS.check(table)
    assert list(table) == list(SCORES_AND_GAINS.columns)
    return table


def test_scores_are_the_public_functions_on_each_embedding():
    embeddings = [
        named(seen(0), "d"), named(seen(1, 3), "e"), named(seen(2, head=False), "d", "t", "n")
    ]  # fmt: skip
    table = joined(gain(0.2), embeddings=embeddings)
    for found, (source, model, dataset) in embeddings:
        rows = table[(table["source"] == source) & (table["dataset"] == dataset)]
        values = rows.set_index("score")["value"]
        assert set(rows["model"]) == {model} and set(rows["images"]) == {50}
        x, y = found.features, found.labels
        assert values["logme"] == pytest.approx(logme(x, y))
        assert values["h_score"] == pytest.approx(h_score(x, y))
        assert values["h_score_shrunk"] == pytest.approx(h_score(x, y, shrinkage=True))
        assert values["knn"] == pytest.approx(leave_one_out_knn(x, y, *TASKS[dataset]))
        if found.logits is None:
            assert "leep" not in values
        else:
            probabilities = softmax(found.logits.astype(np.float64), axis=1)
            assert values["leep"] == pytest.approx(leep(probabilities, y))
        assert len(values) == 5 + (found.logits is not None)


def test_each_score_has_the_gain_of_its_source_network_and_data_set():
    embeddings = [named(seen(0), "d"), named(seen(1, 3), "e"), named(seen(2), "d", "t")]
    table = joined(
        gain(0.1), gain(0.2, dataset="e"), gain(0.3, init="t"), gain(0.4, init="t", dataset="e"),
        embeddings=embeddings,
    )  # fmt: skip
    assert len(table) == 18
    found = table.groupby(["source", "dataset"])["gain"].agg(["min", "max"])
    assert found.loc[("s", "d")].tolist() == [0.1, 0.1]
    assert found.loc[("s", "e")].tolist() == [0.2, 0.2]
    assert found.loc[("t", "d")].tolist() == [0.3, 0.3]
    assert (table["gain_low"] == table["gain"] - 0.5).all()
    assert (table["gain_high"] == table["gain"] + 0.5).all()
    assert set(table["recipe"]) == {"r"} and set(table["reference"]) == {"random"}
    assert set(table["subset"]) == {"full"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_full_training_data_come_before_a_subset_in_any_order(order):
    rows = [gain(0.1, subset="n100"), gain(0.2), gain(0.3, subset="n20")][::order]
    assert set(joined(*rows)["gain"]) == {0.2}
    some = joined(gain(0.1, subset="n100"), gain(0.3, subset="n20"))
    assert set(some["gain"]) == {0.1} and set(some["subset"]) == {"n100"}


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "s-stats"},
        {"part": "external"},
        {"target": False},
        {"init": "s-stats"},
        {"init": "s-upto2-random"},
        {"init": "t"},
        {"dataset": "e"},
        {"model": "n"},
    ],
    ids=str,
)
def test_another_gain_is_not_taken(changes):
    both = joined(gain(0.9, **changes), gain(0.1), gain(0.7, **changes))
    assert set(both["gain"]) == {0.1}
    assert len(both) == 6
    missing = joined(gain(0.9, **changes))
    assert len(missing) == 6
    assert missing[["gain", "gain_low", "gain_high", "recipe", "subset"]].isna().all(axis=None)
    assert set(missing["model"]) == {"m"}


def test_gains_are_against_the_reference_that_is_asked_for():
    rows = gain(0.1), gain(0.6, reference="s-stats")
    assert set(joined(*rows, reference="s-stats")["gain"]) == {0.6}


def test_networks_that_take_the_same_weights_share_their_scores():
    table = joined(gain(0.1), gain(0.2, model="m_cut"), gain(0.3, model="n"))
    assert dict(table.groupby("model")["gain"].first()) == {"m": 0.1, "m_cut": 0.2}
    values = table.pivot(index="score", columns="model", values="value")
    assert len(values) == 6
    np.testing.assert_array_equal(values["m"], values["m_cut"])


def test_each_recipe_has_its_own_row():
    table = joined(gain(0.1), gain(0.2, recipe="q"))
    assert len(table) == 12
    assert dict(table.groupby("recipe")["gain"].first()) == {"r": 0.1, "q": 0.2}


@pytest.mark.parametrize("rows", [[], [gain(0.1)], [gain(0.1, init="s-stats")]], ids=str)
@pytest.mark.parametrize("count", [0, 1])
def test_missing_scores_or_gains_leave_valid_tables(rows, count):
    table = joined(*rows, embeddings=[named(seen(0), "d")][:count])
    assert len(table) == 6 * count
    TRANSFERABILITY_CORRELATION.check(transferability_correlations(table))


# scripts


@pytest.fixture
def script(monkeypatch):
    """Run a script as its rule does, in this process."""

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")

    return run


@pytest.fixture
def run_list(stored, tmp_path):
    """The table of all analysed runs, those of another data set among them."""
    other = stored.runs.assign(dataset="another")
    table = pd.concat([other, stored.runs], ignore_index=True)
    table.to_parquet(tmp_path / "runs.parquet")
    return ["--runs", tmp_path / "runs.parquet", "--name", "d"]


def test_the_scripts_of_activations_write_the_librarys_tables(stored, script, run_list, tmp_path):
    files = ["--activations", *stored.activations]
    groups = list(by_split(stored.runs, stored.activations))
    script("cka", *run_list, *files, "--cka", tmp_path / "cka", "--zoo-map", tmp_path / "map")
    found = pd.read_parquet(tmp_path / "cka")
    CKA.check(found)
    expected = pd.concat([cka_table(group) for group in groups], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    script("cca", *run_list, *files, "--cca", tmp_path / "cca", "--top-layers", tmp_path / "top")
    found = pd.read_parquet(tmp_path / "cca")
    CCA.check(found)
    expected = pd.concat([cca_table(group) for group in groups], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    top = pd.read_parquet(tmp_path / "top")
    TOP_LAYERS.check(top)
    assert dict(top.query("measure == 'cca'").set_index("pair")["pairs"]) == {
        "random-random": 1, "random-transfer": 2, "transfer-transfer": 1,
    }  # fmt: skip


def test_the_scripts_write_tables_of_a_single_run(stored, script, tmp_path):
    stored.runs.iloc[:1].to_parquet(tmp_path / "runs.parquet")
    start = ["--runs", tmp_path / "runs.parquet", "--name", "d"]
    files = ["--activations", *stored.activations[:2]]
    script("cka", *start, *files, "--cka", tmp_path / "cka", "--zoo-map", tmp_path / "map")
    CKA.check(pd.read_parquet(tmp_path / "cka"))
    ZOO_MAP.check(pd.read_parquet(tmp_path / "map"))
    script("cca", *start, *files, "--cca", tmp_path / "cca", "--top-layers", tmp_path / "top")
    assert len(pd.read_parquet(tmp_path / "cca")) == 2 * 4
    TOP_LAYERS.check(pd.read_parquet(tmp_path / "top"))
    script("agreement", *start, "--predictions", stored.predictions[0],
           "--dataset", as_argument(BINARY), "--output", tmp_path / "agreement")  # fmt: skip
    AGREEMENTS.check(pd.read_parquet(tmp_path / "agreement"))


def test_the_scripts_of_labels_and_predictions_write_the_librarys_tables(
    stored, script, run_list, tmp_path
):
    stored.samples.to_parquet(tmp_path / "samples.parquet")
    script("knn", *run_list, "--activations", *stored.activations, "--samples",
           tmp_path / "samples.parquet", "--dataset", as_argument(BINARY), "--neighbours", 9,
           "--output", tmp_path / "knn")  # fmt: skip
    expected = knn_by_depth(stored.runs, stored.activations, stored.samples, BINARY, 9)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "knn"), expected, check_dtype=False)
    script("agreement", *run_list, "--predictions", *stored.predictions,
           "--dataset", as_argument(BINARY), "--output", tmp_path / "agreement")  # fmt: skip
    expected = agreement_of_runs(stored.runs, predictions_of(stored), BINARY)
    found = pd.read_parquet(tmp_path / "agreement")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize("kind", JOINED)
def test_tables_of_runs_are_joined_with_the_identities_of_the_runs(
    stored, script, run_list, tmp_path, kind
):
    paths = []
    for number, tables in enumerate(stored.tables):
        paths.append(tmp_path / f"{number}.parquet")
        tables[kind].to_parquet(paths[-1])
    script("join_runs", *run_list, "--kind", kind, "--tables", *paths, "--output", tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out")
    JOINED[kind].check(found)
    assert list(found)[: len(RUN_COLUMNS)] == list(RUN_COLUMNS)
    for number, tables in enumerate(stored.tables):
        own = (found[list(RUN_COLUMNS)] == list(stored.identity(number))).all(axis=1)
        rows = found[own].drop(columns=list(RUN_COLUMNS)).reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, tables[kind], check_dtype=False)
    assert len(found) == sum(len(tables[kind]) for tables in stored.tables)


def test_the_scripts_of_embeddings_write_the_librarys_tables(script, tmp_path):
    embeddings = [named(seen(0), "d"), named(seen(1, 3), "e"), named(seen(2), "own")]
    paths = []
    for number, (found, names) in enumerate(embeddings):
        paths.append(tmp_path / f"{number}.safetensors")
        write_embedding(found, names, paths[-1])
    script("domain_distance", "--embeddings", *paths, "--sources", json.dumps({"s": "own"}),
           "--confidence", 0.9, "--output", tmp_path / "distance")  # fmt: skip
    expected = study_distances(embeddings, {"s": "own"}, 0.9)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "distance"), expected, check_dtype=False)
    gains = gains_of(gain(0.1), gain(0.2, dataset="e"))
    gains.to_parquet(tmp_path / "gains.parquet")
    script("transferability", "--embeddings", *paths[:2], "--gains", tmp_path / "gains.parquet",
           "--reference", "random", "--tasks", json.dumps(TASKS), "--models", json.dumps(MODELS),
           "--scores", tmp_path / "scores", "--correlations", tmp_path / "correlations")  # fmt: skip
    expected = scores_and_gains(embeddings[:2], gains, "random", TASKS, MODELS)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores"), expected, check_dtype=False)
    TRANSFERABILITY_CORRELATION.check(pd.read_parquet(tmp_path / "correlations"))


def test_the_scripts_of_embeddings_write_valid_tables_of_none(script, tmp_path):
    script("domain_distance", "--embeddings", "--sources", "{}", "--output", tmp_path / "distance")
    DOMAIN_DISTANCE.check(pd.read_parquet(tmp_path / "distance"))
    gains_of().to_parquet(tmp_path / "gains.parquet")
    script("transferability", "--embeddings", "--gains", tmp_path / "gains.parquet",
           "--reference", "random", "--tasks", "{}", "--models", "{}",
           "--scores", tmp_path / "scores", "--correlations", tmp_path / "correlations")  # fmt: skip
    SCORES_AND_GAINS.check(pd.read_parquet(tmp_path / "scores"))
    TRANSFERABILITY_CORRELATION.check(pd.read_parquet(tmp_path / "correlations"))
