"""Keras's ResNet-50, whose arithmetic differs from that of torchvision's and timm's."""

from __future__ import annotations

import torch
from torch import nn

# keras.applications.ResNet50: BatchNormalization(epsilon=1.001e-5), with Keras's default momentum of
# 0.99 for the old value, which is 0.01 for the new one here
EPSILON = 1.001e-5
MOMENTUM = 0.01


def keras_resnet50(in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> nn.Module:
    """timm's ResNet-50 altered to compute what ``keras.applications.ResNet50`` computes.

    In stages 2 to 4 the first bottleneck has its stride in the first 1x1 convolution (He et al., CVPR
    2016) and not in the 3x3 one; convolutions have biases; batch norm has its own epsilon and momentum.
    Weights of one such network in the other load without an error and give other features. The random
    start is Keras's: Glorot-uniform kernels, biases 0. Names of modules are timm's.

    Args:
        in_chans: channels of the input.
        num_classes: outputs of the linear head, which gives logits; 0 for none.
        drop_rate: of the dropout before the head.
    """
    import timm  # here, since a CBR run needs none of its import time

    network: nn.Module = timm.create_model(
        "resnet50", in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate
    )
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
            if name.startswith(("layer2.0.", "layer3.0.", "layer4.0.")):
                _move_stride(name, module)
        elif isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = EPSILON, MOMENTUM
    _start(network)
    return network


def _move_stride(name: str, convolution: nn.Conv2d) -> None:
    if name.endswith(".conv1"):
        convolution.stride = (2, 2)
    elif name.endswith(".conv2"):
        convolution.stride = (1, 1)


def _start(network: nn.Module) -> None:
    """Keras's own random start."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # timm starts the last one of a block at 0
