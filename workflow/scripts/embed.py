"""The training images of a data set in the features and logits of a source's own network."""

import argparse
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.config.argument import add_settings
from medtransfer.config.model import ModelSettings
from medtransfer.config.representation import parse_probe
from medtransfer.errors import shown_plainly
from medtransfer.training.devices import leased_device


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--split", type=Path, help="split table, whose training images are taken; default: all images")
    add("--weights", type=Path, required=True, help="of the source, with their sidecar")
    add_settings(parser, "--model", ModelSettings)
    add("--task", required=True, help="binary, multiclass, multilabel or ordinal")
    add("--outputs", nargs="+", required=True, help="names of the data set's outputs")
    add("--names", nargs=3, required=True, metavar=("SOURCE", "MODEL", "DATASET"))
    add("--probe", required=True, help="n<images>-b<images a block>-t<training images>")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add("--jobs-per-gpu", type=int, default=1)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--output", type=Path, required=True, help="safetensors file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    _, _, bank = parse_probe(arguments.probe)
    with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
        # imported only now: the device must be chosen before torch looks for one
        import numpy as np
        import torch

        from medtransfer.data.splits import training_subset
        from medtransfer.data.stored_images import check_pixels, read_images
        from medtransfer.models.weights import load_weights
        from medtransfer.representation.embedding import (
            SourceNetwork,
            drawn_rows,
            embed,
            write_embedding,
        )
        from medtransfer.tables import read_table
        from medtransfer.training.job import label_array

        torch.set_num_threads(arguments.threads)
        keep_all_memory()
        samples = read_table(arguments.samples)
        images = read_images(arguments.images, len(samples))
        rows = np.arange(len(samples))
        if arguments.split is not None:
            rows = training_subset(read_table(arguments.split), "full")
        labels = label_array(samples, arguments.outputs, arguments.task)
        network = SourceNetwork(arguments.model, *load_weights(arguments.weights))
        rows = drawn_rows(rows, bank)
        check_pixels(images, samples, rows)
        found = embed(network, images, labels, rows, torch.device(device))
        write_embedding(found, arguments.names, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
