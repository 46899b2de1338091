"""Count what the networks of studies cost, anew, into the table that comes with the package."""

import argparse
from pathlib import Path

from medtransfer.config.analyses import extra_weights
from medtransfer.config.load import load_config
from medtransfer.config.runs import study_runs
from medtransfer.config.study import Config
from medtransfer.config.typed import read_yaml
from medtransfer.errors import shown_plainly
from medtransfer.files import write_text
from medtransfer.planning.images import DatasetImages
from medtransfer.planning.network_costs import TABLE, Network, as_table
from medtransfer.planning.plan import Planner, Present
from medtransfer.planning.processors import chosen_processor

PROJECT = Path(__file__).resolve().parents[2]
# a folder without stores, weights or runs
NOWHERE = Path("/nonexistent")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    shipped = [PROJECT / "config/config.yaml", *sorted((PROJECT / "config/studies").glob("*.yaml"))]
    add("--study", type=Path, nargs="+", default=shipped, help="study files; by default all shipped")
    add("--output", type=Path, default=PROJECT / "src/medtransfer/planning" / TABLE)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    configs = [load_config(read_yaml(path), [PROJECT / "config"]) for path in arguments.study]
    networks = {network for config in configs for network in networks_of(config)}
    # imported only now: --help needs no torch
    from medtransfer.planning.networks import count

    write_text(arguments.output, as_table({network: count(network) for network in networks}))
    print(f"{len(networks)} networks in {arguments.output}")


def networks_of(config: Config) -> list[Network]:
    """The networks that a plan of a configuration looks at before anything is there."""
    images = {
        name: DatasetImages(settings, NOWHERE, NOWHERE) for name, settings in config.datasets.items()
    }
    planner = Planner(
        config, Present(images, {}, NOWHERE, NOWHERE), chosen_processor(config.hardware, None)
    )
    every = [run for study in config.studies.values() for run in study_runs(study)]
    planner.study("total", every, extra_weights(config))
    return planner.networks


if __name__ == "__main__":
    with shown_plainly():
        main()
