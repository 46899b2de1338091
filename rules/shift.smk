"""From finished runs to their results on other data sets and on corrupted test images.

REQUIRED: finished runs, pixel stores of their data sets and of those named as external, splits.
PROVIDES: results/shift/<run>/external-<data set>.{predictions.parquet,json},
results/shift/<run>/<corruption>.parquet and
results/evaluation/<study>/<data set>.{shift,corruption}.parquet.
"""


rule predict_external:
    """What a run says of all images of another data set, which it never saw.

    Reads: the run's weights and record, its pixel store and split, the other pixel store.
    Writes: predictions, and how many images were tested and left out.
    """
    input:
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split="results/data/{dataset}/splits/{split}.parquet",
        external_images=ancient("results/data/{external}/images.npy"),
        external_samples="results/data/{external}/samples.parquet",
        # the record is another one whenever the weights are
        weights=ancient(f"results/runs/{RUN}/model.safetensors"),
        record=f"results/runs/{RUN}/run.json",
    output:
        predictions=f"results/shift/{RUN}/external-{{external}}.predictions.parquet",
        counts=f"results/shift/{RUN}/external-{{external}}.json",
    log:
        f"logs/predict_external/{RUN}/{{external}}.log",
    benchmark:
        f"logs/benchmarks/predict_external/{RUN}/{{external}}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.train_threads
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(8000),
        runtime=more(120),
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
    params:
        dataset=dataset_settings(*LABEL_KEYS),
        external=lambda wildcards: as_argument(
            CONFIG.datasets[wildcards.external], LABEL_KEYS
        ),
        classes=lambda wildcards: as_argument(
            CONFIG.datasets[wildcards.dataset].external[wildcards.external]
        ),
        code=code("predict_external.py"),
    shell:
        "python {resources.scripts}/predict_external.py --images {input.images:q}"
        " --samples {input.samples:q} --split {input.split:q} --dataset {params.dataset:q}"
        " --name {wildcards.external} --external-images {input.external_images:q}"
        " --external-samples {input.external_samples:q} --external-dataset {params.external:q}"
        " --classes {params.classes:q} --record {input.record:q}"
        " --device {resources.device} --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads}"
        " --predictions {output.predictions:q} --counts {output.counts:q} 2> {log:q}"


rule predict_corrupted:
    """What a run says of its test images, corrupted in one way and five severities.

    Reads: the run's weights and record, pixel store and split. Writes: predictions.
    """
    input:
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split="results/data/{dataset}/splits/{split}.parquet",
        weights=ancient(f"results/runs/{RUN}/model.safetensors"),
        record=f"results/runs/{RUN}/run.json",
    output:
        f"results/shift/{RUN}/{{corruption}}.parquet",
    log:
        f"logs/predict_corrupted/{RUN}/{{corruption}}.log",
    benchmark:
        f"logs/benchmarks/predict_corrupted/{RUN}/{{corruption}}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.train_threads
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(8000),
        runtime=more(120),
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
    params:
        code=code("predict_corrupted.py"),
    shell:
        "python {resources.scripts}/predict_corrupted.py --images {input.images:q}"
        " --samples {input.samples:q} --split {input.split:q} --record {input.record:q}"
        " --corruption {wildcards.corruption}"
        " --device {resources.device} --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads}"
        " --output {output:q} 2> {log:q}"


rule shift:
    """The target metric on other sites and data sets, and what it lost, with intervals.

    Reads: predictions of a study's runs on one data set. Writes: one row a quantity of a cell.
    """
    input:
        runs="results/evaluation/{study}/runs.parquet",
        predictions=run_predictions,
        external=external_predictions,
    output:
        "results/evaluation/{study}/{dataset}.shift.parquet",
    log:
        "logs/shift/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/shift/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        dataset=dataset_settings(*EVALUATION_KEYS),
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        code=code("shift.py"),
    shell:
        "python {resources.scripts}/shift.py --runs {input.runs:q} --root results/runs"
        " --shift results/shift --name {wildcards.dataset} --dataset {params.dataset:q}"
        " --study {params.study:q} --output {output:q} 2> {log:q}"


rule corruption:
    """The target metric on corrupted test images, and what it lost, with intervals.

    Reads: predictions of the analysed runs of a study on one data set. Writes: one row a quantity of a
    cell, corruption and severity.
    """
    input:
        runs="results/representation/{study}/{dataset}.runs.parquet",
        predictions=prediction_files,
        corrupted=corrupted_predictions,
    output:
        "results/evaluation/{study}/{dataset}.corruption.parquet",
    log:
        "logs/corruption/{study}/{dataset}.log",
    benchmark:
        "logs/benchmarks/corruption/{study}/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(8000),
        runtime=more(120),
    params:
        dataset=dataset_settings(*LABEL_KEYS, "metric"),
        study=lambda wildcards: as_argument(
            CONFIG.studies[wildcards.study], STATISTICS_KEYS
        ),
        corruptions=lambda wildcards: list(CONFIG.studies[wildcards.study].corruptions),
        code=code("corruption.py"),
    shell:
        "python {resources.scripts}/corruption.py --runs {input.runs:q}"
        " --predictions {input.predictions:q} --shift results/shift"
        " --corruptions {params.corruptions} --dataset {params.dataset:q} --study {params.study:q}"
        " --output {output:q} 2> {log:q}"
