"""Find the images of a store that show the same picture."""

import argparse
from pathlib import Path

from medtransfer.data.duplicates import DUPLICATES, find_duplicates
from medtransfer.data.stored_images import read_images
from medtransfer.errors import shown_plainly
from medtransfer.tables import read_table, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--samples", type=Path, required=True, help="samples.parquet of the store")
    add("--images", type=Path, required=True, help="images.npy of the store")
    add("--exact-only", action="store_true", help="look for equal images only")
    add("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    samples = read_table(arguments.samples)
    images = read_images(arguments.images, len(samples))
    pairs = find_duplicates(samples, images, near=not arguments.exact_only)
    write_table(pairs, DUPLICATES, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
