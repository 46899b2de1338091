"""Made-up tables of the analyses of representations, in which every value is different."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.representation.pairs import Network, network_pairs
from medtransfer.representation.start_end import start_end

CBR = tuple(("stem" if i == 0 else f"layers.{i}", "unit") for i in range(5))
RESNET = (
    ("stem", "unit"),
    *((f"layer{s}.{b}", "unit") for s, n in enumerate((3, 4, 6, 3), 1) for b in range(n)),
    ("norm", "unit"),
)
VIT = (
    ("patch_embed", "unit"),
    *(
        (f"blocks.{b}{branch}", kind)
        for b in range(4)
        for branch, kind in ((".attn", "attention"), (".mlp", "mlp"), ("", "unit"))
    ),
)
POINTS = {"cbr": CBR, "vit": VIT, "resnet": RESNET}
PAIR_KINDS = ("random-random", "random-transfer", "transfer-transfer")


@dataclass(frozen=True)
class Study:
    """What the made-up runs are."""

    datasets: tuple[str, ...] = ("chest", "fundus")
    models: tuple[str, ...] = ("cbr", "vit")
    inits: tuple[str, ...] = ("random", "fractal-stats", "fractal")
    seeds: int = 2
    subsets: tuple[str, ...] = ("full",)

    @property
    def runs(self) -> pd.DataFrame:
        names = ["dataset", "model", "init", "subset", "seed"]
        values = (self.datasets, self.models, self.inits, self.subsets, range(self.seeds))
        rows = pd.DataFrame(list(itertools.product(*values)), columns=names)
        return rows.assign(recipe="r", split="holdout")

    def networks(self, dataset: str) -> list[Network]:
        rows = self.runs[self.runs["dataset"] == dataset].to_dict("records")
        return [Network(**row, moment=m) for row in rows for m in ("start", "end")]

    def pairs(self, dataset: str) -> list:
        return network_pairs(self.networks(dataset))


def units(model: str) -> list[str]:
    return [name for name, kind in POINTS[model] if kind == "unit"]


def stay(init: str, depth: float, seed: int) -> float:
    """How much of a unit survives fine-tuning, from 0 to 1."""
    base = {"random": 0.45, "gabor": 0.5}.get(init, 0.6 if init.endswith("stats") else 0.95)
    return float(np.clip(base - 0.35 * depth + 0.03 * seed, 0.02, 1))


def cka(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for dataset in study.datasets:
        for pair in study.pairs(dataset):
            points = POINTS[pair.a.model]
            for (i, one), (j, other) in itertools.product(enumerate(points), enumerate(points)):
                near = np.exp(-abs(i - j) / 4) * (1 if one[1] == other[1] else 0.6)
                kept = 1.0 if pair.kind == "within" else stay(pair.b.init, i / len(points), pair.a.seed)
                value = float(near * kept - 0.02 * generator.random() * (pair.kind != "within"))
                row = pair.columns | {
                    "point_a": one[0], "kind_a": one[1], "order_a": i,
                    "point_b": other[0], "kind_b": other[1], "order_b": j,
                    "value": value, "images": 500, "low": np.nan, "high": np.nan, "baseline": np.nan,
                }  # fmt: skip
                if i == j and pair.kind != "within":
                    row |= {"low": value - 0.04, "high": value + 0.03, "baseline": 0.01 * i / 10}
                rows.append(row)
    return pd.DataFrame(rows)


def cca(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    rows = []
    for dataset in study.datasets:
        for pair in study.pairs(dataset):
            if pair.kind == "within":
                continue
            names = units(pair.a.model)
            for order, point in enumerate(names[:: max(1, len(names) // 5)]):
                for measure in ("cca", "svcca", "pwcca", "sampled_channels"):
                    value = stay(pair.a.init, order / 5, pair.a.seed) * 0.9
                    rows.append(
                        pair.columns | {
                            "point": point, "order": order, "measure": measure,
                            "value": value + 0.05 * generator.random(),
                            "baseline": 0.05 + 0.03 * order + 0.01 * generator.random(),
                            "rows": 4000, "channels_a": 64, "channels_b": 64,
                            "reliable": order < 3 or measure == "svcca",
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def top_layers(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    keys = itertools.product(
        study.datasets, study.models, ("cca", "svcca", "pwcca", "sampled_channels"), PAIR_KINDS
    )
    rows = pd.DataFrame(list(keys), columns=["dataset", "model", "measure", "pair"])
    rows["mean"] = generator.uniform(0.3, 0.8, len(rows))
    rows["sd"] = generator.uniform(0.01, 0.05, len(rows))
    rows["baseline"] = generator.uniform(0.05, 0.2, len(rows))
    return rows.assign(pairs=6, reliable=rows["measure"] != "pwcca")


def start_end_correlations(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(13)
    scopes = ("all", "lower", "upper", "within")
    keys = itertools.product(study.datasets, study.models, study.subsets, ("svcca", "pwcca"), scopes)
    rows = pd.DataFrame(list(keys), columns=["dataset", "model", "subset", "measure", "scope"])
    rows["value"] = generator.uniform(-0.9, 0.9, len(rows))
    return rows.assign(recipe="r", values=30, points=5, pairs=6)


def weight_distance(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    rows = []
    for run in study.runs.to_dict("records"):
        names = [*units(run["model"]), "head"]
        for order, unit in enumerate(names):
            moved = (1 - stay(run["init"], order / len(names), run["seed"])) * generator.uniform(
                0.8, 1.2
            )
            values = {
                "relative": moved, "per_weight": 10 ** (-2 - 0.3 * order) * moved,
                "l2": 7 * moved, "per_weight_as_released": 0.1,
            }  # fmt: skip
            for measure, value in values.items():
                rows.append(run | {"unit": unit, "order": order, "measure": measure, "value": value,
                                   "weights": 1000})  # fmt: skip
    return pd.DataFrame(rows)


def knn(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    rows = []
    for run in study.runs.to_dict("records"):
        names = [name for name, _ in POINTS[run["model"]]]
        poolings = ("cls", "patches", "both") if run["model"] == "vit" else ("pooled",)
        for order, point in enumerate(names):
            for pooling, moment in itertools.product(poolings, ("start", "end")):
                gain = (0.25 if moment == "end" else 0.08) * order / len(names)
                value = 0.6 + gain + 0.04 * generator.random() + 0.05 * (run["init"] == "fractal")
                rows.append(run | {
                    "moment": moment, "point": point, "order": order, "pooling": pooling, "k": 200,
                    "metric": "auroc" if run["dataset"] == "chest" else "quadratic_kappa",
                    "value": value, "bank_images": 900, "images": 300,
                })  # fmt: skip
    return pd.DataFrame(rows)


def reinitialisation(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    rows = []
    for run in study.runs.to_dict("records"):
        names = [*units(run["model"]), "head"]
        intact = 0.85 + 0.02 * run["seed"] + 0.04 * (run["init"] == "fractal")
        for order, unit in enumerate(names):
            for kind in ("start", "fresh"):
                drop = generator.uniform(0, 0.05) + (0.3 if kind == "fresh" else 0.1) / (1 + order)
                rows.append(run | {"unit": unit, "order": order, "kind": kind, "metric": "auroc",
                                   "value": intact - drop, "drop": drop})  # fmt: skip
    return pd.DataFrame(rows)


def filters(study: Study, count: int = 32) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    rows = []
    for run in study.runs.to_dict("records"):
        for index in range(count):
            cosine = stay(run["init"], 0, run["seed"]) - 0.3 * generator.random() ** 2
            rows.append(run | {"filter": index, "cosine": cosine, "correlation": cosine})
    return pd.DataFrame(rows)


def filter_weights(study: Study, size: int = 7, channels: int = 3, count: int = 16) -> pd.DataFrame:
    generator = np.random.default_rng(7)
    tables = []
    grid = np.indices((count, channels, size, size)).reshape(4, -1)
    y, x = np.mgrid[:size, :size] - size // 2
    for run in study.runs.to_dict("records"):
        angles = generator.uniform(0, 3, (count, 1, 1, 1))
        waves = np.sin((np.cos(angles) * x + np.sin(angles) * y) * 1.5) * np.exp(-(x**2 + y**2) / 8)
        start = waves * generator.uniform(0.3, 1, (count, channels, 1, 1))
        if run["init"] == "random":
            start = generator.normal(size=start.shape) * 0.3
        for moment, kernels in (
            ("start", start),
            ("end", start + 0.1 * generator.normal(size=start.shape)),
        ):
            table = pd.DataFrame(dict(zip(("filter", "channel", "row", "column"), grid, strict=True)))
            tables.append(table.assign(**run, moment=moment, value=kernels.ravel()))
    return pd.concat(tables, ignore_index=True)


def sources(study: Study) -> list[str]:
    return [init for init in study.inits if init not in ("random", "gabor") and "-" not in init]


def distances(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(8)
    rows = []
    for source, (place, dataset) in itertools.product(sources(study), enumerate(study.datasets)):
        far = 40 + 25 * place + 5 * generator.random()
        for measure, value, width in (
            ("frechet", far, 3), ("frechet_extrapolated", far - 6, np.nan), ("kernel", far / 100, 0.02),
        ):  # fmt: skip
            rows.append({
                "source": source, "dataset": dataset, "extractor": f"{source}/resnet50",
                "measure": measure, "images": 900, "value": value, "low": value - width,
                "high": value + width,
            })  # fmt: skip
    return pd.DataFrame(rows)


def gains(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(9)
    rows = []
    others = [init for init in study.inits if init != "random"]
    for dataset, model, subset, init in itertools.product(
        study.datasets, study.models, study.subsets, others
    ):
        references = ["random"] + [f"{init}-stats"] * (f"{init}-stats" in study.inits)
        for reference, target, part in itertools.product(
            references, (True, False), ("test", "external")
        ):
            mean = generator.uniform(-0.02, 0.12)
            rows.append({
                "recipe": "r", "dataset": dataset, "model": model, "subset": subset, "part": part,
                "metric": "auroc" if target else "brier", "target": target, "init": init,
                "reference": reference, "mean": mean, "low": mean - 0.02, "high": mean + 0.03,
                "pairs": study.seeds, "paired_by": "seed",
            })  # fmt: skip
    return pd.DataFrame(rows)


def agreement(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(10)
    rows = []
    for dataset in study.datasets:
        for pair in study.pairs(dataset):
            if pair.kind not in ("inits", "seeds") or pair.a.moment != "end":
                continue
            a, b = generator.uniform(0.8, 0.93, 2)
            chance = a * b + (1 - a) * (1 - b)
            share = generator.uniform(0.1, 0.4) + 0.2 * (pair.kind == "seeds")
            rows.append(pair.columns | {
                "images": 300, "accuracy_a": a, "accuracy_b": b, "chance": chance,
                "similarity": chance + share * (1 - chance), "corrected_similarity": share,
                "label_agreement": 0.8, "kappa": share + 0.05 * generator.random(),
                "error_overlap": 0.08 + 0.6 * share, "different_errors": 0.01,
                "expected_error_overlap": 0.08 + 0.02 * generator.random(),
            })  # fmt: skip
    return pd.DataFrame(rows)


def scores(study: Study) -> pd.DataFrame:
    generator = np.random.default_rng(11)
    rows = []
    for source, model, dataset in itertools.product(sources(study), study.models, study.datasets):
        gain = generator.uniform(-0.01, 0.12)
        for score in ("logme", "leep", "nleep", "h_score", "h_score_shrunk", "knn"):
            rows.append({
                "source": source, "model": model, "dataset": dataset, "score": score,
                "value": generator.uniform(0.1, 0.9), "images": 700, "gain": gain,
                "gain_low": gain - 0.02, "gain_high": gain + 0.02, "recipe": "r", "subset": "full",
                "reference": "random",
            })  # fmt: skip
    return pd.DataFrame(rows)


def correlations(promised: pd.DataFrame) -> pd.DataFrame:
    generator = np.random.default_rng(12)
    rows = []
    for score, part in promised.groupby("score", sort=False) if len(promised) else []:
        scopes = [("dataset", name) for name in pd.unique(part["dataset"])]
        for scope, dataset in [*scopes, ("within", None), ("across", None)]:
            for measure in ("kendall", "weighted_kendall", "spearman"):
                p = np.nan if scope == "across" else generator.uniform(0.01, 0.9)
                rows.append({
                    "score": score, "scope": scope, "dataset": dataset, "measure": measure,
                    "value": generator.uniform(-0.9, 0.9), "p": p, "pairs": len(part),
                })  # fmt: skip
    return pd.DataFrame(rows)


def all_tables(study: Study) -> dict[str, dict[str, pd.DataFrame]]:
    """The tables of each figure."""
    promised = scores(study)
    return {
        "cka": {"cka": cka(study)},
        "cca": {"cca": cca(study)},
        "top_layers": {"top_layers": top_layers(study)},
        "start_end": {
            "start_end": start_end(cca(study)),
            "start_end_correlations": start_end_correlations(study),
        },
        "weight_distance": {"weight_distance": weight_distance(study)},
        "knn": {"knn": knn(study)},
        "reinitialisation": {"reinitialisation": reinitialisation(study)},
        "filters": {"filters": filters(study), "filter_weights": filter_weights(study)},
        "domain_distance": {"distances": distances(study), "gains": gains(study)},
        "agreement": {"agreement": agreement(study)},
        "transferability": {
            "scores": promised,
            "correlations": correlations(promised),
        },
    }
