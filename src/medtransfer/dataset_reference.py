"""The shipped data sets as a page of documentation, from their files in config/datasets/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse, read_yaml

SHIPPED = Path(__file__).parents[2] / "config" / "datasets"
INTRODUCTION = """\
Each is a file in `config/datasets/`. Name it in a study and run the target `data`: what may be
downloaded is downloaded (resumed when cut, checked, never fetched twice), what needs an account goes
through its owner's client, and what must be placed by hand is an error that says which files, where
from and where to. Nothing is fetched before a job needs it. Files that are already in
`resources/datasets/<name>/` are taken as they are.

*layout* in the last column means that the adapter was tested on a generated copy of the published
layout only: names, columns and headers are the owners', the full data were not here. Look at the audit
(`results/data/<name>/audit.html`) before you believe the first result.
"""


def dataset_reference(generated: str) -> str:
    """Every data set with an adapter, in Markdown: a table, then a section each.

    Args:
        generated: the line that says where the page comes from.
    """
    datasets = {path.stem: _settings(path) for path in sorted(SHIPPED.glob("*.yaml"))}
    shown = {name: dataset for name, dataset in datasets.items() if dataset.card is not None}
    lines = ["# Data sets", "", generated, "", INTRODUCTION, *_overview(shown), ""]
    for name, dataset in shown.items():
        # angle brackets would be taken for HTML
        section = (line.replace("<", "&lt;") for line in _section(name, dataset))
        lines += [f"## {name}", "", *section, ""]
    return "\n".join(lines)


def _settings(path: Path) -> DatasetSettings:
    return parse(DatasetSettings, read_yaml(path), str(path))


def _overview(datasets: dict[str, DatasetSettings]) -> Iterator[str]:
    yield "| name | task | metric | how it comes here | licence or terms | adapter tested on |"
    yield "|---|---|---|---|---|---|"
    for name, dataset in datasets.items():
        card = dataset.card
        assert card is not None
        yield (
            f"| [{name}](#{name}) | {dataset.task} | {dataset.target_metric.replace('_', ' ')} "
            f"| {_way(dataset)} | {card.licence} | {card.checked} |"
        )


def _way(dataset: DatasetSettings) -> str:
    access = dataset.access
    if access is None:
        return "by hand"
    ways = ["download"] * bool(access.files) + [f"`{program}`" for program in access.client[:1]]
    if not ways:
        return "by hand"
    whole = access.client or any(file.unpack for file in access.files)
    return ", ".join(ways if whole or not access.instructions else [*ways, "part by hand"])


def _section(name: str, dataset: DatasetSettings) -> Iterator[str]:
    card = dataset.card
    assert card is not None
    labels = ", ".join(map(str, dataset.class_names))
    yield f"{dataset.origin}. Version {card.version}."
    yield ""
    yield f"* **Size**: {card.size}."
    yield f"* **Task**: {dataset.task}, {dataset.target_metric.replace('_', ' ')}; {labels}."
    yield f"* **Kept whole**: {card.grouping}."
    if card.paper_split:
        yield f"* **Split of the papers**: {card.paper_split}."
    yield from (f"* **Known**: {defect}." for defect in card.defects)
    if dataset.access is not None and dataset.access.instructions:
        yield f"* **By hand**: into `resources/datasets/{name}/`. {dataset.access.instructions}"
