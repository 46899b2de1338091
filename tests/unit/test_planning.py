"""What studies cost: work by hand, networks by published counts, rates by a law that is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_runs import CPU, parts_of, specification

from medtransfer.config.access import CardSettings
from medtransfer.config.dataset import DatasetSettings, GeneratorSettings
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.config.recipe import (
    CaseSettings,
    HeadStageSettings,
    RecipeSettings,
    SearchSettings,
)
from medtransfer.config.runs import Run, all_runs
from medtransfer.config.search import candidate_recipes
from medtransfer.config.source import PretrainingSettings, SourceSettings
from medtransfer.config.study import Config, GridSettings, HardwareSettings, StudySettings
from medtransfer.config.typed import plain
from medtransfer.data.splits import training_subset
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.planning.dry_run import DryRunCost, WantedJobs, dry_run_cost
from medtransfer.planning.finished import Finished, read_finished
from medtransfer.planning.images import DatasetImages, expected_parts, stated_images, store_bytes
from medtransfer.planning.jobs import Jobs
from medtransfer.planning.networks import network_cost
from medtransfer.planning.plan import Plan, Present, make_plan
from medtransfer.planning.processors import Processor, chosen_processor, recorded_processor
from medtransfer.planning.rates import Job, Measurement, Rates, modelled_seconds
from medtransfer.planning.report import dry_run_as_text, plan_as_data, plan_as_text
from medtransfer.planning.sentences import jobs_in_words
from medtransfer.planning.work import PartSizes, Work, run_work
from medtransfer.training.run import train

PARTS = PartSizes(train=20, validation=5, test=7, external=3)
CBR = ModelSettings("cbr", {"channels": [4, 8], "kernel_size": 3})
CORE = Processor("Some CPU, 2 cores", False, 1.0)


# work


def test_the_work_of_a_run_by_hand():
    recipe = RecipeSettings(steps=10, batch_size=4, validations=2)
    # 10 batches of 4 three times; validation before, at 5 and at 10; all parts but training at the end
    assert run_work(recipe, PARTS) == Work(10, 10 * 4 * 3 + 3 * 5 + 15, at_most=False)
    epochs = RecipeSettings(epochs=3.0, batch_size=4, validations=1)
    assert run_work(epochs, PARTS) == Work(15, 15 * 4 * 3 + 2 * 5 + 15, at_most=False)
    larger = RecipeSettings(steps=2, batch_size=64, validations=1)
    assert run_work(larger, PARTS).passes == 2 * 20 * 3 + 2 * 5 + 15


def test_a_frozen_body_is_passed_forwards_only():
    probe = RecipeSettings(steps=10, batch_size=4, validations=2, train="head")
    assert run_work(probe, PARTS).passes == 10 * 4 + 3 * 5 + 15
    head = HeadStageSettings(learning_rate=0.1, steps=6, validations=3)
    both = RecipeSettings(steps=10, batch_size=4, validations=2, head_first=head)
    assert run_work(both, PARTS) == Work(16, 6 * 4 + 10 * 4 * 3 + (4 + 3) * 5 + 15, at_most=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"patience": 2},
        {"stop_below": 1e-6},
        {"head_first": HeadStageSettings(learning_rate=0.1, steps=6, patience=1)},
    ],
)
def test_a_run_that_may_end_early_costs_at_most_its_budget(changes):
    assert run_work(RecipeSettings(steps=10, **changes), PARTS).at_most


def test_the_work_that_was_done_ends_where_the_run_did():
    recipe = RecipeSettings(steps=100, batch_size=4, validations=10, patience=2)
    assert run_work(recipe, PARTS, {"main": 30}) == Work(30, 30 * 4 * 3 + 4 * 5 + 15, at_most=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 6, "validations": 3},
        {"steps": 3, "validations": 10},
        {"epochs": 1.7, "steps": None, "validations": 4},
        {"steps": 6, "head_first": HeadStageSettings(learning_rate=0.1, steps=4, validations=2)},
        {"steps": 40, "validations": 20, "patience": 2, "learning_rate": 1e-12},
    ],
)
def test_the_work_of_real_runs_is_what_they_record(changes):
    run = specification(**changes)
    parts = parts_of("binary")
    outcome = train(run, parts, {}, CPU)
    steps = {stage["stage"]: stage["steps"] for stage in outcome.facts["stages"]}
    sizes = PartSizes(*(len(parts[name].pixels) for name in ("train", "validation", "test")))
    work = run_work(run.recipe, sizes, steps)
    trained = sum(
        count * run.recipe.batch_size * (3 if stage == "main" else 1) for stage, count in steps.items()
    )
    evaluated = len(outcome.history) * sizes.validation + sizes.validation + sizes.test
    assert work.steps == outcome.facts["steps"] == sum(steps.values())
    assert work.passes == trained + evaluated


# networks


def test_the_operations_of_a_convolutional_network_by_hand():
    cost = network_cost(CBR, Init(), 1, 2, 24)
    # 3 x 3 convolutions at the sides 24 and, pooled, 12; then the head of 8 features
    convolutions = 2 * 9 * 1 * 4 * 24**2 + 2 * 9 * 4 * 8 * 12**2
    assert cost.operations == pytest.approx(convolutions + 2 * 8 * 2, rel=0.01)
    assert network_cost(CBR, Init(), 1, 2, 48).operations == pytest.approx(
        4 * cost.operations, rel=0.01
    )


@pytest.mark.parametrize(
    ("architecture", "giga"),
    # multiply-adds as published: He et al. 2016 (by torchvision), Touvron et al. 2021
    [("resnet18", 1.81), ("resnet50", 4.09), ("deit_small_patch16_224", 4.6)],
)
def test_the_operations_of_networks_are_twice_the_published_multiply_adds(architecture, giga):
    cost = network_cost(ModelSettings(architecture), Init(), 3, 1000, 224)
    assert cost.operations == pytest.approx(2e9 * giga, rel=0.02)


def test_the_weights_weigh_what_the_network_s_tensors_do():
    network = build_network(ModelSettings("resnet18"), 3, 5, 64, 0)
    tensors = network.state_dict().values()
    expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert network_cost(ModelSettings("resnet18"), Init(), 3, 5, 64).weight_bytes == expected


@pytest.mark.parametrize(
    ("settings", "init", "side"),
    [
        (CBR, Init(), 24),
        (CBR, Init("s", 1, "slim"), 24),
        (replace(CBR, first_units=1), Init(), 24),
        (ModelSettings("resnet18"), Init(), 64),
        (ModelSettings("resnet50_keras"), Init(), 64),
        (ModelSettings("inception_v3"), Init(), 299),
        (ModelSettings("mobilenetv2_100"), Init(), 64),
        (ModelSettings("resnetv2_50x1_bit"), Init(), 64),
        (ModelSettings("deit_tiny_patch16_224"), Init(), 224),
        (ModelSettings("deit_tiny_patch16_224", first_units=3), Init(), 224),
        (ModelSettings("swin_tiny_patch4_window7_224"), Init(), 224),
    ],
)
def test_what_more_outputs_cost_is_what_the_network_with_them_costs(settings, init, side):
    one, nine = (network_cost(settings, init, 3, outputs, side) for outputs in (1, 9))
    assert one.with_outputs(8) == nine
    assert nine.with_outputs(-8) == one


def test_slim_and_truncated_networks_cost_less_and_repeated_grey_images_more():
    whole = network_cost(CBR, Init(), 1, 2, 24)
    slim = network_cost(CBR, Init("s", 1, "slim"), 1, 2, 24)
    stump = network_cost(replace(CBR, first_units=1), Init(), 1, 2, 24)
    grey = network_cost(replace(CBR, grey_input="repeat"), Init(), 1, 2, 24)
    assert slim.operations < whole.operations and slim.weight_bytes < whole.weight_bytes
    assert stump.operations < whole.operations and stump.weight_bytes < whole.weight_bytes
    assert grey.operations - whole.operations == 2 * 9 * 2 * 4 * 24**2


# images


def dataset(**changes: object) -> DatasetSettings:
    settings = {"task": "binary", "labels": "y", "classes": ("a", "b"), "image_size": 24, "channels": 1}
    return DatasetSettings(**({"manifest": "table.csv"} | settings | changes))


def drawn(name: str, size: int, images: int = 0) -> DatasetSettings:
    changes = {"manifest": None, "generator": GeneratorSettings(name, size, images)}
    if name != "phantom_chest":
        changes |= {"task": "multiclass", "classes": ("a", "b", "c")}
    return dataset(**changes)


def card(size: str) -> DatasetSettings:
    return dataset(card=CardSettings("1", "free", size, "none"))


def split_table(folder: Path, split: str, **counts: int) -> None:
    """A split in which every image is a patient of its own."""
    parts = [part for part, count in counts.items() for _ in range(count)]
    ranks = [i + 1 if part == "train" else 0 for i, part in enumerate(parts)]
    (folder / "splits").mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(
        {"image_id": map(str, range(len(parts))), "part": parts, "training_rank": ranks}
    )
    table.to_parquet(folder / "splits" / f"{split}.parquet")


def test_the_parts_of_a_split_are_counted_where_its_table_is(tmp_path):
    split_table(tmp_path, "holdout", train=50, validation=6, test=7, external=8, excluded=9)
    images = DatasetImages(dataset(), tmp_path, tmp_path / "none.csv")
    assert images.parts("holdout", "full") == PartSizes(50, 6, 7, 8)
    assert images.parts("holdout", "n20") == PartSizes(20, 6, 7, 8)
    assert images.parts("holdout", "p10") == PartSizes(5, 6, 7, 8)
    with pytest.raises(ConfigError, match="subset 'n51' of 50 training images"):
        images.parts("holdout", "n51")


def test_images_of_subsets_that_are_drawn_anew_are_counted_for_each_seed(tmp_path):
    (tmp_path / "splits").mkdir()
    sizes = [1, 2, 3] * 10  # of patients
    ranks = np.repeat(np.cumsum(sizes), sizes)
    table = pd.DataFrame({"part": "train", "training_rank": ranks, "stratum": "a"})
    table.to_parquet(tmp_path / "splits" / "holdout.parquet")
    images = DatasetImages(dataset(), tmp_path, tmp_path / "none.csv")
    counts = [images.parts("holdout", "n20-redrawn", seed).train for seed in range(20)]
    assert counts == [len(training_subset(table, "n20-redrawn", seed)) for seed in range(20)]
    assert set(counts) <= {18, 19, 20} and len(set(counts)) > 1
    assert {images.parts("holdout", "n20", seed).train for seed in range(20)} == {19}
    assert images.counted("holdout")
    assert not images.counted("cv5-0")


def test_images_are_those_stored_else_those_listed_else_those_stated(tmp_path):
    settings, manifest = card("80 images"), tmp_path / "table.csv"
    assert DatasetImages(settings, tmp_path, manifest).count == 80
    manifest.write_text("image,y\n" + "a.png,a\n" * 70 + "\n")
    assert DatasetImages(settings, tmp_path, manifest).count == 70
    assert DatasetImages(replace(settings, all_frames=True), tmp_path, manifest).count == 80
    pd.DataFrame({"image_id": ["x"] * 60}).to_parquet(tmp_path / "samples.parquet")
    images = DatasetImages(settings, tmp_path, manifest)
    assert images.count == 60
    assert store_bytes(images, settings) == 60 * 24 * 24
    assert store_bytes(images, replace(settings, bits=16, channels=3)) == 60 * 24 * 24 * 3 * 2


@pytest.mark.parametrize(
    ("size", "images"),
    [
        ("112,120 images of 30,805 patients", 112_120),
        ("1.35 million images, 165 classes", 1_350_000),
        ("780 images (437 benign)", 780),
        ("10,000 of 327,680 patches", 10_000),
        ("about as many as there are", None),
    ],
)
def test_a_card_states_its_images_first(size, images):
    assert stated_images(card(size)) == images


@pytest.mark.parametrize(
    "settings", [drawn("phantom_chest", 60), drawn("phantom_fundus", 60), drawn("fractal", 3, 4)]
)
def test_generators_draw_about_as_many_images_as_stated(settings, tmp_path):
    pytest.importorskip("pydicom")
    from medtransfer.data.embedded.generate import generate_dataset

    generate_dataset(settings.generator, tmp_path)
    listed = len(pd.read_csv(tmp_path / "manifest.csv"))
    assert stated_images(settings) == pytest.approx(listed, rel=0.2)


def test_parts_are_expected_by_the_shares_of_the_settings(tmp_path):
    settings = dataset()  # 15 % for validation, 25 % for test
    assert expected_parts(1000, settings, "holdout", "full") == PartSizes(600, 150, 250)
    assert expected_parts(1000, settings, "published", "p10") == PartSizes(60, 150, 250)
    assert expected_parts(1000, settings, "cv5-1", "full") == PartSizes(680, 120, 200)
    assert expected_parts(1000, settings, "holdout", "n100") == PartSizes(100, 150, 250)
    assert expected_parts(1000, settings, "holdout", "n900") == PartSizes(600, 150, 250)
    for subset in ("p10", "n100", "n900"):
        redrawn = expected_parts(1000, settings, "holdout", f"{subset}-redrawn")
        assert redrawn == expected_parts(1000, settings, "holdout", subset)
    nothing = DatasetImages(settings, tmp_path, tmp_path / "none.csv")
    assert nothing.count is None and nothing.parts("holdout", "full") is None
    assert store_bytes(nothing, settings) is None


# what finished runs left


def finished_run(root: Path, path: str, record: dict, seconds: str | None) -> None:
    """The files of a run, weights of 100 bytes, and Snakemake's measurement of its job."""
    folder = root / "runs" / path
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    for name in ("predictions.parquet", "history.parquet"):
        (folder / name).touch()
    (folder / "run.json").write_text(json.dumps(record))
    if seconds is not None:
        file = root / "benchmarks" / f"{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")


