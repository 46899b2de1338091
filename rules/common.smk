"""From the configuration to tables of runs, and the functions that rules look things up with.

REQUIRED: `config`, as the study files give it. PROVIDES: CONFIG (checked settings), the run and path
look-ups below, wildcard constraints. Nothing here reads data or imports torch.
"""

import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from medtransfer.code_fingerprint import code_fingerprint
from medtransfer.config.argument import as_argument
from medtransfer.config.load import load_config
from medtransfer.config.names import parse_init
from medtransfer.config.runs import Run, all_runs, needed_weights, study_runs
from medtransfer.errors import MedtransferError

BASE = Path(workflow.basedir)
SCRIPTS = shlex.quote(str(BASE / "workflow" / "scripts"))

# `python` in a rule is the interpreter that runs Snakemake; an activated conda environment or a
# container puts its own before it.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYTHONPATH"] = str(BASE / "src")

try:
    CONFIG = load_config(config, [Path("config"), BASE / "config"])
except MedtransferError as error:
    raise WorkflowError(f"The configuration is not valid.\n{error}")

RUNS = all_runs(CONFIG)
WEIGHTS = needed_weights(RUNS)
TRAINED_SOURCES = [s for s, _ in WEIGHTS if CONFIG.sources[s].pretraining is not None]
READ_SOURCES = [s for s, _ in WEIGHTS if CONFIG.sources[s].pretraining is None]
GENERATED = [n for n, d in CONFIG.datasets.items() if d.generator is not None]

# What of a data set's settings each stage depends on; nothing else of them repeats its jobs.
LABEL_KEYS = {"task", "labels", "classes", "manifest", "generator", "image_size"}
STORE_KEYS = LABEL_KEYS | {
    "root", "image", "patient", "site", "split", "frame", "groups", "channels", "geometry",
    "max_rejected",
}  # fmt: skip
SPLIT_KEYS = LABEL_KEYS | {"site", "external_sites", "splits"}
EVALUATION_KEYS = LABEL_KEYS | {"metric"}
STATISTICS_KEYS = {"title", "grids", "reference", "confidence"}


def one_of(names):
    """A wildcard pattern that matches these names only (and nothing when there are none)."""
    return "|".join(map(re.escape, sorted(set(names)))) or "(?!)"


wildcard_constraints:
    study=one_of(CONFIG.studies),
    recipe=one_of(run.recipe for run in RUNS),
    dataset=one_of(run.dataset for run in RUNS),
    model=one_of(run.model for run in RUNS),
    init=one_of(run.init for run in RUNS),
    subset=one_of(run.subset for run in RUNS),
    split=one_of(run.split for run in RUNS),
    seed=r"\d+",
    source=one_of(source for source, _ in WEIGHTS),
    generated=one_of(GENERATED),
    trained_source=one_of(TRAINED_SOURCES),
    read_source=one_of(READ_SOURCES),


def code(script, *modules):
    """The fingerprint of a script's code: what it does, whatever its comments and its age."""
    return code_fingerprint(BASE / "workflow" / "scripts" / script, BASE / "src", modules)


def dataset_settings(*keys):
    """A params function: the named settings of the wildcard's data set, as an argument."""
    return lambda wildcards: as_argument(CONFIG.datasets[wildcards.dataset], keys)


def manifest_path(wildcards):
    """Where the data set's manifest is: the user's, or that of its generator."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return dataset.manifest or f"resources/datasets/{wildcards.dataset}/manifest.csv"


def run_weights(wildcards):
    """The weights that a run starts from, as input; none for a random start.

    Their content is watched through the small sidecar, which holds their checksum.
    """
    source = parse_init(wildcards.init).source
    return [] if source is None else [ancient(_weights(source, wildcards.model))]


def run_weights_sidecar(wildcards):
    """The sidecar of the weights that a run starts from."""
    return [path.removesuffix(".safetensors") + ".json" for path in run_weights(wildcards)]


def _weights(source, model):
    return f"resources/weights/{source}/{model}.safetensors"


def weights_flag(wildcards):
    """`--weights <file>` for a run that starts from weights, else nothing."""
    source = parse_init(wildcards.init).source
    return "" if source is None else f"--weights {shlex.quote(_weights(source, wildcards.model))}"


def run_file(run, name):
    """The path of one of a run's files."""
    return f"results/runs/{run.path}/{name}"


def dataset_runs(study, dataset):
    """The runs of a study on one data set."""
    return [run for run in study_runs(CONFIG.studies[study]) if run.dataset == dataset]


def study_datasets(study):
    """The data sets of a study, in its order."""
    return list(dict.fromkeys(run.dataset for run in study_runs(CONFIG.studies[study])))


def study_figures():
    """All figures that the studies ask for, as PDF and PNG."""
    return [
        f"results/figures/{name}/{figure}.{suffix}"
        for name, study in CONFIG.studies.items()
        for figure in study.figures
        for suffix in ("pdf", "png")
    ]
