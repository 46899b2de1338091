"""Transferability scores against brute force, scikit-learn, definitions written out and invariances."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation import rank_correlation as correlations
from medtransfer.representation import transferability as module
from medtransfer.representation.gaussian_mixture import gaussian_mixture, spread_start
from medtransfer.representation.rank_correlation import (
    TRANSFERABILITY_CORRELATION,
    rank_correlation,
    transferability_correlations,
)
from medtransfer.representation.transferability import (
    TRANSFERABILITY,
    Embedding,
    h_score,
    leave_one_out_knn,
    ledoit_wolf,
    leep,
    logme,
    nleep,
    transferability_table,
)


def draw(seed: int, images: int = 60, features: int = 5, classes: int = 3, apart: float = 1.0):
    """Features of classes whose means lie apart, of unequal spreads and correlated."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(images) % classes)
    means = apart * generator.normal(size=(classes, features))
    mixing = generator.normal(size=(features, features))
    return means[labels] + generator.normal(size=(images, features)) @ mixing + 0.5, labels


def several(seed: int, images: int = 60, outputs: int = 3):
    """Features with labels of several outputs, some unknown."""
    features, _ = draw(seed, images)
    generator = np.random.default_rng(seed + 100)
    noise = generator.normal(size=(images, outputs))
    labels = (features[:, :outputs] + noise > 0.5).astype(float)
    labels[generator.random(labels.shape) < 0.25] = np.nan
    return features, labels


def log_evidence(features: np.ndarray, target: np.ndarray, alpha: float, beta: float) -> float:
    """log N(target; 0, F F' / alpha + 1 / beta), without any algebra of the model."""
    covariance = features @ features.T / alpha + np.eye(len(target)) / beta
    return float(stats.multivariate_normal(np.zeros(len(target)), covariance).logpdf(target))


def largest_log_evidence(features: np.ndarray, target: np.ndarray) -> float:
    def negative(logs):
        return -log_evidence(features, target, *np.exp(np.clip(logs, -30, 30)))

    starts = itertools.product((-2.0, 2.0), (0.0, 3.0))
    found = [optimize.minimize(negative, s, method="Nelder-Mead", tol=1e-10).fun for s in starts]
    return -min(found) / len(target)


@pytest.mark.parametrize(("images", "features"), [(40, 5), (15, 30)])
def test_logme_is_the_evidence_maximised_over_alpha_and_beta(images, features):
    values, labels = draw(1, images, features)
    each = [largest_log_evidence(values, (labels == c).astype(float)) for c in range(3)]
    assert logme(values, labels) == pytest.approx(np.mean(each), abs=1e-6)


def test_logme_of_several_labels_is_the_mean_over_the_outputs_on_known_labels():
    features, labels = several(2, images=40)
    each = []
    for column in labels.T:
        known = ~np.isnan(column)
        each.append(largest_log_evidence(features[known], column[known]))
    assert logme(features, labels) == pytest.approx(np.mean(each), abs=1e-6)


def test_logme_of_features_that_say_nothing_is_that_of_noise():
    labels = np.arange(12) % 2
    noise = -0.5 * (math.log(2 * math.pi * 0.5) + 1)  # y'y / n is one half for both classes
    assert logme(np.zeros((12, 4)), labels) == pytest.approx(noise, abs=1e-9)
    # orthogonal to both columns of targets
    orthogonal = np.array([1.0, 1, -1, -1] * 3)[:, None]
    assert logme(orthogonal, labels) == pytest.approx(noise, abs=1e-6)


def test_logme_of_labels_that_are_linear_in_the_features_is_large_and_finite():
    labels = np.arange(40) % 2
    exact = np.eye(2)[labels]
    assert math.isfinite(logme(exact, labels))
    assert logme(exact, labels) > logme(draw(3, 40, 2, 2)[0], labels) + 3


def leep_by_table(probabilities, labels) -> float:
    """The definition with dictionaries."""
    n, z_count = len(labels), len(probabilities[0])
    joint = {}
    for row, y in zip(probabilities, labels, strict=True):
        for z, p in enumerate(row):
            joint[y, z] = joint.get((y, z), 0.0) + p / n
    total = 0.0
    for row, y in zip(probabilities, labels, strict=True):
        marginal = [sum(joint[c, z] for c in set(labels)) for z in range(z_count)]
        total += math.log(
            sum(joint[y, z] / marginal[z] * row[z] for z in range(z_count) if marginal[z])
        )
    return total / n