def read(root: Path) -> dict[str, Finished]:
    return read_finished(root / "runs", root / "benchmarks")


def test_finished_runs_are_read_with_their_times_and_sizes(tmp_path):
    times = {"training_seconds": 20.0, "evaluation_seconds": 2.0}
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed0", times, "30.5")
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed1", times, None)
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed2", times, "-")
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed3", times, "9.0")
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed4", {"diverged": "oh"}, "5.0")
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed5", times | {"resumed": 1}, "23.0")
    runs = {path[-5:]: run for path, run in read(tmp_path).items()}
    assert sorted(runs) == ["seed0", "seed1", "seed2", "seed3", "seed4", "seed5"]
    assert (runs["seed0"].job_seconds, runs["seed0"].start_seconds) == (30.5, 8.5)
    assert runs["seed0"].total_bytes == 100 + len(json.dumps(times))
    assert runs["seed1"].job_seconds is None and runs["seed1"].start_seconds is None
    assert runs["seed2"].job_seconds is None
    # of these Snakemake saw the last part of the job only
    assert runs["seed3"].start_seconds is None and runs["seed3"].whole_job_seconds is None
    assert runs["seed5"].start_seconds is None and runs["seed5"].whole_job_seconds is None
    assert runs["seed4"].computing_seconds is None and runs["seed4"].whole_job_seconds == 5.0


