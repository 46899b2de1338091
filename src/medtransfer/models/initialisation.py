"""How a network starts: each a pure function of (network, source weights, init, seed).

``<source>`` is WT of Matsoukas et al. (CVPR 2022), ``<source>-stats`` their ST and the Mean Var of
Raghu et al. (NeurIPS 2019), ``<source>-upto<k>-stats`` WT-ST-n of the former and
``<source>-upto<k>-random`` the weight transfusion of the latter. Stats are strict: every parameter
outside of norm layers is redrawn, position embeddings, class tokens and bias tables too;
``as_released`` leaves those pre-trained.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from medtransfer.config.names import Init, Sampler
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.build import head_prefixes
from medtransfer.models.gabor import set_gabor_filters
from medtransfer.models.released import ALWAYS_PRETRAINED, released_levels
from medtransfer.models.units import Cut, is_norm, network_units, unit_of_tensors, within
from medtransfer.models.weights import COUNTER, StateDict, listed
from medtransfer.seeds import derived_seed

Origin = Literal["source", "drawn", "reset", "random"]
GreyStem = Literal["sum", "first", "repeat"]


def initialise(network: nn.Module, init: Init, body: StateDict, seed: int) -> None:
    """Give ``network``, in place, its start; the classifier always keeps its random start.

    Args:
        network: at its framework's random start.
        init: what takes the source's weights, and what the rest is.
        body: the source's tensors as :func:`body_weights` gives them; unused without a source.
        seed: of the draw. A tensor's draw depends on the seed and its name alone, so that all
            ``upto<k>`` of a seed share it.

    Raises:
        ConfigError: more units than the network has, or a start that it has no form of.
    """
    if init.gabor:
        set_gabor_filters(_stem_convolution(network))
    if init.source is None:
        return
    resets = _norm_tensors(network)
    state: StateDict = {}
    for name, origin in tensor_origins(network, init).items():
        if origin == "source" and name in body:  # batch counters may be missing
            state[name] = body[name]
        elif origin == "drawn":
            state[name] = draw(body[name], init.sampler, derived_seed(seed, name))
        elif origin == "reset":
            state[name] = torch.full_like(network.state_dict()[name], resets[name])
    network.load_state_dict(state, strict=False)


def tensor_origins(network: nn.Module, init: Init) -> dict[str, Origin]:
    """What each tensor of the network starts from.

    ``source``: the source's values; ``drawn``: the source's statistics; ``reset``: a norm layer's 1 and
    0; ``random``: the framework's own start, or, of a buffer that isn't a norm's, its constant.

    Raises:
        ConfigError: ``upto`` is more than there is.
    """
    fresh = _fresh_prefixes(network)
    kept = _kept_tensors(network, init)
    norms = _norm_tensors(network)
    parameters = dict(network.named_parameters())
    origins: dict[str, Origin] = {}
    for name in network.state_dict():
        if name.startswith(fresh):
            origins[name] = "random"
        elif name in kept:
            origins[name] = "source"
        elif init.rest != "stats":
            origins[name] = "random"
        elif name in norms:
            origins[name] = "reset"
        else:
            origins[name] = "drawn" if name in parameters else "random"
    return origins


def _fresh_prefixes(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of what takes no source's values: the classifier, the whole head where units are cut."""
    if any(isinstance(module, Cut) for module in network.modules()):
        return tuple(f"{member}." for member in network_units(network)[-1].members)
    return head_prefixes(network)


def _kept_tensors(network: nn.Module, init: Init) -> set[str]:
    """Names of the tensors that take the source's values."""
    names = list(network.state_dict())
    if init.source is None:
        return set()
    if init.upto is None:
        return set(names)
    if init.sampler == "as_released":
        return _kept_as_released(network, init.upto)
    units = network_units(network)
    if init.upto > len(units):
        raise ConfigError(_too_many(init.upto, [unit.name for unit in units]))
    return {name for name, unit in unit_of_tensors(network).items() if unit < init.upto}


def _kept_as_released(network: nn.Module, level: int) -> set[str]:
    levels = released_levels(network)
    if level > len(levels):
        raise ConfigError(_too_many(level, ["+".join(modules) for modules in levels]))
    prefixes = [module for modules in levels[:level] for module in modules]
    return {
        name
        for name in network.state_dict()
        if name.rpartition(".")[2] in ALWAYS_PRETRAINED or any(within(name, p) for p in prefixes)
    }


def _too_many(upto: int, names: list[str]) -> str:
    return f"init 'upto{upto}'; allowed here: up to {len(names)} ({', '.join(names)})"


