"""Canonical correlations between two representations of the same images: mean CCA, SVCCA and PWCCA.

A representation is an array of rows x channels: pooled features with one row an image, or folded maps
with one row a position (see :mod:`medtransfer.representation.folding`). Row i is the same image, and
the same position, on both sides.

CCA finds the directions in which the two sides agree most, so with too few rows it finds agreement
anywhere: with fewer rows than channels it is 1 between anything. Every result therefore says whether it
is ``reliable``, and :func:`shuffled_baseline` says what it is between rows that don't belong together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.matrices import as_features
from medtransfer.seeds import derived_seed

# Rows for each direction of the two sides below which a value is flagged: the tutorial of google/svcca
# asks for 5 to 10 times as many data points as neurons.
ROWS_PER_DIRECTION = 5
# A direction below this many rounding steps of the input, relative to the largest, is rounding itself.
ROUNDING_STEPS = 10
# What the factorisation leaves of a direction that isn't there, whatever the precision of the input.
SMALLEST_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Subspace:
    """What the centred channels of one side span.

    Factoring a side costs far more than comparing two, so where many pairs are compared each side is
    factored once.

    Attributes:
        basis: rows x rank, float64, orthonormal columns.
        loadings: rank x channels, float64; ``basis @ loadings`` are the centred channels.
    """

    basis: np.ndarray
    loadings: np.ndarray

    @property
    def rows(self) -> int:
        """Images, or positions of images."""
        return self.basis.shape[0]

    @property
    def rank(self) -> int:
        """Directions that are compared."""
        return self.basis.shape[1]

    @property
    def channels(self) -> int:
        """Channels of the input, dead ones included."""
        return self.loadings.shape[1]

    def reordered(self, order: np.ndarray) -> Subspace:
        """The same with row ``order[i]`` at row i; the means of channels don't depend on the order."""
        return Subspace(self.basis[order], self.loadings)


@dataclass(frozen=True, eq=False)
class CCA:
    """Canonical correlations and how far to trust them.

    Attributes:
        correlations: float64, descending, in [0, 1]; as many as the smaller rank, none where all
            channels of a side are constant.
        n: rows.
        channels_x, channels_y: channels of the two inputs.
        rank_x, rank_y: directions left of them: without dead and linearly dependent channels, and for
            SVCCA without those beyond the variance threshold.
    """

    correlations: np.ndarray
    n: int
    channels_x: int
    channels_y: int
    rank_x: int
    rank_y: int

    @property
    def mean(self) -> float:
        """Mean correlation; 0 where there is none."""
        return float(self.correlations.mean()) if len(self.correlations) else 0.0

    @property
    def mean_squared(self) -> float:
        """Mean squared correlation; 0 where there is none.

        R^2 of CCA in Kornblith et al. (arXiv 1905.00414), table 1: the squared correlations over the
        smaller number of channels, here the smaller rank, which is the same unless channels depend
        on each other.
        """
        return float(np.square(self.correlations).mean()) if len(self.correlations) else 0.0

    @property
    def reliable(self) -> bool:
        """Whether there are ``ROWS_PER_DIRECTION`` rows for each direction of x and y.

        It counts rows as if they were independent; positions of one image are less than that.
        """
        return enough_rows(self.n, self.rank_x, self.rank_y)


def cca(x: np.ndarray, y: np.ndarray, *, centre: bool = True) -> CCA:
    """Canonical correlations of x and y: cosines of the angles between what their channels span.

    They are the singular values of Qx' Qy, Q an orthonormal basis of a side's centred channels
    (Björck & Golub, Mathematics of Computation 27, 1973), so no covariance is inverted. Any invertible
    map of the channels of a side leaves them as they are.

    Args:
        x: rows x channels of any real type.
        y: the same rows x any number of channels.
        centre: subtract each channel's mean; False only for numbers published without.

    Raises:
        DataError: a side isn't a table of finite numbers with two rows or more, or the rows don't
            match.
    """
    return compare(
        subspace(x, centre=centre, name="features x"), subspace(y, centre=centre, name="features y")
    )


def svcca(x: np.ndarray, y: np.ndarray, variance: float = 0.99) -> CCA:
    """CCA of the leading singular directions of each side (Raghu et al., arXiv 1706.05806).

    Args:
        x: rows x channels.
        y: the same rows x any number of channels.
        variance: share of the variance, in (0, 1]. Each side keeps its fewest leading directions whose
            squared singular values reach it, the one that crosses it included.

    Raises:
        ConfigError: ``variance`` is out of range.
        DataError: as of :func:`cca`.
    """
    return compare(
        leading_subspace(x, variance, name="features x"),
        leading_subspace(y, variance, name="features y"),
    )


