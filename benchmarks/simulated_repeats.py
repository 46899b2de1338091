"""Simulated studies of repeats: seeds of one split, folds, families of comparisons, data sets."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy import stats
from simulation import HELD, LEVEL, TOO_HIGH, Outcome, Outcomes, Scenario, claimed, claims, covers

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.evaluation.label_efficiency import AT_MOST, MORE_THAN, label_efficiency
from medtransfer.evaluation.metrics import auroc
from medtransfer.statistics.convergence import compare_convergence
from medtransfer.statistics.equivalence import tost
from medtransfer.statistics.factors import fit_factors, pooled_and_within
from medtransfer.statistics.multiplicity import benjamini_hochberg, holm, max_t
from medtransfer.statistics.paired import LARGEST_ENUMERATION, nadeau_bengio, paired_t, sign_flip
from medtransfer.statistics.patients import PATIENT_INTERVALS
from medtransfer.statistics.power import sd_interval
from medtransfer.statistics.ratios import fieller
from medtransfer.statistics.sparing import sparing
from medtransfer.statistics.verdict import judge

Draw = Callable[[np.random.Generator, int], np.ndarray]
MARGIN = 0.01
# over which the expected AUROC of a learner is averaged
TRAINING_SETS = 4000


def normal(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.normal(size=count)


def skewed(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.exponential(size=count) - 1.0


def heavy_tailed(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.standard_t(3, size=count)


def rounded(generator: np.random.Generator, count: int) -> np.ndarray:
    """Symmetric, with many ties and zeros: of a few test images."""
    return np.round(generator.normal(size=count))


def correlated_folds(generator: np.random.Generator, folds: int) -> np.ndarray:
    """Nadeau & Bengio's model: differences of folds correlate by n_test / (n_test + n_train)."""
    share = 1 / folds
    common = math.sqrt(share) * generator.normal()
    return common + math.sqrt(1 - share) * generator.normal(size=folds)


def over_seeds(draw: Draw, pairs: int, generator: np.random.Generator) -> Outcomes:
    differences = draw(generator, pairs)
    found = paired_t(differences)
    outcomes = {
        "paired_t": covers(found.low, found.high, 0.0),
        "paired_t, p": claims(found.p),
    }
    # beyond them patterns are sampled, which takes long
    if pairs <= LARGEST_ENUMERATION:
        outcomes["sign_flip"] = claims(sign_flip(differences))
    return outcomes


def over_folds(folds: int, generator: np.random.Generator) -> Outcomes:
    return _of_folds(correlated_folds(generator, folds), 0.0)


def _of_folds(values: np.ndarray, truth: float) -> Outcomes:
    ours, plain = nadeau_bengio(values, 1 / (len(values) - 1)), paired_t(values)
    return {
        "nadeau_bengio": covers(ours.low, ours.high, truth),
        "nadeau_bengio, p": claims(ours.p),
        "plain t over folds (not ours)": covers(plain.low, plain.high, truth),
    }


FEATURES = 5
SHIFT = 0.4


