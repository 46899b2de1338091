"""From metrics to means with intervals, paired gains, and the findings in words.

REQUIRED: the metrics of each data set of a study, and the predictions behind them.
PROVIDES: results/statistics/<study>/{summary,gains,verdicts,reuse,depth_curves,sparing,convergence,
convergence_tests,label_efficiency,gain_factors}.parquet,
results/statistics/<study>/<dataset>.{patients,run_pairs}.parquet and
results/<study>/{summary.html,summary.csv,findings.txt}.
"""


rule compare:
    """Means with intervals, and paired gains over the reference init.

    Reads: metrics of all data sets of a study. Writes: two tables.
    """
    input:
        metrics=metrics_tables,
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


rule patients:
    """What other patients would change: intervals over resamples of the tested ones.

    Reads: the predictions of a study's runs on one data set. Writes: an interval for each cell and each
    difference, drawn through the same patients for all runs; tests of each pair of runs.
    """
    input:
        runs="results/evaluation/{study}/runs.parquet",
        files=run_predictions,
        elsewhere=external_predictions,
    output:
        intervals="results/statistics/{study}/{dataset}.patients.parquet",
        run_pairs="results/statistics/{study}/{dataset}.run_pairs.parquet",
    log:
        "logs/patients/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/patients/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=8000,
        runtime=120,
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        dataset=dataset_settings(*EVALUATION_KEYS),
        code=code("patients.py"),
    shell:
        "python {resources.scripts}/patients.py --runs {input.runs:q} --root results/runs"
        " --shift results/shift --name {wildcards.dataset} --dataset {params.dataset:q}"
        " --study {params.study:q} --intervals {output.intervals:q} --run-pairs {output.run_pairs:q}"
        " 2> {log:q}"


rule judge:
    """Verdicts: helps, harms, equivalent within the margin, or can't tell yet and what would.

    Reads: metrics of all data sets of a study, what other patients would change.
    Writes: verdicts, shares of reuse, curves over the transferred depth, what does as well as the best.
    """
    input:
        metrics=metrics_tables,
        patients=patient_tables,
    output:
        verdicts="results/statistics/{study}/verdicts.parquet",
        reuse="results/statistics/{study}/reuse.parquet",
        depth_curves="results/statistics/{study}/depth_curves.parquet",
        sparing="results/statistics/{study}/sparing.parquet",
    log:
        "logs/judge/{study}.log",
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
        code=code("judge.py"),
    shell:
        "python {resources.scripts}/judge.py --metrics {input.metrics:q} --patients {input.patients:q}"
        " --study {params.study:q} --verdicts {output.verdicts:q} --reuse {output.reuse:q}"
        " --depth-curves {output.depth_curves:q} --sparing {output.sparing:q} 2> {log:q}"


rule convergence:
    """When runs get to a threshold, and whether inits differ in that.

    Reads: the validation curves of all data sets of a study. Writes: a row a run; a test a comparison.
    """
    input:
        dataset_tables("curves"),
    output:
        convergence="results/statistics/{study}/convergence.parquet",
        tests="results/statistics/{study}/convergence_tests.parquet",
    log:
        "logs/convergence/{study}.log",
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
        code=code("convergence.py"),
    shell:
        "python {resources.scripts}/convergence.py --curves {input:q} --study {params.study:q}"
        " --convergence {output.convergence:q} --tests {output.tests:q} 2> {log:q}"


rule label_efficiency:
    """With how much of the data each init matches the reference with all of it.

    Reads: metrics of all data sets of a study. Writes: a row an init.
    """
    input:
        metrics_tables,
    output:
        "results/statistics/{study}/label_efficiency.parquet",
    log:
        "logs/label_efficiency/{study}.log",
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
        code=code("label_efficiency.py"),
    shell:
        "python {resources.scripts}/label_efficiency.py --metrics {input:q} --study {params.study:q}"
        " --output {output:q} 2> {log:q}"


rule factors:
    """What gains depend on: training images, size and family of the network, distance of the domain.

    Reads: gains, metrics, domain distances where the study draws them. Writes: a row a term.
    """
    input:
        gains="results/statistics/{study}/gains.parquet",
        metrics=metrics_tables,
        distances=distance_table,
    output:
        "results/statistics/{study}/gain_factors.parquet",
    log:
        "logs/factors/{study}.log",
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
        families=model_families,
        code=code("factors.py"),
    shell:
        "python {resources.scripts}/factors.py --gains {input.gains:q} --metrics {input.metrics:q}"
        " --distances {input.distances:q} --families {params.families:q} --study {params.study:q}"
        " --output {output:q} 2> {log:q}"


rule report_tables:
    """The numbers for people.

    Reads: means, verdicts, how the candidates of searches did, the audits of the data.
    Writes: a web page, a CSV table, a paragraph.
    """
    input:
        summary="results/statistics/{study}/summary.parquet",
        verdicts="results/statistics/{study}/verdicts.parquet",
        sparing="results/statistics/{study}/sparing.parquet",
        factors="results/statistics/{study}/gain_factors.parquet",
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
        " --verdicts {input.verdicts:q} --sparing {input.sparing:q}"
        " --factors {input.factors:q} --search {input.searches:q} --audit {input.audits:q}"
        " --origins {params.origins:q} --page {output.page:q} --csv {output.csv:q}"
        " --findings {output.findings:q} 2> {log:q}"
