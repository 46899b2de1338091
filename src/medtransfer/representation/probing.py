"""A finished run's network at its start and at its end, and what is taken out of both."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from medtransfer.config.names import parse_init
from medtransfer.data.splits import training_subset
from medtransfer.data.stored_images import check_pixels
from medtransfer.evaluation.metrics import evaluate
from medtransfer.evaluation.predictions import Predictions
from medtransfer.files import read_json
from medtransfer.models.weights import StateDict, load_weights, read_state
from medtransfer.representation.activations import Activations
from medtransfer.representation.batch_norm import calibrate, uncalibrated_layers
from medtransfer.representation.extraction import Images, Request, extract
from medtransfer.representation.filters import filter_changes, filter_values, first_convolution
from medtransfer.representation.reinitialisation import fresh_state, reinitialised_scores
from medtransfer.representation.weight_distance import weight_distances
from medtransfer.seeds import derived_seed
from medtransfer.training.arithmetic import prepare
from medtransfer.training.finished import finished_specification
from medtransfer.training.job import Store, cut_parts, label_array
from medtransfer.training.memory import room_for_images
from medtransfer.training.prediction import predict
from medtransfer.training.run import starting_network
from medtransfer.training.specification import Part, Specification

# images whose batch statistics stand for those of all training images
CALIBRATION_IMAGES = 1000
# of them, so that batches whose sizes differ by one have two images or more
FEWEST_AT_ONCE = 3


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done, with what it came from and what it saw.

    Attributes:
        specification: as it was carried out, not compiled.
        weights: the selected ones.
        source: weights of the init's source; empty where it has none.
        store: images, labels and split.
        subset: of the training images.
        device: where networks are computed.
    """

    specification: Specification
    weights: StateDict
    source: StateDict
    store: Store
    subset: str
    device: torch.device

    @cached_property
    def start(self) -> nn.Module:
        """The network at step 0; batch norms without statistics have those of training images."""
        part = self.part(self.training_rows(1))
        network = starting_network(self.specification, part, self.source)
        network = prepare(network, self.specification.arithmetic_on(self.device), self.device)
        layers = uncalibrated_layers(network, parse_init(self.specification.init))
        return calibrate(network, self.calibration_batches(), layers).eval()

    @cached_property
    def end(self) -> nn.Module:
        """The network with the selected weights."""
        network = copy.deepcopy(self.start)
        network.load_state_dict(self.weights)
        return network.eval()

    def calibration_batches(self) -> Iterator[torch.Tensor]:
        """Training images as the network sees them, none alone: it would have no variance."""
        rows = self.training_rows(CALIBRATION_IMAGES)
        images = self.images(rows, self.part(rows))
        recipe = self.specification.recipe
        if recipe.micro_batch_size is not None:
            recipe = replace(recipe, micro_batch_size=max(FEWEST_AT_ONCE, recipe.micro_batch_size))
        yield from replace(images, specification=replace(self.specification, recipe=recipe)).batches()

    def training_rows(self, most: int) -> np.ndarray:
        """Rows of the training images, at most so many: a part of any larger number of them."""
        rows = training_subset(self.store.split, self.subset, self.specification.seed)
        return _in_random_order(rows, "training images")[:most]

    def test_rows(self) -> np.ndarray:
        """Rows of the test images, in an order that is the same for all runs of a split."""
        rows = np.flatnonzero((self.store.split["part"] == "test").to_numpy())
        return _in_random_order(rows, "test images")

    def part(self, rows: np.ndarray) -> Part:
        """Pixels and labels of some rows of the store, on the device."""
        labels = label_array(self.store.samples, self.specification.outputs, self.specification.task)
        room = room_for_images(self.device)
        check_pixels(self.store.images, self.store.samples, rows)
        part = cut_parts(self.store.images, labels, {"rows": rows}, room)["rows"]
        return Part(part.pixels.to(self.device), part.labels.to(self.device))

    def images(self, rows: np.ndarray, part: Part) -> Images:
        """The same rows as the network sees them."""
        ids = tuple(self.store.samples["image_id"].iloc[rows])
        return Images(part.pixels, self.specification, ids)


