"""From activations to what is alike, what moved and what it predicts: tables of a study.

REQUIRED: activations, embeddings, scores with units set back, predictions, gains.
PROVIDES: results/representation/<study>/<data set>.{cka,zoo_map,cca,top_layers,start_end,start_end_correlations,knn,weight_distance,
filters,filter_weights,reinitialisation,agreement}.parquet and results/representation/<study>/{domain_distance,transferability,
transferability_correlations}.parquet.
"""

TABLE = "results/representation/{study}/{dataset}"


rule analysed_runs:
    """List the runs of a study on a data set whose representations are analysed.

    Reads: nothing. Writes: one row a run. What else changes in a study repeats no analysis: its
    settings are a resource, and which runs they choose is the parameter.
    """
    output:
        f"{TABLE}.runs.parquet",
    log:
        "logs/analysed_runs/{study}/{dataset}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study],
            {"title", "grids", "left_out", "reference", "representation"},
        ),
    params:
        runs=lambda wildcards: [run.path for run in analysed(wildcards)],
        code=code("run_table.py"),
    shell:
        "python {resources.scripts}/run_table.py --study {resources.study:q}"
        " --analysed {wildcards.dataset} --output {output:q} 2> {log:q}"


rule cka:
    """How alike the points of networks are: within one, before and after, between inits and seeds.

    Reads: activations of the analysed runs. Writes: one row a pair of points; all units as a map.
    """
    input:
        runs=f"{TABLE}.runs.parquet",
        activations=activation_files("start.safetensors", "end.safetensors"),
    output:
        cka=f"{TABLE}.cka.parquet",
        zoo_map=f"{TABLE}.zoo_map.parquet",
    log:
        "logs/cka/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/cka/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: 2
    resources:
        scripts=SCRIPTS,
        mem_mb=more(16000),
        runtime=more(120),
    params:
        confidence=lambda wildcards: CONFIG.studies[wildcards.study].confidence,
        code=code("cka.py"),
    shell:
        "python {resources.scripts}/cka.py --runs {input.runs:q} --name {wildcards.dataset}"
        " --activations {input.activations:q} --confidence {params.confidence}"
        " --cka {output.cka:q} --zoo-map {output.zoo_map:q} 2> {log:q}"


rule cca:
    """The same by canonical correlations, of corresponding points.

    Reads: activations of the analysed runs. Writes: one row a pair of points and measure; trained
    networks near their output, by how they started.
    """
    input:
        runs=f"{TABLE}.runs.parquet",
        activations=activation_files("start.safetensors", "end.safetensors"),
    output:
        cca=f"{TABLE}.cca.parquet",
        top_layers=f"{TABLE}.top_layers.parquet",
    log:
        "logs/cca/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/cca/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: 2
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(240),
    params:
        code=code("cca.py"),
    shell:
        "python {resources.scripts}/cca.py --runs {input.runs:q} --name {wildcards.dataset}"
        " --activations {input.activations:q} --cca {output.cca:q}"
        " --top-layers {output.top_layers:q} 2> {log:q}"


rule start_end:
    """Whether networks that were alike at their start end up alike.

    Reads: canonical correlations. Writes: one row a pair of networks, point and measure; rank
    correlations of start with end.
    """
    input:
        f"{TABLE}.cca.parquet",
    output:
        start_end=f"{TABLE}.start_end.parquet",
        correlations=f"{TABLE}.start_end_correlations.parquet",
    log:
        "logs/start_end/{study}/{dataset}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(30),
    params:
        code=code("start_end.py"),
    shell:
        "python {resources.scripts}/start_end.py --cca {input:q} --start-end {output.start_end:q}"
        " --correlations {output.correlations:q} 2> {log:q}"


rule knn:
    """How well nearest neighbours among the training images tell the test images' labels, by depth.

    Reads: activations of the analysed runs, labels. Writes: one row a point.
    """
    input:
        runs=f"{TABLE}.runs.parquet",
        activations=activation_files("start.safetensors", "end.safetensors"),
        samples="results/data/{dataset}/samples.parquet",
    output:
        f"{TABLE}.knn.parquet",
    log:
        "logs/knn/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/knn/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: 2
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        dataset=dataset_settings(*METRIC_KEYS),
        neighbours=lambda wildcards: CONFIG.studies[
            wildcards.study
        ].representation.neighbours,
        code=code("knn.py"),
    shell:
        "python {resources.scripts}/knn.py --runs {input.runs:q} --name {wildcards.dataset}"
        " --activations {input.activations:q} --samples {input.samples:q}"
        " --dataset {params.dataset:q} --neighbours {params.neighbours}"
        " --output {output:q} 2> {log:q}"


