"""The points of a network at which representations are measured, in the order of depth.

A unit's point is its output, the residual stream where there is one. Blocks of transformers have two
more, the outputs of their attention and of their MLP before these are added to the stream: what
Matsoukas et al. (CVPR 2022) hooked. The last point is the network's output, the logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.models.shapes import run_on_shapes
from medtransfer.models.units import Unit, network_units

Kind = Literal["unit", "attention", "mlp", "head"]

# modules of timm that give channels last although their network's feature maps have them first
CHANNELS_LAST = (
    "gcvit.GlobalContextVitBlock",
    "nest.TransformerLayer",
    "pvt_v2.OverlapPatchEmbed",
    "swin_transformer_v2_cr.SwinTransformerV2CrBlock",
    "tiny_vit.TinyVitBlock",
    "vision_transformer_sam.Block",
    "volo.Outlooker",
    "volo.Transformer",
)
# of CCA points where all units have one resolution, the stem not counted
SPREAD = 4


@dataclass(frozen=True)
class Point:
    """A place of a network at which activations are taken.

    Attributes:
        name: of the unit, or of the unit's branch.
        kind: whose output it is.
        module: name of the module whose output is taken; empty for the network itself.
        shape: of the output for one image, as the module gives it.
        channels_last: whether channels are the last dimension of a four-dimensional output, too.
        prefix_tokens: tokens before those of the patches.
        class_token: whether the first of them is a class token.
    """

    name: str
    kind: Kind
    module: str
    shape: tuple[int, ...]
    channels_last: bool = False
    prefix_tokens: int = 0
    class_token: bool = False

    @property
    def features(self) -> int:
        """Numbers an image."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """Numbers a position."""
        first = len(self.shape) == 4 and not self.channels_last
        return self.shape[1] if first else self.shape[-1]

    @property
    def positions(self) -> int:
        """Places of the feature map, or patch tokens; 1 of a vector."""
        return self.features // self.channels - self.prefix_tokens

    @property
    def pooled_kinds(self) -> tuple[str, ...]:
        """Names of the vectors that an image is pooled to."""
        if not self.prefix_tokens:
            return ("pooled",)
        return ("cls", "patches") if self.class_token else ("patches",)

    def by_position(self, output: torch.Tensor, images: int) -> torch.Tensor:
        """The module's output as N x positions x channels, prefix tokens first.

        Attention in windows gives several rows an image, one after the other.

        Args:
            output: of the module.
            images: N.
        """
        if output.ndim == 4 and not self.channels_last:
            return output.flatten(2).transpose(1, 2)
        return output.reshape(images, -1, output.shape[-1])

    def pooled(self, output: torch.Tensor, images: int) -> dict[str, torch.Tensor]:
        """Each of ``pooled_kinds``, float32, N x channels: means over positions, or the class token."""
        placed = self.by_position(output, images)
        means = placed[:, self.prefix_tokens :].mean(dim=1, dtype=torch.float32)
        if not self.prefix_tokens:
            return {"pooled": means}
        return (
            {"cls": placed[:, 0].float(), "patches": means} if self.class_token else {"patches": means}
        )


def measured_points(network: nn.Module, image: tuple[int, int, int]) -> tuple[Point, ...]:
    """The points of a network from its stem to its logits; nothing is computed.

    A unit's point is the output of that of its modules which is called last and gives something for
    the image, which the order of calls tells.

    Args:
        network: as :func:`medtransfer.models.units.network_units` knows it.
        image: channels, height and width of its images.

    Raises:
        ConfigError: the network doesn't take such an image, has no classifier, or a unit gives no
            tensor.
    """
    units = network_units(network)
    branches = [name for unit in units for _, name in _branches(unit)]
    members = [member for unit in units for member in unit.members]
    calls = _calls(network, image, [*members, *branches, ""])
    shapes = dict(calls)
    facts = _TokenFacts.of(network)
    points = []
    for unit in units[:-1]:
        own: list[tuple[str, Kind, str]] = [(name, kind, name) for kind, name in _branches(unit)]
        own.append((unit.name, "unit", _last_called(unit, calls)))
        for name, kind, module in own:
            shape = shapes[module]
            last_axis = _channels_last(network, (module, unit.name)) or _sides_first(shape)
            points.append(_point(name, kind, module, shape, last_axis, facts))
    return (*points, Point("head", "head", "", shapes[""]))


def cca_points(points: Sequence[Point]) -> tuple[str, ...]:
    """The points that canonical correlations are taken at: stem, and last unit of each resolution.

    Of a ResNet these are the five of Juodelyte et al. (TMLR 2023): the stem and each stage. Where all
    units after the stem have one resolution, four of them spread evenly over the depth, the last one
    included.
    """
    units = [point for point in points if point.kind == "unit"]
    body = units[1:]
    lasts = [
        point
        for point, following in zip(body, [*body[1:], None], strict=False)  # no body: no pair
        if following is None or following.positions != point.positions
    ]
    if len(lasts) == 1:
        places = (math.ceil((i + 1) * len(body) / SPREAD) - 1 for i in range(SPREAD))
        lasts = [body[place] for place in dict.fromkeys(places)]
    return tuple(point.name for point in (*units[:1], *lasts))


@dataclass(frozen=True)
class _TokenFacts:
    """What a network says of its tokens; ``patches`` is None where it says nothing."""

    prefix: int
    class_token: bool
    patches: int | None

    @staticmethod
    def of(network: Any) -> _TokenFacts:
        patches = getattr(getattr(network, "patch_embed", None), "num_patches", None)
        prefix = int(getattr(network, "num_prefix_tokens", 0))
        return _TokenFacts(prefix, getattr(network, "cls_token", None) is not None, patches)

    def prefix_of(self, shape: tuple[int, ...]) -> int:
        """Tokens before the patches; none in windows, nor where they join the patches only later."""
        tokens = len(shape) == 3 and shape[0] == 1
        return self.prefix if tokens and shape[1] != self.patches else 0


def _point(
    name: str,
    kind: Kind,
    module: str,
    shape: tuple[int, ...],
    channels_last: bool,
    facts: _TokenFacts,
) -> Point:
    prefix = facts.prefix_of(shape)
    return Point(name, kind, module, shape, channels_last, prefix, facts.class_token and prefix > 0)


def _branches(unit: Unit) -> list[tuple[Kind, str]]:
    """Attention and MLP of a transformer block, in the order of their calls; else nothing."""
    if unit.attention is None or unit.mlp is None:
        return []
    return [("attention", unit.attention), ("mlp", unit.mlp)]


def _channels_last(network: nn.Module, names: Sequence[str]) -> bool:
    """Whether a four-dimensional output has its channels last, as the network or a module states it.

    Args:
        network: of timm, or ours.
        names: of the module whose output it is, and of the block that it is part of.
    """
    modules = dict(network.named_modules())
    owners = [modules[name] for name in names if name in modules]
    kinds = [f"{type(owner).__module__}.{type(owner).__name__}" for owner in owners]
    if any(kind.endswith(CHANNELS_LAST) for kind in kinds):
        return True
    return any(_stated_format(owner) == "NHWC" for owner in (network, *owners))


def _sides_first(shape: tuple[int, ...]) -> bool:
    """Whether the sides of a map come before its channels, which its equal sides tell.

    For what no module states, such as an empty layer between a change of format and the first block.
    """
    return len(shape) == 4 and shape[1] == shape[2] != shape[3]


def _stated_format(module: nn.Module) -> str:
    """What timm calls the format of a module's output."""
    stated: Any = getattr(module, "output_fmt", "NCHW")
    return str(getattr(stated, "value", stated))


def _calls(
    network: nn.Module, image: tuple[int, int, int], names: Sequence[str]
) -> list[tuple[str, tuple[int, ...]]]:
    """Names of those that are modules and are called, in the order of their ends, with the shapes."""
    modules = dict(network.named_modules())
    calls: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            calls.append((name, tuple(tensor.shape)))

    hooks = [
        modules[name].register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name in names
        if name in modules
    ]
    try:
        run_on_shapes(network, image)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def first_tensor(output: Any) -> torch.Tensor | None:
    """A module's output, the first one where it gives several."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def _last_called(unit: Unit, calls: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """The member of a unit that is called last and gives something for the image."""
    for name, shape in reversed(calls):
        if name in unit.members and len(shape) > 1 and shape[0] == 1:
            return name
    raise ConfigError(f"unit {unit.name} of this network gives no tensor to measure")
