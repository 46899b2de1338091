"""Distance between domains: between the features of a source's images and of a target's.

With an extractor other than the original Inception network these are Fréchet and kernel distances of
that extractor, no FID or KID: they rank domains and compare with nothing that was measured by another
extractor, another number of images or another way of resizing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, stats

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.matrices import as_features
from medtransfer.seeds import derived_seed
from medtransfer.tables import Column, Schema

DOMAIN_DISTANCE = Schema(
    name="domain_distance",
    row="one measure of the distance between a source's images and a data set's",
    columns={
        "source": Column("text", "name of the source"),
        "dataset": Column("text", "name of the data set"),
        "extractor": Column("text", "network and weights whose features are compared"),
        "measure": Column(
            "text",
            "frechet; frechet_extrapolated (to endlessly many images); kernel (unbiased squared "
            "maximum mean discrepancy, cubic kernel)",
        ),
        "images": Column("integer", "images of the source and of the data set, as many of each"),
        "value": Column("number", "the distance, in squared units of the features; kernel: no unit"),
        "low": Column("number", "lower end of its interval (delete-a-group jackknife); empty without"),
        "high": Column("number", "upper end of that interval"),
    },
    families={},
)
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class SourceFeatures:
    """The features of a source's images.

    Attributes:
        source: name of the source.
        extractor: the network and weights that made these features and those of the data sets.
        features: n x d.
    """

    source: str
    extractor: str
    features: np.ndarray


@dataclass(frozen=True)
class Extrapolation:
    """A distance as a line in 1 / images.

    Attributes:
        value: its height at 1 / images = 0; below 0 where the truth is near 0.
        slope: how fast the bias falls: it is slope / images.
        sizes: images of each of the two samples.
        distances: the mean distance at each size.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class DistanceProtocol:
    """How the distances of a table are measured.

    Attributes:
        images: of each data set and of the source; by default the size of the smallest.
        sizes: numbers of images of the extrapolation; by default :func:`extrapolation_sizes`.
        repeats: draws of each size.
        groups: of the jackknife; 0 for no intervals. All measures are computed once more a group.
        confidence: coverage of the intervals.
    """

    images: int | None = None
    sizes: tuple[int, ...] | None = None
    repeats: int = 3
    groups: int = 10
    confidence: float = 0.95


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Fréchet distance of the normal distributions fitted to two sets of features.

    |mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) with covariances over n - 1 (Dowson &
    Landau, 1982; Heusel et al., 2017). With S = F'F of either set, the trace of the root is the sum of
    the singular values of F_x F_y', which are the roots of the eigenvalues of the symmetric matrix
    F_x S_y F_x': no root of a matrix that isn't symmetric. With fewer images than features, F are the
    centred features themselves, and no covariance is made.

    Its expectation lies above the distance of the distributions by about c / n, so that only values of
    equal n compare: see :func:`extrapolated`.

    Args:
        x: n x d features.
        y: m x d features of the same extractor.

    Returns:
        The distance in squared units of the features, 0 or more; float64.

    Raises:
        DataError: no two finite matrices of the same width, each of two or more rows.
    """
    x, y = _pair(x, y)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    factor_x, factor_y = _factor(x - mean_x), _factor(y - mean_y)
    shift = float(np.sum((mean_x - mean_y) ** 2))
    spread = float(np.sum(factor_x**2) + np.sum(factor_y**2))
    shared = _sum_of_singular_values(factor_x @ factor_y.T, full_rank=x.shape[1])
    return max(0.0, shift + spread - 2 * shared)  # rounding alone can lead below 0


def _pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = as_features("features of the first domain", x, least=2)
    y = as_features("features of the second domain", y, least=2)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"the domains have {x.shape[1]} and {y.shape[1]} features; needed: the same")
    return x, y


def _factor(centred: np.ndarray) -> np.ndarray:
    """F with F'F = the covariance of centred features (n x d); n x d, or rank x d for n above d."""
    images, features = centred.shape
    if images <= features:
        return centred / np.sqrt(images - 1)
    covariance = centred.T @ centred / (images - 1)
    try:
        return linalg.cholesky(covariance, check_finite=False)
    except linalg.LinAlgError:  # features that are constant or depend on each other
        values, vectors = linalg.eigh(covariance, check_finite=False)
        kept = values > values.max() * features * np.finfo(np.float64).eps
        return np.sqrt(values[kept])[:, None] * vectors[:, kept].T