def test_a_run_with_a_missing_or_broken_file_is_not_finished(tmp_path):
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed0", {}, None)
    finished_run(tmp_path, "r/d/m/random/full/holdout/seed1", {}, None)
    folders = tmp_path / "runs/r/d/m/random/full/holdout"
    (folders / "seed0" / "model.safetensors").unlink()
    (folders / "seed1" / "run.json").write_text('{"half')
    assert read(tmp_path) == {}
    assert read(tmp_path / "nowhere") == {}


# rates


def job(
    network: str = "net", side: int = 64, recipe: str = "r", processor: Processor = CORE, **work: int
) -> Job:
    run = Run(recipe, "d", network, "random", "full", "holdout", 0)
    settings = {"steps": 100, "passes": 5000} | work
    return Job(run, network, side, 10**7, Work(**settings, at_most=False), processor)


def test_without_measurements_the_model_decides():
    estimate = Rates([]).estimate(job())
    assert estimate.basis == "modelled"
    assert estimate.seconds == pytest.approx(5.0 + 100 * 0.003 + 5000 * 1e7 / 50e9)


def test_the_most_similar_measured_jobs_decide():
    def slower(times: float, **what: object) -> Measurement:
        measured = job(**what)
        return Measurement(measured, times * modelled_seconds(measured), times)

    rates = Rates(
        [
            slower(2.0, steps=50),
            slower(3.0, recipe="other"),
            slower(5.0, recipe="other"),
            slower(7.0, side=128),
            slower(11.0, network="another"),
            slower(999.0, processor=Processor("Other CPU, 8 cores", False, 1.0)),
        ]
    )

    def factor(**what: object) -> tuple[float, float, str]:
        asked = job(**what)
        estimate = rates.estimate(asked)
        start = rates.start_seconds(asked)
        return (estimate.seconds - start) / modelled_seconds(asked), start, estimate.basis

    assert factor() == pytest.approx((2.0, 2.0, "measured"))
    assert factor(recipe="other") == pytest.approx((4.0, 4.0, "measured"))
    assert factor(recipe="third") == pytest.approx((3.0, 3.0, "measured"))
    assert factor(side=96) == pytest.approx((4.0, 4.0, "scaled"))  # of 2, 3, 5 and 7
    assert factor(network="third") == pytest.approx((5.0, 5.0, "scaled"))
    two = replace(CORE, share=2.0)
    assert factor(processor=two) == pytest.approx((5.0, 5.0, "scaled"))
    assert factor(processor=replace(CORE, name="Third CPU, 1 cores"))[2] == "modelled"