def test_leep_by_hand():
    # source classes 0 and 1; both images of class 0 are surely z = 0, that of class 1 is 50 : 50
    probabilities = np.array([[1.0, 0], [1, 0], [0.5, 0.5]])
    # P(y=0 | z=0) = 2 / 2.5, P(y=1 | z=0) = 0.2, P(y=1 | z=1) = 1
    expected = (2 * math.log(0.8) + math.log(0.2 * 0.5 + 0.5)) / 3
    assert leep(probabilities, np.array([0, 0, 1])) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_leep_is_its_definition_and_gaps_in_class_numbers_do_not_matter(seed):
    generator = np.random.default_rng(seed)
    probabilities = softmax(3 * generator.normal(size=(30, 7)), axis=1)
    probabilities[:, 6] = 0  # a source class that never occurs
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = generator.integers(0, 3, 30)
    expected = leep_by_table(probabilities.tolist(), labels.tolist())
    assert leep(probabilities, labels) == pytest.approx(expected, abs=1e-12)
    assert leep(probabilities, 5 * labels + 2) == pytest.approx(expected, abs=1e-12)


def test_leep_is_0_for_a_source_that_tells_the_classes_and_the_entropy_for_one_that_tells_nothing():
    labels = np.array([0, 0, 0, 1])
    assert leep(np.eye(3)[labels], labels) == 0
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(np.full((4, 2), 0.5), labels) == pytest.approx(-entropy)


def test_leep_of_several_labels_is_the_mean_over_the_outputs():
    _, labels = several(4)
    probabilities = softmax(np.random.default_rng(0).normal(size=(60, 4)), axis=1)
    each = []
    for column in labels.T:
        known = ~np.isnan(column)
        each.append(leep_by_table(probabilities[known].tolist(), column[known].tolist()))
    assert leep(probabilities, labels) == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize("wrong", [np.full((4, 2), 0.6), np.array([[1.5, -0.5]] * 4)])
def test_leep_takes_no_logits(wrong):
    with pytest.raises(DataError, match="allowed: the softmax"):
        leep(wrong, np.array([0, 0, 1, 1]))