rule agreement:
    """Whether two runs are right and wrong on the same test images.

    Reads: predictions of the analysed runs. Writes: one row a pair of runs.
    """
    input:
        runs=f"{TABLE}.runs.parquet",
        predictions=prediction_files,
    output:
        f"{TABLE}.agreement.parquet",
    log:
        "logs/agreement/{study}/{dataset}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        dataset=dataset_settings(*METRIC_KEYS),
        code=code("agreement.py"),
    shell:
        "python {resources.scripts}/agreement.py --runs {input.runs:q} --name {wildcards.dataset}"
        " --predictions {input.predictions:q} --dataset {params.dataset:q} --output {output:q}"
        " 2> {log:q}"


for kind, files in {
    "weight_distance": activation_files("weight_distance.parquet"),
    "filters": activation_files("filters.parquet"),
    "filter_weights": activation_files("filter_weights.parquet"),
    "reinitialisation": reinitialisation_files,
}.items():

    rule:
        name:
            f"join_{kind}"
        input:
            runs=f"{TABLE}.runs.parquet",
            tables=files,
        output:
            f"{TABLE}.{kind}.parquet",
        log:
            f"logs/join_{kind}/{{study}}/{{dataset}}.log",
        conda:
            "../envs/medtransfer.yaml"
        resources:
            scripts=SCRIPTS,
            mem_mb=more(4000),
            runtime=more(30),
        params:
            kind=kind,
            code=code("join_runs.py"),
        shell:
            "python {resources.scripts}/join_runs.py --runs {input.runs:q} --name {wildcards.dataset}"
            " --kind {params.kind} --tables {input.tables:q} --output {output:q} 2> {log:q}"


rule domain_distance:
    """How far each data set is from the sources' own images, in the features of one network.

    Reads: embeddings. Writes: one row a source, data set and measure.
    """
    input:
        embedding_files(distance_embeddings),
    output:
        "results/representation/{study}/domain_distance.parquet",
    log:
        "logs/domain_distance/{study}.log",
    benchmark:
        "logs/benchmarks/domain_distance/{study}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: 2
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        sources=lambda wildcards: json.dumps(source_datasets(wildcards)),
        confidence=lambda wildcards: CONFIG.studies[wildcards.study].confidence,
        code=code("domain_distance.py"),
    shell:
        "python {resources.scripts}/domain_distance.py --embeddings {input:q}"
        " --sources {params.sources:q} --confidence {params.confidence} --output {output:q} 2> {log:q}"


rule transferability:
    """What a source's features promise before any fine-tuning, and what came of it.

    Reads: embeddings, gains. Writes: one row a source, network, data set and score; rank correlations
    of the scores with the gains.
    """
    input:
        embeddings=embedding_files(transfer_embeddings),
        gains="results/statistics/{study}/gains.parquet",
    output:
        scores="results/representation/{study}/transferability.parquet",
        correlations="results/representation/{study}/transferability_correlations.parquet",
    log:
        "logs/transferability/{study}.log",
    benchmark:
        "logs/benchmarks/transferability/{study}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: 2
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        models=lambda wildcards: json.dumps(
            {name: weights_model(name, CONFIG.models) for name in CONFIG.models}
        ),
        reference=lambda wildcards: CONFIG.studies[wildcards.study].reference,
        tasks=lambda wildcards: json.dumps(
            {
                name: [CONFIG.datasets[name].task, CONFIG.datasets[name].target_metric]
                for name in study_datasets(wildcards.study)
            }
        ),
        code=code("transferability.py"),
    shell:
        "python {resources.scripts}/transferability.py --embeddings {input.embeddings:q}"
        " --gains {input.gains:q} --reference {params.reference} --models {params.models:q}"
        " --tasks {params.tasks:q}"
        " --scores {output.scores:q} --correlations {output.correlations:q} 2> {log:q}"
