"""The report of a study as a web page, and its numbers as a CSV table."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from medtransfer.config.figures import FigureName
from medtransfer.config.runs import grid_runs, study_runs
from medtransfer.config.study import StudySettings
from medtransfer.data.audit_page import audit_in_short, warnings
from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.evaluation.results import RUN_COLUMNS
from medtransfer.evaluation.run_records import CANDIDATE, PRETRAINING, STUDY, VERSION, run_hours
from medtransfer.pages import (
    Part,
    Picture,
    captioned,
    counts,
    folded,
    paragraph,
    preformatted,
    report,
    sentences,
    table,
)
from medtransfer.report_tables import (
    answer_tables,
    cell_tables,
    depth_tables,
    factor_tables,
    search_tables,
    sparing_tables,
    verdict_tables,
)

# where the figures of a study stand; those that are named nowhere come last
FIGURE_GROUPS: dict[str, tuple[FigureName, ...]] = {
    "Results": (
        "verdict", "gains", "main_table", "metrics", "folds", "class_table", "capacity",
        "label_efficiency",
    ),
    "Transfer by depth": ("wtst_gains", "reuse_share"),
    "Training and cost": (
        "validation_curves", "convergence", "depth_convergence", "partial_curves", "cost_benefit",
    ),
    "Other patients and sites": ("external", "calibration", "selective", "subgroups", "corruption"),
    "Hidden layers": (
        "cka", "zoo_map", "cca", "top_layers", "start_end", "weight_distance", "knn",
        "reinitialisation", "filters", "agreement",
    ),
    "Prediction of gains": (
        "factors", "domain_distance", "transferability", "cca_gain", "predicted_gains",
    ),
}  # fmt: skip
FIGURE_TITLES = {
    "cka": "Similarity of layers (CKA)",
    "cca": "Canonical correlation of layers (CCA)",
    "knn": "Nearest neighbours by layer (kNN)",
    "top_layers": "Top layers of two trained networks (CCA)",
    "start_end": "Similarity before and after training",
    "cca_gain": "Canonical correlation against gain",
    "factors": "What gains depend on",
    "zoo_map": "Map of all networks and layers",
    "wtst_gains": "Gain by transferred depth (WT-ST)",
    "cost_benefit": "Cost against benefit",
}
ROLES = {
    STUDY: "runs of the study",
    PRETRAINING: "pre-training",
    CANDIDATE: "search of a learning rate",
}
UNKNOWN = "not known"


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study that its report shows.

    Attributes:
        summary, verdicts, sparing, factors: of schema SUMMARY, VERDICTS, SPARING and GAIN_FACTORS.
        searches: of schema SEARCHES; without a row when no learning rate was searched for.
        metrics: of schema METRICS.
        records: of schema RUN_RECORDS; without a row when no run was made.
    """

    summary: pd.DataFrame
    verdicts: pd.DataFrame
    sparing: pd.DataFrame
    factors: pd.DataFrame
    searches: pd.DataFrame
    metrics: pd.DataFrame
    records: pd.DataFrame


@dataclass(frozen=True)
class StudyFigure:
    """A figure of a report.

    Attributes:
        name: as in the settings.
        picture: the image.
        caption: reStructuredText whose only mark-up is *emphasis* and ``code``.
    """

    name: str
    picture: Picture
    caption: str


@dataclass(frozen=True)
class Settings:
    """What a report says of how its study was set up.

    Attributes:
        name: of the study, in paths.
        study: title, question, confidence and all else.
        origins: where each data set comes from.
        configuration: the settings as plain values.
    """

    name: str
    study: StudySettings
    origins: Mapping[str, str]
    configuration: Mapping[str, Any]


def study_report(
    settings: Settings,
    findings: str,
    tables: StudyTables,
    audits: Mapping[str, dict[str, Any]],
    figures: Sequence[StudyFigure],
) -> str:
    """One self-contained HTML page: question, answer, data, figures, tables, runs, settings.

    No folder outside the project is named in it.

    Args:
        settings: how the study was set up.
        findings: the paragraph of findings.
        tables: the study's numbers.
        audits: each data set's audit.
        figures: in any order.
    """
    study = settings.study
    # the page has the title above
    found = findings.removeprefix(study.title).lstrip(" .:")
    answer = sentences(found, "findings") + "".join(answer_tables(tables.verdicts, study))
    parts = [
        Part("Question", paragraph(study.question) if study.question else ""),
        Part("Answer", answer),
        Part("Data", _data(audits, settings)),
        Part("Figures", "", _figure_parts(settings.name, figures)),
        Part("Tables", "", _number_parts(tables, study)),
        Part("Runs", _runs(tables, study)),
        Part("Versions, hardware and cost", _environment(tables.records)),
        Part("Settings", _configuration(settings.configuration)),
    ]
    return report(study.title, parts)