def test_threads_and_slots_decide_speed_and_a_gpu_is_told_by_its_name():
    assert Processor("CPU, 8 cores", False, 4.0).speed == 4 * CORE.speed
    slots = HardwareSettings(device="cuda", jobs_per_gpu=2)
    shared = chosen_processor(slots, "NVIDIA H200")
    assert (shared.gpu, shared.share, shared.unit) == (True, 0.5, "GPU-hours")
    alone = chosen_processor(HardwareSettings(), "NVIDIA H200")
    assert alone.speed == 2 * shared.speed
    assert chosen_processor(HardwareSettings(), "NVIDIA A100").speed < alone.speed
    assert recorded_processor("NVIDIA H200", 4, shared) == shared
    assert recorded_processor("Some CPU, 2 cores", 1, shared) == CORE


def test_what_is_visible_decides_the_processor(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert chosen_processor(HardwareSettings(train_threads=3)).threads == 3
    assert chosen_processor(HardwareSettings(device="cuda")).name == "GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert chosen_processor(HardwareSettings()).gpu
    assert not chosen_processor(HardwareSettings(device="cpu")).gpu
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-80GB'\necho 'Tesla T4'\n")
    listing.chmod(0o755)
    assert chosen_processor(HardwareSettings()).name == "NVIDIA A100-SXM4-80GB"


# whole plans


def configuration(**changes: object) -> Config:
    """Two studies that share half of their runs; a source that is trained here; a search."""
    recipe = RecipeSettings(steps=20, batch_size=8, validations=2)
    tuned = replace(recipe, search=SearchSettings((0.1, 0.01, 0.001), steps=10))
    recipes = {"tiny": recipe, "tuned": tuned} | candidate_recipes("tuned", tuned)

    def study(recipe: str, seeds: tuple[int, ...], inits: tuple[str, ...]) -> StudySettings:
        grid = GridSettings(recipe, ("chest",), ("cbr",), inits, seeds=seeds)
        return StudySettings("t", (grid,))

    settings = {
        "studies": {
            "one": study("tiny", (0, 1), ("random", "shapes")),
            "two": study("tiny", (1, 2), ("random", "shapes")),
            "three": study("tuned", (0, 1), ("random",)),
        },
        "datasets": {"chest": drawn("phantom_chest", 40), "formulae": drawn("fractal", 3, 20)},
        "models": {"cbr": CBR},
        "recipes": recipes,
        "sources": {"shapes": SourceSettings(PretrainingSettings("formulae", "tiny"))},
    }
    return Config(**(settings | changes))


def presence(root: Path, config: Config) -> Present:
    images = {
        name: DatasetImages(settings, root / "data" / name, root / f"{name}.csv")
        for name, settings in config.datasets.items()
    }
    return Present(images, read(root), root / "data", root / "weights")


def planned(root: Path, config: Config, processor: Processor = CORE) -> Plan:
    return make_plan(config, presence(root, config), processor)


def record(config: Config, run: Run, computing: float, **changes: object) -> dict:
    """A record as a run of the configuration leaves it, for 30/6/10 images."""
    recipe = config.recipes[run.recipe]
    return {
        "model": plain(config.models[run.model]),
        "recipe": plain(replace(recipe, search=None)),
        "outputs": ["positive"],
        "images": {"train": 30, "validation": 6, "test": 10},
        "stages": [{"stage": "main", "steps": recipe.steps}],
        "training_seconds": 0.9 * computing,
        "evaluation_seconds": 0.1 * computing,
        "image_size": 24,
        "hardware": CORE.name,
        "threads": 1,
    } | changes


def finish(root: Path, config: Config, runs: list[Run], seconds: dict[Run, float]) -> None:
    """Runs that took so many seconds to compute, and 2 s to start."""
    for run in runs:
        finished_run(root, run.path, record(config, run, seconds[run]), str(seconds[run] + 2.0))


def check_sums(plan: Plan) -> None:
    """Numbers of runs, hours and bytes are the sums of those of the blocks."""
    for study in (*plan.studies, plan.total):
        bills = [block.bill for block in study.blocks]
        for name in ("runs", "done", "left", "done_hours", "left_hours"):
            total = sum(getattr(bill, name) for bill in bills)
            assert getattr(study.bill, name) == pytest.approx(total)
        assert study.bill.runs == study.bill.done + study.bill.left
        assert sum(study.bill.bases.values()) == study.bill.left
        for name in ("done", "left", "unknown"):
            assert getattr(study.bill.disk, name) == sum(getattr(bill.disk, name) for bill in bills)


def test_a_plan_counts_pre_training_and_searches_and_shared_runs_once(tmp_path):
    config = configuration()
    plan = planned(tmp_path, config)
    counts = {study.name: study.bill.runs for study in plan.studies}
    assert counts == {"one": 4 + 1, "two": 4 + 1, "three": 2 + 3}
    assert plan.total.bill.runs == len(all_runs(config)) == 6 + 1 + 2 + 3
    purposes = {(block.purpose, block.recipe): block.bill.runs for block in plan.total.blocks}
    assert purposes == {
        ("study", "tiny"): 6,
        ("study", "tuned"): 2,
        ("pre-training", "tiny"): 1,
        ("search", "tuned"): 3,
    }
    check_sums(plan)


def test_before_anything_runs_all_remains_and_stores_and_weights_too(tmp_path):
    plan = planned(tmp_path, configuration())
    bill = plan.total.bill
    assert (bill.done, bill.done_hours, bill.disk.done) == (0, 0.0, 0)
    assert (
        bill.left_hours > 0 and bill.disk.left > 12 * network_cost(CBR, Init(), 1, 1, 24).weight_bytes
    )
    assert bill.bases == {"modelled": 12}
    assert plan.total.stores.left == (100 * 1 + 60 * 1) * 24 * 24
    assert plan.total.sources.left == network_cost(CBR, Init(), 1, 3, 24).weight_bytes
    assert "modelled" in plan_as_text(plan) and "about 100" in plan_as_text(plan)


def test_after_a_study_nothing_remains_and_the_hours_are_those_it_took(tmp_path):
    config = configuration()
    runs = all_runs(config)
    seconds = {run: 10.0 + i for i, run in enumerate(runs)}
    finish(tmp_path, config, runs, seconds)
    for name in config.datasets:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "images.npy").write_bytes(b"x" * 1000)
    (tmp_path / "weights" / "shapes").mkdir(parents=True)
    (tmp_path / "weights" / "shapes" / "cbr.safetensors").write_bytes(b"x" * 50)
    plan = planned(tmp_path, config)
    bill = plan.total.bill
    assert (bill.done, bill.left, bill.left_hours, bill.disk.left) == (12, 0, 0.0, 0)
    assert bill.done_hours == pytest.approx(sum(seconds.values(), 2.0 * 12) / 3600)
    assert (plan.total.stores.done, plan.total.stores.left) == (2000, 0)
    assert (plan.total.sources.done, plan.total.sources.left) == (50, 0)
    assert plan.done_on == {CORE.name: 12}
    check_sums(plan)
    text = plan_as_text(plan)
    assert "Nothing remains to be trained." in text
    assert "12 finished runs ran on: Some CPU, 2 cores" in text


