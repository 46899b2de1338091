"""CCA as the studies ran it: sampled channels of folded maps, and the comparison of the top layers.

Studies: Raghu et al. (arXiv 1902.07208), Juodelyte et al. (arXiv 2302.08272).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.errors import DataError
from medtransfer.representation.cca import (
    Subspace,
    compare,
    enough_rows,
    leading_subspace,
    projection_weighted,
    shuffled_orders,
    subspace,
)
from medtransfer.representation.matrices import as_features
from medtransfer.seeds import derived_seed
from medtransfer.tables import Column, Schema

# Juodelyte et al.: repeats, and rows and channels of each
SAMPLED_REPEATS = 5
SAMPLED_ROWS = 10_000
SAMPLED_CHANNELS = 64
# of their code: added to variances, relative to the largest; channels below it are left out
RELEASED_EPSILON = 1e-12
# Raghu et al., figure 2: the last units before the output
TOP_UNITS = 2
_PAIR = ["dataset", "model", "measure", "pair", "a", "b"]

TOP_LAYERS = Schema(
    name="top_layers",
    row="one measure of the two top units before the output, for one kind of pairs of networks",
    columns={
        "dataset": Column("text", "name of the data set whose images were shown"),
        "model": Column("text", "name of the network"),
        "measure": Column("text", "cca, svcca, pwcca or sampled_channels"),
        "pair": Column(
            "text", "starts of the pairs: random-random, random-transfer, transfer-transfer"
        ),
        "mean": Column("number", "mean over the pairs, of each the mean of its two top units"),
        "sd": Column("number", "standard deviation over the pairs; empty for one pair"),
        "baseline": Column("number", "mean of their baselines"),
        "pairs": Column("integer", "pairs of networks; they share networks, so aren't independent"),
        "reliable": Column("truth", "whether every value behind it is"),
    },
    families={},
)


@dataclass(frozen=True, eq=False)
class Representation:
    """One network's rows at one unit, factored once for comparison with many others.

    Attributes:
        whole: what all channels span.
        leading: the leading directions, for SVCCA.
    """

    whole: Subspace
    leading: Subspace


@dataclass(frozen=True, eq=False)
class ChannelBlock:
    """What one repeat of the sampled-channels protocol looks at.

    Attributes:
        images: indices of images, ascending; all positions of each are rows.
        channels: indices of channels, ascending.
        complete: False where there were fewer images or channels than the protocol asks for, and all
            there are were taken.
    """

    images: np.ndarray
    channels: np.ndarray
    complete: bool


@dataclass(frozen=True)
class SampledCCA:
    """Result of the sampled-channels protocol.

    Attributes:
        value: mean over the repeats.
        repeats: mean correlation of each repeat.
        baseline: mean over the repeats with images shuffled; NaN where they have one image.
        rows: rows of the smallest repeat.
        channels_x, channels_y: channels of a repeat.
        reliable: whether every repeat has enough rows.
    """

    value: float
    repeats: tuple[float, ...]
    baseline: float
    rows: int
    channels_x: int
    channels_y: int
    reliable: bool


def represented(x: np.ndarray, variance: float = 0.99) -> Representation:
    """Factor rows x channels for :func:`similarities`.

    It takes up to 16 bytes for each entry of x, so with many networks go unit by unit.

    Raises:
        ConfigError: ``variance`` (of SVCCA) isn't in (0, 1].
        DataError: x isn't a table of finite numbers.
    """
    return Representation(subspace(x), leading_subspace(x, variance))


def similarities(
    a: Representation,
    b: Representation,
    *,
    groups: np.ndarray | None = None,
    repeats: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean CCA, SVCCA and PWCCA (weights on a) of two representations, with shuffled baselines.

    Args:
        a, b: the same rows of two networks.
        groups: image of each row, where an image has several.
        repeats: shuffles to average the baseline over.
        seed: of the shuffles.

    Returns:
        One row a measure: ``measure``, ``value``, ``baseline``, ``rows``, ``channels_a``,
        ``channels_b``, ``reliable``.

    Raises:
        DataError: the rows of a, b and ``groups`` don't match.
    """
    values = _values(a, b)
    orders = shuffled_orders(b.whole.rows, repeats, seed, groups)
    shuffled = [_values(a, _reordered(b, order)) for order in orders]
    baselines = pd.DataFrame(shuffled, columns=list(values), dtype=float).mean()
    rows = a.whole.rows
    whole = enough_rows(rows, a.whole.rank, b.whole.rank)
    leading = enough_rows(rows, a.leading.rank, b.leading.rank)
    return pd.DataFrame(
        {
            "measure": list(values),
            "value": list(values.values()),
            "baseline": baselines.to_numpy(),
            "rows": rows,
            "channels_a": a.whole.channels,
            "channels_b": b.whole.channels,
            "reliable": [leading if name == "svcca" else whole for name in values],
        }
    )


