"""Losses and class weights, against brute force and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from medtransfer.training.losses import balanced_weights, loss_of, mixed_loss

LOGITS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 0, 0, 0, 1, 2, 2])
ANSWERS = torch.tensor([[1, 0, 0], [0, 0, 1], [1, math.nan, 0], [0, 1, 0], [math.nan, 0, 0],
                        [1, 0, 1], [1, 1, 0]], dtype=torch.float64)  # fmt: skip


def test_binary_loss_is_the_mean_cross_entropy_by_hand():
    logits, labels = torch.tensor([[0.3], [-1.2], [2.0]]), torch.tensor([1, 0, 0])
    p = [1 / (1 + math.exp(-v)) for v in (0.3, -1.2, 2.0)]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(1 - p[2])) / 3
    assert loss_of(logits, labels, "binary").item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", ["multiclass", "ordinal"])
def test_multiclass_loss_is_the_mean_log_loss_of_scikit_learn(task):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    expected = log_loss(labels.numpy(), logits.double().softmax(1).numpy(), labels=[0, 1, 2])
    assert loss_of(logits, labels, task).item() == pytest.approx(expected, rel=1e-5)


def test_multilabel_loss_is_the_mean_over_known_labels_by_hand():
    logits = torch.tensor([[0.5, -0.5], [1.5, 3.0]])
    labels = torch.tensor([[1.0, math.nan], [0.0, 1.0]], dtype=torch.float64)
    sigmoid = [1 / (1 + math.exp(-v)) for v in (0.5, 1.5, 3.0)]
    expected = -(math.log(sigmoid[0]) + math.log(1 - sigmoid[1]) + math.log(sigmoid[2])) / 3
    assert loss_of(logits, labels, "multilabel").item() == pytest.approx(expected, rel=1e-5)


def test_an_unknown_label_gives_its_output_no_gradient():
    logits = torch.zeros(2, 2, requires_grad=True)
    labels = torch.tensor([[1.0, math.nan], [0.0, 1.0]])
    loss_of(logits, labels, "multilabel").backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert (logits.grad[[0, 1, 1], [0, 0, 1]] != 0).all()


def test_a_batch_without_any_known_label_has_loss_0_and_no_gradient():
    logits = torch.ones(2, 3, requires_grad=True)
    loss = loss_of(logits, torch.full((2, 3), math.nan), "multilabel")
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def brute_force(task: str, smoothing: float, weighted: bool) -> float:
    """The loss in plain Python, image by image; labels of the module's constants."""
    terms = []
    if task in ("multiclass", "ordinal"):
        counts = [4, 1, 2]
        for logits, label in zip(LOGITS.double().tolist(), CLASSES.tolist(), strict=True):
            total = sum(math.exp(v) for v in logits)
            target = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
            loss = -sum(t * math.log(math.exp(v) / total) for t, v in zip(target, logits, strict=True))
            terms.append(loss * (7 / (3 * counts[label]) if weighted else 1))
        return sum(terms) / 7
    for k in range(3 if task == "multilabel" else 1):
        column = [row[k] for row in ANSWERS.tolist()]
        if task == "binary":
            column = [float(c == 2) for c in CLASSES.tolist()]
        known = [a for a in column if not math.isnan(a)]
        for i, answer in enumerate(column):
            if math.isnan(answer):
                continue
            p = 1 / (1 + math.exp(-LOGITS[i, k].item()))
            target = (1 - smoothing / 2) if answer else smoothing / 2
            loss = -target * math.log(p) - (1 - target) * math.log(1 - p)
            terms.append(loss * (len(known) / (2 * known.count(answer)) if weighted else 1))
    return sum(terms) / len(terms)


def case(task: str) -> tuple[torch.Tensor, torch.Tensor]:
    if task == "binary":
        return LOGITS[:, :1], (CLASSES == 2).long()
    return LOGITS, ANSWERS if task == "multilabel" else CLASSES


TASKS = ("binary", "multiclass", "multilabel", "ordinal")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("task", TASKS)
def test_every_loss_is_that_of_brute_force(task, smoothing, weighted):
    logits, labels = case(task)
    weights = balanced_weights(labels, task, logits.shape[1]) if weighted else None
    found = loss_of(logits, labels, task, smoothing, weights)
    assert found.item() == pytest.approx(brute_force(task, smoothing, weighted), rel=1e-5)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_weights_are_of_all_images_whatever_a_batch_holds(task):
    """The mean over batches is the loss of all images: a batch is not divided by its own weights."""
    logits, labels = case(task)
    if task == "multilabel":
        labels = labels.nan_to_num()  # every batch has as many known labels
    weights = balanced_weights(labels, task, 3)
    each = [loss_of(logits[i : i + 1], labels[i : i + 1], task, 0.0, weights) for i in range(7)]
    whole = loss_of(logits, labels, task, 0.0, weights)
    torch.testing.assert_close(torch.stack(each).mean(), whole)


def test_smoothing_over_classes_is_that_of_torch():
    expected = functional.cross_entropy(LOGITS, CLASSES, label_smoothing=0.2)
    assert torch.equal(loss_of(LOGITS, CLASSES, "multiclass", 0.2), expected)


def test_balanced_weights_of_classes_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES.numpy())
    np.testing.assert_allclose(balanced_weights(CLASSES, "multiclass", 3), expected, rtol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_with_balanced_weights_each_class_has_the_same_total_and_the_mean_is_1(task):
    logits, labels = case(task)
    weights = balanced_weights(labels, task, logits.shape[1])
    if task in ("multiclass", "ordinal"):
        each = weights[labels]
        totals = torch.stack([each[labels == c].sum() for c in range(3)])
    else:
        targets = labels[:, None] if task == "binary" else labels
        each = torch.where(targets == 1, weights[1], weights[0])
        each = torch.where(targets.isnan(), torch.nan, each)
        totals = torch.stack([torch.where(targets == a, each, 0.0).sum(0) for a in (0, 1)])
    torch.testing.assert_close(totals, totals[:1].expand_as(totals))
    torch.testing.assert_close(each.nanmean(0), torch.ones_like(each.nanmean(0)))


def test_a_class_without_images_takes_no_weight_from_the_others():
    weights = balanced_weights(torch.tensor([0, 0, 0, 3]), "multiclass", 4)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 0.0, 0.0, 2.0]))
    weights = balanced_weights(torch.tensor([1, 1, 1]), "binary", 1)
    torch.testing.assert_close(weights, torch.tensor([[0.0], [1.0]]))
    unknown = torch.full((3, 1), math.nan)
    assert torch.equal(balanced_weights(unknown, "multilabel", 1), torch.zeros(2, 1))


def test_a_mixed_loss_is_the_loss_of_the_mixed_targets():
    second = CLASSES.flip(0)
    targets = 0.3 * functional.one_hot(CLASSES) + 0.7 * functional.one_hot(second)
    expected = functional.cross_entropy(LOGITS, targets)
    first, other = (loss_of(LOGITS, labels, "multiclass") for labels in (CLASSES, second))
    torch.testing.assert_close(mixed_loss(first, other, 0.3), expected)
