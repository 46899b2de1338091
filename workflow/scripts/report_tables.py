"""The study's findings in a paragraph, and its target metrics as a CSV file."""

import argparse
from pathlib import Path

import pandas as pd

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.reporting import summary_csv
from medtransfer.statistics.findings import write_findings


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
    tables = distinguish_recipes({name: pd.read_parquet(getattr(arguments, name)) for name in names})
    findings = write_findings(tables["verdicts"], tables["sparing"], arguments.study)
    arguments.findings.write_text(findings + "\n")
    summary_csv(tables["summary"]).to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    with shown_plainly():
        main()
