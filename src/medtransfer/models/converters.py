"""Names and shapes of published weights become those of the network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from medtransfer.config.model import ModelSettings
from medtransfer.config.source import WeightFileSettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.weights import StateDict, listed

Report = Callable[[str], None]
Rules = Sequence[tuple[str, Callable[[re.Match[str]], str]]]

# what training frameworks and wrappers put before the names of a network
WRAPPERS = re.compile(r"(?:(?:module|model|backbone|encoder|network|net|_orig_mod)\.)")


def chosen_names(state: StateDict, file: WeightFileSettings, report: Report) -> StateDict:
    """The tensors and names that ``prefix``, ``drop`` and ``rename`` leave, in this order.

    Raises:
        DataError: nothing is left, or two tensors get the same name.
    """
    if file.prefix is not None:
        length = len(file.prefix)
        state = {name[length:]: t for name, t in state.items() if name.startswith(file.prefix)}
    for pattern in file.drop:
        dropped = [name for name in state if re.search(pattern, name)]
        report(f"drop '{pattern}': {listed(dropped)}")
        state = {name: tensor for name, tensor in state.items() if name not in dropped}
    if not state:
        raise DataError(f"{file.location}: 'prefix' and 'drop' leave no tensor")
    return _renamed(state, lambda name: _by_rules(name, file), file.location)


def _by_rules(name: str, file: WeightFileSettings) -> str:
    for rule in file.rename:
        name = re.sub(rule.pattern, rule.replacement, name)
    return name


def _renamed(state: StateDict, rename: Callable[[str], str], where: str) -> StateDict:
    names = {name: rename(name) for name in state}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        both = " and ".join(name for name, new in names.items() if new == twice[0])
        raise DataError(f"{where}: {both} would both be named {twice[0]}")
    return {names[name]: tensor for name, tensor in state.items()}


def without_wrappers(state: StateDict, wanted: Collection[str], report: Report) -> StateDict:
    """Cut off the prefix, such as ``module.`` or ``model.backbone.``, that frameworks put before names.

    Of all runs of such prefixes that names begin with, and of no prefix, the one is cut off with which
    most names are the network's; the shortest of several such. Names without it stay as they are.

    Args:
        state: the tensors by name.
        wanted: the names of the network's tensors.
        report: is told which prefix was cut off.
    """
    wanted = frozenset(wanted)
    candidates = sorted({"", *_wrapper_runs(state)}, key=lambda prefix: (len(prefix), prefix))
    best = max(candidates, key=lambda prefix: sum(n.removeprefix(prefix) in wanted for n in state))
    names = {name.removeprefix(best) for name in state}
    if not best or len(names) < len(state):
        return state
    report(f"prefix '{best}' is cut off")
    return {name.removeprefix(best): tensor for name, tensor in state.items()}


def _wrapper_runs(names: Collection[str]) -> set[str]:
    """Every run of wrappers that a name begins with: of ``module.model.conv``, ``module.`` and both."""
    runs = set()
    for name in names:
        end = 0
        while match := WRAPPERS.match(name, end):
            end = match.end()
            runs.add(name[:end])
    return runs


def converted(
    state: StateDict, file: WeightFileSettings, model: ModelSettings, image_size: int
) -> StateDict:
    """The tensors under the network's names, in its shapes.

    Args:
        state: the tensors by the names of the file.
        file: says which converter, and the hub's tag for timm's.
        model: architecture and its arguments.
        image_size: side that the network is built for.

    Raises:
        DataError: timm's converter finds that the tensors aren't the network's.
        ConfigError: timm's converter, and an architecture that is none of timm's.
    """
    if file.chosen_converter == "timm":
        return timm_state(state, file, model, image_size)
    if file.chosen_converter == "bit":
        return bit_state(state)
    if file.chosen_converter in ("keras_resnet50", "keras_resnet50_bgr"):
        return keras_resnet50_state(state, blue_first=file.chosen_converter.endswith("bgr"))
    return state


def _by_table(name: str, rules: Rules) -> str:
    """The name by the first rule that fits all of it; a name that no rule knows stays as it is."""
    for pattern, write in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return write(match)
    return name


VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_VARIABLE = rf"(?P<variable>{'|'.join(VARIABLES)})"
_HEAD = r"(?:predictions|probs|fc1000|dense(?:_\d+)?)"


def _variable(match: re.Match[str]) -> str:
    return VARIABLES[match["variable"]]


def _keras_block(match: re.Match[str]) -> str:
    """``conv3_block2_1_bn`` is batch norm 1 of timm's block 1 in layer 2; number 0 is the shortcut."""
    block = f"layer{int(match['stage']) - 1}.{int(match['block']) - 1}"
    if match["number"] == "0":
        return f"{block}.downsample.{0 if match['kind'] == 'conv' else 1}.{_variable(match)}"
    return f"{block}.{match['kind']}{match['number']}.{_variable(match)}"


KERAS_RESNET: Rules = (
    (rf"conv1_(?P<kind>conv|bn)/{_VARIABLE}", lambda m: f"{m['kind']}1.{_variable(m)}"),
    (
        rf"conv(?P<stage>[2-5])_block(?P<block>\d+)_(?P<number>[0-3])_(?P<kind>conv|bn)/{_VARIABLE}",
        _keras_block,
    ),
    (rf"{_HEAD}/{_VARIABLE}", lambda m: f"fc.{_variable(m)}"),
)


