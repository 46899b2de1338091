"""Short runs on small stores, finished and written as a training job writes them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from training_runs import CPU, NAMES, problem, specification

from medtransfer.config.model import ModelSettings
from medtransfer.models.build import build_network
from medtransfer.models.weights import RANDOM_START, StateDict, save_weights, write_state
from medtransfer.representation.probing import FinishedRun, read_run
from medtransfer.training.job import RunResult, Store, train_run
from medtransfer.training.specification import Specification

IMAGES = 96
VIT = ModelSettings("test_vit", {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 4})


@cache
def store_of(task: str = "binary", channels: int = 1, split_seed: int = 0) -> Store:
    """Images of all parts mixed with each other, ids in another order than the rows."""
    part = problem(task, IMAGES, channels)
    generator = np.random.default_rng(7)
    samples = pd.DataFrame({"image_id": [f"i{n:03d}" for n in generator.permutation(IMAGES)]})
    samples["patient"] = samples["image_id"]
    labels = part.labels.numpy()
    if task == "multilabel":
        samples[[f"label_{name}" for name in NAMES]] = labels
    else:  # some classes are wrong, so that no network gets all of them right
        wrong = generator.random(IMAGES) < 0.3
        samples["label"] = np.where(wrong, generator.permutation(labels), labels).astype(np.int64)
    parts = np.repeat(["train", "validation", "test"], [48, 16, 32])
    parts = np.random.default_rng([split_seed, 5]).permutation(parts)
    ranks = np.zeros(IMAGES, dtype=np.int64)
    ranks[parts == "train"] = np.random.default_rng([split_seed, 6]).permutation(48) + 1
    split = pd.DataFrame({"image_id": samples["image_id"], "part": parts, "training_rank": ranks})
    return Store(part.pixels.numpy(), samples, split)


def source_weights(plan: Specification, channels: int = 3) -> StateDict:
    """Tensors of a network with its own head, none at its start."""
    network = build_network(plan.model, channels, 5, 12, seed=11)
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(tensor.shape, generator=generator)
        elif tensor.is_floating_point():
            state[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        else:
            state[name] = tensor + 7
    return state


def carried_out(
    folder: Path, plan: Specification, store: Store, subset: str = "full"
) -> tuple[FinishedRun, RunResult]:
    """Train, write and read a run; a source's weights are made up where its init has one."""
    weights, source = None, {}
    if plan.init not in ("random", "gabor"):
        source, weights = source_weights(plan), folder / "source.safetensors"
        save_weights(source, weights, RANDOM_START)
    result = train_run(plan, store, subset, source, "cpu")
    write_state(result.weights, folder / "model.safetensors")
    result.predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "run.json").write_text(json.dumps(result.facts))
    return read_run(folder, store, subset, weights, CPU), result


def brief(task: str = "binary", **changes: object) -> Specification:
    """A run of a few steps that moves its network well away from the start."""
    return specification(task, **{"steps": 8, "learning_rate": 0.02, "monitor": "loss"} | changes)
