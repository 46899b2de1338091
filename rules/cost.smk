"""What the jobs that a dry run lists would cost, said below them.

REQUIRED: rules/common.smk, rules/train.smk. PROVIDES: some lines on stderr after a dry run, none with
--quiet. Nothing here can make a dry run fail, and nothing is computed before its end.
"""

import atexit
import json
import subprocess
from collections import Counter

from medtransfer.planning.sentences import jobs_in_words

# what the jobs of some rules are called, in the order of being named; others are counted together
OTHER_JOBS = {
    "store": "data set{s} to store",
    "import_weights": "file{s} of weights to import",
    "extract": "extraction{s} of representations",
    "embed": "embedding{s} of a data set",
    "reinitialise": "run{s} to reinitialise unit by unit",
    "predict_external": "prediction{s} on other data sets",
    "predict_corrupted": "prediction{s} on corrupted images",
    "figure": "figure{s}",
}
# plans on top of thousands of finished runs take seconds
MOST_SECONDS = 120


def say_cost(folder):
    """Print what a dry run's jobs cost; in one line why not, if that can't be said."""
    try:
        jobs = dry_run_jobs()
        if jobs is not None:
            print("", *cost_lines(jobs, folder), sep="\n", file=sys.stderr)
    # whatever goes wrong, also in another version of Snakemake: the dry run itself has succeeded
    except (Exception, KeyboardInterrupt) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"\nWhat this would cost can't be said: {reason}", file=sys.stderr)


def dry_run_jobs():
    """The jobs of a dry run that would make files; None if this was none, or it was a quiet one.

    Snakemake has no hook for the end of a dry run. It has a scheduler once it knows all jobs.
    """
    if not workflow.dryrun or workflow.scheduler is None:
        return None
    if workflow.output_settings.quiet:
        return None
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    return [job for job in jobs if job.output]


def kind(job):
    """What a job does, whichever of several rules it is of."""
    name = job.rule.name
    return "figure" if name.startswith("figure_") else name.removesuffix("_large")


def cost_lines(jobs, folder):
    """What jobs cost, in the words that users see."""
    counts = Counter(map(kind, jobs))
    trained = counts.pop("train", 0)
    lines = [training_cost(jobs, folder) if trained else "Nothing to train."]
    if counts:
        lines.append(f"Other jobs: {jobs_in_words(counts, OTHER_JOBS)}.")
    if trained:
        lines.append(
            "Nothing of it is done yet. `snakemake plan` says what the hours rest on."
        )
    return lines


def training_cost(jobs, folder):
    """What the runs among jobs cost, with the data and the weights that they wait for."""
    by_rule = {
        name: [] for name in ("train", "store", "import_weights", "export_weights")
    }
    for job in jobs:
        by_rule.setdefault(kind(job), []).append(job.wildcards_dict)
    weights = [
        *(f"{w['read_source']}/{w['model']}" for w in by_rule["import_weights"]),
        *(f"{w['trained_source']}/{w['model']}" for w in by_rule["export_weights"]),
    ]
    wanted = {
        "runs": [RUN.format(**wildcards) for wildcards in by_rule["train"]],
        "stores": [wildcards["dataset"] for wildcards in by_rule["store"]],
        "weights": weights,
    }
    script = BASE / "workflow" / "scripts" / "plan.py"
    # in a process of its own: networks that its table lacks are counted with torch
    outcome = subprocess.run(
        [sys.executable, script, "--config", json.dumps(config), "--jobs"],
        input=json.dumps(wanted),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    if outcome.returncode:
        raise RuntimeError(outcome.stderr.strip().rpartition("\n")[2])
    return outcome.stdout.strip()


atexit.register(say_cost, os.getcwd())