@dataclass(frozen=True)
class Probed:
    """What is kept of a run.

    Attributes:
        start, end: activations of both moments.
        distances: a table of schema WEIGHT_DISTANCE.
        filters: a table of schema FILTERS.
        filter_weights: a table of schema FILTER_WEIGHTS.
    """

    start: Activations
    end: Activations
    distances: pd.DataFrame
    filters: pd.DataFrame
    filter_weights: pd.DataFrame


def read_run(
    folder: Path, store: Store, subset: str, weights: Path | None, device: torch.device
) -> FinishedRun:
    """A run from its files.

    Args:
        folder: with run.json and model.safetensors.
        store: images, labels and split.
        subset: of the training images.
        weights: what the run started from, with a sidecar; None for a random start.
        device: where networks are computed.
    """
    record = folder / "run.json"
    specification = finished_specification(read_json(record), str(record))
    selected = read_state(folder / "model.safetensors")
    source = {} if weights is None else load_weights(weights)[0]
    return FinishedRun(specification, selected, source, store, subset, device)


def in_float32(run: FinishedRun) -> FinishedRun:
    """The same run, computed without the rounding of bfloat16."""
    arithmetic = replace(run.specification.arithmetic_on(run.device), precision="float32")
    return replace(run, specification=replace(run.specification, arithmetic=arithmetic))


def probed(run: FinishedRun, request: Request, bank_images: int) -> Probed:
    """Activations of both moments, how far the weights moved, and the filters of the first layer.

    Args:
        run: computed in float32, whatever it was trained in.
        request: what to keep of the probe, the first test images.
        bank_images: training images at most whose pooled features are kept.

    Raises:
        ConfigError: the network's first unit has no convolution, or a block doesn't fit into memory.
    """
    run = in_float32(run)
    rows = {"test": run.test_rows(), "train": run.training_rows(bank_images)}
    parts = {name: run.images(chosen, run.part(chosen)) for name, chosen in rows.items()}
    start, end = (
        {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        for network in (run.start, run.end)
    )
    name = first_convolution(run.start)
    kernels = start[name].numpy(), end[name].numpy()
    return Probed(
        extract(run.start, parts, request),
        extract(run.end, parts, request),
        weight_distances(run.start, start, end, as_released=True),
        filter_changes(*kernels),
        filter_values(*kernels),
    )


def reinitialised(run: FinishedRun) -> pd.DataFrame:
    """The target metric on the test part with one unit after the other put back.

    Returns:
        A table of schema REINITIALISATION, of both kinds.
    """
    specification = run.specification
    part = run.part(run.test_rows())
    labels = part.labels.cpu().numpy()

    def scored(network: nn.Module) -> dict[str, float]:
        logits = predict(network, part.pixels, specification)
        found = Predictions(specification.task, logits, labels)
        return evaluate(found, [specification.metric])

    side, channels = part.pixels.shape[2:]
    drawn = fresh_state(
        specification.model,
        parse_init(specification.init),
        channels=channels,
        outputs=len(specification.outputs),
        image_size=specification.recipe.input_side(side),
        seed=specification.seed,
    )
    fresh = _calibrated(run, drawn)
    return pd.concat(
        [
            reinitialised_scores(run.end, run.start.state_dict(), scored, "start"),
            reinitialised_scores(run.end, fresh, scored, "fresh"),
        ],
        ignore_index=True,
    )


def _calibrated(run: FinishedRun, state: StateDict) -> StateDict:
    """A random state with the batch norm statistics that the training images give it."""
    network = copy.deepcopy(run.start)
    network.load_state_dict(state)
    return calibrate(network, run.calibration_batches(), None).state_dict()


def _in_random_order(rows: np.ndarray, purpose: str) -> np.ndarray:
    return np.random.default_rng(derived_seed(0, purpose)).permutation(rows)
