"""From metrics to means with intervals, paired gains, and the findings in words.

REQUIRED: the metrics of each data set of a study.
PROVIDES: results/statistics/<study>/{summary,gains}.parquet and
results/<study>/{summary.html,summary.csv,findings.txt}.
"""


rule compare:
    """Means with intervals, and paired gains over the reference init.

    Reads: metrics of all data sets of a study. Writes: two tables.
    """
    input:
        metrics=lambda wildcards: collect(
            "results/evaluation/{study}/{dataset}.metrics.parquet",
            study=wildcards.study,
            dataset=study_datasets(wildcards.study),
        ),
    output:
        summary="results/statistics/{study}/summary.parquet",
        gains="results/statistics/{study}/gains.parquet",
    log:
        "logs/compare/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=4000,
        runtime=60,
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("compare.py"),
    shell:
        "python {resources.scripts}/compare.py --metrics {input.metrics:q} --study {params.study:q}"
        " --summary {output.summary:q} --gains {output.gains:q} 2> {log:q}"


rule report_tables:
    """The numbers for people.

    Reads: means, gains, how the candidates of searches did, the audits of the data.
    Writes: a web page, a CSV table, a paragraph.
    """
    input:
        summary="results/statistics/{study}/summary.parquet",
        gains="results/statistics/{study}/gains.parquet",
        searches=study_searches,
        audits=lambda wildcards: collect(
            "results/data/{dataset}/audit.json",
            dataset=study_datasets(wildcards.study),
        ),
    output:
        page=report(
            "results/{study}/summary.html",
            caption="../workflow/report/summary.rst",
            category="Study {study}",
            labels={"result": "answer: findings and tables", "kind": "page"},
        ),
        csv=report(
            "results/{study}/summary.csv",
            caption="../workflow/report/summary_csv.rst",
            category="Study {study}",
            labels={"result": "answer: metric of each cell", "kind": "table"},
        ),
        findings="results/{study}/findings.txt",
    log:
        "logs/report_tables/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=2000,
        runtime=10,
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS | {"question"}
        ),
        origins=lambda wildcards: json.dumps(
            {
                name: CONFIG.datasets[name].origin
                for name in study_datasets(wildcards.study)
            }
        ),
        code=code("report_tables.py"),
    shell:
        "python {resources.scripts}/report_tables.py --study {params.study:q} --summary {input.summary:q}"
        " --gains {input.gains:q} --search {input.searches:q} --audit {input.audits:q}"
        " --origins {params.origins:q} --page {output.page:q} --csv {output.csv:q}"
        " --findings {output.findings:q} 2> {log:q}"
