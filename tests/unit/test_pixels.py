"""Parts that stay on the disk give what parts in memory give, to the last bit."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_training import store_of
from training_runs import CPU, MODEL, problem, specification

from medtransfer.config.recipe import AugmentationSettings
from medtransfer.models.build import build_network
from medtransfer.training import prediction
from medtransfer.training.batches import TrainingBatches
from medtransfer.training.inputs import pixel_statistics
from medtransfer.training.job import train_run
from medtransfer.training.memory import free_bytes, room_for_images
from medtransfer.training.pixels import MappedPixels, PixelReader, in_blocks
from medtransfer.training.prediction import predict
from medtransfer.training.specification import Part

CHANGING = AugmentationSettings(flip_horizontal=0.5, rotate=15, scale=0.2, brightness=0.2, contrast=0.2)


def both(tmp_path: Path, dtype: type = np.uint8, count: int = 45) -> tuple[Part, Part]:
    """The same part in memory, and as shuffled rows of a larger memory map."""
    whole = problem("binary", count=2 * count)
    scale = np.iinfo(dtype).max // 255
    np.save(tmp_path / "images.npy", whole.pixels.numpy().astype(dtype) * dtype(scale))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.random.default_rng(3).permutation(2 * count)[:count]
    resident = torch.from_numpy(np.array(images)[rows])
    labels = whole.labels[torch.from_numpy(rows)]
    return Part(resident, labels), Part(MappedPixels(images, rows), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_training_batches_are_the_same_bits(tmp_path, dtype):
    plan = specification(augmentation=CHANGING, mixup=0.3)
    resident, mapped = (TrainingBatches(part, plan) for part in both(tmp_path, dtype))
    for _ in range(17):  # over three epochs of five batches and a rest
        expected, found = next(resident), next(mapped)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.other_labels, expected.other_labels)
        assert found.share == expected.share


@pytest.mark.parametrize("taken", [0, 3, 5, 7])
def test_batches_go_on_from_a_state_whichever_part_it_came_from(tmp_path, taken):
    plan = specification(augmentation=CHANGING)
    resident, mapped = both(tmp_path)
    first = TrainingBatches(mapped, plan)
    for _ in range(taken):
        next(first)
    state = first.state_dict()
    expected = [next(first).images for _ in range(6)]
    for part in (resident, mapped):
        again = TrainingBatches(part, plan)
        next(again)  # what was read ahead must not be taken for what comes
        again.load_state_dict(state)
        assert all(torch.equal(next(again).images, images) for images in expected)


def test_predictions_and_statistics_are_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "EVALUATION_BATCH", 7)
    resident, mapped = both(tmp_path)
    network = build_network(MODEL, 1, 1, 12, 0)
    plan = specification()
    np.testing.assert_array_equal(
        predict(network, mapped.pixels, plan), predict(network, resident.pixels, plan)
    )
    assert pixel_statistics(mapped.pixels) == pixel_statistics(resident.pixels)


def test_mapped_pixels_have_the_shape_and_length_of_their_rows(tmp_path):
    resident, mapped = both(tmp_path)
    assert mapped.pixels.shape == resident.pixels.shape
    assert len(mapped.pixels) == len(resident.pixels) == 45
    assert mapped.pixels.device == CPU
    assert mapped.pixels.to(torch.device("meta")).device.type == "meta"
    assert torch.equal(mapped.pixels.read(torch.tensor([2, 0])), resident.pixels[[2, 0]])


@pytest.mark.parametrize("size", [1, 7, 45, 60])
def test_blocks_are_all_images_in_order(tmp_path, size):
    resident, mapped = both(tmp_path)
    blocks = list(in_blocks(mapped.pixels, size))
    assert [len(block) for block in blocks] == [len(b) for b in in_blocks(resident.pixels, size)]
    assert torch.equal(torch.cat(blocks), resident.pixels)


class Recorded(MappedPixels):
    """Remembers what was read, and in which thread."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.reads: list[tuple[list[int], bool]] = []

    def read(self, places: torch.Tensor) -> torch.Tensor:
        self.reads.append((places.tolist(), threading.current_thread() is threading.main_thread()))
        return super().read(places)