def law(config: Config, run: Run, generator: np.random.Generator) -> float:
    """Seconds of a machine that is 4 times slower than the model, evaluates cheaply, and jitters."""
    steps = config.recipes[run.recipe].steps
    return (steps * 0.2 + 0.4) * generator.uniform(0.7, 1.4)


@pytest.mark.parametrize("measured", ["half", "all"])
def test_a_plan_by_measured_rates_is_within_a_factor_1_5(measured, tmp_path):
    config, generator = configuration(), np.random.default_rng(0)
    runs = all_runs(config)
    seconds = {run: law(config, run, generator) for run in runs}
    took = sum(seconds.values()) + 2.0 * len(runs)
    if measured == "half":
        finish(tmp_path, config, runs[::2], seconds)
        bill = planned(tmp_path, config).total.bill
        assert (bill.done, bill.left) == (6, 6)
        left = sum(seconds[run] + 2.0 for run in runs[1::2])
        assert left / 1.5 < 3600 * bill.left_hours < 1.5 * left
    else:
        finish(tmp_path, config, runs, seconds)
        other = {name: replace(s, grids=(replace(s.grids[0], seeds=(5, 6)),))
                 for name, s in config.studies.items()}  # fmt: skip
        bill = planned(tmp_path, replace(config, studies=other)).total.bill
        per_run = took / len(runs)
        assert bill.left > bill.done
        assert set(bill.bases) == {"measured"}
        assert per_run / 1.5 < 3600 * bill.left_hours / bill.left < 1.5 * per_run


