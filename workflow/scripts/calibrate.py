"""Measure with which arithmetic networks train fastest on this machine, which must be idle."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.config.model import ModelSettings
from medtransfer.config.typed import read_settings
from medtransfer.errors import shown_plainly


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", nargs="+", required=True, help="of config/models/, or names of architectures")
    add("--side", nargs="+", type=int, required=True, help="of the images that the network sees")
    add("--batch-size", type=int, default=32)
    add("--threads", type=int, default=1, help="CPU threads of a training job")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--compile", action="store_true", help="measure compiled networks, too")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="of each arithmetic in each round")
    add("--output", type=Path, default=Path("resources/arithmetic.json"))
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    # imported only now: --help needs no torch
    import torch

    from medtransfer.training.arithmetic import add_measurements
    from medtransfer.training.calibration import ARITHMETICS, Effort, measure

    torch.set_num_threads(arguments.threads)
    keep_all_memory()  # as training does
    device = torch.device(arguments.device)
    compiled = [replace(a, compiled=True) for a in ARITHMETICS] if arguments.compile else []
    effort = Effort(arguments.rounds, arguments.seconds)
    for model in [model_settings(name) for name in arguments.model]:
        for side in arguments.side:
            found = measure(
                model, side, arguments.batch_size, device, (*ARITHMETICS, *compiled), effort
            )
            add_measurements(arguments.output, [found])
            show(found)


def model_settings(name: str) -> ModelSettings:
    path = Path("config/models") / f"{name}.yaml"
    return read_settings(ModelSettings, path) if path.is_file() else ModelSettings(name)


def show(found) -> None:
    print(
        f"{found.network}, {found.side} px, {found.threads} threads, {found.processor}", file=sys.stderr
    )
    for rate in found.rates:
        how = rate.arithmetic
        words = [how.precision, how.memory_format, f"{how.attention} attention"]
        name = ", ".join([*words, "compiled"] if how.compiled else words)
        print(f"  {name:42} {rate.images_per_second:8.1f} images/s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    with shown_plainly():
        main()
