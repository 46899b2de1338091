"""Another data set as an out-of-distribution test: how its classes are called here."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from medtransfer.config.typed import allowed_names, option, suggestion


@dataclass(frozen=True)
class ExternalSettings:
    """Another data set whose images test networks that never saw it."""

    labels: dict[str, str | int | None] = option(
        "its class (or, where it is multilabel, its column): ours; several may be one of ours; null, "
        "where ours alone is multilabel: none of ours; images of its other classes are left out; "
        "default: classes of the same name",
        default={},
    )


def class_map(
    external: ExternalSettings, theirs: Collection[str], ours: Collection[str]
) -> dict[str, str | None]:
    """Which of our classes each of theirs is; None for none of ours.

    Args:
        external: what the data set's file says.
        theirs: class names of the other data set; of a multilabel one its columns.
        ours: class names of the data set that is trained on.
    """
    if not external.labels:
        return {name: name for name in theirs if name in ours}
    return {name: None if own is None else str(own) for name, own in external.labels.items()}


def mapping_problems(
    external: ExternalSettings,
    theirs: Collection[str],
    ours: Collection[str],
    tasks: tuple[str, str],
) -> Iterator[str]:
    """What is wrong with a mapping of classes.

    Args:
        external: what the data set's file says.
        theirs, ours: class names of the other data set and of the one that is trained on.
        tasks: of the other data set, and of the one that is trained on.
    """
    mapped = class_map(external, theirs, ours)
    empty_allowed = tasks[1] == "multilabel" != tasks[0]
    wrong = [*_unknown(mapped, theirs, "its class"), *_unknown(mapped.values(), ours, "our class")]
    if None in mapped.values() and not empty_allowed:
        wrong.append(
            f"an empty class from {tasks[0]} to {tasks[1]}; allowed: {allowed_names(list(ours))}"
        )
    yield from wrong
    needed = 1 if tasks[1] == "multilabel" or tasks == ("multilabel", "binary") else 2
    reached = sorted({own for own in mapped.values() if own is not None})
    if not wrong and len(reached) < needed:
        yield (
            f"only {len(reached)} of our classes {list(ours)} is met by its classes {list(theirs)}: "
            f"{allowed_names(reached)}; needed: at least {needed}"
        )


def _unknown(names: Collection[str | None], known: Collection[str], what: str) -> Iterator[str]:
    for name in names:
        if name is not None and name not in known:
            allowed = allowed_names(list(known))
            yield f"{what} '{name}'{suggestion(name, list(known))} (allowed: {allowed})"
