"""All units of all networks of a data set in a plane, near each other where they are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.evaluation.results import RUN_COLUMNS
from medtransfer.representation.activations import Activations
from medtransfer.representation.cka_table import cka_of_points, compared_points
from medtransfer.representation.pairs import Network
from medtransfer.tables import Column, Schema, table_of

KIND = "unit"
# of the largest coordinate, below which a direction is rounding
ROUNDING = 1e-9
ZOO_MAP = Schema(
    name="zoo_map",
    row="one unit of one network, at the start or the end of a run",
    columns={
        **RUN_COLUMNS,
        "moment": Column("text", "start or end of the run"),
        "point": Column("text", "name of the unit"),
        "order": Column("integer", "place of the unit in the order of depth, from 0"),
        "x": Column(
            "number",
            "in units of the distance sqrt(2 (1 - CKA)); units get deeper along it on the whole",
        ),
        "y": Column("number", "likewise; units of middle depth are higher on the whole"),
        "held": Column("number", "share of all squared distances that the plane holds, of the split"),
    },
    families={},
)


def zoo_map(networks: Mapping[Network, Activations], cka: np.ndarray | None = None) -> pd.DataFrame:
    """The map of the units of networks; branches within a unit are left out.

    Args:
        networks: of one data set and split, in the order of a study, with their activations.
        cka: of all compared points, P x P, as ``cka_of_points`` has it; computed where not given.

    Returns:
        A table of schema ZOO_MAP.

    Raises:
        DataError: the networks' activations are of different images.
    """
    cka = cka_of_points(networks) if cka is None else cka
    points = compared_points(networks)
    chosen = [index for index, point in enumerate(points) if point.kind == KIND]
    units = [points[index] for index in chosen]
    depth = np.array([unit.depth for unit in units])
    places, held = plane(chord_distances(cka[np.ix_(chosen, chosen)]))
    places = oriented(places, depth)
    rows: list[dict[str, Any]] = [
        asdict(unit.network) | {"point": unit.name, "order": unit.order, "x": x, "y": y, "held": held}
        for unit, (x, y) in zip(units, places.tolist(), strict=True)
    ]
    return table_of(rows, ZOO_MAP)


def chord_distances(cka: np.ndarray) -> np.ndarray:
    """sqrt(2 (1 - CKA)): the distance between the centred Gram matrices, each divided by its length.

    CKA is a cosine between centred Gram matrices, so this chord is a distance in a Euclidean space and
    holds the triangle inequality; so does the angle arccos(CKA) of Williams et al. (Generalized shape
    metrics on neural representations, NeurIPS 2021), which grows with it. The chord is the one that
    classical scaling holds exactly, without negative eigenvalues. That is so for the debiased CKA, too:
    its U-centred matrices have an inner product (Székely & Rizzo, Annals of Statistics 42, 2014). Its
    values below 0, of representations that have less in common than chance, are kept, at distances
    above sqrt(2); what is above 1 is rounding and is cut.

    Args:
        cka: P x P, symmetric.

    Returns:
        P x P; 0 on the diagonal, also of a point without variation, which is like no other.
    """
    distances = np.sqrt(2 * (1 - np.clip((cka + cka.T) / 2, -1, 1)))
    np.fill_diagonal(distances, 0)
    return np.asarray(distances)


def plane(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Classical scaling to two dimensions (Torgerson, Psychometrika 17, 1952).

    Args:
        distances: P x P.

    Returns:
        P x 2 coordinates of mean 0, and the share of the sum of squared distances that they hold.
    """
    squares = distances**2
    means = squares.mean(axis=0)
    centred = -(squares - means - means[:, None] + means.mean()) / 2
    values, vectors = np.linalg.eigh(centred)
    two = np.zeros(2)
    two[: len(values)] = values[::-1][:2].clip(min=0)
    places = np.zeros((len(values), 2))
    places[:, : len(values)] = vectors[:, ::-1][:, :2]
    total = float(np.trace(centred))
    return places * np.sqrt(two), float(two.sum()) / total if total > 0 else 1.0


def oriented(places: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The same map turned so that depth runs along x, and mirrored so that middle depths are up.

    Which way eigenvectors point is chance, and how two that hold alike shares are turned, too. A turn
    that the points themselves give changes little where they change little.

    Args:
        places: P x 2 of mean 0.
        depth: of each point, from 0 to 1.
    """
    along = (depth - depth.mean()) @ places
    largest = float(np.abs(places).max(initial=0)) * len(places)
    if np.hypot(*along) > ROUNDING * largest:
        cosine, sine = along / np.hypot(*along)
        places = places @ np.array([[cosine, -sine], [sine, cosine]])
    middle = (depth - depth.mean()) ** 2
    upside_down = float((middle - middle.mean()) @ places[:, 1]) > 0
    return places * np.array([1.0, -1.0 if upside_down else 1.0])
