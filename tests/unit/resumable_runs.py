"""Training jobs as processes that tests kill: the real script on a small store, forked to be quick."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
from training_runs import problem

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "train.py"
MODEL = {"architecture": "cbr", "arguments": {"channels": [6, 8], "kernel_size": 3}}
# most of what a state must hold: draws of every kind, two stages, a schedule and an end by the metric
RECIPE = {
    "steps": 24,
    "batch_size": 7,
    "validations": 8,
    "learning_rate": 0.01,
    "schedule": "plateau",
    "plateau_patience": 0,
    "decay_factor": 0.5,
    "warmup_steps": 3,
    "layer_decay": 0.7,
    "patience": 5,
    "dropout": 0.4,
    "mixup": 0.5,
    "gradient_clip": 1.0,
    "augmentation": {"rotate": 20.0, "flip_horizontal": 0.5, "brightness": 0.3},
    "head_first": {"learning_rate": 0.02, "steps": 8, "validations": 4},
}
FILES = ("model.safetensors", "predictions.parquet", "history.parquet")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "timm", "pandas", "medtransfer.training.divergence"])


def write_store(folder: Path) -> None:
    """A pixel store, its samples and a split."""
    whole = problem("binary", count=60)
    np.save(folder / "images.npy", whole.pixels.numpy())
    names = [f"image{i}" for i in range(60)]
    samples = pd.DataFrame({"image_id": names, "patient": names, "label": whole.labels.numpy()})
    samples.to_parquet(folder / "samples.parquet")
    split = pd.DataFrame({"image_id": names, "part": ["train", "train", "validation", "test"] * 15})
    rows = split["part"] == "train"
    split["training_rank"] = np.where(rows, rows.cumsum(), 0)
    split.to_parquet(folder / "split.parquet")


def command(store: Path, folder: Path, *more: str, recipe: dict[str, object] = RECIPE) -> list[str]:
    """The command line of a run."""
    return [
        str(SCRIPT), "--images", f"{store}/images.npy", "--samples", f"{store}/samples.parquet",
        "--split", f"{store}/split.parquet", "--task", "binary", "--outputs", "positive",
        "--metric", "auroc", "--model", json.dumps(MODEL), "--recipe", json.dumps(recipe),
        "--device", "cpu", "--folder", str(folder), "--save-seconds", "0", *more,
    ]  # fmt: skip


def started(arguments: list[str], log: Path, before: Callable[[], None] | None = None) -> BaseProcess:
    """The script in a process of its own, which does something before, if asked."""
    process = SERVER.Process(target=_run, args=(arguments, log, before))
    process.start()
    return process


def finished(arguments: list[str], log: Path, before: Callable[[], None] | None = None) -> int:
    """The exit status; minus the signal that ended the process."""
    process = started(arguments, log, before)
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def _run(arguments: list[str], log: Path, before: Callable[[], None] | None) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 2)
    sys.stderr = os.fdopen(2, "w")
    sys.argv = arguments
    if before is not None:
        before()
    runpy.run_path(arguments[0], run_name="__main__")


# what may be done before: end the process at a chosen point


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


class DieAtCall:
    """Replaces a function by one that ends the process at a call, before it or after it."""

    def __init__(
        self, owner: str, name: str, call: int, after: bool = False, number: int = signal.SIGKILL
    ) -> None:
        self.owner, self.name, self.call, self.after, self.number = owner, name, call, after, number
        self.calls = 0

    def __call__(self) -> None:
        module, _, attribute = self.owner.partition(":")
        owner = __import__(module, fromlist=["_"])
        owner = getattr(owner, attribute) if attribute else owner
        original = getattr(owner, self.name)

        def replacement(*arguments: object, **settings: object) -> object:
            self.calls += 1
            if self.calls == self.call and not self.after:
                die(self.number)
            result = original(*arguments, **settings)
            if self.calls == self.call and self.after:
                die(self.number)
            return result

        setattr(owner, self.name, replacement)


class HalfAState:
    """Ends the process while it writes its nth state, after some of the bytes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.states = 0

    def __call__(self) -> None:
        import torch

        from medtransfer.training import state

        original = torch.save

        def replacement(content: object, file: object) -> None:
            self.states += 1
            if self.states < self.number:
                return original(content, file)
            original(content, Halting(file))
            return None

        state.torch.save = replacement


class Halting:
    def __init__(self, file: object) -> None:
        self.file, self.room = file, 3000

    def write(self, data: bytes) -> int:
        self.file.write(data[: self.room])
        self.file.flush()
        self.room -= len(data)
        if self.room <= 0:
            self.file._file.flush()
            die()
        return len(data)

    def flush(self) -> None:
        self.file.flush()
