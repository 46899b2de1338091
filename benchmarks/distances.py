"""How fast domain distance and kNN are, beside the ways that people compute them now.

    python benchmarks/distances.py                 both, a minute or two
    python benchmarks/distances.py --quick         a look, seconds; sizes too small to say much
    python benchmarks/distances.py --output distances.json

In one run on one machine, on the same arrays, from features in memory to the result:
* Fréchet distance: ours beside means, `np.cov` and `scipy.linalg.sqrtm` of the product of covariances,
  in float64 both; the two values are shown.
* kNN: ours beside a loop over the images that multiplies the normalised bank with one image, sorts, and
  adds up the votes, in float64 both; the neighbours must be the same, in the same order.
The two ways take turns; medians over rounds of the seconds and of the ratios within a round. Set
OMP_NUM_THREADS for the threads of the matrix products.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy import linalg

from medtransfer.provenance import processor, software_versions
from medtransfer.representation.domain_distance import frechet_distance
from medtransfer.representation.knn import nearest, vote

CLASSES = 5
NEIGHBOURS = 200
TEMPERATURE = 0.1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--features", type=int, default=2048, help="of an image, for both")
    add("--images", type=int, default=5000, help="of each domain, and of the bank")
    add("--queries", type=int, default=1000)
    add("--rounds", type=int, default=3)
    add("--quick", action="store_true", help="one round of 256 features, 600 images, 100 queries")
    add("--output", type=Path, help="JSON file for all rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.features, arguments.images, arguments.queries, arguments.rounds = 256, 600, 100, 1
    return arguments


def main() -> None:
    arguments = parse_arguments()
    print("| what | theirs s | ours s | ratio | results |\n|---|---|---|---|---|")
    rows = [measured_frechet(arguments), measured_knn(arguments)]
    facts = {**machine(arguments), "rows": rows}
    print(*(f"{key}: {value}" for key, value in facts.items() if key != "rows"), sep="; ")
    if arguments.output:
        arguments.output.write_text(json.dumps(facts, indent=1) + "\n")


def draw_features(images: int, features: int, seed: int) -> np.ndarray:
    """Rectified features with a decaying spectrum, as pooled ones have; float32, images x features."""
    mixing = np.random.default_rng(0).normal(size=(features, features)) / np.sqrt(features)
    generator = np.random.default_rng(seed)
    scales = np.arange(1, features + 1) ** -0.5
    directions = generator.normal(0.1 * seed, 1, (images, features)) * scales
    return np.maximum(directions @ mixing + 0.1, 0).astype(np.float32)


def measured_frechet(arguments: argparse.Namespace) -> dict[str, Any]:
    x, y = (draw_features(arguments.images, arguments.features, seed) for seed in (1, 2))
    row, theirs, ours = taken_in_turns(
        f"Fréchet, {arguments.images} x {arguments.features}",
        lambda: frechet_by_sqrtm(x, y),
        lambda: frechet_distance(x, y),
        arguments.rounds,
    )
    print_row(row, f"{theirs:.9g} and {ours:.9g}")
    return {**row, "values": [theirs, ours]}


def frechet_by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """As public implementations have it."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    covariance_x, covariance_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(covariance_x @ covariance_y).real
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(covariance_x + covariance_y - 2 * root))


def measured_knn(arguments: argparse.Namespace) -> dict[str, Any]:
    bank = draw_features(arguments.images, arguments.features, 3)
    queries = draw_features(arguments.queries, arguments.features, 4)
    labels = np.random.default_rng(5).integers(0, CLASSES, len(bank))
    row, theirs, ours = taken_in_turns(
        f"kNN, {len(queries)} queries of {len(bank)} x {arguments.features}",
        lambda: knn_by_loop(bank, labels, queries),
        lambda: knn(bank, labels, queries),
        arguments.rounds,
    )
    same = bool(np.array_equal(theirs[0], ours[0]))
    difference = float(np.abs(theirs[1] - ours[1]).max())
    said = "the same" if same else "NOT THE SAME"
    print_row(row, f"neighbours {said}, scores differ by {difference:.1e} at most")
    return {**row, "same_neighbours": same, "largest_difference": difference}


def knn(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    neighbours, similarities = nearest(bank, queries, NEIGHBOURS)
    return neighbours, vote(labels, neighbours, similarities, TEMPERATURE, CLASSES)


def knn_by_loop(
    bank: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    bank, queries = bank.astype(np.float64), queries.astype(np.float64)
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    neighbours, scores = [], []
    for query in queries:
        similarities = bank @ (query / np.linalg.norm(query))
        nearest_ones = np.argsort(-similarities)[:NEIGHBOURS]
        weights = np.exp(similarities[nearest_ones] / TEMPERATURE)
        votes = np.bincount(labels[nearest_ones], weights, CLASSES)
        neighbours.append(nearest_ones)
        scores.append(votes / votes.sum())
    return np.stack(neighbours), np.stack(scores)


def taken_in_turns(
    what: str, theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int
) -> tuple[dict[str, Any], Any, Any]:
    """Seconds of both ways in every round, and their results."""
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in (("theirs", theirs), ("ours", ours)):
            began = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(seconds["theirs"], seconds["ours"], strict=True)]
    row = {"what": what, "seconds": seconds, "ratio": statistics.median(ratios)}
    return row, results["theirs"], results["ours"]


def print_row(row: dict[str, Any], results: str) -> None:
    theirs, ours = (statistics.median(row["seconds"][name]) for name in ("theirs", "ours"))
    print(f"| {row['what']} | {theirs:.2f} | {ours:.2f} | {row['ratio']:.1f} | {results} |", flush=True)


def machine(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": processor(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "rounds": arguments.rounds,
        **software_versions(),
        "scipy": scipy.__version__,
    }


if __name__ == "__main__":
    main()
