"""The stages of a run: its head alone where the recipe says so, then the run itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from medtransfer.config.recipe import RecipeSettings
from medtransfer.errors import TrainingError
from medtransfer.evaluation.metrics import Predictions, evaluate
from medtransfer.training.batches import Batch, training_batches
from medtransfer.training.freezing import learning, set_training_mode
from medtransfer.training.losses import balanced_weights, loss_of, mixed_loss
from medtransfer.training.optimisation import Schedule, build_optimizer
from medtransfer.training.prediction import logits_of, predict
from medtransfer.training.selection import Selection, monitored_name
from medtransfer.training.specification import Outcome, Part, Specification


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: as the history shows it: ``head`` (a first stage) or ``main``.
        specification: with the recipe of this stage.
        first_step: optimiser steps of the stages before.
        steps_per_epoch: steps that see as many images as there are.
        class_weights: of :func:`balanced_weights`, or None.
    """

    name: str
    specification: Specification
    first_step: int
    steps_per_epoch: float
    class_weights: torch.Tensor | None


@dataclass(frozen=True)
class Progress:
    """What a row of the history knows before its validation.

    Attributes:
        step: optimiser steps of the run so far.
        training_loss: mean since the previous row.
        learning_rate: of the latest step, of the parameter group with the highest.
    """

    step: int
    training_loss: float = math.nan
    learning_rate: float = math.nan


def fit(network: nn.Module, specification: Specification, parts: dict[str, Part]) -> Outcome:
    """Train ``network``, in place, through all stages; each starts from the best weights of the last.

    Args:
        network: at its start, on the device of the parts.
        specification: resolved for the training images.
        parts: ``train`` and ``validation``.

    Returns:
        The outcome with best weights, history and what each stage came to.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    training, recipe = parts["train"], specification.recipe
    weights = None
    if recipe.class_weights == "balanced":
        outputs = len(specification.outputs)
        weights = balanced_weights(training.labels, specification.task, outputs)
    batches = training_batches(training, specification)
    per_epoch = max(1, len(training.pixels) / recipe.batch_size)
    outcome, steps = Outcome(specification), 0
    facts: list[dict[str, object]] = []
    for name, settings in stage_recipes(recipe).items():
        stage = Stage(name, replace(specification, recipe=settings), steps, per_epoch, weights)
        with learning(network, settings.train):
            done, reason = _run_stage(network, stage, parts, batches, outcome)
        steps += done
        facts.append({"stage": name, "steps": done, "ended_by": reason, "best_step": outcome.best_step})
        network.load_state_dict(outcome.weights)
    outcome.facts |= {"steps": steps, "stages": facts}
    return outcome


def stage_recipes(recipe: RecipeSettings) -> dict[str, RecipeSettings]:
    """The recipe of each stage by its name, in order.

    The first stage, of the head alone, has a constant rate without warm-up; what its settings don't
    name is as in the recipe.
    """
    if recipe.head_first is None:
        return {"main": recipe}
    changes = {
        field.name: getattr(recipe.head_first, field.name)
        for field in dataclasses.fields(recipe.head_first)
    }
    head = replace(
        recipe, head_first=None, train="head", schedule="constant", decay_at=(), warmup=0.0,
        warmup_steps=None, warmup_start=None, stop_below=None, layer_decay=1.0, **changes,
    )  # fmt: skip
    return {"head": head, "main": replace(recipe, head_first=None)}


def _run_stage(
    network: nn.Module,
    stage: Stage,
    parts: dict[str, Part],
    batches: Iterator[Batch],
    outcome: Outcome,
) -> tuple[int, str]:
    """Steps done and why the stage ended; best weights and history go into ``outcome``."""
    recipe = stage.specification.recipe
    total = recipe.total_steps(len(parts["train"].pixels))
    optimizer = build_optimizer(network, recipe)
    schedule = Schedule(optimizer, recipe, total)
    selection = Selection(recipe.monitor, recipe.patience)
    stops = {round(total * (i + 1) / recipe.validations) for i in range(recipe.validations)}
    losses: list[torch.Tensor] = []
    validate(network, stage, parts["validation"], selection, outcome, Progress(stage.first_step))
    for step in range(1, total + 1):
        rate = schedule.rate
        losses.append(_step(network, stage, next(batches), optimizer))
        schedule.after_step()
        if step in stops:
            reached = stage.first_step + step
            progress = Progress(reached, _mean_loss(losses, reached), rate)
            losses.clear()
            value = validate(network, stage, parts["validation"], selection, outcome, progress)
            schedule.after_validation(value)
            if reason := _reason_to_end(recipe, selection, schedule):
                return step, reason
    return total, "budget"


def _reason_to_end(recipe: RecipeSettings, selection: Selection, schedule: Schedule) -> str | None:
    if selection.exhausted:
        return "patience"
    if recipe.stop_below is not None and schedule.warm and schedule.rate < recipe.stop_below:
        return "stop_below"
    return None


def _step(
    network: nn.Module, stage: Stage, batch: Batch, optimizer: torch.optim.Optimizer
) -> torch.Tensor:
    """One optimiser step; returns the loss without waiting for the device."""
    clip = stage.specification.recipe.gradient_clip
    loss = _batch_loss(network, stage, batch)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()
    return loss.detach()


def _batch_loss(network: nn.Module, stage: Stage, batch: Batch) -> torch.Tensor:
    specification, weights = stage.specification, stage.class_weights
    task, smoothing = specification.task, specification.recipe.label_smoothing
    logits = logits_of(network, batch.images, specification)
    loss = loss_of(logits, batch.labels, task, smoothing, weights)
    if batch.other_labels is None:
        return loss
    return mixed_loss(loss, loss_of(logits, batch.other_labels, task, smoothing, weights), batch.share)


def _mean_loss(losses: list[torch.Tensor], step: int) -> float:
    """Mean of the losses up to ``step``; raises TrainingError when one of them isn't finite."""
    mean = float(torch.stack(losses).mean())
    if not np.isfinite(mean):
        first = (
            step
            - len(losses)
            + 1
            + next(i for i, loss in enumerate(losses) if not bool(torch.isfinite(loss)))
        )
        raise TrainingError(
            f"the training loss is not finite from step {first} on; a lower learning rate or a "
            "gradient_clip in the recipe may help"
        )
    return mean


def validate(
    network: nn.Module,
    stage: Stage,
    part: Part,
    selection: Selection,
    outcome: Outcome,
    progress: Progress,
) -> float:
    """Score the validation part, add a row to the history, keep the weights if they are best.

    Returns:
        The value that the recipe monitors.
    """
    specification = stage.specification
    logits = predict(network, part.pixels, specification)
    scores = evaluate(Predictions(specification.task, logits, part.labels.cpu().numpy()))
    outcome.history.append(
        {
            "stage": stage.name,
            "step": progress.step,
            "epoch": progress.step / stage.steps_per_epoch,
            "learning_rate": progress.learning_rate,
            "training_loss": progress.training_loss,
            "validation_loss": scores["negative_log_likelihood"],
            "validation_metric": scores[specification.metric],
        }
    )
    value = scores[monitored_name(specification.recipe.monitor, specification.metric)]
    if selection.add(value, trained=progress.step > stage.first_step):
        outcome.best_step, outcome.best_value = progress.step, scores[specification.metric]
        outcome.best_monitored = value
        outcome.weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    set_training_mode(network, specification.recipe.train)
    return value
