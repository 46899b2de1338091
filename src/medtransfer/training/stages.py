"""The stages of a run: its head alone where the recipe says so, then the run itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.stages import stage_recipes
from medtransfer.errors import TrainingError
from medtransfer.evaluation.metrics import evaluate
from medtransfer.evaluation.predictions import Predictions
from medtransfer.seeds import derived_seed
from medtransfer.training.batches import Batch, TrainingBatches, pieces
from medtransfer.training.freezing import learning, set_training_mode
from medtransfer.training.learner import Learner
from medtransfer.training.losses import balanced_weights, known_answers, loss_of, mixed_loss
from medtransfer.training.optimisation import Schedule, build_optimizer
from medtransfer.training.oversight import Oversight
from medtransfer.training.prediction import logits_of, predict
from medtransfer.training.selection import Selection, monitored_name
from medtransfer.training.specification import Outcome, Part, Specification
from medtransfer.training.state import Snapshot


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: as the history shows it: ``head`` (a first stage) or ``main``.
        specification: with the recipe of this stage.
        first_step: optimiser steps of the stages before.
        steps_per_epoch: steps that see as many images as there are.
        class_weights: of :func:`balanced_weights`, or None.
        last_step: of the run, if neither this stage nor a later one ends early.
    """

    name: str
    specification: Specification
    first_step: int
    steps_per_epoch: float
    class_weights: torch.Tensor | None
    last_step: int = 0


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


def fit(
    network: nn.Module,
    specification: Specification,
    parts: dict[str, Part],
    oversight: Oversight | None = None,
) -> Outcome:
    """Train ``network``, in place, through all stages; each starts from the best weights of the last.

    Args:
        network: at its start, on the device of the parts.
        specification: resolved for the training images.
        parts: ``train`` and ``validation``.
        oversight: what saves the run's state, from which this goes on, and shows it.

    Returns:
        The outcome with best weights, history and what each stage came to.

    Raises:
        TrainingError: the loss is no longer finite.
        Stopped: the oversight is told to stop.
    """
    oversight = oversight or Oversight()
    outcome = Outcome(specification, facts={"stages": []})
    with oversight.keeper.stop.deferred():
        saved = oversight.keeper.load(_bytes(network)) or {}
        outcome.load_state_dict(saved.get("outcome", {}))
        for stage in _stages_to_come(specification, parts["train"], outcome):
            with learning(network, stage.specification.recipe.train):
                fact = _run_stage(network, stage, parts, outcome, oversight, saved.pop("learner", None))
            outcome.facts["stages"].append(fact)
            network.load_state_dict(outcome.weights)
        oversight.keeper.attend(_steps(outcome), lambda: {"outcome": outcome.state_dict()})
    for display in oversight.displays:
        display.close()
    network.load_state_dict(outcome.weights)
    outcome.facts["steps"] = _steps(outcome)
    return outcome


def _bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _stages_to_come(specification: Specification, training: Part, outcome: Outcome) -> Iterator[Stage]:
    """The stages that the outcome doesn't have, each counting on from the one before."""
    recipe, weights = specification.recipe, None
    if recipe.class_weights == "balanced":
        outputs = len(specification.outputs)
        weights = balanced_weights(training.labels, specification.task, outputs)
    per_epoch = max(1, len(training.pixels) / recipe.batch_size)
    to_come = list(stage_recipes(recipe).items())[len(outcome.facts["stages"]) :]
    for i, (name, settings) in enumerate(to_come):
        first = _steps(outcome)
        last = first + sum(later.total_steps(len(training.pixels)) for _, later in to_come[i:])
        yield Stage(name, replace(specification, recipe=settings), first, per_epoch, weights, last)


def _steps(outcome: Outcome) -> int:
    """Of the stages that are finished."""
    return sum(fact["steps"] for fact in outcome.facts["stages"])


def _run_stage(
    network: nn.Module,
    stage: Stage,
    parts: dict[str, Part],
    outcome: Outcome,
    oversight: Oversight,
    saved: Snapshot | None,
) -> dict[str, Any]:
    """What the stage came to; best weights and history go into ``outcome``.

    Args:
        saved: the state of the stage's learner to go on from, or None to begin.
    """
    recipe, first = stage.specification.recipe, stage.first_step
    total = recipe.total_steps(len(parts["train"].pixels))
    stops = {round(total * (i + 1) / recipe.validations) for i in range(recipe.validations)}
    learner = _new_learner(network, stage, parts["train"], total)
    if saved is not None:
        learner.load_state_dict(saved)
        set_training_mode(network, recipe.train)
    for display in oversight.displays:
        display.begin(stage.name, first + learner.steps, stage.last_step, recipe.batch_size)
    if saved is None:
        _validate(learner, stage, parts["validation"], outcome, oversight, Progress(first))
    reason = None
    while learner.steps < total and reason is None:
        oversight.keeper.attend(first + learner.steps, partial(_snapshot, learner, outcome))
        rate = learner.schedule.rate
        take_step(learner, stage)
        for display in oversight.displays:
            display.stepped(first + learner.steps, learner.losses[-1])
        if learner.steps in stops:
            reached = first + learner.steps
            progress = Progress(reached, _mean_loss(learner.losses, reached), rate)
            learner.losses.clear()
            value = _validate(learner, stage, parts["validation"], outcome, oversight, progress)
            learner.schedule.after_validation(value)
            reason = _reason_to_end(recipe, learner.selection, learner.schedule)
    return {
        "stage": stage.name,
        "steps": learner.steps,
        "ended_by": reason or "budget",
        "best_step": outcome.best_step,
    }


