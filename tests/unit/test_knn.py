"""Layer-wise kNN against brute force, scikit-learn and votes counted by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation import knn as module
from medtransfer.representation.knn import (
    KNN,
    KnnProtocol,
    PointFeatures,
    knn_metric,
    knn_scores,
    knn_table,
    nearest,
)


def draw(seed: int, bank: int = 60, queries: int = 23, features: int = 7, classes: int = 4):
    generator = np.random.default_rng(seed)
    return (
        generator.normal(size=(bank, features)),
        generator.integers(0, classes, bank),
        generator.normal(size=(queries, features)),
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return sum(v * w for v, w in zip(a, b, strict=True)) / lengths if lengths else 0.0


def scores_one_by_one(bank, labels, queries, k, temperature, classes):
    """Written out for one query and one neighbour at a time."""
    rows = []
    for query in queries:
        ranked = sorted((-round(cosine(query, row), 12), i) for i, row in enumerate(bank))[:k]
        votes = [0.0] * classes
        for negative, i in ranked:
            votes[labels[i]] += math.exp(-negative / temperature)
        rows.append([vote / sum(votes) for vote in votes])
    return np.array(rows)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.1), (17, 0.5), (59, 0.1), (200, 0.02)])
def test_scores_are_those_of_one_vote_at_a_time(k, temperature):
    bank, labels, queries = draw(k)
    expected = scores_one_by_one(bank, labels, queries, k, temperature, 4)
    np.testing.assert_allclose(knn_scores(bank, labels, queries, k, temperature), expected, atol=1e-12)


def test_scores_are_those_of_scikit_learn_on_the_unit_sphere():
    bank, labels, queries = draw(3)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (bank, queries)]

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances**2 / 2) / 0.1)  # |a - b|^2 = 2 - 2 cos

    reference = KNeighborsClassifier(9, weights=weights, algorithm="brute").fit(unit[0], labels)
    np.testing.assert_allclose(
        knn_scores(bank, labels, queries, 9), reference.predict_proba(unit[1]), atol=1e-9
    )


def test_the_defaults_are_200_neighbours_and_a_temperature_of_a_tenth():
    bank, labels, queries = draw(0, bank=300)
    expected = scores_one_by_one(bank, labels, queries, 200, 0.1, 4)
    np.testing.assert_allclose(knn_scores(bank, labels, queries), expected, atol=1e-12)


def test_votes_by_hand():
    bank = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    found = knn_scores(bank, np.array([0, 1, 0]), np.array([[5.0, 0.0]]), k=3, temperature=1.0)
    e = math.e
    np.testing.assert_allclose(
        found, [[(e + 1 / e) / (e + 1 + 1 / e), 1 / (e + 1 + 1 / e)]], atol=1e-15
    )


def test_single_label_scores_sum_to_1_and_classes_beyond_the_bank_have_0():
    bank, labels, queries = draw(1)
    scores = knn_scores(bank, labels, queries, 11, classes=6)
    assert scores.shape == (23, 6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-14)
    assert (scores[:, 4:] == 0).all()
    assert knn_scores(bank, labels, queries, 11).shape == (23, 4)


def test_scores_do_not_change_with_the_lengths_of_vectors_or_a_rotation():
    bank, labels, queries = draw(2)
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(7, 7)))[0]
    moved = bank * generator.uniform(0.1, 10, (60, 1)) @ rotation
    turned = queries * generator.uniform(1e-200, 1e-190, (23, 1)) @ rotation
    np.testing.assert_allclose(
        knn_scores(moved, labels, turned, 9), knn_scores(bank, labels, queries, 9), atol=1e-9
    )


def test_chunks_change_nothing(monkeypatch):
    bank, labels, queries = draw(4)
    whole = nearest(bank, queries, 13)
    scores = knn_scores(bank, labels, queries, 13)
    for size in (1, 60, 61, 60 * 5 + 3):
        monkeypatch.setattr(module, "CHUNK_SIMILARITIES", size)
        assert np.array_equal(nearest(bank, queries, 13)[0], whole[0])
        np.testing.assert_allclose(knn_scores(bank, labels, queries, 13), scores, atol=1e-13)


def test_of_ties_the_lower_index_is_a_neighbour_whatever_the_order_of_summation():
    generator = np.random.default_rng(5)
    distinct = generator.normal(size=(10, 33))
    repeated = np.tile(distinct, (30, 1)) * generator.uniform(0.5, 2, (300, 1))
    indices, similarities = nearest(repeated, distinct[:3], 12)
    for query, (row, values) in enumerate(zip(indices, similarities, strict=True)):
        assert row.tolist() == [query + 10 * i for i in range(12)]
        np.testing.assert_allclose(values, 1, atol=1e-12)


def test_neighbours_come_nearest_first_with_their_cosines():
    bank, _, queries = draw(6)
    indices, similarities = nearest(bank, queries, 8)
    for query, row, values in zip(queries, indices, similarities, strict=True):
        ranked = sorted(range(60), key=lambda i: -cosine(query, bank[i]))
        assert row.tolist() == ranked[:8]
        np.testing.assert_allclose(values, [cosine(query, bank[i]) for i in row], atol=1e-11)


def test_float32_features_have_the_neighbours_of_the_same_numbers_in_float64():
    bank, _, queries = (v.astype(np.float32) for v in draw(7, bank=500, features=64))
    near_twins = bank + np.float32(1e-6)  # float32 products can't tell them apart
    both = np.concatenate([bank, near_twins])
    exact = [sorted(range(1000), key=lambda i: -cosine(q, both[i].astype(float)))[:20]
             for q in queries.astype(float)]  # fmt: skip
    assert nearest(both, queries, 20)[0].tolist() == exact


def test_a_vector_of_zeros_is_equally_similar_to_all():
    bank, labels, queries = draw(8)
    queries[0] = 0
    scores = knn_scores(bank, labels, queries, k=60)
    np.testing.assert_allclose(scores[0], np.bincount(labels) / 60, atol=1e-14)
    bank[5] = 0
    indices, similarities = nearest(bank, queries[1:2], 60)
    assert similarities[0][indices[0] == 5] == 0


def test_a_low_temperature_does_not_overflow():
    bank, labels, queries = draw(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = knn_scores(bank, labels, queries, 20, temperature=1e-4)
    nearest_class = labels[nearest(bank, queries, 1)[0][:, 0]]
    assert np.array_equal(scores.argmax(axis=1), nearest_class)
    assert np.isfinite(scores).all()


def test_several_labels_are_averaged_over_the_neighbours_whose_label_is_known():
    bank, _, queries = draw(10)
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, (60, 3)).astype(float)
    labels[generator.random((60, 3)) < 0.4] = np.nan
    found = knn_scores(bank, labels, queries, 9)
    for q, query in enumerate(queries):
        order = sorted(range(60), key=lambda i: -cosine(query, bank[i]))[:9]
        for column in range(3):
            known = [i for i in order if not math.isnan(labels[i, column])]
            weights = [math.exp(cosine(query, bank[i]) / 0.1) for i in known]
            ones = [w for w, i in zip(weights, known, strict=True) if labels[i, column] == 1]
            expected = sum(ones) / sum(weights) if known else math.nan
            assert found[q, column] == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_where_no_neighbours_label_is_known_the_score_is_nan_and_a_far_known_one_still_counts():
    bank = np.array([[1.0, 0], [1, 0.01], [-1, 0]])
    labels = np.array([[np.nan, np.nan], [np.nan, 1], [1, np.nan]])
    query = np.array([[1.0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = knn_scores(bank, labels, query, k=2)
        # exp(-1 / 0.001) is 0 in float64: the only known neighbour votes all the same
        far = knn_scores(bank, labels, query, k=3, temperature=0.001)
    np.testing.assert_array_equal(near, [[np.nan, 1]])
    np.testing.assert_array_equal(far, [[1, 1]])


def test_one_label_column_is_the_score_of_the_second_of_two_classes():
    bank, labels, queries = draw(11, classes=2)
    single = knn_scores(bank, labels, queries, 9)
    several = knn_scores(bank, labels[:, None], queries, 9)
    np.testing.assert_allclose(several[:, 0], single[:, 1], atol=1e-14)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ConfigError, "k is 0"),
        ({"temperature": 0}, ConfigError, "temperature is 0"),
        ({"temperature": math.nan}, ConfigError, "temperature is nan"),
        ({"labels": np.zeros(59, int)}, DataError, "59 labels for 60 images"),
        ({"labels": np.full(60, 0.5)}, DataError, "whole number"),
        ({"labels": np.full(60, -1)}, DataError, "whole number"),
        ({"labels": np.full(60, np.nan)}, DataError, "whole number"),
        ({"labels": np.full(60, 3), "classes": 3}, DataError, "class index 3; allowed: 0 to 2"),
        ({"labels": np.full((60, 2), 0.5)}, DataError, "beside 0, 1 and NaN"),
        ({"labels": np.zeros((60, 2)), "classes": 3}, DataError, "2 columns of labels; needed: 3"),
        ({"queries": np.zeros((3, 6))}, DataError, "6 features of queries; the bank has 7"),
        ({"queries": np.zeros(7)}, DataError, r"shape \(7,\)"),
        ({"queries": np.full((3, 7), np.nan)}, DataError, "queries' features: 3 of 3 images have NaN"),
        ({"bank": np.full((60, 7), np.inf)}, DataError, "bank's features: 60 of 60"),
    ],
)
def test_what_is_not_allowed_is_named(change, error, message):
    bank, labels, queries = draw(0)
    with pytest.raises(error, match=message):
        knn_scores(**{"bank": bank, "labels": labels, "queries": queries, **change})


def test_metrics_of_votes_are_those_of_scikit_learn():
    bank, labels, queries = draw(12, queries=80)
    truth = np.random.default_rng(0).permutation(np.arange(80) % 4)
    scores = knn_scores(bank, labels, queries, 5)  # with classes of share 0
    assert (scores == 0).any()
    assert knn_metric(scores, truth, "multiclass", "auroc") == pytest.approx(
        roc_auc_score(truth, scores, multi_class="ovr"), abs=1e-12
    )
    assert knn_metric(scores, truth, "multiclass", "balanced_accuracy") == pytest.approx(
        balanced_accuracy_score(truth, scores.argmax(1)), abs=1e-12
    )
    assert knn_metric(scores, truth, "ordinal", "quadratic_kappa") == pytest.approx(
        cohen_kappa_score(truth, scores.argmax(1), weights="quadratic"), abs=1e-12
    )


def test_unanimous_queries_tie_in_binary_metrics():
    bank, labels, queries = draw(13, queries=80, classes=2)
    truth = np.random.default_rng(0).permutation(np.arange(80) % 2)
    scores = knn_scores(bank, labels, queries, 3)
    assert (scores[:, 1] == 1).sum() > 3
    for metric in ("auroc", "auprc"):
        from sklearn.metrics import average_precision_score

        reference = {"auroc": roc_auc_score, "auprc": average_precision_score}[metric]
        found = knn_metric(scores, truth, "binary", metric)
        assert found == pytest.approx(reference(truth, scores[:, 1]), abs=1e-12)
    accuracy = knn_metric(scores, truth, "binary", "accuracy")
    assert accuracy == np.mean((scores[:, 1] > 0.5) == truth)


def test_the_metric_of_several_labels_is_the_mean_over_the_labels():
    bank, _, queries = draw(14, queries=80)
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, (60, 3)).astype(float)
    truth = generator.integers(0, 2, (80, 3)).astype(float)
    truth[:10, 1] = np.nan
    scores = knn_scores(bank, labels, queries, 5)
    each = [roc_auc_score(truth[10 * (k == 1) :, k], scores[10 * (k == 1) :, k]) for k in range(3)]
    found = knn_metric(scores, truth, "multilabel", "auroc")
    assert found == pytest.approx(np.mean(each), abs=1e-12)


def test_a_metric_that_the_task_has_not_and_labels_that_do_not_fit_are_named():
    scores = np.full((4, 2), 0.5)
    with pytest.raises(ConfigError, match=r"metric kappa for task binary; allowed: auroc, auprc"):
        knn_metric(scores, np.array([0, 1, 0, 1]), "binary", "kappa")
    with pytest.raises(DataError, match="3 labels for 4 queries"):
        knn_metric(scores, np.array([0, 1, 0]), "binary", "auroc")
    with pytest.raises(DataError, match="class index 2; allowed: 0 to 1"):
        knn_metric(scores, np.array([0, 1, 0, 2]), "binary", "auroc")


def test_the_table_has_a_row_for_each_point_and_pooling_in_the_order_of_depth():
    bank, labels, queries = draw(15, classes=2)
    truth = np.random.default_rng(0).permutation(np.arange(23) % 2)
    points = [
        PointFeatures("stem", "pooled", bank[:, :3], queries[:, :3]),
        PointFeatures("block", "cls", bank, queries),
        PointFeatures("block", "patches", bank[:, ::-1], queries[:, ::-1]),
        PointFeatures("norm", "cls", bank**2, queries**2),
    ]
    protocol = KnnProtocol("binary", "auroc", classes=2, k=100)
    table = knn_table(iter(points), labels, truth, protocol)
    KNN.check(table)
    assert table["point"].tolist() == ["stem", "block", "block", "norm"]
    assert table["order"].tolist() == [0, 1, 1, 2]
    assert table["pooling"].tolist() == ["pooled", "cls", "patches", "cls"]
    assert (table["k"] == 60).all() and (table["bank_images"] == 60).all()
    assert (table["images"] == 23).all() and (table["metric"] == "auroc").all()
    expected = [
        roc_auc_score(truth, scores_one_by_one(p.bank, labels, p.queries, 60, 0.1, 2)[:, 1])
        for p in points
    ]
    assert table["value"].tolist() == pytest.approx(expected, abs=1e-9)
    assert table["value"][1] == pytest.approx(table["value"][2], abs=1e-9)


def test_the_table_of_several_labels_and_of_a_class_without_training_images():
    bank, labels, queries = draw(16, classes=3)
    points = [PointFeatures("stem", "pooled", bank, queries)]
    truth = np.arange(23) % 4
    table = knn_table(points, labels, truth, KnnProtocol("multiclass", "accuracy", 4, k=9))
    expected = np.mean(knn_scores(bank, labels, queries, 9).argmax(1) == truth)
    assert table["value"].tolist() == [expected]
    several = np.eye(3)[labels]
    table = knn_table(points, several, np.eye(3)[truth % 3], KnnProtocol("multilabel", "auroc", 3))
    KNN.check(table)
    assert 0 < table["value"][0] < 1
