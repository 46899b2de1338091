"""Losses of a batch and the weights that make classes count the same."""

from __future__ import annotations

import torch
from torch.nn import functional

from medtransfer.config.dataset import Task


def loss_of(
    logits: torch.Tensor,
    labels: torch.Tensor,
    task: Task,
    label_smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
    answers: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Mean cross-entropy; per output for binary and multilabel, where unknown (NaN) labels don't count.

    Args:
        logits: N x K; K is 1 for binary.
        labels: N class indices, or for multilabel N x K of 0, 1 and NaN.
        task: of the data set.
        label_smoothing: share s of the target that is spread over all classes (Szegedy et al. 2016);
            of a yes or no, the targets are 1 - s/2 and s/2.
        weights: of :func:`balanced_weights`; each image's loss is multiplied by its label's weight
            and the sum divided by the number of images, not by the sum of their weights.
        answers: of :func:`known_answers` of a larger batch of which this is a piece; losses of all its
            pieces add up to the loss of the whole. By default the piece is the whole.
    """
    if answers is None:
        answers = known_answers(labels, task)
    if task in ("binary", "multilabel"):
        targets = (labels[:, None] if task == "binary" else labels).to(logits.dtype)
        return _binary_losses(logits, targets, label_smoothing, weights).sum() / answers
    if weights is None:
        mean = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        return mean * (len(labels) / answers)
    losses = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return (losses * weights[labels]).sum() / answers


def known_answers(labels: torch.Tensor, task: Task) -> torch.Tensor | int:
    """By what a batch's sum of losses is divided: the number of its known labels, at least 1."""
    return len(labels) if task != "multilabel" else (~labels.isnan()).sum().clamp(min=1)


def _binary_losses(
    logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float, weights: torch.Tensor | None
) -> torch.Tensor:
    """Of each label, N x K; 0 for unknown ones (targets, N x K of 0, 1 and NaN)."""
    known = ~targets.isnan()
    targets = targets.nan_to_num()
    smooth = targets * (1 - label_smoothing) + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if weights is not None:
        losses = losses * torch.where(targets > 0, weights[1], weights[0])
    return losses * known


def mixed_loss(first: torch.Tensor, second: torch.Tensor, share: float) -> torch.Tensor:
    """MixUp's loss (Zhang et al. 2018): the first labels' by ``share``, the second's by the rest."""
    return share * first + (1 - share) * second


def balanced_weights(labels: torch.Tensor, task: Task, outputs: int) -> torch.Tensor:
    """Weights with which each class of the training images has the same total; their mean is 1.

    A class of n out of N images has the weight N / (n x number of classes that occur). For binary and
    multilabel, the classes are the two answers of each output, over its known labels.

    Args:
        labels: of all training images, as in :func:`loss_of`.
        task: of the data set.
        outputs: number of logits.

    Returns:
        float32: K weights, or 2 x K (no, yes) for binary and multilabel. Classes without any image
        have 0.
    """
    if task in ("binary", "multilabel"):
        targets = labels[:, None] if task == "binary" else labels
        counts = torch.stack([(targets == answer).sum(0) for answer in (0, 1)])  # 2 x K
    else:
        counts = torch.bincount(labels, minlength=outputs)
    occurring = (counts > 0).sum(0)
    weights = counts.sum(0) / (counts * occurring).clamp(min=1)
    return torch.where(counts > 0, weights, 0.0).float()
