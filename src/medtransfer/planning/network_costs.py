"""What networks cost: those of the shipped studies from a table, any other counted when asked for.

Counting imports torch and takes about a second a network, which a dry run shouldn't wait for.
``workflow/scripts/count_networks.py`` writes the table. Nothing here imports torch at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources

from medtransfer.config.argument import as_argument
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init

FLOAT_BYTES = 4
TABLE = "network_costs.json"


@dataclass(frozen=True, order=True)
class Network:
    """All that decides what a network with one output costs.

    Attributes:
        settings: JSON text of the network's settings that differ from their defaults.
        whole_units: units that a slim start leaves as wide as they are; -1 for any other start.
        channels: of the stored images.
        side: of the images that the network sees.
    """

    settings: str
    whole_units: int
    channels: int
    side: int

    @classmethod
    def of(cls, settings: ModelSettings, init: Init, channels: int, side: int) -> Network:
        """The network of a run."""
        whole_units = (init.upto or 0) if init.rest == "slim" else -1
        return cls(as_argument(settings), whole_units, channels, side)


@dataclass(frozen=True)
class NetworkCost:
    """Of one network at one size.

    Attributes:
        operations: floating-point operations of one image's forward pass; a multiplication with its
            addition counts two.
        weight_bytes: of its tensors, parameters and buffers.
        features: inputs of each output of its head.
    """

    operations: int
    weight_bytes: int
    features: int = 0

    def with_outputs(self, more: int) -> NetworkCost:
        """The cost with so many more outputs, each of them linear in the features, with a bias."""
        operations = self.operations + more * 2 * self.features
        weight_bytes = self.weight_bytes + more * FLOAT_BYTES * (self.features + 1)
        return replace(self, operations=operations, weight_bytes=weight_bytes)


def cost_of(network: Network) -> NetworkCost:
    """The cost of a network with one output, from the table or counted.

    Raises:
        ConfigError: settings that don't go together.
    """
    known = known_costs().get(network)
    if known is not None:
        return known
    from medtransfer.planning.networks import count  # imports torch

    return count(network)


@cache
def known_costs() -> dict[Network, NetworkCost]:
    """The table that comes with the package."""
    text = resources.files("medtransfer.planning").joinpath(TABLE).read_text()
    return {Network(**row["network"]): NetworkCost(**row["cost"]) for row in json.loads(text)}


def as_table(costs: Mapping[Network, NetworkCost]) -> str:
    """The text of a table, one network a line, in order."""
    rows = [
        json.dumps({"network": asdict(network), "cost": asdict(costs[network])})
        for network in sorted(costs)
    ]
    return "[\n" + ",\n".join(rows) + "\n]\n"
