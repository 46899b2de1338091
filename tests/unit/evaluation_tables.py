"""Made-up tables of evaluations and statistics, in which every value is different."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.evaluation.diagrams import COVERAGES, RELIABILITY, RISK_COVERAGE
from medtransfer.evaluation.label_efficiency import label_efficiency
from medtransfer.evaluation.results import CURVES, METRICS
from medtransfer.evaluation.shift import CORRUPTION, SHIFT
from medtransfer.evaluation.subgroups import SUBGROUP_GAPS, SUBGROUPS
from medtransfer.statistics.comparison import compare, compared, summarise
from medtransfer.statistics.convergence import compare_convergence, convergence_table
from medtransfer.statistics.patients import PATIENT_INTERVALS
from medtransfer.statistics.verdict import judge
from medtransfer.tables import Schema

TRAINING_IMAGES = {"full": 400, "n200": 200, "n100": 100, "n50": 50, "n100-redrawn": 100}
BINS = 15
IMAGES, PATIENTS = 150, 60
CORRUPTIONS = ("noise", "blur", "contrast")
GROUPS = {"sex": ("F", "M"), "site": ("north", "south", "west", "(missing)")}
SMALL = "west"
METRIC = "auroc"


@dataclass(frozen=True)
class Cells:
    """What the made-up runs are."""

    datasets: tuple[str, ...] = ("chest", "fundus")
    models: tuple[str, ...] = ("cbr", "vit")
    inits: tuple[str, ...] = ("random", "fractal-stats", "fractal")
    subsets: tuple[str, ...] = ("full",)
    seeds: int = 3

    @property
    def study(self) -> StudySettings:
        grid = GridSettings("r", self.datasets, self.models, self.inits, self.subsets)
        return StudySettings("toy", (grid,), reference=self.inits[0])

    def rows(self, **more: object) -> pd.DataFrame:
        """A row for each cell and value of further columns."""
        columns = {
            "dataset": self.datasets, "model": self.models, "subset": self.subsets, "init": self.inits,
            **more,
        }  # fmt: skip
        rows = pd.DataFrame(list(itertools.product(*columns.values())), columns=list(columns))
        return rows.assign(recipe="r")

    def runs(self, **more: object) -> pd.DataFrame:
        return self.rows(seed=range(self.seeds), **more).assign(split="holdout")

    def pairs(self, **more: object) -> pd.DataFrame:
        """A row for each init by itself, with an empty reference, and for each compared pair."""
        found = [(init, "") for init in self.inits] + list(compared(list(self.inits), self.study))
        one = self.rows(pair=found, **more).drop(columns="init").drop_duplicates()
        return one.assign(init=one["pair"].str[0], reference=one["pair"].str[1]).drop(columns="pair")


def metric_table(cells: Cells) -> pd.DataFrame:
    """Of schema METRICS: a target metric that rises with the data, and calibration errors."""
    draw = np.random.default_rng(0)
    runs = cells.runs(part=("test", "external"), metric=(METRIC, "ece_mass", "ece_mass_scaled"))
    images = runs["subset"].map(TRAINING_IMAGES)
    gain = 0.03 * runs["init"].map(list(cells.inits).index)
    value = 0.5 + 0.04 * np.log(images) + gain + draw.normal(0, 0.01, len(runs))
    error = draw.uniform(0.05, 0.2, len(runs)) / runs["metric"].str.len()
    target = runs["metric"] == METRIC
    return in_order(
        runs.assign(
            value=np.where(target, value, error), target=target, images=IMAGES, patients=PATIENTS,
            training_images=images, test_train_ratio=IMAGES / images, parameters=1e5,
        ),
        METRICS,
    )  # fmt: skip


def patient_table(cells: Cells) -> pd.DataFrame:
    rows = cells.pairs(part=("test",))
    numbers = dict.fromkeys(("mean", "sd", "error", "low", "high"), 0.02)
    counts = {"runs": 3, "undefined": 0, "patients": PATIENTS, "images": IMAGES}
    return in_order(rows.assign(metric=METRIC, **numbers, **counts), PATIENT_INTERVALS)


def verdict_table(cells: Cells) -> pd.DataFrame:
    return judge(metric_table(cells), cells.study, patient_table(cells))


def reliability_table(cells: Cells) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    rows = cells.runs(part=("validation", "test"), scaled=(False, True), bin=range(BINS))
    confidence = (rows["bin"] + draw.uniform(0.1, 0.9, len(rows))) / BINS
    observed = confidence ** np.where(rows["scaled"], 1.1, 1.6)
    return in_order(rows.assign(confidence=confidence, observed=observed, count=10), RELIABILITY)


def risk_table(cells: Cells) -> pd.DataFrame:
    draw = np.random.default_rng(2)
    rows = cells.runs(part=("validation", "test"), coverage=COVERAGES)
    risk = 0.3 * rows["coverage"] ** 2 + draw.uniform(0, 0.08, len(rows))
    return in_order(rows.assign(risk=risk, confidence=1 - rows["coverage"] / 2), RISK_COVERAGE)


def curve_table(cells: Cells) -> pd.DataFrame:
    """Of schema CURVES: later inits rise faster; the last seed of the first never gets far."""
    draw = np.random.default_rng(3)
    rows = cells.runs(step=range(0, 400, 20))
    speed = 60 / (1 + rows["init"].map(list(cells.inits).index)) + 20 * rows["seed"]
    risen = 1 - np.exp(-rows["step"] / speed)
    stuck = (rows["init"] == cells.inits[0]) & (rows["seed"] == cells.seeds - 1) & (cells.seeds > 1)
    value = 0.5 + np.where(stuck, 0.2, 0.4) * risen + draw.normal(0, 0.003, len(rows))
    numbers = dict.fromkeys(("epoch", "learning_rate", "training_loss", "validation_loss"), 0.1)
    return in_order(
        rows.assign(metric=METRIC, stage="main", validation_metric=value, **numbers), CURVES
    )


def intervals(rows: pd.DataFrame, mean: pd.Series | np.ndarray, width: float = 0.02) -> pd.DataFrame:
    """The rows with a mean and an interval around it that is neither symmetric nor alike."""
    draw = np.random.default_rng(4)
    below, above = draw.uniform(0.5 * width, width, (2, len(rows)))
    return rows.assign(
        mean=mean, sd=0.01, error=0.01, low=mean - below, high=mean + above, undefined=0, runs=3,
        patients=PATIENTS, images=IMAGES,
    )  # fmt: skip


def shift_table(cells: Cells, parts: tuple[str, ...] = ("external", "external-nih")) -> pd.DataFrame:
    draw = np.random.default_rng(5)
    rows = cells.pairs(part=parts, quantity=("test", "there", "drop"))
    level = rows["quantity"].map({"test": 0.8, "there": 0.7, "drop": 0.1})
    mean = level * np.where(rows["reference"] == "", 1, 0.1) + draw.normal(0, 0.02, len(rows))
    return in_order(intervals(rows, mean).assign(metric=METRIC, classes=2), SHIFT)


def corruption_table(cells: Cells) -> pd.DataFrame:
    draw = np.random.default_rng(6)
    kinds = [(kind, severity) for kind in CORRUPTIONS for severity in (1, 2, 3, 4, 5, 0)]
    rows = cells.pairs(kind=[*kinds, ("all", 0)], quantity=("test", "corrupted", "drop"))
    rows = rows.assign(corruption=rows["kind"].str[0], severity=rows["kind"].str[1])
    lost = 0.04 * rows["severity"] + draw.uniform(0, 0.02, len(rows))
    clean = 0.8 + 0.02 * rows["init"].map(list(cells.inits).index)
    mean = np.select(
        [rows["quantity"] == "test", rows["quantity"] == "drop"], [clean, lost], clean - lost
    )
    mean = np.where(rows["reference"] == "", mean, mean / 10)
    return in_order(intervals(rows, mean).assign(metric=METRIC), CORRUPTION)


def subgroup_table(
    cells: Cells, metrics: tuple[str, ...] = (METRIC, "true_positive_rate")
) -> pd.DataFrame:
    draw = np.random.default_rng(7)
    divided = [(division, group) for division, groups in GROUPS.items() for group in groups]
    rows = cells.rows(part=("test",), metric=metrics, divided=divided)
    rows = rows.assign(division=rows["divided"].str[0], group=rows["divided"].str[1])
    rows = intervals(rows, draw.uniform(0.6, 0.9, len(rows)), 0.05)
    sizes = {group: 12 + 7 * place for place, (_, group) in enumerate(divided)} | {SMALL: 4}
    small = rows["group"] == SMALL
    rows[["low", "high"]] = rows[["low", "high"]].mask(small)
    return in_order(
        rows.assign(
            patients=rows["group"].map(sizes), positives=20, rarest=9, small=small,
            compared=~small & (rows["group"] != "(missing)"),
        ),
        SUBGROUPS,
    )  # fmt: skip


def gap_table(cells: Cells, groups: pd.DataFrame) -> pd.DataFrame:
    """The worst and the best of the groups that are compared, and made-up differences of inits."""
    keys = [*SUBGROUPS.columns][:8]
    rows = []
    for key, own in groups[groups["compared"]].groupby(keys, sort=False):
        best, worst = own.loc[own["mean"].idxmax()], own.loc[own["mean"].idxmin()]
        named = dict(zip(keys, key, strict=True))
        pairs = [("", 1.0), *((r, 0.1) for i, r in compared(list(cells.inits), cells.study)
                              if i == named["init"])]  # fmt: skip
        rows += [
            {
                **named, "reference": reference, "property": kind, "value": scale * value,
                "best_group": best["group"], "worst_group": worst["group"],
            }
            for reference, scale in pairs
            for kind, value in (("worst", worst["mean"]), ("gap", best["mean"] - worst["mean"]))
        ]  # fmt: skip
    table = pd.DataFrame(rows)
    low, high = table["value"] - 0.02, table["value"] + 0.03
    return in_order(table.assign(low=low, high=high, sd=0.01, groups=2, runs=3), SUBGROUP_GAPS)


def in_order(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The schema's columns, checked against it."""
    table = table[list(schema.columns)].reset_index(drop=True)
    schema.check(table)
    return table


