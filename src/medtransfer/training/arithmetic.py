"""How a network is computed: precision, memory format, compilation.

What is fastest differs between processors, networks and sides. It is looked up in measurements, some of
which come with this package and some of which are a user's own (``workflow/scripts/calibrate.py``).
Nothing is timed when a run starts, so that two runs of one seed are computed in the same way.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from medtransfer.config.model import ModelSettings
from medtransfer.config.typed import option, parse
from medtransfer.errors import ConfigError
from medtransfer.files import write_text
from medtransfer.training.recomputation import recompute_activations

Precision = Literal["float32", "bfloat16"]
MemoryFormat = Literal["channels_last", "contiguous"]

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
# what bfloat16 must bring where a recipe asks for what is fast; less is not worth its fewer digits
WORTH_BFLOAT16 = 1.1
# a measurement at another side counts up to this ratio of the sides
SIMILAR_SIDE = 1.6


@dataclass(frozen=True)
class Arithmetic:
    """How a network is computed.

    Attributes:
        precision: of the forward pass and the gradients of activations; weights are float32.
        memory_format: of images and weights. This and what follows changes results by rounding only.
        compiled: the network is compiled.
        attention: of timm's transformers; ``fused`` is torch's ``scaled_dot_product_attention``, whose
            gradient in bfloat16 is slow on CPUs, ``plain`` is two products and a softmax.
        checkpointed: as :mod:`medtransfer.training.recomputation` does it.
    """

    precision: Precision = option("float32 or bfloat16", default="float32")
    memory_format: MemoryFormat = option("channels_last or contiguous", default="channels_last")
    compiled: bool = option("whether the network is compiled", default=False)
    attention: Literal["fused", "plain"] = option("how timm's attention is computed", default="fused")
    checkpointed: bool = option("whether activations are computed again for gradients", default=False)


@dataclass(frozen=True)
class Rate:
    """How fast training was with one arithmetic."""

    arithmetic: Arithmetic = option("how the network was computed")
    images_per_second: float = option("of training steps on one batch", minimum=0.0)


@dataclass(frozen=True)
class Measurement:
    """Rates of a network at a side on a processor."""

    processor: str = option("as processor_model names it")
    threads: int = option("CPU threads", minimum=1)
    network: str = option("as network_name names it")
    side: int = option("of the images that the network saw", minimum=1)
    batch_size: int = option("images a step", minimum=1)
    torch: str = option("version of torch")
    rates: tuple[Rate, ...] = option("one for each arithmetic that was tried")


@dataclass(frozen=True)
class Measurements:
    """The content of a file of measurements."""

    measurements: tuple[Measurement, ...] = option("each with another processor, network, side ...")

    def nearest(self, processor: str, network: str, side: int, threads: int = 1) -> Measurement | None:
        """The measurement of this network on this processor with the most similar side, then threads.

        None where there is no measurement at a similar side. Of equals the last one counts.
        """

        def distance(found: Measurement) -> tuple[float, float]:
            return abs(math.log(found.side / side)), abs(math.log(found.threads / threads))

        similar = [
            found
            for found in reversed(self.measurements)
            if (found.processor, found.network) == (processor, network)
            and distance(found)[0] <= math.log(SIMILAR_SIDE)
        ]
        return min(similar, key=distance, default=None)


def choose(
    precision: str,
    device: torch.device,
    measurement: Measurement | None = None,
    memory_format: str = "auto",
    compiled: bool = False,
) -> Arithmetic:
    """The fastest arithmetic that was measured and is allowed; else one that is safe on the device.

    Args:
        precision: of the recipe. ``auto`` is bfloat16 on a GPU and float32 on a CPU, whatever was
            measured: a study's numbers must not depend on which CPU was at hand. ``fast`` takes either,
            as it was measured, and ``auto`` without a measurement.
        device: where the network is computed.
        measurement: of this network on this processor.
        memory_format: ``auto``, or the one to take.
        compiled: whether to compile.
    """
    usual: Precision = "bfloat16" if device.type == "cuda" else "float32"
    wanted = {"auto": usual, "fast": usual}.get(precision, precision)
    rates = {
        rate.arithmetic: rate.images_per_second
        for rate in (measurement.rates if measurement else ())
        if memory_format in ("auto", rate.arithmetic.memory_format)
        and rate.arithmetic.compiled == compiled
        and (precision == "fast" or rate.arithmetic.precision == wanted)
    }
    if rates:
        return max(rates, key=lambda arithmetic: _worth(arithmetic, rates[arithmetic], usual))
    layout = "channels_last" if memory_format == "auto" else memory_format
    return Arithmetic(wanted, layout, compiled)  # type: ignore[arg-type]


def _worth(arithmetic: Arithmetic, rate: float, usual: Precision) -> float:
    """The rate, less where it costs digits."""
    costs = arithmetic.precision == "bfloat16" and usual == "float32"
    return rate / WORTH_BFLOAT16 if costs else rate


def prepare(network: nn.Module, arithmetic: Arithmetic, device: torch.device) -> nn.Module:
    """The network, changed in place, on the device and in its memory format, to be compiled if asked.

    Compilation happens at the first steps; names and values of its tensors stay as they are.
    """
    network = network.to(device).to(memory_format=MEMORY_FORMATS[arithmetic.memory_format])
    if arithmetic.attention == "plain":
        for module in attentions(network):
            module.fused_attn = False  # type: ignore[assignment]  # timm's own switch
    if arithmetic.checkpointed:
        recompute_activations(network)
    if arithmetic.compiled:
        network.compile()
    return network


def attentions(network: nn.Module) -> list[nn.Module]:
    """The modules of a timm network that compute attention in either way."""
    return [module for module in network.modules() if hasattr(module, "fused_attn")]


def network_name(model: ModelSettings) -> str:
    """What measurements of a network are found by: the architecture with its arguments."""
    if not model.arguments:
        return model.architecture
    return f"{model.architecture} {json.dumps(model.arguments, sort_keys=True)}"


def processor_model(device: torch.device, table: Path = Path("/proc/cpuinfo")) -> str:
    """The name by which measurements of a processor are found.

    The names of virtual CPUs say little; family and model, where the system has them, say more.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    text = table.read_text() if table.is_file() else ""
    found = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", text, re.MULTILINE))
    name = found.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{word} {found[key]}" for word, key in _NUMBERS.items() if key in found]
    return ", ".join([name, *numbers])


