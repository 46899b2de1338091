"""Fine-tuning runs: what is learned, what is kept, and what a seed decides."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from training_runs import CPU, MODEL, NAMES, SIDE, parts_of, problem, specification

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import AugmentationSettings
from medtransfer.data.splits import training_subset
from medtransfer.errors import DataError, TrainingError
from medtransfer.models.build import build_network
from medtransfer.seeds import derived_seed
from medtransfer.training import inputs, prediction, stages
from medtransfer.training import run as training
from medtransfer.training.job import (
    HISTORY,
    PREDICTIONS,
    Store,
    cut_parts,
    label_array,
    train_run,
)
from medtransfer.training.prediction import predict
from medtransfer.training.run import starting_network, train
from medtransfer.training.specification import Part, Specification


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def one_vs_rest_auroc(task: str, labels: np.ndarray, logits: np.ndarray) -> float:
    """The lowest AUROC of all outputs, by scikit-learn, over known labels."""
    if task == "binary":
        targets = labels[:, None].astype(float)
    elif task == "multilabel":
        targets = labels
    else:
        targets = np.eye(3)[labels]
        logits = torch.from_numpy(logits).softmax(1).numpy()
    known = ~np.isnan(targets)
    return min(
        roc_auc_score(targets[known[:, k], k], logits[known[:, k], k]) for k in range(targets.shape[1])
    )


def test_pixels_of_sixteen_bits_are_the_same_pictures():
    """257 times as much of 65,535 is what it was of 255: the same runs, to the last bit."""
    parts = parts_of("binary")
    deep = {
        name: Part(torch.from_numpy(part.pixels.numpy().astype(np.uint16) * 257), part.labels)
        for name, part in parts.items()
    }
    plan = specification(augmentation=AugmentationSettings(rotate=10.0, flip_horizontal=0.5))
    eight, sixteen = train(plan, parts, {}, CPU), train(plan, deep, {}, CPU)
    assert deep["test"].pixels.dtype == torch.uint16
    np.testing.assert_array_equal(eight.logits["test"], sixteen.logits["test"])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "ordinal"])
def test_a_separable_problem_is_learned(task):
    parts = parts_of(task)
    plan = specification(task, steps=60, batch_size=16, learning_rate=0.01)
    outcome = train(plan, parts, {}, CPU)
    assert set(outcome.logits) == {"validation", "test"}
    logits = outcome.logits["test"]
    assert logits.shape == (48, len(plan.outputs))
    assert logits.dtype == np.float32
    assert one_vs_rest_auroc(task, parts["test"].labels.numpy(), logits) > 0.95
    curve = [entry["validation_loss"] for entry in outcome.history]
    assert curve[-1] < 0.7 * curve[0]


AUGMENTED = AugmentationSettings(flip_horizontal=0.5, rotate=10, brightness=0.2)


def test_one_seed_gives_the_same_bits_twice_and_another_seed_others():
    plan = specification("binary", augmentation=AUGMENTED)
    parts = parts_of("binary")
    first = train(plan, parts, {}, CPU)
    torch.rand(7)
    again = train(plan, parts, {}, CPU)
    other = train(replace(plan, seed=1), parts, {}, CPU)
    for name in ("validation", "test"):
        assert np.array_equal(first.logits[name], again.logits[name])
        assert not np.allclose(first.logits[name], other.logits[name], atol=1e-4)
    pd.testing.assert_frame_equal(pd.DataFrame(first.history), pd.DataFrame(again.history))


def test_a_seed_decides_the_dropout():
    model = ModelSettings(
        "test_vit", {"depth": 1, "embed_dim": 24, "num_heads": 2, "patch_size": 4, "drop_rate": 0.5}
    )
    plan = specification("binary", model=model, steps=2, validations=1)
    plain = replace(plan, model=replace(model, arguments={**model.arguments, "drop_rate": 0.0}))
    parts = parts_of("binary", count=16)
    logits = []
    for repeat in range(2):
        torch.manual_seed(repeat)
        logits.append(train(plan, parts, {}, CPU).logits["test"])
    assert np.array_equal(*logits)
    assert not np.allclose(logits[0], train(plain, parts, {}, CPU).logits["test"], atol=1e-5)


def recorded_batches(monkeypatch, plan: Specification, source: dict) -> list[torch.Tensor]:
    """Images before and after augmentation of all steps of a run."""
    seen: list[torch.Tensor] = []
    augment = inputs.augment

    def recording(images, settings, generator, crop):
        result = augment(images, settings, generator, crop)
        seen.extend([images.clone(), result.clone()])
        return result

    monkeypatch.setattr(inputs, "augment", recording)
    train(plan, parts_of("binary", channels=3), source, CPU)
    monkeypatch.undo()
    return seen


def test_batch_order_and_augmentation_do_not_depend_on_the_start(monkeypatch):
    plan = specification("binary", augmentation=AUGMENTED)
    source = build_network(MODEL, 3, 5, SIDE, seed=77).state_dict()
    batches = {
        init: recorded_batches(monkeypatch, replace(plan, init=init), source)
        for init in ("random", "src", "src-stats")
    }
    other = recorded_batches(monkeypatch, replace(plan, seed=9), source)
    assert len(batches["random"]) == 12
    assert not torch.allclose(batches["random"][0], batches["random"][1], atol=0.01)
    for init in ("src", "src-stats"):
        pairs = zip(batches["random"], batches[init], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(batches["random"][0], other[0])


def test_a_seed_decides_the_augmentation_apart_from_the_order(monkeypatch):
    same = Part(torch.full((16, SIDE, SIDE, 1), 100, dtype=torch.uint8), torch.arange(16) % 2)
    parts = {"train": same, "validation": problem("binary")}
    results: list[torch.Tensor] = []
    augment = inputs.augment

    def recording(*arguments):
        results.append(augment(*arguments))
        return results[-1]

    monkeypatch.setattr(inputs, "augment", recording)
    plan = specification("binary", steps=1, validations=1, augmentation=AUGMENTED)
    for seed in (0, 0, 1):
        train(replace(plan, seed=seed), parts, {}, CPU)
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=0.01)


def test_batch_order_and_augmentation_do_not_depend_on_the_network(monkeypatch):
    plan = specification("binary", augmentation=AUGMENTED)
    wider = replace(plan, model=ModelSettings("cbr", {"channels": [5, 7, 9], "kernel_size": 3}))
    first, second = (recorded_batches(monkeypatch, p, {}) for p in (plan, wider))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_runs_that_differ_in_their_start_share_the_head_and_nothing_else():
    plan, images = specification("binary"), problem("binary", channels=3)
    source = build_network(MODEL, 3, 5, SIDE, seed=77).state_dict()
    random, transfer, stats = (
        starting_network(replace(plan, init=init), images, source).state_dict()
        for init in ("random", "src", "src-stats")
    )
    stem = "layers.0.conv.weight"
    assert torch.equal(transfer[stem], source[stem])
    assert not torch.equal(stats[stem], source[stem])
    assert not torch.equal(random[stem], source[stem])
    assert torch.equal(random["head.weight"], transfer["head.weight"])
    assert torch.equal(random["head.weight"], stats["head.weight"])
    other = starting_network(replace(plan, init="src-stats", seed=1), images, source).state_dict()
    assert not torch.equal(other[stem], stats[stem])


def test_a_start_from_a_source_needs_its_weights():
    with pytest.raises(DataError, match="missing: layers"):
        train(specification("binary", init="src"), parts_of("binary", channels=3), {}, CPU)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_weights_kept_are_those_of_the_best_validation(task, monkeypatch):
    seen: list[np.ndarray] = []
    plan = specification(task, steps=20, validations=10, learning_rate=0.02)
    parts = parts_of(task, count=30)
    original = prediction.predict

    def recording(network, pixels, wanted):
        logits = original(network, pixels, wanted)
        seen.append(logits)
        return logits

    monkeypatch.setattr(stages, "predict", recording)
    monkeypatch.setattr(training, "predict", recording)
    outcome = train(plan, parts, {}, CPU)
    values = [entry["validation_metric"] for entry in outcome.history]
    best = int(np.argmax(values))  # the first of equals
    assert outcome.best_step == outcome.history[best]["step"]
    assert outcome.best_value == max(values)
    assert best > 0  # something was learned, so the test tells steps apart
    assert np.array_equal(outcome.logits["validation"], seen[best])
    network = build_network(MODEL, 1, len(plan.outputs), SIDE, seed=12345)
    network.load_state_dict(outcome.weights)
    again = original(network.to(memory_format=torch.channels_last), parts["validation"].pixels, plan)
    np.testing.assert_allclose(again, seen[best], rtol=0, atol=1e-5)


def test_the_history_starts_at_step_0_and_spreads_the_validations_to_the_last_step():
    plan = specification("binary", steps=10, validations=4, batch_size=8)
    history = train(plan, parts_of("binary", count=40), {}, CPU).history
    assert [entry["step"] for entry in history] == [0, 2, 5, 8, 10]
    assert [entry["epoch"] for entry in history] == pytest.approx([0, 0.4, 1.0, 1.6, 2.0])
    assert math.isnan(history[0]["training_loss"])
    assert all(math.isfinite(entry["training_loss"]) for entry in history[1:])


def test_more_validations_than_steps_score_every_step_once():
    history = train(specification(steps=3, validations=10), parts_of("binary"), {}, CPU).history
    assert [entry["step"] for entry in history] == [0, 1, 2, 3]


def test_validation_loss_and_metric_are_those_of_scikit_learn():
    parts = parts_of("binary")
    outcome = train(specification("binary"), parts, {}, CPU)
    best = next(e for e in outcome.history if e["step"] == outcome.best_step)
    labels, logits = parts["validation"].labels.numpy(), outcome.logits["validation"][:, 0]
    assert best["validation_metric"] == pytest.approx(roc_auc_score(labels, logits))
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert best["validation_loss"] == pytest.approx(log_loss(labels, probabilities))


def test_the_training_loss_is_the_mean_since_the_row_before(monkeypatch):
    losses: list[float] = []
    original = stages.loss_of

    def recording(*arguments):
        loss = original(*arguments)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(stages, "loss_of", recording)
    history = train(specification(steps=6, validations=2), parts_of("binary"), {}, CPU).history
    assert len(losses) == 6
    assert history[1]["training_loss"] == pytest.approx(np.mean(losses[:3]))
    assert history[2]["training_loss"] == pytest.approx(np.mean(losses[3:]))


def test_a_loss_that_is_not_finite_ends_the_run_and_names_its_first_step(monkeypatch):
    original, calls = stages.loss_of, []

    def failing(*arguments):
        calls.append(1)
        return original(*arguments) * (math.nan if len(calls) >= 4 else 1.0)

    monkeypatch.setattr(stages, "loss_of", failing)
    plan = specification(steps=6, validations=2)
    with pytest.raises(TrainingError, match=r"not finite from step 4 on.*gradient_clip"):
        train(plan, parts_of("binary"), {}, CPU)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_an_absurd_learning_rate_ends_the_run():
    plan = specification(steps=30, learning_rate=1e30, optimizer="sgd", validations=30)
    with pytest.raises(TrainingError, match=r"not finite from step \d+ on"):
        train(plan, parts_of("binary"), {}, CPU)


def test_derived_seeds_differ_by_seed_and_by_purpose_and_are_stable():
    purposes = ("weights", "stats", "order", "augmentation", "dropout")
    seeds = [derived_seed(seed, purpose) for seed in range(200) for purpose in purposes]
    assert len(set(seeds)) == len(seeds)
    assert derived_seed(3, "order") == derived_seed(3, "order")
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = [torch.rand(50, generator=torch.Generator().manual_seed(s)) for s in seeds[:5]]
    correlations = torch.corrcoef(torch.stack(draws)) - torch.eye(5)
    assert correlations.abs().max() < 0.6


def test_predictions_do_not_depend_on_the_evaluation_batch(monkeypatch):
    plan = specification("multiclass")
    network = starting_network(plan, problem("multiclass"), {})
    pixels = problem("multiclass", count=20).pixels
    whole = predict(network, pixels, plan)
    monkeypatch.setattr(prediction, "EVALUATION_BATCH", 7)
    np.testing.assert_allclose(predict(network, pixels, plan), whole, rtol=0, atol=1e-5)
    assert whole.shape == (20, 3)


def test_predicting_changes_no_weight_and_no_running_statistic():
    plan = specification("binary")
    network = starting_network(plan, problem("binary"), {}).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits = predict(network, problem("binary").pixels, plan)
    assert np.ptp(logits) > 0
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_forward_pass_on_the_cpu_is_float32_unless_the_recipe_says_bfloat16(precision, expected):
    with prediction.autocast(precision, CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == expected


def store_of(tmp_path: Path, task: str) -> Store:
    """A read-only pixel store with its tables; the parts are mixed over its rows."""
    whole = problem(task, count=60)
    np.save(tmp_path / "images.npy", whole.pixels.numpy())
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    labels = whole.labels.numpy()
    samples = pd.DataFrame(
        {
            "image_id": [f"image{i}" for i in range(60)],
            "patient": [f"patient{i // 2}" for i in range(60)],
        }
    )
    if task == "multilabel":
        samples = samples.assign(**{f"label_{name}": labels[:, k] for k, name in enumerate(NAMES)})
    else:
        samples["label"] = labels
    cycle = ["train", "external", "train", "test", "validation", "train"]
    split = pd.DataFrame({"image_id": samples["image_id"], "part": cycle * 10})
    train_rows = split["part"] == "train"
    split["training_rank"] = np.where(train_rows, train_rows.cumsum(), 0)
    return Store(images, samples, split)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_predictions_hold_the_rows_of_the_store_with_their_own_logits(tmp_path, task):
    store = store_of(tmp_path, task)
    assert not store.images.flags.writeable
    plan = specification(task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # among them torch's, of arrays that can't be written
        result = train_run(plan, store, "full", {}, "cpu")
    table = result.predictions
    PREDICTIONS.check(table)
    assert table["part"].value_counts().to_dict() == {"external": 10, "test": 10, "validation": 10}
    network = build_network(MODEL, 1, len(plan.outputs), SIDE, seed=0)
    network.load_state_dict(result.weights)
    network = network.to(memory_format=torch.channels_last)
    expected = predict(network, torch.from_numpy(np.array(store.images)), plan)
    for _, row in table.iterrows():
        place = int(row["image_id"].removeprefix("image"))
        assert row["patient"] == store.samples["patient"][place]
        assert row["part"] == store.split["part"][place]
        labels = [c for c in store.samples if c.startswith("label")]
        pd.testing.assert_series_equal(
            row[labels].astype(float), store.samples.loc[place, labels].astype(float), check_names=False
        )
        logits = row[[f"logit_{name}" for name in plan.outputs]].to_numpy(dtype=float)
        np.testing.assert_allclose(logits, expected[place], rtol=0, atol=1e-5)


def test_predictions_keep_the_order_of_the_store_within_each_part(tmp_path):
    store = store_of(tmp_path, "binary")
    table = train_run(specification(), store, "full", {}, "cpu").predictions
    for _, part in table.groupby("part"):
        places = part["image_id"].str.removeprefix("image").astype(int)
        assert places.is_monotonic_increasing


def test_a_subset_trains_on_its_images_only(tmp_path, monkeypatch):
    store = store_of(tmp_path, "binary")
    seen: dict[str, Part] = {}
    original = training.train

    def recording(plan, parts, source, device, oversight):
        seen.update(parts)
        return original(plan, parts, source, device, oversight)

    monkeypatch.setattr("medtransfer.training.job.train", recording)
    result = train_run(specification(), store, "n10", {}, "cpu")
    first = np.flatnonzero(store.split["part"] == "train")[:10]
    assert np.array_equal(seen["train"].pixels.numpy(), store.images[first])
    assert seen["train"].labels.tolist() == store.samples["label"][first].tolist()
    assert result.facts["training_images"] == 10


def test_a_redrawn_subset_is_that_of_the_runs_seed(tmp_path, monkeypatch):
    store = store_of(tmp_path, "binary")
    store = replace(store, split=store.split.assign(stratum="a"))
    seen: list[np.ndarray] = []

    def recording(_plan, parts, *_others):
        seen.append(parts["train"].pixels.numpy())
        raise InterruptedError

    monkeypatch.setattr("medtransfer.training.job.train", recording)
    for seed in (3, 4):
        with pytest.raises(InterruptedError):
            train_run(specification(seed=seed), store, "n10-redrawn", {}, "cpu")
        expected = store.images[training_subset(store.split, "n10-redrawn", seed)]
        assert np.array_equal(seen[-1], expected)
    assert not np.array_equal(*seen)


def test_the_record_of_a_run_is_json_that_says_what_was_asked_and_what_came_out(tmp_path):
    store = store_of(tmp_path, "binary")
    plan = specification(steps=4, learning_rate=0.02, seed=5)
    result = train_run(plan, store, "full", {}, "cpu")
    facts = json.loads(json.dumps(result.facts))
    assert facts["task"] == "binary"
    assert facts["seed"] == 5
    assert facts["recipe"]["learning_rate"] == 0.02
    assert facts["model"]["arguments"]["channels"] == [8, 16]
    assert facts["images"] == {"train": 30, "validation": 10, "test": 10, "external": 10}
    assert facts["best_step"] in result.history["step"].tolist()
    assert facts["best_validation_metric"] == result.history["validation_metric"].max()
    expected = sum(p.numel() for p in build_network(MODEL, 1, 1, SIDE, 0).parameters())
    assert facts["parameters"] == expected
    assert facts["versions"]["torch"].startswith(torch.__version__.split("+")[0])


def test_the_history_table_has_its_declared_columns(tmp_path):
    store = store_of(tmp_path, "binary")
    history = train_run(specification(), store, "full", {}, "cpu").history
    HISTORY.check(history)
    assert history["step"].tolist() == [0, 2, 4, 6]
    assert history["epoch"].tolist() == pytest.approx([0, 16 / 30, 32 / 30, 48 / 30])


def test_a_store_without_external_images_has_no_external_predictions(tmp_path):
    store = store_of(tmp_path, "binary")
    store.split["part"] = store.split["part"].replace("external", "test")
    table = train_run(specification(), store, "full", {}, "cpu").predictions
    assert table["part"].value_counts().to_dict() == {"test": 20, "validation": 10}


def test_labels_follow_the_order_of_the_outputs_not_that_of_the_columns():
    samples = pd.DataFrame({"label_b": [1.0, np.nan], "label_a": [0.0, 1.0]})
    labels = label_array(samples, ("a", "b"), "multilabel")
    np.testing.assert_array_equal(labels, [[0.0, 1.0], [1.0, np.nan]])


def test_parts_are_copies_of_the_stores_rows(tmp_path):
    store = store_of(tmp_path, "binary")
    rows = {"train": np.array([5, 2]), "test": np.array([7])}
    parts = cut_parts(store.images, store.samples["label"].to_numpy(), rows)
    assert np.array_equal(parts["train"].pixels.numpy(), store.images[[5, 2]])
    assert parts["test"].labels.tolist() == [store.samples["label"][7]]
    parts["test"].pixels.zero_()
    assert store.images[7].any()