def test_the_gaussian_mixture_is_that_of_scikit_learn_from_the_same_start():
    values, _ = draw(5, images=150, features=3, apart=3)
    start = spread_start(values, 4, seed=0)
    weights = start.mean(axis=0)
    means = (start.T @ values) / start.sum(axis=0)[:, None]
    ridge = 1e-6 * values.var(axis=0).mean()
    covariances = [
        np.cov(values[start[:, k] == 1], rowvar=False, ddof=0) + ridge * np.eye(3) for k in range(4)
    ]
    reference = GaussianMixture(
        4, weights_init=weights, means_init=means, precisions_init=np.linalg.inv(covariances),
        reg_covar=ridge, tol=1e-10, max_iter=3000,
    ).fit(values)  # fmt: skip
    found = gaussian_mixture(values, start, tolerance=1e-10, steps=3000)
    np.testing.assert_allclose(found, reference.predict_proba(values), atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_the_start_of_a_mixture_takes_distinct_images_and_gives_each_to_the_nearest():
    values, _ = draw(6, images=40)
    start = spread_start(values, 6, seed=1)
    assert start.shape == (40, 6) and (start.sum(axis=1) == 1).all()
    assert (start.sum(axis=0) >= 1).all()
    repeated = np.repeat(values[:3], 10, axis=0)
    assert spread_start(repeated, 6, seed=0).shape == (30, 3)
    assert np.array_equal(start, spread_start(values, 6, seed=1))


def test_nleep_is_the_leep_of_the_components_of_the_reduced_features():
    features, labels = draw(7, images=200, features=8, apart=2)
    pca = PCA(0.8, svd_solver="full").fit(features)
    reduced = pca.transform(features)
    ours = module._principal(features, 0.8)
    assert ours.shape == reduced.shape and 1 < ours.shape[1] < 8
    np.testing.assert_allclose(np.abs(ours), np.abs(reduced), atol=1e-9)
    members = gaussian_mixture(ours, spread_start(ours, 15, seed=0))
    expected = leep_by_table(members.tolist(), labels.tolist())
    assert nleep(features, labels) == pytest.approx(expected, abs=1e-10)


def test_nleep_is_about_that_of_scikit_learns_mixtures():
    features, labels = draw(8, images=400, features=6, apart=1.5)
    reduced = PCA(0.8, svd_solver="full").fit_transform(features)
    reference = []
    for seed in range(5):
        mixture = GaussianMixture(15, random_state=seed).fit(reduced)
        reference.append(leep_by_table(mixture.predict_proba(reduced).tolist(), labels.tolist()))
    ours = [nleep(features, labels, seed=seed) for seed in range(5)]
    chance = -math.log(3)
    assert np.mean(ours) == pytest.approx(np.mean(reference), abs=0.06)
    assert np.mean(ours) > chance + 0.1


def test_nleep_is_higher_for_classes_further_apart():
    values = [nleep(*draw(9, images=200, apart=apart)) for apart in (0.0, 2.0, 8.0)]
    assert values == sorted(values) and values[-1] > values[0] + 0.3


def test_nleep_follows_its_settings_and_refuses_wrong_ones():
    features, labels = draw(10, images=100)
    base = nleep(features, labels)
    assert nleep(features, labels, seed=1) != base
    assert nleep(features, labels, variance=1.0) != base
    # three images have one component, which tells nothing but the frequencies
    few = nleep(features[:3], np.array([0, 1, 1]))
    assert few == pytest.approx((math.log(1 / 3) + 2 * math.log(2 / 3)) / 3)
    for wrong in ({"variance": 0}, {"variance": 1.1}, {"components_per_class": 0}):
        with pytest.raises(ConfigError, match="allowed: above 0 to 1, 1 or more"):
            nleep(features, labels, **wrong)
    with pytest.raises(DataError, match="constant features"):
        nleep(np.full((20, 3), 0.1), np.arange(20) % 2)


def h_score_by_covariances(features, labels, factor=0.0) -> float:
    centred = features - features.mean(0)
    covariance = centred.T @ centred / len(features)
    means = np.stack([features[labels == y].mean(0) for y in labels]) - features.mean(0)
    between = means.T @ means / len(features)
    target = np.trace(covariance) / features.shape[1] * np.eye(features.shape[1])
    shrunk = (1 - factor) * covariance + factor * target
    return float(np.trace(np.linalg.pinv(shrunk, rcond=1e-12) @ between) * (1 - factor))


@pytest.mark.parametrize(("images", "features"), [(60, 5), (12, 30), (61, 1)])
def test_h_score_is_its_definition_with_covariances(images, features):
    values, labels = draw(11, images, features)
    assert h_score(values, labels) == pytest.approx(h_score_by_covariances(values, labels), rel=1e-8)
    factor = ledoit_wolf_shrinkage(values)
    assert 0 < factor < 1 or features == 1
    expected = h_score_by_covariances(values, labels, factor)
    assert h_score(values, labels, shrinkage=True) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("images", "features"), [(60, 5), (12, 30), (200, 3), (5, 50)])
def test_the_shrinkage_is_that_of_scikit_learn(images, features):
    values, _ = draw(12, images, features, classes=2)
    centred = values - values.mean(0)
    assert ledoit_wolf(centred) == pytest.approx(ledoit_wolf_shrinkage(values), abs=1e-10)


def test_h_score_by_hand():
    # one feature: variance 1.25, between classes 1
    features = np.array([[0.0], [1], [2], [3]])
    assert h_score(features, np.array([0, 0, 1, 1])) == pytest.approx(0.8)


def test_h_score_does_not_change_with_an_invertible_map_or_dead_and_repeated_features():
    values, labels = draw(13)
    score = h_score(values, labels)
    mixing = np.random.default_rng(0).normal(size=(5, 5))
    assert h_score(values @ mixing + 3, labels) == pytest.approx(score, rel=1e-9)
    padded = np.hstack([values, values[:, :2], np.full((60, 1), 1e3)])
    assert h_score(padded, labels) == pytest.approx(score, rel=1e-6)
    assert h_score(values, labels, shrinkage=True) < score


def test_h_score_without_more_images_than_features_is_saturated_and_of_constant_features_0():
    values, labels = draw(14, images=12, features=20)
    assert h_score(values, labels) == pytest.approx(2, abs=1e-9)
    random = np.random.default_rng(0).permutation(labels)
    assert h_score(values, random) == pytest.approx(2, abs=1e-9)
    assert 0 < h_score(values, labels, shrinkage=True) < 2
    assert h_score(np.full((12, 3), 0.1), labels) == 0
    assert h_score(np.full((12, 3), 0.1), labels, shrinkage=True) == 0


def test_h_score_of_several_labels_is_the_mean_over_the_outputs():
    features, labels = several(15)
    known = [~np.isnan(column) for column in labels.T]
    each = [h_score_by_covariances(features[k], c[k]) for k, c in zip(known, labels.T, strict=True)]
    assert h_score(features, labels) == pytest.approx(np.mean(each), rel=1e-9)


