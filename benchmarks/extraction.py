"""How fast features are extracted, beside the bare forward pass of the same network.

    python benchmarks/extraction.py                    the whole table, half an hour on two cores
    python benchmarks/extraction.py --quick            a look, a minute
    python benchmarks/extraction.py --networks resnet50 --sides 224 --memory-gb 4

For each network and side, in one run on one machine, images per second of
* extraction: from stored pixels to arrays: normalisation, forward pass, Gram matrices and rows of the
  probe, pooled features of all images at all points;
* pooled features only: the same without a probe, as for the images beyond it;
* forward pass: the same network on the same images, normalised before, in batches of the same size.
They take turns in each round; medians over rounds of the rates, and of the ratios within a round. The
goal is extraction at 80 % of the forward pass. A quarter of the images are the probe; in a study there
are hundreds of them and thousands of others. Finding the points costs a part of a second each time,
which counts. Held memory is that of a block's activations.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.typed import read_settings
from medtransfer.models.build import build_network
from medtransfer.provenance import processor, software_versions
from medtransfer.representation.extraction import (
    ExpectedBytes,
    Images,
    Request,
    expected_bytes,
    extract,
)
from medtransfer.representation.points import measured_points
from medtransfer.training.arithmetic import Arithmetic, prepare
from medtransfer.training.specification import Specification

ROOT = Path(__file__).parents[1]
NETWORKS = ("resnet18", "resnet50", "deit_s")
SIDES = (64, 224)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GOAL = 0.8


@dataclass(frozen=True)
class Cell:
    """One network at one side, and what it is measured with."""

    network: nn.Module
    images: Images
    request: Request
    expected: ExpectedBytes


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add("--networks", nargs="+", default=NETWORKS, help="of config/models/, or names of architectures")
    add("--sides", nargs="+", type=int, default=SIDES)
    add("--images", type=int, default=512)
    add("--probe", type=int, default=128, help="images with Gram matrices and rows")
    add("--gram-block", type=int, default=64, help="images a Gram matrix")
    add("--batch-size", type=int, default=32)
    add("--memory-gb", type=float, default=4.0, help="that held activations may take")
    add("--rounds", type=int, default=3)
    add("--quick", action="store_true", help="two rounds of 256 images, no ResNet-50, no 224 px")
    add("--threads", type=int, default=cores, help="CPU threads")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--output", type=Path, help="JSON file for all rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.networks = [n for n in arguments.networks if n != "resnet50"]
        arguments.sides = [side for side in arguments.sides if side < 224]
        arguments.images, arguments.probe, arguments.rounds = 256, 64, 2
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    began, rows = time.perf_counter(), []
    heading = ("network", "side", "extraction", "pooled only", "forward pass", "of forward pass",
               "pooled of forward pass", "passes", "held MiB", "kept MiB")  # fmt: skip
    print_line(heading)
    print_line(["---"] * len(heading))
    for side in arguments.sides:
        for name in arguments.networks:
            rows.append(
                {"network": name, "side": side, **measured(cell_of(name, side, arguments), arguments)}
            )
            print_row(rows[-1])
    facts = {**machine(arguments), "seconds": round(time.perf_counter() - began), "cells": rows}
    print(*(f"{key}: {value}" for key, value in facts.items() if key != "cells"), sep="; ")
    if arguments.output:
        arguments.output.write_text(json.dumps(facts, indent=1) + "\n")


def cell_of(name: str, side: int, arguments: argparse.Namespace) -> Cell:
    path = ROOT / "config" / "models" / f"{name}.yaml"
    model = read_settings(ModelSettings, path) if path.is_file() else ModelSettings(name)
    device, plan = torch.device(arguments.device), specification(model)
    network = build_network(model, 3, 2, side, seed=0)
    network = prepare(network, plan.arithmetic_on(device), device).eval()
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (arguments.images, side, side, 3), dtype=np.uint8)
    ids = tuple(str(i) for i in range(arguments.images))
    images = Images(torch.from_numpy(pixels).to(device), plan, ids, arguments.batch_size)
    request = Request(
        probe=arguments.probe,
        gram_block=arguments.gram_block,
        memory=int(arguments.memory_gb * 2**30),
    )
    points = measured_points(network, images.shape)
    return Cell(network, images, request, expected_bytes(points, request, {"test": len(images)}))


def specification(model: ModelSettings) -> Specification:
    return Specification(
        task="binary",
        outputs=("a", "b"),
        metric="auroc",
        model=model,
        recipe=RecipeSettings(steps=1),
        init="random",
        seed=0,
        mean=MEAN,
        std=STD,
        arithmetic=Arithmetic(),
    )


def measured(cell: Cell, arguments: argparse.Namespace) -> dict:
    """All numbers of a cell."""
    batches = list(cell.images.batches())
    pooled_only = Request(probe=1, gram_block=cell.request.gram_block, row_count=1)
    jobs: dict[str, Callable[[], object]] = {
        "extraction": lambda: extract(cell.network, {"test": cell.images}, cell.request),
        "pooled only": lambda: extract(cell.network, {"test": cell.images}, pooled_only),
        "forward pass": lambda: forward(cell.network, batches),
    }
    forward(cell.network, batches[:1])
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(arguments.rounds):
        for name, job in jobs.items():
            rates[name].append(len(cell.images) / seconds_of(job, cell.images.pixels.device))
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates[name], rates["forward pass"], strict=True))
        for name in ("extraction", "pooled only")
    }
    return {
        "rates": rates,
        "ratios": ratios,
        "reaches_goal": ratios["extraction"] >= GOAL,
        "passes": cell.expected.passes,
        "held_mib": cell.expected.held / 2**20,
        "kept_mib": cell.expected.kept / 2**20,
    }


@torch.inference_mode()
def forward(network: nn.Module, batches: list[torch.Tensor]) -> None:
    for batch in batches:
        network(batch)


def seconds_of(job: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def print_row(row: dict) -> None:
    rates = [f"{statistics.median(values):.1f}" for values in row["rates"].values()]
    ratios = [f"{value:.0%}" for value in row["ratios"].values()]
    memory = [f"{row['held_mib']:.0f}", f"{row['kept_mib']:.0f}"]
    print_line([row["network"], row["side"], *rates, *ratios, row["passes"], *memory])


def print_line(cells: list) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def machine(arguments: argparse.Namespace) -> dict:
    names = ("threads", "batch_size", "images", "probe", "gram_block", "memory_gb")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": processor() if arguments.device == "cpu" else torch.cuda.get_device_name(),
        **{name: getattr(arguments, name) for name in names},
        **software_versions(),
    }


if __name__ == "__main__":
    main()
