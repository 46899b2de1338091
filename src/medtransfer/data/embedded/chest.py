"""Chest-like phantoms written as DICOM files. Synthetic: they resemble, they don't represent.

A patient has age, sex, one of two sites and perhaps a finding: a soft opacity in a lung whose
conspicuity varies from obvious to hardly there. Small bright distractors are in both classes. Site B
has another detector: a curved response, a wider point spread and more noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from medtransfer.data.embedded.dicom_writer import Acquisition, write_dicom
from medtransfer.data.embedded.fields import blob, cloud, ellipse, plane, soft_step

SIDE = 96
SHARE_WITH_FINDING = 0.5
SHARE_OF_SITE_B = 0.25


@dataclass(frozen=True)
class Patient:
    """What all images of one patient share."""

    age: int
    sex: str
    site: str
    finding: bool
    conspicuity: float
    anatomy_seed: int


def write_phantom_chest(folder: Path, patients: int, seed: int) -> pd.DataFrame:
    """Draw one to four images of each patient as DICOM files.

    Returns:
        The manifest: ``file``, ``patient``, ``site``, ``sex``, ``age`` (bands), ``finding``.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(patients):
        generator = np.random.default_rng([seed, number])
        patient = draw_patient(generator)
        for view in range(int(generator.integers(1, 5))):
            brightness = expose(draw_chest(patient, generator), patient.site, generator)
            name = f"images/{number:05d}_{view}.dcm"
            acquisition = Acquisition.draw(patient.site, generator)
            identity = (f"Phantom^{number:05d}", f"PH{number:05d}", patient.sex, patient.age)
            write_dicom(folder / name, brightness, acquisition, identity, generator)
            band = f"{patient.age // 20 * 20}-{patient.age // 20 * 20 + 19}"
            finding = "present" if patient.finding else "absent"
            rows.append((name, f"PH{number:05d}", patient.site, patient.sex, band, finding))
    return pd.DataFrame(rows, columns=["file", "patient", "site", "sex", "age", "finding"])


def draw_patient(generator: np.random.Generator) -> Patient:
    """A patient; the finding is somewhat more frequent at higher age."""
    age = int(generator.integers(20, 90))
    probability = SHARE_WITH_FINDING + 0.15 * (age - 55) / 35
    return Patient(
        age=age,
        sex=str(generator.choice(["F", "M"])),
        site="B" if generator.random() < SHARE_OF_SITE_B else "A",
        finding=bool(generator.random() < probability),
        conspicuity=float(generator.uniform(0.06, 0.4)),
        anatomy_seed=int(generator.integers(2**31)),
    )


def draw_chest(patient: Patient, generator: np.random.Generator) -> np.ndarray:
    """Brightness of one view before the detector, float, 96 x 96, about [0, 1]."""
    anatomy = np.random.default_rng(patient.anatomy_seed)
    x, y = plane(SIDE)
    x = x + generator.normal(0, 0.03)
    y = y + generator.normal(0, 0.03)
    size = 1.0 + (0.06 if patient.sex == "M" else -0.04) + anatomy.normal(0, 0.04)
    lungs = _lungs(x, y, size, anatomy)
    image = 0.62 + 0.05 * cloud(anatomy, SIDE, 4)
    image -= 0.42 * lungs
    image += _bones(x, y, anatomy)
    heart = 0.26 + 0.0012 * (patient.age - 20) + anatomy.normal(0, 0.02)
    image += 0.30 * lungs * ellipse(x, y, (0.13, 0.36), (heart, heart * 0.95), 0.5, 0.08)
    if patient.sex == "F":
        for side in (-1, 1):
            image += 0.05 * ellipse(x, y, (0.45 * side, 0.45), (0.33, 0.28), 0.0, 0.15)
    texture = gaussian_filter(generator.standard_normal((SIDE, SIDE)), 1.6)
    image += (0.10 + 0.001 * patient.age) * lungs * texture
    image += _distractors(x, y, lungs, generator)
    if patient.finding:
        image += patient.conspicuity * _opacity(x, y, lungs, generator)
    return image


def _lungs(x: np.ndarray, y: np.ndarray, size: float, anatomy: np.random.Generator) -> np.ndarray:
    lungs = np.zeros_like(x)
    for side in (-1, 1):
        center = (0.44 * side * size, -0.05 + anatomy.normal(0, 0.03))
        radii = (0.31 * size, 0.66 * size + anatomy.normal(0, 0.03))
        lungs = np.maximum(lungs, ellipse(x, y, center, radii, -0.12 * side, 0.06))
    diaphragm = y - 0.52 - 0.12 * (np.abs(x) - 0.45) ** 2 - anatomy.normal(0, 0.03)
    return np.asarray(lungs * soft_step(diaphragm, 0.04))


def _bones(x: np.ndarray, y: np.ndarray, anatomy: np.random.Generator) -> np.ndarray:
    bones = 0.12 * np.exp(-((x / 0.09) ** 2))
    tilt = anatomy.normal(0.28, 0.04)
    for rib in range(8):
        line = y - (-0.85 + 0.2 * rib + anatomy.normal(0, 0.01)) - tilt * np.abs(x) ** 1.5
        bones = bones + 0.07 * np.exp(-((line / 0.028) ** 2)) * (np.abs(x) < 0.85)
    return bones


def _lung_point(
    x: np.ndarray, y: np.ndarray, lungs: np.ndarray, generator: np.random.Generator
) -> tuple[float, float]:
    inside = np.flatnonzero(lungs.ravel() > 0.85)
    pick = int(generator.choice(inside))
    return float(x.ravel()[pick]), float(y.ravel()[pick])


def _distractors(
    x: np.ndarray, y: np.ndarray, lungs: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Vessels seen end-on and calcifications: smaller and sharper than a finding, in both classes."""
    total = np.zeros_like(x)
    for _ in range(int(generator.poisson(3))):
        center = _lung_point(x, y, lungs, generator)
        total += generator.uniform(0.05, 0.3) * blob(x, y, center, generator.uniform(0.015, 0.03))
    return total


def _opacity(
    x: np.ndarray, y: np.ndarray, lungs: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The finding: one soft, irregular opacity of height about 1."""
    center = _lung_point(x, y, lungs, generator)
    radius = generator.uniform(0.14, 0.26)
    shape = np.zeros_like(x)
    for _ in range(4):
        shift = generator.normal(0, radius * 0.5, size=2)
        place = (center[0] + shift[0], center[1] + shift[1])
        shape += blob(x, y, place, radius * generator.uniform(0.6, 1.0))
    return np.asarray(shape / shape.max() * (0.25 + 0.75 * lungs))


def expose(image: np.ndarray, site: str, generator: np.random.Generator) -> np.ndarray:
    """What the detector of a site makes of an image: float in [0, 1]."""
    exposure = image * generator.normal(1.0, 0.06) + generator.normal(0.0, 0.03)
    if site == "B":
        exposure = gaussian_filter(np.clip(exposure, 0, 1.2), 0.9) ** 1.5
        noise = 0.055
    else:
        noise = 0.035
    return np.clip(exposure + noise * generator.standard_normal(image.shape), 0.0, 1.0)
