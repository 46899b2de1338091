"""From trained networks to what their hidden layers hold, in one pass over fixed images.

REQUIRED: the pixel store, a split, finished runs, the weights of sources.
PROVIDES: results/activations/<probe>/<run>/{start,end}.safetensors and
results/activations/<probe>/sources/<source>/<network>/<data set>/<split>/embedding.safetensors, both
temporary unless a study keeps them;
results/activations/<probe>/<run>/{weight_distance,filters,filter_weights}.parquet and
results/reinitialisation/<run>/reinitialisation.parquet.
"""


rule extract:
    """What a run's network is and holds of the probe, at its start and at its end.

    Reads: the run's weights and record, what it started from, pixel store and split.
    Writes: Gram matrices, pooled features and folded rows of each moment; how far the weights moved;
    the filters of the first layer.
    """
    input:
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split="results/data/{dataset}/splits/{split}.parquet",
        weights=f"results/runs/{RUN}/model.safetensors",
        record=f"results/runs/{RUN}/run.json",
        source=run_weights,
        sidecar=run_weights_sidecar,
    output:
        start=kept_or_temp(f"results/activations/{{probe}}/{RUN}/start.safetensors"),
        end=kept_or_temp(f"results/activations/{{probe}}/{RUN}/end.safetensors"),
        distance=f"results/activations/{{probe}}/{RUN}/weight_distance.parquet",
        filters=f"results/activations/{{probe}}/{RUN}/filters.parquet",
        filter_weights=f"results/activations/{{probe}}/{RUN}/filter_weights.parquet",
    log:
        f"logs/extract/{{probe}}/{RUN}.log",
    benchmark:
        f"logs/benchmarks/extract/{{probe}}/{RUN}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.train_threads
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(16000),
        runtime=more(240),
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
    params:
        source=weights_flag,
        code=code("extract.py"),
    shell:
        "python {resources.scripts}/extract.py --images {input.images:q} --samples {input.samples:q}"
        " --split {input.split:q} --record {input.record:q} {params.source} --subset {wildcards.subset} --probe {wildcards.probe} --device {resources.device}"
        " --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads}"
        " --start {output.start:q} --end {output.end:q} --weight-distance {output.distance:q}"
        " --filters {output.filters:q} --filter-weights {output.filter_weights:q} 2> {log:q}"


rule embed:
    """The images of a data set in the features and logits of a source's own network.

    Reads: the source's weights, pixel store and split. Writes: one row an image.
    """
    input:
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split=embedded_split,
        weights=ancient("resources/weights/{source}/{model}.safetensors"),
        sidecar="resources/weights/{source}/{model}.json",
    output:
        kept_or_temp(
            "results/activations/{probe}/sources/{source}/{model}/{dataset}/{split}/embedding.safetensors"
        ),
    log:
        "logs/embed/{probe}/{source}/{model}/{dataset}/{split}.log",
    benchmark:
        "logs/benchmarks/embed/{probe}/{source}/{model}/{dataset}/{split}.tsv"
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
        model=lambda wildcards: settings_text("models", wildcards.model),
        split=lambda wildcards, input: f"--split {input.split}" if input.split else "",
        task=lambda wildcards: CONFIG.datasets[wildcards.dataset].task,
        outputs=lambda wildcards: list(CONFIG.datasets[wildcards.dataset].outputs),
        code=code("embed.py"),
    shell:
        "python {resources.scripts}/embed.py --images {input.images:q} --samples {input.samples:q}"
        " {params.split} --weights {input.weights:q} --model {params.model:q}"
        " --task {params.task} --outputs {params.outputs:q} --probe {wildcards.probe}"
        " --names {wildcards.source} {wildcards.model} {wildcards.dataset}"
        " --device {resources.device} --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads}"
        " --output {output:q} 2> {log:q}"


rule reinitialise:
    """How much of a run's result is lost when one unit goes back to its start.

    Reads: the run's weights and record, what it started from, pixel store and split.
    Writes: the target metric on the test part for each unit.
    """
    input:
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split="results/data/{dataset}/splits/{split}.parquet",
        weights=f"results/runs/{RUN}/model.safetensors",
        record=f"results/runs/{RUN}/run.json",
        source=run_weights,
        sidecar=run_weights_sidecar,
    output:
        f"results/reinitialisation/{RUN}/reinitialisation.parquet",
    log:
        f"logs/reinitialise/{RUN}.log",
    benchmark:
        f"logs/benchmarks/reinitialise/{RUN}.tsv"
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.train_threads
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(8000),
        runtime=more(240),
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
    params:
        source=weights_flag,
        code=code("reinitialise.py"),
    shell:
        "python {resources.scripts}/reinitialise.py --images {input.images:q}"
        " --samples {input.samples:q} --split {input.split:q} --record {input.record:q}"
        " {params.source} --subset {wildcards.subset}"
        " --device {resources.device} --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads}"
        " --output {output:q} 2> {log:q}"