def figure_tables(name: str, cells: Cells) -> dict[str, pd.DataFrame]:
    """The tables of a figure, by the names that it uses."""
    return {
        "metrics": lambda: {"metrics": metric_table(cells)} | summary_table(cells),
        "gains": lambda: gain_table(cells),
        "wtst_gains": lambda: gain_table(cells),
        "validation_curves": lambda: {"curves": curve_table(cells)},
        "verdict": lambda: {"verdicts": verdict_table(cells)},
        "convergence": lambda: convergence_tables(cells),
        "subgroups": lambda: group_tables(cells),
        "corruption": lambda: {"corruption": corruption_table(cells)},
        "external": lambda: {"shift": shift_table(cells)},
        "calibration": lambda: {"reliability": reliability_table(cells)} | summary_table(cells),
        "selective": lambda: {"risk_coverage": risk_table(cells)} | summary_table(cells),
        "label_efficiency": lambda: share_table(cells) | summary_table(cells),
    }[name]()


def summary_table(cells: Cells) -> dict[str, pd.DataFrame]:
    return {"summary": summarise(metric_table(cells), cells.study.confidence)}


def gain_table(cells: Cells) -> dict[str, pd.DataFrame]:
    return {"gains": compare(metric_table(cells), cells.study)}


def share_table(cells: Cells) -> dict[str, pd.DataFrame]:
    study = cells.study
    shares = label_efficiency(metric_table(cells), study.reference, study.confidence, 200)
    return {"label_efficiency": shares}


def convergence_tables(cells: Cells) -> dict[str, pd.DataFrame]:
    reference = cells.study.reference
    runs = convergence_table(curve_table(cells), reference, absolute=0.7)
    return {"convergence": runs, "convergence_tests": compare_convergence(runs, reference)}


def group_tables(cells: Cells) -> dict[str, pd.DataFrame]:
    groups = subgroup_table(cells)
    return {"subgroups": groups, "subgroup_gaps": gap_table(cells, groups)}
