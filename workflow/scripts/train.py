"""Train one run: weights, predictions, validation curve, and a record of how they were made."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import medtransfer
from medtransfer.allocation import keep_all_memory
from medtransfer.code_fingerprint import code_fingerprint
from medtransfer.config.argument import add_settings
from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import RecipeSettings
from medtransfer.config.search import with_choice
from medtransfer.errors import shown_plainly
from medtransfer.files import read_json, write_json
from medtransfer.locks import locked_folder, remove_locked
from medtransfer.training.determinism import make_deterministic, prepare_deterministic
from medtransfer.training.devices import leased_device
from medtransfer.training.lost_device import lost_device_named
from medtransfer.training.stopping import Stopped, StopRequest

SOURCE_ROOT = Path(medtransfer.__file__).parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, required=True, help="split table")
    add("--subset", default="full", help="full, n<images>, p<percent>; -redrawn")
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
    add("--memory-format", default="auto", choices=["auto", "channels_last", "contiguous"])
    trade = parser.add_mutually_exclusive_group().add_argument
    trade("--compile", action="store_true", help="compile the network")
    trade("--checkpoint-activations", action="store_true", help="less memory, more time")
    add("--measurements", type=Path, default=Path("resources/arithmetic.json"), help="of calibrate.py")
    add("--images-mb", type=float, help="keep no more images in memory; default: half of what is free")
    add("--deterministic", action="store_true", help="deterministic kernels only, on a GPU")
    add("--folder", type=Path, required=True, help="where the run's files go")
    add("--state", type=Path, help="where its state is until it is done; default: .state in --folder")
    add("--save-seconds", type=float, help="between two saves of it; default: at most 2 %% of the time")
    add("--tensorboard", type=Path, help="where event files go; default: nowhere")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    stop = StopRequest()
    state = arguments.state or arguments.folder / ".state"
    try:
        with (
            stop.listening(),
            locked_folder(state),
            leased_device(arguments.device, arguments.jobs_per_gpu) as device,
        ):
            run(arguments, device, state, stop)
            stop.ignore()
            remove_locked(state)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)


def run(arguments: argparse.Namespace, device: str, state: Path, stop: StopRequest) -> None:
    deterministic = arguments.deterministic and device == "cuda"
    if deterministic:
        prepare_deterministic()
    # imported only now: the device must be chosen before torch looks for one
    import torch

    from medtransfer.models.weights import RANDOM_START, load_weights
    from medtransfer.training.divergence import train_candidate
    from medtransfer.training.job import read_store, train_run
    from medtransfer.training.keeper import Keeper

    torch.set_num_threads(arguments.threads)
    keep_all_memory()
    if deterministic:
        make_deterministic()
    weights, sidecar = load_weights(arguments.weights) if arguments.weights else ({}, RANDOM_START)
    keeper = Keeper(state, arguments.save_seconds, stop)
    code = code_fingerprint(Path(__file__), SOURCE_ROOT)
    keeper.identify(code=code, weights=sidecar.sha256)
    train = train_candidate if arguments.may_diverge else train_run
    room = None if arguments.images_mb is None else int(arguments.images_mb * 2**20)
    store = read_store(arguments.images, arguments.samples, arguments.split, room)
    plan = specification(arguments, sidecar)
    with lost_device_named(os.environ.get("CUDA_VISIBLE_DEVICES", device), keeper.kept):
        result = train(
            replace(plan, arithmetic=arithmetic(arguments, plan, store, device)),
            store,
            arguments.subset,
            weights,
            device,
            oversight(arguments, keeper),
        )
    write(result, arguments.folder, {"weights_sha256": sidecar.sha256})


def specification(arguments: argparse.Namespace, sidecar):
    from medtransfer.training.specification import Specification

    choice = read_json(arguments.choice) if arguments.choice else {}
    return Specification(
        task=arguments.task,
        outputs=tuple(arguments.outputs),
        metric=arguments.metric,
        model=arguments.model,
        recipe=with_choice(arguments.recipe, choice.get("learning_rate")),
        init=arguments.init,
        seed=arguments.seed,
        mean=sidecar.mean,
        std=sidecar.std,
    )


def arithmetic(arguments: argparse.Namespace, plan, store, device: str):
    """As it was measured on this processor; never timed here."""
    import torch

    from medtransfer.training import arithmetic as table
    from medtransfer.training.job import input_side

    place = torch.device(device)
    found = table.known_measurements(arguments.measurements).nearest(
        table.processor_model(place),
        table.network_name(plan.model),
        input_side(plan, store, arguments.subset),
        arguments.threads,
    )
    wishes = (arguments.memory_format, arguments.compile)
    chosen = table.choose(plan.recipe.precision, place, found, *wishes)
    return replace(chosen, checkpointed=arguments.checkpoint_activations)


def oversight(arguments: argparse.Namespace, keeper):
    from medtransfer.training.event_files import EventFiles
    from medtransfer.training.oversight import Oversight
    from medtransfer.training.progress import ProgressLine

    name = str(arguments.folder).removeprefix("results/runs/")
    line = ProgressLine(name, arguments.metric, sys.stderr)
    events = [EventFiles(arguments.tensorboard)] if arguments.tensorboard else []
    return Oversight(keeper, (line, *events))


def write(result, folder: Path, facts: dict[str, str]) -> None:
    from medtransfer.models.weights import write_state
    from medtransfer.tables import write_table
    from medtransfer.training.job import HISTORY, PREDICTIONS

    write_state(result.weights, folder / "model.safetensors")
    write_table(result.predictions, PREDICTIONS, folder / "predictions.parquet")
    write_table(result.history, HISTORY, folder / "history.parquet")
    write_json(folder / "run.json", {**result.facts, **facts})


if __name__ == "__main__":
    with shown_plainly():
        main()
