"""From the ranking of each output by each run to means with intervals."""

from __future__ import annotations

import pandas as pd

from medtransfer.evaluation.results import CLASS_METRICS, METRICS, RUN_COLUMNS
from medtransfer.statistics.comparison import SUMMARY, independent_repeats, interval_of_mean
from medtransfer.tables import Column, Schema, table_of

SCORES = ("auroc", "auprc")
CELL_COLUMNS = {
    **{
        name: METRICS.columns[name] for name in ("recipe", "dataset", "model", "subset", "part", "init")
    },
    "output": CLASS_METRICS.columns["output"],
    "metric": Column("text", "auroc or auprc, of this output against the rest"),
}
CELL = list(CELL_COLUMNS)
CLASS_SUMMARY = Schema(
    name="class_summary",
    row="one output of the network in one cell: recipe, data set, model, subset, part and init",
    columns={
        **CELL_COLUMNS,
        "mean": Column("number", "mean over the runs in which it is defined"),
        **{name: SUMMARY.columns[name] for name in ("sd", "low", "high")},
        "runs": Column("integer", "runs in the mean"),
        "positives": Column("integer", "images that are positive, averaged over the runs"),
        "images": Column("integer", "images whose label is known, averaged over the runs"),
    },
    families={},
)


def summarise_classes(classes: pd.DataFrame, metrics: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean, spread and interval of AUROC and AUPRC of every output in every cell.

    The interval is that of :func:`medtransfer.statistics.comparison.summarise`: Student's t over seeds,
    Nadeau-Bengio over folds. It is empty where the score of a run is undefined.

    Args:
        classes: a table of schema CLASS_METRICS.
        metrics: a table of schema METRICS of the same runs, for test over training images.
        confidence: coverage of the intervals.

    Returns:
        A table of schema CLASS_SUMMARY.
    """
    run = list(RUN_COLUMNS)
    ratios = metrics.drop_duplicates(run)[[*run, "test_train_ratio"]]
    known = classes.merge(ratios, on=run, how="left", validate="many_to_one")
    scores = known.melt(
        [name for name in known if name not in SCORES], list(SCORES), var_name="metric"
    )  # fmt: skip
    cells = scores.groupby(CELL, sort=False)
    return table_of(
        (dict(zip(CELL, key, strict=True)) | _summary(cell, confidence) for key, cell in cells),
        CLASS_SUMMARY,
    )


def _summary(cell: pd.DataFrame, confidence: float) -> dict[str, object]:
    """The numbers of one cell, whose rows are runs."""
    repeats, ratio = independent_repeats(cell.set_index(["split", "seed"]))
    result = interval_of_mean(repeats["value"].to_numpy(), ratio, confidence)
    return {
        "mean": cell["value"].mean(),
        "sd": cell["value"].std(ddof=1),
        "low": result.low,
        "high": result.high,
        "runs": int(cell["value"].notna().sum()),
        "positives": round(cell["positives"].mean()),
        "images": round(cell["images"].mean()),
    }
