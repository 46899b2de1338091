"""The settings of what is concluded from a study's results, to be fixed before they are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from medtransfer.config.names import NAME, NAME_RULE
from medtransfer.config.typed import option
from medtransfer.errors import ConfigError

Separator = Literal["recipe", "dataset", "model", "subset"]
SEPARATORS: tuple[Separator, ...] = get_args(Separator)

# differences that nobody would act on: one point of AUROC, .02 of kappa
DEFAULT_MARGINS = {
    "auroc": 0.01,
    "auprc": 0.01,
    "accuracy": 0.01,
    "balanced_accuracy": 0.01,
    "quadratic_kappa": 0.02,
}


@dataclass(frozen=True)
class FamilySettings:
    """Comparisons whose p values are corrected together."""

    name: str = option("what the tables call it")
    comparisons: tuple[tuple[str, ...], ...] = option(
        "pairs [init, reference], the difference init minus reference; all of them: [[all, random]]"
    )
    separate: tuple[Separator, ...] = option(
        "each value of these is corrected by itself; none: one family over the whole study",
        default=("dataset",),
    )

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"key 'name' is '{self.name}'; allowed: {NAME_RULE}")
        for pair in self.comparisons:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ConfigError(
                    f"key 'comparisons' has {list(pair)}; allowed: pairs of inits, [init, reference]"
                )
        if not self.comparisons:
            raise ConfigError("key 'comparisons' is an empty list; give at least one pair")

    def holds(self, init: str, reference: str) -> bool:
        """Whether a comparison is one of this family."""
        return any(pair in ((init, reference), ("all", reference)) for pair in self.comparisons)


@dataclass(frozen=True)
class StatisticsSettings:
    """Families, margins and power of a study's conclusions."""

    margins: dict[str, float] = option(
        "metric: differences within plus and minus this are equivalent; default: .01, .02 for "
        "quadratic_kappa",
        default={},
    )
    families: tuple[FamilySettings, ...] = option(
        "comparisons that are corrected together; default: in each data set all whole starts, and all "
        "partial transfers",
        default=(),
    )
    correction: Literal["holm", "benjamini_hochberg"] = option(
        "of p within a family: holm bounds the chance of any false decision, benjamini_hochberg the "
        "share of false ones among the decisions",
        default="holm",
    )
    power: float = option(
        "chance of finding an effect, for what could have been found and how many runs are needed",
        default=0.8,
        minimum=0.5,
        maximum=0.999,
    )
    resamples: int = option(
        "bootstrap samples of patients behind an interval", default=2000, minimum=100
    )
    convergence_share: float = option(
        "a run has converged when it reaches this share of the best value of the reference init",
        default=0.95,
        minimum=0.01,
        maximum=1.0,
    )
    convergence_value: float | None = option(
        "and, as a second threshold, when it reaches this value of the target metric", default=None
    )

    def __post_init__(self) -> None:
        for metric, margin in self.margins.items():
            if not margin > 0:
                raise ConfigError(f"key 'margins.{metric}' is {margin}; allowed: above 0")
        names = [family.name for family in self.families]
        if len(set(names)) < len(names):
            raise ConfigError(f"key 'families' repeats a name: {names}")

    def margin(self, metric: str) -> float:
        """The margin of equivalence of a metric.

        Raises:
            ConfigError: neither the settings nor the defaults have one.
        """
        margins = {**DEFAULT_MARGINS, **self.margins}
        if metric not in margins:
            raise ConfigError(
                f"key 'statistics.margins' has no margin of '{metric}'; allowed: a number above 0, the "
                "difference that nobody would act on"
            )
        return margins[metric]
