"""Positions of feature maps and tokens as rows of a table, and which of them to keep."""

from __future__ import annotations

import numpy as np

from medtransfer.errors import DataError
from medtransfer.seeds import derived_seed


def folded(activations: np.ndarray, prefix_tokens: int = 0) -> np.ndarray:
    """Activations with one row a position: image by image, positions in reading order.

    Args:
        activations: images x channels x height x width; or images x tokens x channels; or images x
            channels, which stay as they are. Maps with the channels last are tokens once their height
            and width are one axis.
        prefix_tokens: leading tokens that aren't positions of the image (class and register tokens)
            and are left out.

    Returns:
        (images * positions) x channels, of the same type.

    Raises:
        DataError: another number of axes, or no position left.
    """
    if activations.ndim == 3:
        rows = activations[:, prefix_tokens:]
    elif activations.ndim in (2, 4) and not prefix_tokens:
        rows = np.moveaxis(activations, 1, -1)
    else:
        raise DataError(
            f"activations of shape {activations.shape} with {prefix_tokens} prefix tokens; allowed: "
            "images x channels x height x width, images x tokens x channels, images x channels; "
            "prefix tokens only of tokens"
        )
    if not rows.size:
        raise DataError(
            f"activations of shape {activations.shape} without a position behind {prefix_tokens} "
            "prefix tokens; allowed: at least one"
        )
    return rows.reshape(-1, rows.shape[-1])


def row_sample(images: int, positions: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random choice of (image, position) pairs, the same for every network with as many positions.

    It is spread over the images as evenly as can be: no image has two rows more than another. Within
    an image, positions are drawn without replacement.

    Args:
        images: number of images.
        positions: positions of an image: height * width, or tokens without the prefix.
        rows: pairs to draw; all pairs where there are no more.
        seed: of the choice.

    Returns:
        Image and position of each row, in ascending order; two integer arrays.

    Raises:
        DataError: a count is below 1.
    """
    if min(images, positions, rows) < 1:
        raise DataError(
            f"{rows} rows of {images} images with {positions} positions; allowed: 1 or more of each"
        )
    random = np.random.default_rng(derived_seed(seed, f"rows of {images} images x {positions}"))
    share, rest = divmod(min(rows, images * positions), images)
    counts = np.full(images, share)
    counts[random.choice(images, rest, replace=False)] += 1
    chosen = [np.sort(random.choice(positions, count, replace=False)) for count in counts]
    return np.repeat(np.arange(images), counts), np.concatenate(chosen)
