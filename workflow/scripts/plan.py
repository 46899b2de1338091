"""What the studies of a configuration cost before anything runs: runs, hours and disk."""

import argparse
import json
import sys
from pathlib import Path

from medtransfer.config.load import load_config
from medtransfer.config.study import Config
from medtransfer.config.typed import read_yaml
from medtransfer.errors import shown_plainly
from medtransfer.planning.dry_run import WantedJobs, dry_run_cost
from medtransfer.planning.finished import read_finished
from medtransfer.planning.images import DatasetImages
from medtransfer.planning.plan import Present, make_plan
from medtransfer.planning.processors import chosen_processor
from medtransfer.planning.report import dry_run_as_text, plan_as_data, plan_as_text

PROJECT = Path(__file__).resolve().parents[2]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--config", required=True, help="study file, or the same as JSON text")
    add("--gpu", help="plan for this GPU, e.g. 'NVIDIA A100-SXM4-80GB', instead of what is here")
    add(
        "--jobs",
        action="store_true",
        help="say in short what the jobs on stdin cost, JSON with the keys runs, stores and weights",
    )
    add("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    content = arguments.config
    mapping = json.loads(content) if content.lstrip().startswith("{") else read_yaml(Path(content))
    config = load_config(mapping, [Path("config"), PROJECT / "config"])
    processor = chosen_processor(config.hardware, arguments.gpu)
    if arguments.jobs:
        jobs = WantedJobs(**json.load(sys.stdin))
        print(dry_run_as_text(dry_run_cost(jobs, config, present(config), processor)), end="")
        return
    plan = make_plan(config, present(config), processor)
    print(json.dumps(plan_as_data(plan), indent=2) if arguments.json else plan_as_text(plan), end="")


def present(config: Config) -> Present:
    """What the working folder holds."""
    stores = Path("results/data")
    images = {
        name: DatasetImages(
            settings,
            stores / name,
            Path(settings.manifest or f"resources/datasets/{name}/manifest.csv"),
        )
        for name, settings in config.datasets.items()
    }
    finished = read_finished(Path("results/runs"), Path("logs/benchmarks/train"))
    return Present(images, finished, stores, Path("resources/weights"))


if __name__ == "__main__":
    with shown_plainly():
        main()
