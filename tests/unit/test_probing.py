"""A finished run's network at both moments, and what is taken out of it, against the run itself."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import IMAGES, VIT, brief, carried_out, source_weights, store_of
from torch import nn
from training_runs import CPU, MODEL, specification

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import parse_init
from medtransfer.config.recipe import CaseSettings, HeadStageSettings
from medtransfer.data.splits import training_subset
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.results import run_metrics
from medtransfer.models.units import network_units
from medtransfer.representation import probing
from medtransfer.representation.activations import read_activations
from medtransfer.representation.batch_norm import calibrate
from medtransfer.representation.extraction import Request, extract
from medtransfer.representation.filters import FILTER_WEIGHTS, FILTERS
from medtransfer.representation.probing import (
    FinishedRun,
    finished_specification,
    in_float32,
    probed,
    reinitialised,
)
from medtransfer.representation.reinitialisation import REINITIALISATION, fresh_state
from medtransfer.representation.weight_distance import WEIGHT_DISTANCE
from medtransfer.training import arithmetic
from medtransfer.training.arithmetic import Arithmetic
from medtransfer.training.inputs import evaluation_images, normalised
from medtransfer.training.job import RunResult, run_facts
from medtransfer.training.prediction import predict
from medtransfer.training.run import resolved, starting_network, train
from medtransfer.training.specification import Outcome, Part, Specification

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
REQUEST = Request(probe=20, gram_block=8, row_count=150)
CUT = dataclasses.replace(MODEL, first_units=1)
SLIM = ModelSettings("cbr", {"channels": [8, 16, 24], "kernel_size": 3})
RUNS = {
    "random": brief(),
    "gabor": brief(init="gabor"),
    "stats": brief(init="s-stats"),
    "partial": brief(init="s-upto1-random"),
    "whole": brief(init="s"),
    "slim": brief(model=SLIM, init="s-upto1-slim"),
    "cut": brief(model=CUT, init="s"),
    "vit": brief(model=VIT, init="s"),
    "vit_resized": brief(model=VIT, resize=16),
    "zero_head": brief(zero_head=True),
    "resized": brief(resize=16, crop=14, normalisation="training_images"),
    "head_first": brief(head_first=HeadStageSettings(0.05, steps=3, validations=1), dropout=0.3),
    "contiguous": brief(arithmetic=Arithmetic(memory_format="contiguous")),
    "bfloat16": brief(model=VIT, arithmetic=Arithmetic("bfloat16", attention="plain")),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs by name, each carried out when it is asked for first."""
    done = {}

    def find(name: str):
        if name not in done:
            done[name] = carried_out(tmp_path_factory.mktemp(name), RUNS[name], store_of())
        return done[name]

    return find


def statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t for name, t in network.state_dict().items() if "running_" in name}


# the two moments


def start_of_training(run: FinishedRun, plan: Specification) -> nn.Module:
    """The network with which training of this plan begins, caught there."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:

        def stop(network, *_):
            caught.append(network)
            raise InterruptedError

        patch.setattr("medtransfer.training.run.fit", stop)
        rows = {"train": training_subset(run.store.split, run.subset)}
        part = Part(
            torch.from_numpy(run.store.images[rows["train"]]),
            torch.from_numpy(run.store.samples["label"].to_numpy()[rows["train"]]),
        )
        with pytest.raises(InterruptedError):
            train(plan, {"train": part}, run.source, CPU)
    return caught[0]


@pytest.mark.parametrize("name", RUNS)
def test_the_start_has_the_parameters_with_which_training_began(finished, name):
    run, _ = finished(name)
    began = start_of_training(run, RUNS[name])
    found = dict(run.start.named_parameters())
    assert run.start.state_dict().keys() == began.state_dict().keys()
    assert found.keys() == dict(began.named_parameters()).keys()
    for key, tensor in began.named_parameters():
        assert torch.equal(found[key], tensor), key
        assert found[key].stride() == tensor.stride(), key
    assert not any(module.training for module in run.start.modules())


def means_of_inputs(run: FinishedRun) -> torch.Tensor:
    """Of what comes into the start's first batch norm, over all training images."""
    rows = training_subset(run.store.split, run.subset)
    pixels = torch.from_numpy(run.store.images[rows])
    images = normalised(evaluation_images(pixels, run.specification.recipe), run.specification)
    with torch.no_grad():
        return run.start.layers[0].conv(images).mean(dim=(0, 2, 3))


