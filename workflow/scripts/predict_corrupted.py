"""What a finished run says of its test images, corrupted in one way and five severities."""

import argparse
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.config.corruptions import ALL_CORRUPTIONS
from medtransfer.errors import shown_plainly
from medtransfer.training.devices import leased_device


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, required=True, help="split table")
    add("--record", type=Path, required=True, help="run.json of the run, its weights beside it")
    add("--corruption", required=True, choices=ALL_CORRUPTIONS)
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

        from medtransfer.tables import write_table
        from medtransfer.training.job import read_store
        from medtransfer.training.prediction_job import CORRUPTED, predict_corrupted, read_predictor

        torch.set_num_threads(arguments.threads)
        keep_all_memory()
        store = read_store(arguments.images, arguments.samples, arguments.split)
        predictor = read_predictor(arguments.record.parent, store.images, torch.device(device))
        table = predict_corrupted(predictor, store, arguments.corruption)
        write_table(table, CORRUPTED, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
