"""Manifests to pixel stores and splits.

REQUIRED: a manifest with its image files, a generator's settings, or a public data set's files.
PROVIDES: results/data/<dataset>/{manifest.json,images.npy,samples.parquet,rejected.parquet},
results/data/<dataset>/{duplicates.parquet,splits/<split>.parquet,audit.json,audit.html}.
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
        mem_mb=more(2000),
        runtime=more(30),
    params:
        generator=lambda wildcards: as_argument(
            CONFIG.datasets[wildcards.generated].generator
        ),
        code=code("generate.py"),
    shell:
        "python {resources.scripts}/generate.py --generator {params.generator:q}"
        " --folder resources/datasets/{wildcards.generated} 2> {log:q}"


rule fetch:
    """Bring the files of a public data set to this machine, or say which must be placed by hand.

    Reads: the hosts that the data set's settings name. Writes: the files and a record of them.
    Where the files come from and what brings them are resources: what is here isn't fetched again for that.
    """
    output:
        "resources/datasets/{adapted}/fetched.json",
    log:
        "logs/fetch/{adapted}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(1000),
        runtime=more(1440),
        connections=CONFIG.hardware.connections,
        access=lambda wildcards: as_argument(CONFIG.datasets[wildcards.adapted].access),
    shell:
        "python {resources.scripts}/fetch.py --access {resources.access:q}"
        " --folder resources/datasets/{wildcards.adapted} --connections {resources.connections}"
        " --output {output:q} 2> {log:q}"


rule adapt:
    """Turn the published layout of a public data set into a manifest.

    Reads: the tables and the folders of the data set. Writes: its manifest.
    """
    input:
        fetched=lambda wildcards: (
            f"resources/datasets/{wildcards.adapted}/fetched.json"
            if CONFIG.datasets[wildcards.adapted].access is not None
            else []
        ),
        tables=placed_tables,
    output:
        "resources/datasets/{adapted}/manifest.csv",
    log:
        "logs/adapt/{adapted}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        adapter=lambda wildcards: as_argument(
            CONFIG.datasets[wildcards.adapted].adapter
        ),
        code=code("adapt.py"),
    shell:
        "python {resources.scripts}/adapt.py --adapter {params.adapter:q}"
        " --folder resources/datasets/{wildcards.adapted} --output {output:q} 2> {log:q}"


rule check_manifest:
    """Check a manifest before anything is decoded: a typo must not cost a finished store.

    Reads: the manifest. Writes: its number of rows and its hash.
    """
    input:
        manifest=manifest_input,
        folds=fold_list_inputs,
    output:
        "results/data/{dataset}/manifest.json",
    log:
        "logs/check_manifest/{dataset}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
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
        folds=fold_list_inputs,
    output:
        images="results/data/{dataset}/images.npy",
        samples="results/data/{dataset}/samples.parquet",
        rejected="results/data/{dataset}/rejected.parquet",
    log:
        "logs/store/{dataset}.log",
    benchmark:
        "logs/benchmarks/store/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.store_threads
    resources:
        scripts=SCRIPTS,
        mem_mb=lambda wildcards, threads, attempt: attempt * (2000 + 700 * threads),
        runtime=more(240),
    params:
        dataset=dataset_settings(*STORE_KEYS),
        manifest=manifest_path,
        code=code("store.py"),
    shell:
        "python {resources.scripts}/store.py --dataset {params.dataset:q} --manifest {params.manifest:q}"
        " --key resources/patient.key --workers {threads}"
        " --folder results/data/{wildcards.dataset} 2> {log:q}"


rule find_duplicates:
    """Find the images that show the same picture.

    Reads: the pixel store. Writes: pairs of duplicates.
    """
    input:
        samples="results/data/{dataset}/samples.parquet",
        images=ancient("results/data/{dataset}/images.npy"),
    output:
        "results/data/{dataset}/duplicates.parquet",
    log:
        "logs/find_duplicates/{dataset}.log",
    benchmark:
        "logs/benchmarks/find_duplicates/{dataset}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(4000),
        runtime=more(60),
    params:
        near=near_duplicates_flag,
        code=code("find_duplicates.py"),
    shell:
        "python {resources.scripts}/find_duplicates.py --samples {input.samples:q}"
        " --images {input.images:q} {params.near} --output {output:q} 2> {log:q}"


rule split:
    """Assign whole patients, with their duplicates, to training, validation, test and external parts.

    Reads: the store's table of samples, pairs of duplicates. Writes: one part for each image.
    """
    input:
        samples="results/data/{dataset}/samples.parquet",
        duplicates="results/data/{dataset}/duplicates.parquet",
    output:
        "results/data/{dataset}/splits/{split}.parquet",
    log:
        "logs/split/{dataset}/{split}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        dataset=dataset_settings(*SPLIT_KEYS),
        code=code("split.py"),
    shell:
        "python {resources.scripts}/split.py --dataset {params.dataset:q} --samples {input.samples:q}"
        " --duplicates {input.duplicates:q} --split {wildcards.split} --output {output:q} 2> {log:q}"


rule audit:
    """Count what a data set and its splits hold, and what is wrong with them.

    Reads: the store's tables, duplicates, all its splits. Writes: the audit, and a page of it.
    """
    input:
        samples="results/data/{dataset}/samples.parquet",
        rejected="results/data/{dataset}/rejected.parquet",
        duplicates="results/data/{dataset}/duplicates.parquet",
        splits=lambda wildcards: collect(
            "results/data/{dataset}/splits/{split}.parquet",
            dataset=wildcards.dataset,
            split=dataset_splits(wildcards),
        ),
    output:
        audit="results/data/{dataset}/audit.json",
        page=report(
            "results/data/{dataset}/audit.html",
            caption="../workflow/report/audit.rst",
            category="Data",
            labels={"result": "{dataset}", "kind": "page"},
        ),
    log:
        "logs/audit/{dataset}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        dataset=dataset_settings(*AUDIT_KEYS),
        code=code("audit.py"),
    shell:
        "python {resources.scripts}/audit.py --dataset {params.dataset:q} --name {wildcards.dataset}"
        " --folder results/data/{wildcards.dataset} --split {input.splits:q}"
        " --output {output.audit:q} --page {output.page:q} 2> {log:q}"
