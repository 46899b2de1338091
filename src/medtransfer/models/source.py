"""The weights of a source for one network: imported, checked against the network, and put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.source import WeightFileSettings
from medtransfer.errors import DataError
from medtransfer.models.build import build_network, head_prefixes
from medtransfer.models.checkpoints import read_checkpoint
from medtransfer.models.converters import chosen_names, converted, problem, without_wrappers
from medtransfer.models.hub import completed, fetched
from medtransfer.models.weights import COUNTER, Sidecar, StateDict

Report = Callable[[str], None]

# of networks that are built for any size, where nothing says at which they were trained
USUAL_SIZE = 224


def import_weights(
    file: WeightFileSettings, model: ModelSettings, report: Report = lambda _: None
) -> tuple[StateDict, Sidecar]:
    """Read, convert and check the weights of a source for one network.

    Args:
        file: where they are, and how they become the network's.
        model: the network; only architecture and arguments matter.
        report: is told what was fetched, taken out, left out and cut off.

    Returns:
        The tensors by the network's names, with the source's own head, floats as float32; and what is
        known of them, the checksum left empty.

    Raises:
        DataError: the file can't be had, is damaged or another one, or its tensors aren't exactly those
            of the network.
        ConfigError: an unknown tag of the hub, architecture or argument.
    """
    file = completed(file)
    path = _checked(file) if file.path is not None else fetched(file, report)
    image_size = file.image_size or _default_size(model)
    state = chosen_names(read_checkpoint(path, report), file, report)
    if file.prefix is None:
        state = without_wrappers(state, _blank(model, 3, 1, image_size).state_dict(), report)
    state = converted(state, file, model, image_size)
    layout = _layout(model, state, image_size)
    wrong = layout.problem(state)
    if wrong:
        raise DataError(
            f"{path}: {wrong}; the network is {model.architecture}; mend it by the keys 'converter', "
            "'prefix', 'rename' and 'drop'"
        )
    assert file.mean is not None and file.std is not None
    sidecar = Sidecar(
        file.origin, "", file.mean, file.std, file.licence, file.image_size, layout.outputs
    )
    return state, sidecar


def source_network(settings: ModelSettings, state: StateDict, image_size: int | None) -> nn.Module:
    """The network as the source trained it, with its own head and input channels, in evaluation mode.

    Args:
        settings: only architecture and arguments matter.
        state: the source's tensors, all of them.
        image_size: side of the images, for networks that are built for one size; None for the
            architecture's own.

    Returns:
        A network that gives the source's logits; its features, where the source has no head.

    Raises:
        DataError: naming missing, unexpected or differently shaped tensors.
    """
    size = image_size or _default_size(settings)
    layout = _layout(settings, state, size)
    wrong = layout.problem(state)
    if wrong:
        raise DataError(f"{settings.architecture}: {wrong}")
    network = build_network(_whole(settings), layout.channels, layout.outputs, size, seed=0)
    network.load_state_dict(state, strict=False)  # all but counters is there
    return network.eval()


@dataclass(frozen=True)
class _Layout:
    """The tensors that a source's network has."""

    channels: int
    outputs: int
    shapes: dict[str, torch.Size]
    heads: tuple[str, ...]

    def problem(self, state: StateDict) -> str:
        """What is missing, unexpected or shaped differently, in words; empty when nothing is."""
        headless = self.heads if self.outputs == 0 else ()
        missing = [
            name
            for name in self.shapes
            if name not in state and not name.endswith(COUNTER) and not name.startswith(headless)
        ]
        unexpected = [name for name in state if name not in self.shapes]
        shapes = {
            name: f"{tuple(state[name].shape)}, the network's is {tuple(self.shapes[name])}"
            for name in self.misshapen(state)
        }
        return problem(missing, unexpected, shapes) if missing or unexpected or shapes else ""

    def misshapen(self, state: StateDict) -> list[str]:
        return [n for n, shape in self.shapes.items() if n in state and state[n].shape != shape]


def _layout(settings: ModelSettings, state: StateDict, image_size: int) -> _Layout:
    """The layout with as many outputs as the source has, and 3 or 1 input channels, as fits better."""
    heads = head_prefixes(_blank(settings, 3, 1, image_size))
    outputs = _outputs(state, heads)
    layouts = []
    for channels in (3, 1):
        network = _blank(settings, channels, outputs, image_size)
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        layouts.append(_Layout(channels, outputs, shapes, heads))
    return min(layouts, key=lambda layout: len(layout.misshapen(state)))


def _outputs(state: StateDict, heads: Sequence[str]) -> int:
    """Outputs of the source's own head, 0 when it has none; its last tensor has one row for each."""
    rows = [tensor.shape[0] for name, tensor in state.items() if name.startswith(tuple(heads))]
    return rows[-1] if rows else 0


def _blank(settings: ModelSettings, channels: int, outputs: int, image_size: int) -> nn.Module:
    """A network that has names and shapes, but neither values nor memory."""
    with torch.device("meta"):
        return build_network(_whole(settings), channels, outputs, image_size, seed=0)


def _whole(settings: ModelSettings) -> ModelSettings:
    """The network that sources train: not cut, not altered for grey images."""
    return ModelSettings(settings.architecture, settings.arguments)


def _default_size(settings: ModelSettings) -> int:
    """The side that an architecture is made for."""
    import timm  # here, since a CBR run needs none of its import time

    published = timm.get_pretrained_cfg(settings.architecture)
    return USUAL_SIZE if published is None else int(published.input_size[-1])


def _checked(file: WeightFileSettings) -> Path:
    """The path of a local file, which is there with the right checksum."""
    path = Path(file.location)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file of weights; put it there or correct the key 'path'; "
            f"its origin: {file.origin}"
        )
    for kind in ("sha256", "md5"):
        expected = getattr(file, kind)
        if expected is None:
            continue
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found != expected.lower():
            raise DataError(f"{path}: {kind} is {found}, expected {expected}")
    return path
