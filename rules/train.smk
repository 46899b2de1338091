"""One job a run: recipe x data set x model x init x subset x split x seed.

REQUIRED: the pixel store, a split, and the weights that the init starts from.
PROVIDES: results/runs/<run>/{model.safetensors,predictions.parquet,history.parquet,run.json};
of recipes with a search results/searches/<run without seed>/{choice.json,candidates.parquet}.
"""

RUN = "{recipe}/{dataset}/{model}/{init}/{subset}/{split}/seed{seed}"
SEARCHED_CELL = "{searched}/{dataset}/{model}/{init}/{subset}/{split}"


rule choose_rate:
    """Choose the learning rate of the runs that differ by their seed only.

    Reads: records of the candidates, which are runs of recipes of their own.
    Writes: the rate alone, so that training follows nothing else; and how the candidates did.
    """
    input:
        candidate_records,
    output:
        choice=f"results/searches/{SEARCHED_CELL}/choice.json",
        candidates=f"results/searches/{SEARCHED_CELL}/candidates.parquet",
    log:
        f"logs/choose_rate/{SEARCHED_CELL}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(2000),
        runtime=more(10),
    params:
        cell=SEARCHED_CELL,
        code=code("choose_rate.py"),
    shell:
        "python {resources.scripts}/choose_rate.py --cell {params.cell:q} --record {input:q}"
        " --choice {output.choice:q} --candidates {output.candidates:q} 2> {log:q}"


rule train:
    """Train one network once.

    Reads: the pixel store, the split, the source's weights. Writes: best weights, predictions of the
    validation, test and external parts, the validation curve, and a record. A job that was killed goes
    on from the state in .state beside them, which is no output and is gone in the end.
    """
    input:
        # the memory map is large; its table holds the hash of every image
        images=ancient("results/data/{dataset}/images.npy"),
        samples="results/data/{dataset}/samples.parquet",
        split="results/data/{dataset}/splits/{split}.parquet",
        weights=run_weights,
        sidecar=run_weights_sidecar,
        choice=run_choice,
    output:
        weights=f"results/runs/{RUN}/model.safetensors",
        predictions=f"results/runs/{RUN}/predictions.parquet",
        history=f"results/runs/{RUN}/history.parquet",
        record=f"results/runs/{RUN}/run.json",
    log:
        f"logs/train/{RUN}.log",
    benchmark:
        f"logs/benchmarks/train/{RUN}.tsv"
    wildcard_constraints:
        model=one_of(TRAINED_MODELS - LARGE_MODELS),
    conda:
        "../envs/medtransfer.yaml"
    threads: CONFIG.hardware.train_threads
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(8000),
        runtime=more(720),
        # where a job runs is no parameter: changing it repeats nothing
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
        # neither is how its state is saved and what is seen of it
        running=running_flags,
    params:
        model=lambda wildcards: settings_text("models", wildcards.model),
        recipe=lambda wildcards: recipe_text(wildcards.recipe),
        task=lambda wildcards: CONFIG.datasets[wildcards.dataset].task,
        outputs=lambda wildcards: list(CONFIG.datasets[wildcards.dataset].outputs),
        metric=lambda wildcards: CONFIG.datasets[wildcards.dataset].target_metric,
        weights=weights_flag,
        search=search_flags,
        code=code("train.py"),
    shell:
        "python {resources.scripts}/train.py --images {input.images:q} --samples {input.samples:q}"
        " --split {input.split:q} --subset {wildcards.subset} --task {params.task}"
        " --outputs {params.outputs:q} --metric {params.metric} --model {params.model:q}"
        " --recipe {params.recipe:q} --init {wildcards.init} {params.weights} {params.search}"
        " --seed {wildcards.seed} --device {resources.device}"
        " --jobs-per-gpu {resources.jobs_per_gpu} --threads {threads} {resources.running}"
        " --folder $(dirname {output.record:q}) 2> {log:q}"


use rule train as train_large with:
    """Train one large network once.

    A rule of its own, since the jobs of a rule that are submitted as one array all get what its first
    job asks for.
    """
    wildcard_constraints:
        model=one_of(TRAINED_MODELS & LARGE_MODELS),
    resources:
        scripts=SCRIPTS,
        gpu=GPU,
        mem_mb=more(32000),
        runtime=more(2880),
        device=CONFIG.hardware.device,
        jobs_per_gpu=CONFIG.hardware.jobs_per_gpu,
        running=running_flags,
