"""The study's numbers for people: a web page and a CSV file, and the findings in a paragraph."""

import argparse
import json
from pathlib import Path

import pandas as pd

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.reporting import StudyTables, summary_csv, summary_page
from medtransfer.statistics.findings import write_findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_settings(parser, "--study", StudySettings)
    add("--summary", type=Path, required=True, help="table of means")
    add("--verdicts", type=Path, required=True, help="table of verdicts")
    add("--sparing", type=Path, required=True, help="table of what does as well as the best")
    add("--factors", type=Path, required=True, help="table of what gains depend on")
    add("--search", type=Path, nargs="*", default=[], help="candidates of each search")
    add("--audit", type=Path, nargs="*", default=[], help="audit.json of each data set")
    add("--origins", type=json.loads, default={}, help="JSON text: data set to where it is from")
    add("--page", type=Path, required=True, help="HTML page to write")
    add("--csv", type=Path, required=True, help="CSV table to write")
    add("--findings", type=Path, required=True, help="text to write")
    arguments = parser.parse_args()
    names = ("summary", "verdicts", "sparing")
    named = distinguish_recipes({name: pd.read_parquet(getattr(arguments, name)) for name in names})
    summary, verdicts, sparing = (named[name] for name in names)
    searches = [pd.read_parquet(path) for path in arguments.search]
    audits = {path.parent.name: json.loads(path.read_text()) for path in arguments.audit}
    origins = arguments.origins
    findings = write_findings(verdicts, sparing, arguments.study)
    arguments.findings.write_text(findings + "\n")
    searched = pd.concat(searches) if searches else pd.DataFrame()
    tables = StudyTables(summary, verdicts, sparing, pd.read_parquet(arguments.factors), searched)
    arguments.page.write_text(summary_page(arguments.study, findings, tables, audits, origins))
    summary_csv(summary).to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    with shown_plainly():
        main()
