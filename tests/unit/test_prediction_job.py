"""What finished runs predict elsewhere, against their own predictions and the pieces put together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import VIT, brief, carried_out, store_of
from torch.nn import functional
from training_runs import CPU, MODEL, NAMES

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import HeadStageSettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.corruptions import corrupt
from medtransfer.training.arithmetic import Arithmetic
from medtransfer.training.job import PREDICTIONS, Store
from medtransfer.training.prediction_job import (
    CORRUPTED,
    External,
    Predictor,
    in_channels,
    predict_corrupted,
    predict_external,
    read_predictor,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
SLIM = ModelSettings("cbr", {"channels": [8, 16, 24], "kernel_size": 3})
RUNS = {
    "random": brief(),
    "gabor": brief(init="gabor"),
    "whole": brief(init="s"),
    "slim": brief(model=SLIM, init="s-upto1-slim"),
    "cut": brief(model=dataclasses.replace(MODEL, first_units=1), init="s"),
    "grey": brief(model=dataclasses.replace(MODEL, grey_input="repeat"), init="s"),
    "vit_resized": brief(model=VIT, resize=16),
    "cropped": brief(resize=16, crop=14, normalisation="training_images"),
    "crop_alone": brief(crop=10),
    "head_first": brief(head_first=HeadStageSettings(0.05, steps=3, validations=1), dropout=0.3),
    "contiguous": brief(arithmetic=Arithmetic(memory_format="contiguous")),
    "bfloat16": brief(model=VIT, arithmetic=Arithmetic("bfloat16", attention="plain")),
}
OURS = DatasetSettings(
    task="binary", labels="y", image_size=12, manifest="m.csv", classes=("negative", "positive")
)
GRADES = DatasetSettings(task="ordinal", labels="g", image_size=12, manifest="m.csv", classes=3)
HALVES = ExternalSettings({"0": "negative", "2": "positive"})


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def hashed(samples: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Samples with the hashes that a pixel store has; files are of other bytes."""
    pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return samples.assign(pixel_sha256=pixels, sha256=[f"file {name}" for name in samples["image_id"]])


def own_store(task: str = "binary", channels: int = 1) -> Store:
    store = store_of(task, channels)
    return dataclasses.replace(store, samples=hashed(store.samples, store.images))


def finished(folder: Path, plan=RUNS["random"], channels: int = 1) -> tuple[Predictor, Store, Path]:
    folder.mkdir(exist_ok=True)
    store = own_store(plan.task, channels)
    carried_out(folder, plan, store)
    return read_predictor(folder, store.images, CPU), store, folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Predictor, Store, Path]:
    return finished(tmp_path_factory.mktemp("run"))


def other(images: np.ndarray, labels: list[int] | None = None) -> External:
    """A data set of these images with three grades."""
    grades = np.arange(len(images)) % 3 if labels is None else np.array(labels)
    samples = pd.DataFrame({"image_id": [f"o{n}" for n in range(len(images))], "label": grades})
    samples["patient"] = samples["image_id"].str[:2]
    samples = hashed(samples, images)
    return External("elsewhere", images, samples, GRADES, HALVES)


def noise(count: int, side: int = 12, channels: int = 1, dtype: type = np.uint8) -> np.ndarray:
    shape = (count, side, side, channels)
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


# ---- the network of a finished run ----


@pytest.mark.parametrize("name", RUNS)
def test_the_selected_weights_say_of_the_test_images_what_the_run_said(name, tmp_path):
    predictor, store, folder = finished(tmp_path, RUNS[name])
    rows = np.flatnonzero((store.split["part"] == "test").to_numpy())
    said = pd.read_parquet(folder / "predictions.parquet").query("part == 'test'")
    assert said["image_id"].tolist() == store.samples["image_id"].iloc[rows].tolist()
    expected = said[[f"logit_{o}" for o in predictor.specification.outputs]].to_numpy()
    assert np.ptp(expected) > 5e-4
    assert np.array_equal(predictor.logits(store.images, rows), expected)


@pytest.mark.parametrize("name", ["random", "crop_alone", "vit_resized"])
def test_images_of_another_side_are_resized_to_that_of_the_runs_own(name, tmp_path):
    predictor, _, _ = finished(tmp_path, RUNS[name])
    images = noise(5, side=30)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    side = 16 if name == "vit_resized" else 12
    seen = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    if name == "crop_alone":
        seen = seen[:, :, 1:11, 1:11]
    seen = (seen - 0.5) / 0.5
    with torch.no_grad():
        expected = predictor.network(seen).numpy()
    assert predictor.logits(images, np.arange(5)) == pytest.approx(expected, abs=1e-5)


