"""What a run's network holds of fixed images at its start and at its end, and how far it moved."""

import argparse
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.config.representation import parse_probe
from medtransfer.errors import shown_plainly
from medtransfer.training.devices import leased_device

# of the activations of one block of images; they are computed again in parts where it isn't enough
HELD_BYTES = 6 * 2**30


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, required=True, help="split table")
    add("--subset", required=True, help="of the run: full, n<images>, p<percent>; -redrawn")
    add("--record", type=Path, required=True, help="run.json of the run, its weights beside it")
    add("--weights", type=Path, help="what the run started from, with its sidecar; none at random")
    add("--probe", required=True, help="n<images>-b<images a block>-t<training images>")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add("--jobs-per-gpu", type=int, default=1)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--start", type=Path, required=True, help="safetensors file to write")
    add("--end", type=Path, required=True, help="safetensors file to write")
    add("--weight-distance", type=Path, required=True, help="parquet table to write")
    add("--filters", type=Path, required=True, help="parquet table to write")
    add("--filter-weights", type=Path, required=True, help="parquet table to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    images, block, bank = parse_probe(arguments.probe)
    with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
        # imported only now: the device must be chosen before torch looks for one
        import torch

        from medtransfer.representation.extraction import Request
        from medtransfer.representation.probing import probed, read_run
        from medtransfer.training.job import read_store

        torch.set_num_threads(arguments.threads)
        keep_all_memory()
        store = read_store(arguments.images, arguments.samples, arguments.split)
        run = read_run(
            arguments.record.parent, store, arguments.subset, arguments.weights, torch.device(device)
        )
        request = Request(probe=images, gram_block=block, memory=HELD_BYTES)
        write(probed(run, request, bank), arguments)


def write(result, arguments: argparse.Namespace) -> None:
    from medtransfer.representation.activations import write_activations
    from medtransfer.representation.filters import FILTER_WEIGHTS, FILTERS
    from medtransfer.representation.weight_distance import WEIGHT_DISTANCE
    from medtransfer.tables import write_table

    write_activations(result.start, arguments.start)
    write_activations(result.end, arguments.end)
    write_table(result.distances, WEIGHT_DISTANCE, arguments.weight_distance)
    write_table(result.filters, FILTERS, arguments.filters)
    write_table(result.filter_weights, FILTER_WEIGHTS, arguments.filter_weights)


if __name__ == "__main__":
    with shown_plainly():
        main()
