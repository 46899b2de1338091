"""Manifests to pixel stores and splits.

REQUIRED: a manifest with its image files, or a generator's settings.
PROVIDES: results/data/<dataset>/{manifest.json,images.npy,samples.parquet,rejected.parquet,audit.json},
results/data/<dataset>/splits/<split>.parquet.
"""


rule generate:
    """Draw an embedded data set from its seed.

    Reads: nothing. Writes: image files and their manifest.
    """
    output:
        manifest="resources/datasets/{generated}/manifest.csv",
        images=directory("resources/datasets/{generated}/images"),
    log:
        "logs/generate/{generated}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=2000,
        runtime=30,
    params:
        generator=lambda wildcards: as_argument(
            CONFIG.datasets[wildcards.generated].generator
        ),
        code=code("generate.py"),
    shell:
        "python {resources.scripts}/generate.py --generator {params.generator:q}"
        " --folder resources/datasets/{wildcards.generated} 2> {log:q}"


rule check_manifest:
    """Check a manifest before anything is decoded: a typo must not cost a finished store.

    Reads: the manifest. Writes: its number of rows and its hash.
    """
    input:
        manifest=manifest_input,
    output:
        "results/data/{dataset}/manifest.json",
    log:
        "logs/check_manifest/{dataset}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=2000,
        runtime=10,
    params:
        dataset=dataset_settings(*MANIFEST_KEYS),
        manifest=manifest_path,
        code=code("check_manifest.py"),
    shell:
        "python {resources.scripts}/check_manifest.py --dataset {params.dataset:q}"
        " --manifest {params.manifest:q} --output {output:q} 2> {log:q}"


rule store:
    """Decode the images of a manifest, each costing at most its own row.

    Reads: the manifest and the files it names. Writes: the pixel store and its tables.
    """
    input:
        checked="results/data/{dataset}/manifest.json",
        manifest=manifest_input,
    output:
        images="results/data/{dataset}/images.npy",
        samples="results/data/{dataset}/samples.parquet",
        rejected="results/data/{dataset}/rejected.parquet",
        audit="results/data/{dataset}/audit.json",
    log:
        "logs/store/{dataset}.log",
    benchmark:
        "benchmarks/store/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.store_threads
    resources:
        scripts=SCRIPTS,
        mem_mb=4000,
        runtime=240,
    params:
        dataset=dataset_settings(*STORE_KEYS),
        manifest=manifest_path,
        code=code("store.py"),
    shell:
        "python {resources.scripts}/store.py --dataset {params.dataset:q} --manifest {params.manifest:q}"
        " --key resources/patient.key --workers {threads}"
        " --folder results/data/{wildcards.dataset} 2> {log:q}"


rule split:
    """Assign whole patients to training, validation, test and external parts.

    Reads: the store's table of samples. Writes: one part for each image.
    """
    input:
        samples="results/data/{dataset}/samples.parquet",
    output:
        "results/data/{dataset}/splits/{split}.parquet",
    log:
        "logs/split/{dataset}/{split}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=2000,
        runtime=10,
    params:
        dataset=dataset_settings(*SPLIT_KEYS),
        code=code("split.py"),
    shell:
        "python {resources.scripts}/split.py --dataset {params.dataset:q} --samples {input.samples:q}"
        " --split {wildcards.split} --output {output:q} 2> {log:q}"
