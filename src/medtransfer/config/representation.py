"""The settings of what is asked of hidden representations."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError


@dataclass(frozen=True)
class RepresentationSettings:
    """Of which of a study's runs the hidden representations are analysed, and on how many images."""

    recipes: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    datasets: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    models: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    inits: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    subsets: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    splits: tuple[str, ...] = option("of the runs that are analysed; empty: all", default=())
    seeds: tuple[int, ...] = option("of the runs that are analysed; empty: all", default=(), minimum=0)
    probe_images: int = option(
        "test images on which networks are compared, the same for all networks of a data set",
        default=1000,
        minimum=4,
    )
    gram_block: int = option(
        "of which so many at a time are compared with each other: CKA sums over blocks, and memory and "
        "disk grow with their size; probe_images: all with all",
        default=250,
        minimum=4,
    )
    bank_images: int = option(
        "training images at most whose features are kept, for kNN and domain distances",
        default=5000,
        minimum=1,
    )
    neighbours: int = option("of kNN; fewer where there are fewer images", default=200, minimum=1)
    extractor: str | None = option(
        "<source>/<network> in whose features domain distances are measured; default: the first that "
        "the study's runs start from",
        default=None,
    )
    keep: bool = option("keep the stored activations once the analyses are done", default=False)

    def __post_init__(self) -> None:
        if self.extractor is not None and self.extractor.count("/") != 1:
            raise ConfigError(
                f"key 'extractor' is '{self.extractor}'; allowed: <source>/<network>, such as "
                "imagenet1k/resnet50"
            )

    @property
    def probe(self) -> str:
        """What decides which images and products are stored, as part of their path."""
        return f"n{self.probe_images}-b{self.gram_block}-t{self.bank_images}"


def parse_probe(name: str) -> tuple[int, int, int]:
    """``(probe_images, gram_block, bank_images)`` of the part of a path that says so.

    Raises:
        ConfigError: it says something else.
    """
    match = re.fullmatch(r"n(\d+)-b(\d+)-t(\d+)", name)
    if match is None:
        raise ConfigError(f"probe '{name}'; allowed: n<images>-b<images a block>-t<training images>")
    images, block, bank = map(int, match.groups())
    return images, block, bank
