"""The stored pixels of a part: on the device as a whole, or read from the disk batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch


class MappedPixels:
    """Rows of a memory map, which stay on the disk until a batch asks for them.

    Stands for the tensor of these rows on ``device``, N x H x W x C: has its shape, its length and its
    device, and gives the same values.
    """

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, device: torch.device | None = None
    ) -> None:
        """
        Args:
            images: uint8 or uint16, M x H x W x C.
            rows: N of the images, in the order of the part.
            device: where batches go, by default the CPU.
        """
        self._images = images
        self._rows = rows
        self.device = device or torch.device("cpu")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> torch.Size:
        """N x H x W x C."""
        return torch.Size((len(self._rows), *self._images.shape[1:]))

    def to(self, device: torch.device) -> MappedPixels:
        """The same rows for another device."""
        return MappedPixels(self._images, self._rows, device)

    def read(self, places: torch.Tensor) -> torch.Tensor:
        """Images at these places of the part, in memory of the CPU, pinned if they go to a GPU."""
        chosen = np.take(self._images, self._rows[places.numpy()], axis=0)
        images = torch.from_numpy(np.asarray(chosen))
        return images.pin_memory() if self.device.type == "cuda" else images


Pixels = torch.Tensor | MappedPixels


class PixelReader:
    """Takes batches out of a part; of a mapped one it reads the next while the present is in use."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._thread = ThreadPoolExecutor(max_workers=1) if isinstance(pixels, MappedPixels) else None
        self._ahead: tuple[torch.Tensor, Future[torch.Tensor]] | None = None

    def take(self, places: torch.Tensor, upcoming: torch.Tensor | None = None) -> torch.Tensor:
        """Images on the device of the part.

        Args:
            places: in the part, on the CPU.
            upcoming: places that will be asked for next, as far as known.
        """
        if isinstance(self._pixels, torch.Tensor):
            return self._pixels[sent(places, self._pixels.device)]
        images = self._read(self._pixels, places)
        if upcoming is not None and self._thread is not None:
            self._ahead = (upcoming, self._thread.submit(self._pixels.read, upcoming))
        return images.to(self._pixels.device, non_blocking=True)

    def _read(self, pixels: MappedPixels, places: torch.Tensor) -> torch.Tensor:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and torch.equal(ahead[0], places):
            return ahead[1].result()
        return pixels.read(places)


def in_blocks(pixels: Pixels, size: int) -> Iterator[torch.Tensor]:
    """All images in order, so many at a time, on the device of the part."""
    if isinstance(pixels, torch.Tensor):
        yield from torch.split(pixels, size)
        return
    reader = PixelReader(pixels)
    blocks = [*torch.split(torch.arange(len(pixels)), size), None]
    for places, upcoming in pairwise(blocks):
        if places is not None:
            yield reader.take(places, upcoming)


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small CPU tensor on the device, without waiting for what the device is doing."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