def channel_blocks(images: int, positions: int, channels: int, seed: int) -> tuple[ChannelBlock, ...]:
    """Which images and channels the sampled-channels protocol of Juodelyte et al. looks at.

    Five repeats; each takes round(10,000 / positions) random images, at least one, with all
    their positions, and 64 random channels. Their code draws anew at each start of the program; here
    the choice depends on the arguments alone: networks with maps of the same size are shown the same
    images, and units with as many channels take the same ones, so both sides of a pair agree. With too
    few images or channels, all are taken in every repeat, and the block isn't ``complete``.

    Args:
        images: images to choose from.
        positions: height * width of the unit's map; tokens without the prefix.
        channels: channels of the unit.
        seed: of the choice.

    Raises:
        DataError: a count is below 1.
    """
    if min(images, positions, channels) < 1:
        raise DataError(
            f"{images} images with {positions} positions and {channels} channels; allowed: 1 or more "
            "of each"
        )
    wanted = max(1, round(SAMPLED_ROWS / positions))
    complete = images >= wanted and channels >= SAMPLED_CHANNELS
    return tuple(
        ChannelBlock(
            _chosen(images, wanted, seed, f"CCA images, repeat {repeat}"),
            _chosen(channels, SAMPLED_CHANNELS, seed, f"CCA channels, repeat {repeat} of {channels}"),
            complete,
        )
        for repeat in range(SAMPLED_REPEATS)
    )


def sampled_channel_cca(
    blocks_x: Iterable[np.ndarray],
    blocks_y: Iterable[np.ndarray],
    positions: int = 1,
    *,
    seed: int = 0,
    as_released: bool = False,
) -> SampledCCA:
    """Mean CCA of sampled channels, averaged over the repeats (Juodelyte et al.).

    Args:
        blocks_x: one array a repeat, rows x channels, folded image by image (:func:`channel_blocks`);
            or one array of repeats x rows x channels.
        blocks_y: the same rows and repeats of the other network.
        positions: rows of an image; whole images are shuffled for the baseline.
        seed: of the shuffles.
        as_released: compute as their code did (see :func:`released_subspace`): linearly dependent
            channels add correlations of about 0 to the mean instead of none.

    Raises:
        DataError: repeats or rows don't match, or aren't whole images.
    """
    factor = released_subspace if as_released else subspace
    return compare_blocks(
        [factor(block) for block in blocks_x],
        [factor(block) for block in blocks_y],
        positions,
        seed=seed,
    )


def compare_blocks(
    blocks_x: Sequence[Subspace], blocks_y: Sequence[Subspace], positions: int = 1, *, seed: int = 0
) -> SampledCCA:
    """The same as :func:`sampled_channel_cca` for repeats that are factored already."""
    if len(blocks_x) != len(blocks_y) or not blocks_x:
        raise DataError(
            f"sampled channels of {len(blocks_x)} and {len(blocks_y)} repeats; allowed: the same "
            "number on both sides, at least 1"
        )
    results = [compare(x, y) for x, y in zip(blocks_x, blocks_y, strict=True)]
    values = tuple(result.mean for result in results)
    pairs = enumerate(zip(blocks_x, blocks_y, strict=True))
    baselines = [_shuffled_mean(x, y, positions, seed + repeat) for repeat, (x, y) in pairs]
    return SampledCCA(
        value=float(np.mean(values)),
        repeats=values,
        baseline=float(np.mean(baselines)),
        rows=min(result.n for result in results),
        channels_x=results[0].channels_x,
        channels_y=results[0].channels_y,
        reliable=all(result.reliable for result in results),
    )


def released_subspace(x: np.ndarray) -> Subspace:
    """Whitened channels as the released code of Juodelyte et al. has them: google/svcca with 1e-12.

    The covariance is divided by its largest entry; channels with a variance below 1e-12 are left out,
    1e-12 is added to the variances of the others, and they are multiplied by the inverse square root of
    the result. No direction is cut: one that isn't there has a length of about 0 instead of 1, gives a
    correlation of about 0, and counts.

    Raises:
        DataError: x isn't a table of finite numbers.
    """
    features = as_features("sampled channels", x, least=2)
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred
    largest = np.abs(covariance).max()
    if largest == 0:
        return Subspace(np.zeros((len(centred), 0)), np.zeros((0, centred.shape[1])))
    live = centred[:, np.diag(covariance) >= RELEASED_EPSILON * largest] / math.sqrt(largest)
    ridged = live.T @ live + RELEASED_EPSILON * np.eye(live.shape[1])
    variances, directions = np.linalg.eigh(ridged)
    basis = live @ (directions / np.sqrt(variances))
    return Subspace(basis, basis.T @ centred)