def pwcca(x: np.ndarray, y: np.ndarray) -> float:
    """Mean correlation weighted by how much of **x** each canonical variate accounts for.

    sum_i alpha_i rho_i / sum_i alpha_i with alpha_i = sum_j |<h_i, x_j>|; h_i are the canonical
    variates of x, orthonormal over the rows, x_j its centred channels (Morcos et al., arXiv 1806.05759,
    section 2.2). The weights are of x whichever side is wider, so ``pwcca(y, x)`` is another number.

    Args:
        x: rows x channels; carries the weights.
        y: the same rows x any number of channels.

    Returns:
        A value in [0, 1]; 0 where all channels of a side are constant.

    Raises:
        DataError: as of :func:`cca`.
    """
    return projection_weighted(subspace(x, name="features x"), subspace(y, name="features y"))


def subspace(x: np.ndarray, *, centre: bool = True, name: str = "features") -> Subspace:
    """What the channels of x span, without what is rounding only.

    Directions are cut whose singular value, of channels brought to unit length, is below the largest
    times ``ROUNDING_STEPS`` machine epsilons of x's type, and no less than ``SMALLEST_TOLERANCE``.

    Args:
        x: rows x channels of any real type.
        centre: subtract each channel's mean.
        name: what x is, for the messages of errors.

    Raises:
        DataError: x isn't a table of finite numbers with two rows or more.
    """
    values, tolerance = _live(x, centre, name)
    lengths = np.linalg.norm(values, axis=0)
    # at unit length a channel isn't cut for being measured in small units
    left, singular, right = np.linalg.svd(
        values / np.where(lengths > 0, lengths, 1.0), full_matrices=False
    )
    rank = _rank(singular, tolerance)
    return Subspace(left[:, :rank], singular[:rank, None] * right[:rank] * lengths)


def leading_subspace(x: np.ndarray, variance: float = 0.99, *, name: str = "features") -> Subspace:
    """The leading singular directions of centred x that :func:`svcca` keeps.

    Args:
        x: rows x channels of any real type.
        variance: share of the variance, in (0, 1].
        name: what x is, for the messages of errors.

    Raises:
        ConfigError: ``variance`` is out of range.
        DataError: x isn't a table of finite numbers with two rows or more.
    """
    if not 0 < variance <= 1:
        raise ConfigError(f"variance of SVCCA is {variance}; allowed: above 0, at most 1")
    values, _ = _live(x, True, name)
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    kept = _kept(singular, variance)
    return Subspace(left[:, :kept], singular[:kept, None] * right[:kept])


def compare(first: Subspace, second: Subspace) -> CCA:
    """Canonical correlations of two factored sides.

    Raises:
        DataError: the rows don't match.
    """
    correlations = _correlations(_cosines(first, second))
    return CCA(correlations, first.rows, first.channels, second.channels, first.rank, second.rank)


def projection_weighted(first: Subspace, second: Subspace) -> float:
    """PWCCA of two factored sides, weights on the first (see :func:`pwcca`).

    Raises:
        DataError: the rows don't match.
    """
    cosines = _cosines(first, second)
    if not cosines.size:
        return 0.0
    variates, correlations, _ = np.linalg.svd(cosines, full_matrices=False)
    weights = np.abs(variates.T @ first.loadings).sum(axis=1)
    return float(np.average(np.clip(correlations, 0.0, 1.0), weights=weights))


def enough_rows(rows: int, rank_x: int, rank_y: int) -> bool:
    """Whether ``rows`` suffice to compare so many directions; never where a side has none."""
    return min(rank_x, rank_y) > 0 and rows >= ROWS_PER_DIRECTION * (rank_x + rank_y)


