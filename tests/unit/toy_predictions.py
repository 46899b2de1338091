"""Data sets of three tasks, and predictions of runs on a few patients with several images each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings

BINARY = DatasetSettings(
    task="binary", labels="finding", image_size=8, manifest="m.csv", classes=("no", "yes")
)
GRADES = DatasetSettings(
    task="ordinal", labels="grade", image_size=8, manifest="m.csv", classes=("0", "1", "2")
)
FINDINGS = DatasetSettings(
    task="multilabel", labels=("edema", "effusion"), image_size=8, manifest="m.csv"
)


def predictions(
    dataset: DatasetSettings,
    seed: int,
    *,
    parts: Sequence[str] = ("test",),
    patients: int = 12,
    prefix: str = "",
    skill: float = 1.0,
) -> pd.DataFrame:
    """A table of schema PREDICTIONS: 1 to 3 images a patient, whose labels don't depend on the seed.

    Of several labels every fifth or so is unknown.
    """
    tables = []
    for part in parts:
        name = f"{prefix}{part}"
        drawn = np.random.default_rng([patients, *name.encode()])
        patient = np.repeat(np.arange(patients), drawn.integers(1, 4, patients))
        table = pd.DataFrame(
            {
                "image_id": [f"{name}-{i:03d}" for i in range(len(patient))],
                "patient": [f"{name}-p{p}" for p in patient],
                "part": part,
            }
        )
        noise = np.random.default_rng([seed, *name.encode()])
        tables.append(pd.concat([table, _answers(dataset, patient, drawn, noise, skill)], axis=1))
    return pd.concat(tables, ignore_index=True)


def _answers(
    dataset: DatasetSettings,
    patient: np.ndarray,
    drawn: np.random.Generator,
    noise: np.random.Generator,
    skill: float,
) -> pd.DataFrame:
    images, outputs = len(patient), dataset.outputs
    columns: dict[str, np.ndarray] = {}
    if dataset.task == "multilabel":
        labels = (drawn.random((images, len(outputs))) < 0.5).astype(float)
        targets = labels.copy()
        labels[drawn.random(labels.shape) < 0.2] = np.nan
        columns |= {f"label_{name}": labels[:, k] for k, name in enumerate(outputs)}
    else:
        columns["label"] = drawn.integers(0, max(2, len(outputs)), images)
        targets = np.eye(max(2, len(outputs)))[columns["label"]][:, -len(outputs) :]
    logits = skill * (2 * targets - 1) + noise.normal(0, 1.5, targets.shape)
    columns |= {f"logit_{name}": logits[:, k] for k, name in enumerate(outputs)}
    return pd.DataFrame(columns)


def runs_of(*identities: tuple[str, str, int], **changes: object) -> pd.DataFrame:
    """A table of schema RUNS of these ``(init, split, seed)``, its index as a query leaves it."""
    constant = {"recipe": "r", "dataset": "d", "model": "m", "subset": "full", "path": "p"} | changes
    rows = [constant | {"init": init, "split": split, "seed": seed} for init, split, seed in identities]
    columns = ["recipe", "dataset", "model", "init", "subset", "split", "seed", "path"]
    return pd.DataFrame(rows, columns=columns, index=[10 * i + 5 for i in range(len(rows))])
