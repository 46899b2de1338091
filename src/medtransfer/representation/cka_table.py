"""CKA of all measured points of the networks of a data set, as one tidy table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.errors import DataError
from medtransfer.representation.activations import Activations
from medtransfer.representation.cka_blocks import pairwise_cka, shuffled_cka
from medtransfer.representation.cka_bootstrap import bootstrap_cka
from medtransfer.representation.pairs import (
    PAIR_COLUMNS,
    Network,
    NetworkPair,
    network_pairs,
    zoo_pairs,
)
from medtransfer.tables import Column, Schema

# what is compared; the logits are no representation
KINDS = ("unit", "attention", "mlp")
RESAMPLES = 1000
PERMUTATIONS = 20

CKA = Schema(
    name="cka",
    row="a measured point of one network and one of another (or the same) network",
    columns={
        **PAIR_COLUMNS,
        "point_a": Column("text", "where in network a"),
        "kind_a": Column("text", "unit, attention or mlp: whose output it is"),
        "order_a": Column("integer", "place of the point in the order of depth, from 0"),
        "point_b": Column("text", "where in network b"),
        "kind_b": Column("text", "as kind_a"),
        "order_b": Column("integer", "as order_a"),
        "value": Column("number", "debiased linear CKA of unpooled activations"),
        "low": Column("number", "lower end of its bootstrap interval over images; only of same points"),
        "high": Column("number", "upper end of that interval"),
        "baseline": Column("number", "mean with the images of b shuffled; only of same points"),
        "images": Column("integer", "images of the probe"),
    },
    families={},
)


@dataclass(frozen=True)
class ComparedPoint:
    """A point of a network that is compared; its order is its place among all measured points.

    Attributes:
        depth: the order, from 0 for the network's first to 1 for its last compared point.
    """

    network: Network
    name: str
    kind: str
    order: int
    depth: float


def compared_points(networks: Mapping[Network, Activations]) -> list[ComparedPoint]:
    """The points of all networks in the order of :func:`cka_of_points`."""
    points = []
    for network, found in networks.items():
        places = _places(found)
        deepest = max(places[-1][2], 1)
        points += [ComparedPoint(network, *place, place[2] / deepest) for place in places]
    return points


def cka_of_points(networks: Mapping[Network, Activations]) -> np.ndarray:
    """Debiased CKA of all compared points of all networks with each other, P x P.

    Raises:
        DataError: the networks' activations are of different images.
    """
    check_same_images(networks)
    return pairwise_cka(_all_grams(networks))


def cka_table(
    networks: Mapping[Network, Activations],
    confidence: float = 0.95,
    seed: int = 0,
    values: np.ndarray | None = None,
) -> pd.DataFrame:
    """All pairs of points of related networks, and of the last units of all trained networks.

    The values of all points of all networks are one matrix product a block of images. Intervals and
    baselines are of corresponding points of two networks.

    Args:
        networks: of one data set and split, in the order of a study, with their activations.
        confidence: of the intervals.
        seed: of resamples and shuffles.
        values: as :func:`cka_of_points` has them; computed where not given.

    Returns:
        A table of schema CKA.

    Raises:
        DataError: the networks' activations are of different images.
    """
    values = cka_of_points(networks) if values is None else values
    place = {(p.network, p.name): index for index, p in enumerate(compared_points(networks))}
    rows: list[dict[str, object]] = []
    for pair in network_pairs(list(networks)):
        rows += _pair_rows(pair, networks, values, place, (confidence, seed))
    for pair in zoo_pairs(list(networks)):
        rows.append(_last_units(pair, networks, values, place))
    table = pd.DataFrame(rows, columns=list(CKA.columns))
    return table.astype(dict.fromkeys(("value", "low", "high", "baseline"), float))


def check_same_images(networks: Mapping[Network, Activations]) -> None:
    """Raise DataError unless all networks saw the same images in the same blocks."""
    first = next(iter(networks.values())).facts
    for network, found in networks.items():
        facts = found.facts
        same = (facts.images["test"], facts.probe, facts.gram_block, facts.seed)
        if same != (first.images["test"], first.probe, first.gram_block, first.seed):
            raise DataError(
                f"activations of {network} are of other images than those of the first network; "
                "allowed: one probe for all networks of a data set and split"
            )


def measured_names(found: Activations, kinds: Sequence[str]) -> list[str]:
    """Names of the points of these kinds, in the order of depth."""
    return [point.name for point in found.facts.points if point.kind in kinds]


def _all_grams(networks: Mapping[Network, Activations]) -> Iterator[np.ndarray]:
    """Gram matrices of all points of all networks, P x b x b, block by block."""
    blocks = next(iter(networks.values())).facts.blocks
    for block in range(blocks):
        yield np.concatenate([found.grams(block, KINDS) for found in networks.values()])


def _pair_rows(
    pair: NetworkPair,
    networks: Mapping[Network, Activations],
    values: np.ndarray,
    place: Mapping[tuple[Network, str], int],
    settings: tuple[float, int],
) -> list[dict[str, object]]:
    a, b = networks[pair.a], networks[pair.b]
    certain = _certainties(a, b, *settings) if pair.a != pair.b else {}
    rows = []
    for one, other in itertools.product(_places(a), _places(b)):
        found = {"value": values[place[pair.a, one[0]], place[pair.b, other[0]]]}
        if one[0] == other[0]:
            found |= certain.get(one[0], {})
        rows.append(pair.columns | _sides(one, other) | found | {"images": a.facts.probe})
    return rows


def _last_units(
    pair: NetworkPair,
    networks: Mapping[Network, Activations],
    values: np.ndarray,
    place: Mapping[tuple[Network, str], int],
) -> dict[str, object]:
    """The row of the last units before the output of two networks, of any architecture."""
    one, other = (
        [found for found in _places(networks[side]) if found[1] == "unit"][-1]
        for side in (pair.a, pair.b)
    )
    value = values[place[pair.a, one[0]], place[pair.b, other[0]]]
    images = networks[pair.a].facts.probe
    return pair.columns | _sides(one, other) | {"value": value, "images": images}


def _places(found: Activations) -> list[tuple[str, str, int]]:
    """Name, kind and order of each compared point."""
    points = enumerate(found.facts.points)
    return [(point.name, point.kind, order) for order, point in points if point.kind in KINDS]


def _sides(one: tuple[str, str, int], other: tuple[str, str, int]) -> dict[str, object]:
    names = ("point", "kind", "order")
    return {f"{n}_a": v for n, v in zip(names, one, strict=True)} | {
        f"{n}_b": v for n, v in zip(names, other, strict=True)
    }


def _certainties(
    a: Activations, b: Activations, confidence: float, seed: int
) -> dict[str, dict[str, float]]:
    """Interval and baseline of each point that both networks have, by name."""
    names = [name for name in measured_names(a, KINDS) if name in set(measured_names(b, KINDS))]
    if not names:
        return {}
    pairs = [(index, index + len(names)) for index in range(len(names))]
    intervals = bootstrap_cka(
        _corresponding(a, b, names), pairs, n_resamples=RESAMPLES, seed=seed, confidence=confidence
    )
    shuffled = shuffled_cka(_corresponding(a, b, names), PERMUTATIONS, seed).mean
    return {
        name: {
            "low": float(intervals.low[index]),
            "high": float(intervals.high[index]),
            "baseline": float(shuffled[pairs[index]]),
        }
        for index, name in enumerate(names)
    }


def _corresponding(a: Activations, b: Activations, names: Sequence[str]) -> Iterator[np.ndarray]:
    """Gram matrices of these points of a, then of b, block by block."""
    for block in range(a.facts.blocks):
        yield np.stack([side.gram(name, block) for side in (a, b) for name in names])