def draw(tensor: torch.Tensor, sampler: Sampler, seed: int) -> torch.Tensor:
    """A tensor of the source's shape drawn by its statistics.

    Args:
        tensor: of the source.
        sampler: ``normal`` (and ``as_released``): i.i.d. normal with the tensor's mean and standard
            deviation; ``permutation``: its values in another order; ``bootstrap``: drawn from its
            values with replacement.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    values, count = tensor.flatten(), tensor.numel()
    if sampler == "permutation":
        return values[torch.randperm(count, generator=generator)].reshape(tensor.shape)
    if sampler == "bootstrap":
        return values[torch.randint(count, (count,), generator=generator)].reshape(tensor.shape)
    # by numpy: torch's sums depend on the number of threads
    wide = tensor.double().numpy()
    noise = torch.randn(tensor.shape, generator=generator)
    return float(wide.mean()) + float(wide.std()) * noise


def body_weights(network: nn.Module, source: StateDict, grey: GreyStem = "sum") -> StateDict:
    """The source's tensors outside of its head, fitted to the network's channels and image size.

    Args:
        network: a whole network.
        source: the source's weights.
        grey: how a colour stem becomes a grey one.

    Raises:
        DataError: naming missing, unexpected or differently shaped tensors.
    """
    heads = head_prefixes(network)
    wanted = {k: v for k, v in network.state_dict().items() if not k.startswith(heads)}
    given = {k: v for k, v in source.items() if not k.startswith(heads)}
    missing = [k for k in wanted if k not in given and not k.endswith(COUNTER)]
    unexpected = [k for k in given if k not in wanted]
    if missing or unexpected:
        raise DataError(
            "the weights don't belong to this network; "
            f"missing: {listed(missing)}; unexpected: {listed(unexpected)}"
        )
    fitted: StateDict = {}
    for name, tensor in given.items():
        shape = wanted[name].shape
        fitted[name] = fit_channels(fit_positions(network, name, tensor, shape), shape, grey)
        if fitted[name].shape != shape:
            found, needed = tuple(tensor.shape), tuple(shape)
            raise DataError(f"weight {name} has shape {found}; the network's is {needed}")
    return fitted


def fit_channels(tensor: torch.Tensor, shape: torch.Size, grey: GreyStem = "sum") -> torch.Tensor:
    """Fit a stem's weights, O x C x k x k, to images with another number of colours.

    Colour to grey: summed over the colours (the answer is the colour stem's to the image repeated three
    times), or the first colour's weights only. Grey to colour: a third for each colour (the answer to a
    colourless image is the grey stem's).
    """
    if tensor.ndim != 4 or len(shape) != 4:
        return tensor
    if tensor.shape[1] == 3 and shape[1] == 1:
        return tensor[:, :1] if grey == "first" else tensor.sum(dim=1, keepdim=True)
    if tensor.shape[1] == 1 and shape[1] == 3:
        return tensor.expand(-1, 3, -1, -1) / 3
    return tensor


def fit_positions(
    network: nn.Module, name: str, tensor: torch.Tensor, shape: torch.Size
) -> torch.Tensor:
    """Resample position embeddings and bias tables to the network's grid, as timm does it."""
    if tensor.shape == shape:
        return tensor
    owner, _, last = name.rpartition(".")
    if last == "relative_position_bias_table":
        from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

        window: Any = network.get_submodule(owner).window_size
        return resize_rel_pos_bias_table(tensor, window, (shape[0], shape[1]))
    if name == "pos_embed" and tensor.ndim == 3 and hasattr(network, "patch_embed"):
        from timm.layers.pos_embed import resample_abs_pos_embed

        grid: Any = network.get_submodule("patch_embed").grid_size
        prefix = shape[1] - grid[0] * grid[1]
        return resample_abs_pos_embed(tensor, list(grid), num_prefix_tokens=prefix)
    return tensor


def _norm_tensors(network: nn.Module) -> dict[str, float]:
    """Names of all tensors of norm layers, with the value that a reset gives them."""
    reset = {
        "weight": 1.0,
        "bias": 0.0,
        "running_mean": 0.0,
        "running_var": 1.0,
        "v": 1.0,
    }  # EvoNorm's v
    return {
        f"{prefix}.{name}": reset.get(name, 0.0)
        for prefix, module in network.named_modules()
        if is_norm(module)
        for name in module.state_dict()
    }


def _stem_convolution(network: nn.Module) -> nn.Conv2d:
    """The first convolution.

    Raises:
        ConfigError: there is none in the stem.
    """
    for member in network_units(network)[0].members:
        modules = dict(network.named_modules()).get(member, nn.Identity()).modules()
        for module in modules:
            if isinstance(module, nn.Conv2d):
                return module
    raise ConfigError("init 'gabor' needs a network whose stem has a convolution")
