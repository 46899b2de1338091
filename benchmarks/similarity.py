"""How fast CKA of all pairs of units is, beside the usual loop over pairs.

    python benchmarks/similarity.py                    17 x 17 units, 2,000 images: minutes on two cores
    python benchmarks/similarity.py --quick            a look: 500 images
    python benchmarks/similarity.py --types float64 --rounds 3

Debiased linear CKA of every unit of one network with every unit of another, in one run on one machine:
* ours: each unit's centred Gram matrix once, then all pairs in one matrix product;
* within: the same for a network with itself, where both sides share their Gram matrices;
* demonstration: for each pair both Gram matrices, centred, and their three products, step for step as
  the public demonstration of Kornblith et al. has it: a check of symmetry and a copy before centring;
* bare loop: the same pair by pair, in place and without the check.
The last two take the same time within a network. Same activations, type and threads; all in NumPy. The
units are as wide as those of a ResNet-50 at 224 px, whole feature maps, over 196; wider ones bring the
ratios to the bare loop nearer to 17, and 34 within. The ways take turns; medians over rounds of the
times and of the ratios within a round. The largest difference of the values of ours is shown, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from medtransfer.provenance import processor, software_versions
from medtransfer.representation.cka import cka_matrix

# stem, then the blocks of four stages
WIDTHS = (4096, *3 * (4096,), *4 * (2048,), *6 * (1024,), *3 * (512,))

RATIOS = {
    "demonstration / ours": ("demonstration", "ours"),
    "bare loop / ours": ("bare loop", "ours"),
    "demonstration / within": ("demonstration", "within"),
    "bare loop / within": ("bare loop", "within"),
}

Activations = list[np.ndarray]
Way = Callable[[Activations, Activations], np.ndarray]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=2000)
    add("--units", type=int, default=len(WIDTHS), help="the last so many units, at most 17")
    add("--types", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    add("--rounds", type=int, default=1)
    add("--quick", action="store_true", help="500 images")
    add("--output", type=Path, help="JSON file for all rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.images = 500
    return arguments


def main() -> None:
    arguments = parse_arguments()
    rows = []
    heading = ["type", *(f"{name} s" for name in WAYS), *RATIOS, "largest difference"]
    print_line(heading)
    print_line(["---"] * len(heading))
    for dtype in arguments.types:
        networks = [draw_activations(arguments, dtype, seed) for seed in (0, 1)]
        rows.append({"type": dtype, **measured(*networks, arguments.rounds)})
        print_row(rows[-1])
    facts = {**machine(arguments), "types": rows}
    print(*(f"{key}: {value}" for key, value in facts.items() if key != "types"), sep="; ")
    if arguments.output:
        arguments.output.write_text(json.dumps(facts, indent=1) + "\n")


def draw_activations(arguments: argparse.Namespace, dtype: str, seed: int) -> Activations:
    """Rectified activations of units that share a code of the images, one n x d array a unit."""
    code = np.random.default_rng(0).normal(size=(arguments.images, 32))
    generator = np.random.default_rng([1, seed])
    return [
        np.maximum(
            code @ generator.normal(size=(32, width)) / 6
            + generator.normal(size=(arguments.images, width)),
            0,
        ).astype(dtype)
        for width in WIDTHS[-arguments.units :]
    ]


def measured(first: Activations, second: Activations, rounds: int) -> dict:
    """Seconds of each way in each round, the ratios, and how far the values of ours are off."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    values = {}
    for way in WAYS.values():
        way(first[-1:], second[-1:])  # starts the threads of the matrix products
    for _ in range(rounds):
        for name, way in WAYS.items():
            began = time.perf_counter()
            values[name] = way(first, second)
            seconds[name].append(time.perf_counter() - began)
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds[x], seconds[y], strict=True))
        for name, (x, y) in RATIOS.items()
    }
    difference = float(np.abs(values["ours"] - values["demonstration"]).max())
    return {"seconds": seconds, "ratios": ratios, "largest_difference": difference}


def ours(first: Activations, second: Activations) -> np.ndarray:
    return cka_matrix(first, second)


def within(first: Activations, _: Activations) -> np.ndarray:
    return cka_matrix(first)


def demonstration(first: Activations, second: Activations) -> np.ndarray:
    return np.array([[demonstrated_cka(x @ x.T, y @ y.T) for y in second] for x in first])


def demonstrated_cka(gram_x: np.ndarray, gram_y: np.ndarray) -> float:
    k, m = demonstrated_centring(gram_x), demonstrated_centring(gram_y)
    return float(k.ravel().dot(m.ravel()) / (np.linalg.norm(k) * np.linalg.norm(m)))


def demonstrated_centring(gram: np.ndarray) -> np.ndarray:
    if not np.allclose(gram, gram.T):
        raise ValueError("a Gram matrix is symmetric")
    return u_centred_(gram.copy(), np.float64)


def bare_loop(first: Activations, second: Activations) -> np.ndarray:
    return np.array([[bare_cka(x, y) for y in second] for x in first])


def bare_cka(x: np.ndarray, y: np.ndarray) -> float:
    k, m = (u_centred_(z @ z.T, z.dtype).ravel() for z in (x, y))
    return float((k @ m) / np.sqrt((k @ k) * (m @ m)))


def u_centred_(gram: np.ndarray, type_of_sums: np.dtype | type) -> np.ndarray:
    n = len(gram)
    np.fill_diagonal(gram, 0)
    means = gram.sum(axis=0, dtype=type_of_sums) / (n - 2)
    means -= means.sum() / (2 * (n - 1))
    gram -= means[:, None]
    gram -= means
    np.fill_diagonal(gram, 0)
    return gram


WAYS: dict[str, Way] = {
    "ours": ours,
    "within": within,
    "demonstration": demonstration,
    "bare loop": bare_loop,
}


def print_row(row: dict) -> None:
    times = [f"{statistics.median(row['seconds'][name]):.1f}" for name in WAYS]
    ratios = [f"{value:.1f}" for value in row["ratios"].values()]
    print_line([row["type"], *times, *ratios, f"{row['largest_difference']:.1e}"])


def print_line(cells: list) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def machine(arguments: argparse.Namespace) -> dict:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": processor(),
        **{key: getattr(arguments, key) for key in ("images", "units", "rounds")},
        **software_versions(),
    }


if __name__ == "__main__":
    main()
