"""What later analyses need of a network's activations, taken in one pass over fixed images.

The first images of the first part are the probe. Consecutive blocks of it give, at every point, a
centred Gram matrix of unpooled activations; chosen positions of it give rows for canonical
correlations. All images of all parts give pooled features.

A block's activations must be held until its last image is through. Where those of all points take more
than the memory that is allowed, the block is passed again for the next points; the earlier passes end
at the last point they are for. Results are the same bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from medtransfer.errors import ConfigError, DataError
from medtransfer.models.build import input_channels
from medtransfer.models.shapes import evaluating
from medtransfer.representation.activations import (
    Activations,
    Facts,
    PointFacts,
    channels_name,
    gram_name,
    pooled_name,
    rows_name,
)
from medtransfer.representation.cca_protocols import channel_blocks
from medtransfer.representation.folding import row_sample
from medtransfer.representation.gram import centred_gram
from medtransfer.representation.points import Point, cca_points, first_tensor, measured_points
from medtransfer.training.inputs import evaluation_images, normalised
from medtransfer.training.pixels import PixelReader, Pixels, sent
from medtransfer.training.prediction import autocast, evaluation_batch
from medtransfer.training.specification import Specification

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Images:
    """The images of one part, as evaluation in training shows them to the network.

    Attributes:
        pixels: stored pixels, uint8 or uint16, N x H x W x C, on the device of the network.
        specification: of the run, as it was carried out; decides size, crop, normalisation, precision.
        ids: of the images, N.
        batch_size: images at most that the network sees at a time, fewer where the recipe says that
            memory is short; changes nothing but rounding.
    """

    pixels: Pixels
    specification: Specification
    ids: tuple[str, ...]
    batch_size: int = 64

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.pixels):
            raise DataError(f"{len(self.pixels)} images with {len(self.ids)} ids; allowed: one each")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees."""
        _, _, side, channels = self.pixels.shape
        seen = self.specification.recipe.input_side(side)
        return input_channels(self.specification.model, channels), seen, seen

    def batches(self, rows: range | None = None) -> Iterator[torch.Tensor]:
        """Normalised images, n x C x H x W, in order; of consecutive ``rows`` only where given.

        Batches differ by at most one image in size, so that none is small.
        """
        rows = range(len(self)) if rows is None else rows
        places = torch.arange(rows.start, rows.stop)
        size = min(self.batch_size, evaluation_batch(self.specification))
        count = max(1, -(-len(places) // size))
        reader = PixelReader(self.pixels)
        for chosen, upcoming in pairwise([*torch.tensor_split(places, count), None]):
            if chosen is not None and len(chosen):
                images = evaluation_images(reader.take(chosen, upcoming), self.specification.recipe)
                yield normalised(images, self.specification)


@dataclass(frozen=True)
class Request:
    """How much is kept.

    Attributes:
        probe: first images of the first part that give Gram matrices and rows; fewer if there are.
        gram_block: images a Gram matrix.
        row_count: rows for canonical correlations at a point.
        cca_points: names of the points that give them; None: as
            :func:`medtransfer.representation.points.cca_points` chooses.
        seed: of the choice of rows; the same for all networks that are compared.
        memory: bytes that held activations may take.
    """

    probe: int = 512
    gram_block: int = 256
    row_count: int = 10_000
    cca_points: tuple[str, ...] | None = None
    seed: int = 0
    memory: int = 2 * 2**30


@dataclass(frozen=True)
class ExpectedBytes:
    """What an extraction takes.

    Attributes:
        held: memory of a block's activations, at most what is allowed.
        kept: size of what is kept, in memory and as a file; writing takes as much memory once more.
        passes: how often the images of a full block are passed, in part or as a whole.
    """

    held: int
    kept: int
    passes: int


def expected_bytes(
    points: Sequence[Point], request: Request, images: Mapping[str, int]
) -> ExpectedBytes:
    """Memory and size on disk of an extraction, before anything runs.

    Memory of the network, of its own activations of one batch, and of the copies that a product of
    :func:`medtransfer.representation.gram.centred_gram` makes, comes on top.

    Args:
        points: of the network.
        request: what is asked for.
        images: number of images of each part; the first part holds the probe.

    Raises:
        ConfigError: one point's activations of one block take more memory than is allowed.
    """
    probe = min(request.probe, next(iter(images.values())))
    block = min(request.gram_block, probe)
    groups = _groups(points, block, request.memory)
    held = max(sum(point.features for point in group) for group in groups) * block
    whole, rest = divmod(probe, block)
    numbers = len(points) * (whole * block**2 + rest**2)
    numbers += sum(images.values()) * sum(len(p.pooled_kinds) * p.channels for p in points)
    for point in _cca_points(points, request):
        numbers += min(request.row_count, probe * point.positions) * point.channels
        blocks = channel_blocks(probe, point.positions, point.channels, request.seed)
        numbers += sum(len(b.images) * point.positions * len(b.channels) for b in blocks)
    return ExpectedBytes(held * FLOAT_BYTES, numbers * FLOAT_BYTES, len(groups))


def extract(network: nn.Module, parts: Mapping[str, Images], request: Request) -> Activations:
    """Take Gram matrices, rows and pooled features out of a network, in evaluation mode.

    Args:
        network: on the device of the images, not compiled; each module keeps its mode.
        parts: images by name of part; the first part begins with the probe.
        request: what to keep.

    Returns:
        Everything, in memory.

    Raises:
        ConfigError: the network doesn't take the images, there is no such point, or one point's
            activations of one block take more memory than is allowed.
        DataError: activations are not finite.
    """
    first, probe = next(iter(parts.items()))
    points = measured_points(network, probe.shape)
    count = min(request.probe, len(probe))
    groups = _groups(points, min(request.gram_block, count), request.memory)
    chosen = _cca_points(points, request)
    rows = _FoldedRows(chosen, count, request, probe.pixels.device)
    pooled = {name: _PooledFeatures(points, len(images)) for name, images in parts.items()}
    arrays: dict[str, np.ndarray] = {}
    with torch.inference_mode(), evaluating(network):
        for block, span in enumerate(_spans(range(count), request.gram_block)):
            grams = _block_grams(network, probe, span, groups, (pooled[first], rows))
            arrays |= {gram_name(name, block): gram for name, gram in grams.items()}
        for name, images in parts.items():
            rest = range(count if name == first else 0, len(images))
            for span in _spans(rest, request.gram_block):
                _pass(network, images, span, points, (pooled[name],))
    for name, features in pooled.items():
        arrays |= {pooled_name(name, *key): array for key, array in features.arrays.items()}
    facts = Facts(
        points=tuple(_facts(point) for point in points),
        images={name: images.ids for name, images in parts.items()},
        probe=count,
        gram_block=request.gram_block,
        cca_points=tuple(point.name for point in chosen),
        row_count=request.row_count,
        seed=request.seed,
    )
    return Activations(facts, arrays | rows.arrays())


class _Taker(Protocol):
    """Takes something out of the activations of a batch."""

    def begin(self, span: range, device: torch.device) -> None:
        """Before the images of a span."""

    def take(self, point: Point, output: torch.Tensor, rows: range) -> None:
        """The module's output at a point, for these rows of the part."""

    def end(self) -> None:
        """After the images of a span."""


class _Reached(Exception):
    """The last point that a pass is for has been taken."""


def _block_grams(
    network: nn.Module,
    images: Images,
    span: range,
    groups: Sequence[Sequence[Point]],
    others: tuple[_Taker, ...],
) -> dict[str, np.ndarray]:
    """Gram matrices of all points of one block, by name of point; the last pass serves the others."""
    grams: dict[str, np.ndarray] = {}
    points = [point for group in groups for point in group]
    for group in groups:
        held = _HeldActivations(group)
        if group is groups[-1]:
            _pass(network, images, span, points, (held, *others))
        else:
            _pass(network, images, span, group, (held,), until=group[-1])
        for point in group:
            grams[point.name] = centred_gram(held.activations(point))
    return grams


def _pass(
    network: nn.Module,
    images: Images,
    span: range,
    points: Sequence[Point],
    takers: Sequence[_Taker],
    until: Point | None = None,
) -> None:
    """Show the network the images of a span and its takers what it gives at the points."""
    device = images.pixels.device
    precision = images.specification.arithmetic_on(device).precision
    current = range(span.start, span.start)

    def take(point: Point, output: torch.Tensor) -> None:
        for taker in takers:
            taker.take(point, output, current)
        if point is until:
            raise _Reached

    for taker in takers:
        taker.begin(span, device)
    with _hooked(network, points, take):
        for batch in images.batches(span):
            current = range(current.stop, current.stop + len(batch))
            with autocast(precision, device), contextlib.suppress(_Reached):
                network(batch)
    for taker in takers:
        taker.end()


@contextlib.contextmanager
def _hooked(
    network: nn.Module, points: Sequence[Point], take: Callable[[Point, torch.Tensor], None]
) -> Iterator[None]:
    """Hand over what the network gives at the points, in the order of its calls."""

    def hook(point: Point, output: Any) -> None:
        tensor = first_tensor(output)
        assert tensor is not None  # it was one when the points were measured
        take(point, tensor)

    handles = [
        network.get_submodule(point.module).register_forward_hook(
            lambda _module, _inputs, output, point=point: hook(point, output)
        )
        for point in points
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _HeldActivations:
    """Unpooled activations of some points for the images of one span, n x features, float32."""

    points: Sequence[Point]
    _held: dict[str, torch.Tensor] = field(default_factory=dict)
    _channels_first: dict[str, bool] = field(default_factory=dict)
    _start: int = 0

    def begin(self, span: range, device: torch.device) -> None:
        self._start = span.start
        for point in self.points:
            self._held[point.name] = torch.empty(len(span), point.features, device=device)

    def take(self, point: Point, output: torch.Tensor, rows: range) -> None:
        if point.name not in self._held:
            return
        # in the order of memory, which is faster to copy; one order for all images of the span
        channels_first = self._channels_first.setdefault(point.name, output.is_contiguous())
        values = output if channels_first else point.by_position(output, len(rows))
        place = slice(rows.start - self._start, rows.stop - self._start)
        self._held[point.name][place] = values.reshape(len(rows), point.features)

    def end(self) -> None:
        pass

    def activations(self, point: Point) -> torch.Tensor:
        """Of one point; held no longer."""
        return self._held.pop(point.name)


class _PooledFeatures:
    """Pooled features of all images of a part; they leave the device once a span."""

    def __init__(self, points: Sequence[Point], count: int) -> None:
        self.arrays = {
            (point.name, kind): np.empty((count, point.channels), dtype=np.float32)
            for point in points
            for kind in point.pooled_kinds
        }
        self._span = range(0)
        self._held: dict[tuple[str, str], torch.Tensor] = {}

    def begin(self, span: range, device: torch.device) -> None:
        self._span = span
        for key, array in self.arrays.items():
            self._held[key] = torch.empty(len(span), array.shape[1], device=device)

    def take(self, point: Point, output: torch.Tensor, rows: range) -> None:
        place = slice(rows.start - self._span.start, rows.stop - self._span.start)
        for kind, vectors in point.pooled(output, len(rows)).items():
            self._held[point.name, kind][place] = vectors

    def end(self) -> None:
        for key, held in self._held.items():
            self.arrays[key][self._span.start : self._span.stop] = held.cpu().numpy()
        self._held.clear()


@dataclass(frozen=True)
class _Sample:
    """Places of the probe: row i of ``values`` is a position of image ``images[i]``.

    Attributes:
        images: ascending, R.
        device_images, device_positions: R each, on the device.
        channels: which channels are kept, on the device; None for all.
        values: R x channels, on the device.
    """

    images: np.ndarray
    device_images: torch.Tensor
    device_positions: torch.Tensor
    channels: torch.Tensor | None
    values: torch.Tensor

    def take(self, placed: torch.Tensor, rows: range) -> None:
        """Keep what is chosen of ``placed``, n x positions x channels of these rows."""
        first, last = np.searchsorted(self.images, [rows.start, rows.stop])
        if first == last:
            return
        images = self.device_images[first:last] - rows.start
        positions = self.device_positions[first:last]
        if self.channels is None:
            self.values[first:last] = placed[images, positions]
        else:  # without a copy of all channels first
            self.values[first:last] = placed[images[:, None], positions[:, None], self.channels]


class _FoldedRows:
    """Activations at chosen positions of the probe, and the sampled channels of Juodelyte et al."""

    def __init__(
        self, points: Sequence[Point], count: int, request: Request, device: torch.device
    ) -> None:
        self._rows: dict[str, _Sample] = {}
        self._blocks: dict[str, list[_Sample]] = {}
        for point in points:
            images, positions = row_sample(count, point.positions, request.row_count, request.seed)
            self._rows[point.name] = _sample(images, positions, point.channels, None, device)
            self._blocks[point.name] = [
                _sample(
                    np.repeat(block.images, point.positions),
                    np.tile(np.arange(point.positions), len(block.images)),
                    len(block.channels),
                    block.channels,
                    device,
                )
                for block in channel_blocks(count, point.positions, point.channels, request.seed)
            ]

    def begin(self, span: range, device: torch.device) -> None:
        pass

    def take(self, point: Point, output: torch.Tensor, rows: range) -> None:
        if point.name not in self._rows:
            return
        placed = point.by_position(output, len(rows))[:, point.prefix_tokens :]
        for sample in (self._rows[point.name], *self._blocks[point.name]):
            sample.take(placed, rows)

    def end(self) -> None:
        pass

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, by the names of activations."""
        rows = {rows_name(name): s.values.cpu().numpy() for name, s in self._rows.items()}
        blocks = {
            channels_name(name): torch.stack([s.values for s in samples]).cpu().numpy()
            for name, samples in self._blocks.items()
        }
        return rows | blocks


def _sample(
    images: np.ndarray,
    positions: np.ndarray,
    width: int,
    channels: np.ndarray | None,
    device: torch.device,
) -> _Sample:
    return _Sample(
        images,
        sent(torch.from_numpy(images), device),
        sent(torch.from_numpy(positions), device),
        None if channels is None else sent(torch.from_numpy(channels), device),
        torch.empty(len(images), width, device=device),
    )


def _groups(points: Sequence[Point], block: int, memory: int) -> list[list[Point]]:
    """Consecutive points whose activations of a block fit into memory together.

    Raises:
        ConfigError: those of one point don't.
    """
    groups: list[list[Point]] = [[]]
    room = memory
    for point in points:
        needed = block * point.features * FLOAT_BYTES
        if needed > memory:
            fitting = memory // (point.features * FLOAT_BYTES)
            raise ConfigError(
                f"point {point.name} takes {needed / 2**20:.0f} MiB for a Gram block of {block} "
                f"images; allowed: {memory / 2**20:.0f} MiB, which is a block of {fitting} images"
            )
        if needed > room:
            groups.append([])
            room = memory
        groups[-1].append(point)
        room -= needed
    return groups


def _cca_points(points: Sequence[Point], request: Request) -> list[Point]:
    """The points that give rows.

    Raises:
        ConfigError: one that was asked for isn't there.
    """
    names = cca_points(points) if request.cca_points is None else request.cca_points
    by_name = {point.name: point for point in points}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ConfigError(
            f"no measured point '{unknown[0]}' for canonical correlations; allowed: "
            f"{', '.join(by_name)}"
        )
    return [by_name[name] for name in names]


def _spans(rows: range, size: int) -> Iterator[range]:
    """Consecutive rows, so many at a time."""
    for start in range(rows.start, rows.stop, size):
        yield range(start, min(start + size, rows.stop))


def _facts(point: Point) -> PointFacts:
    return PointFacts(
        point.name,
        point.kind,
        point.features,
        point.positions,
        point.channels,
        point.pooled_kinds,
    )
