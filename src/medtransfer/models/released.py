"""WT-ST-n as Matsoukas et al. (CVPR 2022) released it: its levels and what it leaves pre-trained.

Level 0 is their n = -2 (stats transfer), level 1 their n = -1 and so on; the last is the whole network.
Their levels are coarser than units in CNNs, and finer in one place: a ResNet's first convolution comes
before its batch norm. In transformers the class token, position embeddings and bias tables keep their
pre-trained values at every level, although neither paper nor name say so.
"""

from __future__ import annotations

from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.models.units import network_units

ALWAYS_PRETRAINED = ("cls_token", "pos_embed", "relative_position_bias_table")
_RESNET = (("conv1",), ("bn1",), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
_INCEPTION = (
    ("Conv2d_1a_3x3",),
    ("Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("Conv2d_3b_1x1",),
    ("Conv2d_4a_3x3",),
    ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


def released_levels(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The modules that each level, from 1 on, adds to the pre-trained ones.

    Raises:
        ConfigError: a network that the release doesn't cover.
    """
    kind = type(network).__name__
    if kind == "ResNet":
        return _RESNET
    if kind == "InceptionV3":
        return _INCEPTION
    if kind in ("VisionTransformer", "SwinTransformer"):
        # a stage's patch merging comes with the first block after it
        body = network_units(network)[:-1]
        return (*(unit.members for unit in body), ("norm",))
    raise ConfigError(
        f"init 'stats_as_released' is not defined for {kind}; allowed: ResNet, InceptionV3, "
        "VisionTransformer (ViT, DeiT), SwinTransformer"
    )
