"""From metrics to means with intervals, paired gains, and verdicts.

REQUIRED: the metrics of each data set of a study, and the predictions behind them.
PROVIDES: results/statistics/<study>/{summary,gains,verdicts,reuse,depth_curves,sparing,convergence,
convergence_tests,convergence_means,networks,label_efficiency,gain_points,gain_factors,
similarity_gain_points,similarity_gains,predicted_gains,prediction_errors,class_summary,published}.parquet,
results/statistics/<study>/<dataset>.{patients,run_pairs}.parquet.
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
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("compare.py"),
    shell:
        "python {resources.scripts}/compare.py --metrics {input.metrics:q} --study {params.study:q}"
        " --summary {output.summary:q} --gains {output.gains:q} 2> {log:q}"


rule class_summary:
    """Means with intervals of the ranking of each output.

    Reads: metrics of each class and of all of a study's data sets. Writes: a row an output and cell.
    """
    input:
        classes=dataset_tables("classes"),
        metrics=dataset_tables("metrics"),
    output:
        "results/statistics/{study}/class_summary.parquet",
    log:
        "logs/class_summary/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("class_summary.py"),
    shell:
        "python {resources.scripts}/class_summary.py --classes {input.classes:q}"
        " --metrics {input.metrics:q} --study {params.study:q} --output {output:q} 2> {log:q}"


rule published:
    """Take in the numbers of a study's paper, to be shown beside its own.

    Reads: a CSV table. Writes: the same, checked.
    """
    input:
        published_file,
    output:
        "results/statistics/{study}/published.parquet",
    log:
        "logs/published/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        code=code("import_published.py"),
    shell:
        "python {resources.scripts}/import_published.py --table {input:q} --output {output:q} 2> {log:q}"


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
        mem_mb=more(8000),
        runtime=more(120),
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
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        chance=chance_levels,
        code=code("judge.py"),
    shell:
        "python {resources.scripts}/judge.py --metrics {input.metrics:q} --patients {input.patients:q}"
        " --study {params.study:q} --chance {params.chance:q}"
        " --verdicts {output.verdicts:q} --reuse {output.reuse:q}"
        " --depth-curves {output.depth_curves:q} --sparing {output.sparing:q} 2> {log:q}"


rule convergence:
    """When runs get to a threshold, and whether inits differ in that.

    Reads: the validation curves of all data sets of a study. Writes: a row a run; a test a comparison; a
    mean an init.
    """
    input:
        dataset_tables("curves"),
    output:
        convergence="results/statistics/{study}/convergence.parquet",
        tests="results/statistics/{study}/convergence_tests.parquet",
        means="results/statistics/{study}/convergence_means.parquet",
    log:
        "logs/convergence/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("convergence.py"),
    shell:
        "python {resources.scripts}/convergence.py --curves {input:q} --study {params.study:q}"
        " --convergence {output.convergence:q} --tests {output.tests:q} --means {output.means:q}"
        " 2> {log:q}"


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
        mem_mb=more(4000),
        runtime=more(60),
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

    Reads: gains, metrics, domain distances where the study draws them. Writes: a row a gain with what it
    may depend on; a row a term of the models.
    """
    input:
        gains="results/statistics/{study}/gains.parquet",
        metrics=metrics_tables,
        distances=distance_table,
    output:
        points="results/statistics/{study}/gain_points.parquet",
        models="results/statistics/{study}/gain_factors.parquet",
    log:
        "logs/factors/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        families=model_families,
        code=code("factors.py"),
    shell:
        "python {resources.scripts}/factors.py --gains {input.gains:q} --metrics {input.metrics:q}"
        " --distances {input.distances:q} --families {params.families:q} --study {params.study:q}"
        " --points {output.points:q} --models {output.models:q} 2> {log:q}"


rule networks:
    """How large the networks are, and of which family.

    Reads: metrics of all data sets of a study. Writes: a row a network and data set.
    """
    input:
        metrics_tables,
    output:
        "results/statistics/{study}/networks.parquet",
    log:
        "logs/networks/{study}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        families=model_families,
        code=code("networks.py"),
    shell:
        "python {resources.scripts}/networks.py --metrics {input:q} --families {params.families:q}"
        " --output {output:q} 2> {log:q}"


rule similarity_gains:
    """Whether representations that stayed alike go with gains, over data sets and within them.

    Reads: canonical correlations of the analysed runs, metrics of all. Writes: a row a run and point; a
    row a point with the correlations.
    """
    input:
        cca=representation_tables("cca"),
        metrics=dataset_tables("metrics"),
    output:
        points="results/statistics/{study}/similarity_gain_points.parquet",
        correlations="results/statistics/{study}/similarity_gains.parquet",
    log:
        "logs/similarity_gains/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("similarity_gains.py"),
    shell:
        "python {resources.scripts}/similarity_gains.py --cca {input.cca:q} --metrics {input.metrics:q}"
        " --study {params.study:q} --points {output.points:q} --correlations {output.correlations:q}"
        " 2> {log:q}"


rule predict_gains:
    """Whether a gain could have been known: predicted from the other data sets alone.

    Reads: gains with what they may depend on, transferability scores where the study draws them.
    Writes: a row a gain and predictor; a row a predictor with its errors.
    """
    input:
        points="results/statistics/{study}/gain_points.parquet",
        scores=score_table,
    output:
        predicted="results/statistics/{study}/predicted_gains.parquet",
        errors="results/statistics/{study}/prediction_errors.parquet",
    log:
        "logs/predict_gains/{study}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        confidence=lambda wildcards: CONFIG.studies[wildcards.study].confidence,
        code=code("predict_gains.py"),
    shell:
        "python {resources.scripts}/predict_gains.py --points {input.points:q} --scores {input.scores:q}"
        " --confidence {params.confidence} --predicted {output.predicted:q} --errors {output.errors:q}"
        " 2> {log:q}"
