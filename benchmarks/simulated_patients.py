"""Simulated studies of patients: areas, decisions, and the bootstrap of whole patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from simulation import Outcomes, Scenario, claims, covers

from medtransfer.evaluation.extremes import interval_of_largest
from medtransfer.evaluation.metrics import evaluate
from medtransfer.evaluation.predictions import Predictions
from medtransfer.evaluation.selective import area, weighted_area
from medtransfer.statistics.auc import auc_interval, delong, delong_unpaired
from medtransfer.statistics.bootstrap import METHODS, cluster_bootstrap
from medtransfer.statistics.mcnemar import mcnemar
from medtransfer.statistics.resampling import (
    Resampled,
    Resamples,
    largest,
    mean,
    patient_resamples,
    resampled,
    resampled_metric,
    smallest,
)

# Sets of draws that the studies of one setting take in turn: their own luck averages out.
SETS_OF_DRAWS = 32
# of a study's bootstrap; half of the usual, for the time's sake
RESAMPLES = 1000
# of the simulated population that the truth is read from
POPULATION = 1_000_000
# share of the variance that images of one patient have in common
ALIKE = 0.5


@dataclass(frozen=True)
class Ranked:
    """Images with normal scores.

    Attributes:
        area: true area under the ROC curve.
        positives, negatives: patients of each class.
        images: of each patient; with more than one they are alike.
        mixed: whether a patient's images have labels of their own instead.
        step: width of the grid that scores are rounded to; 0 for none.
    """

    area: float
    positives: int
    negatives: int
    images: int = 1
    mixed: bool = False
    step: float = 0.0

    @property
    def distance(self) -> float:
        return math.sqrt(2) * float(stats.norm.ppf(self.area))

    @property
    def truth(self) -> float:
        """The area of the rounded scores, ties counting half."""
        if self.step == 0:
            return self.area
        edges = np.arange(-12.5, 13.5) * self.step
        lower, upper = (np.diff(stats.norm.cdf(edges, loc=place)) for place in (0.0, self.distance))
        return float((np.cumsum(lower) - lower / 2) @ upper)

    def labelled(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The label and the patient of each image."""
        patients = np.repeat(np.arange(self.positives + self.negatives), self.images)
        labels = (patients < self.positives).astype(int)
        return (generator.permutation(labels) if self.mixed else labels), patients

    def scores(
        self, generator: np.random.Generator, labels: np.ndarray, patients: np.ndarray
    ) -> np.ndarray:
        values = self.distance * labels + alike(generator, patients)
        return np.round(values / self.step) * self.step if self.step else values


def alike(generator: np.random.Generator, patients: np.ndarray) -> np.ndarray:
    """Standard normal values that images of one patient have half in common."""
    count = int(patients[-1]) + 1
    if count == len(patients):
        return generator.normal(size=count)
    shared = generator.normal(size=count)[patients]
    return math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * generator.normal(size=len(patients))


def one_area(ranked: Ranked, generator: np.random.Generator) -> Outcomes:
    labels, patients = ranked.labelled(generator)
    scores = ranked.scores(generator, labels, patients)
    found = auc_interval(labels, scores, cluster=patients if ranked.images > 1 else None)
    half = 1.96 * found.standard_error
    outcomes = {
        "auc_interval": covers(found.low, found.high, ranked.truth),
        "area ± 1.96 DeLong errors (not ours)": covers(
            found.auc - half, found.auc + half, ranked.truth
        ),
    }
    if ranked.images > 1:
        naive = auc_interval(labels, scores)
        outcomes["auc_interval without patients (not ours)"] = covers(
            naive.low, naive.high, ranked.truth
        )
    return outcomes


def two_areas(ranked: Ranked, generator: np.random.Generator) -> Outcomes:
    """Two networks of the same worth on the same images, and a second sample of patients."""
    labels, patients = ranked.labelled(generator)
    common = ranked.scores(generator, labels, patients)
    a, b = (math.sqrt(0.5) * (common + ranked.scores(generator, labels, patients)) for _ in range(2))
    cluster = patients if ranked.images > 1 else None
    paired = delong(labels, a, b, cluster=cluster)
    other_labels, others = ranked.labelled(generator)
    elsewhere = ranked.scores(generator, other_labels, others)
    both = (patients, others) if ranked.images > 1 else None
    unpaired = delong_unpaired(labels, common, other_labels, elsewhere, cluster=both)
    return {
        "delong": covers(paired.low, paired.high, 0.0),
        "delong, p": claims(paired.p),
        "delong_unpaired": covers(unpaired.low, unpaired.high, 0.0),
        "delong_unpaired, p": claims(unpaired.p),
    }