def summary_csv(summary: pd.DataFrame) -> pd.DataFrame:
    """The target metrics of all cells, unrounded."""
    return summary[summary["target"]].drop(columns="target")


def _number_parts(tables: StudyTables, study: StudySettings) -> tuple[Part, ...]:
    """The tables behind the answer."""
    percent = f"{study.confidence:.0%}"
    contents = {
        "Metric of each cell": cell_tables(tables.summary, percent),
        "Verdicts": verdict_tables(tables.verdicts, study),
        "Transferred depth": depth_tables(tables.verdicts, percent),
        "As good as the best?": sparing_tables(tables.sparing),
        "What do gains depend on?": factor_tables(tables.factors, percent),
        "Learning rates chosen on validation": search_tables(tables.searches),
    }
    return tuple(Part(heading, "".join(content)) for heading, content in contents.items())


def _data(audits: Mapping[str, dict[str, Any]], settings: Settings) -> str:
    """What was stored of each data set, what a reader must know of it, and what its parts hold."""
    if not audits:
        return ""
    audits = {name: _without_paths_of_files(audit) for name, audit in audits.items()}
    overview = table(
        "What was stored and what was rejected. All of it: results/data/<data set>/audit.html.",
        ("data set", "origin", "labels", "sites", "why rejected"),
        ("images", "patients", "rejected"),
        _data_rows(audits, settings.origins),
    )
    known = (
        paragraph(f"{name}: {text}", "warning")
        for name, audit in audits.items()
        for text in warnings(audit)
    )
    each = (
        folded(f"{name}: parts, leakage, duplicates", audit_in_short(audit))
        for name, audit in audits.items()
    )
    return overview + "".join(known) + "".join(each)


def _without_paths_of_files(audit: dict[str, Any]) -> dict[str, Any]:
    """An audit whose reasons of rejection name no folder; those that are then alike are one."""
    reasons: Counter[str] = Counter()
    for reason, count in audit["rejected_reasons"].items():
        reasons[_without_folders(reason)] += count
    return {**audit, "rejected_reasons": dict(reasons)}


def _data_rows(
    audits: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]
) -> Iterable[tuple[str, ...]]:
    for name, audit in audits.items():
        yield (
            name, _without_folders(origins.get(name, "")), counts(audit["classes"]),
            counts(audit["sites"]), counts(audit["rejected_reasons"]),
            f"{audit['images']:,}", f"{audit['patients']:,}", f"{audit['rejected']:,}",
        )  # fmt: skip


def _figure_parts(study: str, figures: Sequence[StudyFigure]) -> tuple[Part, ...]:
    """The figures in the order of their groups."""
    given = {figure.name: figure for figure in figures}
    named = {name for names in FIGURE_GROUPS.values() for name in names}
    others = tuple(name for name in given if name not in named)
    return tuple(
        Part(heading, "".join(_figure(study, given[name]) for name in names if name in given))
        for heading, names in {**FIGURE_GROUPS, "Further figures": others}.items()
    )


def _figure(study: str, figure: StudyFigure) -> str:
    """A figure with its caption and where it is in print and as numbers."""
    title = FIGURE_TITLES.get(figure.name, figure.name.replace("_", " ").capitalize())
    path = f"results/figures/{study}/{figure.name}"
    files = (
        f"<br><span class='files'>For print: <code>{html.escape(path)}.pdf</code>. What is drawn: "
        f"<code>{html.escape(path)}.csv</code></span>"
    )
    caption = marked_up(figure.caption)
    return captioned(figure.name, title, figure.picture, caption + files, f"{title}. {_plain(caption)}")


def marked_up(text: str) -> str:
    """HTML of reStructuredText whose only mark-up is *emphasis* and ``code``."""
    safe = html.escape(" ".join(text.split()))
    coded = re.sub(r"``(.+?)``", r"<code>\1</code>", safe)
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", coded)


def _plain(markup: str) -> str:
    """The words of HTML that has no other entities than those of :func:`html.escape`."""
    return html.unescape(re.sub(r"</?(?:em|code)>", "", markup))


