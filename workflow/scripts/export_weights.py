"""Make the network of a finished pre-training run a source of weights."""

import argparse
from pathlib import Path

from medtransfer.errors import shown_plainly
from medtransfer.files import read_json
from medtransfer.models.checkpoints import read_checkpoint
from medtransfer.models.weights import Sidecar, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    facts = read_json(arguments.run / "run.json")
    about = Sidecar(
        origin=f"trained here, {arguments.run}",
        sha256="",
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        image_size=facts.get("image_size"),
        outputs=len(facts["outputs"]),
    )
    save_weights(read_checkpoint(arguments.run / "model.safetensors"), arguments.output, about)


if __name__ == "__main__":
    with shown_plainly():
        main()
