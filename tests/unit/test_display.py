"""Grey values by table against the same rules written out for one pixel at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from medtransfer.data import display
from medtransfer.data.display import (
    GreyRules,
    display_values,
    is_window,
    look_up,
    percentile_range,
    percentiles,
    window,
)
from medtransfer.errors import DataError

Scalar = Callable[[float], float]
SPANS = {
    "uint8": (np.uint8, 0, 255),
    "int8": (np.int8, -128, 127),
    "uint16": (np.uint16, 300, 60000),
    "int16": (np.int16, -2000, 3000),
    "uint32 near the top": (np.uint32, 2**32 - 900, 2**32 - 1),
    "int32 near the bottom": (np.int32, -(2**31), -(2**31) + 900),
    "uint32, more than a table holds": (np.uint32, 0, 2**32 - 1),
    "int32, more than a table holds": (np.int32, -(2**31), 2**31 - 1),
}


def pixels(kind: type, low: int, high: int) -> np.ndarray:
    values = np.random.default_rng(high % 1000).integers(low, high + 1, (11, 13))
    values[0, :2] = low, high
    return values.astype(kind)


@dataclass
class Stage:
    """A step of display for arrays, as the package wants it, and for one number, as the reference."""

    array: Callable[[np.ndarray], np.ndarray] | None
    scalar: Scalar


def modalities(low: int, high: int) -> dict[str, Stage]:
    table = np.random.default_rng(1).integers(0, 5000, 700).astype(np.float64)
    first = low + (high - low) // 3
    middle = (low + high) / 2

    def entry(value: float) -> float:
        return float(table[min(max(int(value) - first, 0), len(table) - 1)])

    return {
        "none": Stage(None, float),
        "slope": Stage(lambda v: v * 0.25 - middle / 4, lambda v: v * 0.25 - middle / 4),
        "negative slope": Stage(lambda v: v * -1.5 + middle, lambda v: v * -1.5 + middle),
        "table": Stage(lambda v: look_up(v, table, first), entry),
    }


def linear(center: float, width: float) -> Scalar:
    """PS3.3 C.11.2.1.2.1, from its pseudo code."""

    def shown(x: float) -> float:
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (center - 0.5)) / (width - 1) + 0.5

    return shown


def vois(values: list[float]) -> dict[str, Stage]:
    """Windows and a table inside of the range of modality values."""
    low, high = min(values), max(values)
    center, width = low + (high - low) * 0.4, max(2.0, (high - low) * 0.5)
    table = np.sqrt(np.linspace(0, 1, 400)) * 4095
    first = round(center - 200)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-4 * (x - center) / width))

    def entry(x: float) -> float:
        return float(table[min(max(round(x) - first, 0), 399)]) / 4095

    return {
        "linear": Stage(lambda v: window(v, center, width), linear(center, width)),
        "sigmoid": Stage(lambda v: window(v, center, width, "SIGMOID"), sigmoid),
        "table": Stage(lambda v: look_up(v, table, first) / 4095, entry),
    }


def by_percentiles(values: list[float]) -> Scalar:
    low, high = np.percentile(values, display.PERCENTILES)
    return lambda x: min(max((x - low) / (high - low), 0.0), 1.0)


def slowly(
    stored: np.ndarray, modality: Scalar, voi: Scalar, inverse: bool, padding: tuple[int, int] | None
) -> np.ndarray:
    """Display values, one pixel after the other."""
    shown = []
    for value in stored.ravel().tolist():
        level = voi(modality(value))
        level = 1 - level if inverse else level
        black = padding is not None and padding[0] <= value <= padding[1]
        shown.append(0.0 if black else level)
    return np.reshape(shown, stored.shape)


# table against pixels


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("modality", ["none", "slope", "negative slope", "table"])
@pytest.mark.parametrize("span", list(SPANS))
def test_every_rule_gives_what_it_gives_pixel_by_pixel(span, modality, inverse, padded):
    kind, low, high = SPANS[span]
    stored = pixels(kind, low, high)
    padding = (low, low + (high - low) // 5) if padded else None
    stage = modalities(low, high)[modality]
    inside = [v for v in stored.ravel().tolist() if padding is None or v > padding[1]]
    assert len(inside) < stored.size or not padded
    values = [stage.scalar(value) for value in inside]
    for name, voi in vois(values).items():
        rules = GreyRules(stage.array, voi.array, "window", inverse, padding)
        expected = slowly(stored, stage.scalar, voi.scalar, inverse, padding)
        found = display_values(stored, rules)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=name)
        assert len(np.unique(found)) > 1
    rules = GreyRules(stage.array, None, "percentiles", inverse, padding)
    expected = slowly(stored, stage.scalar, by_percentiles(values), inverse, padding)
    np.testing.assert_allclose(display_values(stored, rules), expected, atol=2e-6)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bits", [1, 6, 8])
def test_an_image_that_is_ready_is_divided_by_its_highest_value(bits, inverse):
    stored = pixels(np.uint8, 0, 2**bits - 1)
    rules = GreyRules(None, None, "full range", inverse, None, 2**bits - 1)
    expected = slowly(stored, float, lambda x: x / (2**bits - 1), inverse, None)
    np.testing.assert_allclose(display_values(stored, rules), expected, atol=1e-7)


@pytest.mark.parametrize("span", [4, 5, 6])
def test_images_at_the_limit_of_the_table_are_shown_alike_on_either_side(monkeypatch, span):
    stored = np.array([[9, 9 + span, 11], [10, 9, 12]], dtype=np.uint16)
    rules = GreyRules(lambda v: v * 2.0, None, padding=(10, 10))
    by_table = display_values(stored, rules)
    monkeypatch.setattr(display, "LARGEST_TABLE", 5)
    np.testing.assert_array_equal(display_values(stored, rules), by_table)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("size", [6, 7, 8, 14, 23])
def test_images_of_more_pixels_than_a_block_are_gathered_whole(monkeypatch, kind, size):
    stored = (np.arange(size) * 5).astype(kind)[None]
    rules = GreyRules(None, lambda v: v / 200, "window")
    expected = display_values(stored, rules)
    np.testing.assert_allclose(expected, stored / 200, atol=1e-7)
    monkeypatch.setattr(display, "BLOCK", 7)
    np.testing.assert_array_equal(display_values(stored, rules), expected)


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::-1, ::2], lambda a: np.asfortranarray(a)]
)
def test_the_layout_in_memory_does_not_matter(view):
    stored = view(pixels(np.int16, -500, 500))
    stored.flags.writeable = False
    for rules in (GreyRules(), GreyRules(None, lambda v: window(v, 0, 700), "window")):
        found = display_values(stored, rules)
        assert found.shape == stored.shape
        np.testing.assert_array_equal(found, display_values(stored.copy(order="C"), rules))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 4)])
@pytest.mark.parametrize("inverse", [False, True])
def test_values_are_float32_between_0_and_1_in_any_shape(shape, inverse):
    stored = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) * 100
    found = display_values(stored, GreyRules(inverse=inverse))
    assert found.dtype == np.float32
    assert found.shape == shape
    assert found.min() >= 0 <= 1 - found.max()


def test_a_constant_image_is_black_and_a_constant_inverse_image_white():
    stored = np.full((3, 3), 77, dtype=np.uint16)
    assert (display_values(stored, GreyRules()) == 0).all()
    assert (display_values(stored, GreyRules(inverse=True)) == 1).all()


def test_values_that_do_not_occur_have_no_say_in_the_percentiles():
    stored = np.array([[0, 1000, 1001, 1002, 1003]], dtype=np.uint16)
    found = display_values(np.repeat(stored, 50, axis=0), GreyRules(padding=(0, 0)))
    np.testing.assert_allclose(found[0], [0, 0, 1 / 3, 2 / 3, 1], atol=1e-6)


# percentiles


@pytest.mark.parametrize("seed", range(12))
def test_percentiles_are_numpys_of_the_repeated_values(seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1000, generator.integers(1, 40))
    if seed % 2:
        values = np.round(values, -3)  # with ties
    counts = generator.integers(0, 5, len(values))
    counts[generator.integers(len(values))] += 1
    shares = (0.0, 1.0, 12.5, 50.0, 99.0, 100.0)
    expected = np.percentile(np.repeat(values, counts), shares)
    np.testing.assert_allclose(percentiles(values, counts, shares), expected, atol=1e-9)


def test_a_range_of_counted_values_is_that_of_the_repeated_ones():
    generator = np.random.default_rng(3)
    values, counts = generator.integers(-500, 500, 60).astype(float), generator.integers(0, 9, 60)
    repeated = percentile_range(np.repeat(values, counts))
    np.testing.assert_allclose(
        np.repeat(percentile_range(values, counts), counts), repeated, atol=1e-12
    )


def test_counts_of_nothing_count_every_value_once():
    values = np.arange(5.0)
    nothing = np.zeros(5, dtype=np.int64)
    np.testing.assert_array_equal(percentile_range(values, nothing), percentile_range(values))


# floats


def test_float_pixels_that_are_no_numbers_are_black_and_without_influence():
    stored = np.random.default_rng(0).normal(0, 5, (12, 12)).astype(np.float32)
    stored[0, :4] = np.nan, np.inf, -np.inf, np.nan
    finite = np.isfinite(stored)
    scalar = by_percentiles(stored[finite].astype(float).tolist())
    for inverse in (False, True):
        found = display_values(stored, GreyRules(inverse=inverse))
        assert found.dtype == np.float32
        assert (found[0, :4] == 0).all()
        expected = slowly(np.where(finite, stored, 0), float, scalar, inverse, None)
        np.testing.assert_allclose(found[finite], expected[finite], atol=1e-5)


def test_float_pixels_are_rescaled_and_windowed():
    stored = np.linspace(-1, 1, 24).reshape(4, 6)
    stored[1, 1] = np.nan
    rules = GreyRules(lambda v: v * 100, lambda v: window(v, 10, 80, "LINEAR_EXACT"), "window", True)
    expected = 1 - np.clip((stored * 100 - 10) / 80 + 0.5, 0, 1)
    found = display_values(stored, rules)
    np.testing.assert_allclose(found, np.where(np.isnan(stored), 0, expected), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_finite_value_is_refused(value):
    with pytest.raises(DataError, match="no pixel has a finite value"):
        display_values(np.full((2, 2), value), GreyRules())


# windows and tables


@pytest.mark.parametrize(
    ("center", "width", "function", "allowed"),
    [
        (0, 1, "LINEAR", True),
        (0, 0.99, "LINEAR", False),
        (0, 0.01, "LINEAR_EXACT", True),
        (0, 0.01, "SIGMOID", True),
        (0, 0, "SIGMOID", False),
        (0, -5, "LINEAR_EXACT", False),
        (0, 10, "linear", False),
        (math.nan, 10, "LINEAR", False),
        (0, math.nan, "LINEAR", False),
        (0, math.inf, "LINEAR", False),
        (math.inf, 10, "LINEAR", False),
    ],
)
def test_only_windows_of_the_standard_are_windows(center, width, function, allowed):
    assert bool(is_window(center, width, function)) is allowed


def test_values_between_entries_take_the_nearest_and_those_outside_the_ends():
    table = np.array([7.0, 3.0, 9.0])
    found = look_up(np.array([-np.inf, -100, -5.2, -4.6, -4.4, -3.4, -2.9, 5e12]), table, -5)
    np.testing.assert_array_equal(found, [7, 7, 7, 7, 3, 9, 9, 9])
