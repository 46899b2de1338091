"""Which networks are compared with which, and the columns that say so in tables of similarities."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

from medtransfer.tables import Column

PairKind = Literal["within", "fine_tuning", "inits", "seeds", "zoo"]
Moment = Literal["start", "end"]


@dataclass(frozen=True, order=True)
class Network:
    """A run's network at its start (step 0) or at its end (the selected weights)."""

    recipe: str
    dataset: str
    model: str
    init: str
    subset: str
    split: str
    seed: int
    moment: Moment


@dataclass(frozen=True)
class NetworkPair:
    """Two networks that saw the same images.

    Attributes:
        kind: ``within`` one network; ``fine_tuning``, its start with its end; ``inits`` or ``seeds``,
            two runs that differ in nothing else, at the same moment; ``zoo``, any two trained networks
            of a data set.
    """

    kind: PairKind
    a: Network
    b: Network

    @property
    def columns(self) -> dict[str, object]:
        """The values of PAIR_COLUMNS."""
        row: dict[str, object] = {
            "pair": self.kind, "dataset": self.a.dataset, "split": self.a.split,
        }  # fmt: skip
        for side, network in (("a", self.a), ("b", self.b)):
            facts = asdict(network)
            row |= {f"{name}_{side}": facts[name] for name in _SIDE}
        return row


_SIDE = {
    "recipe": Column("text", "name of the recipe of network"),
    "model": Column("text", "name of the architecture of network"),
    "init": Column("text", "how it started, network"),
    "subset": Column("text", "how much training data, of network"),
    "seed": Column("integer", "seed of the run of network"),
    "moment": Column("text", "start or end of the run, of network"),
}
PAIR_COLUMNS = {
    "pair": Column(
        "text", "how the two networks are related: within, fine_tuning, inits, seeds or zoo"
    ),
    "dataset": Column("text", "name of the data set whose images were shown"),
    "split": Column("text", "which split the images are of"),
    **{
        f"{name}_{side}": Column(column.kind, f"{column.meaning} {side}")
        for side in ("a", "b")
        for name, column in _SIDE.items()
    },
}


def network_pairs(networks: Sequence[Network]) -> list[NetworkPair]:
    """The pairs that similarities are taken of, each once, but those of kind ``zoo``.

    Args:
        networks: of one data set and split, in the order of a study.
    """
    found = [NetworkPair("within", network, network) for network in networks]
    for a, b in itertools.combinations(networks, 2):
        kind = _related(a, b)
        if kind == "fine_tuning" and a.moment == "end":
            a, b = b, a
        if kind is not None:
            found.append(NetworkPair(kind, a, b))
    return found


def zoo_pairs(networks: Sequence[Network]) -> Iterator[NetworkPair]:
    """All pairs of trained networks, each once, whatever they differ in."""
    trained = [network for network in networks if network.moment == "end"]
    return (NetworkPair("zoo", a, b) for a, b in itertools.combinations(trained, 2))


def _related(a: Network, b: Network) -> PairKind | None:
    """How two networks are related that differ in one thing only; None where they differ in more."""
    different = {f.name for f in fields(Network) if getattr(a, f.name) != getattr(b, f.name)}
    kinds: dict[frozenset[str], PairKind] = {
        frozenset({"moment"}): "fine_tuning",
        frozenset({"init"}): "inits",
        frozenset({"seed"}): "seeds",
    }
    return kinds.get(frozenset(different))
