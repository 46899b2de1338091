"""The settings of results that come from a table instead of from runs."""

from __future__ import annotations

from dataclasses import dataclass

from medtransfer.config.typed import option
from medtransfer.errors import ConfigError

# what each result must say, and what it may say
REQUIRED = ("dataset", "model", "init", "metric", "value")
OPTIONAL = ("recipe", "subset", "part", "seed", "fold", "training_images", "images", "patients")
KEYS = (*REQUIRED, *OPTIONAL)


@dataclass(frozen=True)
class ResultsSettings:
    """A table of other people's results, or of one's own from elsewhere: one row a run and metric."""

    table: str = option("CSV file")
    columns: dict[str, str | tuple[str, ...]] = option(
        f"the table's column for each of {', '.join(KEYS)}, where it has another name; a list "
        "of columns is joined with '_'",
        default={},
    )
    constants: dict[str, str] = option(
        "what no column says, the same for all rows, e.g. model: resnet50", default={}
    )
    inits: dict[str, str] = option("the table's word for a start: the name to show", default={})
    target: str = option("the metric that is compared", default="auroc")
    scale: float = option("values are multiplied by this: 0.01 for percent", default=1.0)
    test_train_ratio: float | None = option(
        "of folds: test images over training images, where the table has no columns images and "
        "training_images",
        default=None,
        minimum=0.001,
    )

    def __post_init__(self) -> None:
        for key, names in (("columns", self.columns), ("constants", self.constants)):
            unknown = sorted(set(names) - set(KEYS))
            if unknown:
                raise ConfigError(f"key '{key}' has '{unknown[0]}'; allowed: {', '.join(KEYS)}")
        twice = sorted(set(self.columns) & set(self.constants))
        if twice:
            raise ConfigError(f"keys 'columns' and 'constants' both have '{twice[0]}'; keep one")