def _new_learner(network: nn.Module, stage: Stage, training: Part, total: int) -> Learner:
    """A stage at its first step; every stage has the same draws, whatever the stages before came to."""
    recipe = stage.specification.recipe
    torch.manual_seed(derived_seed(stage.specification.seed, "dropout"))
    optimizer = build_optimizer(network, recipe)
    return Learner(
        network,
        optimizer,
        Schedule(optimizer, recipe, total),
        Selection(recipe.monitor, recipe.patience),
        TrainingBatches(training, stage.specification),
    )


def _snapshot(learner: Learner, outcome: Outcome) -> Snapshot:
    return {"learner": learner.state_dict(), "outcome": outcome.state_dict()}


def _reason_to_end(recipe: RecipeSettings, selection: Selection, schedule: Schedule) -> str | None:
    if selection.exhausted:
        return "patience"
    if recipe.stop_below is not None and schedule.warm and schedule.rate < recipe.stop_below:
        return "stop_below"
    return None


def take_step(learner: Learner, stage: Stage) -> None:
    """One optimiser step; nothing waits for the device."""
    clip = stage.specification.recipe.gradient_clip
    learner.optimizer.zero_grad(set_to_none=True)
    loss = _gradients(learner.network, stage, next(learner.batches))
    if clip is not None:
        nn.utils.clip_grad_norm_(learner.network.parameters(), clip)
    learner.optimizer.step()
    learner.schedule.after_step()
    learner.losses.append(loss)
    learner.steps += 1


def trial_step(network: nn.Module, specification: Specification, training: Part) -> None:
    """One step as the stages take them; the network is not what it was afterwards."""
    network.zero_grad(set_to_none=True)
    set_training_mode(network, "all")
    stage = Stage("trial", specification, 0, 1.0, None)
    with torch.enable_grad():
        take_step(_new_learner(network, stage, training, total=1), stage)
    network.zero_grad(set_to_none=True)


def _gradients(network: nn.Module, stage: Stage, batch: Batch) -> torch.Tensor:
    """Add the gradients of a batch's loss, piece by piece; returns the loss."""
    losses = []
    for piece in pieces(batch, stage.specification.recipe.micro_batch_size):
        loss = _piece_loss(network, stage, piece, batch)
        torch.autograd.backward(loss)
        losses.append(loss.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _piece_loss(network: nn.Module, stage: Stage, piece: Batch, batch: Batch) -> torch.Tensor:
    """What a piece contributes to the loss of its batch."""
    specification, weights = stage.specification, stage.class_weights
    task, smoothing = specification.task, specification.recipe.label_smoothing
    logits = logits_of(network, piece.images, specification)
    answers = known_answers(batch.labels, task)
    loss = loss_of(logits, piece.labels, task, smoothing, weights, answers)
    if piece.other_labels is None or batch.other_labels is None:
        return loss
    answers = known_answers(batch.other_labels, task)
    other = loss_of(logits, piece.other_labels, task, smoothing, weights, answers)
    return mixed_loss(loss, other, piece.share)


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


def _validate(
    learner: Learner,
    stage: Stage,
    part: Part,
    outcome: Outcome,
    oversight: Oversight,
    progress: Progress,
) -> float:
    """As :func:`validate`, and shown."""
    value = validate(learner.network, stage, part, learner.selection, outcome, progress)
    for display in oversight.displays:
        display.validated(outcome.history[-1], (outcome.best_step, outcome.best_value))
    return value


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
    monitored = monitored_name(specification.recipe.monitor, specification.metric)
    scores = evaluate(
        Predictions(specification.task, logits, part.labels.cpu().numpy()),
        ["negative_log_likelihood", specification.metric, monitored],
    )
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
    value = scores[monitored]
    if selection.add(value, trained=progress.step > stage.first_step):
        outcome.best_step, outcome.best_value = progress.step, scores[specification.metric]
        outcome.best_monitored = value
        outcome.weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    set_training_mode(network, specification.recipe.train)
    return value
