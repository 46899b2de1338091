"""What was taken out of a network's activations, in memory or in one file that is read piece by piece.

The file is safetensors; its header says which points, images and settings there are. Reading an array
touches nothing but its own bytes, so that a job can go over hundreds of networks Gram block by Gram
block. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from medtransfer.disk_problems import damage_named
from medtransfer.errors import DataError
from medtransfer.files import written_whole

# of the layout of the file
FORMAT = "1"


@dataclass(frozen=True)
class PointFacts:
    """A measured point, as :class:`medtransfer.representation.points.Point` describes it.

    Attributes:
        name: of the unit or its branch.
        kind: ``unit``, ``attention``, ``mlp`` or ``head``.
        features: numbers an image, before pooling.
        positions: places of the feature map, or patch tokens.
        channels: numbers a position.
        pooled: names of the vectors that images are pooled to.
    """

    name: str
    kind: str
    features: int
    positions: int
    channels: int
    pooled: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What arrays there are and what they are of.

    Attributes:
        points: in the order of depth, the logits last.
        images: ids of the images of each part, in the order of its arrays.
        probe: how many of the first part's first images have Gram matrices and rows.
        gram_block: images a Gram matrix; the last one has what is left.
        cca_points: names of the points that have rows and channel blocks.
        row_count, seed: what decided which rows (:func:`medtransfer.representation.folding.row_sample`
            and :func:`medtransfer.representation.cca_protocols.channel_blocks`).
    """

    points: tuple[PointFacts, ...]
    images: dict[str, tuple[str, ...]]
    probe: int
    gram_block: int
    cca_points: tuple[str, ...]
    row_count: int
    seed: int

    @property
    def blocks(self) -> int:
        """Gram matrices a point."""
        return -(-self.probe // self.gram_block)

    def point(self, name: str) -> PointFacts:
        """The point of this name; raises DataError where there is none."""
        for point in self.points:
            if point.name == name:
                return point
        names = ", ".join(point.name for point in self.points)
        raise DataError(f"no measured point '{name}'; there are: {names}")


@dataclass(frozen=True)
class Activations:
    """Arrays by name, each looked up when it is asked for.

    Attributes:
        facts: what there is.
        arrays: by the names that the methods make; from memory or from a file.
    """

    facts: Facts
    arrays: Mapping[str, np.ndarray]

    def gram(self, point: str, block: int) -> np.ndarray:
        """Centred Gram matrix of unpooled activations of one block of images, b x b, float32."""
        return self._array(gram_name(point, block))

    def grams(self, block: int, kinds: tuple[str, ...] = ("unit",)) -> np.ndarray:
        """Gram matrices of all points of these kinds in one block, in the order of depth, P x b x b."""
        chosen = [point.name for point in self.facts.points if point.kind in kinds]
        return np.stack([self.gram(name, block) for name in chosen])

    def pooled(self, part: str, point: str, kind: str = "pooled") -> np.ndarray:
        """Pooled features of the images of a part, N x channels, float32.

        Args:
            part: as in ``facts.images``.
            point: name of a point.
            kind: ``pooled``; of a network with a class token ``cls`` or ``patches``.
        """
        return self._array(pooled_name(part, point, kind))

    def rows(self, point: str) -> np.ndarray:
        """Activations at chosen positions of probe images, rows x channels, float32."""
        return self._array(rows_name(point))

    def channel_blocks(self, point: str) -> np.ndarray:
        """Sampled channels of chosen probe images, repeats x rows x channels, float32."""
        return self._array(channels_name(point))

    def _array(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError:
            kind = name.partition("/")[0]
            alike = [known for known in self.arrays if known.startswith(f"{kind}/")]
            shown = ", ".join(alike[:3]) or "none of this kind"
            raise DataError(f"no activations '{name}'; there are, for example: {shown}") from None


def gram_name(point: str, block: int) -> str:
    """Name of the array of :meth:`Activations.gram`."""
    return f"gram/{point}/{block}"


def pooled_name(part: str, point: str, kind: str) -> str:
    """Name of the array of :meth:`Activations.pooled`."""
    return f"pooled/{part}/{point}/{kind}"


def rows_name(point: str) -> str:
    """Name of the array of :meth:`Activations.rows`."""
    return f"rows/{point}"


def channels_name(point: str) -> str:
    """Name of the array of :meth:`Activations.channel_blocks`."""
    return f"channels/{point}"


def write_activations(activations: Activations, path: Path) -> None:
    """Write one safetensors file, whole or not at all."""
    arrays = {name: np.ascontiguousarray(array) for name, array in activations.arrays.items()}
    header = {"format": FORMAT, "facts": json.dumps(asdict(activations.facts))}
    with written_whole(path) as partial:
        save_file(arrays, partial, metadata=header)


def read_activations(path: Path) -> Activations:
    """The activations of a file; arrays are read when they are asked for.

    Raises:
        DataError: no such file, or not one that :func:`write_activations` wrote.
    """
    with (
        damage_named(path, "file of activations", (SafetensorError, ValueError)),
        safe_open(path, framework="numpy") as file,
    ):
        header = file.metadata() or {}
        names = tuple(file.keys())
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: not a file of activations in format {FORMAT}; extract it anew")
    return Activations(_parsed(json.loads(header["facts"])), _StoredArrays(path, names))


def _parsed(facts: dict[str, Any]) -> Facts:
    points = tuple(
        PointFacts(**{**point, "pooled": tuple(point["pooled"])}) for point in facts.pop("points")
    )
    images = {part: tuple(ids) for part, ids in facts.pop("images").items()}
    return Facts(points, images, **{**facts, "cca_points": tuple(facts["cca_points"])})


class _StoredArrays(Mapping[str, np.ndarray]):
    """The arrays of a file, which is open only while one is read."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="numpy") as file:
            array: np.ndarray = file.get_tensor(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