@pytest.mark.parametrize("score", [logme, lambda f, y: leave_one_out_knn(f, y, "multiclass")])
def test_scores_do_not_change_with_a_rotation(score):
    values, labels = draw(16)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    assert score(values @ rotation, labels) == pytest.approx(score(values, labels), abs=1e-8)
    order = np.random.default_rng(1).permutation(60)
    assert score(values[order], labels[order]) == pytest.approx(score(values, labels), abs=1e-8)
    assert score(values**3, labels) != pytest.approx(score(values, labels), abs=1e-8)


@pytest.mark.parametrize(("images", "k"), [(60, 1), (60, 7), (15, 200)])
def test_leave_one_out_knn_is_that_of_scikit_learn_without_each_image(images, k):
    values, labels = draw(17, images)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    right, scores = [], []
    for i in range(images):
        rest = np.arange(images) != i
        reference = KNeighborsClassifier(
            min(k, images - 1), weights=lambda d: np.exp((1 - d**2 / 2) / 0.1), algorithm="brute"
        ).fit(unit[rest], labels[rest])
        scores.append(reference.predict_proba(unit[i : i + 1])[0])
        right.append(scores[-1].argmax() == labels[i])
    assert leave_one_out_knn(values, labels, "multiclass", k=k) == pytest.approx(np.mean(right))
    if k > 1:  # with one neighbour all scores tie, up to rounding of the reference
        expected = roc_auc_score(labels, np.array(scores), multi_class="ovr")
        found = leave_one_out_knn(values, labels, "multiclass", "auroc", k=k)
        assert found == pytest.approx(expected, abs=1e-12)


def test_leave_one_out_leaves_the_image_out_among_its_repeats_and_at_zero():
    # each image twice, with different labels: the twin is nearest and always wrong
    values = np.repeat(draw(18, 20)[0], 2, axis=0)
    labels = np.arange(40) % 2
    assert leave_one_out_knn(values, labels, "binary", k=1) == 0
    # all images alike: the lowest other one is the neighbour
    same = np.zeros((4, 2))
    assert leave_one_out_knn(same, np.array([0, 0, 1, 1]), "binary", k=1) == 0.5


def test_leave_one_out_of_several_labels_has_their_metric_and_no_accuracy():
    features, labels = several(19)
    assert 0.5 < leave_one_out_knn(features, labels, "multilabel", "auroc") < 1
    with pytest.raises(ConfigError, match="metric accuracy for task multilabel"):
        leave_one_out_knn(features, labels, "multilabel")
    with pytest.raises(DataError, match="3 classes in a binary task"):
        leave_one_out_knn(*draw(1), "binary")