def _runs(tables: StudyTables, study: StudySettings) -> str:
    """Every run that was made, with its result."""
    if tables.records.empty:
        source = "" if study.results is None else f": {_without_folders(study.results.table)}"
        return paragraph(f"No run was made here; the results come from elsewhere{source}.")
    return _left_out(study) + table(
        "Every run below results/runs/: the target metric on the test set, the step that was kept, and "
        "what it took. Seconds are those of training and scoring; days are in UTC.",
        ("run", "role", "metric", "hardware"),
        ("test", "best step", "steps", "seconds", "day"),
        _run_rows(tables),
        fold=True,
    )


def _left_out(study: StudySettings) -> str:
    """How many runs the study does without, and which."""
    count = len(grid_runs(study)) - len(study_runs(study))
    if not count:
        return ""
    runs = "1 run is" if count == 1 else f"{count} runs are"
    return paragraph(
        f"{runs} left out, not finished or not to be had: {', '.join(study.left_out)}.", "warning"
    )


def _run_rows(tables: StudyTables) -> Iterator[tuple[str, ...]]:
    metrics = tables.metrics
    if len(metrics):
        metrics = metrics[metrics["target"] & (metrics["part"] == "test")]
    identity = list(RUN_COLUMNS)
    results = tables.records.merge(metrics, how="left", on=identity, suffixes=("", "_of_metrics"))
    for _, run in results.iterrows():
        metric = "" if pd.isna(run["metric"]) else str(run["metric"])
        yield (
            run["path"], run["role"], METRIC_LABELS.get(metric, metric), run["hardware"],
            _known(run["value"], ".3f"), _known(run["best_step"], ",.0f"),
            _known(run["steps"], ",.0f"), _known(run["seconds"], ",.1f"), run["day"],
        )  # fmt: skip


def _environment(records: pd.DataFrame) -> str:
    """With what the runs were computed, and what that took."""
    if records.empty:
        return ""
    records = records.assign(hours=run_hours(records))
    return (
        table(
            "What was spent. A GPU that several runs shared counts for each of them.",
            ("what",),
            ("runs", "GPU-hours", "core-hours", "MB on disk"),
            _cost_rows(records),
        )
        + table(
            "On what the runs were computed.",
            ("device", "hardware"),
            ("runs", "CPU threads of each"),
            _hardware_rows(records),
        )
        + table(
            "Versions of Python and of what shapes a run.",
            ("package", "version"),
            ("runs",),
            _version_rows(records),
        )
    )


def _cost_rows(records: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for role, runs in records.groupby("role", sort=False):
        hours = [_total(runs[runs["device"].isin([device, ""])]["hours"]) for device in ("GPU", "CPU")]
        yield ROLES[str(role)], f"{len(runs):,}", *hours, _total(runs["bytes"] / 1e6)


def _total(values: pd.Series) -> str:
    """The sum of what is known, and how many values aren't."""
    unknown = int(values.isna().sum())
    remark = f" ({unknown:,} {UNKNOWN})" if unknown else ""
    return f"{values.sum():,.3g}{remark}" if values.sum() < 100 else f"{values.sum():,.0f}{remark}"


def _hardware_rows(records: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for key, runs in records.groupby(["device", "hardware"], sort=False):
        device, hardware = map(str, key)
        threads = sorted(runs["threads"].dropna().unique())
        shown = ", ".join(f"{count:.0f}" for count in threads) or "–"
        yield device or UNKNOWN, hardware or UNKNOWN, f"{len(runs):,}", shown


def _version_rows(records: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for column in (str(name) for name in records if str(name).startswith(VERSION)):
        for version, count in records[column].value_counts().items():
            yield column.removeprefix(VERSION), str(version) or UNKNOWN, f"{count:,}"


def _configuration(configuration: Mapping[str, Any]) -> str:
    """The settings as YAML."""
    hidden = _plain_settings(configuration)
    text = yaml.safe_dump(hidden, sort_keys=False, allow_unicode=True, width=100)
    return folded("All that differs from the defaults, as YAML", preformatted(text))


def _plain_settings(value: Any) -> Any:
    """Settings whose texts name no folder outside the project."""
    if isinstance(value, Mapping):
        return {key: _plain_settings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_settings(item) for item in value]
    return _without_folders(value) if isinstance(value, str) else value


def _without_folders(text: str) -> str:
    """A text whose absolute paths keep their last part only: folders may tell who worked where."""
    return re.sub(r"(?<![\w.:/~\\])(?:~?/|[A-Za-z]:[\\/])(?:[^\s'\",;:()\[\]]+[/\\])", "…/", text)


def _known(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "–"
