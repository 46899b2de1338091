"""Fractals of iterated function systems, the label being the formula.

Kataoka et al., "Pre-training without natural images" (ACCV 2020): a category is a random set of
affine maps whose attractor fills enough of the picture; its instances vary the maps' parameters, the
orientation and the patch that each point stamps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 64
POINTS = 3000
WARM_UP = 20
# Kataoka et al. use 0.2 at 512 pixels; at 64 pixels the same systems cover less.
SMALLEST_FILLING = 0.1
# Instances scale one of the six parameters of every map by one of these.
WEIGHTS = (0.8, 0.9, 1.0, 1.1, 1.2)


def write_fractals(folder: Path, formulae: int, instances: int, seed: int) -> pd.DataFrame:
    """Draw ``formulae`` x ``instances`` colour pictures of 64 x 64 pixels as PNG files.

    Returns:
        The manifest: ``file`` (relative to ``folder``), ``formula``.
    """
    rows = []
    for formula in range(formulae):
        generator = np.random.default_rng([seed, formula])
        maps = draw_system(generator)
        pictures = draw_instances(maps, instances, generator)
        (folder / "images" / str(formula)).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures):
            name = f"images/{formula}/{number}.png"
            Image.fromarray(picture).save(folder / name, compress_level=1)
            rows.append((name, formula))
    return pd.DataFrame(rows, columns=["file", "formula"])


def draw_system(generator: np.random.Generator) -> np.ndarray:
    """Affine maps, M x 6 (a, b, c, d, e, f: x' = ax + by + e, y' = cx + dy + f), well filled."""
    while True:
        maps = generator.uniform(-1.0, 1.0, size=(generator.integers(2, 8), 6))
        points = _orbits(maps[None], generator)
        stable = np.isfinite(points).all() and np.abs(points).max() < 1e3
        if stable and _cells(points)[0].mean() >= SMALLEST_FILLING:
            return maps


def draw_instances(maps: np.ndarray, instances: int, generator: np.random.Generator) -> np.ndarray:
    """Variations of one system, uint8, instances x 64 x 64 x 3."""
    varied = np.repeat(maps[None], instances, axis=0)
    parameter = generator.integers(0, 6, size=instances)
    varied[np.arange(instances), :, parameter] *= generator.choice(WEIGHTS, size=(instances, 1))
    points = _orbits(varied, generator)
    unstable = ~(np.isfinite(points).all((1, 2)) & (np.abs(points).max((1, 2)) < 1e3))
    if unstable.any():
        points[unstable] = _orbits(np.repeat(maps[None], int(unstable.sum()), axis=0), generator)
    return np.stack([_paint(cells, generator) for cells in _cells(points)])


def _orbits(maps: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The chaos game of several systems at once: systems x points x 2.

    Maps are chosen with probability proportional to |determinant|, so that the attractor is covered
    evenly.
    """
    systems, count = maps.shape[:2]
    weight = np.abs(maps[..., 0] * maps[..., 3] - maps[..., 1] * maps[..., 2]) + 1e-3
    bounds = np.cumsum(weight / weight.sum(1, keepdims=True), axis=1)
    row = np.arange(systems)
    point = np.zeros((systems, 2))
    points = np.empty((systems, POINTS, 2))
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(-WARM_UP, POINTS):
            pick = (generator.random((systems, 1)) > bounds).sum(1).clip(max=count - 1)
            a, b, c, d, e, f = maps[row, pick].T
            x, y = point.T
            point = np.stack([a * x + b * y + e, c * x + d * y + f], axis=1)
            if step >= 0:
                points[:, step] = point
    return points


def _cells(points: np.ndarray) -> np.ndarray:
    """Visited cells of each orbit scaled to the picture: truth, systems x 64 x 64."""
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    place = (points - low) / np.maximum(high - low, 1e-9) * (SIDE - 1)
    column, row = np.rint(place).astype(int).transpose(2, 0, 1)
    cells = np.zeros((len(points), SIDE, SIDE), dtype=bool)
    cells[np.arange(len(points))[:, None], row, column] = True
    return cells


def _paint(cells: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Stamp a random 3 x 3 patch on each cell, in a random colour, turned and flipped."""
    turned = np.rot90(cells, int(generator.integers(4)))
    turned = turned[:, ::-1] if generator.random() < 0.5 else turned
    patch = generator.random((3, 3)) < 0.5
    patch[1, 1] = True
    padded = np.pad(turned, 1)
    shapes = [
        padded[1 + dy : 1 + dy + SIDE, 1 + dx : 1 + dx + SIDE]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if patch[dy + 1, dx + 1]
    ]
    density = np.mean(shapes, axis=0)
    colour = generator.uniform(80, 255, size=3)
    background = generator.uniform(0, 60, size=3)
    shade = density[..., None]
    return np.rint(background + (colour - background) * np.sqrt(shade)).astype(np.uint8)