def test_deeper_images_are_seen_by_their_share_of_the_range(done):
    images = noise(4)
    deep = images.astype(np.uint16) * 257
    rows = np.arange(4)
    assert done[0].logits(deep, rows) == pytest.approx(done[0].logits(images, rows), abs=1e-6)


def test_rows_are_chosen_in_their_order_and_in_blocks(done):
    predictor = done[0]
    small = dataclasses.replace(predictor.specification.recipe, micro_batch_size=2)
    in_twos = dataclasses.replace(
        predictor, specification=dataclasses.replace(predictor.specification, recipe=small)
    )
    images, rows = noise(7), np.array([6, 1, 4, 3, 0])
    expected = predictor.logits(images[rows], np.arange(5))
    assert predictor.logits(images, rows) == pytest.approx(expected, abs=1e-6)
    assert in_twos.logits(images, rows) == pytest.approx(expected, abs=1e-6)


def test_grey_is_repeated_and_colour_is_luma():
    grey, colour = noise(2), noise(2, channels=3)
    assert in_channels(colour, 3) is colour
    assert np.array_equal(in_channels(grey, 3), np.concatenate([grey] * 3, axis=3))
    luma = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    found = in_channels(colour, 1)
    assert found.dtype == np.uint8 and found.shape == (2, 12, 12, 1)
    assert np.abs(found[..., 0] - luma).max() <= 0.501
    assert np.array_equal(in_channels(np.repeat(grey, 3, axis=3), 1), grey)
    assert in_channels(noise(2, channels=3, dtype=np.uint16), 1).dtype == np.uint16


@pytest.mark.parametrize(("own", "theirs"), [(1, 3), (3, 1)])
def test_other_channels_go_through_the_network(own, theirs, tmp_path):
    predictor, _, _ = finished(tmp_path, channels=own)
    images = noise(3, channels=theirs)
    expected = predictor.logits(in_channels(images, own), np.arange(3))
    assert np.array_equal(predictor.logits(images, np.arange(3)), expected)
    assert np.ptp(expected) > 0


