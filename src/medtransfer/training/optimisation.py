"""Optimisers and learning-rate schedules by the names that recipes use."""

from __future__ import annotations

import math

import torch
from torch import nn

from medtransfer.config.recipe import RecipeSettings


def build_optimizer(network: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser; tensors of fewer than two dimensions have no weight decay."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)
    optimizers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return optimizers[recipe.optimizer](groups, lr=recipe.learning_rate, fused=True)


def learning_rate_factor(step: int, total: int, recipe: RecipeSettings) -> float:
    """Share of the peak learning rate at ``step`` (from 0) of ``total``.

    Rises linearly over the warm-up, the last warm-up step being the first at the peak; then constant,
    or a half cosine that would reach 0 one step after the last.
    """
    warmup = math.ceil(round(recipe.warmup * total, 9))  # 0.07 * 100 is a little above 7
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))