def test_the_next_batch_is_read_ahead_once_and_in_another_thread():
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    pixels = Recorded(images, np.arange(10))
    reader = PixelReader(pixels)
    batches = [torch.tensor([i, i + 1]) for i in range(0, 8, 2)]
    for batch, upcoming in zip(batches, [*batches[1:], None], strict=True):
        assert torch.equal(reader.take(batch, upcoming), torch.from_numpy(images[batch.numpy()]))
    assert [places for places, _ in pixels.reads] == [batch.tolist() for batch in batches]
    assert [main for _, main in pixels.reads] == [True, False, False, False]


def test_training_reads_ahead_all_batches_but_the_first_of_an_epoch():
    images = np.zeros((10, 12, 12, 1), dtype=np.uint8)
    pixels = Recorded(images, np.arange(10))
    batches = TrainingBatches(Part(pixels, torch.arange(10) % 2), specification(batch_size=3))
    for _ in range(7):
        next(batches)
    assert [main for _, main in pixels.reads[:7]] == [True, False, False, True, False, False, True]
    first, second = pixels.reads[:3], pixels.reads[3:6]
    for epoch in (first, second):
        assert len({place for places, _ in epoch for place in places}) == 9


def test_what_was_read_ahead_is_dropped_where_something_else_is_asked_for():
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    reader = PixelReader(MappedPixels(images, np.arange(10)))
    reader.take(torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(reader.take(torch.tensor([7])), torch.from_numpy(images[[7]]))


def test_no_copy_of_the_part_is_made(tmp_path, monkeypatch):
    _, mapped = both(tmp_path)
    largest = []
    take = np.take
    monkeypatch.setattr(
        np, "take", lambda images, rows, axis: largest.append(len(rows)) or take(images, rows, axis)
    )
    plan = specification(batch_size=8)
    batches = TrainingBatches(mapped, plan)
    for _ in range(12):
        next(batches)
    assert max(largest) == 8
    assert len(largest) >= 12


def system(root: Path, available: int, limits: dict[str, str]) -> Path:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:   {available} kB\n")
    (root / "proc" / "self" / "cgroup").write_text("0::/slurm/job_7/step\n")
    for group, limit in limits.items():
        folder = root / "sys" / "fs" / "cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(limit + "\n")
    return root


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 1000 * 1024),
        ({"slurm/job_7/step": "max", "slurm/job_7": "5000"}, 5000),
        ({"slurm/job_7/step": "900", "slurm/job_7": "5000", "": "7000"}, 900),
        ({"slurm/job_8": "5"}, 1000 * 1024),
        ({"slurm/job_7": "99999999999"}, 1000 * 1024),
    ],
)
def test_memory_is_what_is_available_within_the_limits_of_the_groups(tmp_path, limits, expected):
    assert free_bytes(system(tmp_path, 1000, limits)) == expected


def test_a_system_that_says_nothing_has_some_memory(tmp_path):
    assert free_bytes(tmp_path) == 4 * 2**30
    assert 0 < room_for_images(CPU) < free_bytes() * 0.6


def test_a_mapped_part_can_stand_for_a_resident_one(tmp_path):
    resident, mapped = both(tmp_path)
    assert replace(resident, pixels=mapped.pixels).labels is resident.labels


def test_a_run_with_little_room_leaves_its_images_on_the_disk_and_comes_to_the_same(tmp_path):
    store = store_of(tmp_path, "binary")
    plan = specification(augmentation=CHANGING, normalisation="training_images")
    expected = train_run(plan, store, "full", {}, "cpu")
    used = store.split["part"].isin(["train", "validation", "test", "external"]).sum()
    needed = int(used) * store.images[0].nbytes
    enough, little = (
        train_run(plan, replace(store, room=room), "full", {}, "cpu") for room in (needed, needed - 1)
    )
    assert [r.facts["images_in_memory"] for r in (expected, enough, little)] == [True, True, False]
    for result in (enough, little):
        pd.testing.assert_frame_equal(result.predictions, expected.predictions)
        pd.testing.assert_frame_equal(result.history, expected.history)


def test_the_record_says_how_the_network_was_computed(tmp_path):
    store = store_of(tmp_path, "binary")
    record = train_run(specification(precision="bfloat16"), store, "full", {}, "cpu").facts
    assert record["arithmetic"] == {
        "precision": "bfloat16", "memory_format": "channels_last", "compiled": False,
        "attention": "fused", "checkpointed": False,
    }  # fmt: skip