SCORES = {
    "logme": logme,
    "leep": lambda f, y: leep(softmax(f, axis=1), y),
    "nleep": nleep,
    "h_score": h_score,
    "h_score_shrunk": lambda f, y: h_score(f, y, shrinkage=True),
    "knn": lambda f, y: leave_one_out_knn(
        f, y, "multilabel" if np.ndim(y) == 2 else "multiclass", "auroc"
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_higher_for_classes_further_apart(name):
    values = [np.mean([SCORES[name](*draw(s, 90, apart=a)) for s in range(3)]) for a in (0, 2, 6)]
    assert values == sorted(values) and values[0] < values[-1]


@pytest.mark.parametrize("name", SCORES)
def test_no_score_takes_a_single_class_or_labels_that_do_not_fit(name):
    score, (features, labels) = SCORES[name], draw(20)
    with pytest.raises(DataError, match="single class"):
        score(features, np.ones(60, int))
    with pytest.raises(DataError, match="single class"):
        score(features, np.where(np.arange(120).reshape(60, 2) % 4 == 0, np.nan, 1.0))
    with pytest.raises(DataError, match="59 labels for 60 images"):
        score(features, labels[1:])
    with pytest.raises(DataError, match="NaN or infinite"):
        score(features * np.nan, labels)
    with pytest.raises(DataError, match="whole number"):
        score(features, labels + 0.5)


@pytest.mark.parametrize("name", SCORES)
def test_an_output_of_a_single_class_is_left_out(name):
    features, labels = several(21)
    more = np.hstack([labels, np.ones((60, 1)), np.full((60, 1), np.nan)])
    if name == "knn":
        return  # its metric itself leaves out what is undefined
    assert SCORES[name](features, more) == pytest.approx(SCORES[name](features, labels), abs=1e-12)


def test_no_score_changes_its_arguments():
    features, labels = draw(22)
    features.flags.writeable = labels.flags.writeable = False
    for score in SCORES.values():
        score(features, labels)


def test_the_table_has_a_row_for_each_score_and_no_leep_without_a_source_head():
    features, labels = draw(23)
    probabilities = softmax(features, axis=1)
    first = Embedding("imagenet1k", "resnet18", "isic", "multiclass", "balanced_accuracy",
                      features, labels, probabilities)  # fmt: skip
    several_labels = several(24)
    second = Embedding("dino", "deit_s", "chest", "multilabel", "auroc", *several_labels)
    table = transferability_table([first, second])
    TRANSFERABILITY.check(table)
    values = table.set_index(["source", "model", "dataset", "score"])["value"].sort_index()
    of_first = values["imagenet1k", "resnet18", "isic"]
    assert of_first.to_dict() == pytest.approx(
        {
            "logme": logme(features, labels),
            "leep": leep(probabilities, labels),
            "nleep": nleep(features, labels),
            "h_score": h_score(features, labels),
            "h_score_shrunk": h_score(features, labels, shrinkage=True),
            "knn": leave_one_out_knn(features, labels, "multiclass", "balanced_accuracy"),
        }
    )
    assert set(values["dino", "deit_s", "chest"].index) == set(of_first.index) - {"leep"}
    assert (table["images"] == 60).all()


REFERENCES = {
    "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
    "weighted_kendall": lambda x, y: stats.weightedtau(x, y).statistic,
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
}


def ranks(seed: int, pairs: int, ties: bool = False):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=pairs)
    gains = scores + generator.normal(size=pairs)
    return (np.round(scores), np.round(gains)) if ties else (scores, gains)


@pytest.mark.parametrize("measure", REFERENCES)
@pytest.mark.parametrize(("pairs", "ties"), [(5, False), (6, True), (30, False), (30, True)])
def test_rank_correlations_are_those_of_scipy(measure, pairs, ties):
    scores, gains = ranks(pairs, pairs, ties)
    found = rank_correlation(scores, gains, measure)
    assert found.value == pytest.approx(REFERENCES[measure](scores, gains), abs=1e-12)
    assert found.pairs == pairs


@pytest.mark.parametrize("measure", REFERENCES)
@pytest.mark.parametrize("ties", [False, True])
def test_the_p_of_few_pairs_is_exact(measure, ties):
    scores, gains = ranks(3, 5, ties)
    observed = abs(REFERENCES[measure](scores, gains))
    exchanged = [abs(REFERENCES[measure](scores, y)) for y in itertools.permutations(gains)]
    expected = np.mean([value >= observed - 1e-12 for value in exchanged])
    assert rank_correlation(scores, gains, measure).p == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(scores, gains, measure, seed=1).p == pytest.approx(expected, abs=1e-12)


def test_the_exact_p_of_kendalls_tau_is_that_of_scipy():
    scores, gains = ranks(4, 7)
    expected = stats.kendalltau(scores, gains, method="exact").pvalue
    assert rank_correlation(scores, gains).p == pytest.approx(expected, abs=1e-12)
    perfect = rank_correlation(np.arange(5), np.arange(5))
    assert (perfect.value, perfect.p) == (1, pytest.approx(2 / 120))


def test_the_p_of_many_pairs_is_sampled_and_near_that_of_scipy():
    scores, gains = ranks(5, 20)
    expected = stats.kendalltau(scores, gains, method="exact").pvalue
    found = rank_correlation(scores, gains)
    assert found.p == pytest.approx(expected, abs=0.005)
    assert (
        found == rank_correlation(scores, gains)
        and found.p != rank_correlation(scores, gains, seed=1).p
    )
    assert rank_correlation(np.arange(30), np.arange(30)).p == pytest.approx(1 / 10_000)


@pytest.mark.parametrize("measure", REFERENCES)
def test_within_data_sets_gains_are_exchanged_within_them(measure):
    parts = [ranks(seed, 3) for seed in range(3)]
    parts = [(s + 10 * i, g - 10 * i) for i, (s, g) in enumerate(parts)]  # opposed between data sets
    scores, gains = (np.concatenate(v) for v in zip(*parts, strict=True))
    groups = np.repeat(["a", "b", "c"], 3)
    found = rank_correlation(scores, gains, measure, groups=groups)
    expected = np.mean([REFERENCES[measure](*part) for part in parts])
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(scores, gains, measure).value < 0 < found.value
    exchanged = [
        np.mean([REFERENCES[measure](s, y) for (s, _), y in zip(parts, orders, strict=True)])
        for orders in itertools.product(*(itertools.permutations(g) for _, g in parts))
    ]
    p = np.mean(np.abs(exchanged) >= abs(expected) - 1e-12)
    assert found.p == pytest.approx(p, abs=1e-12)
    shuffled = np.random.default_rng(0).permutation(9)
    again = rank_correlation(scores[shuffled], gains[shuffled], measure, groups=groups[shuffled])
    assert again.value == pytest.approx(found.value) and again.p == pytest.approx(found.p)


def test_the_sampled_p_within_data_sets_is_near_the_exact_one(monkeypatch):
    parts = [ranks(seed, 4) for seed in range(3)]
    scores, gains = (np.concatenate(v) for v in zip(*parts, strict=True))
    groups = np.repeat([0, 1, 2], 4)
    exact = rank_correlation(scores, gains, groups=groups).p
    monkeypatch.setattr(correlations, "LARGEST_ENUMERATION", 10)
    sampled = rank_correlation(scores, gains, groups=groups).p
    assert sampled == pytest.approx(exact, abs=0.02) and sampled != exact


def test_the_p_holds_its_level_without_any_relation():
    generator = np.random.default_rng(0)
    values = [rank_correlation(*generator.normal(size=(2, 6))).p for _ in range(400)]
    assert np.mean(np.array(values) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_constant_sides_are_undefined_and_left_out_within():
    constant = rank_correlation([1.0, 1, 1], [1.0, 2, 3])
    assert math.isnan(constant.value) and math.isnan(constant.p) and constant.pairs == 3
    scores = np.array([1.0, 2, 3, 5, 5, 5, 9])
    gains = np.array([1.0, 2, 3, 1, 2, 3, 4])
    found = rank_correlation(scores, gains, groups=np.array(list("aaabbbc")))
    assert (found.value, found.pairs) == (1, 3)


def test_what_a_correlation_can_not_be_made_of_is_named():
    with pytest.raises(ConfigError, match="measure pearson; allowed: kendall, weighted_kendall"):
        rank_correlation([1, 2], [1, 2], "pearson")
    with pytest.raises(DataError, match="as many of each"):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="as many of each"):
        rank_correlation([1, 2], [1, 2], groups=["a"])
    with pytest.raises(DataError, match="NaN or infinite"):
        rank_correlation([1, np.nan], [1, 2])


def test_the_table_of_correlations_has_each_data_set_the_mean_within_and_all_pairs(monkeypatch):
    monkeypatch.setattr(correlations, "SAMPLED_PERMUTATIONS", 99)
    rows = [
        {"dataset": dataset, "score": score, "value": v, "gain": g}
        for i, (dataset, score) in enumerate(itertools.product("ab", ("logme", "knn")))
        for v, g in zip(*ranks(i, 5), strict=True)
    ]
    rows.append({"dataset": "b", "score": "knn", "value": 1.0, "gain": math.nan})
    pairs = pd.DataFrame(rows)
    table = transferability_correlations(pairs)
    TRANSFERABILITY_CORRELATION.check(table)
    assert len(table) == 2 * 4 * 3  # scores, scopes, measures

    def row(scope: str, measure: str, dataset: str | None = None) -> pd.Series:
        chosen = table[(table["score"] == "knn") & (table["scope"] == scope)]
        chosen = chosen[chosen["measure"] == measure]
        chosen = chosen[chosen["dataset"].isna() if dataset is None else chosen["dataset"] == dataset]
        assert len(chosen) == 1
        return chosen.iloc[0]

    of_score = pairs[(pairs["score"] == "knn") & pairs["gain"].notna()]
    one = of_score[of_score["dataset"] == "b"]
    in_b = row("dataset", "kendall", "b")
    alone = rank_correlation(one["value"], one["gain"])
    assert (in_b["value"], in_b["p"], in_b["pairs"]) == (alone.value, alone.p, 5)
    within = row("within", "spearman")
    expected = rank_correlation(
        of_score["value"], of_score["gain"], "spearman", groups=of_score["dataset"]
    )
    assert (within["value"], within["p"], within["pairs"]) == (expected.value, expected.p, 10)
    across = row("across", "kendall")
    assert across["value"] == rank_correlation(of_score["value"], of_score["gain"]).value
    assert math.isnan(across["p"])
