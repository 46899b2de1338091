"""The stream of training batches: epochs, and MixUp."""

from __future__ import annotations

import numpy as np
import torch
from training_runs import problem, specification

from medtransfer.training.batches import Batch, ShuffledRows, TrainingBatches, mixed


def epochs_of(count: int, size: int, batches: int) -> list[list[int]]:
    stream = ShuffledRows(count, size, torch.Generator().manual_seed(0))
    return [next(stream).tolist() for _ in range(batches)]


def test_an_epoch_takes_no_image_twice_and_drops_the_incomplete_last_batch():
    drawn = epochs_of(10, 4, 6)
    assert [len(batch) for batch in drawn] == [4] * 6
    for epoch in range(3):
        taken = drawn[2 * epoch] + drawn[2 * epoch + 1]
        assert len(set(taken)) == 8
        assert set(taken) <= set(range(10))
    assert drawn[0] != drawn[2]


def test_the_images_left_out_change_from_epoch_to_epoch():
    drawn = epochs_of(10, 4, 40)
    assert {row for batch in drawn for row in batch} == set(range(10))


def test_a_batch_that_divides_the_images_leaves_none_out():
    drawn = epochs_of(8, 4, 4)
    assert sorted(drawn[0] + drawn[1]) == list(range(8))
    assert sorted(drawn[2] + drawn[3]) == list(range(8))


def test_fewer_images_than_a_batch_are_one_batch():
    drawn = epochs_of(3, 8, 5)
    assert [sorted(batch) for batch in drawn] == [[0, 1, 2]] * 5
    assert len({tuple(batch) for batch in drawn}) > 1


def a_batch(count: int = 6) -> Batch:
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count))


def test_mixup_is_the_weighted_mean_of_each_image_and_another_with_its_label():
    batch = a_batch()
    result = mixed(batch, 0.4, np.random.default_rng(1))
    assert result.other_labels is not None
    assert sorted(result.other_labels.tolist()) == list(range(6))
    assert result.labels.tolist() == list(range(6))
    for i, other in enumerate(result.other_labels.tolist()):
        expected = result.share * batch.images[i] + (1 - result.share) * batch.images[other]
        torch.testing.assert_close(result.images[i], expected)


def test_the_share_of_mixup_is_beta_distributed():
    generator = np.random.default_rng(3)
    for alpha in (0.1, 1.0, 8.0):
        shares = np.array([mixed(a_batch(2), alpha, generator).share for _ in range(2000)])
        assert abs(shares.mean() - 0.5) < 0.05
        # the variance of Beta(a, a)
        np.testing.assert_allclose(shares.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)


def test_mixup_changes_neither_the_order_nor_the_augmentation():
    settings = {"augmentation": specification().recipe.augmentation, "steps": 5}
    plain = TrainingBatches(problem("binary"), specification(**settings))
    mixing = TrainingBatches(problem("binary"), specification(mixup=1.0, **settings))
    for _ in range(3):
        one, other = next(plain), next(mixing)
        assert torch.equal(one.labels, other.labels)
        assert one.other_labels is None
        assert other.other_labels is not None
        assert not torch.allclose(one.images, other.images, atol=1e-3)


def test_a_seed_decides_the_mixing():
    streams = [
        TrainingBatches(problem("binary"), specification(mixup=0.5, seed=seed)) for seed in (0, 0, 1)
    ]
    shares = [[next(stream).share for _ in range(4)] for stream in streams]
    assert shares[0] == shares[1] != shares[2]
    assert len(set(shares[0])) == 4
