"""From the predictions of runs to metrics.

REQUIRED: predictions, history and record of each run of a study.
PROVIDES: results/evaluation/<study>/{runs.parquet,<dataset>.metrics.parquet,<dataset>.curves.parquet}.
"""


rule run_table:
    """List the runs of a study.

    Reads: nothing. Writes: one row a run.
    """
    output:
        "results/evaluation/{study}/runs.parquet",
    log:
        "logs/run_table/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=2000,
        runtime=10,
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], {"title", "grids", "reference"}
        ),
        code=code("run_table.py"),
    shell:
        "python {resources.scripts}/run_table.py --study {params.study:q} --output {output:q} 2> {log:q}"


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
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=4000,
        runtime=60,
    params:
        dataset=dataset_settings(*EVALUATION_KEYS),
        code=code("evaluate.py"),
    shell:
        "python {resources.scripts}/evaluate.py --runs {input.runs:q} --root results/runs"
        " --name {wildcards.dataset} --dataset {params.dataset:q} --metrics {output.metrics:q}"
        " --curves {output.curves:q} 2> {log:q}"