def cross_validation(learner: str, folds: int, images: int, generator: np.random.Generator) -> Outcomes:
    """Two learners that see different features of equal worth: their expected AUROC are the same."""
    labels = np.arange(images) % 2
    fold = (np.arange(images) // 2) % folds
    sides = [_features(generator, labels) for _ in range(2)]
    values = np.array(
        [[_fold_auroc(x, labels, fold == f, learner) for f in range(folds)] for x in sides]
    )
    outcomes = _of_folds(values[0] - values[1], 0.0)
    truth = expected_auroc(learner, images - images // folds)
    if not math.isnan(truth):
        own = nadeau_bengio(values[0], 1 / (folds - 1))
        outcomes["nadeau_bengio, of one start"] = covers(own.low, own.high, truth)
    return outcomes


def _features(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return generator.normal(size=(len(labels), FEATURES)) + SHIFT * labels[:, None]


def _fold_auroc(x: np.ndarray, labels: np.ndarray, tested: np.ndarray, learner: str) -> float:
    train, y = x[~tested], labels[~tested]
    if learner == "five neighbours":
        distances = ((x[tested][:, None, :] - train[None, :, :]) ** 2).sum(axis=2)
        scores = y[np.argpartition(distances, 5, axis=1)[:, :5]].mean(axis=1)
    else:
        scores = x[tested] @ _direction(train, y, learner)
    return auroc(labels[tested], scores)


def _direction(x: np.ndarray, y: np.ndarray, learner: str) -> np.ndarray:
    if learner == "nearest mean":
        return x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    centred = x - x.mean(axis=0)
    return np.linalg.solve(centred.T @ centred + np.eye(x.shape[1]), centred.T @ (y - y.mean()))


@cache
def expected_auroc(learner: str, images: int) -> float:
    """Over training sets of a size, on endless test images; NaN where there is no formula."""
    if learner == "five neighbours":
        return math.nan
    generator, labels = np.random.default_rng(images), np.arange(images) % 2
    found = []
    for _ in range(TRAINING_SETS):
        direction = _direction(_features(generator, labels), labels, learner)
        found.append(stats.norm.cdf(SHIFT * direction.sum() / math.sqrt(2 * direction @ direction)))
    return float(np.mean(found))


def at_the_margin(draw: Draw, spread: float, pairs: int, generator: np.random.Generator) -> Outcomes:
    """The true difference is the margin itself, which isn't equivalent."""
    ratio = 1 / (pairs - 1) if draw is correlated_folds else None
    found = tost(1.0 + spread * draw(generator, pairs), 1.0, ratio)
    return {
        "tost": claims(found.p),
        "tost, interval": covers(found.low, found.high, 1.0, "90 % interval"),
    }


def spread(draw: Draw, truth: float, pairs: int, generator: np.random.Generator) -> Outcomes:
    low, high = sd_interval(float(draw(generator, pairs).std(ddof=1)), pairs)
    return {"sd_interval": covers(low, high, truth)}


def ratio_of_means(
    draw: Draw, in_errors: float, pairs: int, generator: np.random.Generator
) -> Outcomes:
    """A ratio of .5 whose denominator is so many of its standard errors from 0."""
    folds = draw is correlated_folds
    factor = 1 / pairs + (1 / (pairs - 1) if folds else 0.0)
    mean = in_errors * math.sqrt(factor)
    denominators = draw(generator, pairs)
    numerators = 0.5 * mean + 0.5 * denominators + math.sqrt(0.75) * draw(generator, pairs)
    found = fieller(
        numerators, mean + denominators, test_train_ratio=1 / (pairs - 1) if folds else None
    )
    whole = covers(found.low, found.high, 0.5)
    return {
        "fieller": whole,
        "fieller, bounded ones": whole if found.bounded else Outcome(whole.kind, math.nan),
    }


DEPTHS = 8


def depth_curve(dependence: float, gain: float, pairs: int, generator: np.random.Generator) -> Outcomes:
    differences = gain + _neighbours(generator, (pairs, DEPTHS), dependence)
    found = max_t(differences)
    held = bool(((found.low <= gain) & (gain <= found.high)).all())
    unbounded = math.isinf(found.reach)
    outcomes = {
        "max_t, band": Outcome("95 % interval", math.nan if unbounded else HELD if held else TOO_HIGH)
    }
    if gain == 0:
        outcomes["max_t, p"] = claimed(bool((found.p < LEVEL).any()))
    return outcomes


def _neighbours(
    generator: np.random.Generator, shape: tuple[int, int], dependence: float
) -> np.ndarray:
    """Standard normal rows in which neighbours correlate."""
    values = generator.normal(size=shape)
    for place in range(1, shape[1]):
        values[:, place] *= math.sqrt(1 - dependence**2)
        values[:, place] += dependence * values[:, place - 1]
    return values


def starts(effects: int, pairs: int, generator: np.random.Generator) -> Outcomes:
    """Six starts against one reference, some of them really better."""
    reference, gains = generator.normal(size=(pairs, 1)), np.arange(6) < effects
    differences = generator.normal(size=(pairs, 6)) + 5.0 * gains - reference
    p = np.array([paired_t(column).p for column in differences.T])
    return {
        "holm": claimed(bool((holm(p)[~gains] < LEVEL).any())),
        "uncorrected (not ours)": claimed(bool((p[~gains] < LEVEL).any())),
    }


LAYERS = 40


def layer_map(dependence: float, effects: int, generator: np.random.Generator) -> Outcomes:
    real = np.arange(LAYERS) < effects
    differences = _neighbours(generator, (5, LAYERS), dependence) + 3.0 * real
    p = np.array([paired_t(column).p for column in differences.T])
    claimed_layers = benjamini_hochberg(p) < LEVEL
    share = (claimed_layers & ~real).sum() / max(1, claimed_layers.sum())
    return {"benjamini_hochberg": Outcome("5 % false share", float(share))}


STARTS = ("random", "one", "one-stats")
_CONSTANT = {
    "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "part": "test", "metric": "auroc",
    "target": True, "images": 100, "patients": 50, "training_images": 1000, "parameters": 1e6,
}  # fmt: skip
STUDY = StudySettings(
    title="Simulated.",
    grids=(GridSettings(recipe="r", datasets=("d",), models=("m",), inits=STARTS),),
    reference="random",
)


def metrics_table(
    values: dict[str, np.ndarray], folds: bool = False, **changes: object
) -> pd.DataFrame:
    """A table of schema METRICS: of each start one value a seed, or one a fold."""
    count = len(next(iter(values.values())))
    repeats = [(f"cv{count}-{i}", 0) if folds else ("holdout", i) for i in range(count)]
    rows = [
        {**_CONSTANT, "init": init, "split": split, "seed": seed, "value": value, **changes}
        for init, column in values.items()
        for (split, seed), value in zip(repeats, column, strict=True)
    ]
    return pd.DataFrame(rows).assign(test_train_ratio=1 / (count - 1) if folds else 0.25)


def judged(metrics: pd.DataFrame, patients: pd.DataFrame | None = None) -> pd.DataFrame:
    """The verdicts without the repeats that would be needed: they are slow and decide nothing."""
    with patch("medtransfer.statistics.verdict._planning", lambda *_: dict.fromkeys(
        ("detectable", "needed", "needed_low", "needed_high"), math.nan
    )):  # fmt: skip
        return judge(metrics, STUDY, patients)


def verdicts(
    gain: float, noise: float, pairs: int, folds: bool, generator: np.random.Generator
) -> Outcomes:
    """A source that gains so much over its statistics, which gain nothing over random."""
    draw = correlated_folds if folds else normal
    means = dict.fromkeys(STARTS, 0.8) | {"one": 0.8 + gain}
    shared = generator.normal(0, 0.02, pairs)
    values = {init: mean + shared + noise * draw(generator, pairs) for init, mean in means.items()}
    found = judged(metrics_table(values, folds))
    truth = found["init"].map(means) - found["reference"].map(means)
    decided, none = found["verdict"].isin(["helps", "harms"]), truth.abs() < 1e-9
    outcomes = {"verdict, any false helps or harms": claimed(bool((decided & none).any()))}
    if gain:
        outside = truth.abs() >= MARGIN - 1e-9
        outcomes["verdict, any false equivalent"] = claimed(
            bool((found["within_margin"] & outside).any())
        )
    return outcomes


def both_variations(pairs: int, patients_to_seeds: float, generator: np.random.Generator) -> Outcomes:
    """Seeds and patients: the ratio is of the standard errors of the mean difference."""
    error = 0.01 / math.sqrt(pairs)
    shift = patients_to_seeds * error * generator.normal()
    differences = shift + 0.01 * generator.normal(size=pairs)
    metrics = metrics_table({"random": np.full(pairs, 0.8), "one": 0.8 + differences})
    row = dict.fromkeys(PATIENT_INTERVALS.columns, math.nan) | _CONSTANT
    row |= {
        "init": "one",
        "reference": "random",
        "mean": differences.mean(),
        "runs": pairs,
        "undefined": 0,
    }
    row["error"] = patients_to_seeds * error * math.sqrt(generator.chisquare(50) / 50)
    patients = pd.DataFrame([row])[list(PATIENT_INTERVALS.columns)]
    found = judged(metrics, patients.astype({"images": "int64", "patients": "int64"})).iloc[0]
    held = found["other_patients"] == "holds" and found["verdict"] in ("helps", "harms")
    return {
        "verdict, low_both to high_both": covers(found["low_both"], found["high_both"], 0.0),
        "verdict, false and said to hold for other patients": claimed(bool(held)),
        "paired_t, for other patients (not ours)": covers(found["low"], found["high"], 0.0),
    }


def smaller_networks(spread: float, pairs: int, generator: np.random.Generator) -> Outcomes:
    """Two smaller networks that are a margin worse than the largest."""
    tables = [
        metrics_table(
            {"random": mean + spread * generator.normal(size=pairs)}, model=name, parameters=size
        )
        for name, size, mean in (("a", 1e6, 0.79), ("b", 1e7, 0.79), ("c", 1e8, 0.79 + MARGIN))
    ]
    found = sparing(pd.concat(tables), STUDY)
    worse = found["best_model"] == "c"
    return {"sparing, any false equivalent": claimed(bool((found["equivalent"] & worse).any()))}


SIZES = np.array([100, 250, 500, 1000])


def subsets(
    matching: float, plateau: bool, noise: float, pairs: int, generator: np.random.Generator
) -> Outcomes:
    """A start that matches the reference with so many images; beyond 1,000 no subset will do."""
    curve = np.log(np.minimum(SIZES, matching) if plateau else SIZES)
    tables = []
    for images, height in zip(SIZES, 0.05 * (curve - math.log(matching)), strict=True):
        shared = 0.5 * noise * generator.normal(size=pairs)
        own = {"one": 0.8 + height + shared + noise * generator.normal(size=pairs)}
        if images == SIZES[-1]:
            own["random"] = 0.8 + shared + noise * generator.normal(size=pairs)
        subset = "full" if images == SIZES[-1] else f"n{images}"
        tables.append(metrics_table(own, subset=subset, training_images=int(images)))
    found = label_efficiency(pd.concat(tables), "random", 0.95)
    row = found[found["init"] == "one"].iloc[0]
    low, high = (
        {AT_MOST: -math.inf, MORE_THAN: math.inf}.get(row[f"{end}_bound"], SIZES[-1] * row[end])
        for end in ("low", "high")
    )
    return {"label_efficiency": covers(low, high, matching if matching <= SIZES[-1] else math.inf)}


SCORING = 100.0
SCALE, SHAPE = 1000.0, 3.0


def steps_to_converge(pairs: int, stopped: float | None, generator: np.random.Generator) -> Outcomes:
    """Two starts that converge alike, scored every 100 steps; some runs stop before they get there."""
    steps = SCORING * np.ceil(SCALE * generator.weibull(SHAPE, (2, pairs)) / SCORING)
    ends = np.full((2, pairs), math.inf)
    if stopped is not None:
        ends = SCORING * np.ceil(generator.uniform(stopped, 2 * stopped, (2, pairs)) / SCORING)
    tables = [
        pd.DataFrame({
            "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "metric": "auroc",
            "init": init, "split": "holdout", "seed": np.arange(pairs), "threshold_kind": "share",
            "threshold": 0.9, "step": np.minimum(steps[i], ends[i]).astype(int),
            "reached": steps[i] <= ends[i],
        })
        for i, init in enumerate(("one", "random"))
    ]  # fmt: skip
    row = compare_convergence(pd.concat(tables), "random").iloc[0]
    truth = _restricted_truth(float(row["horizon"]))
    return {
        "restricted_mean": covers(row["low"], row["high"], truth),
        "restricted_mean, difference": covers(row["difference_low"], row["difference_high"], 0.0),
        "log_rank": claims(row["p_log_rank"]),
    }


def _restricted_truth(horizon: float) -> float:
    """The area under the survival of steps that are rounded up to scorings."""
    starts = np.arange(0.0, horizon, SCORING)
    return float(np.exp(-((starts / SCALE) ** SHAPE)) @ np.minimum(SCORING, horizon - starts))


NETWORKS = np.array([1e6, 3e6, 1e7, 3e7, 1e8])


def gains_of_datasets(datasets: int, varying: float, generator: np.random.Generator) -> Outcomes:
    """Gains of five networks on each data set that depend on nothing but the data set."""
    place = np.repeat(np.arange(datasets), len(NETWORKS))
    size = np.log(np.tile(NETWORKS, datasets))
    slopes = varying * generator.normal(size=datasets)[place]
    gains = generator.normal(size=datasets)[place] + generator.normal(size=len(place))
    table = pd.DataFrame({
        "dataset": place.astype(str), "gain": gains + slopes * (size - size.mean()) / size.std(),
        "parameters": np.exp(size), "distance": generator.normal(size=datasets)[place],
    })  # fmt: skip
    found = fit_factors(table).set_index("term")
    return {
        f"fit_factors, {name}": covers(found.at[term, "low"], found.at[term, "high"], 0.0)
        for name, term in (("between data sets", "distance"), ("within", "log_parameters"))
    }


def correlated_gains(datasets: int, generator: np.random.Generator) -> Outcomes:
    """Two unrelated quantities of five networks on each data set, each alike within data sets."""
    place = np.repeat(np.arange(datasets), 5)
    x, y = (generator.normal(size=datasets)[place] + generator.normal(size=len(place)) for _ in "xy")
    found = pooled_and_within(x, y, place)
    return {
        "pooled_and_within, pooled": claims(found.pooled.p_pearson),
        "pooled_and_within, within": claims(found.within.p_pearson),
        "pooled_and_within, naive (not to be reported)": claims(found.naive.p_pearson),
    }


def _over_seeds() -> list[Scenario]:
    draws: list[tuple[str, Draw, tuple[int, ...]]] = [
        ("normal", normal, (2, 3, 5, 6, 10)), ("rounded, ties", rounded, (5, 10)),
        ("heavy tails (t3)", heavy_tailed, (5, 10)), ("skewed (exponential)", skewed, (5, 10, 30)),
    ]  # fmt: skip
    return [
        Scenario("seeds", f"{name}, {pairs} pairs", partial(over_seeds, draw, pairs))
        for name, draw, counts in draws
        for pairs in counts
    ]  # fmt: skip


def _over_folds() -> list[Scenario]:
    model = [
        Scenario("folds", f"model of correlated folds, {k} folds", partial(over_folds, k))
        for k in (5, 10)
    ]
    learners = [
        ("nearest mean", 5, 60), ("nearest mean", 10, 300), ("ridge", 5, 60), ("ridge", 10, 60),
        ("ridge", 5, 300), ("ridge", 10, 300), ("five neighbours", 5, 100),
        ("five neighbours", 10, 100),
    ]  # fmt: skip
    return model + [
        Scenario("folds", f"{learner}, {images} images, {folds} folds",
                 partial(cross_validation, learner, folds, images))
        for learner, folds, images in learners
    ]  # fmt: skip


def _of_spread_and_margin() -> list[Scenario]:
    return [
        *(Scenario("tost", f"sd {sd:g} margins, {k} pairs", partial(at_the_margin, normal, sd, k))
          for sd in (0.3, 1.0) for k in (3, 5, 10)),
        *(Scenario("tost", f"sd .3 margins, {k} correlated folds",
                   partial(at_the_margin, correlated_folds, 0.3, k)) for k in (5, 10)),
        *(Scenario("sd", f"normal, {k} pairs", partial(spread, normal, 1.0, k)) for k in (3, 5, 10)),
        *(Scenario("sd", f"{name}, {k} pairs", partial(spread, draw, truth, k))
          for name, draw, truth in (("heavy tails (t3)", heavy_tailed, math.sqrt(3)),
                                    ("skewed (exponential)", skewed, 1.0)) for k in (5, 10)),
    ]  # fmt: skip


def _of_ratios_and_depths() -> list[Scenario]:
    return [
        *(Scenario("fieller", f"denominator {errors:g} standard errors from 0, {k} pairs",
                   partial(ratio_of_means, normal, errors, k))
          for errors in (0.2, 2.0, 8.0) for k in (3, 5, 10)),
        Scenario("fieller", "denominator 8 standard errors from 0, 5 correlated folds",
                 partial(ratio_of_means, correlated_folds, 8.0, 5)),
        *(Scenario("max_t", f"{DEPTHS} depths, correlation {rho:g}, gain {gain:g} sd, {k} pairs",
                   partial(depth_curve, rho, gain, k))
          for rho in (0.0, 0.8) for gain in (0.0, 3.0) for k in (5, 6, 10)),
    ]  # fmt: skip


def _of_families() -> list[Scenario]:
    return [
        *(Scenario("families", f"6 starts against one, {real} really better, {k} pairs",
                   partial(starts, real, k)) for real in (0, 3) for k in (3, 5)),
        *(Scenario("families", f"{LAYERS} layers, {real} with an effect, correlation {rho:g}",
                   partial(layer_map, rho, real), 2000) for real in (0, 10) for rho in (0.0, 0.8)),
    ]  # fmt: skip


def _of_verdicts() -> list[Scenario]:
    return [
        *(Scenario("verdict", f"all starts alike, {k} seeds",
                   partial(verdicts, 0.0, 0.01, k, False), 2000)
          for k in (3, 5)),
        Scenario("verdict", "all starts alike, 5 correlated folds",
                 partial(verdicts, 0.0, 0.01, 5, True), 2000),
        *(Scenario("verdict", f"a source gains the margin, sd {sd:g} margins, {k} seeds",
                   partial(verdicts, MARGIN, sd * MARGIN, k, False), 2000)
          for sd, k in ((0.2, 5), (0.5, 10))),
        *(Scenario("verdict", f"two smaller networks a margin worse, sd {sd:g} margins, {k} seeds",
                   partial(smaller_networks, sd * MARGIN, k), 2000) for sd, k in ((0.2, 5), (1.0, 10))),
        *(Scenario("both", f"error of patients {ratio:g} times that of {k} seeds",
                   partial(both_variations, k, ratio), 2000)
          for k, ratio in ((2, 1.0), (3, 0.5), (3, 2.0), (5, 1.0), (10, 1.0))),
    ]  # fmt: skip


def _of_curves() -> list[Scenario]:
    shapes = [
        ("matched at 400 images, small noise", 400.0, False, 0.005, (3, 5)),
        ("matched at 400 images, large noise", 400.0, False, 0.03, (5,)),
        ("matched at 500 images, then flat", 500.0, True, 0.01, (5,)),
        ("never matched by a little", 1100.0, False, 0.01, (5,)),
    ]
    stops = [("none stops", None), ("some stop early", 700.0)]
    return [
        *(Scenario("label efficiency", f"{name}, {k} seeds", partial(subsets, at, flat, noise, k), 2000)
          for name, at, flat, noise, seeds in shapes for k in seeds),
        *(Scenario("convergence", f"{name}, {k} runs a start", partial(steps_to_converge, k, end), 2000)
          for name, end in stops for k in (3, 5, 10)),
    ]  # fmt: skip


def _of_datasets() -> list[Scenario]:
    return [
        *(Scenario("factors", f"{k} data sets x {len(NETWORKS)} networks",
                   partial(gains_of_datasets, k, 0.0), 2000) for k in (5, 7, 20)),
        Scenario("factors", "7 data sets, slopes differ between them",
                 partial(gains_of_datasets, 7, 1.0), 2000),
        *(Scenario("correlation", f"{k} data sets x 5 networks", partial(correlated_gains, k), 2000)
          for k in (5, 7, 20)),
    ]  # fmt: skip


SCENARIOS = [
    *_over_seeds(), *_over_folds(), *_of_spread_and_margin(), *_of_ratios_and_depths(), *_of_families(),
    *_of_verdicts(), *_of_curves(), *_of_datasets(),
]  # fmt: skip
