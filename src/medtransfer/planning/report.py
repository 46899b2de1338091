"""A plan as text and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medtransfer.planning.bill import Bill, Disk
from medtransfer.planning.dry_run import DryRunCost
from medtransfer.planning.plan import Block, Plan, StudyPlan
from medtransfer.planning.processors import Processor
from medtransfer.planning.rates import Basis
from medtransfer.planning.sentences import joined, several

MEANINGS: dict[Basis, str] = {
    "measured": "by finished runs of the same network and image side on this processor",
    "scaled": "by finished runs of other networks or sides on this processor, scaled by the model",
    "modelled": "nothing measured on this processor; by the model alone",
    "unknown": "the number of images isn't known before the data are there; not in the sums",
}
PURPOSES = {"study": "run{s}", "pre-training": "pre-training{s}", "search": "candidate{s} of a search"}
DISK_HEADER = (
    "disk in GB", "runs done", "left", "pixel stores done", "left", "source weights done", "left",
)  # fmt: skip
NOTES = (
    "Not counted: downloads, raw images, decoding, analyses, evaluation and figures.",
    "Finished is what has its files; `snakemake -n` says which of it a change would repeat, counts the",
    "jobs that aren't counted here, and says what a single target costs.",
)


def plan_as_data(plan: Plan) -> dict[str, Any]:
    """The plan as mappings, lists and scalars."""
    processor = asdict(plan.processor) | {"unit": plan.processor.unit}
    return asdict(plan) | {"processor": processor}


def plan_as_text(plan: Plan) -> str:
    """The plan as tables of fixed width."""
    unit = plan.processor.unit
    sections = [
        f"Planned on {_place(plan.processor)}",
        _table(_study_header(unit), [_study_row(study) for study in (*plan.studies, plan.total)]),
        _table(DISK_HEADER, [_disk_row(study) for study in (*plan.studies, plan.total)]),
        *(_study_section(study, unit) for study in plan.studies),
        _bases(plan),
        "\n".join([*_past(plan), *NOTES]),
    ]
    return "\n\n".join(sections) + "\n"


def _place(processor: Processor) -> str:
    if not processor.gpu:
        return f"{processor.name}; {processor.threads} of them a job"
    return f"{processor.name}; jobs at once on each: {round(1 / processor.share)}"


def dry_run_as_text(cost: DryRunCost) -> str:
    """What the jobs of a dry run cost, in two sentences, each a line."""
    purposes = [several(count, PURPOSES[name]) for name, count in cost.purposes.items()]
    unit = cost.processor.unit
    again = f", {cost.again:,} of them once more" if cost.again else ""
    decoded = f"decode {_images(cost)} and " if cost.stored else ""
    return (
        f"This would train {joined(purposes)}{again}: {_hours_to_come(cost.bill, unit)}"
        f" ({_basis(cost.bill)}; {_place(cost.processor)}).\n"
        f"It would {decoded}write about {_size(cost.disk)}.\n"
    )


def _hours_to_come(bill: Bill, unit: str) -> str:
    """Hours in words: a bound where runs may end earlier, and what isn't in the sum."""
    unknown = bill.bases.get("unknown", 0)
    missing = several(unknown, "run{s}") + " on data sets of unknown size"
    if unknown and unknown == bill.left:
        return f"unknown {unit} for {missing}"
    hours = f"{'at most ' * bill.at_most}about {_number(bill.left_hours)} {unit}"
    return f"{hours}, without {missing}" if unknown else hours


def _images(cost: DryRunCost) -> str:
    known = [count for count in cost.stored.values() if count is not None]
    parts = [f"about {several(sum(known), 'image{s}')}"] if known else []
    if len(known) < len(cost.stored):
        parts.append(several(len(cost.stored) - len(known), "data set{s}") + " of unknown size")
    return joined(parts)


def _size(disk: Disk) -> str:
    size = f"{_number(disk.left / 1e9)} GB" if disk.left >= 1e9 else f"{_number(disk.left / 1e6)} MB"
    more = several(disk.unknown, "file{s}") + " of unknown size"
    return f"{size} and {more}" if disk.unknown else size


def _study_header(unit: str) -> tuple[str, ...]:
    return "study", "runs", "done", "left", f"{unit} done", f"{unit} left"


def _study_row(study: StudyPlan) -> tuple[str, ...]:
    return study.name, *_bill_row(study.bill)


def _disk_row(study: StudyPlan) -> tuple[str, ...]:
    disks = (study.bill.disk, study.stores, study.sources)
    return study.name, *(text for disk in disks for text in _gigabytes(disk))


def _bill_row(bill: Bill) -> tuple[str, ...]:
    return (
        f"{bill.runs:,}",
        f"{bill.done:,}",
        f"{bill.left:,}",
        _number(bill.done_hours),
        _left_hours(bill),
    )


def _left_hours(bill: Bill) -> str:
    """Hours to come, marked where runs may end earlier or are missing from the sum."""
    unknown = bill.bases.get("unknown", 0)
    if unknown and unknown == bill.left:
        return "unknown"
    return "<= " * bill.at_most + _number(bill.left_hours) + " + unknown" * bool(unknown)


def _gigabytes(disk: Disk) -> tuple[str, str]:
    return _number(disk.done / 1e9), _number(disk.left / 1e9) + " + unknown" * bool(disk.unknown)


def _study_section(study: StudyPlan, unit: str) -> str:
    header = (
        "for", "recipe", "data set", "images", "network", "runs", "done", "left",
        f"{unit} done", f"{unit} left", "basis",
    )  # fmt: skip
    return f"{study.name}\n{_table(header, [_block_row(block) for block in study.blocks])}"


def _block_row(block: Block) -> tuple[str, ...]:
    images = "unknown" if block.images is None else f"{block.images:,}"
    about = "" if block.counted or block.images is None else "about "
    place = (block.purpose, block.recipe, block.dataset, about + images, block.model)
    return (*place, *_bill_row(block.bill), _basis(block.bill))


def _basis(bill: Bill) -> str:
    """What the runs to come rest on; how many on each where that differs."""
    if len(bill.bases) == 1:
        return next(iter(bill.bases))
    return ", ".join(f"{basis} {count:,}" for basis, count in sorted(bill.bases.items())) or "-"


def _bases(plan: Plan) -> str:
    bill = plan.total.bill
    if not bill.left:
        return "Nothing remains to be trained."
    lines = [
        f"{basis:<9} {bill.bases[basis]:>7,} runs to come: {MEANINGS[basis]}"
        for basis in MEANINGS
        if basis in bill.bases
    ]
    if {"modelled", "scaled"} & set(bill.bases):
        lines.append(f"The model assumes {plan.processor.assumptions}; it may be wrong by a factor.")
    if bill.at_most:
        lines.append("<=: early stopping may end runs sooner.")
    return "\n".join(lines)


def _past(plan: Plan) -> list[str]:
    return [f"{count:,} finished runs ran on: {name}" for name, count in plan.done_on.items()]


def _number(value: float) -> str:
    """Two digits that count, and never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, texts to the left and numbers to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    right = [all(_is_numeric(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (header, *rows)
    )


def _is_numeric(text: str) -> bool:
    return text.startswith(("<=", "about", "unknown")) or text[:1].isdigit()
