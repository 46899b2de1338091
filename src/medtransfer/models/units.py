"""The units of a network: named blocks in the order of depth, from the stem to the head.

Initialisation, re-initialisation, features and figures all count these. They are read off the module
tree: every block is a unit (a bottleneck of a ResNet, a block of a transformer, of Inception, of an
EfficientNet, a layer of a CBR); the single layers before the first block are the stem; the final norm
and the classifier are the head. Every tensor of a network belongs to exactly one unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from medtransfer.errors import ConfigError

# timm's own norms derive from none of torch's; their modules are known by name. Its global response
# norm is a learnt gain beside a shortcut, which starts at 0.
NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_NORM_NAME = re.compile(r"(?<!globalresponse)norm", re.IGNORECASE)
_BRANCHES = ("attn", "mlp")
_MIXERS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Unit:
    """A named block of a network.

    Attributes:
        name: as figures show it.
        members: names of the modules, and of the network's own parameters, that make up the unit, in
            the order of depth.
        attention, mlp: names of a transformer block's two branches, else None.
    """

    name: str
    members: tuple[str, ...]
    attention: str | None = None
    mlp: str | None = None

    def holds(self, name: str) -> bool:
        """Whether a tensor or module of this name is part of the unit, by prefix and dot."""
        return any(within(name, member) for member in self.members)


class Cut(nn.Module):
    """What stands where a truncated network has lost a module; the head comes after the last one."""

    def forward(self, features: torch.Tensor, **_: Any) -> torch.Tensor:
        """The features unchanged."""
        return features


@dataclass(frozen=True)
class _Piece:
    """A module that is not taken apart.

    Attributes:
        block: it has tensors and is made of several layers.
        opens: it is the first part of the block after it.
    """

    name: str
    module: nn.Module
    block: bool
    opens: bool = False


def network_units(network: nn.Module) -> tuple[Unit, ...]:
    """The units of a network from stem to head; the last one holds the classifier.

    Raises:
        ConfigError: the network has no classifier.
    """
    heads = classifier_names(network)
    groups = _grouped(list(_pieces(network, heads)), heads)
    first, *others = map(_unit, groups[:-1])
    name = first.name if any(piece.block for piece in groups[0]) else "stem"
    head = Unit("head", tuple(piece.name for piece in groups[-1]))
    return tuple(_with_own_tensors(network, [replace(first, name=name), *others, head]))


def _with_own_tensors(network: nn.Module, units: list[Unit]) -> list[Unit]:
    """Give tensors of the network itself, and of its containers, to the first unit in there."""
    for name in reversed(network.state_dict()):
        if any(unit.holds(name) for unit in units):
            continue
        owner = name.rpartition(".")[0]
        index = next(
            i
            for i, unit in enumerate(units)
            if not owner or any(within(m, owner) for m in unit.members)
        )
        units[index] = replace(units[index], members=(name, *units[index].members))
    return units


def unit_of_tensors(network: nn.Module) -> dict[str, int]:
    """The index of the unit of each tensor of the network's state."""
    units = network_units(network)
    return {
        name: next(index for index, unit in enumerate(units) if unit.holds(name))
        for name in network.state_dict()
    }


def within(name: str, module: str) -> bool:
    """Whether ``name`` is the module or lies in it; ``fc`` holds ``fc.weight``, not ``mlp.fc1``."""
    return name == module or name.startswith(module + ".")