def _sum_of_singular_values(matrix: np.ndarray, full_rank: int) -> float:
    """From eigenvalues at full rank, which is several times faster.

    Below it that would make of each singular value of 0 one of up to 1e-8 times the largest.
    """
    if matrix.shape == (full_rank, full_rank):
        values = linalg.eigvalsh(matrix @ matrix.T, driver="evd", check_finite=False)
        return float(np.sqrt(values.clip(0)).sum())
    return float(linalg.svdvals(matrix, check_finite=False).sum()) if matrix.size else 0.0


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, subsets: int = 0, subset_size: int = 1000, seed: int = 0
) -> float:
    """Kernel distance (KID, Bińkowski et al., 2018): unbiased squared MMD, kernel (x'y / d + 1)^3.

    Unbiased: 0 on average for equal distributions, so single values lie below 0, too.

    Args:
        x: n x d features.
        y: m x d features of the same extractor.
        subsets: 0 for the value of all images; else the mean over so many pairs of random subsets
            (Bińkowski et al.: 100), drawn without replacement.
        subset_size: images of a subset; the smaller domain's size where that is smaller.
        seed: of the subsets.

    Raises:
        ConfigError: a negative number of subsets, or a subset size below 2.
        DataError: as :func:`frechet_distance`.
    """
    x, y = _pair(x, y)
    if subsets < 0 or subset_size < 2:
        raise ConfigError(
            f"{subsets} subsets of {subset_size}; allowed: 0 or more, of 2 or more images"
        )
    if subsets == 0:
        return _discrepancy(x, y)
    generator = np.random.default_rng(seed)
    size = min(subset_size, len(x), len(y))
    draws = (_subsets(x, y, size, generator) for _ in range(subsets))
    return float(np.mean([_discrepancy(*draw) for draw in draws]))


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The U-statistic of the squared maximum mean discrepancy, a block of rows at a time."""
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - _own_kernels(x)) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _own_kernels(y)) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y) / (n * m)


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    blocks = (x[start : start + BLOCK_ROWS] for start in range(0, len(x), BLOCK_ROWS))
    return float(sum(np.sum((block @ y.T / x.shape[1] + 1) ** 3) for block in blocks))


def _own_kernels(x: np.ndarray) -> float:
    """Sum of the kernel of each row with itself."""
    return float(np.sum((np.sum(x**2, axis=1) / x.shape[1] + 1) ** 3))


def _subsets(
    x: np.ndarray, y: np.ndarray, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """As many random rows of both, without replacement."""
    return tuple(v[generator.choice(len(v), size, replace=False)] for v in (x, y))  # type: ignore[return-value]


def extrapolated(
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[int] | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> Extrapolation:
    """Fréchet distance at endlessly many images: a line in 1 / n, read at 0 (Chong & Forsyth, 2020).

    Both samples of a draw have the same n. The bias is a line in 1 / n where n is well above the number
    of directions in which the features vary; with fewer images the line still takes off most of it, but
    not all.

    Args:
        x: n x d features.
        y: m x d features of the same extractor.
        sizes: two or more numbers of images; by default :func:`extrapolation_sizes` of the smaller.
        repeats: draws of each size, whose distances are averaged. The images are put in a random order
            once, and the draws of a size are stretches of it that start at even distances.
        seed: of the order.

    Raises:
        ConfigError: fewer than two different sizes, sizes beyond the images, or no repeat.
        DataError: as :func:`frechet_distance`.
    """
    x, y = _pair(x, y)
    most = min(len(x), len(y))
    sizes = extrapolation_sizes(most) if sizes is None else tuple(sizes)
    if len(set(sizes)) < 2 or min(sizes) < 2 or max(sizes) > most:
        raise ConfigError(f"sizes {sizes}; allowed: two or more different ones from 2 to {most}")
    if repeats < 1:
        raise ConfigError(f"{repeats} repeats; allowed: 1 or more")
    generator = np.random.default_rng(seed)
    return _line(generator.permutation(x), generator.permutation(y), sizes, repeats)


def extrapolation_sizes(images: int, count: int = 5) -> tuple[int, ...]:
    """Numbers of images from a quarter of all to all, at even distances in 1 / n; each at least 2."""
    return tuple(max(2, round(1 / i)) for i in np.linspace(4 / images, 1 / images, count))


def _line(x: np.ndarray, y: np.ndarray, sizes: Sequence[int], repeats: int) -> Extrapolation:
    """The line through the mean distances of stretches of rows that are in random order."""
    distances = []
    for size in sizes:
        pairs = zip(_stretches(x, size, repeats), _stretches(y, size, repeats), strict=True)
        distances.append(float(np.mean([frechet_distance(a, b) for a, b in pairs])))
    line = stats.linregress(1 / np.array(sizes), distances)
    return Extrapolation(float(line.intercept), float(line.slope), tuple(sizes), tuple(distances))


def _stretches(rows: np.ndarray, size: int, repeats: int) -> Iterator[np.ndarray]:
    """``size`` rows from each of ``repeats`` places, going on at the top after the last row."""
    for repeat in range(repeats):
        first = repeat * len(rows) // repeats
        yield rows[np.arange(first, first + size) % len(rows)]


def domain_distances(
    source: SourceFeatures,
    targets: Mapping[str, np.ndarray],
    protocol: DistanceProtocol | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """All distances between a source and data sets, each from the same number of images.

    The images of a data set are drawn by the seed and its name, without replacement: its values don't
    depend on which other data sets there are, once ``protocol.images`` is set. The intervals say what
    other images of the same domains would change at this number of images.

    Args:
        source: the source's features.
        targets: features of each data set, by name; n x d of the same extractor.
        protocol: numbers of images, of draws and of groups.
        seed: of the draws.

    Returns:
        A table of schema DOMAIN_DISTANCE, three rows a data set.

    Raises:
        ConfigError: settings outside of what is allowed.
        DataError: no data set, one with too few images, or features that don't fit each other.
    """
    protocol = protocol or DistanceProtocol()
    images = _equal_number(source, targets, protocol)
    x = _draw(source.features, images, derived_seed(seed, f"source {source.source}"))
    rows = []
    for dataset, features in targets.items():
        y = _draw(features, images, derived_seed(seed, dataset))
        for name, measure in _measures(protocol, images).items():
            value, half = measure(x, y), _half_interval(measure, x, y, protocol)
            key = (source.source, dataset, source.extractor, name, images)
            rows.append((*key, value, value - half, value + half))
    return pd.DataFrame(rows, columns=list(DOMAIN_DISTANCE.columns))


def _equal_number(
    source: SourceFeatures, targets: Mapping[str, np.ndarray], protocol: DistanceProtocol
) -> int:
    """Images that are taken of each domain, checked to be there."""
    if not targets:
        raise DataError(f"no data set to compare with source {source.source}")
    if protocol.groups == 1 or protocol.groups < 0:
        raise ConfigError(f"{protocol.groups} groups of the jackknife; allowed: 0, or 2 or more")
    counts = {f"source {source.source}": len(source.features)}
    counts |= {f"data set {dataset}": len(features) for dataset, features in targets.items()}
    images = min(counts.values()) if protocol.images is None else protocol.images
    least = max(8, 2 * protocol.groups)
    short = [f"{name} has {count}" for name, count in counts.items() if count < max(images, least)]
    if short or images < least:
        raise DataError(
            f"{images} images of each domain: {', '.join(short) or 'too few'}; "
            f"needed: as many of each, and at least {least}"
        )
    return images


def _draw(features: np.ndarray, images: int, seed: int) -> np.ndarray:
    """Random rows in random order."""
    rows = np.random.default_rng(seed).choice(len(features), images, replace=False)
    return np.asarray(features)[rows]


def _measures(
    protocol: DistanceProtocol, images: int
) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """The measures of a table; they take rows in random order."""
    sizes = protocol.sizes or extrapolation_sizes(images)
    if len(set(sizes)) < 2 or min(sizes) < 2 or max(sizes) > images or protocol.repeats < 1:
        raise ConfigError(
            f"sizes {sizes}, {protocol.repeats} repeats; allowed: two or more different sizes from 2 "
            f"to {images}, 1 or more repeats"
        )

    def at_endless_images(x: np.ndarray, y: np.ndarray) -> float:
        # without a group of the jackknife, all sizes are smaller by its share
        scaled = [max(2, round(size * len(x) / images)) for size in sizes]
        return _line(x, y, scaled, protocol.repeats).value

    return {
        "frechet": frechet_distance,
        "frechet_extrapolated": at_endless_images,
        "kernel": kernel_distance,
    }


def _half_interval(
    measure: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray,
    y: np.ndarray,
    protocol: DistanceProtocol,
) -> float:
    """Half an interval's length by the delete-a-group jackknife (Shao & Tu, 1995); NaN without groups.

    A t interval with groups - 1 degrees of freedom. The two samples are independent, so that leaving
    out a group of both adds up their variances. A bootstrap would repeat images, which biases the
    distance.
    """
    groups = protocol.groups
    if groups == 0:
        return float("nan")
    row = np.arange(len(x))
    # groups of equal size, or else the bias, which falls with the images, would count as spread
    group = np.where(row < len(x) // groups * groups, row % groups, -1)
    without = np.array([measure(x[group != g], y[group != g]) for g in range(groups)])
    error = np.sqrt((groups - 1) * np.var(without))
    return float(stats.t.ppf(0.5 + protocol.confidence / 2, groups - 1) * error)
