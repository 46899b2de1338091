"""Every kind of file that is written, of a size of some disk blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from medtransfer.figures.style import save_figure
from medtransfer.files import write_json, write_text
from medtransfer.models.weights import RANDOM_START, save_weights
from medtransfer.representation.activations import Activations, Facts, PointFacts, write_activations
from medtransfer.representation.embedding import EmbeddedImages, write_embedding
from medtransfer.tables import Column, Schema, write_csv, write_table

NUMBERS = np.random.default_rng(0).normal(size=(40, 100)).astype(np.float32)
TABLE = pd.DataFrame({"name": [f"row {i}" for i in range(4000)], "value": NUMBERS.ravel()})
SCHEMA = Schema(
    "things", "a thing", {"name": Column("text", ""), "value": Column("number", "")}, families={}
)


def _table(path: Path) -> None:
    write_table(TABLE, SCHEMA, path)


def _csv(path: Path) -> None:
    write_csv(TABLE, path)


def _weights(path: Path) -> None:
    save_weights({"head.weight": torch.from_numpy(NUMBERS)}, path, RANDOM_START)


def _activations(path: Path) -> None:
    point = PointFacts("head", "head", 100, 1, 100, ("mean",))
    facts = Facts((point,), {"test": ("a",)}, 1, 1, ("head",), 1, 0)
    write_activations(Activations(facts, {"rows/head": NUMBERS}), path)


def _embedding(path: Path) -> None:
    found = EmbeddedImages(NUMBERS, None, np.arange(40))
    write_embedding(found, ("source", "network", "data"), path)


def _figure(path: Path) -> None:
    figure = Figure((4, 3))
    figure.subplots().plot(NUMBERS[:4].T)
    save_figure(figure, [path])


def _text(path: Path) -> None:
    write_text(path, "a report\n" * 3000)


def _json(path: Path) -> None:
    write_json(path, {"values": NUMBERS[:4].tolist()})


WRITERS: dict[str, Callable[[Path], None]] = {
    "table.parquet": _table,
    "table.csv": _csv,
    "model.safetensors": _weights,
    "activations.safetensors": _activations,
    "embedding.safetensors": _embedding,
    "figure.png": _figure,
    "figure.pdf": _figure,
    "report.html": _text,
    "audit.json": _json,
}
