"""Fundus-like phantoms written as colour PNG files. Synthetic: they resemble, they don't represent.

The grade (0-4) sets the expected number and kind of lesions; their counts overlap between grades, as
do their contrasts, so no picture's grade is certain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from medtransfer.data.embedded.fields import blob, cloud, ellipse, plane

SIDE = 96
GRADE_SHARES = (0.35, 0.2, 0.2, 0.15, 0.1)
# expected counts by grade of: red dots, haemorrhages, hard exudates, cotton-wool spots, new vessels
EXPECTED_LESIONS = (
    (0.5, 0.1, 0.3, 0.1, 0.0),
    (3.0, 0.4, 0.5, 0.1, 0.0),
    (6.0, 2.0, 2.5, 0.4, 0.0),
    (9.0, 5.0, 4.0, 1.8, 0.2),
    (9.0, 6.0, 4.0, 2.2, 2.5),
)
RED_LOSS = np.array([0.25, 0.9, 0.7])
YELLOW_GAIN = np.array([0.5, 0.9, 0.15])
WHITE_GAIN = np.array([0.6, 0.8, 0.7])


def write_phantom_fundus(folder: Path, patients: int, seed: int) -> pd.DataFrame:
    """Draw one or two eyes of each patient as PNG files of 96 x 96 pixels.

    Returns:
        The manifest: ``file``, ``patient``, ``grade``.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(patients):
        generator = np.random.default_rng([seed, number])
        grade = int(generator.choice(len(GRADE_SHARES), p=GRADE_SHARES))
        for eye in range(int(generator.integers(1, 3))):
            picture = draw_fundus(grade, generator)
            name = f"images/{number:05d}_{eye}.png"
            Image.fromarray(picture).save(folder / name, compress_level=1)
            rows.append((name, f"PF{number:05d}", grade))
    return pd.DataFrame(rows, columns=["file", "patient", "grade"])


def draw_fundus(grade: int, generator: np.random.Generator) -> np.ndarray:
    """One picture, uint8, 96 x 96 x 3."""
    x, y = plane(SIDE)
    side = 1.0 if generator.random() < 0.5 else -1.0
    disc = (0.5 * side + generator.normal(0, 0.04), generator.normal(0, 0.05))
    tone = np.array([0.72, 0.36, 0.16]) * generator.normal(1.0, 0.05, size=3)
    shade = 1.0 - 0.25 * (x**2 + y**2) + 0.06 * cloud(generator, SIDE, 5)
    image = shade[..., None] * tone
    image *= 1.0 - 0.35 * blob(x, y, (-0.1 * side, 0.0), 0.16)[..., None]
    image += ellipse(x, y, disc, (0.13, 0.15), 0.0, 0.12)[..., None] * WHITE_GAIN * 0.5
    image *= 1.0 - 0.45 * _vessels(disc, side, generator)[..., None] * RED_LOSS
    image = _add_lesions(image, x, y, grade, disc, generator)
    image = np.clip(image + generator.normal(0, 0.02, size=image.shape), 0, 1)
    image *= ellipse(x, y, (0.0, 0.0), (0.95, 0.95), 0.0, 0.02)[..., None]
    return np.rint(image * 255).astype(np.uint8)


def _vessels(disc: tuple[float, float], side: float, generator: np.random.Generator) -> np.ndarray:
    """Four arcades with branches, walked from the optic disc; opacity in [0, 1]."""
    canvas = np.zeros((SIDE, SIDE))
    for turn in (-1.0, 1.0):
        for spread in (0.5, 1.1):
            heading = np.pi * (side > 0) + turn * spread * side
            start = np.array(disc)
            _walk(canvas, start, (heading, -turn * side * 0.045), 60, 1.0, generator)
    return np.clip(gaussian_filter(canvas, 0.7) * 1.6, 0, 1)


def _walk(
    canvas: np.ndarray,
    point: np.ndarray,
    direction: tuple[float, float],
    steps: int,
    strength: float,
    generator: np.random.Generator,
) -> None:
    """Draw one vessel onto ``canvas`` in place, with thinner branches leaving it.

    ``direction`` is the heading in radians and how much it bends with each step.
    """
    heading, bend = direction
    for step in range(steps):
        heading += bend * 0.6 + generator.normal(0, 0.08)
        point = point + 0.025 * np.array([np.cos(heading), np.sin(heading)])
        if np.abs(point).max() > 0.98:
            return
        column, row = np.rint((point + 1) / 2 * (SIDE - 1)).astype(int)
        canvas[row, column] = max(canvas[row, column], strength)
        if strength > 0.5 and step > 5 and generator.random() < 0.06:
            turn = generator.choice([-0.7, 0.7])
            _walk(canvas, point, (heading + turn, bend), steps // 2, strength * 0.6, generator)


def _add_lesions(
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    grade: int,
    disc: tuple[float, float],
    generator: np.random.Generator,
) -> np.ndarray:
    counts = generator.poisson(EXPECTED_LESIONS[grade])
    dots, bleeds, exudates, cotton, vessels = (int(count) for count in counts)
    for _ in range(dots):
        spot = blob(x, y, _place(generator), generator.uniform(0.02, 0.035))
        image = image * (1 - generator.uniform(0.3, 0.8) * spot[..., None] * RED_LOSS)
    for _ in range(bleeds):
        spot = blob(x, y, _place(generator), generator.uniform(0.07, 0.15))
        image = image * (1 - generator.uniform(0.5, 0.9) * spot[..., None] * RED_LOSS)
    for _ in range(exudates):
        center = _place(generator)
        for _ in range(3):
            shift = generator.normal(0, 0.06, size=2)
            spot = blob(x, y, (center[0] + shift[0], center[1] + shift[1]), 0.045)
            image = image + generator.uniform(0.2, 0.6) * spot[..., None] * YELLOW_GAIN
    for _ in range(cotton):
        spot = blob(x, y, _place(generator), generator.uniform(0.07, 0.12))
        image = image + generator.uniform(0.15, 0.35) * spot[..., None] * WHITE_GAIN
    for _ in range(vessels):
        tuft = np.zeros((SIDE, SIDE))
        for _ in range(6):
            start = np.array(disc) + generator.normal(0, 0.06, size=2)
            _walk(tuft, start, (generator.uniform(0, 2 * np.pi), 0.15), 9, 0.5, generator)
        image = image * (1 - 0.7 * gaussian_filter(tuft, 0.5)[..., None] * RED_LOSS)
    return image


def _place(generator: np.random.Generator) -> tuple[float, float]:
    """A point on the retina, uniform over the disc of radius 0.85."""
    radius, angle = 0.85 * np.sqrt(generator.random()), generator.uniform(0, 2 * np.pi)
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))
