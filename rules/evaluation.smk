"""From the predictions of runs to metrics.

REQUIRED: predictions, history and record of each run of a study.
PROVIDES: results/evaluation/<study>/{runs.parquet,<dataset>.metrics.parquet,<dataset>.curves.parquet}.
"""


def run_files(wildcards):
    """What evaluation reads of a study's runs on one data set."""
    return [
        run_file(run, name)
        for run in dataset_runs(wildcards.study, wildcards.dataset)
        for name in ("predictions.parquet", "history.parquet", "run.json")
    ]


rule run_table:
    """List the runs of a study.

    Reads: nothing. Writes: one row a run.
    """
    output:
        "results/evaluation/{study}/runs.parquet",
    log:
        "logs/run_table/{study}.log",
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], {"title", "grids", "reference"}
        ),
        code=code("run_table.py"),
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        "../envs/medtransfer.yaml"
    shell:
        "python {SCRIPTS}/run_table.py --study {params.study:q} --output {output:q} 2> {log:q}"


rule evaluate:
    """Score the runs of a study on one data set.

    Reads: the runs' predictions, histories and records. Writes: metrics and validation curves.
    """
    input:
        runs="results/evaluation/{study}/runs.parquet",
        files=run_files,
    output:
        metrics="results/evaluation/{study}/{dataset}.metrics.parquet",
        curves="results/evaluation/{study}/{dataset}.curves.parquet",
    log:
        "logs/evaluate/{study}/{dataset}.log",
    params:
        dataset=dataset_settings(*EVALUATION_KEYS),
        code=code("evaluate.py"),
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../envs/medtransfer.yaml"
    shell:
        "python {SCRIPTS}/evaluate.py --runs {input.runs:q} --root results/runs"
        " --name {wildcards.dataset} --dataset {params.dataset:q} --metrics {output.metrics:q}"
        " --curves {output.curves:q} 2> {log:q}"
