"""What people read of a study: findings, a table, and a page with everything in it.

REQUIRED: the tables and figures of a study, audits of its data, records of its runs.
PROVIDES: results/<study>/{report.html,summary.csv,findings.txt},
results/evaluation/<study>/run_records.parquet and results/statistics/<study>/costs.parquet.
"""

import hashlib


rule run_records:
    """What each run, and each that it rests on, was computed with and took.

    Reads: the records of the runs and the size of their files. Writes: a row a run.
    """
    input:
        study_records,
    output:
        "results/evaluation/{study}/run_records.parquet",
    log:
        "logs/run_records/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(30),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study],
            {"title", "grids", "left_out", "results", "reference"},
        ),
        pretrainings=study_pretrainings,
        searches=study_candidates,
        code=code("run_records.py"),
    shell:
        "python {resources.scripts}/run_records.py --study {params.study:q} --root results/runs"
        " --pretrainings {params.pretrainings:q} --searches {params.searches:q} --output {output:q}"
        " 2> {log:q}"


rule costs:
    """What each start costs beside what it brings.

    Reads: the records of a study's runs, its gains. Writes: a row an init, cell and way of counting.
    """
    input:
        records="results/evaluation/{study}/run_records.parquet",
        gains="results/statistics/{study}/gains.parquet",
    output:
        "results/statistics/{study}/costs.parquet",
    log:
        "logs/costs/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("costs.py"),
    shell:
        "python {resources.scripts}/costs.py --records {input.records:q} --gains {input.gains:q}"
        " --study {params.study:q} --output {output:q} 2> {log:q}"


rule report_tables:
    """The numbers for people.

    Reads: means, verdicts, what does as well as the best. Writes: a CSV table, a paragraph.
    """
    input:
        summary="results/statistics/{study}/summary.parquet",
        verdicts="results/statistics/{study}/verdicts.parquet",
        sparing="results/statistics/{study}/sparing.parquet",
    output:
        csv=report(
            "results/{study}/summary.csv",
            caption="../workflow/report/summary_csv.rst",
            category="Study {study}",
            labels={"result": "answer: metric of each cell", "kind": "table"},
        ),
        findings=report(
            "results/{study}/findings.txt",
            caption="../workflow/report/findings.rst",
            category="Study {study}",
            labels={"result": "answer: findings", "kind": "text"},
        ),
    log:
        "logs/report_tables/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("report_tables.py"),
    shell:
        "python {resources.scripts}/report_tables.py --study {params.study:q} --summary {input.summary:q}"
        " --verdicts {input.verdicts:q} --sparing {input.sparing:q} --csv {output.csv:q}"
        " --findings {output.findings:q} 2> {log:q}"


rule report_page:
    """The report of a study, in one file that needs nothing beside it.

    Reads: findings, tables and figures, the audits of the data, records of the runs. Writes: a web page.
    """
    input:
        findings="results/{study}/findings.txt",
        summary="results/statistics/{study}/summary.parquet",
        verdicts="results/statistics/{study}/verdicts.parquet",
        sparing="results/statistics/{study}/sparing.parquet",
        factors="results/statistics/{study}/gain_factors.parquet",
        searches=study_searches,
        metrics=metrics_tables,
        records=run_records_table,
        audits=lambda wildcards: collect(
            "results/data/{dataset}/audit.json",
            dataset=study_datasets(wildcards.study),
        ),
        figures=lambda wildcards: collect(
            "results/figures/{study}/{figure}.png",
            study=wildcards.study,
            figure=CONFIG.studies[wildcards.study].drawn,
        ),
    output:
        "results/{study}/report.html",
    log:
        "logs/report_page/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        study=lambda wildcards: as_argument(CONFIG.studies[wildcards.study]),
        origins=lambda wildcards: json.dumps(
            {
                name: CONFIG.datasets[name].origin
                for name in study_datasets(wildcards.study)
            }
        ),
        configuration=shown_settings,
        # captions change what the page says as its code does
        captions=lambda wildcards: hashlib.sha256(
            "\0".join(map(caption, CONFIG.studies[wildcards.study].drawn)).encode()
        ).hexdigest()[:16],
        code=code("report_page.py"),
    shell:
        "python {resources.scripts}/report_page.py --name {wildcards.study} --study {params.study:q}"
        " --findings {input.findings:q} --summary {input.summary:q} --verdicts {input.verdicts:q}"
        " --sparing {input.sparing:q} --factors {input.factors:q} --search {input.searches:q}"
        " --metrics {input.metrics:q} --records {input.records:q} --audit {input.audits:q}"
        " --figures {input.figures:q} --origins {params.origins:q}"
        " --configuration {params.configuration:q} --output {output:q} 2> {log:q}"
