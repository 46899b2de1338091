"""The map of units: distances of CKA, their plane against other libraries, its turn, its table."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from test_cka_table import POINTS, STUDY, network, raw_activations, stored, zoo

from medtransfer.errors import DataError
from medtransfer.representation.cka import linear_cka
from medtransfer.representation.cka_table import cka_of_points, cka_table, compared_points
from medtransfer.representation.zoo_map import (
    ZOO_MAP,
    chord_distances,
    oriented,
    plane,
    zoo_map,
)


def u_centred(x: np.ndarray) -> np.ndarray:
    """The U-centred Gram matrix (Székely & Rizzo 2014) as a vector, divided by its length."""
    gram = x @ x.T
    np.fill_diagonal(gram, 0)
    n = len(gram)
    sums = gram.sum(axis=0)
    centred = gram - (sums + sums[:, None]) / (n - 2) + gram.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred.ravel() / np.linalg.norm(centred)


def representations(count: int = 9, images: int = 30, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    latent = generator.normal(size=(images, 4))
    return [
        latent @ generator.normal(size=(4, 12)) + noise * generator.normal(size=(images, 12))
        for noise in np.linspace(0.2, 3, count)
    ]


def pairwise(found: list[np.ndarray]) -> np.ndarray:
    return np.array([[linear_cka(x, y) for y in found] for x in found])


def test_the_distance_is_that_of_normalised_gram_matrices():
    found = representations()
    expected = squareform(pdist([u_centred(x) for x in found]))
    np.testing.assert_allclose(chord_distances(pairwise(found)), expected, atol=1e-7)


def test_values_below_zero_are_far_and_rounding_above_one_is_near():
    distances = chord_distances(np.array([[1, -0.02, 1 + 1e-7], [-0.02, 1, 0], [1 + 1e-7, 0, 1]]))
    assert distances[0, 1] == pytest.approx(np.sqrt(2.04))
    assert distances[0, 2] == 0 and distances[1, 2] == pytest.approx(np.sqrt(2))


def test_a_point_without_variation_is_nowhere_but_at_itself():
    distances = chord_distances(np.array([[1.0, 0, 0.5], [0, 0, 0], [0.5, 0, 1]]))
    assert distances[1].tolist() == pytest.approx([np.sqrt(2), 0, np.sqrt(2)])


def test_the_triangle_inequality_holds():
    distances = chord_distances(pairwise(representations(7)))
    for a, b, c in itertools.permutations(range(7), 3):
        assert distances[a, b] <= distances[a, c] + distances[c, b] + 1e-12


def test_the_plane_is_that_of_the_principal_components_of_gram_matrices():
    found = representations()
    places, held = plane(chord_distances(pairwise(found)))
    components = PCA().fit([u_centred(x) for x in found])
    expected = components.transform([u_centred(x) for x in found])[:, :2]
    np.testing.assert_allclose(pdist(places), pdist(expected), atol=1e-6)
    assert held == pytest.approx(components.explained_variance_ratio_[:2].sum())


def test_the_plane_is_scikit_learns_also_of_distances_that_are_not_euclidean():
    pytest.importorskip("sklearn", minversion="1.8")
    from sklearn.manifold import ClassicalMDS

    for distances in (chord_distances(pairwise(representations())), angles()):
        expected = ClassicalMDS(n_components=2, metric="precomputed").fit_transform(distances)
        np.testing.assert_allclose(pdist(plane(distances)[0]), pdist(expected), atol=1e-6)


def angles() -> np.ndarray:
    return np.arccos(np.clip(pairwise(representations()), 0, 1)) * (1 - np.eye(9))


def test_held_is_the_share_of_squared_distances():
    distances = chord_distances(pairwise(representations()))
    places, held = plane(distances)
    assert held == pytest.approx((pdist(places) ** 2).sum() / (squareform(distances) ** 2).sum())
    assert 0.1 < held < 0.95


def test_points_of_a_plane_are_found_again_whole():
    points = np.random.default_rng(1).normal(size=(12, 2))
    places, held = plane(squareform(pdist(points)))
    np.testing.assert_allclose(pdist(places), pdist(points))
    assert held == pytest.approx(1)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_points_have_a_place(count):
    places, held = plane(1.2 * (1 - np.eye(count)))
    assert places.shape == (count, 2) and held == 1
    assert pdist(places).tolist() == pytest.approx([1.2] * (count - 1))


def bent(count: int = 8, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """An arch whose depth runs to the right."""
    depth = np.linspace(0, 1, count)
    noise = np.random.default_rng(seed).normal(scale=0.02, size=(count, 2))
    points = np.stack([depth * 2, -3 * (depth - 0.5) ** 2], axis=1) + noise
    return points - points.mean(axis=0), depth


def test_however_it_is_turned_and_mirrored_the_map_is_the_same():
    points, depth = bent()
    first = oriented(points, depth)
    for angle, mirror in itertools.product(np.linspace(0, 6, 7), (1, -1)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(oriented(points @ turn * [1, mirror], depth), first, atol=1e-9)
    np.testing.assert_allclose(pdist(first), pdist(points))


def test_depth_runs_to_the_right_and_its_middle_is_up():
    points, depth = bent()
    found = oriented(points[:, ::-1] * [1, -1], depth)
    assert np.polyfit(depth, found[:, 0], 1)[0] > 1
    assert np.polyfit(depth, found[:, 1], 1)[0] == pytest.approx(0, abs=1e-9)
    assert np.polyfit(depth, found[:, 1], 2)[0] < -1


def test_a_map_without_depth_stays():
    points = np.array([[0.5, 0.2], [-0.5, -0.2]])
    np.testing.assert_allclose(np.abs(oriented(points, np.zeros(2))), np.abs(points))


def test_small_changes_of_what_is_alike_change_the_map_little():
    """Even where the two axes hold nearly the same, and eigenvectors turn with any change."""
    angles = np.linspace(0, 1.5 * np.pi, 10)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distances = squareform(pdist(circle))
    depth = np.linspace(0, 1, 10)
    first = oriented(plane(distances)[0], depth)
    generator = np.random.default_rng(3)
    for _ in range(20):
        noise = squareform(generator.normal(scale=1e-3, size=45))
        moved = oriented(plane(distances + noise)[0], depth)
        assert np.abs(moved - first).max() < 0.01


@pytest.fixture(scope="module")
def study():
    networks, raw = zoo(*STUDY)
    return networks, raw, zoo_map(networks)


def test_the_table_has_the_units_of_all_networks_and_no_branches(study):
    networks, _, table = study
    ZOO_MAP.check(table)
    assert list(table) == list(ZOO_MAP.columns)
    expected = [
        (one.model, one.init, one.seed, one.moment, name, order)
        for one in networks
        for order, (name, (kind, _)) in enumerate(POINTS[one.model].items())
        if kind == "unit"
    ]
    found = table[["model", "init", "seed", "moment", "point", "order"]]
    assert list(found.itertuples(index=False, name=None)) == expected


def test_the_map_is_that_of_the_raw_activations(study):
    networks, raw, table = study
    units = [
        raw[one][name]
        for one in networks
        for name, (kind, _) in POINTS[one.model].items()
        if kind == "unit"
    ]
    parts = PCA().fit([u_centred(x) for x in units])
    expected = parts.transform([u_centred(x) for x in units])[:, :2]
    np.testing.assert_allclose(pdist(table[["x", "y"]]), pdist(expected), atol=1e-3)
    assert table["held"].unique() == pytest.approx(
        [parts.explained_variance_ratio_[:2].sum()], abs=1e-3
    )


def test_the_order_of_networks_moves_nothing(study):
    networks, _, table = study
    turned = zoo_map(dict(reversed(networks.items())))
    key = ["model", "init", "seed", "moment", "point"]
    one, other = (t.sort_values(key).reset_index(drop=True) for t in (table, turned))
    pd.testing.assert_frame_equal(one, other, atol=1e-6)


def test_a_matrix_that_is_there_gives_the_same_tables(study):
    networks, _, table = study
    values = cka_of_points(networks)
    pd.testing.assert_frame_equal(zoo_map(networks, values), table)
    pd.testing.assert_frame_equal(cka_table(networks, values=values), cka_table(networks))
    assert len(compared_points(networks)) == len(values)


def test_the_depth_of_points_is_from_the_first_to_the_last_of_their_network(study):
    networks, _, _ = study
    for one in networks:
        depths = [p.depth for p in compared_points(networks) if p.network == one]
        assert depths == pytest.approx(np.linspace(0, 1, len(depths)))


def test_networks_that_are_the_same_have_the_same_places():
    raw = raw_activations(POINTS["small"], 0)
    other = raw_activations(POINTS["small"], 1)
    names = network(moment="start"), network(), network(init="s")
    made = [stored(POINTS["small"], values) for values in (raw, raw, other)]
    table = zoo_map(dict(zip(names, made, strict=True)))
    places = [rows[["x", "y"]].to_numpy() for _, rows in table.groupby(["init", "moment"], sort=False)]
    np.testing.assert_allclose(places[0], places[1], atol=1e-3)
    assert np.abs(places[0] - places[2]).max() > 0.1


def test_other_images_are_refused():
    networks, raw = zoo(network(), network(init="s"))
    networks[network(init="s", seed=2)] = stored(POINTS["small"], raw[network()], probe=20)
    with pytest.raises(DataError, match="allowed: one probe"):
        zoo_map(networks)