def test_the_record_of_another_version_is_an_error(done, tmp_path):
    record = json.loads((done[2] / "run.json").read_text())
    del record["arithmetic"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(
        ConfigError, match=r"run\.json: key 'arithmetic' is missing; needed: the record"
    ):
        read_predictor(tmp_path, done[1].images, CPU)


# ---- another data set ----


def test_every_image_with_a_class_of_ours_is_predicted(done):
    predictor, store, _ = done
    images = noise(10)
    table, counts = predict_external(predictor, other(images), store, OURS)
    PREDICTIONS.check(table)
    rows = np.array([0, 2, 3, 5, 6, 8, 9])
    assert table["image_id"].tolist() == [f"o{row}" for row in rows]
    assert table["label"].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert set(table["part"]) == {"external-elsewhere"}
    assert np.array_equal(table[["logit_positive"]].to_numpy(), predictor.logits(images, rows))
    assert counts == {"images": 10, "without_class": 3, "seen_in_training": 0, "tested": 7}


@pytest.mark.parametrize("kind", ["pixel_sha256", "sha256"])
def test_images_seen_in_training_or_validation_are_left_out_and_counted(done, kind):
    predictor, store, _ = done
    place = {part: np.flatnonzero(store.split["part"] == part)[:2] for part in set(store.split["part"])}
    external = other(noise(9), labels=[0, 2] * 4 + [1])
    samples = external.samples.copy()
    own = store.samples[kind]
    samples.loc[[0, 2, 5, 8], kind] = own.iloc[
        [*place["train"], place["validation"][0], place["train"][0]]
    ].to_numpy()
    samples.loc[3, kind] = own.iloc[place["test"][0]]
    external = dataclasses.replace(external, samples=samples)
    table, counts = predict_external(predictor, external, store, OURS)
    assert table["image_id"].tolist() == ["o1", "o3", "o4", "o6", "o7"]
    assert table["label"].tolist() == [2 // 2, 1, 0, 0, 1]
    assert counts == {"images": 9, "without_class": 1, "seen_in_training": 3, "tested": 5}
    expected = predictor.logits(external.images, np.array([1, 3, 4, 6, 7]))
    assert np.array_equal(table[["logit_positive"]].to_numpy(), expected)


def test_an_own_copy_is_an_error(done):
    predictor, store, _ = done
    train = np.flatnonzero(store.split["part"] == "train")
    samples = store.samples.iloc[train].reset_index(drop=True)
    copy = External("copy", store.images[train], samples, OURS, ExternalSettings())
    with pytest.raises(DataError, match=r"all 48 images of copy .* needed: others"):
        predict_external(predictor, copy, store, OURS)


def test_findings_have_a_label_each(tmp_path):
    predictor, store, _ = finished(tmp_path, brief("multilabel"))
    ours = DatasetSettings(task="multilabel", labels=NAMES, image_size=12, manifest="m.csv")
    external = dataclasses.replace(
        other(noise(6)), settings=ExternalSettings({"0": None, "1": "b", "2": "c"})
    )
    table, _ = predict_external(predictor, external, store, ours)
    PREDICTIONS.check(table)
    assert table["label_b"].tolist() == [0, 1, 0, 0, 1, 0]
    assert table["label_a"].isna().all()
    assert [c for c in table if c.startswith("logit_")] == [f"logit_{name}" for name in NAMES]


# ---- corrupted images ----


@pytest.mark.parametrize("corruption", ["noise", "contrast"])
def test_stored_test_images_are_corrupted_before_the_runs_own_preprocessing(corruption, tmp_path):
    predictor, store, _ = finished(tmp_path, RUNS["cropped"])
    table = predict_corrupted(predictor, store, corruption)
    CORRUPTED.check(table)
    rows = np.flatnonzero(store.split["part"] == "test")
    for severity, found in table.groupby("severity"):
        hashes = store.samples["pixel_sha256"].iloc[rows].tolist()
        images = corrupt(store.images[rows], corruption, severity, hashes)
        expected = predictor.logits(images, np.arange(len(rows)))
        assert np.array_equal(found[["logit_positive"]].to_numpy(), expected)
        for column in ("image_id", "patient", "label"):
            assert found[column].tolist() == store.samples[column].iloc[rows].tolist()
    assert table["severity"].unique().tolist() == [1, 2, 3, 4, 5]
    assert set(table["corruption"]) == {corruption} and set(table["part"]) == {"test"}


def test_the_order_of_the_store_does_not_matter(done):
    predictor, store, _ = done
    order = np.random.default_rng(1).permutation(len(store.images))
    turned = Store(
        store.images[order],
        store.samples.iloc[order].reset_index(drop=True),
        store.split.iloc[order].reset_index(drop=True),
    )
    by = ["severity", "image_id"]
    first, second = (predict_corrupted(predictor, s, "noise").sort_values(by) for s in (store, turned))
    assert first["image_id"].tolist() == second["image_id"].tolist()
    logits = [table["logit_positive"].to_numpy() for table in (first, second)]
    assert logits[0] == pytest.approx(logits[1], abs=1e-6)


def test_corrupted_findings_keep_their_unknown_labels(tmp_path):
    predictor, store, _ = finished(tmp_path, brief("multilabel"))
    table = predict_corrupted(predictor, store, "blur")
    CORRUPTED.check(table)
    own = store.samples.set_index("image_id")
    for name in NAMES:
        expected = own.loc[table["image_id"], f"label_{name}"].to_numpy()
        assert np.array_equal(table[f"label_{name}"], expected, equal_nan=True)
        assert np.isnan(expected).any()


# ---- scripts ----


def run_script(name: str, *arguments: object) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(SCRIPTS.parents[1] / "src"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, SCRIPTS / f"{name}.py", *map(str, arguments), "--device", "cpu"]
    subprocess.run(command, check=True, env=environment, capture_output=True)


@pytest.mark.slow
def test_the_scripts_write_what_the_functions_return(done, tmp_path):
    predictor, store, folder = done
    external = other(noise(8, side=20, channels=3))
    for name, found in (("own", store), ("other", external)):
        np.save(tmp_path / f"{name}.npy", found.images)
        found.samples.to_parquet(tmp_path / f"{name}.parquet")
    store.split.to_parquet(tmp_path / "split.parquet")
    own = ["--images", tmp_path / "own.npy", "--samples", tmp_path / "own.parquet"]
    own += ["--split", tmp_path / "split.parquet", "--record", folder / "run.json"]
    run_script("predict_corrupted", *own, "--corruption", "jpeg", "--output", tmp_path / "jpeg.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "jpeg.parquet"), predict_corrupted(predictor, store, "jpeg")
    )
    settings = {"task": "binary", "labels": "y", "image_size": 12, "manifest": "m.csv"}
    grades = {**settings, "task": "ordinal", "labels": "g", "classes": 3}
    run_script(
        "predict_external", *own,
        "--dataset", json.dumps({**settings, "classes": ["negative", "positive"]}),
        "--name", "elsewhere", "--external-images", tmp_path / "other.npy",
        "--external-samples", tmp_path / "other.parquet", "--external-dataset", json.dumps(grades),
        "--classes", json.dumps({"labels": HALVES.labels}),
        "--predictions", tmp_path / "found.parquet", "--counts", tmp_path / "found.json",
    )  # fmt: skip
    table, counts = predict_external(predictor, external, store, OURS)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "found.parquet"), table)
    assert json.loads((tmp_path / "found.json").read_text()) == counts