def test_measured_rates_are_exact_where_there_is_no_noise(tmp_path):
    config = configuration()
    run = Run("tiny", "chest", "cbr", "random", "full", "holdout", 0)
    split_table(tmp_path / "data" / "chest", "holdout", train=30, validation=6, test=10)
    finish(tmp_path, config, [run], {run: 40.0})
    study = config.studies["one"]
    study = replace(study, grids=(replace(study.grids[0], inits=("random",), seeds=(0, 1, 2)),))
    bill = planned(tmp_path, replace(config, studies={"one": study})).total.bill
    assert bill.bases == {"measured": 2}
    assert 3600 * bill.left_hours == pytest.approx(2 * 42.0)
    assert 3600 * bill.done_hours == pytest.approx(42.0)


def test_hours_are_those_of_the_device_and_of_all_threads(tmp_path):
    config = configuration()
    seconds = 3600 * planned(tmp_path, config).total.bill.left_hours
    two = 3600 * planned(tmp_path, config, replace(CORE, share=2.0)).total.bill.left_hours
    assert seconds < two < 2 * seconds  # starts and steps don't get faster
    slot = 3600 * planned(tmp_path, config, Processor("NVIDIA T4", True, 0.5)).total.bill.left_hours
    whole = 3600 * planned(tmp_path, config, Processor("NVIDIA T4", True, 1.0)).total.bill.left_hours
    assert slot == pytest.approx(whole / 2, rel=0.05)


@pytest.mark.parametrize(("job", "resumed"), [(None, 0), ("4.0", 0), ("11.0", 2)])
def test_a_run_whose_whole_job_was_not_measured_took_its_computing_and_a_start(job, resumed, tmp_path):
    config = configuration()
    run = all_runs(config)[0]
    finished_run(tmp_path, run.path, record(config, run, 10.0, resumed=resumed), job)
    assert 3600 * planned(tmp_path, config).total.bill.done_hours == pytest.approx(10.0 + 5.0)


