"""How a network starts: each a pure function of (network, source weights, seed).

``transfer`` is WT of Matsoukas et al. (CVPR 2022); ``stats`` is their ST and the Mean Var of Raghu et
al. (NeurIPS 2019), in the strict form: every tensor outside of norm layers is redrawn, position
embeddings, class tokens and bias tables too. The released code of the former leaves those pretrained.
"""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch import nn

from medtransfer.errors import DataError
from medtransfer.models.build import head_prefixes
from medtransfer.models.weights import StateDict

NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# timm's own norms derive from none of these; their modules are known by name
NORM_NAME = re.compile(r"norm|filterresponse", re.IGNORECASE)


def initialise(
    network: nn.Module, kind: Literal["random", "transfer", "stats"], source: StateDict, seed: int
) -> None:
    """Give ``network``, in place, its start; the head always keeps its random start.

    Args:
        network: at its framework's random start.
        kind: ``random`` leaves it so; ``transfer`` copies the source's weights; ``stats`` draws each
            tensor i.i.d. from a normal distribution with the mean and standard deviation of the
            source's tensor, and resets norm layers.
        source: the source's weights; unused for ``random``.
        seed: of the draw.

    Raises:
        DataError: the source's tensors are not those of the network.
    """
    if kind == "random":
        return
    body = body_weights(network, source)
    if kind == "stats":
        body = redraw(network, body, seed)
    network.load_state_dict(body, strict=False)


def body_weights(network: nn.Module, source: StateDict) -> StateDict:
    """The source's tensors outside of its head, with the stem's input channels fitted.

    Raises:
        DataError: naming missing, unexpected or differently shaped tensors.
    """
    heads = head_prefixes(network)
    wanted = {k: v for k, v in network.state_dict().items() if not k.startswith(heads)}
    given = {k: v for k, v in source.items() if not k.startswith(heads)}
    # a counter that only momentum-free batch norm reads; some publishers leave it out
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in given if k not in wanted]
    if missing or unexpected:
        raise DataError(
            "the weights don't belong to this network; "
            f"missing: {_listed(missing)}; unexpected: {_listed(unexpected)}"
        )
    fitted = {name: fit_channels(tensor, wanted[name].shape) for name, tensor in given.items()}
    for name, tensor in fitted.items():
        if tensor.shape != wanted[name].shape:
            found, needed = tuple(tensor.shape), tuple(wanted[name].shape)
            raise DataError(f"weight {name} has shape {found}; the network's is {needed}")
    return fitted


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + more


def fit_channels(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum a colour stem (O x 3 x k x k) over its input channels for grey images (O x 1 x k x k).

    The sum answers a grey image as the colour stem answers the same image repeated three times.
    """
    grey_stem = tensor.ndim == 4 and len(shape) == 4 and tensor.shape[1] == 3 and shape[1] == 1
    return tensor.sum(dim=1, keepdim=True) if grey_stem else tensor


def redraw(network: nn.Module, source: StateDict, seed: int) -> StateDict:
    """Tensors with the source's statistics and none of its values; norm layers reset.

    Norm layers get weight 1, bias 0, running mean 0 and variance 1.
    """
    generator = torch.Generator().manual_seed(seed)
    in_norms = _norm_tensors(network)
    drawn: StateDict = {}
    for name, tensor in sorted(source.items()):  # the order of a file must not change the draw
        if name in in_norms:
            drawn[name] = torch.full_like(tensor, in_norms[name])
        elif tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
            drawn[name] = tensor.mean() + tensor.std(correction=0) * noise
    return drawn


def _is_norm(module: nn.Module) -> bool:
    """Norm layers by class, or by name where they hold parameters of their own."""
    own = any(True for _ in module.parameters(recurse=False))
    return isinstance(module, NORM_LAYERS) or (own and bool(NORM_NAME.search(type(module).__name__)))


def _norm_tensors(network: nn.Module) -> dict[str, float]:
    """Names of all tensors of norm layers, with the value that a reset gives them."""
    reset = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    return {
        f"{prefix}.{name}": reset.get(name, 0.0)
        for prefix, module in network.named_modules()
        if _is_norm(module)
        for name in module.state_dict()
    }
