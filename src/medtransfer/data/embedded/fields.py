"""Soft shapes on the picture plane, from which the phantoms are drawn."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom


def plane(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x (to the right) and y (downwards) in [-1, 1], each side x side."""
    axis = np.linspace(-1.0, 1.0, side)
    x, y = np.meshgrid(axis, axis)
    return x, y


def soft_step(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 where ``distance`` is well below 0, 0 where well above, over a zone of width ``edge``."""
    return 1.0 / (1.0 + np.exp(np.clip(distance / edge, -50.0, 50.0)))


def ellipse(
    x: np.ndarray,
    y: np.ndarray,
    center: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
    edge: float = 0.05,
) -> np.ndarray:
    """A filled ellipse with soft edges, in [0, 1]; ``angle`` in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    dx, dy = x - center[0], y - center[1]
    u = (cosine * dx + sine * dy) / radii[0]
    v = (-sine * dx + cosine * dy) / radii[1]
    return soft_step(np.hypot(u, v) - 1.0, edge)


def blob(x: np.ndarray, y: np.ndarray, center: tuple[float, float], radius: float) -> np.ndarray:
    """A Gaussian bump of height 1."""
    return np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2.0 * radius**2))


def cloud(generator: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise of unit standard deviation with about ``cells`` bumps along a side."""
    coarse = generator.standard_normal((cells, cells))
    smooth = zoom(coarse, side / cells, order=1, mode="nearest", grid_mode=True)[:side, :side]
    smooth = gaussian_filter(smooth, side / cells / 3)
    return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-9))