def test_the_hours_that_a_run_took_are_those_of_its_own_threads_or_slot(tmp_path):
    config = configuration()
    first, second, *_ = all_runs(config)
    finished_run(tmp_path, first.path, record(config, first, 10.0, threads=2), "12.0")
    finished_run(tmp_path, second.path, record(config, second, 10.0, hardware="NVIDIA T4"), "12.0")
    assert 3600 * planned(tmp_path, config).total.bill.done_hours == pytest.approx(2 * 12.0 + 12.0)
    slot = planned(tmp_path, config, Processor("NVIDIA T4", True, 0.5))
    assert 3600 * slot.total.bill.done_hours == pytest.approx(2 * 12.0 + 0.5 * 12.0)


def test_a_finished_run_on_data_that_are_gone_took_its_computing_and_an_assumed_start(tmp_path):
    config = configuration()
    run = all_runs(config)[0]
    finished_run(tmp_path, run.path, record(config, run, 10.0), None)
    gone = replace(config, datasets=config.datasets | {"chest": dataset()})
    assert 3600 * planned(tmp_path, gone).total.bill.done_hours == pytest.approx(10.0 + 5.0)


def test_a_diverged_candidate_is_done_and_measures_nothing(tmp_path):
    config = configuration()
    run = next(run for run in all_runs(config) if run.recipe == "tuned.lr0.1")
    finished_run(tmp_path, run.path, {"diverged": "not finite"}, "7.0")
    bill = planned(tmp_path, config).total.bill
    assert (bill.done, bill.bases) == (1, {"modelled": 11})
    assert 3600 * bill.done_hours == pytest.approx(7.0)


def test_records_of_other_versions_measure_nothing_and_stop_nothing(tmp_path):
    config = configuration()
    first, second, *_ = all_runs(config)
    complete = record(config, first, 10.0)
    old = {key: value for key, value in complete.items() if key != "stages"}
    finished_run(tmp_path, first.path, old, "12.0")
    new = complete | {"recipe": complete["recipe"] | {"unheard_of": 1}}
    finished_run(tmp_path, second.path, new, "12.0")
    bill = planned(tmp_path, config).total.bill
    assert (bill.done, bill.bases) == (2, {"modelled": 10})


def test_unknown_images_are_said_to_be_unknown(tmp_path):
    config = configuration()
    unknown = replace(config, datasets=config.datasets | {"chest": dataset()})
    plan = planned(tmp_path, unknown)
    assert plan.total.bill.bases == {"unknown": 11, "modelled": 1}
    assert plan.total.stores.unknown == 1
    text = plan_as_text(plan)
    assert "+ unknown" in text and "not in the sums" in text
    check_sums(plan)


def test_early_stopping_and_cases_are_in_the_plan(tmp_path):
    config = configuration()
    stopping = replace(config.recipes["tiny"], patience=1)
    plan = planned(tmp_path, replace(config, recipes=config.recipes | {"tiny": stopping}))
    assert plan.total.bill.at_most and "<= " in plan_as_text(plan)
    longer = replace(config.recipes["tiny"], cases=(CaseSettings(images_from=50, steps=2000),))
    longer = replace(config, recipes=config.recipes | {"tiny": longer})
    before, after = planned(tmp_path, config), planned(tmp_path, longer)
    assert after.studies[0].bill.left_hours > before.studies[0].bill.left_hours
    assert after.studies[2].bill.left_hours == before.studies[2].bill.left_hours


def test_a_plan_is_json_too(tmp_path):
    data = json.loads(json.dumps(plan_as_data(planned(tmp_path, configuration()))))
    assert data["processor"]["unit"] == "CPU-hours"
    assert data["total"]["bill"]["runs"] == 12
    assert [study["name"] for study in data["studies"]] == ["one", "two", "three"]


def test_runs_on_subsets_that_are_drawn_anew_have_the_work_of_their_own_seed(tmp_path):
    sizes = [1, 2, 3] * 10  # of patients
    ranks = np.repeat(np.cumsum(sizes), sizes)
    table = pd.DataFrame({"part": "train", "training_rank": ranks, "stratum": "a"})
    (tmp_path / "splits").mkdir()
    table.to_parquet(tmp_path / "splits" / "holdout.parquet")
    config = configuration(recipes={"tiny": RecipeSettings(steps=5, batch_size=64)}, studies={})
    images = DatasetImages(config.datasets["chest"], tmp_path, tmp_path / "none.csv")
    jobs = Jobs(config, {"chest": images}, CORE)
    seen = set()
    for seed in range(8):
        run = Run("tiny", "chest", "cbr", "random", "n20-redrawn", "holdout", seed)
        planned_run = jobs.planned(run)
        count = len(training_subset(table, "n20-redrawn", seed))
        assert planned_run.parts == PartSizes(count, 0, 0)
        assert planned_run.job.work == run_work(config.recipes["tiny"], planned_run.parts)
        seen.add(planned_run.job.work)
    assert len(seen) > 1


