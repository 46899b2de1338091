"""Train one run: weights, predictions, validation curve, and a record of how they were made."""

import argparse
import json
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.search import with_choice
from medtransfer.errors import shown_plainly
from medtransfer.training.devices import leased_device


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, required=True, help="split table")
    add("--subset", default="full", help="full, n<images> or p<percent>")
    add("--task", required=True, help="binary, multiclass, multilabel or ordinal")
    add("--outputs", nargs="+", required=True, help="names of the network's outputs")
    add("--metric", required=True, help="target metric, for the choice of the best weights")
    add_settings(parser, "--model", ModelSettings)
    add_settings(parser, "--recipe", RecipeSettings)
    add("--choice", type=Path, help="choice.json of the recipe's search, whose rate the run takes")
    add("--may-diverge", action="store_true", help="record a loss that isn't finite, don't fail")
    add("--init", default="random", help="random, <source> or <source>-stats")
    add("--weights", type=Path, help="the source's weights, with their sidecar beside them")
    add("--seed", type=int, default=0)
    add("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add("--jobs-per-gpu", type=int, default=1)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--folder", type=Path, required=True, help="where the run's files go")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
        run(arguments, device)


def run(arguments: argparse.Namespace, device: str) -> None:
    # imported only now: the device must be chosen before torch looks for one
    import numpy as np
    import pandas as pd
    import torch

    from medtransfer.models.weights import RANDOM_START, load_weights, write_state
    from medtransfer.tables import write_table
    from medtransfer.training.divergence import train_candidate
    from medtransfer.training.job import HISTORY, PREDICTIONS, Store, train_run
    from medtransfer.training.specification import Specification

    torch.set_num_threads(arguments.threads)
    weights, sidecar = load_weights(arguments.weights) if arguments.weights else ({}, RANDOM_START)
    choice = json.loads(arguments.choice.read_text()) if arguments.choice else {}
    train = train_candidate if arguments.may_diverge else train_run
    result = train(
        Specification(
            task=arguments.task,
            outputs=tuple(arguments.outputs),
            metric=arguments.metric,
            model=arguments.model,
            recipe=with_choice(arguments.recipe, choice.get("learning_rate")),
            init=arguments.init,
            seed=arguments.seed,
            mean=sidecar.mean,
            std=sidecar.std,
        ),
        Store(
            np.load(arguments.images, mmap_mode="r"),
            pd.read_parquet(arguments.samples),
            pd.read_parquet(arguments.split),
        ),
        arguments.subset,
        weights,
        device,
    )
    write_state(result.weights, arguments.folder / "model.safetensors")
    write_table(result.predictions, PREDICTIONS, arguments.folder / "predictions.parquet")
    write_table(result.history, HISTORY, arguments.folder / "history.parquet")
    facts = {**result.facts, "weights_sha256": sidecar.sha256}
    (arguments.folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    with shown_plainly():
        main()
