"""Write an embedded data set: its image files and its manifest."""

from __future__ import annotations

from pathlib import Path

from medtransfer.config.dataset import GeneratorSettings
from medtransfer.data.embedded.chest import write_phantom_chest
from medtransfer.data.embedded.fractal import write_fractals
from medtransfer.data.embedded.fundus import write_phantom_fundus
from medtransfer.disk_problems import disk_problems_named
from medtransfer.tables import write_csv


def generate_dataset(settings: GeneratorSettings, folder: Path) -> None:
    """Draw the data set into ``folder``: ``images/`` and ``manifest.csv``."""
    with disk_problems_named(folder):
        if settings.name == "phantom_chest":
            manifest = write_phantom_chest(folder, settings.size, settings.seed)
        elif settings.name == "phantom_fundus":
            manifest = write_phantom_fundus(folder, settings.size, settings.seed)
        else:
            manifest = write_fractals(folder, settings.size, settings.images, settings.seed)
    write_csv(manifest, folder / "manifest.csv")