# dry runs


def wanted(config: Config) -> WantedJobs:
    """All that a configuration of nothing finished asks for."""
    paths = tuple(run.path for run in all_runs(config))
    return WantedJobs(paths, tuple(config.datasets), ("shapes/cbr",))


def dry_run(root: Path, config: Config, jobs: WantedJobs) -> DryRunCost:
    return dry_run_cost(jobs, config, presence(root, config), CORE)


def test_a_dry_run_of_all_costs_what_the_plan_says(tmp_path):
    config = configuration()
    total, cost = planned(tmp_path, config).total, dry_run(tmp_path, config, wanted(config))
    assert cost.bill == total.bill
    assert cost.purposes == {"study": 8, "pre-training": 1, "search": 3}
    assert cost.stored == {"chest": 100, "formulae": 60}
    assert cost.disk.left == total.bill.disk.left + total.stores.left + total.sources.left
    first, second, *_ = dry_run_as_text(cost).splitlines()
    assert first.startswith("This would train 8 runs, 1 pre-training and 3 candidates of a search: ")
    assert first.endswith("CPU-hours (modelled; Some CPU, 2 cores; 1 of them a job).")
    assert second.startswith("It would decode about 160 images and write about ")


def test_a_dry_run_of_one_run_costs_that_run_alone(tmp_path):
    config = configuration()
    runs = all_runs(config)
    one, other = (dry_run(tmp_path, config, WantedJobs((run.path,))) for run in (runs[0], runs[-1]))
    assert one.bill.left == other.bill.left == 1
    assert dry_run_as_text(one).startswith("This would train 1 run: about ")
    assert dry_run_as_text(other).startswith("This would train 1 candidate of a search: about ")
    both = dry_run(tmp_path, config, WantedJobs((runs[0].path, runs[-1].path)))
    assert both.bill.left_hours == pytest.approx(one.bill.left_hours + other.bill.left_hours)
    assert "decode" not in dry_run_as_text(both)


def test_runs_that_would_be_repeated_cost_once_more_and_are_said_to(tmp_path):
    config = configuration()
    runs = all_runs(config)
    seconds = dict.fromkeys(runs, 40.0)
    finish(tmp_path, config, runs[:2], seconds)
    cost = dry_run(tmp_path, config, WantedJobs(tuple(run.path for run in runs[:3])))
    assert (cost.again, cost.bill.left, cost.bill.done) == (2, 3, 0)
    assert cost.bill.bases == {"measured": 3}
    assert 3600 * cost.bill.left_hours == pytest.approx(3 * 42.0, rel=0.3)
    assert "This would train 3 runs, 2 of them once more: about " in dry_run_as_text(cost)


def test_a_run_that_no_study_has_can_be_asked_for_by_its_path(tmp_path):
    path = "tiny/chest/cbr/random/full/holdout/seed77"
    cost = dry_run(tmp_path, configuration(), WantedJobs((path,)))
    assert cost.purposes == {"study": 1} and cost.bill.left_hours > 0
    with pytest.raises(ValueError):
        dry_run(tmp_path, configuration(), WantedJobs(("tiny/chest",)))


def test_a_dry_run_says_what_it_does_not_know_and_where_runs_may_end_earlier(tmp_path):
    config = configuration()
    jobs = wanted(config)
    unknown = replace(config, datasets=config.datasets | {"chest": dataset()})
    first, second = dry_run_as_text(dry_run(tmp_path, unknown, jobs)).splitlines()
    assert "CPU-hours, without 11 runs on data sets of unknown size" in first
    assert "decode about 60 images and 1 data set of unknown size and write" in second
    assert second.endswith("and 12 files of unknown size.")
    nothing = dry_run_as_text(dry_run(tmp_path, unknown, WantedJobs(jobs.runs[:1], ("chest",))))
    assert "unknown CPU-hours for 1 run on data sets of unknown size" in nothing
    assert "decode 1 data set of unknown size" in nothing
    stopping = replace(config, recipes=config.recipes | {"tiny": RecipeSettings(steps=20, patience=1)})
    assert ": at most about " in dry_run_as_text(dry_run(tmp_path, stopping, jobs))


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"figure": 1}, "1 figure"),
        ({"train": 1200, "figure": 2}, "1,200 runs to do and 2 figures"),
        ({"audit": 1}, "1 job"),
        ({"audit": 2, "figure": 0}, "2 jobs"),
        (
            {"audit": 2, "split": 3, "figure": 1, "train": 1},
            "1 run to do, 1 figure and 5 other jobs",
        ),
    ],
)
def test_jobs_are_counted_in_words(counts, text):
    assert jobs_in_words(counts, {"train": "run{s} to do", "figure": "figure{s}"}) == text
