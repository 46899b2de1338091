"""What a finished run says of the images of another data set."""

import argparse
from pathlib import Path

from medtransfer.allocation import keep_all_memory
from medtransfer.config.argument import add_settings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.errors import shown_plainly
from medtransfer.files import write_json
from medtransfer.training.devices import leased_device


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="images.npy of the run's own store")
    add("--samples", type=Path, required=True, help="samples.parquet of that store")
    add("--split", type=Path, required=True, help="split table of the run")
    add_settings(parser, "--dataset", DatasetSettings)
    add("--name", required=True, help="name of the other data set")
    add("--external-images", type=Path, required=True, help="images.npy of the other store")
    add("--external-samples", type=Path, required=True, help="samples.parquet of the other store")
    add_settings(parser, "--external-dataset", DatasetSettings)
    add_settings(parser, "--classes", ExternalSettings)
    add("--record", type=Path, required=True, help="run.json of the run, its weights beside it")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add("--jobs-per-gpu", type=int, default=1)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--predictions", type=Path, required=True, help="parquet table to write")
    add("--counts", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with leased_device(arguments.device, arguments.jobs_per_gpu) as device:
        # imported only now: the device must be chosen before torch looks for one
        import torch

        from medtransfer.tables import write_table
        from medtransfer.training.job import PREDICTIONS, read_store
        from medtransfer.training.prediction_job import predict_external, read_predictor

        torch.set_num_threads(arguments.threads)
        keep_all_memory()
        store = read_store(arguments.images, arguments.samples, arguments.split)
        predictor = read_predictor(arguments.record.parent, store.images, torch.device(device))
        found = predict_external(predictor, external(arguments), store, arguments.dataset)
        write_table(found[0], PREDICTIONS, arguments.predictions)
        write_json(arguments.counts, found[1])


def external(arguments: argparse.Namespace):
    from medtransfer.data.stored_images import check_pixels, read_images
    from medtransfer.tables import read_table
    from medtransfer.training.prediction_job import External

    samples = read_table(arguments.external_samples)
    images = read_images(arguments.external_images, len(samples))
    check_pixels(images, samples, samples.index.to_numpy())
    return External(
        arguments.name,
        images,
        samples,
        arguments.external_dataset,
        arguments.classes,
    )


if __name__ == "__main__":
    with shown_plainly():
        main()
