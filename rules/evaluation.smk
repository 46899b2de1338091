"""From the predictions of runs to metrics.

REQUIRED: predictions, history and record of each run of a study; tables of results from elsewhere.
PROVIDES: results/evaluation/<study>/{runs.parquet,elsewhere/metrics.parquet} and
results/evaluation/<study>/<dataset>.{metrics,classes,reliability,risk_coverage,curves,subgroups,
subgroup_gaps}.parquet.
"""


rule run_table:
    """List the runs of a study.

    Reads: nothing. Writes: one row a run.
    """
    output:
        "results/evaluation/{study}/runs.parquet",
    log:
        "logs/run_table/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study],
            {"title", "grids", "left_out", "results", "reference"},
        ),
        code=code("run_table.py"),
    shell:
        "python {resources.scripts}/run_table.py --study {params.study:q} --output {output:q} 2> {log:q}"


rule evaluate:
    """Score the runs of a study on one data set.

    Reads: the runs' predictions, there and on other data sets, histories and records.
    Writes: metrics, metrics of each class, reliability, risk against coverage, validation curves.
    """
    input:
        runs="results/evaluation/{study}/runs.parquet",
        files=run_files,
        elsewhere=external_predictions,
    output:
        metrics="results/evaluation/{study}/{dataset}.metrics.parquet",
        classes="results/evaluation/{study}/{dataset}.classes.parquet",
        reliability="results/evaluation/{study}/{dataset}.reliability.parquet",
        risk_coverage="results/evaluation/{study}/{dataset}.risk_coverage.parquet",
        curves="results/evaluation/{study}/{dataset}.curves.parquet",
    log:
        "logs/evaluate/{study}/{dataset}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        dataset=dataset_settings(*EVALUATION_KEYS),
        code=code("evaluate.py"),
    shell:
        "python {resources.scripts}/evaluate.py --runs {input.runs:q} --root results/runs"
        " --shift results/shift --name {wildcards.dataset} --dataset {params.dataset:q}"
        " --metrics {output.metrics:q} --classes {output.classes:q} --reliability {output.reliability:q}"
        " --risk-coverage {output.risk_coverage:q} --curves {output.curves:q} 2> {log:q}"


rule subgroups:
    """Score subgroups of patients: each group, the worst one, gaps, and whether inits differ in them.

    Reads: predictions of a study's runs on one data set, the columns of its groups. Writes: two tables.
    """
    input:
        runs="results/evaluation/{study}/runs.parquet",
        predictions=run_predictions,
        samples="results/data/{dataset}/samples.parquet",
    output:
        groups="results/evaluation/{study}/{dataset}.subgroups.parquet",
        gaps="results/evaluation/{study}/{dataset}.subgroup_gaps.parquet",
    log:
        "logs/subgroups/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/subgroups/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        dataset=dataset_settings(*GROUP_KEYS),
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("subgroups.py"),
    shell:
        "python {resources.scripts}/subgroups.py --runs {input.runs:q} --root results/runs"
        " --samples {input.samples:q} --name {wildcards.dataset} --dataset {params.dataset:q}"
        " --study {params.study:q} --groups {output.groups:q} --gaps {output.gaps:q} 2> {log:q}"


rule import_results:
    """Take in results that come from elsewhere.

    Reads: a CSV table of a run and metric a row. Writes: metrics as those of runs.
    """
    input:
        results_table,
    output:
        "results/evaluation/{study}/elsewhere/metrics.parquet",
    log:
        "logs/import_results/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        results=lambda wildcards: as_argument(CONFIG.studies[wildcards.study].results),
        code=code("import_results.py"),
    shell:
        "python {resources.scripts}/import_results.py --results {params.results:q} --output {output:q}"
        " 2> {log:q}"