def shuffled_baseline(
    x: np.ndarray,
    y: np.ndarray,
    measure: Callable[[np.ndarray, np.ndarray], CCA | float] = cca,
    *,
    repeats: int = 1,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> float:
    """The measure between rows that don't belong together: what a value means nothing below.

    Args:
        x: rows x channels.
        y: the same rows x any number of channels; its rows are shuffled.
        measure: :func:`cca`, :func:`svcca`, :func:`pwcca` or any other of two arrays; of a CCA the mean
            is taken.
        repeats: shuffles to average over.
        seed: of the shuffles.
        groups: image of each row, for folded maps: whole images are shuffled (see
            :func:`shuffled_orders`).

    Returns:
        The mean over the shuffles; NaN with a single image, which has no other to be paired with.

    Raises:
        ConfigError: no repeat is asked for.
        DataError: the rows of x, y and ``groups`` don't match.
    """
    if repeats < 1:
        raise ConfigError(f"repeats of the shuffled baseline is {repeats}; allowed: 1 or more")
    orders = shuffled_orders(len(y), repeats, seed, groups)
    values = [_value(measure(x, np.asarray(y)[order])) for order in orders]
    return float(np.mean(values)) if values else math.nan


def shuffled_orders(
    rows: int, repeats: int, seed: int, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Random orders of rows that pair every image with another one, never with itself.

    Neighbouring positions of an image are alike. Single rows in random order would lose that, and the
    baseline would come out too low; images are therefore moved whole, their positions in order. Where
    they have different numbers of rows, they are laid one after the other in the shuffled order, and a
    few rows may meet their own image.

    Args:
        rows: number of rows.
        repeats: number of orders.
        seed: of the orders.
        groups: image of each row, of any type that sorts; each row is an image where it is None.

    Yields:
        ``repeats`` integer arrays of length ``rows``; none with fewer than two images.

    Raises:
        DataError: ``groups`` has another length.
    """
    images = np.arange(rows) if groups is None else np.asarray(groups)
    if images.shape != (rows,):
        raise DataError(f"groups of {rows} rows have shape {images.shape}; allowed: ({rows},)")
    by_image = np.argsort(images, kind="stable")
    _, starts = np.unique(images[by_image], return_index=True)
    members = np.split(by_image, starts[1:])
    random = np.random.default_rng(derived_seed(seed, "shuffled pairs"))
    for _ in range(repeats if len(members) > 1 else 0):
        order = np.empty(rows, dtype=np.int64)
        order[by_image] = np.concatenate([members[partner] for partner in _cycle(random, len(members))])
        yield order


def _cycle(random: np.random.Generator, count: int) -> np.ndarray:
    """A partner for each of ``count`` images, in one random cycle: nobody is its own partner."""
    circle = random.permutation(count)
    partners = np.empty(count, dtype=np.int64)
    partners[circle] = np.roll(circle, 1)
    return partners


def _value(result: CCA | float) -> float:
    return result.mean if isinstance(result, CCA) else float(result)


def _live(x: np.ndarray, centre: bool, name: str) -> tuple[np.ndarray, float]:
    """x in float64, centred, dead channels at 0; and the relative size of rounding in x."""
    values = as_features(name, x, least=2).copy()
    tolerance = _tolerance(np.asarray(x).dtype)
    lengths = np.linalg.norm(values, axis=0)
    if centre:
        # the first row goes first, so that a constant channel becomes exactly 0
        values -= values[0].copy()
        values -= values.mean(axis=0)
    values[:, np.linalg.norm(values, axis=0) <= tolerance * lengths] = 0.0
    return values, tolerance


def _tolerance(dtype: np.dtype) -> float:
    step = float(np.finfo(dtype).eps) if np.issubdtype(dtype, np.floating) else 0.0
    return max(ROUNDING_STEPS * step, SMALLEST_TOLERANCE)


def _rank(singular: np.ndarray, tolerance: float) -> int:
    return int(np.sum(singular > tolerance * singular[0]))


def _kept(singular: np.ndarray, variance: float) -> int:
    """The fewest leading directions whose share of the squares reaches ``variance``."""
    if singular[0] == 0:
        return 0
    sums = np.cumsum(np.square(singular / singular[0]))
    # a sum that misses the threshold by rounding has reached it
    return int(np.argmax(sums >= (variance - SMALLEST_TOLERANCE) * sums[-1])) + 1


def _cosines(first: Subspace, second: Subspace) -> np.ndarray:
    if first.rows != second.rows:
        raise DataError(
            f"representations of {first.rows} and {second.rows} rows; allowed: the same rows on both "
            "sides"
        )
    return first.basis.T @ second.basis


def _correlations(cosines: np.ndarray) -> np.ndarray:
    if not cosines.size:
        return np.zeros(0)
    return np.clip(np.linalg.svd(cosines, compute_uv=False), 0.0, 1.0)