def decisions(
    accuracies: tuple[float, float], patients: int, images: int, generator: np.random.Generator
) -> Outcomes:
    """Right and wrong decisions of two networks to which partly the same images are hard."""
    names = np.repeat(np.arange(patients), images)
    common = alike(generator, names)
    right = [
        math.sqrt(0.5) * (common + alike(generator, names)) < stats.norm.ppf(accuracy)
        for accuracy in accuracies
    ]
    labels = np.ones(len(names), dtype=int)
    found = mcnemar(
        labels, *(side.astype(int) for side in right), cluster=names if images > 1 else None
    )
    outcomes = {"mcnemar": covers(found.low, found.high, accuracies[0] - accuracies[1])}
    if accuracies[0] == accuracies[1]:
        outcomes |= {
            "mcnemar, p": claims(found.p),
            "mcnemar, p_mid": claims(found.p_mid),
            "mcnemar, p_chi_square": claims(found.p_chi_square),
        }
    return outcomes


@dataclass(frozen=True)
class Answers:
    """How a network's answers come about.

    Attributes:
        task: binary or ordinal.
        slope: how much the images say about the label.
        intercept: of a binary label's logit.
        confidence: the network's logits are so many times the true ones.
    """

    task: str = "binary"
    slope: float = 1.5
    intercept: float = 0.0
    confidence: float = 1.5

    def drawn(
        self, generator: np.random.Generator, patients: np.ndarray, runs: int
    ) -> list[Predictions]:
        """Answers of several runs on the same images; a run's own noise is a third of the signal."""
        signal = alike(generator, patients)
        labels = self._labels(generator, signal)
        return [
            Predictions(
                self.task, self._logits(signal + generator.normal(size=len(signal)) / 3), labels
            )
            for _ in range(runs)
        ]

    def _labels(self, generator: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        if self.task == "binary":
            chance = expit(self.intercept + self.slope * signal)
            return (generator.random(len(signal)) < chance).astype(int)
        noisy = self.slope * signal + generator.normal(size=len(signal))
        return np.digitize(noisy, [0.5, 1.2, 2.0, 3.0])

    def _logits(self, seen: np.ndarray) -> np.ndarray:
        if self.task == "binary":
            return self.confidence * (self.intercept + self.slope * seen)[:, None]
        return -self.confidence * (1 + self.slope * seen[:, None] - np.arange(5)) ** 2


@cache
def population_value(metric: str, answers: Answers) -> float:
    """Of a million images, each of a patient of its own."""
    drawn = answers.drawn(np.random.default_rng(1), np.arange(POPULATION), 1)[0]
    return area(drawn) if metric == "aurc" else evaluate(drawn, [metric])[metric]


@cache
def sets_of_draws(patients: int, images: int, name: str) -> tuple[np.ndarray, list[Resamples]]:
    """The patient of each image, and the draws that studies take in turn."""
    names = np.repeat(np.arange(patients), images)
    sets = [patient_resamples(names, name, RESAMPLES, seed) for seed in range(SETS_OF_DRAWS)]
    return names, sets


def some_draws(
    generator: np.random.Generator, patients: int, images: int, name: str = "test"
) -> tuple[np.ndarray, Resamples]:
    names, sets = sets_of_draws(patients, images, name)
    return names, sets[int(generator.integers(len(sets)))]


def scored(metric: str, predictions: Predictions, draws: Resamples) -> Resampled:
    if metric == "aurc":
        return resampled(partial(weighted_area, predictions), draws)
    return resampled_metric(metric, predictions, draws)


def by_each_method(value: Resampled, truth: float, of: str = "") -> Outcomes:
    intervals = {name: value.interval(method=name) for name in METHODS}
    return {f"{of}{name}": covers(found.low, found.high, truth) for name, found in intervals.items()}


def one_run(
    metric: str, answers: Answers, sizes: tuple[int, int], generator: np.random.Generator
) -> Outcomes:
    """A metric of one run, and of its difference from a run that is as good."""
    patients, draws = some_draws(generator, *sizes)
    first, second = (scored(metric, run, draws) for run in answers.drawn(generator, patients, 2))
    return {
        **by_each_method(first, population_value(metric, answers)),
        **by_each_method(first - second, 0.0, "difference, "),
    }


def several_runs(answers: Answers, sizes: tuple[int, int], generator: np.random.Generator) -> Outcomes:
    """The mean over three seeds, and the difference of two starts of three seeds each."""
    patients, draws = some_draws(generator, *sizes)
    runs = [resampled_metric("auroc", run, draws) for run in answers.drawn(generator, patients, 6)]
    difference = mean(runs[:3]) - mean(runs[3:])
    return {
        **by_each_method(mean(runs[:3]), population_value("auroc", answers), "mean of 3 runs, "),
        **by_each_method(difference, 0.0, "difference of 2 x 3 runs, "),
    }


def drop(
    test: Answers, there: Answers, sizes: tuple[int, int], generator: np.random.Generator
) -> Outcomes:
    """AUROC on a test set less that on another, of other patients."""
    sides = []
    for answers, name in ((test, "test"), (there, "external")):
        patients, draws = some_draws(generator, *sizes, name)
        sides.append(resampled_metric("auroc", answers.drawn(generator, patients, 1)[0], draws))
    truth = population_value("auroc", test) - population_value("auroc", there)
    return by_each_method(sides[0] - sides[1], truth)


def groups(slopes: tuple[float, ...], patients: int, generator: np.random.Generator) -> Outcomes:
    """Worst group and gap of groups of patients, and the difference of two networks' gaps.

    As medtransfer.evaluation.subgroups has them, without its tables.
    """
    _, draws = some_draws(generator, patients * len(slopes), 1)
    sides: list[list[Resampled]] = [[], []]
    for place, slope in enumerate(slopes):
        own = slice(place * patients, (place + 1) * patients)
        runs = Answers(slope=slope).drawn(generator, np.arange(patients), 2)
        for side, run in zip(sides, runs, strict=True):
            side.append(resampled_metric("auroc", run, draws.take(own)))
    truths = [population_value("auroc", Answers(slope=slope)) for slope in slopes]
    low, high = interval_of_largest([-value for value in sides[0]], 0.95)
    gap = interval_of_largest([a - b for a, b in permutations(sides[0], 2)], 0.95)
    naive = (largest(sides[0]) - smallest(sides[0])).interval(method="bca")
    both = np.argsort([one.estimate + other.estimate for one, other in zip(*sides, strict=True)])
    first, second = (side[both[-1]] - side[both[0]] for side in sides)
    change = (first - second).interval_of_difference()
    truth = max(truths) - min(truths)
    return {
        "worst group": covers(-high, -low, min(truths)),
        "gap": covers(max(gap[0], 0.0), gap[1], truth),
        "difference of two starts' gaps": covers(change.low, change.high, 0.0),
        "BCa of the largest gap (not ours)": covers(naive.low, naive.high, truth),
    }


def mean_of_images(
    draw: Callable[[np.ndarray], np.ndarray],
    truth: float,
    sizes: tuple[int, int],
    generator: np.random.Generator,
) -> Outcomes:
    patients, draws = some_draws(generator, *sizes)
    values = draw(alike(generator, patients))
    value = resampled(lambda weights: weights @ values / weights.sum(axis=1), draws)
    return by_each_method(value, truth)


def from_a_table(sizes: tuple[int, int], generator: np.random.Generator) -> Outcomes:
    """The public function, on a table."""
    patients = np.repeat(np.arange(sizes[0]), sizes[1])
    table = pd.DataFrame({"patient": patients, "value": alike(generator, patients)})
    seed = int(generator.integers(2**31))
    found = cluster_bootstrap(_mean, table, "patient", 400, seed=seed)
    return {"cluster_bootstrap": covers(found.low, found.high, 0.0)}


def _mean(table: pd.DataFrame) -> float:
    return float(table["value"].to_numpy().mean())


def _of_areas() -> list[Scenario]:
    classes = ((15, 15), (10, 90), (50, 50), (50, 450), (250, 250))
    single = [
        Scenario("auc", f"area {a:g}, {m} + {n} images", partial(one_area, Ranked(a, m, n)))
        for a in (0.6, 0.9, 0.98)
        for m, n in classes
    ]
    others = [
        ("area .8, ties (about 5 grades), 15 + 15 images", Ranked(0.8, 15, 15, step=1.0)),
        ("area .8, ties (about 5 grades), 50 + 50 images", Ranked(0.8, 50, 50, step=1.0)),
        ("area .8, 5 + 5 patients x 5 images", Ranked(0.8, 5, 5, 5)),
        ("area .8, 10 + 10 patients x 5 images", Ranked(0.8, 10, 10, 5)),
        ("area .8, 30 + 30 patients x 5 images", Ranked(0.8, 30, 30, 5)),
        ("area .8, 10 + 90 patients x 5 images", Ranked(0.8, 10, 90, 5)),
        ("area .8, 10 patients x 5 images of both classes", Ranked(0.8, 5, 5, 5, True)),
        ("area .8, 60 patients x 5 images of both classes", Ranked(0.8, 30, 30, 5, True)),
    ]
    pairs = [
        Scenario("delong", f"area {a:g}, {m} + {n} images", partial(two_areas, Ranked(a, m, n)))
        for a in (0.6, 0.9, 0.98)
        for m, n in ((15, 15), (10, 90), (250, 250))
    ]
    return [
        *single,
        *(Scenario("auc", words, partial(one_area, ranked)) for words, ranked in others),
        *pairs,
        *(Scenario("delong", words, partial(two_areas, ranked)) for words, ranked in others),
    ]


def _of_decisions() -> list[Scenario]:
    return [
        Scenario(
            "mcnemar",
            f"accuracies {a:g} and {b:g}, {patients} patients x {images}",
            partial(decisions, (a, b), patients, images),
            2000,
        )
        for a, b in ((0.8, 0.8), (0.9, 0.8))
        for patients, images in ((30, 1), (100, 1), (500, 1), (10, 5), (20, 5), (100, 5))
    ]


EVERY_METRIC = ("auroc", "auprc", "balanced_accuracy", "brier", "ece_mass", "aurc")
SIZES = ((10, 5), (20, 3), (50, 3), (150, 1))


def _of_metrics() -> list[Scenario]:
    rare = ("auroc", "auprc", "balanced_accuracy")
    tasks: Mapping[str, tuple[Answers, tuple[str, ...], tuple[tuple[int, int], ...]]] = {
        "half positive": (Answers(), EVERY_METRIC, SIZES),
        "a tenth positive": (Answers(intercept=-3.0), rare, ((50, 3), (150, 1))),
        "area .97": (Answers(slope=6.0), ("auroc", "auprc", "brier"), ((20, 3), (150, 1))),
        "five grades": (Answers("ordinal"), ("quadratic_kappa", "balanced_accuracy"), SIZES),
        "half positive, many": (Answers(), ("ece_mass",), ((500, 1),)),
    }  # fmt: skip
    return [
        Scenario("metrics", f"{metric}, {name}, {_sizes(sizes)}",
                 partial(one_run, metric, answers, sizes), 2000)
        for name, (answers, metrics, several) in tasks.items()
        for metric in metrics
        for sizes in several
    ]  # fmt: skip


def _of_bootstraps() -> list[Scenario]:
    return [
        *(Scenario("runs", _sizes(sizes), partial(several_runs, Answers(), sizes), 2000)
          for sizes in ((20, 3), (50, 3), (150, 1))),
        *(Scenario("shift", f"two sets of {_sizes(sizes)}",
                   partial(drop, Answers(), Answers(slope=1.0), sizes), 2000)
          for sizes in ((20, 3), (150, 1))),
        *(Scenario("groups", f"{words}, {n} patients each", partial(groups, slopes, n), 2000)
          for words, slopes in (("3 groups alike", (1.5, 1.5, 1.5)),
                                ("3 groups that differ", (1.0, 2.0, 4.0)))
          for n in (50, 150)),
        *(Scenario("means", f"{words}, {_sizes(sizes)}",
                   partial(mean_of_images, draw, truth, sizes), 2000)
          for words, draw, truth in (("normal", np.array, 0.0), ("skewed", np.exp, math.exp(0.5)))
          for sizes in ((10, 5), (20, 3), (50, 3), (150, 1))),
        Scenario("means", "normal, 20 patients x 3 images", partial(from_a_table, (20, 3)), 2000),
    ]  # fmt: skip


def _sizes(sizes: tuple[int, int]) -> str:
    patients, images = sizes
    return f"{patients} patients" + (f" x {images} images" if images > 1 else "")


SCENARIOS = [*_of_areas(), *_of_decisions(), *_of_metrics(), *_of_bootstraps()]
