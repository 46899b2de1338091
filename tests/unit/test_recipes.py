"""The recipe files: each learning-rate curve against its definition, step by step, and their bases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from medtransfer.config.argument import settings_argument
from medtransfer.config.recipe import AugmentationSettings, RecipeSettings
from medtransfer.config.stages import stage_recipes
from medtransfer.config.typed import parse, read_settings
from medtransfer.errors import ConfigError
from medtransfer.training.optimisation import Schedule, build_optimizer

FOLDER = Path(__file__).parents[2] / "config" / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
REVISITING = [name for name in NAMES if name.startswith("revisiting")]


def recipe_file(name: str) -> RecipeSettings:
    return read_settings(RecipeSettings, FOLDER / f"{name}.yaml")


def curve(recipe: RecipeSettings, total: int, values: dict[int, float] | None = None) -> list[float]:
    """The rate of every step; ``values`` are of the validations after so many steps."""
    optimizer = build_optimizer(nn.Linear(1, 1), dataclasses.replace(recipe, layer_decay=1.0))
    schedule = Schedule(optimizer, recipe, total)
    found = []
    for step in range(1, total + 1):
        found.append(schedule.rate)
        optimizer.step()
        schedule.after_step()
        if values is not None and step in values:
            schedule.after_validation(values[step])
    return found


def cosine(peak: float, warmup: int, total: int) -> Callable[[int], float]:
    """From peak / W up to the peak over W steps, then half a cosine to 0."""
    return lambda step: (
        peak * (step + 1) / warmup
        if step < warmup
        else peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    )


def hyperrule(total: int, warmup: int) -> Callable[[int], float]:
    """Linear from 0, then a tenth at 30, 60 and 90 % each."""

    def rate(step: int) -> float:
        if step < warmup:
            return 0.003 * step / warmup
        return 0.003 / 10 ** sum(step >= share * total // 100 for share in (30, 60, 90))

    return rate


# training images, stored side, steps, the rate of a step (from 0)
CURVES: dict[str, list[tuple[int, int, int, Callable[[int], float]]]] = {
    "embedded": [(900, 64, 250, cosine(0.001, 25, 250))],
    "fractal_pretraining": [(2000, 64, 500, cosine(0.002, 50, 500))],
    "small_data": [(300, 224, 300, cosine(0.0005, 30, 300))],
    "linear_probe": [(640, 224, 300, cosine(0.001, 0, 300))],
    "modern": [(640, 224, 500, cosine(0.0005, 50, 500))],
    "modern_search": [(640, 224, 500, cosine(0.0005, 50, 500))],
    "transfusion_retina": [(5000, 587, 100_000, lambda _: 0.001)],
    "transfusion_chexpert": [(5000, 224, 100_000, lambda _: 0.001)],
    "bit_hyperrule": [
        (1, 96, 500, hyperrule(500, 100)),
        (19_999, 224, 500, hyperrule(500, 100)),
        (20_000, 224, 10_000, hyperrule(10_000, 500)),
        (499_999, 28, 10_000, hyperrule(10_000, 500)),
        (500_000, 28, 20_000, hyperrule(20_000, 500)),
    ],
    **{name: [(1280, 224, 2000, lambda _: 0.00001)] for name in REVISITING},
    # warm-up only: the plateau has a test of its own
    "feature_reuse": [(640, 256, 1000, lambda step: 1e-8 + (1e-4 - 1e-8) * step / 1000)],
}


def test_every_recipe_file_has_a_definition_of_its_curve():
    assert sorted(CURVES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_curve_of_a_recipe_file_is_its_definition_at_every_step(name):
    for images, side, total, rate in CURVES[name]:
        recipe = recipe_file(name).for_data(images, side)
        assert recipe.total_steps(images) == total
        expected = [rate(step) for step in range(total)]
        assert curve(recipe, total) == pytest.approx(expected, rel=1e-8, abs=1e-14)


def test_feature_reuse_falls_when_the_metric_stands_still_for_more_than_three_epochs():
    recipe, epoch = recipe_file("feature_reuse"), 200
    # the metric rises until epoch 8; the warm-up lasts five epochs
    values = {epoch * k: min(k, 8) / 10 for k in range(1, 21)}
    found = curve(recipe, 20 * epoch, values)
    expected = [1e-8 + (1e-4 - 1e-8) * step / 1000 for step in range(1000)]
    # no better in epochs 9, 10, 11 and 12; then in four more, and in four more
    expected += [1e-4] * (7 * epoch) + [1e-5] * (4 * epoch) + [1e-6] * (4 * epoch)
    assert found == pytest.approx(expected, rel=1e-9)
    assert 1e-7 < recipe.stop_below < 1e-6


@pytest.mark.parametrize(
    ("images", "side", "changes"),
    [
        (19_999, 95, {"steps": 500, "mixup": 0.0, "resize": 160, "crop": 128}),
        (20_000, 96, {"steps": 10_000, "mixup": 0.1, "resize": 512, "crop": 480}),
        (600_000, 28, {"steps": 20_000, "mixup": 0.1, "resize": 160, "crop": 128}),
    ],
)
def test_the_hyperrule_depends_on_the_size_of_the_data_set(images, side, changes):
    recipe = recipe_file("bit_hyperrule").for_data(images, side)
    assert {key: getattr(recipe, key) for key in changes} == changes
    assert recipe.cases == ()
    assert recipe.input_side(side) == changes["crop"]


def test_the_hyperrule_is_that_of_bit():
    recipe = recipe_file("bit_hyperrule")
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 0.0)
    assert recipe.learning_rate == pytest.approx(0.003 * recipe.batch_size / 512)
    assert recipe.zero_head
    assert recipe.patience is None


def test_feature_reuse_has_the_published_augmentation():
    recipe = recipe_file("feature_reuse")
    assert recipe.augmentation == AugmentationSettings(
        resized_crop=(0.8, 1.2), flip_horizontal=0.5, flip_vertical=0.5, brightness=0.2, contrast=0.2,
        saturation=0.1, hue=0.1, jitter_probability=0.2, grey=0.2,
    )  # fmt: skip
    assert (recipe.resize, recipe.crop) == (256, 224)
    assert (recipe.gradient_clip, recipe.weight_decay, recipe.batch_size) == (1.0, 1e-5, 64)
    assert recipe.epochs == recipe.validations


@pytest.mark.parametrize("name", REVISITING)
def test_the_variants_of_study_4_differ_in_what_their_names_say(name):
    recipe = recipe_file(name)
    assert recipe.patience == (3 if "_v1" in name else 30)
    assert recipe.augmentation.flip_horizontal == (0.0 if "chest" in name else 0.5)
    assert (recipe.monitor, recipe.dropout, recipe.batch_size) == ("loss", 0.5, 128)
    assert recipe.epochs == recipe.validations == 200
    assert (recipe.augmentation.shear, recipe.augmentation.fill) == (0.1, "edge")
    stages = stage_recipes(recipe)
    assert list(stages) == (["head", "main"] if "freeze" in name else ["main"])
    if "freeze" in name:
        head = stages["head"]
        assert (head.train, head.learning_rate, head.monitor) == ("head", 0.001, "accuracy")
        assert head.patience == (2 if "_v1" in name else 10)
        assert curve(head, 50) == [0.001] * 50


def test_a_head_stage_has_a_constant_rate_and_keeps_the_rest_of_the_recipe():
    settings = {
        "steps": 9, "schedule": "steps", "decay_at": [0.5], "warmup_steps": 3, "warmup_start": 0.00001,
        "stop_below": 0.01, "layer_decay": 0.5, "mixup": 0.2, "optimizer": "sgd", "weight_decay": 0.3,
        "head_first": {"learning_rate": 0.7, "epochs": 2, "validations": 3},
    }  # fmt: skip
    stages = stage_recipes(parse(RecipeSettings, settings, "r"))
    head, main = stages["head"], stages["main"]
    assert curve(head, 6) == [0.7] * 6
    assert (head.epochs, head.steps, head.validations, head.stop_below) == (2.0, None, 3, None)
    assert (head.mixup, head.optimizer, head.weight_decay) == (0.2, "sgd", 0.3)
    assert main == dataclasses.replace(parse(RecipeSettings, settings, "r"), head_first=None)


# base


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)


def test_a_file_wins_over_its_base_in_nested_blocks_too(tmp_path):
    write(
        tmp_path,
        first="steps: 5\nmomentum: 0.5\naugmentation: {rotate: 5, scale: 0.1}",
        second="base: first\nmomentum: 0.7\naugmentation: {scale: 0.2}",
        third="base: second\nmixup: 0.3",
    )
    expected = RecipeSettings(
        steps=5, momentum=0.7, mixup=0.3, augmentation=AugmentationSettings(rotate=5.0, scale=0.2)
    )
    assert read_settings(RecipeSettings, tmp_path / "third.yaml") == expected
    assert settings_argument(RecipeSettings)(str(tmp_path / "third.yaml")) == expected


@pytest.mark.parametrize("base", ["absent", "own", "other"])
def test_a_base_that_is_absent_or_goes_round_in_a_circle_is_refused(tmp_path, base):
    write(tmp_path, own=f"base: {base}\nsteps: 3", other="base: own")
    with pytest.raises(ConfigError, match=r"yaml: key 'base' is '\w+'; allowed: the name of another"):
        read_settings(RecipeSettings, tmp_path / "own.yaml")


def test_a_problem_of_a_file_with_a_base_names_the_file(tmp_path):
    write(tmp_path, own="base: other\nstep: 3", other="epochs: 2")
    with pytest.raises(ConfigError, match=r"own\.yaml: unknown key 'step'"):
        read_settings(RecipeSettings, tmp_path / "own.yaml")


def test_a_recipe_of_a_study_file_has_no_base():
    with pytest.raises(ConfigError, match=r"key 'base' is 'other'; allowed: only in files"):
        parse(RecipeSettings, {"base": "other", "steps": 3}, "config")


# what is refused


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"warmup_start": 0.001, "learning_rate": 0.001}, "'warmup_start' is 0.001; allowed: below"),
        ({"warmup_steps": -1}, "'warmup_steps' is -1; allowed: at least 0"),
        ({"schedule": "steps"}, "schedule 'steps' needs the key 'decay_at'"),
        ({"decay_at": [0.5]}, "no other schedule takes it"),
        ({"schedule": "steps", "decay_at": [1.5]}, "'decay_at' is .1.5.; allowed: shares up to 1"),
        ({"augmentation": {"resized_crop": [0.5]}}, "'resized_crop' is .0.5.; allowed: two shares"),
        ({"augmentation": {"resized_crop": [1.2, 0.8]}}, "allowed: two shares above 0, the smaller"),
        ({"augmentation": {"resized_crop": [0, 0.8]}}, "allowed: two shares above 0"),
        ({"augmentation": {"crop_ratio": [2, 1]}}, "'crop_ratio' is .2.0, 1.0.; allowed: two ratios"),
        ({"train": "head", "head_first": {"learning_rate": 0.1, "steps": 3}}, "needs 'train: all'"),
        (
            {"head_first": {"learning_rate": 0.1}},
            "either 'epochs' or 'steps', not both",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        parse(RecipeSettings, {"steps": 5, **settings}, "r.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_file_gives_a_plan_for_a_data_set(name):
    recipe = recipe_file(name).for_data(3000, 256)
    assert recipe.base is None
    assert recipe.total_steps(3000) >= recipe.validations
    assert torch.isfinite(torch.tensor(curve(recipe, 3))).all()