_NUMBERS = {"family": "cpu family", "model": "model"}


def known_measurements(*paths: Path) -> Measurements:
    """Measurements of this package, then those of files; files that aren't there have none.

    Raises:
        ConfigError: a file is not what :func:`add_measurements` writes.
    """
    packaged = resources.files("medtransfer.training").joinpath("arithmetic.json")
    found = list(_parsed(packaged.read_text(), "arithmetic.json").measurements)
    for path in paths:
        if path.is_file():
            found += _parsed(path.read_text(), str(path)).measurements
    return Measurements(tuple(found))


def add_measurements(path: Path, new: Iterable[Measurement]) -> None:
    """Write measurements into a file, in place of those of the same thing.

    Raises:
        ConfigError: there is a file which isn't one of measurements.
    """
    before = _parsed(path.read_text(), str(path)).measurements if path.is_file() else ()
    merged = {_identity(measurement): measurement for measurement in (*before, *new)}
    content = {"measurements": [asdict(merged[key]) for key in sorted(merged)]}
    write_text(path, json.dumps(content, indent=1) + "\n")


def _identity(measurement: Measurement) -> tuple[str, int, str, int]:
    return measurement.processor, measurement.threads, measurement.network, measurement.side


def _parsed(text: str, where: str) -> Measurements:
    try:
        return parse(Measurements, json.loads(text), where)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not valid JSON: {error}") from error
