"""The audit of a data set as a web page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medtransfer.config.dataset import DatasetSettings
from medtransfer.data.groups import LEAKAGE_IN_WORDS
from medtransfer.pages import counts, page, paragraph, table

# Cramér's V from which on the site says much about the label.
STRONG_ASSOCIATION = 0.3


def audit_page(name: str, audit: dict[str, Any], dataset: DatasetSettings) -> str:
    """One self-contained HTML page.

    Args:
        name: of the data set.
        audit: as :func:`medtransfer.data.audit.audit_dataset` returns it.
        dataset: its origin and card.
    """
    sections = [
        *_about(dataset),
        *(paragraph(text, "warning") for text in warnings(audit)),
        "<h2>Images</h2>",
        table("What was stored.", ("fact", "value"), (), _facts(audit)),
        _rejected(audit),
        "<h2>Splits</h2>",
        table(
            "What each part holds.",
            ("split", "part", "labels", "sites", "subgroups"),
            _COUNTED,
            _parts(audit),
        ),
        table(
            "What a split keeps in one part, and what it tears apart.",
            ("split", "what"),
            ("pairs",),
            _pairs(audit),
        ),
        "<h2>Duplicates</h2>",
        table(
            "Images that show the same picture, by all pixels or by the perceptual hash "
            "(duplicates.parquet). Examples are rows of the manifest, from 0.",
            ("kind", "examples of different patients"),
            ("pairs", "of different patients"),
            _duplicates(audit),
        ),
    ]
    return page(f"Data set {name}", sections)


def audit_in_short(audit: dict[str, Any]) -> str:
    """What a study's report says of a data set beside its counts and its warnings, as HTML.

    Args:
        audit: as :func:`medtransfer.data.audit.audit_dataset` returns it.
    """
    parts = ((*part[:4], *part[5:]) for part in _parts(audit))
    return "".join(
        (
            table("What each part holds.", ("split", "part", "labels", "sites"), _COUNTED, parts),
            table("What a split keeps in one part, and what it tears apart.", ("split", "what"),
                  ("pairs",), _pairs(audit)),
            table("Images that show the same picture.", ("kind",),
                  ("pairs", "of different patients"), ((d[0], *d[2:]) for d in _duplicates(audit))),
            _rejected(audit),
        )
    )  # fmt: skip


_COUNTED = ("images", "patients")


def warnings(audit: dict[str, Any]) -> Iterator[str]:
    """What a reader must know before believing a result on these data."""
    yield from _patient_warnings(audit)
    yield from _label_warnings(audit)
    for kind in audit["accepted_leakage"]:
        torn = {n: s["leakage"][kind] for n, s in audit["splits"].items() if s["leakage"][kind]}
        if torn:
            yield f"Accepted leakage, {LEAKAGE_IN_WORDS[kind]}: {counts(torn)}."
    if audit["burned_in"].get("yes"):
        yield (
            f"{audit['burned_in']['yes']:,} headers say that annotations are burned into the pixels: "
            "they may show names, and networks can read them."
        )


def _patient_warnings(audit: dict[str, Any]) -> Iterator[str]:
    unknown = audit["images_of_unknown_patients"]
    if unknown:
        which = "all images" if unknown == audit["images"] else f"{unknown:,} images"
        yield (
            f"The patients of {which} are not known. Each counts as a patient of its own, so images of "
            "one person may be in training and test."
        )
    several = audit["patients_at_several_sites"]
    if several:
        yield (
            f"{several:,} patient ids occur at more than one site. Each counts as one person, whose "
            "images stay in one part; if hospitals number patients alike, join site and number in "
            "the manifest's patient column."
        )


def _label_warnings(audit: dict[str, Any]) -> Iterator[str]:
    contradictions = audit["contradictions"]
    if contradictions["images"]:
        dropped = "contradictions" in audit["dropped"]
        fate = "They are left out." if dropped else "They are used as they are (key 'drop')."
        yield (
            f"{contradictions['images']} equal images have different labels (manifest rows "
            f"{'; '.join(_joined(rows) for rows in contradictions['examples'])}). {fate}"
        )
    for label, value in audit["site_confounding"].items():
        if value >= STRONG_ASSOCIATION:
            yield (
                f"The site tells much about {label.removeprefix('label_')} (Cramér's V {value:.2f}): a "
                "network can score by recognising the hospital."
            )


def _rejected(audit: dict[str, Any]) -> str:
    if not audit["rejected"]:
        return paragraph("No image was rejected.")
    return table(
        "Rows of the manifest that gave no image; rejected.parquet names each file.",
        ("stage and reason",),
        ("images",),
        ((reason, f"{count:,}") for reason, count in audit["rejected_reasons"].items()),
    )


def _about(dataset: DatasetSettings) -> Iterator[str]:
    if dataset.origin:
        yield paragraph(dataset.origin)
    if dataset.card is not None:
        card = dataset.card
        yield paragraph(f"Version {card.version}. {card.size}. Licence: {card.licence}.")
        yield from (paragraph(f"Known: {defect}") for defect in card.defects)


def _facts(audit: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "images", f"{audit['images']:,}"
    yield "patients", f"{audit['patients']:,}"
    yield "labels", counts(audit["classes"])
    yield "sites", counts(audit["sites"]) or "none named"
    yield "range of grey levels from", counts(audit["display"])
    yield "annotations burned in, by the header", counts(audit["burned_in"])
    for label, value in audit["site_confounding"].items():
        yield f"site and {label.removeprefix('label_')}, Cramér's V", f"{value:.2f}"


def _parts(audit: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for split_name, split in audit["splits"].items():
        for part, held in split["parts"].items():
            subgroups = [f"{name}: {counts(values)}" for name, values in held["groups"].items()]
            yield (
                split_name, part, counts(held["classes"]), counts(held["sites"]), "; ".join(subgroups),
                f"{held['images']:,}", f"{held['patients']:,}",
            )  # fmt: skip


def _pairs(audit: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, split in audit["splits"].items():
        for kind, count in split["pairs_within_parts"].items():
            yield name, f"pairs of {kind} duplicates within a part", f"{count:,}"
        for leak, count in split["leakage"].items():
            yield name, LEAKAGE_IN_WORDS[leak], f"{count:,}"


def _duplicates(audit: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    found = audit["duplicates"]
    for kind in ("exact", "near"):
        examples = "; ".join(_joined(rows) for rows in found[f"{kind}_examples"])
        strangers = found[f"{kind}_pairs_of_different_patients"]
        yield kind, examples, f"{found[f'{kind}_pairs']:,}", f"{strangers:,}"


def _joined(rows: list[int]) -> str:
    return " and ".join(map(str, rows))
