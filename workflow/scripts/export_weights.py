"""Make the network of a finished pre-training run a source of weights."""

import argparse
import json
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.models.weights import import_weights, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    facts = json.loads((arguments.run / "run.json").read_text())
    state = import_weights(arguments.run / "model.safetensors", sha256=None)
    origin = f"trained here, {arguments.run}"
    save_weights(state, arguments.output, origin, tuple(facts["mean"]), tuple(facts["std"]))


if __name__ == "__main__":
    with shown_plainly():
        main()
