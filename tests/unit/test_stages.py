"""What each key of a recipe does to a run: stages, selection, freezing, losses, ends."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from training_runs import CPU, MODEL, parts_of, problem, specification

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import CaseSettings, HeadStageSettings
from medtransfer.errors import ConfigError
from medtransfer.evaluation.results import CURVES
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.training import stages
from medtransfer.training.freezing import learning, set_training_mode
from medtransfer.training.job import HISTORY, run_facts
from medtransfer.training.run import starting_network, train
from medtransfer.training.selection import Selection
from medtransfer.training.specification import Outcome, Part, Specification
from medtransfer.training.stages import Progress, Stage, validate

VIT = ModelSettings("test_vit", {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 4})


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(plan: Specification, task: str = "binary") -> Outcome:
    return train(plan, parts_of(task), {}, CPU)


def same(first: Outcome, second: Outcome) -> bool:
    """Whether two runs have the same weights and predictions to the last bit."""
    weights = all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())
    return weights and np.array_equal(first.logits["test"], second.logits["test"])


# every key has an effect, and the same one twice

CHANGES = [
    {"optimizer": "rmsprop"},
    {"optimizer": "lamb"},
    {"layer_decay": 0.1},
    {"warmup_steps": 3},
    {"warmup_steps": 3, "warmup_start": 0.0},
    {"schedule": "steps", "decay_at": (0.5,)},
    {"class_weights": "balanced"},
    {"label_smoothing": 0.3},
    {"mixup": 1.0},
    {"dropout": 0.5},
    {"zero_head": True},
    {"train": "head"},
    {"head_first": HeadStageSettings(0.01, steps=4, validations=2)},
    {"gradient_clip": 0.01},
    {"resize": 16},
    {"crop": 8},
    {"normalisation": "training_images"},
    {"cases": (CaseSettings(images_from=40, mixup=0.5),)},
]


def uneven_parts(task: str) -> dict[str, Part]:
    """Parts of which the first class (of an output) is rare."""
    parts = parts_of(task, count=60)
    labels = parts["train"].labels
    rare = (labels if labels.ndim == 1 else labels[:, 0]) == 0
    kept = ~rare | (rare.cumsum(0) <= 5)
    # the last images again, up to the same number
    rows = torch.cat([torch.nonzero(kept)[:, 0]] * 3)[:48]
    return {**parts, "train": Part(parts["train"].pixels[rows], labels[rows])}


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "-".join(map(str, changes)))
def test_every_key_changes_a_run_and_a_seed_decides_it(changes):
    usual = {"steps": 8, "validations": 2, "learning_rate": 0.01, "schedule": "constant"}
    parts = uneven_parts("binary")
    plan = specification(**(usual | changes))
    first, again = (train(plan, parts, {}, CPU) for _ in range(2))
    assert same(first, again)
    pd.testing.assert_frame_equal(pd.DataFrame(first.history), pd.DataFrame(again.history))
    usual_run = train(specification(**usual), parts, {}, CPU)
    assert first.history[-1]["validation_loss"] != usual_run.history[-1]["validation_loss"]
    assert np.isfinite(first.logits["test"]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_decay": 1.0},
        {"mixup": 0.0},
        {"label_smoothing": 0.0},
        {"dropout": 0.0},
        {"gradient_clip": 1e9},
        {"patience": 100},
        {"stop_below": 0.0},
        {"resize": 12},
        {"crop": 12},
        {"cases": (CaseSettings(images_from=1000, mixup=0.5), CaseSettings(side_below=12, steps=1))},
    ],
    ids=lambda changes: "-".join(map(str, changes)),
)
def test_a_key_that_asks_for_nothing_changes_no_bit(changes):
    assert same(run(specification(**changes)), run(specification()))


def test_balanced_classes_weigh_as_without_weights():
    one, other = (run(specification(class_weights=kind)) for kind in ("none", "balanced"))
    np.testing.assert_allclose(one.logits["test"], other.logits["test"], atol=1e-4)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "ordinal"])
def test_balancing_raises_the_scores_of_a_rare_class(task):
    parts = uneven_parts(task)
    scores = []
    for kind in ("none", "balanced"):
        plan = specification(task, steps=20, learning_rate=0.01, class_weights=kind, validations=1)
        logits = torch.from_numpy(train(plan, parts, {}, CPU).logits["test"])
        if task in ("multiclass", "ordinal"):
            scores.append(logits.log_softmax(1)[:, 0].mean().item())
        else:
            scores.append(-logits[:, 0].mean().item())
    assert scores[1] > scores[0] + 0.05


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_task_trains_with_smoothing_weights_and_mixup(task):
    plan = specification(
        task, steps=80, batch_size=16, learning_rate=0.01, label_smoothing=0.1, mixup=0.2,
        class_weights="balanced",
    )  # fmt: skip
    history = run(plan, task).history
    assert history[-1]["validation_loss"] < 0.8 * history[0]["validation_loss"]
    assert history[-1]["validation_metric"] > 0.85


def test_smoothing_keeps_the_scores_closer_together():
    spread = [
        np.std(run(specification(steps=60, learning_rate=0.01, label_smoothing=s)).logits["test"])
        for s in (0.0, 0.4)
    ]
    assert spread[1] < 0.8 * spread[0]


# gradient, rate


def step_sizes(**changes: object) -> float:
    """How far the head moves in one step of plain gradient descent."""
    plan = specification(
        steps=1, validations=1, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=1.0,
        schedule="constant", **changes,
    )  # fmt: skip
    parts = parts_of("binary")
    before = starting_network(plan, parts["train"], {})
    start = torch.cat([p.detach().flatten() for p in before.parameters()])
    moved: dict[str, torch.Tensor] = {}
    original = stages.validate

    def recording(network, *arguments):
        moved["end"] = torch.cat([p.detach().flatten() for p in network.parameters()])
        return original(network, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "validate", recording)
        train(plan, parts, {}, CPU)
    return float((moved["end"] - start).norm())


def test_every_step_has_the_rate_of_the_schedule(monkeypatch):
    rates: list[float] = []
    original = stages.build_optimizer

    def watched(*arguments):
        optimizer = original(*arguments)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[1]["lr"]))
        return optimizer

    monkeypatch.setattr(stages, "build_optimizer", watched)
    plan = specification(steps=6, learning_rate=0.01, warmup=1 / 3)
    train(plan, parts_of("binary"), {}, CPU)
    cosine = [0.01 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx([0.005, 0.01, *cosine])


def test_the_gradient_clip_bounds_the_step():
    assert step_sizes() > 0.02
    assert step_sizes(gradient_clip=0.01) == pytest.approx(0.01, rel=1e-3)


def test_the_history_has_the_rate_of_the_latest_step():
    plan = specification(steps=6, learning_rate=0.01, warmup=1 / 3, validations=3)
    found = [entry["learning_rate"] for entry in run(plan).history]
    assert math.isnan(found[0])
    cosine = [0.01 * (1 + math.cos(math.pi * k / 4)) / 2 for k in (1, 3)]
    assert found[1:] == pytest.approx([0.01, *cosine])


def test_the_curves_of_a_study_have_every_column_of_a_run():
    kinds = {name: column.kind for name, column in CURVES.columns.items()}
    assert {name: column.kind for name, column in HISTORY.columns.items()}.items() <= kinds.items()


# start


def test_a_zero_head_answers_zero_and_learns():
    plan = specification(steps=6, zero_head=True, learning_rate=0.01)
    network = starting_network(plan, problem("binary"), {})
    assert not network.head.weight.any()
    assert not network.head.bias.any()
    usual = starting_network(specification(), problem("binary"), {})
    assert torch.equal(network.layers[0].conv.weight, usual.layers[0].conv.weight)
    outcome = run(plan)
    assert outcome.history[0]["validation_loss"] == pytest.approx(math.log(2))
    assert outcome.history[-1]["validation_loss"] < math.log(2)


def test_dropout_and_stochastic_depth_are_those_of_the_network():
    plan = specification(model=VIT, dropout=0.3, drop_path=0.2)
    network = starting_network(plan, problem("binary", channels=3), {})
    assert network.head_drop.p == 0.3
    depths = [getattr(block.drop_path1, "drop_prob", 0.0) for block in network.blocks]
    assert depths == pytest.approx([0.0, 0.2])
    assert starting_network(specification(), problem("binary"), {}).dropout.p == 0.0


def test_a_network_without_stochastic_depth_refuses_it():
    with pytest.raises(ConfigError, match=r"cbr.*drop_path_rate"):
        run(specification(drop_path=0.1))


# frozen bodies


def body_and_head(network: nn.Module, weights: dict[str, torch.Tensor]) -> tuple[list, list]:
    heads = head_prefixes(network)
    body = [tensor for name, tensor in weights.items() if not name.startswith(heads)]
    return body, [tensor for name, tensor in weights.items() if name.startswith(heads)]


@pytest.mark.parametrize("model", [MODEL, VIT, ModelSettings("test_resnet")], ids=str)
def test_a_linear_probe_changes_no_bit_of_the_body(model):
    plan = specification(model=model, train="head", steps=4, learning_rate=0.1, monitor="loss")
    network = starting_network(plan, problem("binary"), {})
    body, head = body_and_head(network, {k: v.clone() for k, v in network.state_dict().items()})
    outcome = run(plan)
    after_body, after_head = body_and_head(network, outcome.weights)
    assert outcome.best_step > 0
    assert len(body) > 3
    assert all(torch.equal(a, b) for a, b in zip(body, after_body, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(head, after_head, strict=True))


def test_a_linear_probe_is_logistic_regression_on_fixed_features():
    plan = specification(
        train="head", optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.5, steps=5,
        batch_size=48, schedule="constant", validations=1, monitor="loss",
    )  # fmt: skip
    parts = parts_of("binary")
    network = starting_network(plan, parts["train"], {}).eval()
    images = (parts["train"].pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        features = network.layers(images).mean(dim=(2, 3)).double()
    weight, bias = network.head.weight.detach().double()[0], network.head.bias.detach().double()
    labels = parts["train"].labels.double()
    for _ in range(5):
        error = torch.sigmoid(features @ weight + bias) - labels
        weight = weight - 0.5 * (error[:, None] * features).mean(0)
        bias = bias - 0.5 * error.mean()
    outcome = train(plan, parts, {}, CPU)
    torch.testing.assert_close(outcome.weights["head.weight"][0].double(), weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(outcome.weights["head.bias"].double(), bias, rtol=0, atol=1e-5)


def test_only_the_head_has_gradients_within_the_block():
    network = build_network(MODEL, 1, 1, 12, seed=0)
    network.layers[1].norm.bias.requires_grad_(False)
    before = {name: p.requires_grad for name, p in network.named_parameters()}
    with learning(network, "head"):
        learners = {name for name, p in network.named_parameters() if p.requires_grad}
        assert learners == {"head.weight", "head.bias"}
    assert {name: p.requires_grad for name, p in network.named_parameters()} == before
    with learning(network, "all"):
        assert {name: p.requires_grad for name, p in network.named_parameters()} == before


@pytest.mark.parametrize(
    ("architecture", "active"),
    [
        ("resnet18", {"", "fc"}),
        ("mobilenetv2_100", {"", "classifier"}),
        ("inception_v3", {"", "fc", "head_drop"}),
        ("swin_tiny_patch4_window7_224", {"", "head", "head.fc", "head.drop"}),
        ("resnetv2_50x1_bit", {"", "head", "head.fc", "head.drop"}),
    ],
)
def test_in_a_frozen_body_only_the_head_and_what_is_around_it_are_in_training_mode(
    architecture, active
):
    import timm

    with torch.device("meta"):
        network = timm.create_model(architecture, drop_rate=0.5)
    set_training_mode(network, "head")
    training = {name for name, module in network.named_modules() if module.training}
    allowed = {name for name in training if isinstance(network.get_submodule(name), nn.Dropout)}
    assert training - allowed == {
        name for name in active if not isinstance(network.get_submodule(name), nn.Dropout)
    }
    assert active <= training | {"head.drop", "head_drop"} - allowed
    set_training_mode(network, "all")
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("architecture", ["resnet18", "resnetv2_50x1_bit", "vit_tiny_patch16_224"])
def test_the_dropout_before_the_head_is_on_over_a_frozen_body(architecture):
    import timm

    torch.manual_seed(0)
    sizes = {"img_size": 32} if "vit" in architecture else {}
    network = timm.create_model(architecture, drop_rate=0.5, num_classes=3, **sizes)
    for name, parameter in network.named_parameters():
        if name.startswith(head_prefixes(network)):
            nn.init.normal_(parameter)
    set_training_mode(network, "head")
    images = torch.randn(2, 3, 32, 32)
    buffers = {name: tensor.clone() for name, tensor in network.named_buffers()}
    with torch.no_grad():
        one, other = network(images), network(images)
        assert not torch.allclose(one, other)
        network.eval()
        assert torch.equal(network(images), network(images))
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in network.named_buffers())


def freezing_plan(**changes: object) -> Specification:
    first = HeadStageSettings(0.05, steps=6, validations=3, monitor="loss")
    return specification(steps=4, validations=2, **({"head_first": first} | changes))


def test_the_main_stage_starts_from_the_best_weights_of_the_head_stage(monkeypatch):
    states: list[tuple[str, dict[str, torch.Tensor]]] = []
    original = stages.validate

    def recording(network, stage, *arguments):
        states.append((stage.name, {k: v.clone() for k, v in network.state_dict().items()}))
        return original(network, stage, *arguments)

    monkeypatch.setattr(stages, "validate", recording)
    losses, settings = [9.0, 5.0, 6.0, 7.0, 4.0, 3.0, 2.0], freezing_plan().recipe
    outcome = answers_run(monkeypatch, losses, steps=4, validations=2, head_first=settings.head_first)
    assert [name for name, _ in states] == ["head"] * 4 + ["main"] * 3
    rows = pd.DataFrame(outcome.history)
    assert rows["stage"].tolist() == [name for name, _ in states]
    for name, tensor in states[4][1].items():
        assert torch.equal(tensor, states[1][1][name])  # the best, not the last
        if not name.startswith("head."):
            assert torch.equal(tensor, states[0][1][name])  # the body, to the last bit
    changed = {name for name, t in states[-1][1].items() if not torch.equal(t, states[4][1][name])}
    assert changed == set(states[0][1])


def test_the_history_of_two_stages_counts_on():
    outcome = run(freezing_plan())
    rows = pd.DataFrame(outcome.history)
    assert rows["stage"].tolist() == ["head"] * 4 + ["main"] * 3
    assert rows["step"].tolist() == [0, 2, 4, 6, 6, 8, 10]
    assert rows["epoch"].tolist() == pytest.approx([s * 8 / 48 for s in rows["step"]])
    assert rows["learning_rate"].isna().tolist() == [True, *[False] * 3, True, *[False] * 2]
    assert rows["learning_rate"][1:4].tolist() == [0.05] * 3
    same_weights = rows["validation_loss"].iloc[4]
    assert same_weights == rows["validation_loss"][:4].min()
    HISTORY.check(rows)
    assert outcome.facts["steps"] == 10
    assert outcome.facts["stages"][0]["steps"] == 6
    assert outcome.best_step >= 6


def test_a_head_stage_of_its_own_length_is_a_linear_probe():
    probe = specification(train="head", steps=6, validations=3, monitor="loss", learning_rate=0.05,
                          schedule="constant")  # fmt: skip
    first = pd.DataFrame(run(freezing_plan()).history)[:4]
    alone = pd.DataFrame(run(probe).history)
    pd.testing.assert_frame_equal(first.drop(columns="stage"), alone.drop(columns="stage"))


def test_smoothing_weights_and_mixup_hold_in_both_stages(monkeypatch):
    seen = []
    original = stages.loss_of

    def recording(logits, labels, task, smoothing, weights, answers):
        seen.append((smoothing, weights is not None))
        return original(logits, labels, task, smoothing, weights, answers)

    monkeypatch.setattr(stages, "loss_of", recording)
    run(freezing_plan(label_smoothing=0.1, class_weights="balanced", mixup=0.3))
    assert seen == [(0.1, True)] * 20  # two labels a step


# selection and ends


class Answers(torch.nn.Module):
    """A network that answers each call with the next of some logits."""

    def __init__(self, answers: list[list[float]]) -> None:
        super().__init__()
        self.answers = [torch.tensor(answer) for answer in answers]
        self.register_buffer("call", torch.tensor(0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.call += 1
        return self.answers[int(self.call) - 1].reshape(len(images), -1)


def kept_calls(plan: Specification, labels: list[int], answers: list[list[float]]) -> list[int]:
    """After each validation, the number of the validation whose weights are kept."""
    part = Part(torch.zeros(len(labels), 4, 4, 1, dtype=torch.uint8), torch.tensor(labels))
    network, outcome, kept = Answers(answers), Outcome(plan), []
    stage = Stage("main", plan, 0, 1.0, None)
    selection = Selection(plan.recipe.monitor, plan.recipe.patience)
    for step in range(len(answers)):
        validate(network, stage, part, selection, outcome, Progress(step))
        kept.append(int(outcome.weights["call"]))
        assert outcome.best_step == kept[-1] - 1
    return kept


def test_of_equal_validations_the_earliest_is_kept_and_a_better_one_replaces_it():
    half, full = [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    plan = specification("binary")
    assert kept_calls(plan, [0, 0, 1, 1], [half, half, full, half, full]) == [1, 1, 3, 3, 3]


def test_an_undefined_validation_metric_is_replaced_by_a_defined_one():
    # all of one class: kappa is undefined while all decisions are that class, 0 afterwards
    same = [9.0, 0, 0, 9, 0, 0, 9, 0, 0]
    mixed = [9.0, 0, 0, 0, 9, 0, 9, 0, 0]
    assert kept_calls(specification("ordinal"), [0, 0, 0], [same, mixed, same]) == [1, 2, 2]


def test_the_loss_and_the_accuracy_can_decide_the_best_weights():
    # accuracy: 1/2, 3/4, 3/4; AUROC: 1, 1/2, 1/2; loss: falls
    answers = [[1.0, 2.0, 3.0, 4.0], [-2.0, -9.0, -5.0, 2.0], [-2.0, -3.0, -2.5, 2.0]]
    labels = [0, 0, 1, 1]
    assert kept_calls(specification(monitor="metric"), labels, answers) == [1, 1, 1]
    assert kept_calls(specification(monitor="accuracy"), labels, answers) == [1, 2, 2]
    assert kept_calls(specification(monitor="loss"), labels, answers) == [1, 1, 3]


def test_the_best_value_is_the_target_metric_whatever_is_monitored():
    outcome = run(specification(steps=20, validations=10, monitor="loss", learning_rate=0.02))
    rows = pd.DataFrame(outcome.history)
    best = rows["validation_loss"].argmin()
    assert outcome.best_step == rows["step"][best]
    assert outcome.best_value == rows["validation_metric"][best]


def waited(values: list[float], patience: int | None, monitor: str = "metric") -> int | None:
    """Number of the validation, from 0, after which the patience has run out."""
    selection = Selection(monitor, patience)
    for number, value in enumerate(values):
        selection.add(value, trained=number > 0)
        if selection.exhausted:
            return number
    return None


def test_the_patience_runs_out_after_so_many_validations_without_a_better_one():
    assert waited([0.1, 0.2, 0.3, 0.3, 0.2, 0.4], 2) == 4
    assert waited([0.1, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4], 2) == 6
    assert waited([0.9, 0.8, 0.7, 0.6, 0.5], 2, "loss") is None
    assert waited([0.1, 0.2, 0.3], 2, "loss") is None
    assert waited([0.1, 0.2, 0.3, 0.4], 2, "loss") == 3
    assert waited([0.5] * 9, None) is None


def test_a_lucky_start_is_no_reason_to_end():
    assert waited([0.9, 0.1, 0.2, 0.3, 0.4], 2) is None


def test_undefined_values_wait_for_a_defined_one():
    assert waited([math.nan, math.nan, 0.5, math.nan, math.nan], 2) == 4
    assert waited([math.nan] * 4, 2) == 2


def answers_run(monkeypatch, losses: list[float], **changes: object) -> Outcome:
    """A run whose validations have these losses."""
    values = iter(losses)
    original = stages.evaluate

    def answering(predictions, names):
        return {**original(predictions, names), "negative_log_likelihood": next(values)}

    monkeypatch.setattr(stages, "evaluate", answering)
    plan = specification(monitor="loss", schedule=changes.pop("schedule", "constant"), **changes)
    return run(plan)


def test_patience_ends_a_run_early_and_keeps_the_best_weights(monkeypatch):
    losses = [9.0, 5.0, 4.0, 4.5, 4.2, 1.0]
    outcome = answers_run(monkeypatch, losses, steps=50, validations=25, patience=2)
    assert [entry["step"] for entry in outcome.history] == [0, 2, 4, 6, 8]
    assert outcome.facts["stages"] == [
        {"stage": "main", "steps": 8, "ended_by": "patience", "best_step": 4}
    ]
    assert outcome.best_step == 4
    assert outcome.facts["steps"] == 8


def test_a_start_that_is_never_beaten_is_kept_and_ends_nothing(monkeypatch):
    losses = [0.1, 9.0, 8.0, 7.0, 6.0, 5.0]
    outcome = answers_run(monkeypatch, losses, steps=10, validations=5, patience=1)
    assert outcome.facts["stages"][0]["ended_by"] == "budget"
    assert outcome.best_step == 0


def test_a_rate_below_the_bound_ends_a_run(monkeypatch):
    settings = {"steps": 50, "validations": 25, "plateau_patience": 0, "learning_rate": 0.01}
    outcome = answers_run(
        monkeypatch, [9.0] * 20, schedule="plateau", stop_below=0.0005, warmup_steps=4, **settings
    )
    # 2 steps: warm-up; 4: the best; 6: 0.001; 8: 0.0001
    assert [entry["step"] for entry in outcome.history] == [0, 2, 4, 6, 8]
    rates = [entry["learning_rate"] for entry in outcome.history[1:]]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.001])
    assert outcome.facts["stages"][0]["ended_by"] == "stop_below"


def test_a_warm_up_below_the_bound_ends_nothing():
    outcome = run(specification(steps=6, warmup_steps=5, stop_below=0.0009, schedule="constant"))
    assert outcome.facts["stages"][0] | {"best_step": 0} == {
        "stage": "main", "steps": 6, "ended_by": "budget", "best_step": 0,
    }  # fmt: skip


def test_the_head_stage_has_its_own_patience(monkeypatch):
    first = HeadStageSettings(0.01, steps=20, validations=20, monitor="loss", patience=1)
    losses = [9.0, 5.0, 6.0, 3.0, 2.0, 1.0]
    outcome = answers_run(monkeypatch, losses, steps=4, validations=2, head_first=first)
    assert [s["steps"] for s in outcome.facts["stages"]] == [2, 4]
    assert [s["ended_by"] for s in outcome.facts["stages"]] == ["patience", "budget"]
    assert [entry["step"] for entry in outcome.history] == [0, 1, 2, 2, 4, 6]
    assert outcome.best_step == 6


@pytest.mark.parametrize("first", [None, HeadStageSettings(0.1, steps=2, monitor="accuracy")])
def test_accuracy_of_several_labels_is_refused_as_a_monitor(first):
    monitor = "accuracy" if first is None else "loss"
    plan = specification("multilabel", monitor=monitor, head_first=first)
    with pytest.raises(ConfigError, match="'monitor' is 'accuracy', which a multilabel task"):
        run(plan, "multilabel")


# record


def test_the_record_says_what_was_carried_out():
    cases = (
        CaseSettings(images_from=40, steps=5, mixup=0.5),
        CaseSettings(side_from=12, side_below=13, resize=16),
        CaseSettings(images_below=48, steps=1),
    )
    plan = specification(cases=cases, normalisation="training_images")
    outcome = run(plan)
    facts = json.loads(json.dumps(run_facts(outcome, {"train": 48}, "cpu")))
    assert (facts["recipe"]["steps"], facts["recipe"]["mixup"], facts["recipe"]["resize"]) == (
        5,
        0.5,
        16,
    )
    assert facts["recipe"]["cases"] == []
    assert facts["steps"] == 5
    assert facts["mean"] != [0.5, 0.5, 0.5]
    assert facts["stages"][0]["ended_by"] == "budget"
    assert facts["best_validation_metric"] == outcome.best_value


def test_a_case_holds_from_its_first_to_below_its_last_image():
    case = CaseSettings(images_from=10, images_below=20, side_from=4, side_below=8, mixup=0.5)
    recipe = specification(cases=(case,)).recipe
    held = {
        (images, side)
        for images in (9, 10, 19, 20)
        for side in (3, 4, 7, 8)
        if recipe.for_data(images, side).mixup
    }
    assert held == {(10, 4), (10, 7), (19, 4), (19, 7)}
    later = dataclasses.replace(recipe, cases=(case, CaseSettings(mixup=0.2, steps=3)), steps=None,
                                epochs=1.0)  # fmt: skip
    assert later.for_data(10, 4).mixup == 0.2
    assert (later.for_data(10, 4).steps, later.for_data(10, 4).epochs) == (3, None)
