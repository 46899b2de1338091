"""List the runs of a study."""

import argparse
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from medtransfer.config.analyses import analysed_runs
from medtransfer.config.argument import add_settings
from medtransfer.config.runs import study_runs
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.evaluation.results import RUNS
from medtransfer.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser, "--study", StudySettings)
    parser.add_argument(
        "--analysed", metavar="DATASET", help="those of its key representation on this data set only"
    )
    parser.add_argument("--output", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    runs = study_runs(arguments.study)
    if arguments.analysed is not None:
        runs = [run for run in analysed_runs(arguments.study) if run.dataset == arguments.analysed]
    rows = [{**asdict(run), "path": run.path} for run in runs]
    write_table(pd.DataFrame(rows), RUNS, arguments.output)


if __name__ == "__main__":
    with shown_plainly():
        main()
