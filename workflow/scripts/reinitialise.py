"""The result of a finished run with one unit after the other put back to its start."""

import argparse
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.errors import shown_plainly
from medtransfer.training.devices import leased_device


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, required=True, help="split table")
    add("--subset", required=True, help="of the run: full, n<images>, p<percent>; -redrawn")
    add("--record", type=Path, required=True, help="run.json of the run, its weights beside it")
    add("--weights", type=Path, help="what the run started from, with its sidecar; none at random")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add("--jobs-per-gpu", type=int, default=1)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--output", type=Path, required=True, help="parquet table to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
        # imported only now: the device must be chosen before torch looks for one
        import torch

        from medtransfer.representation.probing import read_run, reinitialised
        from medtransfer.representation.reinitialisation import REINITIALISATION
        from medtransfer.tables import write_table
        from medtransfer.training.job import read_store

        torch.set_num_threads(arguments.threads)
        keep_all_memory()
        store = read_store(arguments.images, arguments.samples, arguments.split)
        run = read_run(
            arguments.record.parent, store, arguments.subset, arguments.weights, torch.device(device)
        )
        write_table(reinitialised(run), REINITIALISATION, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
