"""The report of a study: one web page that needs nothing beside it."""

import argparse
import json
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import DataError, shown_plainly
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.files import read_json, write_text
from medtransfer.pictures import picture
from medtransfer.reporting import Settings, StudyFigure, StudyTables, study_report
from medtransfer.tables import read_table, read_tables

CAPTIONS = Path(__file__).resolve().parents[1] / "report"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--findings", type=Path, required=True, help="paragraph of findings")
    add("--summary", type=Path, required=True, help="table of means")
    add("--verdicts", type=Path, required=True, help="table of verdicts")
    add("--sparing", type=Path, required=True, help="table of what does as well as the best")
    add("--factors", type=Path, required=True, help="table of what gains depend on")
    add("--search", type=Path, nargs="*", default=[], help="candidates of each search")
    add("--metrics", type=Path, nargs="*", default=[], help="metrics of each data set")
    add("--records", type=Path, nargs="*", default=[], help="the table of run records")
    add("--audit", type=Path, nargs="*", default=[], help="audit.json of each data set")
    add("--figures", type=Path, nargs="*", default=[], help="PNG file of each figure")


def study_tables(arguments: argparse.Namespace) -> StudyTables:
    names = ("summary", "verdicts", "sparing")
    named = distinguish_recipes({name: read_table(getattr(arguments, name)) for name in names})
    return StudyTables(
        **named,
        factors=read_table(arguments.factors),
        searches=read_tables(arguments.search),
        metrics=read_tables(arguments.metrics),
        records=read_tables(arguments.records),
    )


def read_figure(path: Path) -> StudyFigure:
    caption = CAPTIONS / f"{path.stem}.rst"
    try:
        return StudyFigure(path.stem, picture(path.read_bytes()), caption.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: {error}; allowed: a PNG figure with a caption in workflow/report/"
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the study")
    add_settings(parser, "--study", StudySettings)
    add_inputs(parser)
    add("--origins", type=json.loads, default={}, help="JSON: data set to where it is from")
    add("--configuration", type=json.loads, default={}, help="JSON: the settings to show")
    add("--output", type=Path, required=True, help="HTML page to write")
    arguments = parser.parse_args()
    audits = {path.parent.name: read_json(path) for path in arguments.audit}
    settings = Settings(arguments.name, arguments.study, arguments.origins, arguments.configuration)
    findings = arguments.findings.read_text().strip()
    figures = [read_figure(path) for path in arguments.figures]
    page = study_report(settings, findings, study_tables(arguments), audits, figures)
    write_text(arguments.output, page)


if __name__ == "__main__":
    with shown_plainly():
        main()