def classifier_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that produce the logits.

    Raises:
        ConfigError: there are none.
    """
    names = getattr(network, "classifier_name", None)
    if names is None:
        facts: Any = getattr(network, "pretrained_cfg", {})
        names = facts.get("classifier") or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    modules = dict(network.named_modules())
    if not names or any(name not in modules for name in names):
        raise ConfigError(f"network {type(network).__name__} has no classifier to fine-tune")
    return names


def is_norm(module: nn.Module) -> bool:
    """Norm layers by class, or by name where they hold parameters and no layers of their own."""
    if isinstance(module, NORM_LAYERS):
        return True
    own = any(True for _ in module.parameters(recurse=False))
    layers = any(_has_tensors(child) for child in module.children())
    return own and not layers and bool(_NORM_NAME.search(type(module).__name__))


def _pieces(network: nn.Module, heads: tuple[str, ...]) -> Iterator[_Piece]:
    """The modules of a network in order, containers and stages taken apart."""
    features = _feature_names(network)
    for name, child in network.named_children():
        yield from _taken_apart(name, child, heads, features)


def _taken_apart(
    name: str, module: nn.Module, heads: tuple[str, ...], features: frozenset[str]
) -> Iterator[_Piece]:
    whole = name == "stem" or any(within(head, name) for head in heads)
    if whole or not _is_container(name, module, features):
        yield _Piece(name, module, _is_block(module))
        return
    # the downsampling comes first, though some networks register it last
    children = sorted(module.named_children(), key=lambda child: child[0] != "downsample")
    for child_name, child in children:
        full = f"{name}.{child_name}"
        if child_name == "downsample":  # of a stage: goes with the stage's first block
            yield _Piece(full, child, _is_block(child), opens=_has_tensors(child))
        else:
            yield from _taken_apart(full, child, heads, features)


def _is_container(name: str, module: nn.Module, features: frozenset[str]) -> bool:
    """Whether a module is a list of blocks or a stage, rather than a block or a layer."""
    children = dict(module.named_children())
    if type(module).__name__.endswith(("Stage", "Level")):
        return True
    if isinstance(module, nn.Sequential | nn.ModuleList):
        # a row of single layers is one block, unless the network names features within it
        inside = sum(within(feature, name) for feature in features)
        return any(_is_block(child) for child in children.values()) or inside > 1
    return isinstance(children.get("blocks"), nn.Sequential | nn.ModuleList)


def _is_block(module: nn.Module) -> bool:
    """Whether a module with tensors is made of several layers."""
    return _has_tensors(module) and any(True for _ in module.children()) and not is_norm(module)


def _has_tensors(module: nn.Module) -> bool:
    return bool(module.state_dict())


def _feature_names(network: nn.Module) -> frozenset[str]:
    """The modules that timm names as the network's features at each resolution."""
    entries = getattr(network, "feature_info", None) or []
    if not isinstance(entries, list):
        entries = entries.info
    return frozenset(entry["module"] for entry in entries if "module" in entry)


def _grouped(pieces: list[_Piece], heads: tuple[str, ...]) -> list[list[_Piece]]:
    """Pieces joined to units, the last the head: a block or a single convolution begins a new one."""
    head = _head_start(pieces, heads)
    groups: list[list[_Piece]] = [[]]
    for piece in pieces[:head]:
        begins = piece.block or piece.opens or isinstance(piece.module, _MIXERS)
        filled = any(_has_tensors(p.module) for p in groups[-1])
        opened = bool(groups[-1]) and groups[-1][-1].opens
        if begins and filled and not opened:
            groups.append([])
        groups[-1].append(piece)
    return [*groups, pieces[head:]]


def _head_start(pieces: list[_Piece], heads: tuple[str, ...]) -> int:
    """The index of the first piece of the head."""
    cuts = [i for i, p in enumerate(pieces) if any(isinstance(m, Cut) for m in p.module.modules())]
    if cuts:
        return cuts[-1] + 1
    head = next(i for i, piece in enumerate(pieces) if any(within(h, piece.name) for h in heads))
    while head > 1 and _belongs_to_head(pieces[:head]):
        head -= 1
    return head


def _belongs_to_head(pieces: list[_Piece]) -> bool:
    """Whether the last piece has no tensors, or is a norm that follows a block."""
    if not _has_tensors(pieces[-1].module):
        return True
    before = [piece for piece in pieces[:-1] if _has_tensors(piece.module)]
    return is_norm(pieces[-1].module) and bool(before) and before[-1].block


def _unit(pieces: list[_Piece]) -> Unit:
    """A unit named after its block, or after its first layer with tensors."""
    block = next((piece for piece in reversed(pieces) if piece.block), None)
    members = tuple(piece.name for piece in pieces)
    if block is None:
        first = next(piece.name for piece in pieces if _has_tensors(piece.module))
        return Unit(first, members)
    branches = {
        name: f"{block.name}.{name}" for name, _ in block.module.named_children() if name in _BRANCHES
    }
    return Unit(block.name, members, branches.get("attn"), branches.get("mlp"))
