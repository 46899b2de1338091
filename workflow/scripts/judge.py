"""Verdicts of a study, and what they rest on."""

import argparse
import json
from pathlib import Path

import pandas as pd

from medtransfer.config.argument import add_settings
from medtransfer.config.study import StudySettings
from medtransfer.errors import shown_plainly
from medtransfer.statistics.sparing import SPARING, sparing
from medtransfer.statistics.transfer import DEPTH_CURVES, REUSE, depth_curves, reuse_shares
from medtransfer.statistics.verdict import VERDICTS, judge
from medtransfer.tables import read_table, read_tables, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--metrics", type=Path, nargs="+", required=True, help="one a data set")
    add("--patients", type=Path, nargs="*", default=[], help="intervals over patients, one a data set")
    add_settings(parser, "--study", StudySettings)
    add("--chance", type=json.loads, required=True, help="JSON: data set -> metric without learning")
    add("--verdicts", type=Path, required=True, help="parquet table to write")
    add("--reuse", type=Path, required=True, help="parquet table to write")
    add("--depth-curves", type=Path, required=True, help="parquet table to write")
    add("--sparing", type=Path, required=True, help="parquet table to write")
    arguments = parser.parse_args()
    study = arguments.study
    metrics = read_tables(arguments.metrics)
    patients = [read_table(path) for path in arguments.patients]
    joined = pd.concat(patients, ignore_index=True) if patients else None
    write_table(judge(metrics, study, joined, arguments.chance), VERDICTS, arguments.verdicts)
    write_table(reuse_shares(metrics, study), REUSE, arguments.reuse)
    write_table(depth_curves(metrics, study), DEPTH_CURVES, arguments.depth_curves)
    write_table(sparing(metrics, study), SPARING, arguments.sparing)


if __name__ == "__main__":
    with shown_plainly():
        main()
