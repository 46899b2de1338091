"""The CBR family of Raghu et al., "Transfusion" (NeurIPS 2019): conv - batch norm - ReLU - pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn


class CBR(nn.Module):
    """Convolutional layers of growing width, each followed by batch norm, ReLU and a max-pool.

    Args:
        channels: output channels of each layer.
        kernel_size: side of the convolutions, stride 1.
        pools: layers followed by a 3 x 3 max-pool of stride 2, counted from the first; default all.
        in_chans: channels of the input.
        num_classes: outputs of the linear head.
        drop_rate: dropout before the head.
        padding: "same" or "valid" convolutions; implementations of the paper disagree.
    """

    classifier_name = "head"

    def __init__(  # noqa: PLR0913 (the last three are what timm gives every network)
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        kernel_size: int = 7,
        pools: int | None = None,
        in_chans: int = 3,
        num_classes: int = 1,
        drop_rate: float = 0.0,
        padding: Literal["same", "valid"] = "same",
    ) -> None:
        super().__init__()
        if not channels or min(*channels, kernel_size) < 1:
            raise ValueError(f"channels {channels} and kernel_size {kernel_size}; allowed: from 1")
        self.channels = list(channels)
        pooled = len(channels) if pools is None else pools
        widths = [in_chans, *channels]
        self.layers = nn.Sequential(
            *(
                _layer(widths[i], widths[i + 1], kernel_size, padding, pool=i < pooled)
                for i in range(len(channels))
            )
        )
        self.dropout = nn.Dropout(drop_rate)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, N x num_classes, of images, N x in_chans x H x W."""
        features = self.layers(images)  # N x channels[-1] x h x w
        return self.head(self.dropout(features.mean(dim=(2, 3))))


def _layer(
    in_channels: int, out_channels: int, kernel_size: int, padding: str, pool: bool
) -> nn.Sequential:
    layer = nn.Sequential()
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False)
    layer.add_module("conv", convolution)
    layer.add_module("norm", nn.BatchNorm2d(out_channels))
    layer.add_module("activation", nn.ReLU(inplace=True))
    if pool:
        layer.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
    return layer
