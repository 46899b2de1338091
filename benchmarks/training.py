"""How fast training is, beside a plain PyTorch loop, timm's parts, and the step alone.

    python benchmarks/training.py                  the whole table, 14 minutes on two cores
    python benchmarks/training.py --quick          a look, two minutes
    python benchmarks/training.py --networks resnet18 --sides 96 --threads 1

For each network and side, in one run on one machine, images per second of training of
* ours: uint8 images in memory, shuffled, changed and normalised for each image, step; precision `fast`,
  the arithmetic as the tables have it; and with float32;
* plain loop: a folder of pictures that have the right side already, `ImageFolder`, torchvision's same
  changes, `DataLoader` with a worker a core, float32;
* timm: `create_loader` with its own crop, flip and jitter, a worker a core, bfloat16, channels_last;
* ceiling: a bare step in the arithmetic of ours on one batch, normalised, that stays in memory.
Same network, batch size and AdamW. The files are in the page cache. The loops stay alive and take
turns; in each round, each takes steps for some seconds after a few that don't count, which bring the
loaders' queues to where they stay. Medians over rounds of the rates, and of the ratios within a round.
Start is the time to the end of the first step (network, optimiser, workers, first batch), and memory
the peak until then above what was in use, with that of the workers; neither counts in the rates. Both
are in the order of the rates.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from memory_use import peak_memory
from PIL import Image
from training_loops import LOOPS, Cell, Step, specification, write_pictures

from medtransfer.config.model import ModelSettings
from medtransfer.config.typed import read_settings
from medtransfer.data.embedded.chest import draw_chest, draw_patient
from medtransfer.provenance import processor, software_versions
from medtransfer.training.arithmetic import processor_model
from medtransfer.training.calibration import Effort, mean_seconds

ROOT = Path(__file__).parents[1]
NETWORKS = ("cbr_tiny", "resnet18", "resnet50", "deit_s", "mobilenetv2")
SIDES = (64, 96, 224)
RATIOS = {
    "ours / plain": ("ours", "plain loop"),
    "float32 / plain": ("ours, float32", "plain loop"),
    "ours / timm": ("ours", "timm"),
    "of ceiling": ("ours", "ceiling"),
}
IMAGES = 512
WARMING_STEPS = 5
WARMING_SECONDS = 1.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add("--networks", nargs="+", default=NETWORKS, help="of config/models/, or names of architectures")
    add("--sides", nargs="+", type=int, default=SIDES)
    add("--batch-size", type=int, default=32)
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=1.5, help="of each loop in each round; at least one step")
    add("--quick", action="store_true", help="two rounds of half a second, no ResNet-50, no 224 px")
    add("--threads", type=int, default=cores, help="CPU threads of the training process")
    add("--workers", type=int, default=cores, help="of each loader")
    add("--format", default="jpeg", choices=["jpeg", "png"], help="of the pictures in the folder")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--table", type=Path, default=ROOT / "resources" / "arithmetic.json", help="of calibrate.py")
    add("--output", type=Path, help="JSON file for all rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.networks = [n for n in arguments.networks if n != "resnet50"]
        arguments.sides = [side for side in arguments.sides if side < 224]
        arguments.rounds, arguments.seconds = 2, 0.5
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    began, rows = time.perf_counter(), []
    print_header()
    for side in arguments.sides:
        with tempfile.TemporaryDirectory() as folder:
            pixels = draw_pictures(side)
            write_pictures(pixels, Path(folder), f".{arguments.format}")
            for name in arguments.networks:
                cell = cell_of(name, pixels, folder, arguments)
                effort = Effort(arguments.rounds, arguments.seconds)
                rows.append({"network": name, **measured(cell, effort)})
                print_row(rows[-1])
    print_means(rows)
    facts = {**machine(arguments), "seconds": round(time.perf_counter() - began), "cells": rows}
    print(*(f"{key}: {value}" for key, value in facts.items() if key != "cells"), sep="; ")
    if arguments.output:
        arguments.output.write_text(json.dumps(facts, indent=1) + "\n")


def draw_pictures(side: int) -> np.ndarray:
    """Phantom radiographs with noise, uint8, N x side x side x 3, a few different ones repeated."""
    generator = np.random.default_rng(0)
    pictures = []
    for _ in range(16):
        small = Image.fromarray(draw_chest(draw_patient(generator), generator).astype(np.float32))
        values = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))[..., None]
        noisy = values + generator.normal(0, 0.01, (side, side, 3))
        pictures.append((255 * noisy.clip(0, 1)).astype(np.uint8))
    return np.stack([pictures[i % 16] for i in range(IMAGES)])


def cell_of(name: str, pixels: np.ndarray, folder: str, arguments: argparse.Namespace) -> Cell:
    path = ROOT / "config" / "models" / f"{name}.yaml"
    model = read_settings(ModelSettings, path) if path.is_file() else ModelSettings(name)
    return Cell(
        model, pixels.shape[1], arguments.batch_size, arguments.workers,
        torch.device(arguments.device), pixels, Path(folder), arguments.table,
    )  # fmt: skip


def measured(cell: Cell, effort: Effort) -> dict:
    """All numbers of a cell."""
    steps: dict[str, Step] = {}
    starts, memory = {}, {}
    for name, loop in LOOPS.items():
        began = time.perf_counter()
        with peak_memory(cell.device) as peak:
            steps[name] = loop(cell)
            mean_seconds(steps[name], cell.device, 0)
        starts[name], memory[name] = time.perf_counter() - began, peak
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(effort.rounds):
        for name, step in steps.items():
            warm(step, cell.device)
            seconds = mean_seconds(step, cell.device, effort.seconds)
            rates[name].append(cell.batch_size / seconds)
    steps.clear()
    gc.collect()  # ends the loaders' workers
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates[x], rates[y], strict=True))
        for name, (x, y) in RATIOS.items()
    }
    return {
        "side": cell.side,
        "arithmetic": asdict(specification(cell, "fast").arithmetic_on(cell.device)),
        "rates": rates,
        "ratios": ratios,
        "start_seconds": starts,
        "peak_mib": {name: peak[0] for name, peak in memory.items() if peak},
    }


def warm(step: Step, device: torch.device) -> None:
    """Bring the queues of the loaders to where they stay."""
    began = time.perf_counter()
    for _ in range(WARMING_STEPS):
        mean_seconds(step, device, 0)
        if time.perf_counter() - began > WARMING_SECONDS:
            return


def print_header() -> None:
    heading = ("network", "side", *(f"{name}" for name in LOOPS), *RATIOS, "start s", "peak MiB")
    print_line(heading)
    print_line(["---"] * len(heading))


def print_row(row: dict) -> None:
    rates = [f"{statistics.median(row['rates'][name]):.1f}" for name in LOOPS]
    ratios = [as_text(name, value) for name, value in row["ratios"].items()]
    starts = " / ".join(f"{row['start_seconds'][name]:.1f}" for name in LOOPS)
    memory = " / ".join(f"{row['peak_mib'][name]:.0f}" for name in row["peak_mib"])
    print_line([row["network"], row["side"], *rates, *ratios, starts, memory])


def print_means(rows: list[dict]) -> None:
    means = [
        as_text(name, math.exp(statistics.mean(math.log(row["ratios"][name]) for row in rows)))
        for name in RATIOS
    ]
    print_line(["geometric mean", "", *[""] * len(LOOPS), *means, "", ""])


def as_text(name: str, ratio: float) -> str:
    return f"{ratio:.0%}" if name == "of ceiling" else f"{ratio:.2f}"


def print_line(cells: list) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def machine(arguments: argparse.Namespace) -> dict:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": processor() if arguments.device == "cpu" else torch.cuda.get_device_name(),
        "measurements of": processor_model(torch.device(arguments.device)),
        **{key: getattr(arguments, key) for key in ("threads", "workers", "batch_size", "format")},
        **software_versions(),
    }


if __name__ == "__main__":
    main()