def keras_resnet50_state(state: StateDict, blue_first: bool = False) -> StateDict:
    """The tensors of ``keras.applications.ResNet50`` for :func:`keras_resnet50`.

    Kernels become O x I x H x W and the head's O x I.

    Args:
        state: the tensors as ``<layer>/<variable>``.
        blue_first: the weights were trained on images whose first channel is blue, as Keras's own on
            ImageNet; the stem's input channels are turned round, so that red is the first.

    Raises:
        DataError: two tensors get the same name.
    """
    named = _renamed(state, lambda name: _by_table(name, KERAS_RESNET), "Keras's weights")
    named = {name: _channels_first(tensor, name) for name, tensor in named.items()}
    if blue_first and "conv1.weight" in named:
        named["conv1.weight"] = named["conv1.weight"].flip(1)
    return named


def _channels_first(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """A kernel as PyTorch has it: H x W x I x O becomes O x I x H x W, and I x O becomes O x I."""
    if not name.endswith(".weight"):
        return tensor
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor


_ROOT = r"(?:resnet/)?"
_UNIT = rf"{_ROOT}block(?P<stage>\d+)/unit(?P<unit>\d+)"


def _bit_unit(match: re.Match[str]) -> str:
    return f"stages.{int(match['stage']) - 1}.blocks.{int(match['unit']) - 1}"


def _bit_part(kind: str) -> Callable[[re.Match[str]], str]:
    return lambda m: f"{_bit_unit(m)}.{kind}{'abc'.index(m['part']) + 1}.{_variable(m)}"


BIT: Rules = (
    (rf"{_ROOT}root_block/standardized_conv2d/{_VARIABLE}", lambda m: f"stem.conv.{_variable(m)}"),
    (rf"{_ROOT}group_norm/{_VARIABLE}", lambda m: f"norm.{_variable(m)}"),
    (rf"{_ROOT}head/conv2d/{_VARIABLE}", lambda m: f"head.fc.{_variable(m)}"),
    (rf"{_UNIT}/(?P<part>[abc])/standardized_conv2d/{_VARIABLE}", _bit_part("conv")),
    (rf"{_UNIT}/(?P<part>[abc])/group_norm/{_VARIABLE}", _bit_part("norm")),
    (
        rf"{_UNIT}/a/proj/standardized_conv2d/{_VARIABLE}",
        lambda m: f"{_bit_unit(m)}.downsample.conv.{_variable(m)}",
    ),
)


def bit_state(state: StateDict) -> StateDict:
    """The tensors of the BiT release (Kolesnikov et al., ECCV 2020) for timm's ``resnetv2_*_bit``.

    Kernels become O x I x H x W.

    Raises:
        DataError: two tensors get the same name.
    """
    named = _renamed(state, lambda name: _by_table(name, BIT), "BiT's weights")
    return {name: _channels_first(tensor, name) for name, tensor in named.items()}


def timm_state(
    state: StateDict, file: WeightFileSettings, model: ModelSettings, image_size: int
) -> StateDict:
    """The tensors as timm itself loads them into the architecture, by its own conversion.

    Raises:
        DataError: naming missing, unexpected or differently shaped tensors.
        ConfigError: the architecture is none of timm's.
    """
    import timm  # here, since weights in the network's own names need none of its import time

    if not timm.is_model(model.architecture):
        raise ConfigError(
            f"converter 'timm' and architecture '{model.architecture}'; allowed: an architecture that "
            "timm.list_models() gives"
        )
    published: Any = timm.get_pretrained_cfg(file.hub or model.architecture)
    outputs = _outputs(state, file, published)
    channels = _stem_channels(state, published)
    described = {
        # not the tag, for which some architectures load without being strict
        **{key: value for key, value in published.to_dict(remove_source=True).items() if key != "tag"},
        "state_dict": state,
        "custom_load": False,
        "num_classes": outputs,
        "input_size": (channels, image_size, image_size),
    }
    arguments = {**model.arguments, "num_classes": outputs, "in_chans": channels}
    try:
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(
                model.architecture, pretrained=True, pretrained_cfg=described, **arguments
            )
    except RuntimeError as error:
        raise DataError(f"{file.location}: {_loading_problem(str(error))}") from error
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def _first(names: Any) -> str:
    """timm names a layer, or several."""
    return str(names if isinstance(names, str) or names is None else names[0])


def _outputs(state: StateDict, file: WeightFileSettings, published: Any) -> int:
    """Outputs of the file's head: as given, as published of a tag, or as its tensor has rows."""
    if file.outputs is not None:
        return file.outputs
    weight = state.get(f"{_first(published.classifier)}.weight")
    return int(published.num_classes if file.hub or weight is None else weight.shape[0])


def _stem_channels(state: StateDict, published: Any) -> int:
    weight = state.get(f"{_first(published.first_conv)}.weight")
    return 1 if weight is not None and weight.ndim == 4 and weight.shape[1] == 1 else 3


def _loading_problem(message: str) -> str:
    """PyTorch's error about a state dict, shortened."""
    missing = re.search(r"Missing key\(s\) in state_dict: (.*)", message)
    unexpected = re.search(r"Unexpected key\(s\) in state_dict: (.*)", message)
    shapes = dict(re.findall(r"size mismatch for (\S+): (.*)", message))
    if not (missing or unexpected or shapes):
        return message[:500]
    names = [re.findall(r'"([^"]+)"', found[1]) if found else [] for found in (missing, unexpected)]
    return problem(names[0], names[1], shapes)


def problem(missing: Sequence[str], unexpected: Sequence[str], shapes: Mapping[str, str]) -> str:
    """Why tensors aren't a network's, in words: names counted, a few of them shown."""
    parts = [
        f"{words} ({len(names)}): {listed(names)}"
        for words, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if shapes:
        shown = [f"{name}: {words}" for name, words in shapes.items()]
        parts.append(f"other shapes ({len(shapes)}): {listed(shown)}")
    return f"the weights don't belong to this network; {'; '.join(parts)}"
