"""Slim hybrids: the first units at full width, the others half as wide.

Raghu et al. ("Transfusion", NeurIPS 2019) keep a network's pre-trained first blocks and redesign the
top thinner. Their widths aren't published; here every unit after the first ones has half of its
channels (and of its attention heads). This is our definition. A CBR's first slim layer reads the full
width itself; in other networks a 1 x 1 projection before the first slim unit halves it, since shortcuts
tie the widths of neighbouring blocks together.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.models.cbr import CBR
from medtransfer.models.shapes import output_shapes, run_on_shapes
from medtransfer.models.units import network_units


def build_slim_hybrid(
    settings: ModelSettings, full: nn.Module, upto: int, image: tuple[int, int, int], seed: int
) -> nn.Module:
    """A network whose first ``upto`` units are those of ``full`` and whose others are slim.

    Args:
        settings: of the full network.
        full: the full network; its first units become part of the result.
        upto: number of units at full width, the stem counted; at least 1.
        image: channels, height and width of the images.
        seed: of the slim units' random start.

    Raises:
        ConfigError: no half-as-wide form of this architecture is known, no unit, or too many.
    """
    units = network_units(full)
    if not 1 <= upto <= len(units) - 2:
        raise ConfigError(
            f"a slim start keeps {upto} units at full width; allowed: 1 to {len(units) - 2}, so that "
            "the stem is full and one unit before the head is slim"
        )
    outputs = _outputs(full)
    if isinstance(full, CBR):
        slim_widths = full.channels[:upto] + [width // 2 for width in full.channels[upto:]]
        slim = _with_arguments(settings, {"channels": slim_widths})
        return _joined(build_network(slim, image[0], outputs, image[1], seed), full, upto)
    slim = _with_arguments(settings, _half_width(full))
    hybrid = build_network(slim, image[0], outputs, image[1], seed)
    last, first = units[upto - 1].members[-1], units[upto].members[0]
    shapes = [output_shapes(n, image, [last])[last] for n in (full, hybrid)]
    if shapes[0] != shapes[1]:  # a ResNet's stem has one width only, so that its first block needs none
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _project_input(hybrid.get_submodule(first), *shapes)
    hybrid = _joined(hybrid, full, upto)
    run_on_shapes(hybrid, image)
    return hybrid


def _outputs(network: nn.Module) -> int:
    outputs: int = network.head.out_features if isinstance(network, CBR) else network.num_classes  # type: ignore
    return outputs


def _with_arguments(settings: ModelSettings, arguments: dict[str, Any]) -> ModelSettings:
    return dataclasses.replace(settings, arguments={**settings.arguments, **arguments})


def _half_width(network: Any) -> dict[str, Any]:
    """Arguments of the same architecture with half the channels and attention heads."""
    from timm.models import ResNet, ResNetV2, SwinTransformer, VisionTransformer

    if isinstance(network, VisionTransformer):
        first: Any = network.blocks[0]
        width = network.embed_dim // 2
        return {"embed_dim": width, "num_heads": _half_heads(first.attn.num_heads, width)}
    if isinstance(network, SwinTransformer):
        heads = [stage.blocks[0].attn.num_heads for stage in network.layers]  # type: ignore
        width = network.embed_dim // 2
        halves = [_half_heads(h, width * 2**i) for i, h in enumerate(heads)]
        return {"embed_dim": width, "num_heads": tuple(halves)}
    if isinstance(network, ResNet):
        return {"channels": _half_stages(network, network.layer1[0].expansion)}  # type: ignore
    if isinstance(network, ResNetV2):
        # BiT's factor multiplies what its arguments say, the stem's 64 channels too
        factor = max(1, network.feature_info[0]["num_chs"] // 64)  # type: ignore
        return {"channels": _half_stages(network, factor)}
    raise ConfigError(
        f"no half-as-wide form of {type(network).__name__} is known for a slim start; known: CBR, "
        "ResNet, BiT's ResNetV2, ViT and DeiT, Swin"
    )


def _half_stages(network: Any, factor: int) -> tuple[int, ...]:
    """Half of each stage's channels, as the argument that is multiplied by ``factor``."""
    return tuple(stage["num_chs"] // factor // 2 for stage in network.feature_info[1:])


def _half_heads(heads: int, width: int) -> int:
    """The largest number of heads up to half of ``heads`` that divides the width."""
    return max(h for h in range(1, max(1, heads // 2) + 1) if width % h == 0)


def _project_input(module: nn.Module, wide: torch.Size, slim: torch.Size) -> None:
    """Make a module read an input of the wide shape through a projection to the slim one."""
    dimension = next(i for i, (a, b) in enumerate(zip(wide, slim, strict=True)) if a != b)
    if dimension == 1 and len(wide) == 4:
        module.projection = nn.Conv2d(wide[1], slim[1], 1, bias=False)
    else:
        module.projection = nn.Linear(wide[dimension], slim[dimension], bias=False)
    module.register_forward_pre_hook(_through_projection)


def _through_projection(
    module: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    projection: nn.Module = module.projection  # type: ignore[assignment]
    return (projection(inputs[0]), *inputs[1:])


def _joined(slim: nn.Module, full: nn.Module, upto: int) -> nn.Module:
    """Put the first units of the full network into the slim one."""
    for unit in network_units(full)[:upto]:
        for member in unit.members:
            owner, _, name = member.rpartition(".")
            setattr(slim.get_submodule(owner), name, getattr(full.get_submodule(owner), name))
    return slim