@pytest.mark.parametrize("name", ["random", "gabor", "stats", "slim", "resized"])
def test_batch_norms_without_statistics_have_those_of_training_images(finished, name):
    run, _ = finished(name)
    found = run.start.layers[0].norm.running_mean
    if name == "slim":  # its first unit is the source's
        assert torch.equal(found, run.source["layers.0.norm.running_mean"])
    else:
        torch.testing.assert_close(found, means_of_inputs(run), rtol=1e-4, atol=1e-5)
    for layer in list(run.start.layers)[1:]:
        assert layer.norm.running_mean.abs().max() > 1e-3
        assert (layer.norm.running_var - 1).abs().max() > 1e-3


def test_a_whole_source_keeps_its_own_statistics(finished):
    run, _ = finished("whole")
    found = statistics(run.start)
    assert len(found) == 4
    assert all(torch.equal(tensor, run.source[name]) for name, tensor in found.items())


def test_of_a_partial_start_only_the_redrawn_layers_are_calibrated(finished):
    run, _ = finished("partial")
    found = statistics(run.start)
    for name in ("running_mean", "running_var"):
        assert torch.equal(found[f"layers.0.norm.{name}"], run.source[f"layers.0.norm.{name}"])
        drawn = torch.zeros(16) if name.endswith("mean") else torch.ones(16)
        assert not torch.allclose(found[f"layers.1.norm.{name}"], drawn, atol=1e-3)


