"""What is left of a result on other images: another site, another data set, corrupted test images.

Every value is a mean over the runs of a cell. Its interval is that over samples of patients: patients
are drawn with replacement, the same ones for all runs, so that differences between inits, and between
clean and corrupted images, are paired through them; the patients of two parts are drawn independently.
The spread over runs, seeds or folds, stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import METRICS, PLACE
from medtransfer.statistics.part_samples import PartSamples, part_samples
from medtransfer.statistics.resampled_runs import (
    INIT_COLUMNS,
    VALUE_COLUMNS,
    Cells,
    add_run,
    cell_rows,
)
from medtransfer.statistics.resampling import Resampled, mean, resampled_metric
from medtransfer.tables import Column, Schema, table_of

SIZE_COLUMNS = {
    "patients": Column("integer", "patients of the part, of all runs together"),
    "images": Column("integer", "their images"),
}
SHIFT = Schema(
    name="shift",
    row="one quantity of one cell and out-of-distribution part, or its difference between two inits",
    columns={
        **{name: METRICS.columns[name] for name in (*PLACE, "metric")},
        "part": Column("text", "external: other sites; external-<data set>: another data set"),
        "classes": Column("integer", "classes, for multilabel outputs, that both parts are scored on"),
        **INIT_COLUMNS,
        "quantity": Column(
            "text", "test: the metric on the test part; there: on the other part; drop: test - there"
        ),
        **VALUE_COLUMNS,
        **SIZE_COLUMNS,
    },
    families={},
)
CORRUPTION = Schema(
    name="corruption",
    row="one quantity of one cell under one corruption, or its difference between two inits",
    columns={
        **{name: METRICS.columns[name] for name in (*PLACE, "metric")},
        "corruption": Column("text", "what is done to the test images; all: mean over the corruptions"),
        "severity": Column("integer", "1 to 5; 0: mean over the severities"),
        **INIT_COLUMNS,
        "quantity": Column(
            "text",
            "test: the metric on the clean test images; corrupted: on the corrupted ones; drop: test - "
            "corrupted",
        ),
        **VALUE_COLUMNS,
        **SIZE_COLUMNS,
    },
    families={},
)


def shift_table(
    runs: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    dataset: DatasetSettings,
    study: StudySettings,
) -> pd.DataFrame:
    """The target metric of every cell on other sites and data sets, and what it lost.

    Test and other part are scored on the same classes: test images of a class that doesn't occur there
    are left out, in a multilabel task the labels of an output that isn't both positive and negative
    there.

    Args:
        runs: a table of schema RUNS, of one data set.
        predictions: a table of schema PREDICTIONS a run, in the same order, with the parts of other
            data sets.
        dataset: task, outputs and target metric.
        study: the reference init, declared comparisons, confidence and number of resamples.

    Returns:
        A table of schema SHIFT; no rows without any such part.
    """
    tests = [table[table["part"] == "test"] for table in predictions]
    samples = part_samples("test", tests, study.statistics.resamples)
    rows: list[dict[str, object]] = []
    for part in _external_parts(predictions):
        there = [table[table["part"] == part] for table in predictions]
        classes = scored_classes(pd.concat(there), dataset)
        shown = [on_classes(test, classes, dataset) for test in tests]
        others = part_samples(part, there, study.statistics.resamples)
        cells: Cells = {}
        for (_, run), test, other in zip(runs.iterrows(), shown, there, strict=True):
            before, after = _score(test, dataset, samples), _score(other, dataset, others)
            values = {"test": before, "there": after, "drop": before - after}
            add_run(cells, (*run[PLACE], part), run, values)
        constants = {"metric": dataset.target_metric, "classes": len(classes), **_sizes(there)}
        rows += [{**row, **constants} for row in cell_rows(cells, [*PLACE, "part"], "quantity", study)]
    return table_of(rows, SHIFT)


def _external_parts(predictions: Sequence[pd.DataFrame]) -> list[str]:
    """The out-of-distribution parts of some tables of predictions, in their order."""
    parts = (str(part) for table in predictions for part in table["part"].unique())
    return [part for part in dict.fromkeys(parts) if part.startswith("external")]


def scored_classes(there: pd.DataFrame, dataset: DatasetSettings) -> list[str]:
    """The classes that occur in a part; in a multilabel task its outputs with both answers.

    Args:
        there: a table of schema PREDICTIONS.
        dataset: task and classes.
    """
    if dataset.task == "multilabel":
        return [name for name in dataset.outputs if there[f"label_{name}"].nunique() == 2]
    present = set(there["label"])
    return [name for place, name in enumerate(dataset.class_names) if place in present]


def on_classes(test: pd.DataFrame, classes: Sequence[str], dataset: DatasetSettings) -> pd.DataFrame:
    """The test images of some classes; in a multilabel task all, with the labels of these outputs."""
    if dataset.task == "multilabel":
        others = [name for name in dataset.outputs if name not in classes]
        return test.assign(**{f"label_{name}": np.nan for name in others})
    places = [place for place, name in enumerate(dataset.class_names) if name in classes]
    return test[test["label"].isin(places)]


def corruption_table(
    runs: pd.DataFrame,
    predictions: Sequence[pd.DataFrame],
    corrupted: Sequence[pd.DataFrame],
    dataset: DatasetSettings,
    study: StudySettings,
) -> pd.DataFrame:
    """The target metric of every cell on corrupted test images, and what it lost.

    Args:
        runs: a table of schema RUNS, of one data set.
        predictions: a table of schema PREDICTIONS a run, in the same order.
        corrupted: a table of schema CORRUPTED a run, of one corruption or several, likewise.
        dataset: task, outputs and target metric.
        study: the reference init, declared comparisons, confidence and number of resamples.

    Returns:
        A table of schema CORRUPTION, with means over severities, and over corruptions and severities.

    Raises:
        DataError: a run's clean and corrupted images aren't the same.
    """
    tests = [table[table["part"] == "test"] for table in predictions]
    samples = part_samples("test", tests, study.statistics.resamples)
    cells: Cells = {}
    for (_, run), clean, changed in zip(runs.iterrows(), tests, corrupted, strict=True):
        before = _score(clean, dataset, samples)
        scores = _with_means(_corrupted_scores(clean, changed, dataset, samples))
        for kind, after in scores.items():
            values = {"test": before, "corrupted": after, "drop": before - after}
            add_run(cells, (*run[PLACE], *kind), run, values)
    constants = {"metric": dataset.target_metric, **_sizes(tests)}
    keys = [*PLACE, "corruption", "severity"]
    rows = [{**row, **constants} for row in cell_rows(cells, keys, "quantity", study)]
    return table_of(rows, CORRUPTION)


# a corruption and its severity, or what is a mean over them
_Kind = tuple[str, int]


def _corrupted_scores(
    clean: pd.DataFrame, changed: pd.DataFrame, dataset: DatasetSettings, samples: PartSamples
) -> dict[_Kind, Resampled]:
    """One run's metric under each corruption and severity."""
    found = {}
    for _, table in changed.groupby(["corruption", "severity"], sort=False):
        corruption, severity = str(table["corruption"].iloc[0]), int(table["severity"].iloc[0])
        if set(table["image_id"]) != set(clean["image_id"]):
            raise DataError(
                f"corruption {corruption}, severity {severity}: {len(table)} images; needed: the "
                f"{len(clean)} of the run's test part"
            )
        found[corruption, severity] = _score(table, dataset, samples)
    return found


def _with_means(scores: Mapping[_Kind, Resampled]) -> dict[_Kind, Resampled]:
    """Also the means over severities, and over all corruptions."""
    corruptions = dict.fromkeys(corruption for corruption, _ in scores)
    means = {
        (name, 0): mean([value for (corruption, _), value in scores.items() if corruption == name])
        for name in corruptions
    }
    return {**scores, **means, ("all", 0): mean(list(means.values()))}


def _score(table: pd.DataFrame, dataset: DatasetSettings, samples: PartSamples) -> Resampled:
    """The target metric of one run's predictions under all resamples of the patients."""
    predictions = predictions_of(table, dataset)
    return resampled_metric(dataset.target_metric, predictions, samples.of(table))


def _sizes(tables: Sequence[pd.DataFrame]) -> dict[str, int]:
    everything = pd.concat([table[["image_id", "patient"]] for table in tables])
    return {
        "patients": everything["patient"].nunique(),
        "images": everything["image_id"].nunique(),
    }
