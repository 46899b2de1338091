"""The study's findings in a paragraph, and its target metrics as a CSV file."""

import argparse
from pathlib import Path

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.files import write_text
from medtransfer.reporting import summary_csv
from medtransfer.statistics.findings import write_findings
from medtransfer.tables import read_table, write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_settings(parser, "--study", StudySettings)
    add("--summary", type=Path, required=True, help="table of means")
    add("--verdicts", type=Path, required=True, help="table of verdicts")
    add("--sparing", type=Path, required=True, help="table of what does as well as the best")
    add("--csv", type=Path, required=True, help="CSV table to write")
    add("--findings", type=Path, required=True, help="text to write")
    arguments = parser.parse_args()
    names = ("summary", "verdicts", "sparing")
    tables = distinguish_recipes({name: read_table(getattr(arguments, name)) for name in names})
    findings = write_findings(tables["verdicts"], tables["sparing"], arguments.study)
    write_text(arguments.findings, findings + "\n")
    write_csv(summary_csv(tables["summary"]), arguments.csv)


if __name__ == "__main__":
    with shown_plainly():
        main()
