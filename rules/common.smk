"""From the configuration to tables of runs.

REQUIRED: `config`, as the study files give it. PROVIDES: CONFIG (checked settings), tables of runs and
weights, wildcard constraints. Nothing here reads data or imports torch.
"""

import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from medtransfer.code_fingerprint import code_fingerprint
from medtransfer.config.analyses import ALL_IMAGES, extra_weights, source_images
from medtransfer.config.argument import as_argument
from medtransfer.config.corruptions import ALL_CORRUPTIONS
from medtransfer.config.load import load_config
from medtransfer.config.names import parse_init
from medtransfer.config.runs import (
    all_runs,
    needed_weights,
    only_finished,
    searched_cells,
    study_runs,
)
from medtransfer.config.search import candidate_recipes
from medtransfer.errors import MedtransferError

BASE = Path(workflow.basedir)
# where named parts of the configuration and their tables are looked for, in this order
CONFIG_FOLDERS = [Path("config"), BASE / "config"]
# The folder of the scripts, quoted. Rules take it as a resource, since of all that a job is made of only
# resources may change without repeating it: finished runs survive a move of the project.
SCRIPTS = shlex.quote(str(BASE / "workflow" / "scripts"))

# `python` in a rule is the interpreter that runs Snakemake; an activated conda environment or a
# container puts its own before it.
os.environ.update(
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]
    ),
    PYTHONPATH=str(BASE / "src"),
)
# conda puts an environment first on PATH only where it believes none to be active
os.environ.pop("CONDA_SHLVL", None)

try:
    CONFIG = load_config(config, CONFIG_FOLDERS)
    if CONFIG.only_finished:
        CONFIG = only_finished(
            CONFIG,
            lambda run: Path("results/runs", run.path, "predictions.parquet").exists(),
        )
except MedtransferError as error:
    raise WorkflowError(f"The configuration is not valid.\n{error}")

EXTRA_WEIGHTS = extra_weights(CONFIG)
RUNS = all_runs(CONFIG, EXTRA_WEIGHTS)
WEIGHTS = list(dict.fromkeys([*needed_weights(RUNS, CONFIG.models), *EXTRA_WEIGHTS]))
# data sets that test the runs of others
EXTERNAL = {
    name
    for study in CONFIG.studies.values()
    for run in study_runs(study)
    for name in CONFIG.datasets[run.dataset].external
}
DATASETS = {
    *(run.dataset for run in RUNS),
    *EXTERNAL,
    *filter(None, (source_images(source, CONFIG) for source, _ in WEIGHTS)),
}
SEARCHED = [n for n, recipe in CONFIG.recipes.items() if recipe.search is not None]
CANDIDATES = [c for n in SEARCHED for c in candidate_recipes(n, CONFIG.recipes[n])]
TRAINED_SOURCES = [s for s, _ in WEIGHTS if CONFIG.sources[s].pretraining is not None]
READ_SOURCES = [s for s, _ in WEIGHTS if CONFIG.sources[s].pretraining is None]
GENERATED = [n for n, d in CONFIG.datasets.items() if d.generator is not None]
ADAPTED = [n for n, d in CONFIG.datasets.items() if d.adapter is not None]

# What of a data set's settings each stage depends on; nothing else of them repeats its jobs.
LABEL_KEYS = {
    "task",
    "labels",
    "classes",
    "manifest",
    "generator",
    "adapter",
    "image_size",
}
MANIFEST_KEYS = LABEL_KEYS | {
    "root",
    "image",
    "patient",
    "site",
    "split",
    "frame",
    "groups",
    "fold_lists",
    "fold_column",
}
STORE_KEYS = MANIFEST_KEYS | {
    "channels",
    "geometry",
    "bits",
    "all_frames",
    "patient_in_header",
    "max_rejected",
}
SPLIT_KEYS = LABEL_KEYS | {"site", "external_sites", "splits", "accept", "drop"}
AUDIT_KEYS = LABEL_KEYS | {
    "accept",
    "drop",
    "origin",
    "card",
    "groups",
    "bands",
    "intersections",
}
METRIC_KEYS = LABEL_KEYS | {"metric"}
EVALUATION_KEYS = METRIC_KEYS | {"external"}
GROUP_KEYS = METRIC_KEYS | {"groups", "bands", "intersections"}
STATISTICS_KEYS = {
    "title",
    "grids",
    "results",
    "reference",
    "confidence",
    "statistics",
}


# Of GPUs a job takes one or none: the networks of this project train on one.
GPU = 0 if CONFIG.hardware.device == "cpu" else 1
LARGE_MODELS = set(CONFIG.hardware.large_models)
TRAINED_MODELS = {run.model for run in RUNS}


def more(amount):
    """A resource of which a job has as much again each time it is tried again."""
    return lambda wildcards, attempt: amount * attempt


def one_of(names):
    """A wildcard pattern that matches these names only (and nothing when there are none)."""
    return "|".join(map(re.escape, sorted(set(names)))) or "(?!)"


wildcard_constraints:
    study=one_of(CONFIG.studies),
    recipe=one_of(run.recipe for run in RUNS),
    dataset=one_of(DATASETS),
    model=one_of([*(run.model for run in RUNS), *(model for _, model in WEIGHTS)]),
    init=one_of(run.init for run in RUNS),
    subset=one_of(run.subset for run in RUNS),
    split=one_of([ALL_IMAGES, *(run.split for run in RUNS)]),
    seed=r"\d+",
    probe=r"n\d+-b\d+-t\d+",
    searched=one_of(SEARCHED),
    external=one_of(EXTERNAL),
    corruption=one_of(ALL_CORRUPTIONS),
    source=one_of(source for source, _ in WEIGHTS),
    generated=one_of(GENERATED),
    adapted=one_of(ADAPTED),
    trained_source=one_of(TRAINED_SOURCES),
    read_source=one_of(READ_SOURCES),