def test_calibration_sees_images_of_the_subset_only(finished):
    run, _ = finished("random")
    small = dataclasses.replace(run, subset="n12")
    torch.testing.assert_close(
        small.start.layers[0].norm.running_mean, means_of_inputs(small), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(means_of_inputs(small), means_of_inputs(run), atol=1e-3)


@pytest.mark.parametrize("micro", [1, 2, 3, 5])
@pytest.mark.parametrize("images", ["n2", "n7", "full"])
def test_small_pieces_leave_no_image_alone(finished, micro, images):
    run, _ = finished("random")
    recipe = dataclasses.replace(run.specification.recipe, micro_batch_size=micro)
    plan = dataclasses.replace(run.specification, recipe=recipe)
    small = dataclasses.replace(run, specification=plan, subset=images)
    sizes = [len(batch) for batch in small.calibration_batches()]
    assert min(sizes) >= 2 and max(sizes) <= max(3, micro)
    assert sum(sizes) == len(training_subset(run.store.split, images))
    torch.testing.assert_close(
        small.start.layers[0].norm.running_mean, means_of_inputs(small), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", RUNS)
def test_the_end_gives_the_stored_predictions(finished, name):
    run, result = finished(name)
    rows = np.flatnonzero(run.store.split["part"] == "test")
    found = predict(run.end, torch.from_numpy(run.store.images[rows]), run.specification)
    stored = result.predictions.query("part == 'test'")
    assert list(stored["image_id"]) == list(run.store.samples["image_id"].iloc[rows])
    np.testing.assert_array_equal(found[:, 0], stored["logit_positive"].to_numpy())
    assert found.std() > 0
    before = predict(run.start, torch.from_numpy(run.store.images[rows]), run.specification)
    assert np.abs(found - before).max() > 1e-3


@pytest.mark.parametrize("name", RUNS)
def test_the_end_has_the_stored_weights_and_leaves_the_start_alone(finished, name):
    run, result = finished(name)
    before = {key: tensor.clone() for key, tensor in run.start.state_dict().items()}
    for key, tensor in run.end.state_dict().items():
        assert torch.equal(tensor, result.weights[key]), key
    assert all(torch.equal(before[key], tensor) for key, tensor in run.start.state_dict().items())
    assert any(not torch.equal(before[key], tensor) for key, tensor in run.end.state_dict().items())


# which images


def test_test_images_are_the_same_for_all_runs_of_a_split(finished):
    orders = [
        dataclasses.replace(finished(name)[0], subset=subset).test_rows()
        for name, subset in (("random", "full"), ("vit", "n12"), ("whole", "full"))
    ]
    for order in orders:
        np.testing.assert_array_equal(order, orders[0])
    test = np.flatnonzero(store_of().split["part"] == "test")
    np.testing.assert_array_equal(np.sort(orders[0]), test)
    assert not np.array_equal(orders[0], test)
    other = dataclasses.replace(finished("random")[0], store=store_of(split_seed=1))
    assert set(other.test_rows()) != set(orders[0])


def test_fewer_training_images_are_the_first_of_more(finished):
    run, _ = finished("random")
    for subset in ("full", "n20"):
        chosen = dataclasses.replace(run, subset=subset)
        rows = training_subset(run.store.split, subset)
        whole = chosen.training_rows(1000)
        np.testing.assert_array_equal(np.sort(whole), rows)
        assert not np.array_equal(whole, rows)
        for most in (1, 7, len(rows)):
            np.testing.assert_array_equal(chosen.training_rows(most), whole[:most])
    assert len(chosen.training_rows(1000)) == 20


def test_training_images_of_a_redrawn_subset_are_those_of_the_runs_seed(finished):
    run, _ = finished("random")
    store = dataclasses.replace(run.store, split=run.store.split.assign(stratum="a"))
    chosen = []
    for seed in (3, 4):
        plan = dataclasses.replace(run.specification, seed=seed)
        other = dataclasses.replace(run, store=store, subset="n20-redrawn", specification=plan)
        chosen.append(np.sort(other.training_rows(1000)))
        expected = training_subset(store.split, "n20-redrawn", seed)
        np.testing.assert_array_equal(chosen[-1], expected)
    assert not np.array_equal(*chosen)


def test_pixels_labels_and_ids_are_of_the_same_rows(finished):
    run, _ = finished("random")
    rows = run.test_rows()[:9]
    part = run.part(rows)
    images = run.images(rows, part)
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(part.pixels[place].numpy(), run.store.images[row])
        assert part.labels[place] == run.store.samples["label"].iloc[row]
        assert images.ids[place] == run.store.samples["image_id"].iloc[row]


def test_images_that_do_not_fit_into_memory_are_read_when_they_are_needed(finished, monkeypatch):
    run, _ = finished("random")
    whole = probed(run, REQUEST, 10)
    monkeypatch.setattr(probing, "room_for_images", lambda _: 0)
    mapped = dataclasses.replace(run)
    assert not isinstance(mapped.part(run.test_rows()).pixels, torch.Tensor)
    found = probed(mapped, REQUEST, 10)
    for name, array in whole.end.arrays.items():
        np.testing.assert_array_equal(found.end.arrays[name], array)
    pd.testing.assert_frame_equal(reinitialised(mapped), reinitialised(run))


# records


RECORDED = {
    "plain": specification(),
    "vit": specification(
        "multilabel", model=VIT, init="s-upto2-random", seed=3, arithmetic=Arithmetic("bfloat16")
    ),
    "recipe": specification(
        "ordinal", label_smoothing=0.1, micro_batch_size=4, warmup_steps=1, decay_at=(0.5,),
        schedule="steps", head_first=HeadStageSettings(0.01, steps=2, validations=1),
        cases=(CaseSettings(images_from=40, mixup=0.5),), mean=(0.1, 0.2, 0.3),
    ),
    "cut": specification(model=CUT),
}  # fmt: skip


def record_of(plan: Specification) -> dict:
    """What a run with this plan leaves in run.json."""
    return json.loads(json.dumps(run_facts(Outcome(plan), {"train": 48}, "cpu")))


@pytest.mark.parametrize("name", RECORDED)
def test_a_specification_comes_back_from_its_record(name):
    plan = RECORDED[name]
    training = Part(torch.zeros(48, 12, 12, 3, dtype=torch.uint8), torch.zeros(48))
    plan = resolved(plan, training)
    plan = dataclasses.replace(plan, arithmetic=plan.arithmetic_on(CPU))
    assert finished_specification(record_of(plan), "run.json") == plan


def test_a_compiled_and_checkpointed_run_is_computed_plainly_in_its_own_precision():
    asked = Arithmetic("bfloat16", "contiguous", True, "plain", True)
    plan = specification(arithmetic=asked)
    record = record_of(plan)
    found = finished_specification(record, "run.json").arithmetic
    assert found == Arithmetic("bfloat16", "contiguous", False, "plain", False)


def test_a_network_of_a_compiled_record_is_not_compiled(finished, monkeypatch):
    run, _ = finished("random")

    def refused(*_):
        raise AssertionError

    monkeypatch.setattr(nn.Module, "compile", refused)
    monkeypatch.setattr(arithmetic, "recompute_activations", refused)
    asked = dataclasses.replace(run.specification, arithmetic=Arithmetic(compiled=True))
    with pytest.raises(AssertionError):
        _ = dataclasses.replace(run, specification=asked).start
    record = record_of(asked)
    plan = finished_specification(record, "run.json")
    assert dataclasses.replace(run, specification=plan).start


def test_a_record_of_another_version_is_an_error_that_names_it(finished):
    run, _ = finished("random")
    record = record_of(run.specification)
    record["recipe"]["speed"] = 3
    with pytest.raises(ConfigError, match=r"some/run\.json.*speed"):
        finished_specification(record, "some/run.json")


# probing


@pytest.mark.parametrize("name", RUNS)
def test_probing_takes_both_moments_in_float32(finished, name):
    run, _ = finished(name)
    found = probed(run, REQUEST, 10)
    exact = in_float32(run)
    parts = {
        part: exact.images(rows, exact.part(rows))
        for part, rows in (("test", run.test_rows()), ("train", run.training_rows(10)))
    }
    for moment in ("start", "end"):
        expected = extract(getattr(exact, moment), parts, REQUEST)
        result = getattr(found, moment)
        assert result.facts == expected.facts
        assert len(result.facts.images["test"]) == 32 and len(result.facts.images["train"]) == 10
        assert result.facts.probe == 20
        assert result.arrays.keys() == expected.arrays.keys()
        for key, array in expected.arrays.items():
            np.testing.assert_array_equal(result.arrays[key], array)
    pooled = found.end.pooled("test", "head")
    rows = run.test_rows()
    logits = predict(exact.end, run.part(rows).pixels, exact.specification)
    np.testing.assert_allclose(pooled, logits, rtol=1e-4, atol=1e-5)
    assert list(found.end.facts.images["test"]) == list(run.store.samples["image_id"].iloc[rows])
    for table, schema in (
        (found.distances, WEIGHT_DISTANCE), (found.filters, FILTERS),
        (found.filter_weights, FILTER_WEIGHTS),
    ):  # fmt: skip
        schema.check(table)
        assert len(table)


def test_a_run_in_bfloat16_is_probed_in_float32(finished):
    run, _ = finished("bfloat16")
    assert run.specification.arithmetic.precision == "bfloat16"
    found = probed(run, REQUEST, 10).end.pooled("test", "head")
    pixels = run.part(run.test_rows()).pixels
    rounded = predict(run.end, pixels, run.specification)
    assert np.abs(found - rounded).max() > 1e-4
    assert np.abs(found - rounded).max() < 0.1
    assert not any(module.fused_attn for module in arithmetic.attentions(in_float32(run).end))


@pytest.mark.parametrize("name", ["random", "whole", "slim", "vit"])
def test_distances_and_filters_are_those_of_the_stored_weights(finished, name):
    run, result = finished(name)
    found = probed(run, REQUEST, 10)
    units = network_units(run.end)
    table = found.distances.set_index(["unit", "measure"])["value"]
    assert set(found.distances["measure"]) == {"per_weight", "l2", "relative", "per_weight_as_released"}
    began = start_of_training(run, RUNS[name]).state_dict()
    head = [n for n in began if units[-1].holds(n) and "norm" not in n]
    squares = sum(float((began[n].double() - result.weights[n].double()).square().sum()) for n in head)
    assert table["head", "l2"] == pytest.approx(np.sqrt(squares), rel=1e-9)
    lengths = sum(float(began[n].double().square().sum()) for n in head)
    assert table["head", "relative"] == pytest.approx(np.sqrt(squares / lengths), rel=1e-9)
    assert (found.distances["value"] > 0).all()
    kernel = "patch_embed.proj.weight" if name == "vit" else "layers.0.conv.weight"
    shown = found.filter_weights.query("filter == 3 and channel == 0 and row == 1 and column == 2")
    expected = [float(state[kernel][3, 0, 1, 2]) for state in (began, result.weights)]
    assert list(shown["moment"]) == ["start", "end"]
    assert list(shown["value"]) == pytest.approx(expected, rel=1e-6)
    assert len(found.filters) == len(began[kernel])


def test_a_run_that_was_not_trained_has_not_moved(finished):
    run, _ = finished("random")
    still = dataclasses.replace(run, weights=run.start.state_dict())
    found = probed(still, REQUEST, 10)
    assert (found.distances["value"] == 0).all()
    assert (found.filters["relative_change"] == 0).all()
    for key, array in found.start.arrays.items():
        np.testing.assert_array_equal(found.end.arrays[key], array)
    assert (reinitialised(still).query("kind == 'start'")["drop"] == 0).all()


def test_weights_of_another_network_are_refused(finished):
    run, _ = finished("random")
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        _ = dataclasses.replace(run, weights=finished("vit")[0].weights).end
    with pytest.raises(DataError):
        _ = dataclasses.replace(finished("whole")[0], source=source_weights(RUNS["vit"])).start


# re-initialisation


def auroc_of(result: RunResult) -> float:
    dataset = DatasetSettings("binary", "label", 12, manifest="m.csv", classes=("negative", "positive"))
    table = run_metrics(result.predictions, dataset, result.facts)
    return table.query("part == 'test' and metric == 'auroc'")["value"].item()


@pytest.mark.parametrize("name", RUNS)
def test_value_and_drop_add_up_to_the_metric_of_the_intact_network(finished, name):
    run, result = finished(name)
    table = reinitialised(run)
    REINITIALISATION.check(table)
    names = [unit.name for unit in network_units(run.end)]
    assert list(table["unit"]) == names * 2
    assert list(table["kind"]) == ["start"] * len(names) + ["fresh"] * len(names)
    assert set(table["metric"]) == {"auroc"}
    total = table["value"] + table["drop"]
    assert total.to_numpy() == pytest.approx(np.full(len(table), auroc_of(result)), abs=1e-12)


@pytest.mark.parametrize("name", RUNS)
def test_a_units_row_is_the_metric_of_a_network_with_its_tensors_swapped(finished, name):
    run, result = finished(name)
    table = reinitialised(run).set_index(["kind", "unit"])["value"]
    plan = run.specification
    began = start_of_training(run, RUNS[name])
    fresh_network = start_of_training(run, RUNS[name])
    side, channels = plan.recipe.input_side(12), 1
    fresh_network.load_state_dict(
        fresh_state(
            plan.model, parse_init(plan.init), channels=channels, outputs=1, image_size=side,
            seed=plan.seed,
        )
    )  # fmt: skip
    training = torch.from_numpy(run.store.images[run.training_rows(1000)])
    batches = [normalised(evaluation_images(training, plan.recipe), plan)]
    replacements = {"fresh": calibrate(fresh_network, batches).state_dict()}
    replacements["start"] = run.start.state_dict()
    test = np.flatnonzero(run.store.split["part"] == "test")
    for kind, replacement in replacements.items():
        for unit in network_units(began):
            mixed = {
                key: replacement[key] if unit.holds(key) else tensor
                for key, tensor in result.weights.items()
            }
            began.load_state_dict(mixed)
            logits = predict(began, torch.from_numpy(run.store.images[test]), plan)
            mixed_result = dataclasses.replace(result, predictions=predictions(run, test, logits))
            expected = auroc_of(mixed_result)
            assert table[kind, unit.name] == pytest.approx(expected, abs=1e-9), (kind, unit.name)


def predictions(run: FinishedRun, rows: np.ndarray, logits: np.ndarray) -> pd.DataFrame:
    samples = run.store.samples.iloc[rows]
    return pd.DataFrame(
        {
            "image_id": samples["image_id"], "patient": samples["patient"], "part": "test",
            "logit_positive": logits[:, 0], "label": samples["label"],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "metric"),
    [("multiclass", "balanced_accuracy"), ("ordinal", "quadratic_kappa"), ("multilabel", "auroc")],
)
def test_the_metric_is_the_data_sets_target_in_each_task(tmp_path, task, metric):
    run, result = carried_out(tmp_path, brief(task), store_of(task))
    table = reinitialised(run)
    assert set(table["metric"]) == {metric}
    labels = "label" if task != "multilabel" else ("a", "b", "c")
    classes = () if task == "multilabel" else ("a", "b", "c")
    dataset = DatasetSettings(task, labels, 12, manifest="m.csv", classes=classes)
    found = run_metrics(result.predictions, dataset, result.facts)
    intact = found.query("part == 'test' and metric == @metric")["value"].item()
    assert (table["value"] + table["drop"]).to_numpy() == pytest.approx(np.full(len(table), intact))
    assert table["drop"].abs().max() > 0


def test_a_fresh_draw_is_no_start(finished):
    table = reinitialised(finished("random")[0])
    start, fresh = (table.query("kind == @kind")["value"].to_numpy() for kind in ("start", "fresh"))
    assert not np.array_equal(start, fresh)


def test_starting_networks_do_not_depend_on_the_pixels(finished):
    run, _ = finished("random")
    part = Part(torch.zeros(2, 12, 12, 1, dtype=torch.uint8), torch.zeros(2))
    drawn = starting_network(run.specification, part, {})
    assert torch.equal(drawn.layers[0].conv.weight, run.start.layers[0].conv.weight)
    assert len(run.store.samples) == IMAGES


# scripts


def test_the_scripts_write_what_the_library_gives(tmp_path):
    store = store_of()
    run, _ = carried_out(tmp_path, RUNS["stats"], store, "n30")
    np.save(tmp_path / "images.npy", store.images)
    store.samples.to_parquet(tmp_path / "samples.parquet")
    store.split.to_parquet(tmp_path / "split.parquet")
    common = [
        "--images", "images.npy", "--samples", "samples.parquet", "--split", "split.parquet",
        "--subset", "n30", "--record", "run.json", "--weights", "source.safetensors",
        "--device", "cpu",
    ]  # fmt: skip
    tables = {"distances": "weight-distance", "filters": "filters", "filter_weights": "filter-weights"}
    outputs = [f"--{name}={name}" for name in ("start", "end", *tables.values())]
    for script, arguments in (
        ("extract.py", ["--probe", "n20-b8-t10", *outputs]), ("reinitialise.py", ["--output", "r"]),
    ):  # fmt: skip
        command = [sys.executable, str(SCRIPTS / script), *common, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parents[1] / "src")}
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    expected = probed(run, Request(probe=20, gram_block=8), 10)
    for moment in ("start", "end"):
        found, whole = read_activations(tmp_path / moment), getattr(expected, moment)
        assert found.facts == whole.facts
        for name, array in whole.arrays.items():
            np.testing.assert_allclose(found.arrays[name], array, rtol=1e-4, atol=1e-4)
    for attribute, name in tables.items():
        table = pd.read_parquet(tmp_path / name)
        pd.testing.assert_frame_equal(table, getattr(expected, attribute), check_dtype=False)
    table = pd.read_parquet(tmp_path / "r")
    pd.testing.assert_frame_equal(table, reinitialised(run), check_dtype=False, atol=1e-6)