def pair_kind(init_a: str, init_b: str) -> str | None:
    """The kind of a pair of starts in the top-layer comparison of Raghu et al.

    Args:
        init_a, init_b: names of starts (see :func:`medtransfer.config.names.parse_init`).

    Returns:
        ``random-random``, ``random-transfer`` or ``transfer-transfer``, whichever start comes first;
        None where a start is neither random nor a whole source.

    Raises:
        ConfigError: a name isn't that of a start.
    """
    kinds = [_start_kind(init_a), _start_kind(init_b)]
    return None if None in kinds else "-".join(sorted(map(str, kinds)))


def top_layer_comparison(
    correlations: pd.DataFrame, units: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """How alike trained networks are near the output, by how they started (Raghu et al., figure 2).

    Of each pair of networks, the values of the two top units before the output are averaged; then the
    pairs of a kind.

    Args:
        correlations: of trained networks, each pair once: ``dataset``, ``model``, ``measure``, ``a``
            and ``b`` (names of the two), ``pair`` (its :func:`pair_kind`; rows without one are left
            out), ``unit``, ``value``, ``baseline``, ``reliable``.
        units: for each network of the table, the units at which it was measured (units, or stages, as
            :func:`medtransfer.representation.points.cca_points` names them) in the order of depth, the
            output left out.

    Returns:
        A table of schema TOP_LAYERS.

    Raises:
        DataError: a network has too few units, or a pair lacks a value at one of them.
    """
    compared = correlations[correlations["pair"].notna()]
    by_pair = compared[_is_top(compared, units)].groupby(_PAIR, sort=False)
    values = by_pair.agg(
        value=("value", "mean"),
        baseline=("baseline", "mean"),
        reliable=("reliable", "all"),
        units=("unit", "nunique"),
        count=("unit", "size"),
    ).reset_index()
    _check_top(values, compared)
    groups = values.groupby(_PAIR[:-2], sort=False)
    table = groups.agg(
        mean=("value", "mean"),
        sd=("value", "std"),
        baseline=("baseline", "mean"),
        pairs=("value", "size"),
        reliable=("reliable", "all"),
    ).reset_index()
    return table.astype({"mean": float, "sd": float, "baseline": float, "reliable": bool})


def _values(a: Representation, b: Representation) -> dict[str, float]:
    return {
        "cca": compare(a.whole, b.whole).mean,
        "svcca": compare(a.leading, b.leading).mean,
        "pwcca": projection_weighted(a.whole, b.whole),
    }


def _reordered(representation: Representation, order: np.ndarray) -> Representation:
    return Representation(
        representation.whole.reordered(order), representation.leading.reordered(order)
    )


def _chosen(available: int, wanted: int, seed: int, purpose: str) -> np.ndarray:
    random = np.random.default_rng(derived_seed(seed, purpose))
    return np.sort(random.permutation(available)[:wanted])


def _shuffled_mean(x: Subspace, y: Subspace, positions: int, seed: int) -> float:
    """The mean correlation with the images of y in one shuffled order; NaN for one image."""
    if y.rows % positions:
        raise DataError(f"{y.rows} rows with {positions} positions an image; allowed: whole images")
    orders = shuffled_orders(y.rows, 1, seed, np.arange(y.rows) // positions)
    return next((compare(x, y.reordered(order)).mean for order in orders), math.nan)


def _start_kind(init: str) -> str | None:
    start = parse_init(init)
    if init == "random":
        return "random"
    return "transfer" if start.source is not None and start.upto is None else None


def _is_top(correlations: pd.DataFrame, units: Mapping[str, Sequence[str]]) -> np.ndarray:
    models = correlations["model"]
    top = {str(model): _top_units(str(model), units) for model in models.unique()}
    return np.array(
        [unit in top[model] for model, unit in zip(models, correlations["unit"], strict=True)],
        dtype=bool,
    )


def _top_units(model: str, units: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The last units of a network before its output."""
    names = units.get(model, ())
    if len(names) < TOP_UNITS:
        raise DataError(
            f"network {model} was measured at {len(names)} units; allowed: at least {TOP_UNITS} "
            "before the output"
        )
    return names[-TOP_UNITS:]


def _check_top(values: pd.DataFrame, compared: pd.DataFrame) -> None:
    """Raise DataError unless every pair has one value at each of the top units."""
    wrong = values[(values["units"] != TOP_UNITS) | (values["count"] != TOP_UNITS)]
    pairs = compared[_PAIR].drop_duplicates()
    absent = pairs.merge(values[_PAIR], how="left", indicator=True).query("_merge == 'left_only'")
    for _, row in pd.concat([wrong, absent]).head(1).iterrows():
        raise DataError(
            f"{row['measure']} of {row['a']} and {row['b']} on {row['dataset']}: not one value at each "
            f"of the {TOP_UNITS} top units; allowed: one at each"
        )
