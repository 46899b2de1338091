"""When a network doesn't fit: how many images at once would."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from medtransfer.errors import TrainingError
from medtransfer.training.specification import Specification

Result = TypeVar("Result")

# in the words of torch's allocators and of oneDNN
_MARKS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a step says that memory is short, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _MARKS)


def within_memory(
    work: Callable[[], Result], trial: Callable[[int], object], specification: Specification
) -> Result:
    """The result of ``work``; where memory doesn't suffice, an error with the batch that would fit.

    Args:
        work: the training.
        trial: one step with so many images at once; called once ``work`` has failed, with fewer and
            fewer, until it succeeds.
        specification: resolved for the training images.

    Raises:
        TrainingError: out of memory; says what to set so that it fits.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the step that failed
        raise TrainingError(_advice(_largest_fitting(trial, specification), specification)) from None


def _largest_fitting(trial: Callable[[int], object], specification: Specification) -> int:
    """Images that fit at once: those of the run halved until they do; 0 if a single one doesn't."""
    size = images_at_once(specification)
    while size and not _fits(trial, size):
        size //= 2
    return size


def _fits(trial: Callable[[int], object], size: int) -> bool:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        trial(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False
    return True


def images_at_once(specification: Specification) -> int:
    """Images that go through the network together in training."""
    recipe = specification.recipe
    return min(recipe.batch_size, recipe.micro_batch_size or recipe.batch_size)


def with_images_at_once(specification: Specification, size: int) -> Specification:
    """The same run with steps of this many images."""
    recipe = replace(specification.recipe, batch_size=size, micro_batch_size=None)
    return replace(specification, recipe=recipe)


def _advice(fitting: int, specification: Specification) -> str:
    size, batch = images_at_once(specification), specification.recipe.batch_size
    found = f"out of memory with {size} images at once"
    arithmetic = specification.arithmetic
    if arithmetic is not None and not arithmetic.checkpointed:
        other = "'hardware.checkpoint_activations: true', which needs less memory and more time"
    else:
        other = "a smaller network or smaller images"
    if fitting == size:
        return f"{found}, though they fit alone; fewer jobs at the same time, or {other}, may help"
    if fitting == 0:
        return f"{found}, and not even 1 fits; allowed: {other}"
    return (
        f"{found}; {fitting} fit: set 'micro_batch_size: {fitting}' in the recipe, whose steps stay "
        f"those of {batch} images, or {other}"
    )
